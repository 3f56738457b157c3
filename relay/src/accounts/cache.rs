//! The devices of identities, as they are asked for with each message.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use identity::Did;
use mailbox::intake::Devices;

/// How many identities are remembered; one more, and all are forgotten.
const MAX_REMEMBERED: usize = 65_536;

/// What was read, for as long as nothing was written about it.
#[derive(Debug, Default)]
pub(super) struct Cache {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Counts what was forgotten: an answer read before does not count after.
    generation: u64,
    devices: HashMap<Did, Devices>,
}

impl Cache {
    /// What is remembered; else the generation to give back with what is read.
    pub(super) fn get(&self, did: &Did) -> Result<Devices, u64> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.devices.get(did).cloned().ok_or(inner.generation)
    }

    pub(super) fn put(&self, did: &Did, devices: &Devices, generation: u64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.generation != generation {
            return;
        }
        if inner.devices.len() >= MAX_REMEMBERED {
            inner.devices.clear();
        }
        inner.devices.insert(*did, devices.clone());
    }

    /// After a write about it is durable, and before anybody is told.
    pub(super) fn forget(&self, did: &Did) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.generation = inner.generation.wrapping_add(1);
        inner.devices.remove(did);
    }
}
