//! A session that stands: what it has given, what it waits for, what it reads next.

use std::collections::{BTreeMap, BTreeSet};

use super::{Input, MAX_AHEAD, MAX_SUBMISSIONS, MAX_UNACKNOWLEDGED, MAX_UNACKNOWLEDGED_BYTES, Output, narrow};
use crate::frame::{Accepted, Acknowledge, ClientFrame, Delivery, Empty, Kind, MAX_CONTENT, MAX_ITEMS, Received, ServerFrame, SlowDown};

/// A session that stands.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// Up to this number everything was read from the mailbox, or acknowledged.
    after: u64,
    /// What was given and not acknowledged, with the bytes of its content.
    given: BTreeMap<u64, usize>,
    /// The sum of them.
    given_bytes: usize,
    /// Whether a read is under way.
    reading: bool,
    /// What was acknowledged one by one and is above `after`: a read that began before it was
    /// deleted may still bring it.
    ahead: BTreeSet<u64>,
    /// Whether the mailbox may hold more than was read.
    pending: bool,
    /// Whether `queue.empty` was said.
    drained: bool,
    /// How many submissions wait for their answer.
    submissions: usize,
    overloaded: bool,
}

/// What a standing session does not take.
pub(super) enum Fault {
    /// `session.open` a second time.
    OpenTwice,
    /// More than a bound allows.
    TooMuch,
}

impl Standing {
    pub(super) const fn new(acknowledged: u64) -> Self {
        Self {
            after: acknowledged,
            given: BTreeMap::new(),
            given_bytes: 0,
            reading: false,
            ahead: BTreeSet::new(),
            pending: true,
            drained: false,
            submissions: 0,
            overloaded: false,
        }
    }

    /// Whether the next frame is to be read.
    pub(super) const fn listens(&self) -> bool {
        !self.overloaded && self.submissions < MAX_SUBMISSIONS
    }

    pub(super) fn frame(&mut self, frame: ClientFrame, out: &mut Vec<Output>) -> Result<(), Fault> {
        let (kind, submission) = match frame {
            ClientFrame::Open(_) => return Err(Fault::OpenTwice),
            ClientFrame::Acknowledge(acknowledge) => return self.acknowledge(acknowledge, out),
            ClientFrame::Send(submission) => (Kind::Message, submission),
            ClientFrame::Delivered(submission) => (Kind::Delivered, submission),
            ClientFrame::Read(submission) => (Kind::Read, submission),
        };
        if self.submissions >= MAX_SUBMISSIONS {
            return Err(Fault::TooMuch);
        }
        self.submissions += 1;
        out.push(Output::Submit { kind, submission });
        Ok(())
    }

    fn acknowledge(&mut self, acknowledge: Acknowledge, out: &mut Vec<Output>) -> Result<(), Fault> {
        let Acknowledge { upto, also } = &acknowledge;
        self.after = self.after.max(*upto);
        self.given.retain(|number, bytes| {
            let done = number <= upto || also.binary_search(number).is_ok();
            if done {
                self.given_bytes -= *bytes;
            }
            !done
        });
        self.ahead.extend(also);
        self.forget_passed();
        if self.ahead.len() > MAX_AHEAD {
            return Err(Fault::TooMuch);
        }
        out.push(Output::Acknowledge(acknowledge));
        self.advance(out);
        Ok(())
    }

    /// What only a standing session hears.
    pub(super) fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Accepted(item) => {
                self.submissions = self.submissions.saturating_sub(1);
                out.push(Output::Send(ServerFrame::Accepted(Accepted { items: vec![item] })));
            }
            Input::Refused(refused) => {
                self.submissions = self.submissions.saturating_sub(1);
                out.push(Output::Send(ServerFrame::Refused(refused)));
            }
            Input::Available => {
                self.pending = true;
                self.advance(out);
            }
            Input::Read { items, more } => self.read(items, more, out),
            Input::Overloaded { retry_after_ms } => {
                if !self.overloaded {
                    out.push(Output::Send(ServerFrame::SlowDown(SlowDown { retry_after_ms })));
                }
                self.overloaded = true;
            }
            Input::Relieved => self.overloaded = false,
            Input::PrekeysLow(low) => out.push(Output::Send(ServerFrame::PrekeysLow(low))),
            Input::Frame(_)
            | Input::Malformed(_)
            | Input::Authenticated { .. }
            | Input::NotAuthenticated(_)
            | Input::Replaced
            | Input::Tick(_) => {}
        }
    }

    fn read(&mut self, items: Vec<Delivery>, more: bool, out: &mut Vec<Output>) {
        if !self.reading {
            return;
        }
        self.reading = false;
        self.pending |= more;
        let mut fresh = Vec::with_capacity(items.len());
        for item in items {
            // At most once in a session, whatever the store answers; and not what the device
            // acknowledged while the store was reading.
            if item.sequence <= self.after {
                continue;
            }
            self.after = item.sequence;
            if !self.ahead.contains(&item.sequence) {
                self.given_bytes += item.encrypted_content.0.len();
                self.given.insert(item.sequence, item.encrypted_content.0.len());
                fresh.push(item);
            }
        }
        self.forget_passed();
        if !fresh.is_empty() {
            out.push(Output::Send(ServerFrame::Received(Received { items: fresh })));
        }
        self.advance(out);
    }

    /// What is not above `after` is never given again anyhow.
    fn forget_passed(&mut self) {
        self.ahead = self.ahead.split_off(&self.after.saturating_add(1));
    }

    /// Reads on where there is something to read and room for it; says once that there is nothing.
    pub(super) fn advance(&mut self, out: &mut Vec<Output>) {
        if self.reading {
            return;
        }
        if !self.pending {
            if !self.drained {
                self.drained = true;
                out.push(Output::Send(ServerFrame::Empty(Empty {})));
            }
            return;
        }
        let items = MAX_UNACKNOWLEDGED.saturating_sub(self.given.len()).min(MAX_ITEMS);
        let bytes = MAX_UNACKNOWLEDGED_BYTES.saturating_sub(self.given_bytes);
        // The largest content must fit, or a read could come back empty-handed for ever.
        if items == 0 || bytes < MAX_CONTENT {
            return;
        }
        self.reading = true;
        self.pending = false;
        out.push(Output::Read { after: self.after, items: narrow(items), bytes: narrow(bytes) });
    }
}
