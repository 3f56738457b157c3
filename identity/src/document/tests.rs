use serde_json::json;

use super::Document;
use crate::fixture::{CONTROL, PHONE, alice, create, genesis, life, put, set};
use crate::operation::Genesis;

#[test]
fn a_document_says_what_the_entry_says() {
    let (did, entry) = alice();
    let id = did.to_string();
    let (control, device, signal) = (format!("{did}#control-0"), format!("{did}#device-1"), format!("{did}#device-1-signal"));
    let rendered = serde_json::to_value(Document::render(&did, &entry)).expect("JSON");
    let method = |id: &str, key: &serde_json::Value| json!({ "id": id, "type": "Multikey", "controller": did, "publicKeyMultibase": key });
    let keys = [0, 1, 2].map(|place| rendered["verificationMethod"][place]["publicKeyMultibase"].clone());
    let expected = json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": id,
        "verificationMethod": [method(&control, &keys[0]), method(&device, &keys[1]), method(&signal, &keys[2])],
        "authentication": [device],
        "assertionMethod": [device],
        "keyAgreement": [signal],
        "capabilityInvocation": [control],
        "service": [{ "id": format!("{did}#service-0"), "type": "ZynkRelay", "serviceEndpoint": "https://relay.example.org" }],
    });
    assert_eq!(rendered, expected);
    for (key, kind) in keys.iter().zip(["z6Mk", "z6Mk", "z6LS"]) {
        assert!(key.as_str().is_some_and(|key| key.starts_with(kind)), "{key}");
    }
}

#[test]
fn a_key_that_is_not_enough_alone_is_not_said_to_be() {
    let genesis = Genesis { control: set(&[CONTROL, 4], 2), ..genesis() };
    let first = create(genesis, &[PHONE], &[CONTROL, 4]);
    let document = Document::render(&first.did, &put(None, &first).expect("a valid creation"));
    assert_eq!(document.verification_method.len(), 4);
    assert!(document.capability_invocation.is_empty());
}

#[test]
fn every_reference_is_to_a_method_of_the_document() {
    for (name, signed, entry) in life() {
        let document = Document::render(&signed.did, &entry);
        let ids: Vec<_> = document.verification_method.iter().map(|method| &method.id).collect();
        let references = [&document.authentication, &document.assertion_method, &document.key_agreement, &document.capability_invocation];
        assert!(references.into_iter().flatten().all(|reference| ids.contains(&reference)), "{name}");
        assert_eq!(document.authentication.len(), entry.devices.len(), "{name}");
        assert_eq!(ids.is_empty(), entry.is_deactivated(), "{name}");
    }
}
