use serde_json::{Map, Value, json};
use types::Millis;

use super::{Facts, Problem, Representation, Resolution, Version, requested, timestamp, timestamp_millis};
use crate::document::Document;
use crate::fixture::{alice, life};

/// 2026-11-21T01:09:41Z.
const NOW: u64 = 1_795_223_381_000;

fn json(resolution: &Resolution) -> Value {
    serde_json::to_value(resolution).expect("JSON")
}

#[test]
fn an_identity_is_found() {
    let (did, entry) = alice();
    let proof = Map::from_iter([("type".to_owned(), json!("ZynkStateProof"))]);
    let facts = Facts { created: Some(Millis(NOW)), updated: Some(Millis(NOW)), ended: None, proof: vec![proof.clone()] };
    let resolution = Resolution::found(&did, &entry, facts);
    assert_eq!(resolution.status(), 200);
    let expected = json!({
        "didDocument": Document::render(&did, &entry),
        "didResolutionMetadata": { "contentType": "application/did" },
        "didDocumentMetadata": { "created": "2026-11-21T01:09:41Z", "versionId": "0", "proof": [proof] },
    });
    assert_eq!(json(&resolution), expected);
}

#[test]
fn an_earlier_version_names_the_one_after_it() {
    let (_, signed, entry) = &life()[1];
    let facts = Facts { created: Some(Millis(0)), updated: Some(Millis(1999)), ended: Some(Millis(NOW)), proof: Vec::new() };
    let resolution = Resolution::found(&signed.did, entry, facts);
    let expected = json!({
        "created": "1970-01-01T00:00:00Z",
        "updated": "1970-01-01T00:00:01Z",
        "versionId": "1",
        "nextVersionId": "2",
        "nextUpdate": "2026-11-21T01:09:41Z",
    });
    assert_eq!(json(&resolution)["didDocumentMetadata"], expected);
}

#[test]
fn a_deactivated_identity_is_gone() {
    let life = life();
    let (_, signed, entry) = life.last().expect("a last step");
    let resolution = Resolution::found(&signed.did, entry, Facts::default());
    assert_eq!(resolution.status(), 410);
    let expected = json!({
        "didDocument": null,
        "didResolutionMetadata": {},
        "didDocumentMetadata": { "deactivated": true, "versionId": "8" },
    });
    assert_eq!(json(&resolution), expected);
}

#[test]
fn each_problem_has_its_uri_and_status() {
    for (problem, name, status) in [
        (Problem::InvalidDid, "INVALID_DID", 400),
        (Problem::InvalidDidUrl, "INVALID_DID_URL", 400),
        (Problem::InvalidOptions, "INVALID_OPTIONS", 400),
        (Problem::NotFound, "NOT_FOUND", 404),
        (Problem::RepresentationNotSupported, "REPRESENTATION_NOT_SUPPORTED", 406),
        (Problem::InvalidDidDocument, "INVALID_DID_DOCUMENT", 500),
        (Problem::MethodNotSupported, "METHOD_NOT_SUPPORTED", 501),
        (Problem::FeatureNotSupported, "FEATURE_NOT_SUPPORTED", 501),
        (Problem::InternalError, "INTERNAL_ERROR", 500),
    ] {
        let resolution = Resolution::failed(problem, "what in particular");
        assert_eq!(resolution.status(), status, "{name}");
        let uri = format!("https://www.w3.org/ns/did#{name}");
        let error = json!({ "type": uri, "title": problem.title(), "detail": "what in particular" });
        let expected = json!({ "didDocument": null, "didResolutionMetadata": { "error": error }, "didDocumentMetadata": {} });
        assert_eq!(json(&resolution), expected);
    }
    assert!(json(&Resolution::failed(Problem::NotFound, "")).pointer("/didResolutionMetadata/error/detail").is_none());
}

#[test]
fn what_is_asked_for_is_read_once() {
    let (did, _) = alice();
    assert_eq!(requested(&did.to_string()), Ok(did));
    for (text, problem) in [
        ("did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp", Problem::MethodNotSupported),
        ("did:web:example.com%3A3000:user", Problem::MethodNotSupported),
        ("did:zynk:", Problem::InvalidDid),
        ("did:zynk:abc", Problem::InvalidDid),
        ("did:key:", Problem::InvalidDid),
        ("did:key:a:", Problem::InvalidDid),
        ("did:KEY:a", Problem::InvalidDid),
        ("did::a", Problem::InvalidDid),
        ("did:web:a%3", Problem::InvalidDid),
        ("did:web:a/b", Problem::InvalidDid),
        ("did:web:a#b", Problem::InvalidDid),
        ("did", Problem::InvalidDid),
        ("DID:zynk:a", Problem::InvalidDid),
        ("", Problem::InvalidDid),
        ("https://example.com", Problem::InvalidDid),
    ] {
        assert_eq!(requested(text), Err(problem), "{text}");
    }
}

#[test]
fn versions_are_asked_for_one_way() {
    assert_eq!(Version::requested(None, None), Ok(Version::Latest));
    assert_eq!(Version::requested(Some("12"), None), Ok(Version::Sequence(12)));
    assert_eq!(Version::requested(None, Some("2026-11-21T01:09:41Z")), Ok(Version::At(Millis(NOW))));
    for (id, time) in [
        (Some("1"), Some("2026-11-21T01:09:41Z")),
        (Some(""), None),
        (Some("01"), None),
        (Some("+1"), None),
        (Some("1x"), None),
        (Some("18446744073709551616"), None),
        (None, Some("2026-11-21")),
    ] {
        assert_eq!(Version::requested(id, time), Err(Problem::InvalidOptions), "{id:?} {time:?}");
    }
}

#[test]
fn the_accepted_form_of_most_weight_wins() {
    for (accept, form) in [
        (None, Representation::Result),
        (Some("*/*"), Representation::Result),
        (Some("application/did-resolution"), Representation::Result),
        (Some("application/did"), Representation::Document),
        (Some("Application/DID"), Representation::Document),
        (Some("text/html, application/did;q=0.8, */*;q=0.1"), Representation::Document),
        (Some("application/did;q=0.5, application/did-resolution;q=0.501"), Representation::Result),
        (Some("application/did, application/did-resolution"), Representation::Document),
        (Some("application/did;q=0, application/*;q=0.001"), Representation::Result),
    ] {
        assert_eq!(Representation::requested(accept), Ok(form), "{accept:?}");
    }
    for accept in [
        "",
        "text/html",
        "application/did+cbor",
        "application/did;q=0",
        "application/did;q=2",
        "application/did;q=0.0001",
        "application/did;q=x",
    ] {
        assert_eq!(Representation::requested(Some(accept)), Err(Problem::RepresentationNotSupported), "{accept}");
    }
    assert_eq!(Representation::Document.media_type(), "application/did");
}

#[test]
fn times_are_read_as_they_are_written() {
    for (millis, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400_000, "2000-02-29T00:00:00Z"),
        (4_107_542_399_000, "2100-02-28T23:59:59Z"),
        (NOW, "2026-11-21T01:09:41Z"),
        (253_402_300_799_000, "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(timestamp(Millis(millis)).as_deref(), Some(text));
        assert_eq!(timestamp(Millis(millis + 999)).as_deref(), Some(text), "the fraction is dropped");
        assert_eq!(timestamp_millis(text), Some(Millis(millis)));
    }
    assert_eq!(timestamp(Millis(253_402_300_800_000)), None, "the year 10000");
    assert_eq!(timestamp(Millis(u64::MAX)), None);
    for text in [
        "",
        "2026-11-21",
        "2026-11-21T01:09:41",
        "2026-11-21T01:09:41z",
        "2026-11-21t01:09:41Z",
        "2026-11-21 01:09:41Z",
        "2026-11-21T01:09:41.000Z",
        "2026-11-21T01:09:41+00:00",
        "2026-11-21T24:00:00Z",
        "2026-11-21T01:60:41Z",
        "2026-11-21T01:09:60Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "+026-11-21T01:09:41Z",
        "2026-11-21T01:09:4\u{e9}Z",
    ] {
        assert_eq!(timestamp_millis(text), None, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn every_second_reads_back(seconds in 0..253_402_300_800u64) {
        let time = Millis(seconds * 1000);
        proptest::prop_assert_eq!(timestamp(time).and_then(|text| timestamp_millis(&text)), Some(time));
    }
}
