//! Punishment: for signing twice, and for being absent.
//!
//! A slash takes its part of what is bonded at once. What left the validator after the offence and before the
//! punishment finds out when it is touched next, or completes: [`condemned`] tells it. A validator signs twice once in its
//! life, since it never comes back, so its record has room for all that can be known of this. For an absence only what
//! is bonded answers.

use tendermint::abci::Event;
use types::{Address, Amount, Height, Millis};

use super::active;
use super::shares;
use super::validator::{self, Validator, ValidatorStatus, WHOLE_BPS};
use crate::block::{Block, Misbehavior, event};
use crate::params::Params;
use crate::pool;
use crate::state::{State, key};

/// Blocks from a change of stake to the first block that the changed set signs, less one: what left at a height
/// stood behind the votes of that height and this many more.
const STILL_BEHIND: u64 = 1;

/// A validator's absences in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// The window's number.
    pub window: u64,
    /// How many of its blocks were missed.
    pub blocks: u32,
}
types::codec!(Missed { window, blocks });

/// The part, in hundredths of a percent, that stake owes which left `validator` at `since` and answers for it
/// until `until`: none, unless it stood behind the offence and left before the punishment.
#[must_use]
pub fn condemned(state: &State<'_>, validator: &Address, since: Height, until: Millis) -> Option<u16> {
    let record = validator::read(state, validator)?;
    let ValidatorStatus::Tombstoned { offence, height, time, slash_bps } = record.status else {
        return None;
    };
    let behind = offence.0 <= since.0 + STILL_BEHIND;
    let left_before = since < height && time <= until;
    (behind && left_before).then_some(slash_bps)
}

/// Punishes who signed twice, once in a validator's life.
pub(super) fn offences(state: &mut State<'_>, params: &Params, block: Block<'_>) -> Vec<Event> {
    let mut events = Vec::new();
    for Misbehavior { kind, validator, height: offence, .. } in block.misbehavior {
        let Some(mut record) = validator::read(state, validator) else { continue };
        if let ValidatorStatus::Tombstoned { .. } = record.status {
            continue;
        }
        let slash_bps = params.stake.double_sign_slash_bps;
        let burned = slash(state, &mut record, slash_bps);
        record.status = ValidatorStatus::Tombstoned { offence: *offence, height: block.height, time: block.time, slash_bps };
        validator::write(state, &record);
        state.remove(key::missed(validator));
        events.push(slashed(validator, kind.name(), burned));
        events
            .push(event("jail", [("validator", validator.to_string()), ("reason", kind.name().to_owned()), ("until", "ever".to_owned())]));
    }
    events
}

/// Counts who was absent from the last commit, in a block that carries transactions: it changes the state anyway.
pub(super) fn absences(state: &mut State<'_>, params: &Params, block: Block<'_>) -> Vec<Event> {
    let counted: u64 = state.read(key::COUNTED).unwrap_or(0);
    state.write(key::COUNTED.to_vec(), &(counted + 1));
    let window = counted / u64::from(params.stake.signed_window);
    let mut events = Vec::new();
    for validator in block.absent {
        let Some(mut record) = validator::read(state, validator).filter(|record| record.status == ValidatorStatus::Eligible) else {
            continue;
        };
        let known: Option<Missed> = state.read(&key::missed(validator));
        let blocks = known.filter(|missed| missed.window == window).map_or(0, |missed| missed.blocks) + 1;
        // The last one is not jailed for being absent.
        if blocks <= allowed(params) || !active::others(state, params, validator) {
            state.write(key::missed(validator), &Missed { window, blocks });
            continue;
        }
        let burned = slash(state, &mut record, params.stake.downtime_slash_bps);
        let until = Millis(block.time.0.saturating_add(params.stake.downtime_jail_ms));
        record.status = ValidatorStatus::Jailed { until };
        validator::write(state, &record);
        state.remove(key::missed(validator));
        events.push(slashed(validator, "downtime", burned));
        let attributes = [("validator", validator.to_string()), ("reason", "downtime".to_owned()), ("until", until.to_string())];
        events.push(event("jail", attributes));
    }
    events
}

/// How many blocks of a window may be missed.
fn allowed(params: &Params) -> u32 {
    let window = params.stake.signed_window;
    let unsigned_bps = u64::from(WHOLE_BPS - params.stake.min_signed_bps.min(WHOLE_BPS));
    u32::try_from(u64::from(window) * unsigned_bps / u64::from(WHOLE_BPS)).unwrap_or(window)
}

/// Burns a part of what is bonded. What has shares keeps a token, so that these stay a part of something.
fn slash(state: &mut State<'_>, record: &mut Validator, slash_bps: u16) -> Amount {
    let burned = Amount(shares::part(record.bonded.0, slash_bps).min(record.bonded.0.saturating_sub(1)));
    record.bonded = Amount(record.bonded.0 - burned.0);
    pool::burn(state, burned);
    burned
}

fn slashed(validator: &Address, reason: &str, burned: Amount) -> Event {
    event("slash", [("validator", validator.to_string()), ("reason", reason.to_owned()), ("amount", burned.0.to_string())])
}
