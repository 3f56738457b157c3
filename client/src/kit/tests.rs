use super::*;

const WORDS_OF_ONES: &str = "abstract above abstract above abstract above abstract above abstract above abstract above";

#[test]
fn words_are_read_as_people_type_them_and_refused_with_the_reason() {
    let kit = RecoveryKit::from_bytes([0; 32]);
    // BIP-39's own vector: 32 zero bytes.
    let expected = format!("{}art", "abandon ".repeat(23));
    assert_eq!(kit.words().join(" "), expected);
    let check = |story: &str, words: &str, expected: Result<[u8; 32], BadWords>| {
        assert_eq!(RecoveryKit::parse(words).map(|kit| *kit.bytes()), expected, "{story}");
    };
    check("as printed", &expected, Ok([0; 32]));
    check("in capitals, over lines", &expected.to_uppercase().replace(' ', " \n\t"), Ok([0; 32]));
    check("too few", WORDS_OF_ONES, Err(BadWords::Count { found: 12 }));
    check("none", "", Err(BadWords::Count { found: 0 }));
    check("a typing error", &expected.replacen("abandon", "abandom", 1), Err(BadWords::Word { place: 1 }));
    check("the wrong last word", &expected.replace("art", "abandon"), Err(BadWords::Checksum));
}

#[test]
fn every_key_is_another() {
    let (one, other) = (RecoveryKit::from_bytes([1; 32]), RecoveryKit::from_bytes([2; 32]));
    let mut keys: Vec<_> =
        [&one, &other].iter().flat_map(|kit| [kit.control(0), kit.control(1), kit.control(300), kit.recovery()]).collect();
    keys.sort_by_key(SigningKey::public);
    keys.dedup_by_key(|key| key.public());
    assert_eq!(keys.len(), 8);
}

#[test]
fn a_kit_does_not_show_itself() {
    assert_eq!(format!("{:?}", RecoveryKit::generate()), "RecoveryKit");
}
