//! The relay dies before and after every durable step, comes back, and has kept its word.

#![allow(clippy::print_stdout, reason = "a long run says how far it is")]
#![cfg_attr(not(debug_assertions), allow(dead_code, unused_imports, reason = "release builds have no crash points"))]

mod people;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use audit::{Batch, SignedAnchor};
use devnet::Service;
use genesis::LogFile;
use identity::Did;
use ledger::Body;
use mailbox::Address;
use mailbox::history::Event;
use people::{Letters, Phone, Town};
use relay::fault::POINTS;
use relay::messages::{Rocks, Store as _};
use types::Hash;
use uuid::Uuid;
use world::{PATIENCE, until};

/// Between two rounds of messages.
const BREATH: Duration = Duration::from_millis(120);

/// With so many messages and receipts waiting, nobody writes another one.
const ENOUGH: u64 = 6;

/// Every device writes to everybody, and reads what came.
fn round(town: &Town, people: &[Phone], sent: &mut Letters) {
    let everybody: BTreeSet<Did> = people.iter().map(|phone| phone.address.did).collect();
    for from in people {
        for to in everybody.iter().filter(|to| **to != from.address.did) {
            sent.write(town, from, to);
            town.read(from, to);
        }
    }
}

/// Three people, one of them with two devices; their first messages are settled.
fn gather(town: &mut Town, sent: &mut Letters) -> Vec<Phone> {
    let mut people: Vec<Phone> = (0..3).map(|_| town.person()).collect();
    people.push(town.link(&people[0]));
    town.connect(&mut people);
    round(town, &people, sent);
    town.settle(&mut all(&mut people), sent);
    people
}

fn all(people: &mut [Phone]) -> Vec<&mut Phone> {
    people.iter_mut().collect()
}

#[test]
#[cfg(debug_assertions)]
fn a_relay_that_dies_at_any_step_loses_and_doubles_nothing() {
    let mut town = Town::start();
    let (mut sent, mut proven) = (Letters::default(), BTreeMap::new());
    let mut people = gather(&mut town, &mut sent);
    for point in POINTS {
        let began = Instant::now();
        // What a sweep does comes up at every start and then every ten seconds; the rest again and again.
        let hits = if point.starts_with("expire") { 1 } else { 3 };
        die_at(point, hits, &mut town, &mut people, &mut sent);
        // And once more, the first time that what it left half done is gone on with.
        die_at(point, 1, &mut town, &mut people, &mut sent);
        town.restart_relay(&[]);
        town.wait_for_relay();
        town.connect(&mut people);
        round(&town, &people, &mut sent);
        town.settle(&mut all(&mut people), &sent);
        prove_all(&town, &people, &sent, &mut proven);
        // What was stored and not answered was sent again, and stored once all the same.
        let again = sent_again(&town);
        assert!(point != "commit.after" || again > 0, "nobody was left without an answer");
        println!("{point}: {} messages, {} proven, {:.1} s", sent.len(), proven.len(), began.elapsed().as_secs_f64());
    }
    let told = assert_anchored_once(&mut town, &proven);
    println!("{told}");
}

/// Has the relay die at a point while people write.
#[cfg(debug_assertions)]
fn die_at(point: &str, hits: u32, town: &mut Town, people: &mut [Phone], sent: &mut Letters) {
    let deaths = town.relay_log().matches("crash point").count();
    town.restart_relay(&[("ZYNK_FAULT", &format!("{point}:{hits}"))]);
    until(&format!("{point} is reached {hits} times"), PATIENCE, || {
        if people.iter().map(|phone| town.waiting(phone)).sum::<u64>() < ENOUGH {
            round(town, people, sent);
        }
        std::thread::sleep(BREATH);
        people.iter_mut().for_each(|phone| town.overhear(phone));
        town.running.has_fallen(Service::Relay).then_some(())
    });
    let log = town.relay_log();
    let died = log.lines().rev().find(|line| line.starts_with("crash point"));
    assert_eq!(died, Some(format!("crash point {point} reached {hits} times").as_str()), "{}", town.last_words());
    assert_eq!(log.matches("crash point").count(), deaths + 1, "{point}: it died there and nowhere else");
}

/// How many messages devices sent more than once, under the same id.
fn sent_again(town: &Town) -> usize {
    let mut times: BTreeMap<(Address, Uuid), usize> = BTreeMap::new();
    for event in town.tape.events() {
        if let Event::Sent { by, message, .. } = event {
            *times.entry((by, message)).or_default() += 1;
        }
    }
    times.values().filter(|times| **times > 1).count()
}

/// Kills the relay without warning and at any moment, over and over, while people write, join and leave.
#[test]
#[ignore = "the long run: make soak"]
fn killed_again_and_again_the_relay_keeps_its_word() {
    let kills: usize = std::env::var("ZYNK_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let mut town = Town::start();
    let (mut sent, mut proven) = (Letters::default(), BTreeMap::new());
    let mut people = gather(&mut town, &mut sent);
    let mut dice = u64::from(std::process::id());
    println!("seed {dice}");
    for kill in 0..kills {
        // Numerical Recipes' generator: moments need to be spread, not unknown.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Instant::now() + Duration::from_millis((dice >> 33) % 2_000);
        round(&town, &people, &mut sent);
        while Instant::now() < moment {
            if people.iter().map(|phone| town.waiting(phone)).sum::<u64>() < ENOUGH {
                round(&town, &people, &mut sent);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        town.restart_relay(&[]);
        match dice >> 61 {
            // Now and then it dies again before anybody is back.
            0 | 1 => {
                std::thread::sleep(Duration::from_millis((dice >> 50) % 500));
                town.restart_relay(&[]);
            }
            // Or the gateway does.
            2 => town.restart_gateway(),
            _ => {}
        }
        town.wait_for_relay();
        town.connect(&mut people);
        if kill % 5 == 4 || kill + 1 == kills {
            town.settle(&mut all(&mut people), &sent);
            prove_all(&town, &people, &sent, &mut proven);
            sent.forget();
            println!("{} kills, {} messages, {} sent again", kill + 1, proven.len(), sent_again(&town));
        }
    }
    println!("{}", assert_anchored_once(&mut town, &proven));
}

/// Without the chain people write to each other all the same; the proofs follow when it is back.
#[test]
fn an_outage_of_the_chain_delays_proofs_and_nothing_else() {
    let mut town = Town::start();
    let (mut sent, mut proven) = (Letters::default(), BTreeMap::new());
    let mut people = gather(&mut town, &mut sent);
    // Two of four are no quorum: blocks end, with an anchor on its way.
    for place in [2, 3] {
        town.running.kill(place).expect("it ran");
    }
    for _ in 0..3 {
        round(&town, &people, &mut sent);
        town.settle(&mut all(&mut people), &sent);
        // Both die, and the devices find them again by themselves.
        town.restart_relay(&[]);
        town.restart_gateway();
        town.wait_for_relay();
    }
    let last = sent.ids().filter(|(from, ..)| *from == people[0].address).map(|(.., id)| id).max().expect("messages");
    // The gateway may just have found the relay away; it asks again after a second.
    let unproven = until("an answer of the relay", PATIENCE, || {
        let asked = town.runtime.block_on(people[0].client.proof(&last, Duration::from_secs(1)));
        (!matches!(asked, Err(client::Error::Relay { code: 7541, .. }))).then_some(asked)
    });
    assert!(matches!(unproven, Err(client::Error::NotAnchored(_))), "{unproven:?}\n{}", town.last_words());
    for place in [2, 3] {
        town.running.revive(place, &[]).expect("it starts");
    }
    prove_all(&town, &people, &sent, &mut proven);
    println!("{}", assert_anchored_once(&mut town, &proven));
}

/// Where each message's leaf stands: the anchor's sequence and the leaf.
type Proven = BTreeMap<Uuid, (u64, Hash)>;

/// Both sides prove what was written since; it is the same leaf in the same batch.
fn prove_all(town: &Town, people: &[Phone], sent: &Letters, proven: &mut Proven) {
    for (from, to, id) in sent.ids().filter(|(_, _, id)| !proven.contains_key(id)).collect::<Vec<_>>() {
        for phone in people.iter().filter(|phone| phone.address == from || phone.address.did == to) {
            let bundle = town.prove(phone, &id);
            let place = (bundle.anchor.anchor.sequence, bundle.items.iter().next().expect("an item").opening.leaf());
            assert_eq!(*proven.entry(id).or_insert(place), place, "{id}: both sides prove the same");
        }
    }
}

/// Stops the relay and compares its database with the chain: sequences without a gap, one anchor each, each
/// leaf in one batch, and no leaf that is of no message.
fn assert_anchored_once(town: &mut Town, proven: &Proven) -> String {
    town.running.kill_service(Service::Relay).expect("it ran");
    let home = town.network().relay_home();
    let log = LogFile::load(&home.log()).expect("a log").log;
    let anchors = anchors_on_chain(town, log);
    let last = *anchors.keys().last().expect("an anchor");
    assert!(anchors.keys().copied().eq(1..=last), "sequences without a gap");
    let mut before = Hash::ZERO;
    for (sequence, anchor) in &anchors {
        assert_eq!(anchor.anchor.previous, before, "anchor {sequence} follows the one before");
        before = anchor.anchor.hash();
    }
    let store = Rocks::open(&home.messages()).expect("a database");
    let state = store.log().expect("a state");
    assert_eq!(state.sealed_leaves, proven.len() as u64, "as many leaves as messages");
    let mut places: BTreeMap<Hash, Vec<u64>> = BTreeMap::new();
    let (mut first, mut full) = (0, 0);
    for (sequence, anchor) in &anchors {
        // One of padding only is let go.
        let Some(sealed) = store.batch(*sequence).expect("it is read") else { continue };
        assert_eq!((sealed.first, &sealed.anchor), (first, anchor), "batch {sequence}");
        let batch = Batch::reopen(store.leaves(*sequence).expect("they are read").expect("they are kept")).expect("a batch");
        assert_eq!(batch.root(), anchor.anchor.root, "batch {sequence} is what was anchored");
        batch.leaves().for_each(|leaf| places.entry(leaf).or_default().push(*sequence));
        first = sealed.end;
        full += usize::from(sealed.end > sealed.first);
    }
    for (id, (sequence, leaf)) in proven {
        assert_eq!(places.get(leaf), Some(&vec![*sequence]), "{id} stands in one batch");
    }
    let leaves: BTreeSet<Hash> = proven.values().map(|(_, leaf)| *leaf).collect();
    assert_eq!(leaves.len(), proven.len(), "every message has its own leaf");
    format!("{} messages in {full} of {last} batches, each anchored once", proven.len())
}

/// Every anchor of a log that the chain took, by sequence; two for one sequence fail.
fn anchors_on_chain(town: &Town, log: audit::LogId) -> BTreeMap<u64, SignedAnchor> {
    let mut anchors: BTreeMap<u64, SignedAnchor> = BTreeMap::new();
    for transaction in town.transactions() {
        let Body::Anchor(anchor) = transaction.transaction.body else { continue };
        let sequence = anchor.anchor.sequence;
        if anchor.anchor.log == log {
            assert!(anchors.insert(sequence, *anchor).is_none(), "anchor {sequence} was taken twice");
        }
    }
    anchors
}
