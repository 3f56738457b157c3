//! The frozen bytes of transactions and of the state (`docs/spec/transactions.md`, `docs/spec/state.md`).

use ledger::stake::rewards::{Earned, PerShare};
use ledger::stake::{Validator, ValidatorStatus};
use ledger::{Body, Payer, SignedTransaction, Transaction};
use serde_json::{Map, Value, json};
use types::{Amount, Decode as _, Encode as _, Height, Millis};

use crate::stake::{create, delegate, edit, redelegate, undelegate, unjail, withdraw};
use crate::world::{ALICE, BOB, BOND, CONTROL, LOG, NEXT_LOG, SPONSOR, World, address, allow, anchored, chain, creation, key, transfer};

fn bodies(world: &World, log: audit::LogId) -> Vec<(&'static str, Body)> {
    vec![
        ("transfer", transfer(BOB, 1_500_000)),
        ("allow", allow(BOB, 300_000, 1_000)),
        ("identity", Body::Identity(Box::new(creation(chain(), CONTROL)))),
        ("register log", Body::RegisterLog { key: key(LOG).public(), bond: BOND }),
        ("rotate log key", Body::RotateLogKey { log, key: key(NEXT_LOG).public() }),
        ("retire log", Body::RetireLog { log }),
        ("anchor", anchored(world.next_anchor(&log, 1), LOG)),
        ("create validator", create(ALICE, 40, 7_000_000)),
        ("edit validator", edit(40)),
        ("delegate", delegate(10, 4_000_000)),
        ("undelegate", undelegate(10, 1_000_000)),
        ("redelegate", redelegate(10, 40, 2_000_000)),
        ("withdraw rewards", withdraw(10)),
        ("unjail", unjail(40)),
    ]
}

#[test]
fn the_formats_are_those_frozen() {
    let mut world = World::new();
    let log = world.register(ALICE);
    let mut transactions = Map::new();
    let mut add = |name: &str, signed: &SignedTransaction| {
        let bytes = signed.to_bytes();
        assert_eq!(SignedTransaction::from_bytes(&bytes).as_ref(), Ok(signed), "{name}");
        let vector = json!({
            "body": hex::encode(signed.transaction.body.to_bytes()),
            "signed_bytes": hex::encode(signed.transaction.signed_bytes()),
            "transaction": hex::encode(&bytes),
            "hash": signed.hash(),
        });
        transactions.insert(name.to_owned(), vector);
    };
    for (name, body) in bodies(&world, log) {
        add(name, &world.signed(ALICE, body));
    }
    let paid = |payer| Transaction { payer, ..world.transaction(ALICE, transfer(BOB, 1)) };
    add("paid by a cosigner", &paid(Payer::Cosigner(key(SPONSOR).public())).sign(&key(ALICE), Some(&key(SPONSOR))));
    add("paid by an allowance", &paid(Payer::Allowance(address(SPONSOR))).sign(&key(ALICE), None));
    for (_, body) in bodies(&world, log) {
        world.one(ALICE, body);
    }
    // Every key of the state, with the value of its kind.
    let state: Map<String, Value> = world
        .entries
        .iter()
        .map(|(key, value)| (String::from_utf8(key.clone()).expect("keys are text"), json!(hex::encode(value))))
        .collect();
    let statuses = [
        ValidatorStatus::Eligible,
        ValidatorStatus::Jailed { until: Millis(1_790_000_000_000) },
        ValidatorStatus::Tombstoned { offence: Height(300), height: Height(310), time: Millis(1_790_000_000_000), slash_bps: 500 },
    ];
    let validators: Vec<_> = statuses.iter().map(|status| stake(*status)).collect();
    support::frozen("transactions", &json!({ "transactions": transactions, "state": state, "validators": validators }));
}

fn stake(status: ValidatorStatus) -> Value {
    let validator = Validator {
        operator: address(ALICE),
        consensus_key: key(10).public(),
        peer_id: vec![1; 38].try_into().expect("38 bytes"),
        moniker: "first".try_into().expect("a short name"),
        bonded: Amount(4_750_000),
        shares: 5_000_000,
        commission_bps: 500,
        commission_set: Millis(1_789_000_000_000),
        earned: Earned { per_share: PerShare(3 << 60), unclaimed: Amount(900_000), commission: Amount(70_000) },
        status,
    };
    assert_eq!(Validator::from_bytes(&validator.to_bytes()).as_ref(), Ok(&validator));
    json!({ "status": format!("{status:?}"), "bytes": hex::encode(validator.to_bytes()) })
}
