//! Tokens move; they do not appear or vanish, whatever is asked.

use ledger::{Body, Payer, SignedTransaction, Transaction};
use proptest::prelude::*;
use types::{Amount, Encode as _, Height};

use crate::world::{ALICE, BOB, BOND, FEE, LOG, NEXT_LOG, PAUPER, SPONSOR, World, address, allow, anchored, key, transfer};

const PEOPLE: [u8; 4] = [ALICE, BOB, SPONSOR, PAUPER];

/// What somebody tries.
#[derive(Debug, Clone)]
enum Try {
    Transfer { to: usize, amount: u64 },
    Allow { to: usize, limit: u64, expires: u64 },
    Register { bond: u64 },
    Rotate { log: usize, key: u8 },
    Retire { log: usize },
    Anchor { log: usize, ahead: u64, root: u8 },
}

fn tries() -> impl Strategy<Value = Try> {
    // Around the amounts that matter: nothing, a fee, a bond, all there is.
    let amount = prop_oneof![Just(0), 1u64..50, 15_000u64..80_000, 9_999_990u64..10_000_010, any::<u64>()];
    prop_oneof![
        (0..4usize, amount.clone()).prop_map(|(to, amount)| Try::Transfer { to, amount }),
        (0..4usize, amount.clone(), 0..30u64).prop_map(|(to, limit, expires)| Try::Allow { to, limit, expires }),
        amount.prop_map(|bond| Try::Register { bond }),
        Just(Try::Register { bond: BOND.0 }),
        (0..3usize, 20..24u8).prop_map(|(log, key)| Try::Rotate { log, key }),
        (0..3usize).prop_map(|log| Try::Retire { log }),
        (0..3usize, 0..3u64, any::<u8>()).prop_map(|(log, ahead, root)| Try::Anchor { log, ahead, root }),
    ]
}

fn body(world: &World, logs: &[audit::LogId], tried: &Try) -> Option<Body> {
    Some(match *tried {
        Try::Transfer { to, amount } => transfer(PEOPLE[to], amount),
        Try::Allow { to, limit, expires } => allow(PEOPLE[to], limit, expires),
        Try::Register { bond } => Body::RegisterLog { key: key(LOG).public(), bond: Amount(bond) },
        Try::Rotate { log, key: seed } => Body::RotateLogKey { log: *logs.get(log)?, key: key(seed).public() },
        Try::Retire { log } => Body::RetireLog { log: *logs.get(log)? },
        Try::Anchor { log, ahead, root } => {
            let next = world.next_anchor(logs.get(log)?, root);
            let sequence = (next.sequence + ahead).saturating_sub(1).max(1);
            let previous = if sequence == 1 { types::Hash::ZERO } else { next.previous };
            if sequence > 1 && previous == types::Hash::ZERO {
                return None;
            }
            let signer = if world.log(&next.log).key == key(LOG).public() { LOG } else { NEXT_LOG };
            anchored(audit::Anchor { sequence, previous, ..next }, signer)
        }
    })
}

fn payer(choice: u8) -> (Payer, Option<u8>) {
    match choice {
        0 => (Payer::Cosigner(key(SPONSOR).public()), Some(SPONSOR)),
        1 => (Payer::Allowance(address(SPONSOR)), None),
        2 => (Payer::Allowance(address(ALICE)), None),
        _ => (Payer::Author, None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_token_is_somewhere_after_every_block(
        blocks in prop::collection::vec(prop::collection::vec((0..4usize, tries(), 0..6u8, 0..3u64), 0..5), 1..25),
    ) {
        let mut world = World::new();
        let supply = world.census().supply;
        let mut logs = Vec::new();
        for block in blocks {
            let mut taken: Vec<SignedTransaction> = Vec::new();
            for (author, tried, paid, more) in block {
                let author = PEOPLE[author];
                let Some(body) = body(&world, &logs, &tried) else { continue };
                let mine = taken.iter().filter(|signed| signed.transaction.author == key(author).public()).count() as u64;
                let sequence = world.account(author).sequence + mine;
                let (payer, cosigner) = payer(paid);
                let fee = Amount(FEE.0 + more);
                let transaction = Transaction { sequence, payer, fee, valid_until: Height(1_000), ..world.transaction(author, body) };
                let signed = transaction.sign(&key(author), cosigner.map(key).as_ref());
                let candidates: Vec<_> = taken.iter().chain([&signed]).map(types::Encode::to_bytes).collect();
                // What cannot be charged is left out, as an honest proposer does.
                if world.try_play(&candidates).is_ok() {
                    taken.push(signed);
                }
            }
            // `play` asserts that the census holds and that a replay gives the same.
            let outcome = world.play(&taken);
            prop_assert_eq!(world.census().supply, supply);
            for (signed, result) in taken.iter().zip(&outcome.results) {
                if let (Body::RegisterLog { .. }, true) = (&signed.transaction.body, result.code.is_ok()) {
                    let author = signed.transaction.author.address();
                    logs.push(audit::LogId::derive(&signed.transaction.chain, &author, signed.transaction.sequence));
                }
            }
            let numbers: u64 = PEOPLE.iter().map(|seed| world.account(*seed).sequence).sum();
            prop_assert!(numbers >= taken.len() as u64);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_what_is_read_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(signed) = SignedTransaction::parse(&bytes) {
            prop_assert_eq!(signed.to_bytes(), bytes);
        }
    }

    #[test]
    fn bent_transactions_are_refused(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let world = World::new();
        let mut bytes = world.signed(ALICE, transfer(BOB, 300)).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(ledger::block::verify(&bytes).is_err(), "a bit flipped at {} holds", at);
    }
}
