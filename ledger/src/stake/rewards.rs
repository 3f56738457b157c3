//! Rewards: what is gathered in an epoch goes to the set by its power, and from a validator to its shares.
//!
//! A validator's record says what one share has earned since the beginning. What a delegation is owed is its shares
//! times what that grew by since it was last paid, so sharing walks over validators and never over delegations.
//! Source: Mojtaba and others, "F1 Fee Distribution", Cosmos, 2018.

use types::{Amount, Decode, DecodeError, Encode, Millis, Reader};

use super::active;
use super::delegation::Delegation;
use super::params::DAY_MS;
use super::shares::portion;
use super::validator::{self, Validator, WHOLE_BPS};
use crate::block::Block;
use crate::params::Params;
use crate::pool;
use crate::state::{State, key};

/// Rewards are minted for this time at most, however long the chain stood still.
pub const MAX_ELAPSED_MS: u64 = DAY_MS;

/// A year of 365 days, in milliseconds.
const YEAR_MS: u64 = 365 * DAY_MS;

/// Tokens for one share, in units of 2⁻⁶⁴; 16 bytes, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PerShare(pub u128);

/// What a validator has earned. All of it is in `pool/rewards` until it is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Earned {
    /// What one share has earned since the beginning.
    pub per_share: PerShare,
    /// What its shares have earned and nobody has claimed, with what rounding left over.
    pub unclaimed: Amount,
    /// What its operator has earned by commission and not withdrawn.
    pub commission: Amount,
}
types::codec!(Earned { per_share, unclaimed, commission });

impl Earned {
    fn share_out(&mut self, amount: Amount, shares: u64) {
        let grown = (u128::from(amount.0) << 64) / u128::from(shares);
        // At the end of the range, far beyond all tokens, a share earns nothing more.
        self.per_share = PerShare(self.per_share.0.saturating_add(grown));
        self.unclaimed = Amount(self.unclaimed.0 + amount.0);
    }

    pub(super) fn claim(&mut self, amount: Amount) {
        self.unclaimed = self.unclaimed.checked_sub(amount).expect("shares claim what was shared out to them");
    }
}

/// What `shares` of a delegation have earned since it was last paid, rounded down.
#[must_use]
pub fn owed(earned: &Earned, delegation: &Delegation, shares: u64) -> Amount {
    let grown = earned.per_share.0.saturating_sub(delegation.mark.0);
    let (whole, rest) = (grown >> 64, grown & u128::from(u64::MAX));
    let owed = whole * u128::from(shares) + ((rest * u128::from(shares)) >> 64);
    Amount(u64::try_from(owed).expect("no reward exceeds the supply"))
}

/// Begins the first epoch.
pub(super) fn begin(state: &mut State<'_>, start: Millis) {
    state.write(key::EPOCH.to_vec(), &start);
}

/// Shares out fees and newly minted tokens if the epoch is over. Where there is too little for anybody to get
/// a token nothing happens, and the epoch goes on.
pub(super) fn distribute(state: &mut State<'_>, params: &Params, block: Block<'_>) {
    let start: Millis = state.read(key::EPOCH).expect("the genesis writes the epoch");
    let elapsed_ms = block.time.0.saturating_sub(start.0);
    if elapsed_ms < params.stake.epoch_ms {
        return;
    }
    let minted = minted(state, params, elapsed_ms);
    let pot = Amount(pool::read(state, pool::FEES).0.saturating_add(minted.0));
    // Those who signed: the set as the engine knows it, without who was punished since, and without what has just left. Else
    // stake that moves on in this very block would leave its part to who stays, and take another where it goes.
    let told = active::told(state);
    let power = |told: u64, record: &Validator| told.min(record.power(params));
    let records = told.iter().filter_map(|told| validator::read(state, &told.validator).map(|record| (power(told.power, &record), record)));
    let earners: Vec<_> = records.filter(|(power, record)| record.shares > 0 && *power > 0).collect();
    let power: u64 = earners.iter().map(|(power, _)| power).sum();
    let mut given = 0;
    for (own, mut record) in earners {
        let amount = portion(pot.0, own, power);
        let commission = portion(amount, record.commission_bps.into(), WHOLE_BPS.into());
        if amount > 0 {
            record.earned.share_out(Amount(amount - commission), record.shares);
            record.earned.commission = Amount(record.earned.commission.0 + commission);
            validator::write(state, &record);
            given += amount;
        }
    }
    if given > 0 {
        pool::mint(state, minted);
        pool::fill(state, pool::FEES, minted);
        pool::shift(state, pool::FEES, pool::REWARDS, Amount(given));
        state.write(key::EPOCH.to_vec(), &block.time);
    }
}

/// What is minted for the time that went by, within the bound on all tokens.
fn minted(state: &State<'_>, params: &Params, elapsed_ms: u64) -> Amount {
    let yearly = portion(pool::read(state, key::SUPPLY).0, params.stake.annual_reward_bps.into(), WHOLE_BPS.into());
    Amount(portion(yearly, elapsed_ms.min(MAX_ELAPSED_MS), YEAR_MS)).min(pool::room(state))
}

impl Encode for PerShare {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.to_be_bytes().encode(out);
    }
}

impl Decode for PerShare {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(u128::from_be_bytes).map(Self)
    }
}
