//! What somebody believes about a chain, and the three ways in which it grows.
//!
//! [`Trust::accept`] believes a header that the trusted validators signed; it needs no clock, and
//! the header may be of any height at which they are the set. [`Trust::hand_off`] does the same and
//! moves trust to the next set; a list of hand-offs leads from genesis to today through any number of
//! changes. [`Trust::follow`] jumps over heights as light clients do, and is bound to the trusting
//! period: validators that left longer ago have nothing to lose by signing a false block.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tendermint::block::CommitSig;
use tendermint::block::signed_header::SignedHeader;
use tendermint::crypto::default::signature::Verifier as Zip215;
use tendermint::crypto::signature;
use tendermint::{Time, block};
use tendermint_light_client_verifier::types::{TrustThreshold, TrustedBlockState, UntrustedBlockState};
use tendermint_light_client_verifier::{ProdVerifier, Verdict, Verifier as _, options};
use types::{ChainId, Hash, Height};

use crate::commit::Votes;
use crate::{Error, Sealed, Validators, Verified, validators};

/// The last height a header may have. One less than the format's, since the verifier counts on.
pub const MAX_HEIGHT: Height = Height(i64::MAX as u64 - 1);

/// Where trust began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Origin {
    /// With the chain's genesis.
    Genesis,
    /// With a header that somebody vouched for.
    Checkpoint {
        /// Its height.
        height: Height,
        /// Its time.
        time: Time,
    },
}

/// A header that somebody vouches for, published outside the chain: as JSON, times in RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The chain.
    pub chain_id: ChainId,
    /// The header's height.
    pub height: Height,
    /// The header's hash.
    pub header_hash: Hash,
    /// The header's time.
    pub time: Time,
    /// The validators of the height after it.
    pub next_validators: Validators,
}

impl Checkpoint {
    /// The checkpoint at a verified header.
    ///
    /// # Errors
    /// [`Error::WrongHandoff`] when the header names other next validators.
    pub fn at(verified: &Verified, next_validators: &Validators) -> Result<Self, Error> {
        check_next(verified.header(), next_validators)?;
        Ok(Self {
            chain_id: verified.chain().clone(),
            height: verified.height(),
            header_hash: verified.hash(),
            time: verified.time(),
            next_validators: next_validators.clone(),
        })
    }
}

/// A signed header and the validators it names for the next height.
///
/// Bytes: the sealed header, then the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handoff {
    /// The header, and the commit by the validators before the change.
    pub sealed: Sealed,
    /// The validators after it.
    pub next_validators: Validators,
}
types::codec!(Handoff { sealed, next_validators });

impl Handoff {
    /// The hand-off at a signed header.
    ///
    /// # Errors
    /// [`Error::WrongHandoff`] when the header names other validators; [`Error::Form`] as [`Sealed::of`].
    pub fn new(signed: &SignedHeader, next_validators: &Validators) -> Result<Self, Error> {
        check_next(&signed.header, next_validators)?;
        Ok(Self { sealed: Sealed::of(signed)?, next_validators: next_validators.clone() })
    }
}

/// A signed header with the validators of its height and of the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LightBlock {
    /// The header and its commit.
    pub signed_header: SignedHeader,
    /// The validators that signed.
    pub validators: Validators,
    /// The validators of the next height.
    pub next_validators: Validators,
}

impl LightBlock {
    /// The header's height.
    #[must_use]
    pub fn height(&self) -> Height {
        Height::from(self.signed_header.header.height)
    }

    /// The header's hash.
    ///
    /// # Panics
    /// Never: a header has a hash.
    #[must_use]
    pub fn hash(&self) -> Hash {
        validators::hash(self.signed_header.header.hash()).expect("the hash of a header is 32 bytes")
    }

    /// The header's time.
    #[must_use]
    pub const fn time(&self) -> Time {
        self.signed_header.header.time
    }
}

/// How long trust lasts, how far it reaches, and how far a header may be ahead of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The share of the trusted power that must have signed a distant block: from a third, of which one honest
    /// validator is a part, to the whole. More than it, never as much. A third.
    pub trust_level: TrustThreshold,
    /// Shorter than the time for which a validator that left can still be punished. 14 days.
    pub trusting_period: Duration,
    /// 5 seconds.
    pub clock_drift: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trust_level: TrustThreshold::ONE_THIRD,
            trusting_period: Duration::from_secs(14 * 24 * 60 * 60),
            clock_drift: Duration::from_secs(5),
        }
    }
}

/// What is believed about one chain: a height, its time, and the validators that sign after it.
///
/// It can be kept as JSON, and is only as safe as the place it is kept in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    pub(crate) chain: ChainId,
    pub(crate) origin: Origin,
    pub(crate) height: Height,
    pub(crate) time: Time,
    /// `None` at genesis, which has no header.
    pub(crate) header_hash: Option<Hash>,
    pub(crate) validators: Validators,
}

impl Trust {
    /// Trust in a genesis: its time and the validators of the first block.
    #[must_use]
    pub const fn genesis(chain: ChainId, time: Time, validators: Validators) -> Self {
        Self { chain, origin: Origin::Genesis, height: Height(0), time, header_hash: None, validators }
    }

    /// Trust in a checkpoint.
    #[must_use]
    pub fn checkpoint(checkpoint: &Checkpoint) -> Self {
        Self {
            chain: checkpoint.chain_id.clone(),
            origin: Origin::Checkpoint { height: checkpoint.height, time: checkpoint.time },
            height: checkpoint.height,
            time: checkpoint.time,
            header_hash: Some(checkpoint.header_hash),
            validators: checkpoint.next_validators.clone(),
        }
    }

    /// What is believed once a block is: what comes with it was believed by whoever says so.
    pub(crate) fn at(chain: ChainId, origin: Origin, block: &LightBlock) -> Self {
        Self {
            chain,
            origin,
            height: block.height(),
            time: block.time(),
            header_hash: Some(block.hash()),
            validators: block.next_validators.clone(),
        }
    }

    /// What is believed of one block alone, by its hash: the validators that it names signed it.
    pub(crate) fn named(chain: ChainId, origin: Origin, hash: Hash, header: &block::Header, validators: Validators) -> Self {
        Self { chain, origin, height: Height::from(header.height), time: header.time, header_hash: Some(hash), validators }
    }

    /// Trust in the one block that somebody vouches for by height and hash; its validators and the next come from whoever
    /// serves it, and are those that the header names.
    ///
    /// # Errors
    /// [`Error::Conflict`] for a block of another hash; [`Error::WrongHeight`] for one of another height; as
    /// [`Trust::accept`] for one that its validators did not sign; [`Error::WrongHandoff`].
    pub fn vouched(height: Height, hash: Hash, block: &LightBlock) -> Result<Self, Error> {
        if block.height() != height {
            return Err(Error::WrongHeight { trusted: height, found: block.height() });
        }
        if block.hash() != hash {
            return Err(Error::Conflict { height, trusted: hash, found: block.hash() });
        }
        let header = &block.signed_header.header;
        let chain: ChainId = header.chain_id.as_str().parse().map_err(|_| Error::Form("names no chain"))?;
        let origin = Origin::Checkpoint { height, time: header.time };
        Self::named(chain.clone(), origin, hash, header, block.validators.clone()).accept(&block.signed_header)?;
        check_next(header, &block.next_validators)?;
        Ok(Self::at(chain, origin, block))
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// Where this trust began.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// The last trusted height; 0 at genesis.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The time of that height.
    #[must_use]
    pub const fn time(&self) -> Time {
        self.time
    }

    /// The hash of that height's header; none at genesis.
    #[must_use]
    pub const fn header_hash(&self) -> Option<Hash> {
        self.header_hash
    }

    /// The validators that sign the next height.
    #[must_use]
    pub const fn validators(&self) -> &Validators {
        &self.validators
    }

    /// How old the last trusted height is; zero when its time is ahead of `now`.
    #[must_use]
    pub fn age(&self, now: Time) -> Duration {
        now.duration_since(self.time).unwrap_or_default()
    }

    /// Believes a header that the trusted validators signed, without moving trust.
    ///
    /// The header is of this chain and names exactly these validators; the commit is for its hash;
    /// every vote in the commit is real, and those for the block have more than two thirds of the power.
    ///
    /// # Errors
    /// The first of these rules that fails; [`Error::Conflict`] for a well-signed header other than the
    /// trusted one at its height.
    pub fn accept(&self, signed: &SignedHeader) -> Result<Verified, Error> {
        self.accept_by(signed, &Zip215)
    }

    pub(crate) fn accept_by(&self, signed: &SignedHeader, crypto: &impl signature::Verifier) -> Result<Verified, Error> {
        self.check_place(signed)?;
        self.check_validators(Height::from(signed.header.height), signed.header.validators_hash)?;
        let untrusted = UntrustedBlockState { signed_header: signed, validators: self.validators.set(), next_validators: None };
        let verified = Verified::new(self.chain.clone(), signed)?;
        let verifier = Votes::check(signed, &self.validators, crypto)?.published();
        judge(verifier.verify_validator_sets(&untrusted), Duration::ZERO)?;
        judge(verifier.verify_commit(&untrusted), Duration::ZERO)?;
        match self.header_hash {
            Some(trusted) if verified.height() == self.height && verified.hash() != trusted => {
                Err(Error::Conflict { height: self.height, trusted, found: verified.hash() })
            }
            _ => Ok(verified),
        }
    }

    /// As [`Trust::accept`], for a header in its compact form.
    ///
    /// # Errors
    /// As [`Trust::accept`] and [`Sealed::open`].
    pub fn open(&self, sealed: &Sealed) -> Result<Verified, Error> {
        self.check_validators(sealed.header.height, tendermint::Hash::Sha256(sealed.header.validators_hash.0))?;
        self.accept(&sealed.open(&self.validators)?)
    }

    /// Believes the header of a hand-off and moves trust to the validators it carries.
    ///
    /// # Errors
    /// As [`Trust::open`]; [`Error::WrongHeight`] when it does not lie ahead; [`Error::WrongHandoff`]
    /// when the header names other validators. Trust is then unchanged.
    pub fn hand_off(&mut self, handoff: &Handoff) -> Result<Verified, Error> {
        self.check_ahead(handoff.sealed.header.height)?;
        let verified = self.open(&handoff.sealed)?;
        self.advance(verified, &handoff.next_validators)
    }

    /// Believes a later block by skipping verification, inside the trusting period, and moves trust
    /// to it. From genesis, a block of the genesis validators needs no third of overlap.
    ///
    /// # Errors
    /// [`Error::Expired`] when what is trusted is too old; [`Error::NotEnoughTrust`] when too few of the
    /// trusted validators signed, so that the caller tries a block between; otherwise the rule that
    /// failed. Trust is then unchanged.
    pub fn follow(&mut self, block: &LightBlock, now: Time, options: &Options) -> Result<Verified, Error> {
        self.check_ahead(Height::from(block.signed_header.header.height))?;
        self.check_clock(block.signed_header.header.time, now, options)?;
        self.check_place(&block.signed_header)?;
        let verified = if self.height == Height(0) && block.validators == self.validators {
            self.accept(&block.signed_header)?
        } else {
            self.skip(block, now, options, &Zip215)?
        };
        self.advance(verified, &block.next_validators)
    }

    pub(crate) fn skip(
        &self,
        block: &LightBlock,
        now: Time,
        options: &Options,
        crypto: &impl signature::Verifier,
    ) -> Result<Verified, Error> {
        let chain_id = (&self.chain).into();
        let untrusted = || UntrustedBlockState {
            signed_header: &block.signed_header,
            validators: block.validators.set(),
            next_validators: Some(block.next_validators.set()),
        };
        let trusted = TrustedBlockState {
            chain_id: &chain_id,
            header_time: self.time,
            height: bounded(self.height, self.height)?,
            next_validators: self.validators.set(),
            next_validators_hash: self.validators.set().hash(),
        };
        let level = options.trust_level;
        let options =
            options::Options { trust_threshold: level, trusting_period: options.trusting_period, clock_drift: options.clock_drift };
        let verified = Verified::new(self.chain.clone(), &block.signed_header)?;
        // The sets first: whose votes they are is known only then.
        judge(ProdVerifier::default().verify_validator_sets(&untrusted()), options.trusting_period)?;
        // What too few even claim to have signed is no further without working out a signature.
        if verified.height() > self.height.next() {
            self.check_claims(&block.signed_header, level)?;
        }
        let verifier = Votes::check(&block.signed_header, &block.validators, crypto)?.published();
        judge(verifier.verify_update_header(untrusted(), trusted, &options, now), options.trusting_period)?;
        Ok(verified)
    }

    /// Whether enough of the trusted power stands under the commit, if all the signatures hold.
    fn check_claims(&self, signed: &SignedHeader, level: TrustThreshold) -> Result<(), Error> {
        let voters: BTreeSet<_> =
            signed.commit.signatures.iter().filter(|entry| entry.is_commit()).filter_map(CommitSig::validator_address).collect();
        let set = self.validators.set();
        let claimed =
            set.validators().iter().filter(|validator| voters.contains(&validator.address)).map(|validator| validator.power()).sum();
        let total = set.total_voting_power().value();
        let enough = u128::from(claimed) * u128::from(level.denominator()) > u128::from(total) * u128::from(level.numerator());
        if enough { Ok(()) } else { Err(Error::NotEnoughTrust { signed: claimed, total }) }
    }

    fn advance(&mut self, verified: Verified, next: &Validators) -> Result<Verified, Error> {
        check_next(verified.header(), next)?;
        self.height = verified.height();
        self.time = verified.time();
        self.header_hash = Some(verified.hash());
        self.validators = next.clone();
        Ok(verified)
    }

    /// Of this chain, with one height in header and commit, and a time that fits the height.
    fn check_place(&self, signed: &SignedHeader) -> Result<(), Error> {
        let header = &signed.header;
        if header.chain_id.as_str() != self.chain.as_str() {
            return Err(Error::WrongChain { expected: self.chain.to_string(), found: header.chain_id.to_string() });
        }
        let height = Height::from(header.height);
        bounded(height, self.height)?;
        if signed.commit.height != header.height || height == Height(0) {
            return Err(Error::WrongHeight { trusted: self.height, found: Height::from(signed.commit.height) });
        }
        let fits = match height.cmp(&self.height) {
            // CometBFT gives the first block the time of the genesis itself.
            Ordering::Greater if self.height == Height(0) => header.time >= self.time,
            Ordering::Greater => header.time > self.time,
            Ordering::Less => header.time < self.time,
            Ordering::Equal => true,
        };
        if fits { Ok(()) } else { Err(Error::WrongTime { height, found: header.time, trusted: self.time }) }
    }

    fn check_validators(&self, height: Height, found: tendermint::Hash) -> Result<(), Error> {
        let expected = self.validators.hash();
        if found == tendermint::Hash::Sha256(expected.0) { Ok(()) } else { Err(Error::WrongValidators { height, expected, found }) }
    }

    fn check_ahead(&self, found: Height) -> Result<(), Error> {
        if found > self.height { Ok(()) } else { Err(Error::WrongHeight { trusted: self.height, found }) }
    }

    fn check_clock(&self, time: Time, now: Time, options: &Options) -> Result<(), Error> {
        if self.age(now) >= options.trusting_period {
            return Err(Error::Expired { time: self.time, period: options.trusting_period });
        }
        let latest = now.checked_add(options.clock_drift).unwrap_or(now);
        if time < latest { Ok(()) } else { Err(Error::Future { time, now }) }
    }
}

pub(crate) fn check_next(header: &block::Header, next: &Validators) -> Result<(), Error> {
    let (expected, found) = (header.next_validators_hash, next.hash());
    if expected == tendermint::Hash::Sha256(found.0) {
        return Ok(());
    }
    Err(Error::WrongHandoff { height: Height::from(header.height), expected, found })
}

fn bounded(height: Height, trusted: Height) -> Result<block::Height, Error> {
    let refused = Error::WrongHeight { trusted, found: height };
    if height > MAX_HEIGHT {
        return Err(refused);
    }
    height.try_into().map_err(|_| refused)
}

fn judge(verdict: Verdict, period: Duration) -> Result<(), Error> {
    match verdict {
        Verdict::Success => Ok(()),
        Verdict::NotEnoughTrust(tally) => Err(Error::not_enough_trust(&tally)),
        Verdict::Invalid(detail) => Err(Error::from_verifier(&detail, period)),
    }
}
