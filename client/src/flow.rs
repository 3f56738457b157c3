//! Devices against each other with their stores, and this file in the place of the relay.

use audit::Commitment;
use identity::Did;
use light::{Trust, Validator, Validators};
use mailbox::frame::{AcceptedItem, Delivery, Kind, SeenEnvelope};
use mailbox::wire::{self, Encoding};
use mailbox::{Address, ClientFrame, Submission};
use tempfile::TempDir;
use types::{Hash, Millis, SigningKey};

use crate::client::now;
use crate::device::{Device, Stage};
use crate::fixture::{Person, chain};
use crate::history::State;
use crate::receiving::ACKNOWLEDGED;
use crate::signal;
use crate::store::people::{self, Person as Known};
use crate::store::sessions::{self, New};
use crate::store::{Passphrase, outbox};
use crate::{Client, Error, Settings};

/// A device with its store, and what is in its mailbox.
pub(crate) struct Phone {
    pub(crate) client: Client,
    pub(crate) address: Address,
    sequence: u64,
    folder: TempDir,
}

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse").expect("a passphrase")
}

/// Settings for a gateway.
pub(crate) fn settings_for(gateway: &str, encoding: Encoding) -> Settings {
    let member = Validator { public_key: SigningKey::from_seed(&[9; 32]).public(), power: 1 };
    let validators = Validators::new(&[member]).expect("a set of one");
    let trust = Trust::genesis(chain(), tendermint::Time::now(), validators);
    Settings { gateway: gateway.to_owned(), trust, encoding }
}

/// Nobody answers there, and nobody is asked.
fn settings() -> Settings {
    settings_for("http://127.0.0.1:9", Encoding::Cbor)
}

impl Phone {
    /// Device `id` of `who`, which has proven everybody in `known` a moment ago.
    async fn new(who: &Person, id: u16, known: &[&Person]) -> Self {
        let phone = Self::with(who, id, known, settings()).await;
        let device = &who.devices[&id];
        let prekeys = [
            New::Signed(7, device.signed.record.clone()),
            New::LastResort(8, device.kyber.record.clone()),
            New::OneTime(9, device.one_time.record.clone()),
        ];
        let mut tx = phone.client.inner.store.begin().await.expect("a transaction");
        sessions::put_prekeys(&mut tx, &prekeys, now()).await.expect("kept");
        for person in known {
            let known = people::person(&mut tx, &person.did).await.expect("read").expect("known");
            people::put_person(&mut tx, &Known { bundles: now(), ..known }).await.expect("kept");
        }
        tx.commit().await.expect("committed");
        phone
    }

    /// The same, without prekeys, and with bundles still to be asked for.
    pub(crate) async fn with(who: &Person, id: u16, known: &[&Person], settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let client = Client::create(folder.path(), &passphrase(), settings).await.expect("a new device");
        let (device, address) = (&who.devices[&id], who.address(id));
        let mut tx = client.inner.store.begin().await.expect("a transaction");
        let own = Device { key: device.key.clone(), signal: device.own, control: None, stage: Stage::Member(address) };
        own.save(&mut tx).await.expect("kept");
        for person in known {
            let known = Known {
                did: person.did,
                entry: person.entry.clone(),
                height: types::Height(1),
                proven: now(),
                bundles: Millis(0),
                compared: None,
            };
            people::put_person(&mut tx, &known).await.expect("kept");
        }
        tx.commit().await.expect("committed");
        Self { client, address, sequence: 0, folder }
    }

    /// Begins a session with a device, by an honest bundle.
    async fn meet(&self, who: &Person, id: u16) {
        let inner = &self.client.inner;
        let device = inner.device().await.expect("the device");
        let record = signal::begin(&device.signal, &who.peer(id), &who.bundle(id), None, now()).expect("an honest bundle");
        let mut tx = inner.store.begin().await.expect("a transaction");
        sessions::put_session(&mut tx, &who.address(id), &record).await.expect("kept");
        tx.commit().await.expect("committed");
    }

    /// Encrypts everything in the outbox, and takes it out as accepted.
    async fn send_all(&self) -> Vec<(Kind, Submission)> {
        let inner = &self.client.inner;
        let mut sent = Vec::new();
        let mut tx = inner.store.begin().await.expect("a transaction");
        while outbox::pay(&mut tx, now()).await.expect("paid") {}
        tx.commit().await.expect("committed");
        loop {
            let mut tx = inner.store.begin().await.expect("a transaction");
            let Some(item) = outbox::next(&mut tx, 0, now()).await.expect("read") else { return sent };
            drop(tx);
            let (kind, submission) = read(&inner.seal(&item).await.expect("sealed"));
            let envelope = (kind == Kind::Message).then(|| seen(&submission));
            inner.accepted(&AcceptedItem { message_id: submission.message_id, envelope }).await.expect("taken out");
            sent.push((kind, submission));
        }
    }

    /// The delivery of a submission to this device.
    fn delivery(&mut self, from: &Address, (kind, submission): &(Kind, Submission)) -> Delivery {
        self.sequence += 1;
        let contents = if from.did == self.address.did { &submission.own_contents } else { &submission.contents };
        let content = contents.iter().find(|content| content.device_id == self.address.device).expect("a copy for this device");
        Delivery {
            sequence: self.sequence,
            kind: *kind,
            message_id: submission.message_id,
            conversation_id: submission.conversation_id,
            sender_id: from.did,
            sender_device_id: from.device,
            recipient_id: submission.recipient_id,
            form: content.form,
            encrypted_content: content.encrypted_content.clone(),
            content_hash: submission.content_hash,
            timestamp: submission.timestamp,
            received_at: now(),
            sealed_envelope: (*kind == Kind::Message).then_some(Hash([3; 32])),
        }
    }

    async fn receive(&mut self, from: &Address, sent: &(Kind, Submission)) {
        let delivery = self.delivery(from, sent);
        self.client.inner.receive(&delivery).await.expect("taken");
    }

    /// The texts with somebody, with their states and whether the commitment holds.
    async fn texts(&self, with: &Did) -> Vec<(String, State, Option<String>)> {
        let history = self.client.history(Some(with), 100).await.expect("the history");
        history.into_iter().map(|message| (message.text, message.state, message.integrity)).collect()
    }
}

fn read(frame: &[u8]) -> (Kind, Submission) {
    match wire::decode_client(Encoding::Cbor, frame).expect("a frame") {
        ClientFrame::Send(submission) => (Kind::Message, submission),
        ClientFrame::Delivered(submission) => (Kind::Delivered, submission),
        ClientFrame::Read(submission) => (Kind::Read, submission),
        other => panic!("not a submission: {other:?}"),
    }
}

fn seen(submission: &Submission) -> SeenEnvelope {
    let size_class = audit::SizeClass::of(submission.size());
    SeenEnvelope { ciphertext: submission.ciphertext_hash(), received: now(), size_class, salt: Hash([4; 32]) }
}

fn held(text: &str, state: State) -> (String, State, Option<String>) {
    (text.to_owned(), state, (state == State::Received).then(|| "holds".to_owned()))
}

#[tokio::test]
async fn a_message_its_reply_and_their_ticks() {
    let (alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let mut a = Phone::new(&alice, 1, &[&alice, &bob]).await;
    let mut b = Phone::new(&bob, 1, &[&alice, &bob]).await;
    a.meet(&bob, 1).await;
    let id = a.client.send(&bob.did, "hello").await.expect("stored");
    assert_eq!(a.texts(&bob.did).await, [held("hello", State::Queued)]);
    let sent = a.send_all().await;
    assert_eq!((sent.len(), a.texts(&bob.did).await), (1, vec![held("hello", State::Accepted)]));
    b.receive(&a.address, &sent[0]).await;
    assert_eq!(b.texts(&alice.did).await, [held("hello", State::Received)]);

    // Bob's device says that it has it, by itself.
    let receipts = b.send_all().await;
    assert_eq!(receipts.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Delivered]);
    a.receive(&b.address, &receipts[0]).await;
    let message = a.client.message(&id).await.expect("there");
    assert!(message.has_receipt(Kind::Delivered) && !message.has_receipt(Kind::Read));

    // Bob reads it and replies.
    assert_eq!(b.client.mark_read(&alice.did).await.expect("marked"), 1);
    assert_eq!(b.client.mark_read(&alice.did).await.expect("marked"), 0, "once");
    b.client.send(&alice.did, "hello yourself").await.expect("stored");
    for sent in b.send_all().await {
        a.receive(&b.address, &sent).await;
    }
    assert!(a.client.message(&id).await.expect("there").has_receipt(Kind::Read));
    assert_eq!(a.texts(&bob.did).await, [held("hello", State::Accepted), held("hello yourself", State::Received)]);

    // Both have the same leaf of a message, from their own halves.
    let (ours, theirs) = (a.client.message(&id).await.expect("there"), b.client.message(&id).await.expect("there"));
    assert_eq!(ours.commitment, theirs.commitment);
    assert!(ours.leaf().is_some() && theirs.leaf().is_some());
    // The next message of a device names the one before it.
    let next = a.client.send(&bob.did, "and").await.expect("stored");
    let next = a.client.message(&next).await.expect("there").opening.expect("an opening");
    let audit::Body::Message { sequence, previous, .. } = next.body else { panic!("a message") };
    assert_eq!((sequence, previous), (2, ours.commitment.map(|commitment| commitment.0)));
    let export = a.client.export().await.expect("an export").to_string();
    assert!(export.contains("hello yourself") && !export.contains(&hex::encode(alice.devices[&1].key.seed())));
}

#[tokio::test]
async fn what_comes_twice_is_kept_once() {
    let (alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let a = Phone::new(&alice, 1, &[&alice, &bob]).await;
    let mut b = Phone::new(&bob, 1, &[&alice, &bob]).await;
    a.meet(&bob, 1).await;
    a.client.send(&bob.did, "once").await.expect("stored");
    let sent = a.send_all().await;
    b.receive(&a.address, &sent[0]).await;
    // Under a new number, as after a relay's crash.
    b.receive(&a.address, &sent[0]).await;
    // Under the old number, as after a broken line.
    b.sequence = 0;
    b.receive(&a.address, &sent[0]).await;
    assert_eq!(b.texts(&alice.did).await, [held("once", State::Received)]);
    assert_eq!(b.client.inner.store.get::<u64>(ACKNOWLEDGED).await.expect("read"), Some(2));
    // Under another id: a replay, which is shown.
    let mut replayed = sent[0].clone();
    replayed.1.message_id = uuid::Uuid::now_v7();
    b.sequence = 2;
    b.receive(&a.address, &replayed).await;
    let message = b.client.message(&replayed.1.message_id).await.expect("there");
    assert_eq!((message.state, message.code), (State::Unreadable, Some(8409)));
}

#[tokio::test]
async fn what_a_relay_changes_on_the_way_is_shown() {
    let (alice, bob, mallory) = (Person::new(1, 1), Person::new(50, 1), Person::new(101, 1));
    let everybody = [&alice, &bob, &mallory];
    let check = async |story: &str, lie: &dyn Fn(&mut Delivery), peer: &Did, expected: (State, Option<&str>, Option<u32>)| {
        let a = Phone::new(&alice, 1, &everybody).await;
        let mut b = Phone::new(&bob, 1, &everybody).await;
        a.meet(&bob, 1).await;
        a.client.send(&bob.did, "hello").await.expect("stored");
        let sent = a.send_all().await;
        let mut delivery = b.delivery(&a.address, &sent[0]);
        lie(&mut delivery);
        b.client.inner.receive(&delivery).await.expect("taken");
        let message = b.client.history(Some(peer), 1).await.expect("the history").remove(0);
        assert_eq!((message.state, message.integrity.as_deref(), message.code), expected, "{story}");
        // It can be acknowledged, and the next one is read.
        a.client.send(&bob.did, "the next").await.expect("stored");
        let sent = a.send_all().await;
        b.receive(&a.address, &sent[0]).await;
        let next = b.client.history(Some(&alice.did), 1).await.expect("the history").remove(0);
        assert_eq!((next.text.as_str(), next.state), ("the next", State::Received), "{story}");
        message
    };
    let did = alice.did;
    check("the truth", &|_| {}, &did, (State::Received, Some("holds"), None)).await;
    let other = |told: &mut Delivery| told.content_hash = Some(Commitment(Hash([8; 32])));
    let message = check("another commitment", &other, &did, (State::Received, Some("other_commitment"), None)).await;
    assert_eq!(message.text, "hello");
    let unreadable = |code| (State::Unreadable, None, Some(code));
    check("another time", &|told| told.timestamp = Millis(1), &did, unreadable(8503)).await;
    check("another conversation", &|told| told.conversation_id = Hash::ZERO, &did, unreadable(8503)).await;
    check("the receiver as its own sender", &|told| (told.sender_id, told.sender_device_id) = (bob.did, 1), &bob.did, unreadable(8405))
        .await;
    let cut = |told: &mut Delivery| told.encrypted_content.0.truncate(20);
    check("a ciphertext cut short", &cut, &did, unreadable(8402)).await;
}

/// A relay that names another sender: the message's key is not that person's, so the chain is asked once more; as
/// long as it does not answer, nothing is acknowledged.
#[tokio::test]
async fn a_key_that_is_not_known_is_not_believed_without_the_chain() {
    let (alice, bob, mallory) = (Person::new(1, 1), Person::new(50, 1), Person::new(101, 1));
    let everybody = [&alice, &bob, &mallory];
    let a = Phone::new(&alice, 1, &everybody).await;
    let mut b = Phone::new(&bob, 1, &everybody).await;
    a.meet(&bob, 1).await;
    a.client.send(&bob.did, "hello").await.expect("stored");
    let sent = a.send_all().await;
    let delivery = b.delivery(&mallory.address(1), &sent[0]);
    let refused = b.client.inner.receive(&delivery).await;
    assert!(matches!(&refused, Err(error @ Error::Chain(_)) if error.is_passing()), "{refused:?}");
    assert_eq!(b.client.inner.store.get::<u64>(ACKNOWLEDGED).await.expect("read"), None);
    assert_eq!(b.texts(&mallory.did).await, []);
}

/// The transaction is dropped between the ratchet's step and the commit, on either side.
#[tokio::test]
async fn a_crash_before_the_commit_costs_nothing() {
    let (alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let mut a = Phone::new(&alice, 1, &[&alice, &bob]).await;
    let mut b = Phone::new(&bob, 1, &[&alice, &bob]).await;
    a.meet(&bob, 1).await;
    for round in 0..3 {
        let text = format!("message {round}");
        a.client.send(&bob.did, &text).await.expect("stored");
        let inner = &a.client.inner;
        let mut tx = inner.store.begin().await.expect("a transaction");
        let record = sessions::session(&mut tx, &b.address).await.expect("read").expect("a session");
        let device = inner.device_in(&mut tx).await.expect("the device");
        let made = signal::encrypt(&device.signal, &bob.peer(1), &record, b"never left", now()).expect("a step");
        sessions::put_session(&mut tx, &b.address, &made.session).await.expect("written");
        drop(tx);
        let sent = a.send_all().await;
        let delivery = b.delivery(&a.address, sent.last().expect("a message"));
        let inner = &b.client.inner;
        let device = inner.device().await.expect("the device");
        let mut tx = inner.store.begin().await.expect("a transaction");
        inner.open(&mut tx, &device, &b.address, &delivery, &alice.peer(1)).await.expect("read");
        drop(tx);
        inner.receive(&delivery).await.expect("read again");
        for sent in b.send_all().await {
            a.receive(&b.address, &sent).await;
        }
    }
    assert_eq!(b.texts(&alice.did).await, (0..3).map(|round| held(&format!("message {round}"), State::Received)).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_device_of_both_sides_has_a_copy() {
    let (alice, bob) = (Person::new(1, 2), Person::new(50, 2));
    let everybody = [&alice, &bob];
    let a = Phone::new(&alice, 1, &everybody).await;
    let mut others =
        [Phone::new(&alice, 2, &everybody).await, Phone::new(&bob, 1, &everybody).await, Phone::new(&bob, 2, &everybody).await];
    for (who, id) in [(&alice, 2), (&bob, 1), (&bob, 2)] {
        a.meet(who, id).await;
    }
    let id = a.client.send(&bob.did, "to all").await.expect("stored");
    let sent = a.send_all().await;
    let copies = |contents: &[mailbox::frame::Content]| contents.iter().map(|content| content.device_id).collect::<Vec<_>>();
    assert_eq!((copies(&sent[0].1.contents), copies(&sent[0].1.own_contents)), (vec![1, 2], vec![2]));
    for phone in &mut others {
        phone.receive(&a.address, &sent[0]).await;
        let message = phone.client.message(&id).await.expect("there");
        assert_eq!((message.text.as_str(), message.outgoing), ("to all", phone.address.did == alice.did));
        assert_eq!(message.integrity.as_deref(), Some("holds"));
    }
    // The sender's other device owes nobody a receipt.
    assert_eq!(others[0].send_all().await.len(), 0);
}

/// Two processes on one folder take turns at the ratchet.
#[tokio::test]
async fn two_processes_never_take_one_step_twice() {
    let (alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let a = Phone::new(&alice, 1, &[&alice, &bob]).await;
    let mut b = Phone::new(&bob, 1, &[&alice, &bob]).await;
    a.meet(&bob, 1).await;
    let twin = Client::open(a.folder.path(), &passphrase()).await.expect("the same device");
    let mut sent = Vec::new();
    for round in 0..6 {
        let client = if round % 2 == 0 { &a.client } else { &twin };
        client.send(&bob.did, &round.to_string()).await.expect("stored");
        let mut tx = client.inner.store.begin().await.expect("a transaction");
        let item = outbox::next(&mut tx, 0, now()).await.expect("read").expect("an item");
        drop(tx);
        let (kind, submission) = read(&client.inner.seal(&item).await.expect("sealed"));
        let other = if round % 2 == 0 { &twin } else { &a.client };
        // The other process finds the frame that was committed, and makes no second one.
        let mut tx = other.inner.store.begin().await.expect("a transaction");
        let again = outbox::next(&mut tx, 0, now()).await.expect("read").expect("an item");
        drop(tx);
        assert_eq!(read(&other.inner.seal(&again).await.expect("sealed")).1, submission);
        let envelope = Some(seen(&submission));
        other.inner.accepted(&AcceptedItem { message_id: submission.message_id, envelope }).await.expect("taken out");
        sent.push((kind, submission));
    }
    for sent in &sent {
        b.receive(&a.address, sent).await;
    }
    assert!(b.texts(&alice.did).await.iter().all(|(_, state, _)| *state == State::Received));
    let lock = genesis::file::lock(&a.folder.path().join("connection")).expect("nobody is connected");
    assert!(matches!(twin.listen().await, Err(Error::Busy(_))));
    drop(lock);
}

#[tokio::test]
async fn nothing_is_asked_of_a_device_without_an_identity() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = Client::create(folder.path(), &passphrase(), settings()).await.expect("a new device");
    let did = Did([1; 32]);
    assert!(matches!(client.address().await, Err(Error::NotRegistered)));
    assert!(matches!(client.send(&did, "hello").await, Err(Error::NotRegistered)));
    assert!(matches!(client.listen().await, Err(Error::NotRegistered)));
    assert!(matches!(client.message(&uuid::Uuid::nil()).await, Err(Error::NoMessage(_))));
    let unreachable = client.register(None).await;
    assert!(matches!(unreachable, Err(Error::Unreachable { .. })), "{unreachable:?}");
    assert!(matches!(client.kit().await, Ok(None)), "nothing was begun before the relay was seen");
}
