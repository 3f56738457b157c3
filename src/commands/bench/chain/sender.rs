//! Hands transactions to one node over one connection, each author's in their order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::book::Book;
use super::door::{Answer, BATCH, Door};

/// How long a node that has no room, or no answer, is asked again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time between two such questions.
const PAUSE: Duration = Duration::from_millis(20);

/// A transaction: its lane, and its place there.
type Place = (usize, usize);

/// One connection and the authors that use it.
#[derive(Debug)]
pub(super) struct Sender {
    door: Door,
    book: Arc<Book>,
    lanes: Vec<usize>,
    /// Which of a lane's transactions is next, and of which lane.
    next: (usize, usize),
    /// Lanes of which a transaction was refused: what follows it cannot be included either.
    ended: BTreeSet<usize>,
}

impl Sender {
    pub(super) const fn new(door: Door, book: Arc<Book>, lanes: Vec<usize>) -> Self {
        Self { door, book, lanes, next: (0, 0), ended: BTreeSet::new() }
    }

    /// Whether everything has been sent.
    pub(super) fn is_done(&self) -> bool {
        self.next.0 >= self.book.prepared.each
    }

    fn take(&mut self) -> Option<Place> {
        loop {
            let (place, at) = self.next;
            if place >= self.book.prepared.each || self.lanes.is_empty() {
                return None;
            }
            self.next = if at + 1 == self.lanes.len() { (place + 1, 0) } else { (place, at + 1) };
            if !self.ended.contains(&self.lanes[at]) {
                return Some((self.lanes[at], place));
            }
        }
    }

    /// One transaction after `every`, whether those before it have come or not; its time counts from when it was due.
    pub(super) async fn steady(mut self, first: Duration, every: Duration, time: Duration) -> Self {
        let (began, noted) = (Instant::now(), self.book.now());
        let mut due = first;
        while due < time {
            sleep_until(began + due).await;
            let Some(place) = self.take() else { break };
            // The window is for those who would otherwise send without end.
            self.book.window.forget_permits(1);
            self.send(vec![place], noted + due).await;
            due += every;
        }
        self
    }

    /// As many as the window lets through, until told to stop.
    pub(super) async fn flood(mut self, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::Relaxed) && !self.is_done() {
            let book = Arc::clone(&self.book);
            let Ok(Ok(permit)) = timeout(PAUSE, book.window.acquire()).await else { continue };
            permit.forget();
            let mut batch: Vec<Place> = self.take().into_iter().collect();
            while batch.len() < BATCH {
                let Ok(permit) = book.window.try_acquire() else { break };
                let Some(place) = self.take() else { break };
                permit.forget();
                batch.push(place);
            }
            if !batch.is_empty() {
                let now = self.book.now();
                self.send(batch, now).await;
            }
        }
        self
    }

    /// Sends these, and again those for which there was no room, until the node has judged each.
    async fn send(&mut self, mut batch: Vec<Place>, at: Duration) {
        let book = Arc::clone(&self.book);
        batch.iter().for_each(|(lane, place)| book.sends(book.prepared.index(*lane, *place), at));
        let until = Instant::now() + PATIENCE;
        let mut unsure = false;
        while !batch.is_empty() && Instant::now() < until {
            let bytes: Vec<&[u8]> = batch.iter().map(|(lane, place)| book.prepared.bytes(*lane, *place)).collect();
            let Some(answers) = self.door.broadcast(&bytes).await else {
                // It may have come all the same.
                unsure = true;
                sleep(PAUSE).await;
                continue;
            };
            let mut left = Vec::new();
            for ((lane, place), answer) in batch.into_iter().zip(answers) {
                match answer {
                    Answer::Taken => {}
                    Answer::Busy => left.push((lane, place)),
                    Answer::Refused(_) if unsure => {}
                    Answer::Refused(why) => {
                        book.refused(book.prepared.index(lane, place), why);
                        self.ended.insert(lane);
                    }
                }
            }
            batch = left;
            if !batch.is_empty() {
                book.found_no_room();
                sleep(PAUSE).await;
            }
        }
    }
}
