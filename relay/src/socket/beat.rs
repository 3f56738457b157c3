//! One beat for all connections: whose time has come, and whose session has ended.
//!
//! A timer for each connection would cost more memory than everything else that is kept of an idle
//! one. Once a second, one task walks over all of them and rings only where something is to do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::App;
use crate::accounts::SessionId;
use crate::messages::{Bell, Rung};

/// The time between two beats.
const BEAT: Duration = Duration::from_secs(1);

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    live: Mutex<HashMap<u64, Arc<Live>>>,
    bound: usize,
    next: AtomicU64,
    began: Instant,
    beating: AtomicBool,
    stopped: AtomicBool,
}

/// What is known of a connection outside of its task.
#[derive(Debug)]
pub(super) struct Live {
    /// What it waits at.
    pub(super) bell: Arc<Bell>,
    /// When it wants to be woken, in milliseconds since the first connection could be made.
    due: AtomicU64,
    /// Its session.
    session: OnceLock<SessionId>,
}

/// A connection's place, as long as this is kept.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Arc<Connections>,
    number: u64,
    live: Arc<Live>,
}

impl Connections {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            live: Mutex::default(),
            bound,
            next: AtomicU64::new(0),
            began: Instant::now(),
            beating: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    /// A place for one more connection, if there is one.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Seat> {
        let mut all = self.lock();
        if all.len() >= self.bound || self.stopped.load(Ordering::Acquire) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let live = Arc::new(Live { bell: Arc::default(), due: AtomicU64::new(u64::MAX), session: OnceLock::new() });
        all.insert(number, live.clone());
        drop(all);
        Some(Seat { connections: self.clone(), number, live })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings for those whose time has come.
    fn ring_due(&self) {
        let now = self.now();
        for live in self.lock().values().filter(|live| live.due.load(Ordering::Relaxed) <= now) {
            live.due.store(u64::MAX, Ordering::Relaxed);
            live.bell.ring(Rung::DUE);
        }
    }

    /// Rings for those whose session has ended.
    fn ring_ended(&self, has_ended: impl Fn(&SessionId) -> bool) {
        for live in self.lock().values().filter(|live| live.session.get().is_some_and(&has_ended)) {
            live.bell.ring(Rung::REVOKED);
        }
    }

    fn stop(&self) {
        let all = self.lock();
        // Under the lock, so that nobody comes in between.
        self.stopped.store(true, Ordering::Release);
        all.values().for_each(|live| live.bell.ring(Rung::STOP));
    }
}

impl Seat {
    /// What the connection waits at.
    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.live.bell
    }

    /// Milliseconds on a clock that only goes forward.
    pub(super) fn now(&self) -> u64 {
        self.connections.now()
    }

    /// Wants to be woken at the beat after so many milliseconds, in place of what it wanted before.
    pub(super) fn wake_in(&self, milliseconds: u64) {
        self.live.due.store(self.now().saturating_add(milliseconds), Ordering::Relaxed);
    }

    /// From now on the bell rings when this session ends.
    pub(super) fn stands_for(&self, session: SessionId) {
        // A connection opens one session.
        let _ = self.live.session.set(session);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.number);
    }
}

/// Begins the beat, if it has not begun. It ends with the relay.
pub(super) fn keep(connections: &Arc<Connections>, app: &Arc<App>) {
    if !connections.beating.swap(true, Ordering::AcqRel) {
        tokio::spawn(beat(connections.clone(), app.clone()));
    }
}

async fn beat(connections: Arc<Connections>, app: Arc<App>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut stop, mut endings) = (app.stop.clone(), app.auth.endings());
    loop {
        tokio::select! {
            Ok(_) = stop.wait_for(|stop| *stop) => return connections.stop(),
            Ok(()) = endings.changed() => connections.ring_ended(|session| app.auth.has_ended(session)),
            _ = ticks.tick() => connections.ring_due(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Connections;
    use crate::messages::Rung;

    #[tokio::test]
    async fn the_beat_rings_where_something_is_to_do() {
        let connections = Arc::new(Connections::new(3));
        let seats: Vec<_> = (0..3).map(|_| connections.enter().expect("there is room")).collect();
        assert!(connections.enter().is_none(), "one too many");
        seats[0].wake_in(0);
        seats[1].wake_in(1_000_000);
        seats[1].stands_for([1; 16]);
        seats[2].stands_for([2; 16]);
        connections.ring_due();
        assert_eq!(seats[0].bell().heard().await, Rung::DUE);
        connections.ring_due();
        assert!(futures::poll!(Box::pin(seats[0].bell().heard())).is_pending(), "once");
        connections.ring_ended(|session| *session == [2; 16]);
        assert_eq!(seats[2].bell().heard().await, Rung::REVOKED);
        assert!(futures::poll!(Box::pin(seats[1].bell().heard())).is_pending(), "neither due nor ended");
        connections.stop();
        for seat in &seats {
            assert_eq!(seat.bell().heard().await, Rung::STOP);
        }
        drop(seats);
        assert!(connections.lock().is_empty());
        assert!(connections.enter().is_none(), "it stops");
    }
}
