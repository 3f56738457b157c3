use identity::Document;
use serde_json::{Value, json};

use super::chain::{Lie, World};
use super::world::{BOTH, Door, Stand, read};

const RESULT: &str = "application/did-resolution";

#[tokio::test]
async fn a_did_is_resolved_and_proven() {
    for stand in BOTH {
        let world = World::new(Lie::None);
        let (alice, entry) = (world.alice, world.entry.clone());
        let (hash, app) = (world.header(6).header.hash().to_string(), world.header(6).header.app_hash.to_string());
        let door = Door::with(stand, world, |_| {}).await;
        let document = serde_json::to_value(Document::render(&alice, &entry)).expect("JSON");
        for path in [format!("/1.0/identifiers/{alice}"), format!("/1.0/identifiers/{}", alice.to_string().replace(':', "%3A"))] {
            let answer = door.get(&path).header("accept", RESULT).send().await.expect("answered");
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["content-type"]),
                (200, &RESULT.parse().expect("a value")),
                "{stand:?}"
            );
            let said: Value = answer.json().await.expect("JSON");
            assert_eq!(said["didDocument"], document, "{stand:?} {path}");
            assert_eq!(said["didResolutionMetadata"], json!({"contentType": "application/did"}));
            let metadata = &said["didDocumentMetadata"];
            assert_eq!((&metadata["versionId"], &metadata["created"]), (&json!("1"), &json!("2026-09-21T14:13:22Z")));
            assert_eq!(metadata["updated"], "2026-09-21T14:13:24Z");
            let proof = &metadata["proof"][0];
            assert_eq!((&proof["type"], &proof["height"], &proof["header_height"]), (&json!("ZynkStateProof"), &json!("5"), &json!("6")));
            assert_eq!(proof["header_hash"].as_str().expect("text").to_uppercase(), hash);
            assert_eq!(proof["app_hash"].as_str().expect("text").to_uppercase(), app);
            assert_eq!((&proof["ics23"], &proof["entry"]), (&Value::Null, &Value::Null), "the bytes only for who asks");
        }
        let (_, said) = door.json(&format!("/1.0/identifiers/{alice}?proof=true")).await;
        let proof = &said["didDocumentMetadata"]["proof"][0];
        let bytes = |name: &str| hex::decode(proof[name].as_str().expect("text")).expect("hexadecimal");
        let header = World::new(Lie::None).trust();
        assert_eq!((bytes("key"), bytes("entry")), (alice.state_key(), types::Encode::to_bytes(&entry)));
        let root: [u8; 32] = bytes("app_hash").try_into().expect("32 bytes");
        let ics23 = light::StateProof::from_ics23(&alice.state_key(), &bytes("ics23")).expect("a proof");
        assert_eq!(ics23.leads_from(&alice.state_key(), &types::Hash(root)), Ok(true), "{stand:?}: a stranger can check it again");
        assert_eq!(header.chain().as_str(), proof["chain"]);
    }
}

#[tokio::test]
async fn each_caller_gets_the_form_that_it_accepts() {
    let world = World::new(Lie::None);
    let (path, gone) = (format!("/1.0/identifiers/{}", world.alice), format!("/1.0/identifiers/{}", world.gone));
    let door = Door::with(Stand::InProcess, world, |_| {}).await;
    let bare = "application/did";
    let stories = [
        ("nothing said", &path, None, 200, RESULT),
        ("anything", &path, Some("*/*"), 200, RESULT),
        ("the result", &path, Some(RESULT), 200, RESULT),
        ("the document", &path, Some(bare), 200, bare),
        ("rather the document", &path, Some("application/did-resolution;q=0.5, application/did"), 200, bare),
        ("something that there is not", &path, Some("text/html"), 406, RESULT),
        ("a form of old", &path, Some("application/did+ld+json"), 406, RESULT),
        ("a deactivated identity", &gone, Some(RESULT), 410, RESULT),
        ("the document of a deactivated identity", &gone, Some(bare), 410, RESULT),
    ];
    for (story, path, accept, status, media) in stories {
        let request = door.get(path);
        let request = if let Some(accept) = accept { request.header("accept", accept) } else { request };
        let answer = request.send().await.expect("answered");
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().expect("text")), (status, media), "{story}");
        let said: Value = answer.json().await.expect("JSON");
        assert_eq!(said.get("id").is_some(), media == bare, "{story}: the bare document");
        if status == 410 {
            assert_eq!((&said["didDocument"], &said["didDocumentMetadata"]["deactivated"]), (&Value::Null, &json!(true)), "{story}");
            assert_eq!(said["didResolutionMetadata"], json!({}), "{story}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_resolved_says_why() {
    let world = World::new(Lie::None);
    let alice = world.alice.to_string();
    let absent = identity::Did([9; 32]).to_string();
    let door = Door::with(Stand::Remote, world, |_| {}).await;
    let with = |options: &str| format!("{alice}?{options}");
    let wrong = format!("did:zynk:{}", alice.strip_prefix("did:zynk:").expect("a DID").to_uppercase());
    // The public suite's inputs (did-resolution-mocha-test-suite) are among them.
    let stories = [
        ("no DID", String::new(), 400, "INVALID_DID"),
        ("not a DID", "not-a-did".to_owned(), 400, "INVALID_DID"),
        ("without an identifier", "did:example".to_owned(), 400, "INVALID_DID"),
        ("a DID URL", format!("{alice}%23device-1"), 400, "INVALID_DID"),
        ("another spelling", wrong, 400, "INVALID_DID"),
        ("no UTF-8", "did:zynk:%ff".to_owned(), 400, "INVALID_DID"),
        ("another method", "did:unsupported:123456789abcdefghi".to_owned(), 501, "METHOD_NOT_SUPPORTED"),
        ("nobody", absent, 404, "NOT_FOUND"),
        ("the present version", with("versionId=1"), 200, ""),
        ("an earlier version", with("versionId=0"), 501, "FEATURE_NOT_SUPPORTED"),
        ("a version to come", with("versionId=2"), 404, "NOT_FOUND"),
        ("a version that is none", with("versionId=01"), 400, "INVALID_OPTIONS"),
        ("a time when this version held", with("versionTime=2026-09-21T14:13:24Z"), 200, ""),
        ("a later one, encoded", with("versionTime=2026-09-21T14%3A13%3A26Z"), 200, ""),
        ("a time that is not proven yet", with("versionTime=2026-09-21T14:13:27Z"), 404, "NOT_FOUND"),
        ("a time before it", with("versionTime=2026-09-21T14:13:23Z"), 501, "FEATURE_NOT_SUPPORTED"),
        ("a time before the identity", with("versionTime=2026-09-21T14:13:21Z"), 404, "NOT_FOUND"),
        ("both", with("versionId=1&versionTime=2026-09-21T14:13:26Z"), 400, "INVALID_OPTIONS"),
        ("an option twice", with("versionId=1&versionId=1"), 400, "INVALID_OPTIONS"),
        ("no time", with("versionTime=2025-10-07"), 400, "INVALID_OPTIONS"),
        ("not UTC", with("versionTime=2025-10-07T00:00:00%2B02:00"), 400, "INVALID_OPTIONS"),
        ("part of a second", with("versionTime=2025-10-07T00:00:00.123Z"), 400, "INVALID_OPTIONS"),
        ("a value that is not ASCII", with("accept=%F0%9F%94%A5"), 400, "INVALID_OPTIONS"),
        ("a service that is not ASCII", with("service=%D0%9F"), 400, "INVALID_OPTIONS"),
        ("a service", with("service=linkedDomain"), 200, ""),
        ("a reference that is not encoded", with("relativeRef=my+path/file"), 400, "INVALID_OPTIONS"),
        ("a reference that is", with("relativeRef=my%2520path/file"), 200, ""),
        ("no cache", with("noCache=true"), 200, ""),
        ("neither true nor false", with("noCache=yes"), 400, "INVALID_OPTIONS"),
        ("absolute URLs", with("expandRelativeUrls=true"), 200, ""),
        ("an option that nobody knows", with("transform=upside-down"), 501, "FEATURE_NOT_SUPPORTED"),
        ("another form by option", with("accept=text/html"), 406, "REPRESENTATION_NOT_SUPPORTED"),
    ];
    for (story, text, status, problem) in stories {
        let (found, said) = read(door.get(&format!("/1.0/identifiers/{text}"))).await;
        assert_eq!(found, status, "{story}: {said}");
        let error = &said["didResolutionMetadata"]["error"];
        if problem.is_empty() {
            assert_eq!((error, &said["didDocument"]["id"]), (&Value::Null, &json!(alice)), "{story}");
        } else {
            assert_eq!(error["type"], format!("https://www.w3.org/ns/did#{problem}"), "{story}");
            assert_eq!((&said["didDocument"], &said["didDocumentMetadata"]), (&Value::Null, &json!({})), "{story}");
        }
    }
}

#[tokio::test]
async fn a_node_that_lies_is_not_repeated() {
    for lie in [Lie::Header, Lie::OldState] {
        let world = World::new(lie);
        let path = format!("/1.0/identifiers/{}", world.alice);
        let door = Door::with(Stand::Remote, world, |_| {}).await;
        let (status, said) = door.json(&path).await;
        assert_eq!((status, &said["didDocument"]), (500, &Value::Null), "{lie:?}");
        assert_eq!(said["didResolutionMetadata"]["error"]["type"], "https://www.w3.org/ns/did#INTERNAL_ERROR", "{lie:?}");
        assert!(door.metrics().await.contains(r#"upstream_errors_total{upstream="node",kind="unproven"} 1"#), "{lie:?}");
    }
}
