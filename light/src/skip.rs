//! The way from what is trusted to a later height: which block is to be fetched next.
//!
//! Skipping verification (CometBFT 0.38, `spec/light-client/verification`): the target first, since validators change
//! slowly and one block is often enough; where too few of the trusted validators signed it, the block in the middle, and
//! from there the distant ones again. A block is fetched once, and its signatures are worked out when enough of the
//! trusted validators stand under it.

use tendermint::Time;
use types::Height;

use crate::{Error, LightBlock, Options, Trust, Verified};

/// How many blocks one way takes at most: halving 2^63 heights takes 63, and each may need a few beside it.
pub const MAX_STEPS: usize = 256;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Fetch the block of this height and [`Skip::give`] it.
    Fetch(Height),
    /// Trust has come to the target.
    There(Box<Verified>),
}

/// A way to one height. Bounded by [`MAX_STEPS`] blocks.
#[derive(Debug, Clone)]
pub struct Skip {
    target: Height,
    /// What was fetched and is too far yet, the nearest last.
    ahead: Vec<LightBlock>,
    wanted: Option<Height>,
    fetched: usize,
    led: Vec<LightBlock>,
}

impl Skip {
    /// The way to `target`.
    #[must_use]
    pub const fn to(target: Height) -> Self {
        Self { target, ahead: Vec::new(), wanted: Some(target), fetched: 0, led: Vec::new() }
    }

    /// Moves trust as far as the blocks that were given lead.
    ///
    /// # Errors
    /// As [`Trust::follow`], but [`Error::NotEnoughTrust`] only for a block right after the trusted one or when
    /// [`MAX_STEPS`] blocks did not lead there. Trust may then have moved a part of the way.
    pub fn step(&mut self, trust: &mut Trust, now: Time, options: &Options) -> Result<Step, Error> {
        while self.wanted.is_none() {
            let Some(block) = self.ahead.pop() else { break };
            match trust.follow(&block, now, options) {
                Ok(header) => {
                    let there = header.height() == self.target;
                    self.led.push(block);
                    if there {
                        return Ok(Step::There(Box::new(header)));
                    }
                }
                Err(Error::NotEnoughTrust { signed, total }) => {
                    let middle = Height(trust.height().0.midpoint(block.height().0));
                    if middle == trust.height() || self.fetched >= MAX_STEPS {
                        return Err(Error::NotEnoughTrust { signed, total });
                    }
                    self.wanted = Some(middle);
                    self.ahead.push(block);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Step::Fetch(self.wanted.unwrap_or(self.target)))
    }

    /// Takes the block that was to be fetched; nothing is believed of it yet.
    ///
    /// # Errors
    /// [`Error::WrongHeight`] for a block of another height, or when none was to be fetched.
    pub fn give(&mut self, block: LightBlock) -> Result<(), Error> {
        if self.wanted != Some(block.height()) {
            return Err(Error::WrongHeight { trusted: self.wanted.unwrap_or_default(), found: block.height() });
        }
        self.wanted = None;
        self.fetched += 1;
        self.ahead.push(block);
        Ok(())
    }

    /// How many blocks were fetched.
    #[must_use]
    pub const fn fetched(&self) -> usize {
        self.fetched
    }

    /// The blocks on the way, each believed because of the one before; the last is the target's once trust is there.
    #[must_use]
    pub fn into_blocks(self) -> Vec<LightBlock> {
        self.led
    }
}

#[cfg(test)]
mod tests;
