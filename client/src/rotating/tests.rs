//! A device whose next key the chain has, and nobody at the other end of the line.

use identity::device::succession_message;
use mailbox::wire::Encoding;
use rpc::relay::{PrekeyBundle, PrekeyBundles};
use types::Millis;

use super::*;
use crate::client::now;
use crate::contact::{Change, Note};
use crate::fixture::{Person, chain};
use crate::flow::{Phone, settings_for};
use crate::signal;
use crate::store::sessions::New;

/// A device that nobody answers.
async fn alone(who: &Person, known: &[&Person]) -> Phone {
    Phone::with(who, 1, known, settings_for("http://127.0.0.1:9", Encoding::Cbor)).await
}

/// The chain takes a new Signal key for device 1, which the old one signed for: the entry alone changes.
fn take(who: &mut Person, next: &Own) -> Vec<u8> {
    let device = &who.devices[&1];
    let (key, old) = (device.key.clone(), device.own.key());
    let message = succession_message(&chain(), &who.did, who.entry.sequence + 1, &key.public(), &old, &next.key());
    let signature = device.own.sign(&message);
    let claim = Some(signature.clone().try_into().expect("64 bytes"));
    who.change(|who| Draft::rotate_signal_key(&chain(), &who.did, &who.entry, (1, &key), next.key(), claim, Person::until()));
    signature
}

async fn know(inner: &Inner, person: &Person) {
    let mut tx = inner.store.begin().await.expect("a transaction");
    let known = people::person(&mut tx, &person.did).await.expect("read").expect("known");
    people::put_person(&mut tx, &people::Person { entry: person.entry.clone(), ..known }).await.expect("kept");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn the_store_follows_the_chain_in_one_step_and_not_before_it() {
    let (mut alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let phone = alone(&alice, &[&alice, &bob]).await;
    let inner = &phone.client.inner;
    let (old, to) = (*alice.own(1), bob.address(1));

    // Sessions, prekeys, and a frame that was not answered.
    let session = signal::begin(&old, &bob.peer(1), &bob.bundle(1), None, now()).expect("an honest bundle");
    let id = phone.client.send(&bob.did, "hello").await.expect("stored");
    let mut tx = inner.store.begin().await.expect("a transaction");
    sessions::put_session(&mut tx, &to, &session).await.expect("kept");
    let prekeys = [New::Signed(7, vec![1]), New::LastResort(8, vec![2]), New::OneTime(9, vec![3]), New::Kyber(10, vec![4])];
    sessions::put_prekeys(&mut tx, &prekeys, now()).await.expect("kept");
    store::put(&mut tx, PUBLISHED, &now()).await.expect("kept");
    let item = outbox::next(&mut tx, 0, now()).await.expect("read").expect("the message");
    outbox::set_frame(&mut tx, item.row, b"sealed by the old key").await.expect("kept");
    tx.commit().await.expect("committed");
    let standing = async || {
        let mut tx = inner.store.begin().await.expect("a transaction");
        let key = inner.device_in(&mut tx).await.expect("the device").signal.key();
        let sessions = sessions::sessions_of(&mut tx, &bob.did).await.expect("read").len();
        let has_prekeys = sessions::standing(&mut tx).await.expect("read").is_some();
        let frame = outbox::next(&mut tx, 0, now()).await.expect("read").map(|item| (item.message_id, item.frame.is_some()));
        (key, sessions, has_prekeys, frame, store::has(&mut tx, PUBLISHED).await.expect("read"))
    };
    let before = (old.key(), 1, true, Some((id, true)), true);

    inner.use_next_key().await.expect("there is none");
    assert_eq!(standing().await, before, "no key is to follow");
    let next = inner.next_key().await.expect("written down");
    assert_eq!(inner.next_key().await.expect("read").key(), next.key(), "the same however often it is tried");
    assert_eq!(inner.use_next_key().await.expect_err("too early").code(), Error::Behind("Signal key").code());
    assert_eq!(standing().await, before, "the chain has the old one");

    let signature = take(&mut alice, &next);
    know(inner, &alice).await;
    assert_eq!(standing().await, before, "a device that dies here has everything that it had");
    let (named, own) = inner.own_succession(&alice.entry).await.expect("read").expect("the chain has it");
    assert_eq!((named, own.len(), signature.len()), (1, 64, 64));
    // Nobody takes the prekeys, and the rest stands: publishing is the next session's.
    assert!(matches!(inner.use_next_key().await, Err(Error::Unreachable { .. })));
    assert_eq!(standing().await, (next.key(), 0, true, Some((id, false)), false));
    let kept: SuccessionProof = inner.store.get(SUCCESSION).await.expect("read").expect("kept");
    let message = succession_message(&chain(), &alice.did, 1, &alice.devices[&1].key.public(), &old.key(), &next.key());
    assert!(signal::verify(&old.key(), &message, &kept), "what contacts will be shown");
    assert_eq!(inner.own_succession(&alice.entry).await.expect("read"), None, "it is over");
    assert!(!inner.is_published(&next.key()).await.expect("read") && inner.is_unpublished().await.expect("read"));
    inner.use_next_key().await.expect("once is enough");
    let mut tx = inner.store.begin().await.expect("a transaction");
    let (signed, ..) = sessions::standing(&mut tx).await.expect("read").expect("new ones");
    assert_ne!(signed, vec![1], "of the new key");
}

#[tokio::test]
async fn who_may_not_rotate_is_told_before_anything_is_made() {
    let alice = Person::new(1, 1);
    let phone = alone(&alice, &[&alice]).await;
    let refused = phone.client.rotate_key(Duration::from_secs(1)).await;
    assert!(matches!(refused, Err(Error::NoControl)), "{refused:?}");
    assert!(phone.client.inner.store.get::<Own>(NEXT).await.expect("read").is_none());
    let lock = file::lock(&phone.client.inner.folder.join("connection")).expect("nobody is connected");
    assert!(matches!(phone.client.rotate_key(Duration::from_secs(1)).await, Err(Error::Busy(_))));
    drop(lock);
}

/// What was noted before the signature came to light.
#[tokio::test]
async fn a_signature_that_comes_later_makes_a_reset_proven() {
    let (alice, mut bob) = (Person::new(1, 1), Person::new(50, 1));
    let phone = alone(&alice, &[&alice, &bob]).await;
    let inner = &phone.client.inner;
    let (first, second) = (*bob.own(1), Own::generate());
    let signature = take(&mut bob, &second);
    know(inner, &bob).await;
    let seen = Millis(5);
    let reset = |from| Change::KeyReset { device: 1, from };
    let note = async |change: Change| {
        let mut tx = inner.store.begin().await.expect("a transaction");
        people::put_note(&mut tx, &Note { did: bob.did, seen, change }).await.expect("kept");
        tx.commit().await.expect("committed");
    };
    let shown = async |succession: Option<&[u8]>| {
        let mut tx = inner.store.begin().await.expect("a transaction");
        let bundle = PrekeyBundle { succession: succession.map(|signature| signature.to_vec().into()), ..bob.bundle(1) };
        let person = people::person(&mut tx, &bob.did).await.expect("read").expect("known");
        let told = inner.amend(&mut tx, &person, &PrekeyBundles { did: bob.did, devices: vec![bundle] }).await.expect("read");
        tx.commit().await.expect("committed");
        let contacts = phone.client.contacts().await.expect("contacts");
        (told.len(), contacts[0].notes.iter().map(|note| note.change.clone()).collect::<Vec<_>>())
    };
    let proven = Change::KeyProven { device: 1 };
    note(Change::ControlRotated).await;
    assert_eq!(shown(Some(&signature)).await, (0, vec![Change::ControlRotated]), "no key was noted");
    note(reset(Some(first.key()))).await;
    let noted = vec![Change::ControlRotated, reset(Some(first.key()))];
    assert_eq!(shown(None).await, (0, noted.clone()), "nothing is shown");
    assert_eq!(shown(Some(&[1; 64])).await, (0, noted.clone()), "a forged one");
    assert_eq!(shown(Some(&signature)).await, (1, vec![Change::ControlRotated, proven.clone()]));
    assert_eq!(shown(Some(&signature)).await, (0, vec![Change::ControlRotated, proven.clone()]), "told once");
    // Of an earlier change: what was noted last about the device counts.
    note(reset(Some(second.key()))).await;
    assert_eq!(shown(Some(&signature)).await.0, 0, "replayed");
    note(reset(None)).await;
    let all = vec![Change::ControlRotated, proven, reset(Some(second.key())), reset(None)];
    assert_eq!(shown(Some(&signature)).await, (0, all), "a note that does not say which key it was");
}
