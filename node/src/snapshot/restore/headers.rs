//! The headers of a snapshot: whether they are the chain's, and whose turn it is to propose after them.

use consensus::ChainState;
use consensus::chain::commit_hash;
use consensus::evidence::{self, bytes::list_hash, has_expired};
use consensus::validators::ValidatorSet;
use genesis::Genesis;
use light::{Handoff, Trust, Validators};
use tendermint::PublicKey;
use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{Commit, Header};

use super::Basis;
use crate::chain_at::Sets;
use crate::snapshot::SnapshotError;
use crate::store::light::Light;
use crate::store::{Batch, Column, at, committed_key};

/// The headers that were taken.
pub(super) struct Headers {
    /// Moves from the genesis by the hand-offs.
    trust: Trust,
    /// The validators of the height `at`, with their priorities.
    set: ValidatorSet,
    at: u64,
    /// The validators of the block that was taken last.
    signers: Option<ValidatorSet>,
    initial: u64,
    /// Of the snapshot's height: verified before.
    last: SignedHeader,
    /// The first header of the unbroken row that `previous` ends.
    start: Option<Header>,
    previous: Option<Previous>,
}

struct Previous {
    header: Header,
    commit: Option<Commit>,
    is_handoff: bool,
}

impl Headers {
    pub(super) fn new(genesis: &Genesis, basis: &Basis) -> Result<Self, SnapshotError> {
        let document = genesis.as_tendermint();
        let first = document.validators.iter().map(|validator| (validator.pub_key, validator.power()));
        let set = ValidatorSet::genesis(first).map_err(|error| bad_at(0, &error))?;
        let initial = u64::try_from(document.initial_height).map_err(|error| bad_at(0, &error))?;
        let last = basis.last.clone();
        Ok(Self { trust: genesis.trust(), set, at: initial, signers: None, initial, last, start: None, previous: None })
    }

    /// Takes the next block, and writes what the database keeps of it.
    pub(super) fn take(&mut self, mut block: Light, batch: &mut Batch<'_>) -> Result<(), SnapshotError> {
        let height = block.header.height;
        let bad = |reason: &str| Err(bad_at(height.value(), &reason));
        let tip = self.last.header.height;
        if height > tip || height.value() < self.initial || block.header.chain_id != self.last.header.chain_id {
            return bad("is not of this chain up to the snapshot's height");
        }
        if Some(list_hash(&block.evidence)) != block.header.evidence_hash {
            return bad("names other evidence");
        }
        if height == tip {
            if block.header.hash() != self.last.header.hash() {
                return bad("is another than the chain's");
            }
            block.commit = Some(self.last.commit.clone());
        }
        let Some(commit) = block.commit.clone() else {
            return bad("has no commit");
        };
        self.link(&block)?;
        self.walk_to(height.value())?;
        if self.set.hash() != block.header.validators_hash {
            return bad("has other validators than the hand-offs before it lead to");
        }
        if commit.round.value() == 0 && self.set.proposer(0).address() != block.header.proposer_address {
            return bad("was proposed by somebody whose turn it was not: hand-offs are missing");
        }
        // From a row's first height on the set is asked for.
        if self.start.as_ref().is_some_and(|start| start.height == height) {
            batch.put_set(height, &self.set);
        }
        self.signers = Some(self.set.clone());
        if block.is_handoff() {
            let Some(next) = block.next.take() else {
                return bad("hands over to validators that are not named");
            };
            self.hand_off(&block.header, commit.clone(), &next)?;
            batch.put(Column::Handoffs, &at(height), &[]);
            batch.put_set(height.increment(), &self.set);
        } else if block.next.is_some() {
            return bad("names next validators although they are its own");
        }
        for mark in block.evidence.iter().map(evidence::mark) {
            batch.put(Column::Evidence, &committed_key(&mark), &at(height));
        }
        batch.put_light(&block);
        self.previous = Some(Previous { is_handoff: block.is_handoff(), header: block.header, commit: Some(commit) });
        Ok(())
    }

    /// Holds a block against the one before it, or begins another row behind a hand-off.
    fn link(&mut self, block: &Light) -> Result<(), SnapshotError> {
        let (header, height) = (&block.header, block.header.height.value());
        let bad = |reason: &str| Err(bad_at(height, &reason));
        match &self.previous {
            Some(before) if before.header.height >= header.height => return bad("is out of order"),
            Some(before) if before.header.height.increment() == header.height => {
                if header.last_block_id.map(|id| id.hash) != Some(before.header.hash()) {
                    return bad("does not follow the one before it");
                }
                if header.last_commit_hash != Some(commit_hash(before.commit.as_ref())) {
                    return bad("names another commit of the block before it");
                }
                return Ok(());
            }
            Some(before) if !before.is_handoff => return bad("leaves out the one before it"),
            Some(_) | None => {}
        }
        self.start = Some(header.clone());
        Ok(())
    }

    /// Turns to a height before which nobody hands over.
    fn walk_to(&mut self, height: u64) -> Result<(), SnapshotError> {
        while self.at < height {
            self.set = self.set.next([]).map_err(|error| bad_at(self.at, &error))?;
            self.at += 1;
        }
        Ok(())
    }

    fn hand_off(&mut self, header: &Header, commit: Commit, next: &Validators) -> Result<(), SnapshotError> {
        let height = header.height.value();
        let signed = SignedHeader::new(header.clone(), commit).map_err(|error| bad_at(height, &error))?;
        let handoff = Handoff::new(&signed, next).map_err(|error| bad_at(height, &error))?;
        self.trust.hand_off(&handoff).map_err(|error| bad_at(height, &error))?;
        self.turn_to(next)
    }

    /// Turns to the next height, whose validators are these.
    fn turn_to(&mut self, next: &Validators) -> Result<(), SnapshotError> {
        let changes = changes(&self.set, next).map_err(|error| bad_at(self.at, &error))?;
        self.set = self.set.next(changes).map_err(|error| bad_at(self.at, &error))?;
        self.at += 1;
        Ok(())
    }

    /// The height from which on there is every header, and the sets around the last one.
    pub(super) fn finish(&mut self, basis: &Basis) -> Result<(u64, Sets), SnapshotError> {
        let tip = basis.last.header.height.value();
        let reached = self.previous.as_ref().is_some_and(|last| last.header.height.value() == tip);
        let start = self.start.as_ref().filter(|_| reached).map(|start| start.height.value());
        let start = start.ok_or_else(|| bad_at(tip, &"is missing"))?;
        let last = self.signers.clone().ok_or_else(|| bad_at(tip, &"is missing"))?;
        self.walk_to(tip + 1)?;
        let next = self.set.clone();
        self.turn_to(&basis.after)?;
        Ok((start, Sets { last, next, after: self.set.clone() }))
    }

    /// Whether the headers go back as far as evidence counts.
    pub(super) fn check_age(&self, chain: &ChainState, start: u64) -> Result<(), SnapshotError> {
        let expired = self.start.as_ref().is_some_and(|header| has_expired(chain, header.height, header.time));
        if start == self.initial || expired { Ok(()) } else { Err(bad_at(start - 1, &"is missing, and evidence of it would count")) }
    }

    pub(super) fn bad(&self, reason: &dyn std::fmt::Display) -> SnapshotError {
        bad_at(self.last.header.height.value(), reason)
    }
}

/// What makes the one set the other.
fn changes(from: &ValidatorSet, to: &Validators) -> anyhow::Result<Vec<(PublicKey, u64)>> {
    let members = to.members().map(|member| {
        let key = PublicKey::from_raw_ed25519(&member.public_key.0).ok_or_else(|| anyhow::anyhow!("names a key that is none"))?;
        Ok((key, member.power))
    });
    let members: Vec<(PublicKey, u64)> = members.collect::<anyhow::Result<_>>()?;
    let gone = from.as_slice().iter().filter(|old| members.iter().all(|(key, _)| *key != old.key)).map(|old| (old.key, 0));
    let is_new = |(key, power): &&(PublicKey, u64)| !from.as_slice().iter().any(|old| old.key == *key && old.power == *power);
    Ok(members.iter().filter(is_new).copied().chain(gone).collect())
}

fn bad_at(height: u64, reason: &dyn std::fmt::Display) -> SnapshotError {
    SnapshotError::Header { height, reason: reason.to_string() }
}
