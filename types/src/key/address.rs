//! Addresses as text: bech32m (BIP 350) with the prefix `zynk`.
//!
//! Read by the published crate. Written here, without an allocation: the state's keys are made of addresses, so a transaction writes
//! some twenty of them.

use bech32::Hrp;
use bech32::primitives::decode::CheckedHrpstring;

/// The prefix and its separator, 32 letters of five bits each, and six of the checksum.
pub(super) const LENGTH: usize = START + LETTERS + CHECKSUM;

const PREFIX: &[u8; 4] = b"zynk";
const START: usize = PREFIX.len() + 1;
const LETTERS: usize = 20 * 8 / 5;
const CHECKSUM: usize = 6;

/// BIP 173's letters, by their values.
const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// What the checksum of a valid text comes to: BIP 350.
const BECH32M: u32 = 0x2bc8_30a3;

/// What the five bits that leave the checksum's remainder add to it.
const FEEDBACK: [u32; 32] = {
    let generator = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let mut table = [0; 32];
    let mut leaving = 0;
    while leaving < 32 {
        let mut bit = 0;
        while bit < 5 {
            if leaving >> bit & 1 == 1 {
                table[leaving] ^= generator[bit];
            }
            bit += 1;
        }
        leaving += 1;
    }
    table
};

/// The checksum's remainder after the prefix.
const AFTER_PREFIX: u32 = {
    let mut remainder = 1;
    let mut at = 0;
    while at < PREFIX.len() {
        remainder = step(remainder, PREFIX[at] >> 5);
        at += 1;
    }
    remainder = step(remainder, 0);
    at = 0;
    while at < PREFIX.len() {
        remainder = step(remainder, PREFIX[at] & 31);
        at += 1;
    }
    remainder
};

const fn step(remainder: u32, value: u8) -> u32 {
    (remainder & 0x1ff_ffff) << 5 ^ value as u32 ^ FEEDBACK[(remainder >> 25) as usize]
}

const fn letter(value: u8) -> u8 {
    ALPHABET[(value & 31) as usize]
}

pub(super) fn write(address: &[u8; 20]) -> [u8; LENGTH] {
    let mut text = [0; LENGTH];
    text[..START].copy_from_slice(b"zynk1");
    let mut remainder = AFTER_PREFIX;
    let mut letters = text[START..].iter_mut();
    for bytes in address.chunks_exact(5) {
        let bits = bytes.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for (place, text) in (0..8u32).zip(letters.by_ref()) {
            let [.., low] = (bits >> (35 - 5 * place)).to_be_bytes();
            remainder = step(remainder, low & 31);
            *text = letter(low);
        }
    }
    let checksum = (0..CHECKSUM).fold(remainder, |remainder, _| step(remainder, 0)) ^ BECH32M;
    for (place, text) in (0..6u32).zip(letters) {
        let [.., low] = (checksum >> (25 - 5 * place)).to_be_bytes();
        *text = letter(low);
    }
    text
}

pub(super) fn read(text: &str) -> Option<[u8; 20]> {
    let checked = CheckedHrpstring::new::<bech32::Bech32m>(text).ok()?;
    let bytes: Vec<u8> = checked.byte_iter().collect();
    let ours = checked.hrp() == Hrp::parse_unchecked("zynk") && !text.chars().any(|letter| letter.is_ascii_uppercase());
    bytes.try_into().ok().filter(|_| ours)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn published(address: &[u8; 20]) -> String {
        bech32::encode::<bech32::Bech32m>(Hrp::parse_unchecked("zynk"), address).expect("short")
    }

    #[test]
    fn each_byte_in_each_place_is_written_as_the_published_crate_writes_it() {
        for byte in 0..=u8::MAX {
            for place in 0..20 {
                let mut address = [byte ^ 0x5a; 20];
                address[place] = byte;
                assert_eq!(write(&address), published(&address).as_bytes(), "{byte} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_as_published_and_is_read(address: [u8; 20]) {
            let text = published(&address);
            prop_assert_eq!(&write(&address)[..], text.as_bytes());
            prop_assert_eq!(read(&text), Some(address));
            prop_assert_eq!(read(&text.to_uppercase()), None);
        }
    }
}
