//! Attempts to sign in that failed, by address. In memory: they matter for minutes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use types::Millis;

/// How many addresses are remembered. One more, and all are forgotten: nobody guesses an Ed25519
/// signature, so that is better than refusing those who are new.
const MAX_ADDRESSES: usize = 65_536;

/// The period in which attempts are counted, in milliseconds: five minutes.
pub(crate) const PERIOD_MS: u64 = 5 * 60 * 1_000;

/// Counts attempts.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    addresses: Mutex<HashMap<IpAddr, Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    ends: u64,
    failed: u32,
}

impl Attempts {
    /// Counts an attempt as failed until it has succeeded.
    ///
    /// # Errors
    /// In how many milliseconds the next one is let in, when `most` have failed in this period.
    pub(crate) fn begin(&self, peer: IpAddr, most: u32, now: Millis) -> Result<(), u64> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= MAX_ADDRESSES && !addresses.contains_key(&peer) {
            addresses.retain(|_, window| window.ends > now.0);
            if addresses.len() >= MAX_ADDRESSES {
                addresses.clear();
            }
        }
        let window = addresses.entry(peer).or_insert(Window { ends: 0, failed: 0 });
        if window.ends <= now.0 {
            *window = Window { ends: now.0.saturating_add(PERIOD_MS), failed: 0 };
        }
        if window.failed >= most {
            return Err(window.ends - now.0);
        }
        window.failed += 1;
        Ok(())
    }

    /// The attempt has succeeded.
    pub(crate) fn succeed(&self, peer: IpAddr) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = addresses.get_mut(&peer) {
            window.failed = window.failed.saturating_sub(1);
            if window.failed == 0 {
                addresses.remove(&peer);
            }
        }
    }
}
