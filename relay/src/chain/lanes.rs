//! Authors for the operations that the relay pays for.
//!
//! An account makes one transaction after another, and the relay's own makes anchors. So a
//! sponsored operation has another author, out of a few whose keys follow from the account's; it
//! owns nothing, and the relay's account signs as the payer.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};
use types::{Domain, SigningKey};

use crate::Error;

/// How many transactions can be on their way at once.
pub(super) const LANES: u8 = 8;

static LANE: Domain = Domain::new("zynk.2026 relay sponsor lane v1");

#[derive(Debug)]
pub(super) struct Lanes {
    payer: SigningKey,
    room: Semaphore,
    free: Mutex<Vec<SigningKey>>,
}

/// An author that nobody else uses until this is dropped.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    lanes: &'a Lanes,
    author: Option<SigningKey>,
    _room: SemaphorePermit<'a>,
}

impl Lanes {
    pub(super) fn new(account: &SigningKey) -> Self {
        let lane = |number: u8| SigningKey::from_seed(&LANE.hash(&[account.seed(), &[number]]).0);
        let free = (0..LANES).map(lane).collect();
        Self { payer: account.clone(), room: Semaphore::new(usize::from(LANES)), free: Mutex::new(free) }
    }

    pub(super) async fn take(&self) -> Result<Lane<'_>, Error> {
        let room = self.room.acquire().await.map_err(Error::store)?;
        let author = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(Lane { lanes: self, author, _room: room })
    }
}

impl Lane<'_> {
    pub(super) fn author(&self) -> &SigningKey {
        self.author.as_ref().expect("as many authors as there is room")
    }

    pub(super) const fn payer(&self) -> &SigningKey {
        &self.lanes.payer
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        // The author goes back before the room does: fields are dropped after this.
        self.lanes.free.lock().unwrap_or_else(PoisonError::into_inner).extend(self.author.take());
    }
}
