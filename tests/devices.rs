//! An identity's life: devices join and leave, all are lost, and the kit brings it back.

mod people;
mod world;

use std::time::Duration;

use client::contact::Change;
use client::{Error, Event};
use mailbox::{Address, history};
use people::{Letters, Phone, Town};
use world::{PATIENCE, until};

impl Town {
    /// A further device of a person: asks, is let in, waits for the chain.
    fn link(&mut self, first: &Phone) -> Phone {
        let (client, tap) = self.stranger();
        let did = first.address.did;
        let device = self.runtime.block_on(async {
            let code = client.link_request(&did).await.expect("a code");
            let accepted = first.client.link_accept(&code).await.expect("it is let in");
            assert_eq!(client.link_finish(PATIENCE).await.expect("it has joined"), accepted);
            accepted
        });
        let phone = self.phone(client, tap, None);
        assert_eq!(phone.address, Address { did, device });
        phone
    }

    /// What a device knows to have changed about somebody.
    fn changes(&self, phone: &Phone, of: &Phone) -> Vec<Change> {
        let contacts = self.runtime.block_on(phone.client.contacts()).expect("contacts");
        let contact = contacts.into_iter().find(|contact| contact.did == of.address.did).expect("a contact");
        contact.notes.into_iter().map(|note| note.change).collect()
    }

    /// Waits until a device hears that it is no device any more.
    fn assert_out(&self, phone: &mut Phone) {
        self.hear(phone, "the session's end", |event| matches!(event, Event::Disconnected { reason, .. } if is_out(reason)));
        let refused = self.runtime.block_on(phone.client.proof(&uuid::Uuid::nil(), Duration::ZERO));
        assert!(matches!(refused, Err(Error::NoMessage(_))), "what it has it keeps");
    }
}

/// Whether the relay showed a device out, or does not let it in again.
fn is_out(reason: &str) -> bool {
    reason.contains("the session has ended") || reason.contains("the sign-in does not hold")
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
