//! Invitations, as an operator draws them: also while the relay runs.

use genesis::entropy;
use types::{Hash, Millis};

use crate::accounts::{Accounts as _, Sqlite, invitation};
use crate::run::now;
use crate::{Error, Home};

/// How long an invitation is good for, in milliseconds: 30 days.
const LIFE_MS: u64 = 30 * 24 * 3_600 * 1_000;

/// Draws an invitation to the relay of a home: whoever has the code registers once, within 30 days. The store keeps its
/// hash.
///
/// # Errors
/// When the store of accounts cannot be opened or written.
pub async fn invite(home: &Home) -> Result<String, Error> {
    std::fs::create_dir_all(home.data()).map_err(|error| Error::Database { path: home.data(), reason: error.to_string() })?;
    let accounts = Sqlite::open(&home.accounts()).await?;
    // Half a hash is enough not to be guessed, and short enough to be read out.
    let code = Hash(entropy::bytes()).to_string()[..32].to_owned();
    let now = now();
    accounts.invite(&invitation(&code), now, Millis(now.0 + LIFE_MS)).await?;
    accounts.close().await;
    Ok(code)
}
