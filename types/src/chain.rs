//! What a chain counts in: its name, heights, times and amounts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::codec::{Decode, DecodeError, Encode, Reader, Text};

/// A chain's name: 1 to 50 of `a-z A-Z 0-9 - _ .` (CometBFT's bound).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ChainId(Text<50>);

impl ChainId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChainId {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let refused = DecodeError::Value { what: "chain id (1 to 50 of a-z A-Z 0-9 - _ .)" };
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || !text.bytes().all(known) {
            return Err(refused);
        }
        Text::try_from(text).map(Self).map_err(|_| refused)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for ChainId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Encode for ChainId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for ChainId {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Text::<50>::decode(reader)?.parse()
    }
}

impl From<&ChainId> for tendermint::chain::Id {
    fn from(id: &ChainId) -> Self {
        // Our rule is within theirs: the same letters, the same length.
        Self::try_from(id.as_str()).expect("a checked chain id is one of tendermint's")
    }
}

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
        }
        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                u64::decode(reader).map(Self)
            }
        }
    };
}

counted! {
    /// A block's height; the first block has 1, 0 is the state of the genesis.
    Height
}

counted! {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Millis
}

impl Height {
    /// The height after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl From<tendermint::block::Height> for Height {
    fn from(height: tendermint::block::Height) -> Self {
        Self(height.value())
    }
}

impl TryFrom<Height> for tendermint::block::Height {
    type Error = DecodeError;
    fn try_from(height: Height) -> Result<Self, DecodeError> {
        Self::try_from(height.0).map_err(|_| DecodeError::Value { what: "height" })
    }
}

impl TryFrom<tendermint::Time> for Millis {
    type Error = DecodeError;
    fn try_from(time: tendermint::Time) -> Result<Self, DecodeError> {
        let nanos = time.unix_timestamp_nanos();
        u64::try_from(nanos / 1_000_000).map(Self).map_err(|_| DecodeError::Value { what: "time" })
    }
}

impl TryFrom<Millis> for tendermint::Time {
    type Error = DecodeError;
    fn try_from(millis: Millis) -> Result<Self, DecodeError> {
        let refused = DecodeError::Value { what: "time" };
        let seconds = i64::try_from(millis.0 / 1000).map_err(|_| refused.clone())?;
        let nanos = u32::try_from(millis.0 % 1000 * 1_000_000).map_err(|_| refused.clone())?;
        Self::from_unix_timestamp(seconds, nanos).map_err(|_| refused)
    }
}

impl Millis {
    /// The time as people read it, in the form of RFC 3339; beyond the year 9999 the number.
    #[must_use]
    pub fn rfc3339(self) -> String {
        tendermint::Time::try_from(self).map_or_else(|_| format!("{} ms after 1970", self.0), |time| time.to_rfc3339())
    }
}

/// An amount of the token, in micro-zynk (1 ZYNK = 1,000,000). A string in JSON, since a double
/// does not hold every 64-bit number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Amount(pub u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One ZYNK.
    pub const ZYNK: Self = Self(1_000_000);

    /// The sum, unless it overflows.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, unless it is below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl fmt::Display for Amount {
    /// In ZYNK with up to six decimals: `12.5 ZYNK`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micro) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if micro == 0 {
            return write!(f, "{whole} ZYNK");
        }
        let decimals = format!("{micro:06}");
        write!(f, "{whole}.{} ZYNK", decimals.trim_end_matches('0'))
    }
}

impl FromStr for Amount {
    type Err = DecodeError;
    /// Reads what a person types: `12`, `12.5`, with or without ` ZYNK`; or `12500000uzynk`.
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let refused = || DecodeError::Value { what: "amount (12.5, 12.5 ZYNK or 12500000uzynk)" };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(micro) = text.strip_suffix("uzynk") {
            return if digits(micro) { micro.parse().map(Self).map_err(|_| refused()) } else { Err(refused()) };
        }
        let text = text.strip_suffix("ZYNK").map_or(text, str::trim_end);
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        if !digits(whole) || !digits(decimals) || decimals.len() > 6 {
            return Err(refused());
        }
        let whole: u64 = whole.parse().map_err(|_| refused())?;
        let micro: u64 = format!("{decimals:0<6}").parse().map_err(|_| refused())?;
        whole.checked_mul(1_000_000).and_then(|sum| sum.checked_add(micro)).map(Self).ok_or_else(refused)
    }
}

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl Encode for Amount {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Amount {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(reader).map(Self)
    }
}
