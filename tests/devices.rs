//! An identity's life: devices join and leave, all are lost, and the kit brings it back.

#![allow(clippy::print_stdout, reason = "a test says how often it met what it tests")]

mod people;
mod world;

use std::time::Duration;

use client::contact::Change;
use client::{Error, Event};
use identity::Operation;
use ledger::Body;
use mailbox::{Address, history};
use people::{Letters, Phone, Town};
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
