//! What people ask of the chain: transfers, and moves of stake.

use std::collections::BTreeMap;

use bytes::Bytes;
use ledger::stake::Candidacy;
use ledger::{Body, Payer, Transaction};
use types::{Amount, Encode as _, Height, Signature};

use crate::app::{PEOPLE, chain, consensus_key, operator, peer_id, person, validator};
use crate::dice::Dice;
use crate::plan::{Plan, Role};

const FEE: Amount = Amount(20_000);

/// The transactions of each author, in the order of their sequences.
#[derive(Debug, Default)]
pub(crate) struct Load {
    sent: BTreeMap<u8, Vec<Bytes>>,
}

impl Load {
    /// A new transaction.
    pub(crate) fn next(&mut self, dice: &mut Dice, plan: &Plan) -> Bytes {
        let spare = plan.nodes.iter().position(|(_, power)| *power == 0).filter(|node| !self.sent.contains_key(&operator(*node)));
        let (who, body) = match spare.filter(|_| dice.chance(10)) {
            Some(node) => (operator(node), candidacy(dice, node)),
            None if dice.chance(40) => (anybody(dice), stake(dice, plan)),
            None => (anybody(dice), transfer(dice)),
        };
        let author = person(who);
        let sent = self.sent.entry(who).or_default();
        let transaction = Transaction {
            chain: chain(),
            author: author.public(),
            sequence: sent.len() as u64,
            valid_until: Height(1_000_000),
            fee: FEE,
            payer: Payer::Author,
            body,
        };
        let bytes = Bytes::from(transaction.sign(&author, None).to_bytes());
        sent.push(bytes.clone());
        bytes
    }

    /// What must be said again, when `done` says how many of an author's transactions are through.
    pub(crate) fn again(&self, done: impl Fn(&types::Address) -> u64) -> Vec<Bytes> {
        let waiting = self.sent.iter().map(|(who, sent)| {
            let done = usize::try_from(done(&person(*who).public().address())).expect("few");
            sent.get(done..).unwrap_or_default().iter().take(3).cloned()
        });
        waiting.flatten().collect()
    }
}

fn anybody(dice: &mut Dice) -> u8 {
    u8::try_from(dice.below(PEOPLE.into())).expect("few people")
}

fn transfer(dice: &mut Dice) -> Body {
    let to = person(anybody(dice)).public().address();
    Body::Transfer { to, amount: Amount(dice.between(1, 1_000)), memo: "rent".try_into().expect("a short memo") }
}

/// Stake comes to honest validators and goes again, never below what they had at first; so the faulty stay below a
/// third. The spare node becomes a validator by it.
fn stake(dice: &mut Dice, plan: &Plan) -> Body {
    let honest: Vec<_> = (0..plan.nodes.len()).filter(|node| plan.nodes[*node].0 == Role::Honest).collect();
    let node = honest[dice.place(honest.len())];
    let (validator, amount) = (validator(node), Amount(dice.between(1, 3_500_000)));
    match dice.below(6) {
        0..3 => Body::Delegate { validator, amount },
        3 | 4 => Body::Undelegate { validator, amount },
        _ => Body::WithdrawRewards { validator },
    }
}

/// What makes a validator of the spare node.
fn candidacy(dice: &mut Dice, node: usize) -> Body {
    let candidacy = Candidacy {
        consensus_key: consensus_key(node).public(),
        peer_id: peer_id(node),
        moniker: "newcomer".try_into().expect("a short name"),
        commission_bps: 500,
        stake: Amount(dice.between(2_000_000, 9_000_000)),
        proof: Signature([0; 64]),
    };
    let operator = person(operator(node)).public().address();
    Body::CreateValidator(Box::new(candidacy.prove(&chain(), &operator, &consensus_key(node))))
}
