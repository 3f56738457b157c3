//! A device as a client should be: an outbox that is sent again until it is answered, a database that
//! is written before it acknowledges, and repeats known by their id.

use std::collections::{BTreeSet, VecDeque};

use mailbox::frame::{Acknowledge, Address, ClientFrame, Delivery, Kind, MAX_SELECTED, Open, ServerFrame, Submission};
use mailbox::history::Event;
use mailbox::queue::Ahead;
use mailbox::{Encoding, wire};
use types::Encode as _;
use uuid::Uuid;

use crate::dice::Dice;

/// What a crash leaves.
#[derive(Default)]
pub(crate) struct Database {
    acknowledged: u64,
    beyond: BTreeSet<u64>,
    /// Everything that was shown, by sender and id.
    pub(crate) shown: BTreeSet<(Address, Uuid)>,
    /// Not answered yet, in order.
    pub(crate) outbox: VecDeque<(Kind, Submission)>,
    pub(crate) written: u64,
}

pub(crate) struct Device {
    pub(crate) address: Address,
    pub(crate) encoding: Encoding,
    pub(crate) database: Database,
    /// The connection, and whether the session stands.
    pub(crate) connection: Option<u64>,
    opened: bool,
    /// How much of the outbox was sent in this session.
    sent: usize,
    /// Came and is not in the database yet.
    received: VecDeque<Delivery>,
    /// Whether the database has something to acknowledge.
    news: bool,
}

impl Device {
    pub(crate) fn new(address: Address, encoding: Encoding) -> Self {
        let database = Database::default();
        Self { address, encoding, database, connection: None, opened: false, sent: 0, received: VecDeque::new(), news: false }
    }

    /// The first frame of a new connection.
    pub(crate) fn open(&mut self, connection: u64, events: &mut Vec<Event>) -> Vec<u8> {
        self.disconnect();
        self.connection = Some(connection);
        let acknowledged = self.database.acknowledged;
        events.push(Event::Opened { by: self.address, acknowledged });
        self.frame(&ClientFrame::Open(Open { token: hex::encode(self.address.to_bytes()), acknowledged }))
    }

    /// The connection is gone. What came and was not stored will come again.
    pub(crate) fn disconnect(&mut self) {
        (self.connection, self.opened, self.sent, self.news) = (None, false, 0, false);
        self.received.clear();
    }

    fn frame(&self, frame: &ClientFrame) -> Vec<u8> {
        wire::encode(self.encoding, frame)
    }

    /// The next message of the outbox.
    pub(crate) fn send(&mut self, events: &mut Vec<Event>) -> Option<Vec<u8>> {
        let (kind, submission) = self.database.outbox.get(self.sent).filter(|_| self.opened)?;
        let theirs = submission.contents.iter().map(|content| Address { did: submission.recipient_id, device: content.device_id });
        let ours = submission.own_contents.iter().map(|content| Address { did: self.address.did, device: content.device_id });
        let (message, conversation) = (submission.message_id, submission.conversation_id);
        events.push(Event::Sent { by: self.address, message, conversation, to: theirs.chain(ours).collect() });
        self.sent += 1;
        let frame = match kind {
            Kind::Message => ClientFrame::Send(submission.clone()),
            Kind::Delivered => ClientFrame::Delivered(submission.clone()),
            Kind::Read => ClientFrame::Read(submission.clone()),
        };
        Some(self.frame(&frame))
    }

    pub(crate) fn hear(&mut self, bytes: &[u8], events: &mut Vec<Event>) {
        let by = self.address;
        match wire::decode_server(self.encoding, bytes).expect("a relay's frame") {
            ServerFrame::Opened(opened) => {
                assert_eq!(opened.address, self.address);
                self.opened = true;
                self.advance(opened.acknowledged);
            }
            ServerFrame::Accepted(accepted) => {
                for item in accepted.items {
                    events.push(Event::Accepted { by, message: item.message_id });
                    if let Some(at) = self.database.outbox.iter().position(|(_, submission)| submission.message_id == item.message_id) {
                        self.database.outbox.remove(at);
                        self.sent -= usize::from(at < self.sent);
                    }
                }
            }
            // Tried again in the next session.
            ServerFrame::Refused(refused) => events.push(Event::Refused { by, message: refused.message_id }),
            ServerFrame::Received(received) => {
                for item in received.items {
                    let from = Address { did: item.sender_id, device: item.sender_device_id };
                    let (sequence, message, conversation) = (item.sequence, item.message_id, item.conversation_id);
                    events.push(Event::Received { by, sequence, message, conversation, from });
                    self.received.push_back(item);
                }
            }
            ServerFrame::Empty(_) => events.push(Event::Drained { by }),
            ServerFrame::SlowDown(_) | ServerFrame::PrekeysLow(_) => {}
            ServerFrame::Error(problem) => {
                if problem.code == Ahead::CODE {
                    (self.database.acknowledged, self.database.beyond) = (0, BTreeSet::new());
                }
                self.disconnect();
            }
        }
    }

    fn advance(&mut self, upto: u64) {
        let database = &mut self.database;
        database.acknowledged = database.acknowledged.max(upto);
        while database.beyond.remove(&(database.acknowledged + 1)) {
            database.acknowledged += 1;
        }
        database.beyond = database.beyond.split_off(&(database.acknowledged + 1));
    }

    /// Writes one of what came, mostly the first, to the database.
    pub(crate) fn store(&mut self, dice: &mut Dice) -> bool {
        let at = if dice.one_in(4) { dice.below(self.received.len()) } else { 0 };
        let Some(item) = self.received.remove(at) else { return false };
        self.database.shown.insert((Address { did: item.sender_id, device: item.sender_device_id }, item.message_id));
        if item.sequence > self.database.acknowledged {
            self.database.beyond.insert(item.sequence);
        }
        self.advance(0);
        self.news = true;
        true
    }

    /// Acknowledges what the database has.
    pub(crate) fn acknowledge(&mut self, events: &mut Vec<Event>) -> Option<Vec<u8>> {
        if !self.news || !self.opened {
            return None;
        }
        self.news = false;
        let also: Vec<u64> = self.database.beyond.iter().take(MAX_SELECTED).copied().collect();
        let upto = self.database.acknowledged;
        events.push(Event::Acknowledged { by: self.address, upto, also: also.clone() });
        Some(self.frame(&ClientFrame::Acknowledge(Acknowledge { upto, also })))
    }
}
