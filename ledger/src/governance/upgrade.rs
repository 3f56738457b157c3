//! Upgrades: the one that is planned, and the one that was reached last.

use types::Height;

use super::error::Error;
use super::proposal::Plan;
use crate::state::{State, key};

/// The version that every chain begins with.
pub const FIRST_VERSION: u64 = 1;

/// An upgrade's height is at least this many blocks after the block that takes or passes it.
pub const MIN_AHEAD: u64 = 10;

/// The upgrade that is planned.
#[must_use]
pub fn planned(state: &State<'_>) -> Option<Plan> {
    state.read(key::UPGRADE_PLANNED)
}

/// The upgrade that was reached last: its version is the chain's.
#[must_use]
pub fn reached(state: &State<'_>) -> Option<Plan> {
    state.read(key::UPGRADE_REACHED)
}

/// The application's version that the chain is at.
#[must_use]
pub fn version(state: &State<'_>) -> u64 {
    reached(state).map_or(FIRST_VERSION, |plan| plan.app_version)
}

/// Asks whether an upgrade can be planned in the block at `height`.
///
/// # Errors
/// [`Error::Empty`], [`Error::TooNear`] and [`Error::NotAbove`].
pub fn check(state: &State<'_>, height: Height, plan: &Plan) -> Result<(), Error> {
    if plan.name.is_empty() {
        return Err(Error::Empty("plan's name"));
    }
    let (earliest, present) = (Height(height.0 + MIN_AHEAD), version(state));
    if plan.height < earliest {
        return Err(Error::TooNear { found: plan.height, earliest });
    }
    if plan.app_version <= present {
        return Err(Error::NotAbove { found: plan.app_version, present });
    }
    Ok(())
}

/// Plans an upgrade, instead of the one that was planned before.
pub fn plan(state: &mut State<'_>, plan: &Plan) {
    state.write(key::UPGRADE_PLANNED.to_vec(), plan);
}

/// Reaches the upgrade that begins with the height after `height`, if one does.
pub fn reach(state: &mut State<'_>, height: Height) -> Option<Plan> {
    let plan = planned(state).filter(|plan| plan.height <= height.next())?;
    state.remove(key::UPGRADE_PLANNED.to_vec());
    state.write(key::UPGRADE_REACHED.to_vec(), &plan);
    Some(plan)
}
