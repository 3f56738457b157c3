//! Running libsignal: at once, and such that a panic in it is an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt as _;
use libsignal_protocol::SignalProtocolError;
use rand::TryRngCore as _;
use rand::rand_core::UnwrapErr;
use rand::rngs::OsRng;

use super::{Refused, refused};

/// The system's entropy, as libsignal asks for it. It panics where the system has none to give.
#[must_use]
pub fn random() -> UnwrapErr<OsRng> {
    OsRng.unwrap_err()
}

/// Runs one of libsignal's functions over records in memory. Its future is ready at the first poll.
///
/// What the closure changed is of no use after an error: the caller drops it.
pub(super) fn guarded<T>(act: impl AsyncFnOnce() -> Result<T, SignalProtocolError>) -> Result<T, Refused> {
    match catch_unwind(AssertUnwindSafe(|| act().now_or_never())) {
        Ok(Some(Ok(value))) => Ok(value),
        Ok(Some(Err(error))) => Err(refused(error)),
        Ok(None) => Err(Refused::Undecryptable { reason: "Signal's library waits for something".to_owned() }),
        Err(_) => Err(Refused::Panicked),
    }
}
