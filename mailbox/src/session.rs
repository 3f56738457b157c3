//! One device's connection, from the first frame to the last, as a value.
//!
//! The shell feeds what happens as [`Input`] and carries the [`Output`]s out, in order: an
//! acknowledgement before a read that follows it, submissions in the order in which they were sent. It
//! reads the next frame from the socket only while [`Session::listens`], so that what a device sends
//! too fast waits in the device. A session holds no content: what it has given and not seen
//! acknowledged is a list of numbers, and the mailbox is the store's.
//!
//! Bounds: [`OPEN_WITHIN_MS`] until the first frame; [`MAX_UNACKNOWLEDGED`] items and
//! [`MAX_UNACKNOWLEDGED_BYTES`] bytes given and not acknowledged; [`MAX_SUBMISSIONS`] not answered;
//! [`MAX_AHEAD`] numbers acknowledged before they were given; one read at a time.

use types::Millis;

use crate::frame::{
    AcceptedItem, Acknowledge, Address, ClientFrame, Delivery, Kind, MAX_FRAME, MAX_ITEMS, MAX_SELECTED, Open, Opened, PrekeysLow, Problem,
    Refused, ServerFrame, Submission,
};
use crate::wire;

mod standing;

use standing::{Fault, Standing};

/// How long a connection may be open without a session, in milliseconds.
pub const OPEN_WITHIN_MS: u64 = 10_000;

/// The most items given to a device and not yet acknowledged.
pub const MAX_UNACKNOWLEDGED: usize = 256;

/// The most bytes of content given to a device and not yet acknowledged: 256 KiB.
pub const MAX_UNACKNOWLEDGED_BYTES: usize = 256 * 1024;

/// The most submissions of a session that wait for their answer.
pub const MAX_SUBMISSIONS: usize = 64;

/// The most numbers that a device may acknowledge one by one before this session has given them: it
/// has them from an earlier session.
pub const MAX_AHEAD: usize = 4 * MAX_SELECTED;

/// Why a connection is closed: WebSocket close codes (RFC 6455 §7.4.2, the private range).
pub mod close {
    /// What came is no frame, or not now.
    pub const MALFORMED: u16 = 4400;
    /// The token is not believed, or no longer.
    pub const NOT_AUTHENTICATED: u16 = 4401;
    /// No session was opened in time.
    pub const TIMED_OUT: u16 = 4408;
    /// The same device opened another session.
    pub const REPLACED: u16 = 4409;
    /// More than a bound allows.
    pub const TOO_MUCH: u16 = 4429;
}

/// The numbers of the problems that a session names itself; those of malformed frames are
/// [`wire::Error::code`], those of tokens the shell's.
pub mod problem {
    /// Another frame than `session.open` came first.
    pub const NOT_OPEN: u32 = 2201;
    /// `session.open` came a second time.
    pub const OPEN_TWICE: u32 = 2202;
    /// No session was opened in time.
    pub const TIMED_OUT: u32 = 2203;
    /// The same device opened another session.
    pub const REPLACED: u32 = 2204;
    /// More than a bound allows.
    pub const TOO_MUCH: u32 = 2205;
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A frame came.
    Frame(ClientFrame),
    /// What came is no frame.
    Malformed(wire::Error),
    /// The answer to [`Output::Authenticate`]: whose token it is, and the number up to which the
    /// mailbox holds nothing, after it took what the device says it has
    /// ([`Queue::resume`](crate::Queue::resume)).
    Authenticated {
        /// Whose session it is.
        address: Address,
        /// Delivery goes on above this number.
        acknowledged: u64,
    },
    /// The token is not believed, or, later, no longer.
    NotAuthenticated(Problem),
    /// The answer to one [`Output::Submit`].
    Accepted(AcceptedItem),
    /// The answer to one [`Output::Submit`].
    Refused(Refused),
    /// The mailbox may hold something new.
    Available,
    /// The answer to [`Output::Read`].
    Read {
        /// By ascending number.
        items: Vec<Delivery>,
        /// Whether the mailbox held more than that.
        more: bool,
    },
    /// The relay has too much to do: this device is to wait.
    Overloaded {
        /// Milliseconds.
        retry_after_ms: u64,
    },
    /// The relay goes on.
    Relieved,
    /// One-time prekeys run low.
    PrekeysLow(PrekeysLow),
    /// The same device opened another session.
    Replaced,
    /// What time it is. At least once a second as long as no session was opened.
    Tick(Millis),
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Send(ServerFrame),
    /// Judge this token; take what the device says it has; answer [`Input::Authenticated`] or
    /// [`Input::NotAuthenticated`].
    Authenticate {
        /// The token.
        token: String,
        /// Up to this number the device says it has stored everything.
        acknowledged: u64,
    },
    /// Take this message; answer [`Input::Accepted`] or [`Input::Refused`], once.
    Submit {
        /// What it is.
        kind: Kind,
        /// The message.
        submission: Submission,
    },
    /// Read the mailbox; answer [`Input::Read`], once.
    Read {
        /// Only what has a number above this.
        after: u64,
        /// At most so many.
        items: u32,
        /// With at most so many bytes of content; the largest content fits.
        bytes: u32,
    },
    /// Delete what the device has stored.
    Acknowledge(Acknowledge),
    /// Close the connection. Nothing follows.
    Close {
        /// One of [`close`].
        code: u16,
        /// For people; at most 123 bytes.
        reason: &'static str,
    },
}

/// A connection of a device.
#[derive(Debug, Clone)]
pub struct Session {
    now: Millis,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Nothing came yet, since then.
    Silent(Millis),
    /// The token is being judged; the connection is open since then.
    Opening(Millis),
    Open(Box<Standing>),
    Closed,
}

impl Session {
    /// A connection that was just opened.
    #[must_use]
    pub const fn new(now: Millis) -> Self {
        Self { now, state: State::Silent(now) }
    }

    /// Whether the shell is to read the next frame. Until then it leaves it in the socket.
    #[must_use]
    pub const fn listens(&self) -> bool {
        match &self.state {
            State::Silent(_) => true,
            State::Opening(_) | State::Closed => false,
            State::Open(standing) => standing.listens(),
        }
    }

    /// Whether the connection is to be closed, or was.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Takes what happened and appends what is to be done. A closed session does nothing.
    pub fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        if self.is_closed() {
            return;
        }
        match input {
            Input::Tick(now) => self.tick(now, out),
            Input::Malformed(error) => self.fail(error.code(), &error.to_string(), close::MALFORMED, "malformed", out),
            Input::NotAuthenticated(problem) => self.close(problem, close::NOT_AUTHENTICATED, "not authenticated", out),
            Input::Replaced => {
                self.fail(problem::REPLACED, "the device opened another session", close::REPLACED, "replaced", out);
            }
            Input::Authenticated { address, acknowledged } => self.open(address, acknowledged, out),
            Input::Frame(frame) => self.frame(frame, out),
            input => {
                if let State::Open(standing) = &mut self.state {
                    standing.step(input, out);
                }
            }
        }
    }

    fn tick(&mut self, now: Millis, out: &mut Vec<Output>) {
        self.now = now;
        if let State::Silent(since) | State::Opening(since) = self.state
            && now.0.saturating_sub(since.0) >= OPEN_WITHIN_MS
        {
            self.fail(problem::TIMED_OUT, "no session was opened in time", close::TIMED_OUT, "timed out", out);
        }
    }

    fn frame(&mut self, frame: ClientFrame, out: &mut Vec<Output>) {
        match (&mut self.state, frame) {
            (State::Silent(since), ClientFrame::Open(Open { token, acknowledged })) => {
                self.state = State::Opening(*since);
                out.push(Output::Authenticate { token, acknowledged });
            }
            (State::Silent(_), _) => {
                self.fail(problem::NOT_OPEN, "the first frame opens the session", close::MALFORMED, "not open", out);
            }
            (State::Open(standing), frame) => match standing.frame(frame, out) {
                Ok(()) => {}
                Err(Fault::OpenTwice) => {
                    self.fail(problem::OPEN_TWICE, "the session is open already", close::MALFORMED, "open already", out);
                }
                Err(Fault::TooMuch) => self.too_much(out),
            },
            // The shell does not read while the token is judged.
            (State::Opening(_) | State::Closed, _) => self.too_much(out),
        }
    }

    fn open(&mut self, address: Address, acknowledged: u64, out: &mut Vec<Output>) {
        if !matches!(self.state, State::Opening(_)) {
            return;
        }
        let (max_unacknowledged, max_frame) = (narrow(MAX_UNACKNOWLEDGED), narrow(MAX_FRAME));
        out.push(Output::Send(ServerFrame::Opened(Opened { address, time: self.now, acknowledged, max_unacknowledged, max_frame })));
        let mut standing = Standing::new(acknowledged);
        standing.advance(out);
        self.state = State::Open(Box::new(standing));
    }

    fn too_much(&mut self, out: &mut Vec<Output>) {
        self.fail(problem::TOO_MUCH, "more at once than the protocol allows", close::TOO_MUCH, "too much", out);
    }

    fn fail(&mut self, code: u32, message: &str, close: u16, reason: &'static str, out: &mut Vec<Output>) {
        self.close(Problem { code, message: message.to_owned() }, close, reason, out);
    }

    fn close(&mut self, problem: Problem, code: u16, reason: &'static str, out: &mut Vec<Output>) {
        out.push(Output::Send(ServerFrame::Error(problem)));
        out.push(Output::Close { code, reason });
        self.state = State::Closed;
    }
}

/// A count that is below every bound of this module.
fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Joins the answers to submissions that stand next to each other into frames of up to
/// [`MAX_ITEMS`]. A shell that has several answers at once steps through all of them first.
pub fn join(outputs: &mut Vec<Output>) {
    let mut joined: Vec<Output> = Vec::with_capacity(outputs.len());
    for output in outputs.drain(..) {
        match (joined.last_mut(), output) {
            (Some(Output::Send(ServerFrame::Accepted(before))), Output::Send(ServerFrame::Accepted(mut next)))
                if before.items.len() + next.items.len() <= MAX_ITEMS =>
            {
                before.items.append(&mut next.items);
            }
            (_, output) => joined.push(output),
        }
    }
    *outputs = joined;
}

#[cfg(test)]
mod tests;
