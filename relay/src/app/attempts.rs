//! Attempts to sign in that failed, by address and by what was tried. In memory: they matter for minutes.
//!
//! By address alone, one removed device or one neighbour would keep everybody out who shares the address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use mailbox::Address;
use types::Millis;

/// How much is remembered. One more, and all of it is forgotten: nobody guesses an Ed25519
/// signature, so that is better than refusing those who are new.
const MAX_REMEMBERED: usize = 65_536;

/// The period in which attempts are counted, in milliseconds: five minutes.
pub(crate) const PERIOD_MS: u64 = 5 * 60 * 1_000;

/// What is tried; each is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Attempt {
    /// To sign a device in.
    SignIn(Address),
    /// The same, as any device that has to be asked of the chain.
    Unseen,
    /// To refresh.
    Refresh,
}

/// Counts failures.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failures: Mutex<HashMap<(IpAddr, Attempt), Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    ends: u64,
    failed: u32,
}

impl Attempts {
    /// Whether somebody may try.
    ///
    /// # Errors
    /// In how many milliseconds the next attempt is let in, when `most` have failed in this period.
    pub(crate) fn admit(&self, from: IpAddr, attempt: Attempt, most: u32, now: Millis) -> Result<(), u64> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.get(&(from, attempt)) {
            Some(window) if window.ends > now.0 && window.failed >= most => Err(window.ends - now.0),
            _ => Ok(()),
        }
    }

    /// An attempt has failed.
    pub(crate) fn fail(&self, from: IpAddr, attempt: Attempt, now: Millis) {
        let (mut failures, who) = (self.failures.lock().unwrap_or_else(PoisonError::into_inner), (from, attempt));
        if failures.len() >= MAX_REMEMBERED && !failures.contains_key(&who) {
            failures.retain(|_, window| window.ends > now.0);
            if failures.len() >= MAX_REMEMBERED {
                failures.clear();
            }
        }
        let window = failures.entry(who).or_insert(Window { ends: 0, failed: 0 });
        if window.ends <= now.0 {
            *window = Window { ends: now.0.saturating_add(PERIOD_MS), failed: 0 };
        }
        window.failed = window.failed.saturating_add(1);
    }
}
