//! A relay whose database was restored from an older copy gets another log, and everything is provable again.

mod people;
mod world;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use audit::{Bundle, LogId};
use devnet::Service;
use genesis::{KeyFile, KeyKind, LogFile, entropy};
use ledger::{Body, Params};
use people::{Phone, Town};
use relay::messages::{Rocks, Store as _};
use rpc::Chain;
use serde_json::{Value, json};
use types::{Amount, Hash};
use uuid::Uuid;
use world::{PATIENCE, ZYNK, quick, until};

/// Alice writes; Bob has it.
fn tell(town: &Town, alice: &mut Phone, bob: &mut Phone, text: &str) -> Uuid {
    let id = town.write(alice, &bob.address.did, text);
    until(&format!("{text:?} has come"), PATIENCE, || {
        town.overhear(alice);
        town.overhear(bob);
        town.conversation(bob, &alice.address.did).iter().any(|message| message.message_id == id).then_some(())
    });
    id
}

fn log_of(bundle: &Bundle) -> LogId {
    bundle.anchor.anchor.log
}

/// Kills the relay: what it has promised is on its disk.
fn stop(town: &mut Town) {
    town.running.kill_service(Service::Relay).expect("it ran");
}

/// Starts the relay, which ends by itself and says why.
fn falls(town: &mut Town, why: &[&str]) {
    town.restart_relay(&[]);
    until("the relay ends", PATIENCE, || town.running.has_fallen(Service::Relay).then_some(()));
    let words = town.last_words();
    assert!(why.iter().all(|why| words.contains(why)), "{words}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("it is copied");
        }
    }
}

/// Runs `zynk relay …`: whether it did it, and what it says.
fn zynk_relay(line: &str, home: &Path) -> (bool, Value) {
    let output = Command::new(ZYNK).args(["--json", "relay"]).args(line.split(' ')).arg("--home").arg(home).output().expect("it runs");
    (output.status.success(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn new_log(home: &Path) -> (bool, Value) {
    zynk_relay("new-log", home)
}

/// What the relay's account has.
fn balance(town: &Town) -> Amount {
    let account = KeyFile::load(&town.network().relay_home().account_key(), KeyKind::Account).expect("a key").public().address();
    let mut chain = Chain::connect(&town.network().url(0), town.trust()).expect("a URL");
    town.runtime.block_on(chain.account(&account)).expect("proven").value.balance
}

#[test]
fn a_relay_that_was_restored_begins_another_log_and_goes_on() {
    let mut town = Town::start();
    let (mut alice, mut bob) = (town.person(), town.person());
    town.connect([&mut alice, &mut bob]);
    let before = tell(&town, &mut alice, &mut bob, "before the copy");
    let home = town.network().relay_folder();
    let file = town.network().relay_home().log();
    let old = LogFile::load(&file).expect("a log").log;
    assert_eq!(log_of(&town.prove(&alice, &before)), old);
    let (refused, why) = new_log(&home);
    assert!(!refused && why["error"]["code"] == 7091, "not while the relay runs: {why}");

    // The copy has a message that is in no batch, or under an anchor on its way: the chain is away.
    for place in [2, 3] {
        town.running.kill(place).expect("it ran");
    }
    let between = tell(&town, &mut alice, &mut bob, "in the copy, not yet anchored");
    stop(&mut town);
    let saved = town.beside();
    copy(&home, &saved);
    for place in [2, 3] {
        town.running.revive(place, &[]).expect("it starts");
    }

    town.restart_relay(&[]);
    town.wait_for_relay();
    town.connect([&mut alice, &mut bob]);
    let lost = tell(&town, &mut alice, &mut bob, "after the copy");
    let proven = town.prove(&bob, &lost);
    assert_eq!(log_of(&proven), old);
    stop(&mut town);
    std::fs::remove_dir_all(&home).expect("the disk is lost");
    copy(&saved, &home);

    // It ends rather than signs, and says what helps.
    falls(&mut town, &["older than the log", "zynk relay new-log"]);
    // Begun and interrupted: the relay does not start, and the key that may be registered already is the one that is gone on with.
    let begun = LogFile::new(town.trust().chain().clone(), LogId(Hash::ZERO), entropy::key());
    begun.save(&town.network().relay_home().next_log()).expect("it is written");
    falls(&mut town, &["another one was begun", "zynk relay new-log"]);

    let (renewed, told) = new_log(&home);
    assert!(renewed, "{told}");
    let renewed = LogFile::load(&file).expect("a log");
    let new = renewed.log;
    assert_eq!(renewed.key().public(), begun.key().public());
    assert_eq!((&told["old"]["log"], &told["log"]), (&json!(old), &json!(new)));
    assert!(old != new && told["old"]["retired"].is_u64(), "{told}");
    assert_eq!(LogFile::load(&town.network().relay_home().former_log(&old)).expect("it is kept").log, old);
    assert!(!town.network().relay_home().next_log().exists());
    let (back, why) = zynk_relay("reclaim", &home);
    assert!(!back && why["error"]["code"] == 7100, "the old log's bond is held: {why}");
    let ended = told["old"]["retired"].as_u64().expect("a height");
    let released = ended + u64::from(quick().bond_hold_blocks);
    assert!(why["error"]["message"].as_str().is_some_and(|why| why.contains(&format!("held until block {released}"))), "{why}");

    town.restart_relay(&[]);
    town.wait_for_relay();
    town.connect([&mut alice, &mut bob]);
    let after = tell(&town, &mut alice, &mut bob, "under the new log");
    assert_eq!(log_of(&town.prove(&alice, &after)), new);
    assert_eq!(log_of(&town.prove(&bob, &after)), new);
    // What was anchored before stays where it was, and both sides still prove it; so does who has the proof of what the disk lost.
    assert_eq!(log_of(&town.prove(&bob, &before)), old);
    assert!([old, new].contains(&log_of(&town.prove(&alice, &between))));
    assert_eq!(log_of(&town.prove(&bob, &lost)), old);

    // On the chain: one log retired, the other with its anchors from 1 on, each once.
    let mut sequences = Vec::new();
    let mut retired = 0;
    for transaction in town.transactions() {
        match transaction.transaction.body {
            Body::Anchor(anchor) if anchor.anchor.log == new => sequences.push(anchor.anchor.sequence),
            Body::Anchor(anchor) => assert!(anchor.anchor.log == old && retired == 0, "nothing is signed for the old log any more"),
            Body::RetireLog { log } => retired += u32::from(log == old),
            _ => {}
        }
    }
    assert!(retired == 1 && sequences.iter().copied().eq(1..=sequences.len() as u64), "{retired}, {sequences:?}");

    // Every leaf that the database knows stands in one batch.
    stop(&mut town);
    let store = Rocks::open(&town.network().relay_home().messages()).expect("a database");
    let state = store.log().expect("a state");
    assert_eq!(state.waiting(), 0, "{state:?}");
    let mut leaves = BTreeSet::new();
    for number in 1..=state.number(state.sealed) {
        for leaf in store.leaves(number).expect("they are read").unwrap_or_default() {
            assert!(leaves.insert(leaf), "{leaf} is in two batches");
        }
    }
    assert_eq!(state.leaves, 3, "what the copy had and what came after");
    drop(store);

    // The old log's bond comes back, once.
    town.runtime.block_on(town.running.wait_for(0, released, PATIENCE)).expect("it goes on");
    let poor = balance(&town);
    let (back, told) = zynk_relay("reclaim", &home);
    assert!(back && told["held"] == json!([]), "{told}");
    let bond = Params::default().log_bond;
    assert_eq!((&told["returned"][0]["log"], &told["returned"][0]["bond"]), (&json!(old), &json!(bond)), "{told}");
    let rich = balance(&town);
    assert!(rich > poor && rich < Amount(poor.0 + bond.0), "the bond, less a fee: {poor}, {rich}");
    assert_eq!(zynk_relay("reclaim", &home), (true, json!({"returned": [], "held": []})));
    assert_eq!(balance(&town), rich, "to ask again costs nothing");

    // Its log is sound now, so another one is for those who mean it.
    let (refused, why) = new_log(&home);
    assert!(!refused && why["error"]["code"] == 7099, "{why}");
    assert_eq!((LogFile::load(&file).expect("a log").log, balance(&town)), (new, rich));
    let (renewed, told) = zynk_relay("new-log --yes", &home);
    assert!(renewed && told["old"]["log"] == json!(new) && told["leaves"] == 0, "{told}");
    assert_eq!(town.network().relay_home().former_logs().expect("a folder").len(), 2);

    // In the copy there is still the log that was retired: nobody need be asked whether that one should go.
    std::fs::remove_dir_all(&home).expect("the disk is lost again");
    copy(&saved, &home);
    let (renewed, told) = new_log(&home);
    assert!(renewed && told["old"] == json!({"log": old, "retired": ended}), "{told}");
}
