use support::published;

use super::Did;
use crate::fixture::{chain, genesis, named};

const TEXT: &str = "did:zynk:aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";

#[test]
fn an_identifier_has_one_spelling() {
    let did: Did = TEXT.parse().expect("a valid identifier");
    assert_eq!(did, Did(std::array::from_fn(|place| u8::try_from(place).expect("below 32"))));
    assert_eq!(did.to_string(), TEXT);
    assert_eq!(did.state_key(), format!("identity/{}", &TEXT[9..]).into_bytes());
    let cut = &TEXT[..TEXT.len() - 1];
    for (story, wrong) in [
        ("nothing", String::new()),
        ("no identifier", "did:zynk:".to_owned()),
        ("a letter short", cut.to_owned()),
        ("a letter long", format!("{TEXT}a")),
        ("upper case", TEXT.to_uppercase()),
        ("upper case in the identifier", format!("did:zynk:{}", TEXT[9..].to_uppercase())),
        ("upper case in the method", TEXT.replace("zynk", "Zynk")),
        ("another method", TEXT.replace("zynk", "plc")),
        ("trailing bits set", format!("{cut}r")),
        ("a digit outside the alphabet", format!("{cut}1")),
        ("padding", format!("{TEXT}====")),
        ("padding for letters", format!("{}====", &TEXT[..TEXT.len() - 4])),
        ("a blank before", format!(" {TEXT}")),
        ("a line end", format!("{TEXT}\n")),
        ("a line end for a letter", format!("{cut}\n")),
        ("a fragment", format!("{TEXT}#device-1")),
        ("a path", format!("{TEXT}/..")),
        ("a query", format!("{TEXT}?versionId=1")),
        ("percent-encoding", TEXT.replace("aaaq", "%61aaq")),
        ("a letter of another script", TEXT.replace("aaaq", "\u{430}aq")),
    ] {
        assert!(wrong.parse::<Did>().is_err(), "{story}: {wrong}");
    }
}

#[test]
fn the_identifier_is_of_the_whole_genesis() {
    let did = Did::of(&genesis());
    assert_eq!(did, Did::of(&genesis()));
    let mut others = vec![genesis(); 8];
    others[0].chain = named("zynk-test-2");
    others[1].control.threshold = 2;
    others[2].next_control.0[0] ^= 1;
    others[3].recovery.0[31] ^= 1;
    others[4].recovery_delay += 1;
    others[5].devices = types::List::default();
    others[6].services = types::List::default();
    others[7].nonce[15] ^= 1;
    let mut seen = vec![did];
    for other in others {
        let did = Did::of(&other);
        assert!(!seen.contains(&did), "{other:?}");
        seen.push(did);
    }
    assert_eq!(genesis().chain, chain());
}

#[test]
fn published_identifiers_of_other_methods_are_refused() {
    for folder in ["did-webvh/vectors", "did-plc-audit-logs/interop_tests"] {
        let Some(root) = published(folder) else { return };
        let mut found = 0;
        for text in strings(&root) {
            assert!(text.parse::<Did>().is_err(), "{text}");
            assert!(format!("did:zynk:{}", text.rsplit(':').next().unwrap_or_default()).parse::<Did>().is_err(), "{text}");
            found += 1;
        }
        assert!(found > 10, "{folder} has identifiers");
    }
}

/// Every `did:…` string in the files below `root`.
fn strings(root: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(root).expect("the published folder can be read") {
        let path = item.expect("an item of the folder").path();
        if path.is_dir() {
            found.extend(strings(&path));
        } else {
            let text = std::fs::read_to_string(&path).expect("published text");
            found.extend(text.split('"').filter(|part| part.starts_with("did:")).map(str::to_owned));
        }
    }
    found
}
