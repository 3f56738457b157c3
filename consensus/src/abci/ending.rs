//! How what happens on a connection's thread ends the node.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long calls in progress may take when the node stops.
const FINISHING: Duration = Duration::from_secs(10);

/// Tells the node that it must stop. Clones tell the same node.
#[derive(Debug, Clone)]
pub struct Ending {
    why: watch::Sender<Option<String>>,
    /// Held for reading by each call; whether calls may begin.
    open: Arc<RwLock<bool>>,
}

/// Where the node hears of it.
#[derive(Debug)]
pub struct Ended(watch::Receiver<Option<String>>);

impl Ending {
    /// A way to tell, and where it is heard.
    #[must_use]
    pub fn new() -> (Self, Ended) {
        let (why, heard) = watch::channel(None);
        (Self { why, open: Arc::new(RwLock::new(true)) }, Ended(heard))
    }

    /// Tells the node to stop; the first reason counts.
    pub fn tell(&self, why: String) {
        tracing::error!(why, "the application stops");
        self.why.send_if_modified(|told| {
            let first = told.is_none();
            if first {
                *told = Some(why);
            }
            first
        });
    }

    /// Tells the node to stop, and never returns: the request at hand gets no answer, which no engine takes for one.
    pub fn end(&self, why: String) -> ! {
        self.tell(why);
        rest()
    }

    /// Lets no call begin from now on, and waits until those in progress are done.
    pub fn close(&self) {
        let deadline = Instant::now() + FINISHING;
        // A call that ended the node keeps its guard for ever.
        while !self.has_ended() && Instant::now() < deadline {
            match self.open.try_write() {
                Ok(mut open) => {
                    *open = false;
                    return;
                }
                Err(TryLockError::Poisoned(poisoned)) => {
                    *poisoned.into_inner() = false;
                    return;
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Begins a call; while the node stops, none begins.
    pub(super) fn enter(&self) -> RwLockReadGuard<'_, bool> {
        let guard = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if *guard && !self.has_ended() {
            return guard;
        }
        drop(guard);
        rest()
    }

    fn has_ended(&self) -> bool {
        self.why.borrow().is_some()
    }
}

impl Ended {
    /// Waits for the reason to stop.
    pub async fn heard(&mut self) -> String {
        match self.0.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "the ABCI server is gone".to_owned(),
        }
    }
}

/// Stays here until the process ends.
fn rest() -> ! {
    loop {
        std::thread::park();
    }
}
