//! Who may come in: requests by rate, connections and WebSockets by number, for each address.
//!
//! An IPv6 client counts by its /64, which is what one household or server has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mailbox::limit::{Bucket, Rate};
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{Instant, sleep};
use types::Millis;

use crate::Error;

/// At most this many addresses have a bucket of their own. When all are in use, those that come new
/// share one: a flood of addresses locks out nobody who was here before.
const MAX_ADDRESSES: usize = 65_536;

/// The least time between two looks for buckets that are full again, in milliseconds.
const SWEEP_MS: u64 = 1000;

/// How often it is looked whether all places are free.
const GLANCE: Duration = Duration::from_millis(20);

/// The part of an address that counts.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// How fast each address asks.
#[derive(Debug)]
pub(crate) struct Rates {
    rate: Rate,
    begun: Instant,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    buckets: HashMap<IpAddr, Bucket>,
    strangers: Bucket,
    swept: Millis,
}

impl Rates {
    pub(crate) fn new(rate: Rate) -> Self {
        let table = Table { buckets: HashMap::new(), strangers: Bucket::new(rate), swept: Millis(0) };
        Self { rate, begun: Instant::now(), table: Mutex::new(table) }
    }

    /// Takes one request of this address.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`].
    pub(crate) fn take(&self, address: IpAddr) -> Result<(), Error> {
        // The machine's clock may be set back; this one never is.
        let now = Millis(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.take_at(address, now, MAX_ADDRESSES).map_err(|retry_after_ms| Error::TooManyRequests { retry_after_ms })
    }

    fn take_at(&self, address: IpAddr, now: Millis, bound: usize) -> Result<(), u64> {
        let address = counted(address);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = table.buckets.get_mut(&address) {
            return bucket.take(now, 1);
        }
        if table.buckets.len() >= bound && now.0.saturating_sub(table.swept.0) >= SWEEP_MS {
            table.buckets.retain(|_, bucket| !bucket.is_full(now));
            table.swept = now;
        }
        if table.buckets.len() >= bound {
            return table.strangers.take(now, 1);
        }
        table.buckets.entry(address).or_insert(Bucket::new(self.rate)).take(now, 1)
    }
}

/// So many places in total, and so many for each address.
#[derive(Debug)]
pub(crate) struct Places {
    total: u32,
    each: u32,
    taken: Mutex<Taken>,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct Taken {
    total: u32,
    /// Bounded by `total`.
    each: HashMap<IpAddr, u32>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<Places>,
    address: IpAddr,
}

impl Places {
    pub(crate) fn new(total: u32, each: u32, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self { total, each, taken: Mutex::default(), gauge })
    }

    /// A place for this address, if there is one. `exempt`: not bounded by address.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr, exempt: bool) -> Option<Place> {
        let address = counted(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.each.get(&address).copied().unwrap_or(0);
        if taken.total >= self.total || (own >= self.each && !exempt) {
            return None;
        }
        taken.total += 1;
        taken.each.insert(address, own + 1);
        drop(taken);
        self.gauge.inc();
        Some(Place { of: Arc::clone(self), address })
    }
}

impl Places {
    /// Waits until no place is taken.
    pub(crate) async fn emptied(&self) {
        while self.taken.lock().unwrap_or_else(PoisonError::into_inner).total > 0 {
            sleep(GLANCE).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total = taken.total.saturating_sub(1);
        if let Some(own) = taken.each.get_mut(&self.address) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.each.remove(&self.address);
            }
        }
        drop(taken);
        self.of.gauge.dec();
    }
}

#[cfg(test)]
mod tests;
