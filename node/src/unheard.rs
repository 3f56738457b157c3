//! Whether the others hear this validator: it votes, and their blocks say that it does not.
//!
//! After a partition a node can be connected to everybody, receive what they say and reach nobody: libp2p's
//! gossip tells a peer what one listens to at the first connection only, and who still holds a dead connection to
//! this node tells it nothing on a new one. A process that starts anew ends the dead ones, too.
//!
//! A pure rule; [`run`](crate::run()) feeds it with each block and carries it out.

use std::time::Duration;

use consensus::ValidatorSet;
use tendermint::account;
use tendermint::block::{Commit, CommitSig};

/// So many blocks in a row lack its signature.
const BLOCKS: u32 = 5;

/// And for so long, the first time; after each new start twice as long.
const PATIENCE: Duration = Duration::from_secs(20);

/// At most so many times twice as long: some three hours.
const MOST: u32 = 9;

/// A block that is older, or so far ahead, says nothing: this node is catching up, or its clock is wrong and its votes
/// are rightly of no use.
pub const FRESH_MS: i128 = 5_000;

/// What is known of one validator.
#[derive(Debug)]
pub struct Unheard {
    validator: account::Id,
    patience: Duration,
    blocks: u32,
    since: Duration,
}

impl Unheard {
    /// Nothing is known yet. `renewals`: how often its process was started anew for being unheard.
    #[must_use]
    pub fn new(validator: account::Id, renewals: u32) -> Self {
        Self { validator, patience: PATIENCE * (1 << renewals.min(MOST)), blocks: 0, since: Duration::ZERO }
    }

    /// Takes in the commit of a block that `set` was to sign, of which a block `age_ms` old tells; `now` since any
    /// beginning. Whether it is time to start anew.
    pub fn saw(&mut self, commit: &Commit, set: &ValidatorSet, age_ms: i128, now: Duration) -> bool {
        let signs = |entry: &CommitSig| entry.validator_address() == Some(self.validator) && entry.is_commit();
        let expected = set.by_address(self.validator).is_some() && age_ms.abs() <= FRESH_MS;
        if !expected || commit.signatures.iter().any(signs) {
            self.blocks = 0;
            return false;
        }
        if self.blocks == 0 {
            self.since = now;
        }
        self.blocks = self.blocks.saturating_add(1);
        self.blocks >= BLOCKS && now.saturating_sub(self.since) >= self.patience
    }

    /// Forgets what it saw: blocks were missed.
    pub const fn forget(&mut self) {
        self.blocks = 0;
    }
}

#[cfg(test)]
mod tests {
    use consensus::commit::block_id;
    use tendermint::{PublicKey, Time};
    use types::SigningKey;

    use super::*;

    fn key(seed: u8) -> PublicKey {
        PublicKey::from_raw_ed25519(&SigningKey::from_seed(&[seed; 32]).public().0).expect("a key")
    }

    fn set(seeds: &[u8]) -> ValidatorSet {
        ValidatorSet::genesis(seeds.iter().map(|seed| (key(*seed), 10))).expect("a set")
    }

    fn commit(signers: &[u8]) -> Commit {
        let signature = tendermint::Signature::try_from([7; 64].as_slice()).ok();
        let entry = |seed: &u8| CommitSig::BlockIdFlagCommit {
            validator_address: key(*seed).into(),
            timestamp: Time::unix_epoch(),
            signature: signature.clone(),
        };
        let block_id = block_id(tendermint::Hash::Sha256([1; 32]));
        Commit { height: 1u32.into(), round: 0u16.into(), block_id, signatures: signers.iter().map(entry).collect() }
    }

    /// Who signs the block of a second.
    type Signers = fn(u64) -> &'static [u8];

    /// After how many seconds, with a block in each, validator 4 starts anew; within an hour.
    fn after(renewals: u32, signers: Signers, members: &[u8], age_ms: i128) -> Option<u64> {
        let (mut unheard, set) = (Unheard::new(key(4).into(), renewals), set(members));
        (0..3_600).find(|second| unheard.saw(&commit(signers(*second)), &set, age_ms, Duration::from_secs(*second)))
    }

    #[test]
    fn a_validator_that_nobody_hears_starts_anew() {
        type Case = (&'static str, u32, Signers, &'static [u8], i128, Option<u64>);
        const ALL: &[u8] = &[1, 2, 3, 4];
        let cases: [Case; 8] = [
            ("heard", 0, |_| &[1, 2, 3, 4], ALL, 0, None),
            ("never heard", 0, |_| &[1, 2, 3], ALL, 0, Some(20)),
            ("heard once", 0, |second| if second == 10 { &[1, 2, 3, 4] } else { &[1, 2, 3] }, ALL, 0, Some(31)),
            ("heard now and then", 0, |second| if second % 15 == 0 { &[1, 2, 3, 4] } else { &[1, 2, 3] }, ALL, 0, None),
            ("not in the set", 0, |_| &[1, 2, 3], &[1, 2, 3], 0, None),
            ("catching up", 0, |_| &[1, 2, 3], ALL, 60_000, None),
            ("a clock that is late", 0, |_| &[1, 2, 3], ALL, -30_000, None),
            ("for the third time", 2, |_| &[1, 2, 3], ALL, 0, Some(80)),
        ];
        for (what, renewals, signers, members, age_ms, expected) in cases {
            assert_eq!(after(renewals, signers, members, age_ms), expected, "{what}");
        }
    }

    #[test]
    fn blocks_that_are_far_apart_count_as_blocks_do() {
        let (mut unheard, set) = (Unheard::new(key(4).into(), 0), set(&[1, 2, 3, 4]));
        let told = |unheard: &mut Unheard, minute: u64| unheard.saw(&commit(&[1, 2, 3]), &set, 0, Duration::from_secs(60 * minute));
        assert!((0..4).all(|minute| !told(&mut unheard, minute)), "four blocks are too few");
        unheard.forget();
        assert!((4..8).all(|minute| !told(&mut unheard, minute)), "those before a gap do not count");
        assert!(told(&mut unheard, 8));
        assert!(!Unheard::new(key(4).into(), u32::MAX).saw(&commit(&[1, 2, 3]), &set, 0, Duration::ZERO), "patience has an end");
    }
}
