//! Shares and tokens: what the one is of the other, rounded so that nobody gets what is another's.
//!
//! A validator's tokens belong to its shares, each the same part. A slash takes tokens and leaves the shares, so
//! it reaches everybody at once without walking over them.

use types::Amount;

use super::validator::{Validator, WHOLE_BPS};

/// More shares than this in a validator are not made. Only a rate that many slashes have spoilt comes near.
const MAX_SHARES: u64 = 1 << 63;

impl Validator {
    /// What `shares` are worth, rounded down.
    #[must_use]
    pub fn worth(&self, shares: u64) -> Amount {
        Amount(down(shares, self.bonded.0, self.shares).unwrap_or(0))
    }

    /// How many shares `tokens` buy, rounded down; the first share is a token. None if it is none, or too many.
    pub(super) fn bought(&self, tokens: Amount) -> Option<u64> {
        let bought = if self.shares == 0 { tokens.0 } else { down(tokens.0, self.shares, self.bonded.0)? };
        let all = self.shares.checked_add(bought)?;
        (bought > 0 && all <= MAX_SHARES).then_some(bought)
    }

    /// What new shares cost, rounded up; at most what bought them.
    pub(super) fn cost(&self, shares: u64) -> Amount {
        Amount(if self.shares == 0 { shares } else { up(shares, self.bonded.0, self.shares) })
    }

    /// How many shares must go for `tokens`, rounded up.
    pub(super) fn price(&self, tokens: Amount) -> u64 {
        up(tokens.0, self.shares, self.bonded.0)
    }
}

/// A part of `amount`, rounded up: what a slash takes.
pub(super) fn part(amount: u64, bps: u16) -> u64 {
    up(amount, bps.into(), WHOLE_BPS.into())
}

/// The part `own` of `all` of an amount, rounded down: what is shared out. Nothing, where there is nobody.
pub(super) fn portion(amount: u64, own: u64, all: u64) -> u64 {
    down(amount, own, all).unwrap_or(0)
}

/// ⌊a × b / c⌋, unless it is too large or `c` is zero.
fn down(a: u64, b: u64, c: u64) -> Option<u64> {
    let product = u128::from(a) * u128::from(b);
    product.checked_div(c.into()).and_then(|quotient| u64::try_from(quotient).ok())
}

/// ⌈a × b / c⌉, of what is there: it is never too large.
fn up(a: u64, b: u64, c: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    u64::try_from(product.div_ceil(u128::from(c).max(1))).unwrap_or(u64::MAX)
}
