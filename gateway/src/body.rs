//! A body on its way through: bounded in length and in silence, and counted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, Sleep, sleep};

/// What became of a body, for whoever hears only that it failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate(Arc<AtomicU8>);

const TOO_LARGE: u8 = 1;
const SILENT: u8 = 2;

impl Fate {
    /// Whether it was longer than its bound.
    pub(crate) fn is_too_large(&self) -> bool {
        self.0.load(Ordering::Relaxed) == TOO_LARGE
    }

    /// Whether it did not come.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == SILENT
    }
}

/// Why a body ends early.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the body is longer than its bound")]
    TooLarge,
    #[error("the body stands still")]
    Silent,
}

/// A body with bounds. `guard` is let go when the body ends.
pub(crate) struct Bounded<G> {
    inner: Body,
    left: u64,
    silence: Duration,
    still: Pin<Box<Sleep>>,
    passed: Counter,
    fate: Fate,
    _guard: G,
}

/// Bounds `inner` to `bound` bytes and to `silence` between two of its pieces.
pub(crate) fn bounded<G: Send + Unpin + 'static>(inner: Body, bound: u64, silence: Duration, passed: Counter, guard: G) -> (Body, Fate) {
    let fate = Fate::default();
    if inner.is_end_stream() {
        return (inner, fate);
    }
    let still = Box::pin(sleep(silence));
    let body = Bounded { inner, left: bound, silence, still, passed, fate: fate.clone(), _guard: guard };
    (Body::new(body), fate)
}

impl<G: Unpin> HttpBody for Bounded<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Poll::Ready(polled) = Pin::new(&mut this.inner).poll_frame(context) else {
            if this.still.as_mut().poll(context).is_ready() {
                this.fate.0.store(SILENT, Ordering::Relaxed);
                return Poll::Ready(Some(Err(axum::Error::new(Cut::Silent))));
            }
            return Poll::Pending;
        };
        this.still.as_mut().reset(Instant::now() + this.silence);
        if let Some(Ok(frame)) = &polled {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(left) = this.left.checked_sub(length) else {
                this.fate.0.store(TOO_LARGE, Ordering::Relaxed);
                return Poll::Ready(Some(Err(axum::Error::new(Cut::TooLarge))));
            };
            this.left = left;
            this.passed.inc_by(length);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
