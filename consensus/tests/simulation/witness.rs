//! Whoever sees everything, and says at once when something is not as it must be.

use std::collections::{BTreeMap, BTreeSet};

use consensus::commit::{block_id, vote_bytes};
use consensus::host::Decided;
use consensus::malachite::context::{BlockHash, Height};
use malachite::app::types::core::{Round, VoteType};
use tendermint::block::{CommitSig, Header};
use tendermint::vote::{Power, Type};
use tendermint::{AppHash, Hash, validator};

use crate::app::consensus_key;
use crate::node::Signed;
use crate::plan::{Plan, Role};

type Powers = BTreeMap<Vec<u8>, (tendermint::PublicKey, u64)>;

/// What was decided at a height, by whoever decided it first.
#[derive(Debug)]
struct Truth {
    header: Header,
    app_hash: AppHash,
}

/// The witness of one run.
#[derive(Debug)]
pub(crate) struct Witness {
    /// The powers of each height, kept without the rules that are tested.
    powers: BTreeMap<u64, Powers>,
    truth: BTreeMap<u64, Truth>,
    genesis: AppHash,
    honest: Vec<bool>,
    signed: BTreeMap<(usize, Height, Round, u8), Signed>,
    /// The honest nodes that prevoted for a block in a round.
    prevotes: BTreeMap<(Height, Round, BlockHash), BTreeSet<usize>>,
    /// Each honest node's last precommit for a block.
    locks: BTreeMap<usize, (Height, Round, BlockHash)>,
    took_effect: BTreeSet<[u8; 32]>,
    verified: BTreeSet<Vec<u8>>,
}

impl Witness {
    pub(crate) fn new(plan: &Plan, genesis: AppHash) -> Self {
        let mut powers = Powers::new();
        for (node, (_, power)) in plan.nodes.iter().enumerate().filter(|(_, (_, power))| *power > 0) {
            let key = tendermint::PublicKey::from_raw_ed25519(&consensus_key(node).public().0).expect("a key");
            powers.insert(key.to_bytes(), (key, *power));
        }
        let powers = BTreeMap::from([(1, powers.clone()), (2, powers)]);
        Self {
            powers,
            truth: BTreeMap::new(),
            genesis,
            honest: plan.nodes.iter().map(|(role, _)| *role == Role::Honest).collect(),
            signed: BTreeMap::new(),
            prevotes: BTreeMap::new(),
            locks: BTreeMap::new(),
            took_effect: BTreeSet::new(),
            verified: BTreeSet::new(),
        }
    }

    /// An honest validator signed: only one thing for a slot, and nothing against its lock.
    pub(crate) fn signed(&mut self, node: usize, signed: Signed) -> Result<(), String> {
        let kind = signed.vote.map_or(0, |vote| vote as u8 + 1);
        let slot = (node, signed.height, signed.round, kind);
        if let Some(before) = self.signed.get(&slot) {
            return if *before == signed {
                Ok(())
            } else {
                Err(format!("node {node} signed {} and {}", before.describe(), signed.describe()))
            };
        }
        match (signed.vote, signed.block) {
            (Some(VoteType::Prevote), Some(block)) => {
                if !self.may_prevote(node, signed.height, signed.round, block) {
                    return Err(format!("node {node} is locked on another block and signs {}", signed.describe()));
                }
                self.prevotes.entry((signed.height, signed.round, block)).or_default().insert(node);
            }
            (Some(VoteType::Precommit), Some(block)) => drop(self.locks.insert(node, (signed.height, signed.round, block))),
            _ => {}
        }
        self.signed.insert(slot, signed);
        Ok(())
    }

    /// Whether a node is not locked on another block, or some later round may have had a quorum of prevotes for this one.
    fn may_prevote(&self, node: usize, height: Height, round: Round, block: BlockHash) -> bool {
        let Some((_, locked, _)) = self.locks.get(&node).filter(|(at, _, other)| *at == height && *other != block) else { return true };
        let Some(powers) = self.powers.get(&height.0) else { return false };
        let power = |node: usize| {
            let at = consensus_key(node).public().0;
            powers.get(at.as_slice()).map_or(0, |(_, power)| *power)
        };
        let faulty: u64 = (0..self.honest.len()).filter(|node| !self.honest[*node]).map(power).sum();
        let total: u64 = powers.values().map(|(_, power)| power).sum();
        let free = |voters: &BTreeSet<usize>| 3 * (faulty + voters.iter().map(|node| power(*node)).sum::<u64>()) > 2 * total;
        let mut rounds =
            self.prevotes.iter().filter(|((at, from, of), _)| (*at, *of) == (height, block) && *locked <= *from && *from < round);
        rounds.any(|(_, voters)| free(voters))
    }

    /// An honest node decided: as the others did, and provably.
    pub(crate) fn decided(&mut self, node: usize, decided: &Decided) -> Result<(), String> {
        let header = &decided.block.header;
        let height = header.height.value();
        let wrong = |what: String| Err(format!("height {height}, node {node}: {what}"));
        if let Err(what) = self.proven(decided) {
            return wrong(what);
        }
        if let Some(truth) = self.truth.get(&height) {
            if truth.header.hash() != header.hash() {
                return wrong(format!("FORK: decided {} where another decided {}", header.hash(), truth.header.hash()));
            }
            if truth.app_hash != decided.outcome.app_hash {
                return wrong("the application's hash differs from the others'".to_owned());
            }
            return Ok(());
        }
        if let Err(what) = self.follows(header) {
            return wrong(what);
        }
        for (transaction, result) in decided.block.data.iter().zip(&decided.outcome.tx_results) {
            if result.code.is_ok() && !self.took_effect.insert(types::Hash::sha256(&[transaction]).0) {
                return wrong("a transaction took effect twice".to_owned());
            }
        }
        let mut next = self.powers[&(height + 1)].clone();
        for update in &decided.outcome.validator_updates {
            match update.power.value() {
                0 => drop(next.remove(&update.pub_key.to_bytes())),
                power => drop(next.insert(update.pub_key.to_bytes(), (update.pub_key, power))),
            }
        }
        self.powers.insert(height + 2, next);
        self.truth.insert(height, Truth { header: header.clone(), app_hash: decided.outcome.app_hash.clone() });
        Ok(())
    }

    /// Whether the header follows on the one before, with the validators that are due.
    fn follows(&self, header: &Header) -> Result<(), String> {
        let height = header.height.value();
        let before = self.truth.get(&(height - 1));
        let app_hash = before.map_or(&self.genesis, |truth| &truth.app_hash);
        let last = before.map(|truth| block_id(truth.header.hash()));
        let rules = [
            (before.is_some() || height == 1, "decided before the height below"),
            (header.last_block_id == last, "does not name the block before"),
            (header.app_hash == *app_hash, "has another application hash than the block before left"),
            (Some(header.validators_hash) == self.powers.get(&height).map(hash), "has not the validators that are due"),
            (Some(header.next_validators_hash) == self.powers.get(&(height + 1)).map(hash), "has not the next validators that are due"),
            (before.is_none_or(|truth| truth.header.time < header.time), "is not later than the block before"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(format!("the block {what}")),
            None => Ok(()),
        }
    }

    /// Whether more than two thirds of the power that is due signed the block.
    fn proven(&mut self, decided: &Decided) -> Result<(), String> {
        let (header, commit) = (&decided.block.header, &decided.seen_commit);
        let id = block_id(header.hash());
        if commit.block_id != id || commit.height != header.height {
            return Err("the commit is for another block".to_owned());
        }
        let powers = self.powers.get(&header.height.value()).ok_or("decided before the heights below")?;
        let bytes = vote_bytes(&header.chain_id, Type::Precommit, header.height, commit.round, Some(id));
        let mut signers = BTreeSet::new();
        for entry in &commit.signatures {
            let CommitSig::BlockIdFlagCommit { validator_address, signature: Some(signature), .. } = entry else { continue };
            let found = powers.iter().find(|(_, (key, _))| tendermint::account::Id::from(*key) == *validator_address);
            let Some((at, (key, _))) = found else { return Err("the commit has a signature of a stranger".to_owned()) };
            let asked = [at, bytes.as_slice(), signature.as_bytes()].concat();
            if !self.verified.contains(&asked) {
                if !consensus::commit::signature_holds(*key, &bytes, signature) {
                    return Err("the commit has a signature that does not hold".to_owned());
                }
                self.verified.insert(asked);
            }
            signers.insert(at);
        }
        let signed: u64 = signers.into_iter().map(|at| powers[at].1).sum();
        let total: u64 = powers.values().map(|(_, power)| power).sum();
        if 3 * signed > 2 * total { Ok(()) } else { Err(format!("the commit has {signed} of {total}, which is no quorum")) }
    }
}

fn hash(powers: &Powers) -> Hash {
    let info = |(key, power): &(tendermint::PublicKey, u64)| validator::Info::new(*key, Power::try_from(*power).expect("small"));
    validator::Set::new(powers.values().map(info).collect(), None).hash()
}
