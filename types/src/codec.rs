//! The bounded canonical binary encoding (`docs/spec/encoding.md`).
//!
//! One value has exactly one encoding, and one encoding is one value, so that hashes and
//! signatures over encoded bytes are hashes and signatures over values. Integers wider than a
//! byte are minimal unsigned LEB128; fixed-size byte strings stand bare; everything of variable
//! length carries its count first and its bound in its type. Whatever is left over is refused.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("input ends inside a value: {missing} more bytes expected")]
    Truncated {
        /// How many bytes the value would still need, at least.
        missing: usize,
    },
    /// Bytes remain after the value.
    #[error("{left} bytes left over after the value")]
    Trailing {
        /// How many bytes remain.
        left: usize,
    },
    /// A number is not in its shortest form, or does not fit its type.
    #[error("a number is not canonical or does not fit its type")]
    Number,
    /// A count is above the bound of its type.
    #[error("a count of {found} is above the bound of {bound}")]
    Bound {
        /// The count as read.
        found: u64,
        /// The bound of the type.
        bound: usize,
    },
    /// A tag names no known variant, version or kind.
    #[error("unknown {what} tag {found}")]
    Tag {
        /// What the tag selects.
        what: &'static str,
        /// The tag as read.
        found: u8,
    },
    /// Text is not UTF-8.
    #[error("text is not valid UTF-8")]
    Utf8,
    /// A value is well-formed but not one that its type allows.
    #[error("not a valid {what}")]
    Value {
        /// The type that refused.
        what: &'static str,
    },
}

/// A value that has a canonical byte form.
pub trait Encode {
    /// Appends the canonical bytes of `self` to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The canonical bytes of `self`.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A value that can be read back from its canonical byte form.
pub trait Decode: Sized {
    /// Reads one value from `reader`.
    ///
    /// # Errors
    /// The first rule of the encoding that the bytes break.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads one value that must fill `bytes` exactly.
    ///
    /// # Errors
    /// As [`Decode::decode`], and [`DecodeError::Trailing`] if bytes remain.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// A cursor over bytes being decoded. It never allocates more than its input is long.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are still unread.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if there are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        if count > self.rest.len() {
            return Err(DecodeError::Truncated { missing: count - self.rest.len() });
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Reads a minimal LEB128 number.
    ///
    /// # Errors
    /// [`DecodeError::Number`] if it is longer than needed or wider than 64 bits.
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..).step_by(7).take(10) {
            let byte = self.array::<1>()?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Number);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let padded = byte == 0 && shift > 0;
                return if padded { Err(DecodeError::Number) } else { Ok(value) };
            }
        }
        Err(DecodeError::Number)
    }

    /// Reads a count that may be at most `bound`.
    ///
    /// # Errors
    /// [`DecodeError::Bound`] above it.
    pub fn count(&mut self, bound: usize) -> Result<usize, DecodeError> {
        let found = self.number()?;
        usize::try_from(found).ok().filter(|count| *count <= bound).ok_or(DecodeError::Bound { found, bound })
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if bytes remain.
    pub const fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { left }),
        }
    }
}

/// Appends `value` as minimal LEB128.
pub fn put_number(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let bits = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(bits);
            return;
        }
        out.push(bits | 0x80);
    }
}

impl Encode for u8 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
}

impl Decode for u8 {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(reader.array::<1>()?[0])
    }
}

macro_rules! number {
    ($($int:ty),*) => {$(
        impl Encode for $int {
            fn encode(&self, out: &mut Vec<u8>) {
                put_number(u64::from(*self), out);
            }
        }
        impl Decode for $int {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Self::try_from(reader.number()?).map_err(|_| DecodeError::Number)
            }
        }
    )*};
}
number!(u16, u32, u64);

impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Decode for bool {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(DecodeError::Tag { what: "bool", found }),
        }
    }
}

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        bool::decode(reader)?.then(|| T::decode(reader)).transpose()
    }
}

impl<T: Encode> Encode for Box<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_ref().encode(out);
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode(reader).map(Self::new)
    }
}

/// Writes [`Encode`] and [`Decode`] for a struct, its fields in the order given.
///
/// ```
/// #[derive(Debug, PartialEq)]
/// struct Pair { left: u64, right: bool }
/// types::codec!(Pair { left, right });
/// use types::{Decode, Encode};
/// assert_eq!(Pair { left: 300, right: true }.to_bytes(), [0xac, 0x02, 1]);
/// assert_eq!(Pair::from_bytes(&[0xac, 0x02, 1]).unwrap(), Pair { left: 300, right: true });
/// ```
#[macro_export]
macro_rules! codec {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $($crate::Encode::encode(&self.$field, out);)*
            }
        }
        impl $crate::Decode for $name {
            fn decode(reader: &mut $crate::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                Ok(Self { $($field: $crate::Decode::decode(reader)?),* })
            }
        }
    };
}

/// At most `MAX` values: a count, then each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// The values, in order.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }

    /// Appends `value`.
    ///
    /// # Errors
    /// [`DecodeError::Bound`] if the list is full; the list is then unchanged.
    pub fn push(&mut self, value: T) -> Result<(), DecodeError> {
        if self.0.len() == MAX {
            return Err(DecodeError::Bound { found: MAX as u64 + 1, bound: MAX });
        }
        self.0.push(value);
        Ok(())
    }

    /// Keeps the values for which `keep` holds.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }

    /// The values, to be changed in place.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: fmt::Debug, const MAX: usize> fmt::Debug for List<T, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for List<T, MAX> {
    type Error = DecodeError;
    fn try_from(values: Vec<T>) -> Result<Self, DecodeError> {
        if values.len() > MAX {
            return Err(DecodeError::Bound { found: values.len() as u64, bound: MAX });
        }
        Ok(Self(values))
    }
}

impl<'a, T, const MAX: usize> IntoIterator for &'a List<T, MAX> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<T>::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl<T: Encode, const MAX: usize> Encode for List<T, MAX> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_number(self.0.len() as u64, out);
        for value in &self.0 {
            value.encode(out);
        }
    }
}

impl<T: Decode, const MAX: usize> Decode for List<T, MAX> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count(MAX)?;
        // A value takes a byte at least, so a lying count cannot reserve more than it sent.
        let mut values = Vec::with_capacity(count.min(reader.remaining()));
        for _ in 0..count {
            values.push(T::decode(reader)?);
        }
        Ok(Self(values))
    }
}

/// At most `MAX` bytes: a count, then the bytes. Hexadecimal in JSON.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Blob<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Deref for Blob<MAX> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Blob<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl<const MAX: usize> TryFrom<Vec<u8>> for Blob<MAX> {
    type Error = DecodeError;
    fn try_from(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        if bytes.len() > MAX {
            return Err(DecodeError::Bound { found: bytes.len() as u64, bound: MAX });
        }
        Ok(Self(bytes))
    }
}

impl<const MAX: usize> Serialize for Blob<MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Blob<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex::decode(&text).map_err(serde::de::Error::custom)?;
        bytes.try_into().map_err(serde::de::Error::custom)
    }
}

impl<const MAX: usize> Encode for Blob<MAX> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_number(self.0.len() as u64, out);
        out.extend_from_slice(&self.0);
    }
}

impl<const MAX: usize> Decode for Blob<MAX> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count(MAX)?;
        reader.take(count).map(|bytes| Self(bytes.to_vec()))
    }
}

/// UTF-8 text of at most `MAX` bytes: a count, then the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Deref for Text<MAX> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = DecodeError;
    fn try_from(text: String) -> Result<Self, DecodeError> {
        if text.len() > MAX {
            return Err(DecodeError::Bound { found: text.len() as u64, bound: MAX });
        }
        Ok(Self(text))
    }
}

impl<const MAX: usize> TryFrom<&str> for Text<MAX> {
    type Error = DecodeError;
    fn try_from(text: &str) -> Result<Self, DecodeError> {
        text.to_owned().try_into()
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl<const MAX: usize> Encode for Text<MAX> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_number(self.0.len() as u64, out);
        out.extend_from_slice(self.0.as_bytes());
    }
}

impl<const MAX: usize> Decode for Text<MAX> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count(MAX)?;
        let bytes = reader.take(count)?.to_vec();
        String::from_utf8(bytes).map(Self).map_err(|_| DecodeError::Utf8)
    }
}

#[cfg(test)]
mod tests;
