//! A header that is believed, and what it proves.

use std::time::Duration;

use tendermint::Time;
use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{Commit, Header};
use types::{ChainId, Hash, Height};

use crate::{Error, Origin, Sealed, StateProof, Trust, Validators, validators};

/// A header whose commit was checked. Only [`crate::Trust`] makes one, so the type is the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    chain: ChainId,
    hash: Hash,
    signed: SignedHeader,
}

impl Verified {
    /// Wraps a header on the way to being believed; the caller checks the signatures.
    pub(crate) fn new(chain: ChainId, signed: &SignedHeader) -> Result<Self, Error> {
        let hash = signed.header.hash();
        if hash != signed.commit.block_id.hash {
            return Err(Error::WrongBlock { height: Height::from(signed.header.height) });
        }
        let hash = validators::hash(hash).expect("the hash of a header is 32 bytes");
        Ok(Self { chain, hash, signed: signed.clone() })
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.signed.header
    }

    /// The header with the commit that was checked.
    #[must_use]
    pub const fn signed_header(&self) -> &SignedHeader {
        &self.signed
    }

    /// The header's hash, which is its block's name.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The header's height.
    #[must_use]
    pub fn height(&self) -> Height {
        Height::from(self.signed.header.height)
    }

    /// The height after which the state was as this header proves it: one less than the header's.
    #[must_use]
    pub fn state_height(&self) -> Height {
        Height(self.height().0.saturating_sub(1))
    }

    /// The header's time.
    #[must_use]
    pub const fn time(&self) -> Time {
        self.signed.header.time
    }

    /// How old the header is; zero when its time is ahead of `now`.
    #[must_use]
    pub fn age(&self, now: Time) -> Duration {
        now.duration_since(self.time()).unwrap_or_default()
    }

    /// The header and its commit in the compact form.
    ///
    /// # Errors
    /// As [`Sealed::of`].
    pub fn sealed(&self) -> Result<Sealed, Error> {
        Sealed::of(&self.signed)
    }

    /// Whether `commit` is for this header, too, by all rules of [`crate::Trust::accept`]: the one in the next block is often
    /// another than the one that came with the header.
    ///
    /// # Errors
    /// As [`crate::Trust::accept`].
    pub fn is_committed_by(&self, commit: &Commit, validators: &Validators) -> Result<(), Error> {
        let origin = Origin::Checkpoint { height: self.height(), time: self.time() };
        let trust = Trust::named(self.chain.clone(), origin, self.hash, self.header(), validators.clone());
        let refused = |_| Error::WrongHeight { trusted: self.height(), found: Height::from(commit.height) };
        let signed = SignedHeader::new(self.header().clone(), commit.clone()).map_err(refused)?;
        trust.accept(&signed).map(drop)
    }

    /// What the state held at `key`, by an ICS-23 proof as the node's RPC gives it: `None` when the
    /// proof shows that it held nothing.
    ///
    /// # Errors
    /// [`Error::ProofForm`], [`Error::ProofRoot`], [`Error::AppHash`].
    pub fn entry(&self, key: &[u8], proof: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let proof = StateProof::from_ics23(key, proof)?;
        Ok(self.read(key, &proof)?.map(<[u8]>::to_vec))
    }

    /// As [`Verified::entry`], by a proof in our compact form.
    ///
    /// # Errors
    /// As [`Verified::entry`].
    pub fn read<'proof>(&self, key: &[u8], proof: &'proof StateProof) -> Result<Option<&'proof [u8]>, Error> {
        let height = self.height();
        let root = self.signed.header.app_hash.as_bytes().try_into().map_err(|_| Error::AppHash { height })?;
        if !proof.leads_from(key, &Hash(root))? {
            return Err(Error::ProofRoot { height });
        }
        Ok(proof.value())
    }
}
