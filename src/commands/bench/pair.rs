//! Two people: one writes, the other receives and acknowledges, and both record what they did and heard.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use audit::Commitment;
use genesis::entropy;
use mailbox::frame::{Acknowledge, Content, Form, SeenEnvelope};
use mailbox::history::{self, Event};
use mailbox::{ClientFrame, ServerFrame, Submission};
use tendermint::Time;
use tokio::time::timeout;
use types::{Hash, Millis};
use uuid::Uuid;

use super::figures::Verdict;
use super::line::Line;
use super::people::{Guest, REGISTRATION};
use crate::failure::Failure;

/// What one message has, in bytes.
pub(super) const CONTENT: usize = 1_024;

/// How long a mailbox may take to say that it is empty.
const DRAINING: Duration = Duration::from_secs(60);

/// Two people who are not connected.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) from: Guest,
    pub(super) to: Guest,
    conversation: Hash,
    /// Up to this number the recipient has everything.
    acknowledged: u64,
}

/// A message on its way.
#[derive(Debug)]
struct Flight {
    sent: Instant,
    commitment: Commitment,
    accepted: Option<(Instant, SeenEnvelope)>,
    received: Option<Instant>,
}

/// A message that was accepted and received.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) sent: Instant,
    /// After which time it was accepted.
    pub(super) accepted: Duration,
    /// After which time it was received.
    pub(super) received: Duration,
    commitment: Commitment,
    envelope: SeenEnvelope,
}

impl Done {
    /// The name by which its proof is asked for.
    pub(super) fn leaf(&self) -> Hash {
        let SeenEnvelope { ciphertext, received, size_class, salt } = self.envelope;
        let sealed = audit::Envelope { ciphertext, received, size_class }.seal(&salt.0);
        audit::leaf::leaf(&self.commitment, &sealed)
    }
}

/// Two people who are connected.
#[derive(Debug)]
pub(super) struct Talk {
    pair: Pair,
    sender: Line,
    receiver: Line,
    flight: HashMap<Uuid, Flight>,
    done: Vec<Done>,
    history: Vec<Event>,
    messages: u64,
    refused: u64,
    /// The recipient has something to acknowledge.
    owes: bool,
    noise: blake3::OutputReader,
}

impl Pair {
    pub(super) fn new(from: Guest, to: Guest) -> Self {
        Self { from, to, conversation: Hash(entropy::bytes()), acknowledged: 0 }
    }

    /// The same people with tokens of today.
    pub(super) fn renewed(self, from: Guest, to: Guest) -> Self {
        Self { from, to, ..self }
    }

    /// Both connect.
    pub(super) async fn connect(self, url: &str) -> Result<Talk, Failure> {
        let mut history = Vec::new();
        let (sender, receiver) = self.lines(url, &mut history).await?;
        let noise = blake3::Hasher::new_keyed(&entropy::bytes()).finalize_xof();
        Ok(Talk {
            pair: self,
            sender,
            receiver,
            flight: HashMap::new(),
            done: Vec::new(),
            history,
            messages: 0,
            refused: 0,
            owes: false,
            noise,
        })
    }

    async fn lines(&self, url: &str, history: &mut Vec<Event>) -> Result<(Line, Line), Failure> {
        history.push(Event::Opened { by: self.from.address, acknowledged: 0 });
        history.push(Event::Opened { by: self.to.address, acknowledged: self.acknowledged });
        let sender = Line::open(url, &self.from, 0).await?;
        Ok((sender, Line::open(url, &self.to, self.acknowledged).await?))
    }
}

impl Talk {
    /// How many messages are not yet both accepted and received.
    pub(super) fn in_flight(&self) -> usize {
        self.flight.len()
    }

    /// How many were written.
    pub(super) const fn messages(&self) -> u64 {
        self.messages
    }

    /// What was finished since this was asked last.
    pub(super) fn take_done(&mut self) -> std::vec::Drain<'_, Done> {
        self.done.drain(..)
    }

    /// Writes a message; it leaves with [`Self::flush`].
    pub(super) async fn send(&mut self) -> Result<(), Failure> {
        let (mut content, mut commitment) = (vec![0; CONTENT], [0; 32]);
        self.noise.fill(&mut content);
        self.noise.fill(&mut commitment);
        let (message_id, commitment) = (Uuid::now_v7(), Commitment(Hash(commitment)));
        let (by, to, conversation_id) = (self.pair.from.address, self.pair.to.address, self.pair.conversation);
        let content =
            Content { device_id: to.device, registration_id: REGISTRATION, form: Form::Ratchet, encrypted_content: content.into() };
        let submission = Submission {
            message_id,
            conversation_id,
            recipient_id: to.did,
            contents: vec![content],
            own_contents: Vec::new(),
            content_hash: Some(commitment),
            timestamp: Millis::try_from(Time::now()).expect("the clock is past 1970"),
        };
        self.messages += 1;
        self.history.push(Event::Sent { by, message: message_id, conversation: conversation_id, to: vec![to] });
        let frame = ClientFrame::Send(submission);
        self.flight.insert(message_id, Flight { sent: Instant::now(), commitment, accepted: None, received: None });
        self.sender.put(&frame).await
    }

    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        self.sender.flush().await
    }

    /// Waits for a frame to either, takes it in, and acknowledges. Safe to drop and call again.
    pub(super) async fn hear(&mut self) -> Result<(), Failure> {
        self.acknowledge().await?;
        tokio::select! {
            frame = self.sender.hear() => self.told(frame?)?,
            frame = self.receiver.hear() => self.given(frame?)?,
        }
        self.acknowledge().await
    }

    async fn acknowledge(&mut self) -> Result<(), Failure> {
        if self.owes {
            let acknowledge = Acknowledge { upto: self.pair.acknowledged, also: Vec::new() };
            self.receiver.put(&ClientFrame::Acknowledge(acknowledge)).await?;
            self.owes = false;
            self.receiver.flush().await?;
        }
        Ok(())
    }

    /// What the sender hears.
    fn told(&mut self, frame: ServerFrame) -> Result<(), Failure> {
        let (by, now) = (self.pair.from.address, Instant::now());
        match frame {
            ServerFrame::Accepted(accepted) => {
                for item in accepted.items {
                    self.history.push(Event::Accepted { by, message: item.message_id });
                    let envelope = item.envelope.ok_or_else(|| Failure::Bench("a message was accepted without its envelope".to_owned()))?;
                    if let Some(flight) = self.flight.get_mut(&item.message_id) {
                        flight.accepted = Some((now, envelope));
                    }
                    self.settle(item.message_id);
                }
            }
            ServerFrame::Refused(refused) => {
                self.history.push(Event::Refused { by, message: refused.message_id });
                self.flight.remove(&refused.message_id);
                self.refused += 1;
            }
            ServerFrame::Empty(_) => self.history.push(Event::Drained { by }),
            ServerFrame::Error(problem) => return Err(refused(&problem)),
            // Nobody writes to the sender; a relay that is busy reads no faster for being told.
            ServerFrame::Received(_) | ServerFrame::SlowDown(_) | ServerFrame::PrekeysLow(_) | ServerFrame::Opened(_) => {}
        }
        Ok(())
    }

    /// What the recipient hears.
    fn given(&mut self, frame: ServerFrame) -> Result<(), Failure> {
        let (by, now) = (self.pair.to.address, Instant::now());
        match frame {
            ServerFrame::Received(received) => {
                for item in &received.items {
                    self.history.push(Event::Received {
                        by,
                        sequence: item.sequence,
                        message: item.message_id,
                        conversation: item.conversation_id,
                        from: mailbox::Address { did: item.sender_id, device: item.sender_device_id },
                    });
                    if let Some(flight) = self.flight.get_mut(&item.message_id) {
                        flight.received = Some(now);
                    }
                    self.settle(item.message_id);
                    self.pair.acknowledged = self.pair.acknowledged.max(item.sequence);
                }
                self.history.push(Event::Acknowledged { by, upto: self.pair.acknowledged, also: Vec::new() });
                self.owes = true;
            }
            ServerFrame::Empty(_) => self.history.push(Event::Drained { by }),
            ServerFrame::Error(problem) => return Err(refused(&problem)),
            // Nothing was sent from here, so nothing is answered.
            ServerFrame::Accepted(_)
            | ServerFrame::Refused(_)
            | ServerFrame::SlowDown(_)
            | ServerFrame::PrekeysLow(_)
            | ServerFrame::Opened(_) => {}
        }
        Ok(())
    }

    fn settle(&mut self, message: Uuid) {
        let std::collections::hash_map::Entry::Occupied(flight) = self.flight.entry(message) else { return };
        if flight.get().accepted.is_none() || flight.get().received.is_none() {
            return;
        }
        if let Flight { sent, commitment, accepted: Some((accepted, envelope)), received: Some(received) } = flight.remove() {
            self.done.push(Done { sent, accepted: accepted - sent, received: received - sent, commitment, envelope });
        }
    }

    /// Hangs up, and connects once more until both mailboxes say that they are empty: what was accepted and has
    /// not come by then was lost. Adds what the history shows.
    pub(super) async fn part(mut self, url: &str, verdict: &mut Verdict) -> Result<Pair, Failure> {
        let (sender, receiver) = self.pair.lines(url, &mut self.history).await?;
        // The older sessions are replaced by then.
        let (before, after) = (std::mem::replace(&mut self.sender, sender), std::mem::replace(&mut self.receiver, receiver));
        drop((before, after));
        let from = self.history.len();
        let drained = |history: &[Event]| history[from..].iter().filter(|event| matches!(event, Event::Drained { .. })).count() >= 2;
        let draining = async {
            while !drained(&self.history) {
                self.hear().await?;
            }
            Ok::<_, Failure>(())
        };
        timeout(DRAINING, draining).await.map_err(|_| Failure::Bench("a mailbox does not say that it is empty".to_owned()))??;
        tokio::join!(self.sender.close(), self.receiver.close());
        let (events, violations) = (self.history.len() as u64, history::check(&self.history));
        verdict.add(Verdict { messages: self.messages, events, refused: self.refused, violations });
        Ok(self.pair)
    }
}

fn refused(problem: &mailbox::frame::Problem) -> Failure {
    Failure::Bench(format!("the relay closed a session: error {}: {}", problem.code, problem.message))
}
