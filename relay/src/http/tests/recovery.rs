//! Operations of people who cannot sign in: their control keys speak for them.

use identity::SignedOperation;
use mailbox::Bytes;
use rpc::relay::{Register, Registered, Registration, path};
use types::{Encode as _, Height, Millis};

use super::door::START;
use super::{Door, Mood};
use crate::accounts::invitation;
use crate::accounts::tests::Person;

fn carrying(person: &Person, operation: &SignedOperation) -> Register {
    Register { operation: Some(Bytes(operation.to_bytes())), ..Door::registration(person) }
}

/// A rotation to the control keys that were committed to.
fn rotating(person: &mut Person) -> SignedOperation {
    person.ring.begin_rotation();
    person.ring.rotation(&person.entry, person.create.valid_until)
}

#[tokio::test]
async fn an_identity_is_recovered_without_a_session() {
    let door = Door::open().await;
    let mut person = door.registered().await;
    let lost = door.signed_in(&person, 1).await;
    let post = async |person: &Person, operation: &SignedOperation| {
        door.post(path::REGISTER, None, &carrying(person, operation)).await.read::<Registered>().height
    };
    let rotation = rotating(&mut person);
    assert_eq!(post(&person, &rotation).await, Some(Height(3)));
    person.apply(&rotation);
    assert_eq!(door.get(path::SESSIONS, Some(&lost.access_token)).await.code(), 0, "its devices are still there");
    let addition = person.adding();
    assert_eq!(post(&person, &addition).await, Some(Height(4)));
    person.apply(&addition);
    let removal = person.removing(1);
    assert_eq!(post(&person, &removal).await, Some(Height(5)));
    person.apply(&removal);
    assert_eq!(door.get(path::SESSIONS, Some(&lost.access_token)).await.code(), 7014, "the lost device is out at once");
    let found = door.signed_in(&person, 2).await;
    assert_eq!(door.get(path::SESSIONS, Some(&found.access_token)).await.code(), 0, "the new one is in");
    assert_eq!(door.chain.sponsored(), 4);
}

#[tokio::test]
async fn what_is_no_recovery_is_refused_before_it_costs_anything() {
    let door = Door::open().await;
    let (mut person, mut other) = (door.registered().await, door.registered().await);
    let unknown = Person::new();
    let paid = door.chain.sponsored();
    let mut forged = rotating(&mut person);
    forged.signatures = rotating(&mut other).signatures;
    let by_device = {
        let (chain, until) = (&door.app.relay.chain, person.create.valid_until);
        let operation = identity::Operation::RemoveDevice { device: 1 };
        let draft = identity::Draft::new(chain, &person.did(), &person.entry, operation, until);
        draft.sign_as_device(1, &person.key(1)).finish().expect("an operation")
    };
    let stale = SignedOperation { valid_until: Height(0), ..person.adding() };
    let (good, others, ending, nobodys) = (person.adding(), other.adding(), person.deactivating(), unknown.removing(1));
    let check = async |story: &str, register: Register, expected: u64| {
        let answer = door.post(path::REGISTER, None, &register).await;
        assert_eq!((answer.code(), door.chain.sponsored()), (expected, paid), "{story}: {answer:?}");
    };
    check("a forged signature", carrying(&person, &forged), 7025).await;
    check("one that has expired", carrying(&person, &stale), 7025).await;
    check("signed by a device", carrying(&person, &by_device), 7026).await;
    check("the end of the identity", carrying(&person, &ending), 7026).await;
    check("another's", carrying(&person, &others), 7026).await;
    check("an identity that is not there", carrying(&unknown, &nobodys), 7023).await;
    door.chain.be(Mood::Full);
    check("while the mempool is full", carrying(&person, &good), 7051).await;
    door.chain.be(Mood::Well);
    assert_eq!(door.post(path::REGISTER, None, &carrying(&person, &good)).await.code(), 0, "a good one");
    assert_eq!(door.post(path::REGISTER, None, &carrying(&person, &good)).await.code(), 7025, "once");
}

#[tokio::test]
async fn recoveries_have_a_quota_of_their_own() {
    let door = Door::with(|config| {
        config.limits.registrations = 1;
        config.limits.recoveries = 2;
        config.sponsor.per_identity = 2;
    })
    .await;
    let (mut person, mut other) = (door.registered().await, door.registered().await);
    let post = async |peer: &str, person: &Person, operation: &SignedOperation| {
        door.send_from(peer, "POST", path::REGISTER, None, &carrying(person, operation)).await.code()
    };
    let addition = person.adding();
    assert_eq!(post("192.0.2.1", &person, &addition).await, 0);
    person.apply(&addition);
    let removal = person.removing(1);
    assert_eq!(post("192.0.2.1", &person, &removal).await, 7032, "of one identity, with its creation");
    let others = other.adding();
    assert_eq!(post("192.0.2.1", &other, &others).await, 7033, "of one address, whatever became of them");
    assert_eq!(door.post(path::REGISTER, None, &Door::registration(&Person::new())).await.code(), 0, "registrations are counted apart");
    assert_eq!(post("192.0.2.2", &other, &others).await, 0, "another address");
    for expected in [0, 7033] {
        let mut stranger = Person::new();
        door.chain.include(&stranger.create).expect("created elsewhere");
        let addition = stranger.adding();
        assert_eq!(post("192.0.2.3", &stranger, &addition).await, expected, "who gets an account by it is counted as new");
    }
    door.pass(24 * 3_600 * 1_000);
    assert_eq!(post("192.0.2.1", &person, &removal).await, 0, "the next day");
}

#[tokio::test]
async fn the_policy_is_for_those_who_are_new() {
    for registration in [Registration::Closed, Registration::Invitation] {
        let open = Door::open().await;
        let mut member = open.registered().await;
        let mut stranger = Person::new();
        open.chain.include(&stranger.create).expect("created elsewhere");
        let door = open.again_with(|config| config.registration = registration).await;
        let removal = member.adding();
        assert_eq!(door.post(path::REGISTER, None, &carrying(&member, &removal)).await.code(), 0, "{registration:?}: a member recovers");
        let refused = if registration == Registration::Closed { 7021 } else { 7022 };
        let addition = stranger.adding();
        let answer = door.post(path::REGISTER, None, &carrying(&stranger, &addition)).await;
        assert_eq!(answer.code(), refused, "{registration:?}: who is new does not get in this way");
        assert_eq!(door.app.accounts.account(&stranger.did()).await.expect("read"), None);
        if registration == Registration::Invitation {
            door.app.accounts.invite(&invitation("come in"), Millis(START), Millis(START + 1_000)).await.expect("stored");
            let invited = Register { invitation: Some("come in".to_owned()), ..carrying(&stranger, &addition) };
            assert_eq!(door.post(path::REGISTER, None, &invited).await.code(), 0, "but with an invitation");
            assert!(door.app.accounts.account(&stranger.did()).await.expect("read").is_some());
        }
    }
}
