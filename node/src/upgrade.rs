//! Upgrades: which versions of the application this program runs, and what it says when the chain
//! has come to another.

use genesis::genesis::APP_VERSION;
use ledger::State;
use ledger::governance::upgrade;
use types::Height;

use crate::app::App;

/// The chain needs another program: one that runs the version that it has come to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the upgrade {name} begins at height {height}: from there on the chain has version {version} of the application, and this program runs versions up to {highest}"
)]
pub struct Outdated {
    /// The name of the plan that was voted for.
    pub name: String,
    /// The first height of the new version; this program has not begun it.
    pub height: Height,
    /// The new version.
    pub version: u64,
    /// The highest version that this program runs.
    pub highest: u64,
}

/// Whether the chain's next height needs another program than this.
pub fn outdated(app: &App) -> Option<Outdated> {
    let (version, highest) = (app.chain().app_version, highest());
    if version <= highest {
        return None;
    }
    let reached = upgrade::reached(&State::new(app.store()))?;
    Some(Outdated { name: reached.name.to_string(), height: reached.height, version, highest })
}

/// The highest version of the application that this program runs.
///
/// A debug build can be told to be a later one, for tests of upgrades: `ZYNK_APP_VERSION=2`.
pub fn highest() -> u64 {
    #[cfg(debug_assertions)]
    if let Some(version) = std::env::var("ZYNK_APP_VERSION").ok().and_then(|text| text.parse().ok()) {
        return version;
    }
    APP_VERSION
}
