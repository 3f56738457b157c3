//! Wake-ups: who is connected, and how a connection is told that there is something to look at.
//!
//! A bell holds flags, no messages: however slow a connection is, what waits for it is in the
//! mailbox and costs no memory here. Bound: one bell a connection, and connections are bounded.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures::task::AtomicWaker;
use mailbox::Address;

/// Why a bell rang: a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung(u8);

impl Rung {
    /// The mailbox has something that was not there before.
    pub const AVAILABLE: Self = Self(1);
    /// The same device has opened a newer session.
    pub const REPLACED: Self = Self(1 << 1);
    /// The session was revoked.
    pub const REVOKED: Self = Self(1 << 2);
    /// It is time to look at the clock.
    pub const DUE: Self = Self(1 << 3);
    /// The relay stops.
    pub const STOP: Self = Self(1 << 4);

    /// Whether `other` is among the reasons.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What one connection waits at. One task waits, anybody rings.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicU8,
    waker: AtomicWaker,
}

impl Bell {
    /// Rings. Rung twice before it was heard is rung once.
    pub fn ring(&self, why: Rung) {
        self.rung.fetch_or(why.0, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Waits until it rings; the reasons since it was last heard. Safe to drop and call again.
    pub async fn heard(&self) -> Rung {
        poll_fn(|context| {
            self.waker.register(context.waker());
            match self.rung.swap(0, Ordering::AcqRel) {
                0 => Poll::Pending,
                reasons => Poll::Ready(Rung(reasons)),
            }
        })
        .await
    }
}

/// The bells of the devices that are connected: at most one for each.
#[derive(Debug, Clone, Default)]
pub struct Bells {
    connected: Arc<Mutex<HashMap<Address, Arc<Bell>>>>,
}

impl Bells {
    /// From now on `bell` rings for `of`. Who waited there before is told that it was replaced.
    #[must_use]
    pub fn watch(&self, of: Address, bell: Arc<Bell>) -> Watch {
        if let Some(before) = self.lock().insert(of, bell.clone()) {
            before.ring(Rung::REPLACED);
        }
        Watch { bells: self.clone(), of, bell }
    }

    /// Rings for each of `addresses` that is connected.
    pub fn wake<'a>(&self, addresses: impl IntoIterator<Item = &'a Address>) {
        let connected = self.lock();
        for address in addresses {
            if let Some(bell) = connected.get(address) {
                bell.ring(Rung::AVAILABLE);
            }
        }
    }

    /// How many devices are connected.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Address, Arc<Bell>>> {
        // Nothing in here can be half done: each change is one call of the map's.
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device is connected as long as this is kept.
#[derive(Debug)]
pub struct Watch {
    bells: Bells,
    of: Address,
    bell: Arc<Bell>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut connected = self.bells.lock();
        // A newer session may stand there already.
        if connected.get(&self.of).is_some_and(|bell| Arc::ptr_eq(bell, &self.bell)) {
            connected.remove(&self.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use identity::Did;
    use mailbox::Address;

    use super::{Bell, Bells, Rung};

    const ALICE: Address = Address { did: Did([1; 32]), device: 1 };
    const BOB: Address = Address { did: Did([2; 32]), device: 1 };

    #[tokio::test]
    async fn bells_ring_for_their_device_and_the_newer_session_wins() {
        let bells = Bells::default();
        let [old, new, bob] = std::array::from_fn(|_| Arc::new(Bell::default()));
        let first = bells.watch(ALICE, old.clone());
        let _bob = bells.watch(BOB, bob.clone());
        bells.wake([&ALICE]);
        bells.wake([&ALICE]);
        assert_eq!(old.heard().await, Rung::AVAILABLE, "twice is once");
        let second = bells.watch(ALICE, new.clone());
        bells.wake([&ALICE]);
        assert_eq!(old.heard().await, Rung::REPLACED, "and nothing of what came after");
        assert_eq!(new.heard().await, Rung::AVAILABLE);
        drop(first);
        assert_eq!(bells.count(), 2, "the old one takes nothing of the new one with it");
        drop(second);
        bells.wake([&ALICE, &BOB]);
        assert_eq!(bells.count(), 1);
        assert_eq!(bob.heard().await, Rung::AVAILABLE);
    }
}
