use std::collections::BTreeMap;

use serde_json::Value;
use support::published;
use types::{PublicKey, SigningKey};

use super::Multikey;

#[test]
fn other_text_is_refused() {
    let text = Multikey::Ed25519(PublicKey([7; 32])).to_string();
    assert!(text.starts_with("z6Mk"));
    assert!(Multikey::X25519([7; 32]).to_string().starts_with("z6LS"));
    for (story, wrong) in [
        ("nothing", String::new()),
        ("no base", text[1..].to_owned()),
        ("another base", text.replacen('z', "u", 1)),
        ("the base alone", "z".to_owned()),
        ("a letter short", text[..text.len() - 1].to_owned()),
        ("a letter long", format!("{text}1")),
        ("a leading zero byte", text.replacen('z', "z1", 1)),
        ("a letter outside the alphabet", format!("{}0", &text[..text.len() - 1])),
        ("a blank", format!("{text} ")),
        ("a fragment", format!("{text}#{text}")),
        ("far too long", format!("z{}", "6".repeat(100_000))),
    ] {
        assert!(wrong.parse::<Multikey>().is_err(), "{story}");
    }
}

#[test]
fn the_keys_of_did_key_read_as_published() {
    let Some(folder) = published("did-key/test-vectors") else { return };
    let ed25519 = dids(&folder.join("ed25519-x25519.json"));
    for (did, vector) in &ed25519 {
        let key: Multikey = text(did).parse().expect("a published Ed25519 key");
        assert_eq!(key.to_string(), text(did));
        let seed = vector["seed"].as_str().expect("a seed");
        let seed: PublicKey = seed.parse().expect("32 bytes in hexadecimal");
        assert_eq!(key, Multikey::Ed25519(SigningKey::from_seed(&seed.0).public()), "{did}");
        let pair = &vector["keyAgreementKeyPair"];
        let agreement = pair["id"].as_str().and_then(|id| id.split('#').nth(1)).expect("an X25519 key");
        let Ok(Multikey::X25519(key)) = agreement.parse() else { panic!("a published X25519 key: {agreement}") };
        assert_eq!(Multikey::X25519(key).to_string(), agreement);
        if let Some(bare) = pair["publicKeyBase58"].as_str() {
            assert_eq!(bs58::encode(key).into_string(), bare, "{did}");
        }
    }
    let x25519 = dids(&folder.join("x25519.json"));
    for did in x25519.keys() {
        assert!(matches!(text(did).parse(), Ok(Multikey::X25519(_))), "{did}");
    }
    let mut others = 0;
    for file in ["bls12381.json", "nist-curves.json", "rsa.json", "secp256k1.json"] {
        for did in dids(&folder.join(file)).keys() {
            assert!(text(did).parse::<Multikey>().is_err(), "{did}");
            others += 1;
        }
    }
    assert!(ed25519.len() >= 5 && !x25519.is_empty() && others >= 5, "the published vectors are there");
}

fn text(did: &str) -> &str {
    did.strip_prefix("did:key:").expect("a did:key identifier")
}

fn dids(path: &std::path::Path) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(path).expect("a published file");
    let mut dids: BTreeMap<String, Value> = serde_json::from_str(&text).expect("published JSON");
    // One file holds its documents a level deeper than the others.
    match dids.remove("didDocument") {
        Some(documents) => serde_json::from_value(documents).expect("documents by identifier"),
        None => dids,
    }
}
