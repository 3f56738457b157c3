use audit::bundle::{Bundle, verify};
use light::{Options, StateProof};
use serde_json::{Value, json};
use types::{Address, Hash};

use super::chain::{Lie, World, soon};
use super::world::{BOTH, Door, Stand, read, token};

#[tokio::test]
async fn what_the_chain_holds_can_be_checked_again() {
    for stand in BOTH {
        let world = World::new(Lie::None);
        let (alice, log) = (world.alice, world.anchored.anchor.anchor.log);
        let entry = serde_json::to_value(&world.entry).expect("JSON");
        let header = world.header(6).clone();
        let door = Door::with(stand, world, |_| {}).await;
        let stories = [
            (format!("identities/{alice}"), entry),
            (
                format!("identities/{}", alice.to_string().replace(':', "%3a")),
                serde_json::to_value(&World::new(Lie::None).entry).expect("JSON"),
            ),
            (format!("accounts/{}", Address([1; 20])), json!({"balance": "75", "sequence": 4})),
            (format!("accounts/{}", Address([2; 20])), Value::Null),
            (format!("logs/{log}"), Value::Null),
            ("params".to_owned(), serde_json::to_value(ledger::Params::default()).expect("JSON")),
        ];
        for (place, (path, value)) in stories.into_iter().enumerate() {
            let (status, said) = door.json(&format!("/chain/v1/{path}")).await;
            // Keys are drawn anew for each world: the second story only shows the spelling.
            assert!(status == 200 && (place == 1 || said["value"] == value), "{stand:?}: {path}: {said}");
            let proof = &said["proof"];
            let bytes = |name: &str| hex::decode(proof[name].as_str().expect("text")).expect("hexadecimal");
            let root = Hash(bytes("app_hash").try_into().expect("32 bytes"));
            assert_eq!((&proof["height"], &proof["header_height"]), (&json!(5), &json!(6)), "{path}");
            assert_eq!(bytes("app_hash"), header.header.app_hash.as_bytes());
            let shown = StateProof::from_ics23(&bytes("key"), &bytes("ics23")).expect("a proof");
            assert_eq!(shown.leads_from(&bytes("key"), &root), Ok(true), "{path}");
            assert_eq!(shown.value().map(hex::encode), proof["entry"].as_str().map(str::to_owned), "{path}: of presence or of absence");
        }
        let (status, said) = door.json("/chain/v1/header").await;
        assert_eq!((status, &said["value"]), (200, &serde_json::to_value(&header).expect("JSON")), "{stand:?}");
        let (status, said) = door.json("/chain/v1/header?height=3").await;
        assert_eq!((status, &said["proof"]["header_height"], &said["proof"]["origin"]), (200, &json!(3), &json!("genesis")), "{stand:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    let stories = [
        ("identities/did:zynk:x", Lie::None, 400, 7551),
        ("accounts/zynk1x", Lie::None, 400, 7551),
        ("logs/12", Lie::None, 400, 7551),
        ("header?height=0", Lie::None, 400, 7551),
        ("header?height=x", Lie::None, 400, 7551),
        ("header?height=1&height=2", Lie::None, 400, 7551),
        ("header?hight=1", Lie::None, 400, 7551),
        ("header?height=99", Lie::None, 404, 7552),
        ("nothing", Lie::None, 404, 7511),
        ("params/more", Lie::None, 404, 7511),
        ("params", Lie::Header, 502, 7553),
        ("header", Lie::Header, 502, 7553),
        ("params", Lie::OldState, 502, 7553),
    ];
    for (path, lie, status, code) in stories {
        let door = Door::with(Stand::Remote, World::new(lie), |_| {}).await;
        let (found, said) = door.json(&format!("/chain/v1/{path}")).await;
        assert_eq!((found, &said["code"]), (status, &json!(code)), "{path} {lie:?}: {said}");
    }
    let door = Door::with(Stand::Remote, World::new(Lie::None), |settings| settings.limits.proofs = 1).await;
    let mut all = Vec::new();
    for (status, _) in futures::future::join_all((0..8).map(|_| door.json("/chain/v1/params"))).await {
        all.push(status);
    }
    assert!(all.contains(&200) && all.iter().all(|status| [200, 503].contains(status)), "so many at once: {all:?}");
}

#[tokio::test]
async fn a_bundle_is_completed_and_holds() {
    for stand in BOTH {
        let world = World::new(Lie::None);
        let (leaf, log) = (world.item.opening.leaf(), world.anchored.anchor.anchor.log);
        assert_eq!(world.head().size, 3);
        let trust = world.trust();
        let door = Door::with(stand, world, |_| {}).await;
        let (commitment, envelope) = (Hash([6; 32]), Hash([7; 32]));
        let whole = format!("leaf={leaf}&commitment={commitment}&envelope={envelope}");
        let ask = |place: &str, query: &str, id: &str| {
            let id = format!("0190f3c2-7b5a-7cc3-98a1-01234567890{id}");
            door.get(&format!("/chain/v1/bundles/{place}?{query}")).header("x-request-id", id)
        };
        let here = format!("{log}/1");
        let answer = ask(&here, &whole, "0").bearer_auth(token(1, 60)).send().await.expect("answered");
        assert_eq!(answer.status().as_u16(), 200, "{stand:?}");
        let bundle = Bundle::from_json(&answer.bytes().await.expect("a body")).expect("a bundle");
        let verdict = verify(&bundle, &trust, soon(), &Options::default()).expect("it holds without the gateway");
        assert_eq!(verdict.height.0, 6);
        let binary = ask(&here, &whole, "0").bearer_auth(token(1, 60)).header("accept", "application/vnd.zynk.bundle");
        let bytes = binary.send().await.expect("answered").bytes().await.expect("a body");
        assert_eq!(Bundle::from_bytes(&bytes).expect("a bundle"), bundle, "{stand:?}");

        let good = Some(token(1, 60));
        let other = Hash([5; 32]);
        let stories = [
            ("without a token: the relay's own refusal", here.clone(), whole.clone(), "0", None, 401, 7013),
            ("a forged token does not get there", here.clone(), whole.clone(), "0", Some(token(2, 60)), 401, 7531),
            (
                "halves of another leaf",
                here.clone(),
                format!("leaf={leaf}&commitment={other}&envelope={envelope}"),
                "0",
                good.clone(),
                400,
                7551,
            ),
            ("no leaf", here.clone(), format!("commitment={commitment}&envelope={envelope}"), "0", good.clone(), 400, 7551),
            ("not anchored yet", here.clone(), whole.clone(), "1", good.clone(), 409, 7554),
            ("in another batch", here.clone(), whole.clone(), "2", good.clone(), 409, 7555),
            ("another log", format!("{other}/1"), whole.clone(), "0", good.clone(), 409, 7555),
            ("no log", "x/1".to_owned(), whole.clone(), "0", good.clone(), 400, 7551),
            ("no sequence", format!("{log}/x"), whole, "0", good, 400, 7551),
        ];
        for (story, place, query, id, bearer, status, code) in stories {
            let request = ask(&place, &query, id);
            let request = if let Some(bearer) = bearer { request.bearer_auth(bearer) } else { request };
            let (found, said) = read(request).await;
            assert_eq!((found, &said["code"]), (status, &json!(code)), "{stand:?}: {story}: {said}");
        }
    }
}
