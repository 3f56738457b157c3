//! An identity's life: devices join and leave, all are lost, and the kit brings it back.

#![allow(clippy::print_stdout, reason = "a test says how often it met what it tests")]

mod people;
mod world;

use std::time::Duration;

use client::contact::Change;
use client::{Error, Event};
use identity::{Control, DeviceKeys, Did, Draft, Operation, SignalKey};
use ledger::Body;
use mailbox::{Address, history};
use people::raw::{Visitor, unusable_prekeys};
use people::{Letters, Phone, Town};
use reqwest::Method;
use rpc::Chain;
use rpc::relay::{Ask, Challenge, Operate, PublishPrekeys, Register, SignIn, Tokens, path};
use serde_json::json;
use types::{Encode as _, List, SigningKey};
use world::{PATIENCE, until};

impl Town {
    /// What a device knows to have changed about somebody.
    fn changes(&self, phone: &Phone, of: &Phone) -> Vec<Change> {
        let contacts = self.runtime.block_on(phone.client.contacts()).expect("contacts");
        let contact = contacts.into_iter().find(|contact| contact.did == of.address.did).expect("a contact");
        contact.notes.into_iter().map(|note| note.change).collect()
    }

    /// Waits until a device hears that it is no device any more, and tries no longer.
    fn assert_out(&self, phone: &mut Phone) {
        self.hear(phone, "its end", |event| *event == Event::Removed);
        let tries = phone.events.iter().rev().take_while(|event| matches!(event, Event::Disconnected { .. } | Event::Removed)).count();
        assert!(tries <= 4, "the relay would count each try against everybody at this address: {:#?}", phone.events);
        let refused = self.runtime.block_on(phone.client.proof(&uuid::Uuid::nil(), Duration::ZERO));
        assert!(matches!(refused, Err(Error::NoMessage(_))), "what it has it keeps");
    }
}

#[test]
fn devices_join_and_leave_and_the_kit_brings_an_identity_back() {
    let mut town = Town::start();
    let (mut alice, mut bob) = (town.person(), town.person());
    let mut sent = Letters::default();
    town.connect([&mut alice, &mut bob]);
    sent.write(&town, &alice, &bob.address.did);
    sent.write(&town, &bob, &alice.address.did);
    town.settle(&mut [&mut alice, &mut bob], &sent);

    // A second device: from then on both receive, and each sees what the other sent.
    let mut tablet = town.link(&alice);
    town.connect([&mut tablet]);
    let mut since = Letters::default();
    since.write(&town, &bob, &alice.address.did);
    since.write(&town, &alice, &bob.address.did);
    since.write(&town, &tablet, &bob.address.did);
    town.settle(&mut [&mut alice, &mut tablet, &mut bob], &since);
    let told = town.changes(&bob, &alice);
    assert_eq!(told, [Change::DeviceAdded { device: tablet.address.device }], "bob is told of the tablet");
    assert!(bob.events.iter().any(|event| matches!(event, Event::Changed { note } if note.did == alice.address.did)));
    for phone in [&alice, &tablet] {
        let id = since.ids().find(|(from, ..)| from.did == bob.address.did).expect("bob's").2;
        town.prove(phone, &id);
    }

    // It leaves: its session ends, and nothing reaches it any more.
    let tablets = tablet.address.device;
    town.runtime.block_on(alice.client.unlink(tablets)).expect("it is removed");
    town.assert_out(&mut tablet);
    let mut after = Letters::default();
    after.write(&town, &bob, &alice.address.did);
    after.write(&town, &alice, &bob.address.did);
    town.settle(&mut [&mut alice, &mut bob], &after);
    let (_, _, late) = after.ids().find(|(from, ..)| from.did == bob.address.did).expect("bob's");
    assert!(town.runtime.block_on(tablet.client.message(&late)).is_err(), "the tablet is not written to");
    assert_eq!(town.changes(&bob, &alice).last(), Some(&Change::DeviceRemoved { device: tablets }));
    town.hang_up(&mut tablet);

    // Everything is lost but the words: a new folder, and the old device is out.
    let kit = alice.kit.take().expect("the words");
    let (client, tap) = town.stranger();
    let recovered = town.runtime.block_on(client.recover(&alice.address.did, &kit, &[])).expect("it is recovered");
    assert_eq!(recovered.removed, [alice.address.device]);
    town.assert_out(&mut alice);
    let mut anew = town.phone(client, tap, None);
    assert_eq!(anew.address, Address { did: alice.address.did, device: recovered.device });
    town.connect([&mut anew]);
    let mut last = Letters::default();
    last.write(&town, &bob, &anew.address.did);
    last.write(&town, &anew, &bob.address.did);
    town.settle(&mut [&mut anew, &mut bob], &last);
    let told = town.changes(&bob, &anew);
    let expected = [
        Change::DeviceAdded { device: tablets },
        Change::DeviceRemoved { device: tablets },
        Change::ControlRotated,
        Change::DeviceAdded { device: recovered.device },
        Change::DeviceRemoved { device: alice.address.device },
    ];
    let named = |change: &Change| expected.iter().position(|expected| expected == change);
    let mut found: Vec<_> = told.iter().map(|change| named(change).unwrap_or_else(|| panic!("{change}: {told:?}"))).collect();
    found.sort_unstable();
    assert_eq!(found, [0, 1, 2, 3, 4], "bob is told of each change once: {told:?}");
    for (.., id) in last.ids() {
        town.prove(&anew, &id);
        town.prove(&bob, &id);
    }

    // The first device has not the control key any more: what it signs counts for nothing.
    let refused = town.runtime.block_on(alice.client.unlink(recovered.device));
    assert!(refused.is_err(), "the stolen device cannot throw out the owner");
    let still = town.runtime.block_on(bob.client.verify_contact(&anew.address.did)).expect("bob can write to her");
    assert_eq!(still.contact.entry.devices.iter().map(|device| device.id).collect::<Vec<_>>(), [recovered.device]);
    town.judge();
}

#[test]
fn a_key_that_its_old_one_signed_for_is_proven() {
    let mut town = Town::start_with(|network| {
        let path = network.relay_home().config();
        let mut config = relay::Config::load(&path).expect("a configuration");
        // Two devices ask for the same keys in a minute, as often as in a year.
        config.limits.bundles = 1_000;
        config.save(&path).expect("it is written");
    });
    let (mut alice, mut bob) = (town.person(), town.person());
    let mut tablet = town.link(&alice);
    town.connect([&mut alice, &mut tablet, &mut bob]);
    let mut sent = Letters::default();
    sent.write(&town, &alice, &bob.address.did);
    sent.write(&town, &bob, &alice.address.did);
    town.settle(&mut [&mut alice, &mut tablet, &mut bob], &sent);
    let busy = town.runtime.block_on(bob.client.rotate_key(PATIENCE));
    assert!(matches!(busy, Err(Error::Busy(_))), "while he listens: {busy:?}");

    // What is written to him before waits at the relay under his old key, and what he writes waits in his outbox.
    town.hang_up(&mut bob);
    for _ in 0..3 {
        sent.write(&town, &alice, &bob.address.did);
    }
    until("the relay has them", PATIENCE, || (town.waiting(&alice) == 0).then_some(()));
    sent.write(&town, &bob, &alice.address.did);
    let key = town.runtime.block_on(bob.client.rotate_key(PATIENCE)).expect("a new key");
    town.connect([&mut bob]);
    for (from, to) in [(&bob, &alice), (&alice, &bob), (&tablet, &bob)] {
        sent.write(&town, from, &to.address.did);
    }
    town.settle(&mut [&mut alice, &mut tablet, &mut bob], &sent);
    let proven = [Change::KeyProven { device: bob.address.device }];
    for phone in [&mut alice, &mut tablet] {
        town.runtime.block_on(phone.client.verify_contact(&bob.address.did)).expect("his keys are proven");
        assert_eq!(town.changes(phone, &bob), proven, "once, and no reset");
        town.overhear(phone);
        let told = phone.events.iter().filter(|event| matches!(event, Event::Changed { note } if note.did == bob.address.did));
        assert_eq!(told.count(), 1);
    }

    // And once more: the word of the key before is replaced by that of this one.
    town.hang_up(&mut bob);
    let next = town.runtime.block_on(bob.client.rotate_key(PATIENCE)).expect("a new key");
    assert_ne!(next, key);
    town.connect([&mut bob]);
    sent.write(&town, &bob, &alice.address.did);
    town.settle(&mut [&mut alice, &mut tablet, &mut bob], &sent);
    assert_eq!(town.changes(&alice, &bob), [&proven[..], &proven[..]].concat());

    // A device without the control key cannot.
    town.hang_up(&mut tablet);
    let refused = town.runtime.block_on(tablet.client.rotate_key(PATIENCE));
    assert!(matches!(refused, Err(Error::NoControl)), "{refused:?}");
}

#[test]
fn a_rotation_that_breaks_off_goes_on_and_loses_nothing() {
    let mut town = Town::start();
    let (mut alice, mut bob) = (town.person(), town.person());
    town.connect([&mut alice, &mut bob]);
    let mut sent = Letters::default();
    sent.write(&town, &alice, &bob.address.did);
    sent.write(&town, &bob, &alice.address.did);
    town.settle(&mut [&mut alice, &mut bob], &sent);
    town.hang_up(&mut bob);
    // The line is cut wherever it happens to be, while Alice goes on writing, until a try comes through.
    let mut tries = 0;
    until("a rotation that comes through", PATIENCE, || {
        tries += 1;
        sent.write(&town, &alice, &bob.address.did);
        let patience = Duration::from_millis(200 * tries);
        let ended = town.runtime.block_on(async { tokio::time::timeout(patience, bob.client.rotate_key(PATIENCE)).await });
        bob.tap.cut();
        ended.ok()?.ok()
    });
    assert!(tries > 1, "it broke off");
    town.connect([&mut bob]);
    sent.write(&town, &bob, &alice.address.did);
    town.settle(&mut [&mut alice, &mut bob], &sent);
    town.runtime.block_on(alice.client.verify_contact(&bob.address.did)).expect("his keys are proven");
    // A try that broke off with its last word had come through: then the next gave him one more key.
    let (proven, changes) = (Change::KeyProven { device: bob.address.device }, town.changes(&alice, &bob));
    assert!((1..=2).contains(&changes.len()) && changes.iter().all(|change| *change == proven), "{changes:?} after {tries} tries");
    println!("{tries} tries, {} keys", changes.len());
}

/// Somebody whose Signal key is replaced by hand: who has lost the old one has nothing to sign with.
#[test]
fn a_key_that_its_old_one_did_not_sign_for_is_a_reset() {
    let mut town = Town::start();
    let alice = town.person();
    let bob = Handmade::new(&mut town);
    let (knows, did) = (alice.client.clone(), bob.did);
    let stories = [
        ("without a word", None, None),
        ("with a word that is said to be there, and nobody shows", Some([1; 64]), None),
        ("with a forged word", Some([1; 64]), Some([1; 64])),
    ];
    let mut expected = Vec::new();
    for (place, (story, claimed, shown)) in (1..).zip(stories) {
        // He has published nothing usable, so nothing can be sent to him; what the chain proves of him is noted all the same.
        let _ = town.runtime.block_on(knows.verify_contact(&did));
        let from = bob.rotate(&town, [place; 32], claimed, shown);
        let _ = town.runtime.block_on(knows.verify_contact(&did));
        expected.push(Change::KeyReset { device: 1, from: Some(from) });
        let contacts = town.runtime.block_on(knows.contacts()).expect("contacts");
        let notes: Vec<_> = contacts[0].notes.iter().map(|note| note.change.clone()).collect();
        assert_eq!(notes, expected, "{story}");
        assert!(contacts[0].notes.iter().all(|note| note.change.is_warning()), "{story}");
    }
}

/// An identity of one device, of which this file holds the keys.
struct Handmade {
    did: Did,
    control: SigningKey,
    device: SigningKey,
}

impl Handmade {
    fn chain(town: &Town) -> Chain {
        Chain::connect(&town.network().url(0), town.trust()).expect("a URL")
    }

    fn door(town: &Town) -> Visitor {
        Visitor::new(&town.network().relay_url().expect("a relay"), "127.0.0.1")
    }

    fn new(town: &mut Town) -> Self {
        let [control, next, device] = [91, 92, 93].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let keys = DeviceKeys { key: device.public(), signal: SignalKey::from_x25519(&[99; 32]) };
        let genesis = identity::Genesis {
            chain: town.trust().chain().clone(),
            control: Control::single(control.public()),
            next_control: Control::single(next.public()).commitment(),
            recovery: Control::single(next.public()).recovery_commitment(),
            recovery_delay: 100,
            devices: vec![keys].try_into().expect("one device"),
            services: List::default(),
            nonce: [9; 16],
        };
        let did = town.runtime.block_on(async {
            let until = Self::chain(town).valid_until().await.expect("a height");
            let draft = Draft::create(genesis, &[&device], until).expect("the device's key").sign(0, &control);
            let operation = draft.finish().expect("one signature");
            let register = Register { did: operation.did, operation: Some(operation.to_bytes().into()), invitation: None };
            let answer = Self::door(town).post(path::REGISTER, None, &register).await;
            assert_eq!(answer.code(), 0, "{answer:?}");
            operation.did
        });
        Self { did, control, device }
    }

    /// Replaces the device's Signal key; which one it was. `claimed`: what the operation says that the old key has signed.
    /// `shown`: what the relay is given of that.
    fn rotate(&self, town: &Town, to: [u8; 32], claimed: Option<[u8; 64]>, shown: Option<[u8; 64]>) -> SignalKey {
        let (door, to) = (Self::door(town), SignalKey::from_x25519(&to));
        town.runtime.block_on(async {
            let mut chain = Self::chain(town);
            let entry = chain.identity(&self.did).await.expect("it is proven").value.expect("it is there");
            let until = chain.valid_until().await.expect("a height");
            let claimed = claimed.map(|claimed| claimed.to_vec().try_into().expect("64 bytes"));
            let chain_id = chain.trust().chain().clone();
            let draft = Draft::rotate_signal_key(&chain_id, &self.did, &entry, (1, &self.device), to, claimed, until);
            let operation = draft.sign(0, &self.control).finish().expect("one signature");
            let ask = Ask { did: self.did, device: 1 };
            let challenge: Challenge = door.post(path::CHALLENGE, None, &ask).await.read();
            let answer = SignIn::answer(&door.relay().await, &ask, &challenge, &self.device);
            let tokens: Tokens = door.post(path::SIGN_IN, None, &answer).await.read();
            let token = Some(tokens.access_token.as_str());
            let operated = door.post(path::OPERATE, token, &Operate { operation: operation.to_bytes().into() }).await;
            assert_eq!(operated.code(), 0, "{operated:?}");
            let published = PublishPrekeys { succession: shown.map(|shown| shown.to_vec().into()), ..unusable_prekeys(to) };
            let published = door.ask(Method::PUT, path::PREKEYS, token, &json!(published)).await;
            assert_eq!(published.code(), 0, "{published:?}");
            entry.device(1).expect("his device").signal.identity_key
        })
    }
}

#[test]
fn a_recovery_that_breaks_off_goes_on() {
    let mut town = Town::start();
    let (alice, mut bob) = (town.person(), town.person());
    let kit = alice.kit.clone().expect("the words");
    let (client, tap) = town.stranger();
    // The line is cut wherever it happens to be, until a try comes through.
    let mut tries = 0;
    let recovered = until("a recovery that comes through", PATIENCE, || {
        tries += 1;
        let recovering = client.recover(&alice.address.did, &kit, &[]);
        let patience = Duration::from_millis(300 * tries);
        let ended = town.runtime.block_on(async { tokio::time::timeout(patience, recovering).await });
        tap.cut();
        ended.ok()?.ok()
    });
    assert!(tries > 1, "it broke off");
    let mut anew = town.phone(client, tap, None);
    town.connect([&mut anew, &mut bob]);
    let mut sent = Letters::default();
    sent.write(&town, &anew, &bob.address.did);
    sent.write(&town, &bob, &anew.address.did);
    town.settle(&mut [&mut anew, &mut bob], &sent);
    let entry = town.runtime.block_on(bob.client.verify_contact(&anew.address.did)).expect("proven").contact.entry;
    assert_eq!(entry.devices.iter().map(|device| device.id).collect::<Vec<_>>(), [recovered.device]);
    assert_eq!(history::check(&town.tape.events()), []);
}

#[test]
fn a_registration_that_the_relay_does_not_survive_is_gone_on_with_and_paid_for_once() {
    let mut town = Town::start_with(|network| {
        let path = network.relay_home().config();
        let mut config = relay::Config::load(&path).expect("a configuration");
        // All of them are at one address, and each tries more than once.
        config.limits.registrations = 1_000;
        config.save(&path).expect("it is written");
    });
    let (mut people, mut broken) = (Vec::new(), 0);
    for delay in [0, 20, 40, 80, 160, 320, 640] {
        let (client, tap) = town.stranger();
        let registering = town.runtime.spawn({
            let client = client.clone();
            async move { client.register(None).await }
        });
        std::thread::sleep(Duration::from_millis(delay));
        town.restart_relay(&[]);
        let ended = town.runtime.block_on(registering).expect("no panic");
        town.wait_for_relay();
        if ended.is_err() {
            broken += 1;
            until("the registration that was begun", PATIENCE, || town.runtime.block_on(client.register(None)).ok());
        }
        people.push(town.phone(client, tap, None));
    }
    assert!(broken > 0, "the relay died in none of them");
    town.connect(&mut people);
    let mut sent = Letters::default();
    for (from, to) in people.iter().zip(people.iter().cycle().skip(1)) {
        sent.write(&town, from, &to.address.did);
    }
    town.settle(&mut people.iter_mut().collect::<Vec<_>>(), &sent);
    let is_creation = |body: &Body| matches!(body, Body::Identity(operation) if matches!(operation.operation, Operation::Create { .. }));
    let created = town.transactions().iter().filter(|transaction| is_creation(&transaction.transaction.body)).count();
    assert_eq!(created, people.len(), "an identity for each");
    println!("{broken} of {} registrations broke off", people.len());
}
