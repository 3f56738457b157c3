//! The way from a believed header to an earlier one: each header names the hash of the one before it.
//!
//! It needs no clock, no trusting period and no signature on the way, and one header for each height: so it is for heights
//! below all that is trusted, where no validators are known to begin from. CometBFT 0.38, `spec/light-client/verification`
//! ("backwards verification"). The commit of the last one is checked too, by the validators that its header names.

use tendermint::block::Header;
use tendermint::block::signed_header::SignedHeader;
use types::{ChainId, Hash, Height};

use crate::{Error, Origin, Trust, Validators, Verified, validators};

/// A way down, and the hash of the next header on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descent {
    chain: ChainId,
    origin: Origin,
    height: Height,
    hash: Hash,
}

impl Descent {
    /// From the last trusted header, which is the first on the way. `None` for a genesis: nothing lies below.
    #[must_use]
    pub fn from(trust: &Trust) -> Option<Self> {
        let hash = trust.header_hash()?;
        Some(Self { chain: trust.chain().clone(), origin: trust.origin(), height: trust.height(), hash })
    }

    /// The height of the next header.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Takes the next header, and goes on to the one before it.
    ///
    /// # Errors
    /// [`Error::WrongHeight`]; [`Error::WrongLink`] for a header of another hash; [`Error::Form`] at the first block,
    /// before which there is none.
    pub fn step(&mut self, header: &Header) -> Result<(), Error> {
        self.check(header)?;
        let before = header.last_block_id.and_then(|id| validators::hash(id.hash));
        let hash = before.ok_or(Error::Form("names no block before it"))?;
        (self.height, self.hash) = (Height(self.height.0.saturating_sub(1)), hash);
        Ok(())
    }

    /// Ends at this block: its header is the next on the way, and the validators that it names have signed it.
    ///
    /// # Errors
    /// As [`Descent::step`] and [`Trust::accept`].
    pub fn land(self, signed: &SignedHeader, validators: &Validators) -> Result<Verified, Error> {
        self.check(&signed.header)?;
        Trust::named(self.chain, self.origin, self.hash, &signed.header, validators.clone()).accept(signed)
    }

    fn check(&self, header: &Header) -> Result<(), Error> {
        let (height, found) = (Height::from(header.height), header.hash());
        if height != self.height {
            return Err(Error::WrongHeight { trusted: self.height, found: height });
        }
        let expected = tendermint::Hash::Sha256(self.hash.0);
        if found == expected { Ok(()) } else { Err(Error::WrongLink { height, expected, found }) }
    }
}

#[cfg(test)]
mod tests;
