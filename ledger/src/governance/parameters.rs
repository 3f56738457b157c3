//! Changes of parameters: which there are, and what becomes of them all together.

use types::Amount;

use super::error::Error;
use super::proposal::Change;
use crate::params::Params;

/// The parameters that stand for the chain's life.
///
/// Another power unit would change the power of all validators in one block, and headers could no
/// longer be handed from one set to the next. The time of unbonding must stay above the age of
/// evidence, which stands in the genesis beside the application's state.
pub const FIXED: [&str; 2] = ["power_unit", "stake.unbonding_ms"];

/// The parameters after `changes`, which are in force all together or not at all.
///
/// # Errors
/// [`Error::NoChange`], [`Error::NamedTwice`], [`Error::UnknownParameter`], [`Error::FixedParameter`],
/// [`Error::TooLarge`] and [`Error::BadParameter`].
pub fn changed(params: &Params, changes: &[Change]) -> Result<Params, Error> {
    if changes.is_empty() {
        return Err(Error::NoChange);
    }
    let mut params = *params;
    for (place, change) in changes.iter().enumerate() {
        if changes[..place].iter().any(|earlier| earlier.name == change.name) {
            return Err(Error::NamedTwice(change.name.to_string()));
        }
        set(&mut params, change)?;
    }
    params.check()?;
    Ok(params)
}

fn set(params: &mut Params, change: &Change) -> Result<(), Error> {
    let Params { stake, governance, .. } = params;
    match &*change.name {
        "base_fee" => params.base_fee = Amount(change.value),
        "byte_fee" => params.byte_fee = Amount(change.value),
        "log_bond" => params.log_bond = Amount(change.value),
        "bond_hold_blocks" => params.bond_hold_blocks = fit(change)?,
        "block_interval_ms" => params.block_interval_ms = fit(change)?,
        "heartbeat_ms" => params.heartbeat_ms = fit(change)?,
        "propose_timeout_ms" => params.propose_timeout_ms = fit(change)?,
        "stake.max_validators" => stake.max_validators = fit(change)?,
        "stake.min_self_stake" => stake.min_self_stake = Amount(change.value),
        "stake.epoch_ms" => stake.epoch_ms = change.value,
        "stake.annual_reward_bps" => stake.annual_reward_bps = fit(change)?,
        "stake.double_sign_slash_bps" => stake.double_sign_slash_bps = fit(change)?,
        "stake.downtime_slash_bps" => stake.downtime_slash_bps = fit(change)?,
        "stake.downtime_jail_ms" => stake.downtime_jail_ms = change.value,
        "stake.signed_window" => stake.signed_window = fit(change)?,
        "stake.min_signed_bps" => stake.min_signed_bps = fit(change)?,
        "stake.max_commission_change_bps" => stake.max_commission_change_bps = fit(change)?,
        "governance.min_deposit" => governance.min_deposit = Amount(change.value),
        "governance.deposit_ms" => governance.deposit_ms = change.value,
        "governance.voting_ms" => governance.voting_ms = change.value,
        "governance.quorum_bps" => governance.quorum_bps = fit(change)?,
        "governance.threshold_bps" => governance.threshold_bps = fit(change)?,
        "governance.veto_bps" => governance.veto_bps = fit(change)?,
        name if FIXED.contains(&name) => return Err(Error::FixedParameter(name.to_owned())),
        name => return Err(Error::UnknownParameter(name.to_owned())),
    }
    Ok(())
}

fn fit<T: TryFrom<u64>>(change: &Change) -> Result<T, Error> {
    T::try_from(change.value).map_err(|_| Error::TooLarge { name: change.name.to_string(), value: change.value })
}
