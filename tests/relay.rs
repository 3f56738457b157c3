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
use ledger::{Body, SignedTransaction};
use people::{Letters, Phone, Town};
use relay::fault::POINTS;
use relay::messages::{Rocks, Store as _};
use rpc::Node;
use tendermint_rpc::{Client as _, HttpClient};
use types::Hash;
use world::{PATIENCE, until};

/// Between two messages of one person.
const BREATH: Duration = Duration::from_millis(120);

/// Everybody writes to everybody; one message from each to each.
fn round(town: &Town, people: &[Phone], sent: &mut Letters) {
    for from in people {
        for to in people.iter().filter(|to| to.address.did != from.address.did) {
            sent.write(town, from, &to.address.did);
        }
    }
}

fn all(people: &mut [Phone]) -> Vec<&mut Phone> {
    people.iter_mut().collect()
}

#[test]
#[cfg(debug_assertions)]
fn a_relay_that_dies_at_any_step_loses_and_doubles_nothing() {
    let mut town = Town::start();
    let mut people: Vec<Phone> = (0..3).map(|_| town.person()).collect();
    let (mut sent, mut proven) = (Letters::default(), BTreeMap::new());
    town.connect(&mut people);
    round(&town, &people, &mut sent);
    town.settle(&mut all(&mut people), &sent);
    for point in POINTS {
        let began = Instant::now();
        // What a sweep does comes up at every start and then every ten seconds; the rest again and again.
        let hits = if point.starts_with("expire") { 1 } else { 3 };
        let deaths = town.relay_log().matches("crash point").count();
        town.restart_relay(&[("ZYNK_FAULT", &format!("{point}:{hits}"))]);
        until(&format!("{point} is reached"), PATIENCE, || {
            if people.iter().map(|phone| town.waiting(phone)).sum::<u64>() < 6 {
                round(&town, &people, &mut sent);
            }
            std::thread::sleep(BREATH);
            people.iter_mut().for_each(|phone| town.overhear(phone));
            town.running.has_fallen(Service::Relay).then_some(())
        });
        let log = town.relay_log();
        assert!(
            log.contains(&format!("crash point {point} reached {hits} times")) && log.matches("crash point").count() == deaths + 1,
            "{point} was never hit:\n{}",
            town.last_words()
        );
        town.restart_relay(&[]);
        town.wait_for_relay();
        town.connect(&mut people);
        round(&town, &people, &mut sent);
        town.settle(&mut all(&mut people), &sent);
        prove_all(&town, &people, &sent, &mut proven);
        println!("{point}: {} messages, {} proven, {:.1} s", sent.len(), proven.len(), began.elapsed().as_secs_f64());
    }
    let told = assert_anchored_once(&mut town, &proven);
    println!("{told}");
}

/// Where each message's leaf stands: the anchor's sequence and the leaf.
type Proven = BTreeMap<uuid::Uuid, (u64, Hash)>;

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

/// Every anchor of a log that a block took in, by sequence; two for one sequence fail.
fn anchors_on_chain(town: &Town, log: audit::LogId) -> BTreeMap<u64, SignedAnchor> {
    let url = town.network().url(0);
    town.runtime.block_on(async {
        let (node, blocks) = (Node::new(&url).expect("a URL"), HttpClient::new(url.as_str()).expect("a URL"));
        let tip = node.status().await.expect("it answers").sync_info.latest_block_height.value();
        let mut anchors: BTreeMap<u64, SignedAnchor> = BTreeMap::new();
        for height in 1..=tip {
            let height = tendermint::block::Height::try_from(height).expect("a height");
            let transactions = blocks.block(height).await.expect("a block").block.data;
            if transactions.is_empty() {
                continue;
            }
            let results = blocks.block_results(height).await.expect("results").txs_results.unwrap_or_default();
            for (bytes, result) in transactions.iter().zip(results) {
                let Body::Anchor(anchor) = SignedTransaction::parse(bytes).expect("a transaction").transaction.body else { continue };
                if anchor.anchor.log != log {
                    continue;
                }
                let sequence = anchor.anchor.sequence;
                if result.code.is_ok() {
                    assert!(anchors.insert(sequence, *anchor).is_none(), "anchor {sequence} was taken twice");
                }
            }
        }
        anchors
    })
}
