use proptest::prelude::*;

use super::{Blob, Decode, DecodeError, Encode, List, Reader, Text, put_number};
use crate::{Address, Amount, ChainId, Hash, PublicKey};

fn refused<T: Decode + std::fmt::Debug + PartialEq>(story: &str, bytes: &[u8], error: DecodeError) {
    assert_eq!(T::from_bytes(bytes), Err(error), "{story}");
}

#[test]
fn malformed_bytes_are_refused() {
    refused::<u64>("empty", &[], DecodeError::Truncated { missing: 1 });
    refused::<u64>("a number padded with a zero byte", &[0x80, 0x00], DecodeError::Number);
    refused::<u64>("a number of more than 64 bits", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], DecodeError::Number);
    refused::<u64>("a number that never ends", &[0xff; 11], DecodeError::Number);
    refused::<u16>("a number too wide for its type", &[0x80, 0x80, 0x04], DecodeError::Number);
    refused::<bool>("neither true nor false", &[2], DecodeError::Tag { what: "bool", found: 2 });
    refused::<u8>("bytes left over", &[1, 2], DecodeError::Trailing { left: 1 });
    refused::<[u8; 4]>("too few bytes", &[1, 2], DecodeError::Truncated { missing: 2 });
    refused::<List<u8, 2>>("a list above its bound", &[3, 1, 1, 1], DecodeError::Bound { found: 3, bound: 2 });
    refused::<Blob<2>>("bytes above their bound", &[3, 1, 1, 1], DecodeError::Bound { found: 3, bound: 2 });
    refused::<Text<9>>("text that is not UTF-8", &[1, 0xff], DecodeError::Utf8);
    refused::<ChainId>("a chain id with a blank", b"\x03a b", DecodeError::Value { what: "chain id (1 to 50 of a-z A-Z 0-9 - _ .)" });
}

#[test]
fn a_lying_count_reserves_no_memory() {
    let mut bytes = Vec::new();
    put_number(1 << 40, &mut bytes);
    refused::<List<u64, { usize::MAX }>>("a count of 2^40 in 6 bytes", &bytes, DecodeError::Truncated { missing: 1 });
}

#[test]
fn amounts_read_as_people_type_them() {
    for (text, micro) in [("1", 1_000_000), ("0.000001", 1), ("12.5 ZYNK", 12_500_000), ("7uzynk", 7), ("18446744073709.551615", u64::MAX)]
    {
        assert_eq!(text.parse(), Ok(Amount(micro)), "{text}");
    }
    for text in ["", ".", "1.", ".5", "-1", "+1", "1.0000001", "1e3", "18446744073709.551616", "1 BTC", "ZYNK"] {
        assert!(text.parse::<Amount>().is_err(), "{text}");
    }
    assert_eq!(Amount(12_500_000).to_string(), "12.5 ZYNK");
}

#[test]
fn an_address_catches_a_mistyped_letter() {
    let address = PublicKey([7; 32]).address();
    let text = address.to_string();
    assert_eq!(text.parse(), Ok(address));
    let swapped = if text.ends_with('q') { 'p' } else { 'q' };
    let mistyped = format!("{}{swapped}", &text[..text.len() - 1]);
    for wrong in [mistyped.as_str(), "", "zynk1", &text.to_uppercase(), &text.replace("zynk1", "zink1")] {
        assert!(wrong.parse::<Address>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn every_number_has_one_encoding(value: u64) {
        let bytes = value.to_bytes();
        prop_assert_eq!(u64::from_bytes(&bytes), Ok(value));
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        type Sample = List<Option<Text<8>>, 4>;
        let mut reader = Reader::new(&bytes);
        if let Ok(value) = Sample::decode(&mut reader) {
            let read = bytes.len() - reader.remaining();
            prop_assert_eq!(value.to_bytes(), &bytes[..read]);
        }
    }

    #[test]
    fn json_carries_hashes_and_amounts(hash: [u8; 32], micro: u64) {
        let value = (Hash(hash), Amount(micro));
        let json = serde_json::to_string(&value).expect("serialises");
        prop_assert_eq!(serde_json::from_str::<(Hash, Amount)>(&json).expect("parses"), value);
    }
}
