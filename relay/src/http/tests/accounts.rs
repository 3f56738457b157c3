use mailbox::Bytes;
use rpc::relay::{Operate, Operated, Register, Registered, Registration, path};
use types::{Encode as _, Height, Millis};

use super::door::START;
use super::{Door, Mood};
use crate::accounts::invitation;
use crate::accounts::tests::Person;

#[tokio::test]
async fn a_new_identity_is_created_at_the_relays_cost() {
    let (door, person) = (Door::open().await, Person::new());
    let answer = door.post(path::REGISTER, None, &Door::registration(&person)).await;
    assert_eq!(answer.read::<Registered>(), Registered { did: person.did(), height: Some(Height(2)) });
    let again = door.post(path::REGISTER, None, &Door::registration(&person)).await;
    assert_eq!(again.read::<Registered>(), Registered { did: person.did(), height: None }, "who did not hear of it asks again");
    assert_eq!(door.chain.sponsored(), 1, "and it is paid for once");
}

#[tokio::test]
async fn an_identity_that_exists_is_proven() {
    let (door, person) = (Door::open().await, Person::new());
    let register = Register { operation: None, ..Door::registration(&person) };
    assert_eq!(door.post(path::REGISTER, None, &register).await.code(), 7023, "not yet");
    door.chain.include(&person.create).expect("created elsewhere");
    let answer = door.post(path::REGISTER, None, &register).await;
    assert_eq!(answer.read::<Registered>(), Registered { did: person.did(), height: None });
    assert_eq!(door.chain.sponsored(), 0);
    let mut other = Person::new();
    door.chain.include(&other.create).expect("created");
    let end = other.deactivating();
    other.apply(&end);
    door.chain.include(&end).expect("deactivated");
    assert_eq!(door.post(path::REGISTER, None, &Door::registration(&other)).await.code(), 7024, "and is over");
}

#[tokio::test]
async fn registrations_are_refused_before_they_cost_anything() {
    let door = Door::open().await;
    let (mut person, other) = (Person::new(), Person::new());
    let good = Door::registration(&person);
    let mut forged = person.create.clone();
    forged.signatures = other.create.signatures.clone();
    let stale = identity::SignedOperation { valid_until: Height(0), ..person.create.clone() };
    let adding = person.adding();
    let with = |operation: Vec<u8>| Register { operation: Some(Bytes(operation)), ..good.clone() };
    let mut peer = 0;
    let mut check = async |story: &str, request: Register, expected: u64| {
        peer += 1;
        let answer = door.send_from(&format!("192.0.2.{peer}"), "POST", path::REGISTER, None, &request).await;
        assert_eq!((answer.code(), door.chain.sponsored()), (expected, 0), "{story}: {answer:?}");
    };
    check("no operation", with(vec![]), 7025).await;
    check("bytes behind it", with([person.create.to_bytes(), vec![0]].concat()), 7025).await;
    check("a long one", with(vec![1; 4_097]), 7025).await;
    check("another signature", with(forged.to_bytes()), 7025).await;
    check("one that has expired", with(stale.to_bytes()), 7025).await;
    check("an operation on what does not exist", with(adding.to_bytes()), 7023).await;
    check("another identity's", with(other.create.to_bytes()), 7026).await;
    check("a long body", with(vec![1; 20_000]), 7003).await;
    door.chain.be(Mood::Away);
    check("while the chain is away", good.clone(), 7053).await;
    door.chain.be(Mood::Late);
    check("while nothing gets into a block", good.clone(), 7052).await;
    door.chain.be(Mood::Full);
    check("while the mempool is full", good.clone(), 7051).await;
    door.chain.be(Mood::Well);
    assert_eq!(door.post(path::REGISTER, None, &good).await.code(), 0, "and none of it is in the way of a good one");
}

#[tokio::test]
async fn the_policy_says_who_may_register() {
    let closed = Door::with(|config| config.registration = Registration::Closed).await;
    assert_eq!(closed.post(path::REGISTER, None, &Door::registration(&Person::new())).await.code(), 7021);
    let door = Door::with(|config| config.registration = Registration::Invitation).await;
    door.app.accounts.invite(&invitation("come in"), Millis(START), Millis(START + 1_000)).await.expect("stored");
    door.app.accounts.invite(&invitation("too late"), Millis(START), Millis(START)).await.expect("stored");
    let (person, other) = (Person::new(), Person::new());
    let with = |person: &Person, code: Option<&str>| Register { invitation: code.map(ToOwned::to_owned), ..Door::registration(person) };
    let check = async |story: &str, request: Register, expected: u64| {
        let answer = door.post(path::REGISTER, None, &request).await;
        assert_eq!(answer.code(), expected, "{story}: {answer:?}");
    };
    check("without", with(&person, None), 7022).await;
    check("with none of ours", with(&person, Some("let me in")), 7022).await;
    check("with one that has expired", with(&person, Some("too late")), 7022).await;
    door.chain.be(Mood::Late);
    check("the chain is slow", with(&person, Some("come in")), 7052).await;
    door.chain.be(Mood::Well);
    check("the invitation is still this person's", with(&person, Some("come in")), 0).await;
    check("and nobody else's", with(&other, Some("come in")), 7022).await;
}

#[tokio::test]
async fn budgets_and_limits_hold() {
    let door = Door::with(|config| {
        config.sponsor.per_day = 4;
        config.sponsor.per_identity = 2;
        config.limits.registrations = 3;
    })
    .await;
    let check = async |story: &str, peer: &str, expected: u64| {
        let answer = door.send_from(peer, "POST", path::REGISTER, None, &Door::registration(&Person::new())).await;
        assert_eq!(answer.code(), expected, "{story}: {answer:?}");
        if expected != 0 {
            assert!(answer.json["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{story}: {answer:?}");
            assert!(answer.headers.contains_key("retry-after"), "{story}");
            assert_eq!(answer.status, 429, "{story}");
        }
    };
    let mut person = door.registered().await;
    let tokens = door.signed_in(&person, 1).await;
    let add = person.adding();
    let operate = Operate { operation: Bytes(add.to_bytes()) };
    let operated = door.post(path::OPERATE, Some(&tokens.access_token), &operate).await;
    assert_eq!(operated.read::<Operated>(), Operated { height: Height(3) });
    person.apply(&add);
    let remove = Operate { operation: Bytes(person.removing(2).to_bytes()) };
    assert_eq!(door.post(path::OPERATE, Some(&tokens.access_token), &remove).await.code(), 7032, "two operations of one identity");
    check("a third operation", "192.0.2.9", 0).await;
    door.chain.be(Mood::Full);
    let refused = door.send_from("192.0.2.9", "POST", path::REGISTER, None, &Door::registration(&Person::new())).await;
    assert_eq!(refused.code(), 7051, "what cost nothing does not count");
    door.chain.be(Mood::Well);
    check("a fourth", "192.0.2.9", 0).await;
    check("from one address", "192.0.2.9", 7033).await;
    check("of everybody", "192.0.2.10", 7031).await;
    check("an IPv6 network is one address", "2001:db8:9::1", 7031).await;
    door.pass(24 * 3_600 * 1_000);
    check("the next day", "192.0.2.9", 0).await;
}

#[tokio::test]
async fn one_identity_has_one_operation_on_its_way() {
    let (door, person) = (Door::open().await, Person::new());
    let way = door.app.set_out(person.did()).expect("room");
    assert_eq!(door.post(path::REGISTER, None, &Door::registration(&person)).await.code(), 7036);
    drop(way);
    assert_eq!(door.post(path::REGISTER, None, &Door::registration(&person)).await.code(), 0);
}

#[tokio::test]
async fn the_relay_pays_for_ones_own_identity_only() {
    let door = Door::open().await;
    let (mut person, mut other) = (door.registered().await, door.registered().await);
    let tokens = door.signed_in(&person, 1).await;
    let operate = async |operation: &identity::SignedOperation| {
        door.post(path::OPERATE, Some(&tokens.access_token), &Operate { operation: Bytes(operation.to_bytes()) }).await.code()
    };
    let (own, others) = (person.adding(), other.adding());
    assert_eq!(operate(&others).await, 7018, "another's");
    assert_eq!(operate(&person.create).await, 7018, "a creation");
    assert_eq!(operate(&Person::new().create).await, 7018, "another's creation");
    assert_eq!(operate(&own).await, 0);
    assert_eq!(operate(&own).await, 7025, "the same again");
    person.apply(&own);
    assert_eq!(door.app.accounts.account(&person.did()).await.expect("read").expect("an account").entry.devices.len(), 2, "at once");
    assert_eq!(operate(&person.removing(1)).await, 0, "the device that asks removes itself");
    assert_eq!(door.get(path::SESSIONS, Some(&tokens.access_token)).await.code(), 7014, "and has no session from then on");
}
