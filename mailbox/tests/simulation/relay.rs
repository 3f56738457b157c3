//! The model of a relay's shell: sessions over a store that commits in groups.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use identity::Did;
use mailbox::envelope::Stored;
use mailbox::frame::{AcceptedItem, Acknowledge, Address, Delivery, Kind, Problem, Refusal, Refused, Submission};
use mailbox::intake::{self, Devices};
use mailbox::queue::{Ahead, Queue};
use mailbox::session::{Input, Output, join};
use mailbox::{Encoding, Session, wire};
use types::{Decode as _, Encode as _, Hash, Millis};
use uuid::Uuid;

use crate::dice::Dice;

/// What a relay may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Items are given out of a group that is not synced yet.
    DeliverBeforeCommit,
    /// The sender hears before the sync.
    AcceptBeforeStore,
    /// The queues' heads are not in the write of their items.
    NumbersNotStored,
    /// The ids of messages are in memory only.
    IdsNotStored,
    /// Items are deleted when they were read.
    DeleteOnDelivery,
    /// A read leaves out its first item now and then.
    SkipOnRead,
    /// A group is worked off from its end.
    GroupReversed,
    /// Acknowledgements change nothing.
    AcknowledgementsForgotten,
}

/// What a crash leaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    mailboxes: BTreeMap<Address, Mailbox>,
    ids: BTreeMap<(Address, Uuid), Hash>,
}

#[derive(Debug, Clone, Default)]
struct Mailbox {
    head: Option<Vec<u8>>,
    items: BTreeMap<u64, Rc<Vec<u8>>>,
}

impl Mailbox {
    fn queue(&self) -> Queue {
        self.head.as_ref().map(|bytes| Queue::from_bytes(bytes).expect("a head that was stored")).unwrap_or_default()
    }

    /// Carries out a change of the head, with its deletions.
    fn change<E>(
        &mut self,
        change: impl FnOnce(&mut Queue, &BTreeMap<u64, Rc<Vec<u8>>>) -> Result<mailbox::queue::Deletions, E>,
    ) -> Result<Queue, E> {
        let mut queue = self.queue();
        let deletions = change(&mut queue, &self.items)?;
        for number in deletions.numbers() {
            self.items.remove(&number);
        }
        self.head = Some(queue.to_bytes());
        Ok(queue)
    }
}

/// The bytes of an item; none only where a planted bug lost it.
fn size(items: &BTreeMap<u64, Rc<Vec<u8>>>) -> impl FnMut(u64) -> u64 {
    |number| items.get(&number).map_or(0, |bytes| bytes.len() as u64)
}

enum Job {
    Submit { connection: u64, from: Address, kind: Kind, submission: Box<Submission> },
    Acknowledge { of: Address, acknowledge: Acknowledge },
    Resume { connection: u64, of: Address, claimed: u64 },
}

/// A formed group: the disk as it will be, and what is to be said then.
struct Group {
    disk: Disk,
    answers: Vec<(u64, Input)>,
    woken: Vec<Address>,
}

/// A connection as the relay has it.
pub(crate) struct Connection {
    session: Session,
    pub(crate) encoding: Encoding,
    address: Option<Address>,
    /// On its way to the relay.
    pub(crate) inbound: VecDeque<Vec<u8>>,
    /// On its way to the device.
    pub(crate) outbound: VecDeque<Vec<u8>>,
}

pub(crate) struct Relay {
    pub(crate) disk: Disk,
    /// Heads as they were some syncs ago, for a planted bug.
    old_heads: Vec<(Address, Option<Vec<u8>>)>,
    syncs: u64,
    jobs: VecDeque<Job>,
    group: Option<Group>,
    answers: VecDeque<(u64, Input)>,
    reads: VecDeque<(u64, Address, u64, u32, u32)>,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) directory: BTreeMap<Did, Devices>,
    bug: Option<Bug>,
    now: Millis,
}

impl Relay {
    pub(crate) fn new(directory: BTreeMap<Did, Devices>, bug: Option<Bug>) -> Self {
        Self {
            disk: Disk::default(),
            old_heads: Vec::new(),
            syncs: 0,
            jobs: VecDeque::new(),
            group: None,
            answers: VecDeque::new(),
            reads: VecDeque::new(),
            connections: BTreeMap::new(),
            directory,
            bug,
            now: Millis(1_790_000_000_000),
        }
    }

    pub(crate) fn connect(&mut self, number: u64, encoding: Encoding) {
        let session = Session::new(self.now);
        let (inbound, outbound) = (VecDeque::new(), VecDeque::new());
        self.connections.insert(number, Connection { session, encoding, address: None, inbound, outbound });
    }

    /// Everything but the disk is gone.
    pub(crate) fn crash(&mut self) {
        let mut left = Self::new(std::mem::take(&mut self.directory), self.bug);
        left.disk = std::mem::take(&mut self.disk);
        match self.bug {
            Some(Bug::IdsNotStored) => left.disk.ids.clear(),
            Some(Bug::NumbersNotStored) => {
                for (address, head) in self.old_heads.drain(..) {
                    left.disk.mailboxes.entry(address).or_default().head = head;
                }
            }
            _ => {}
        }
        *self = left;
    }

    /// Hears one frame of a connection, if its session listens.
    pub(crate) fn hear(&mut self, number: u64, dice: &mut Dice) -> bool {
        let Some(connection) = self.connections.get_mut(&number) else { return false };
        if !connection.session.listens() {
            return false;
        }
        let Some(bytes) = connection.inbound.pop_front() else { return false };
        let input = match wire::decode_client(connection.encoding, &bytes) {
            Ok(frame) => Input::Frame(frame),
            Err(error) => Input::Malformed(error),
        };
        self.step(number, input, dice);
        true
    }

    fn step(&mut self, number: u64, input: Input, dice: &mut Dice) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let mut outputs = Vec::new();
        connection.session.step(input, &mut outputs);
        join(&mut outputs);
        for output in outputs {
            self.carry_out(number, output, dice);
        }
    }

    fn carry_out(&mut self, number: u64, output: Output, dice: &mut Dice) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match output {
            Output::Send(frame) => connection.outbound.push_back(wire::encode(connection.encoding, &frame)),
            Output::Authenticate { token, acknowledged } => {
                let of = Address::from_bytes(&hex::decode(token).expect("a token of the test")).expect("an address");
                connection.address = Some(of);
                // The newer session of a device wins.
                let older: Vec<u64> = self
                    .connections
                    .iter()
                    .filter(|(other, at)| **other != number && at.address == Some(of))
                    .map(|(other, _)| *other)
                    .collect();
                for older in older {
                    self.step(older, Input::Replaced, dice);
                }
                self.jobs.push_back(Job::Resume { connection: number, of, claimed: acknowledged });
            }
            Output::Submit { kind, submission } => {
                let from = connection.address.expect("the session stands");
                // A limit, now and then.
                if dice.one_in(50) {
                    let refused = Refused { message_id: submission.message_id, refusal: Refusal::TooMany { retry_after_ms: 33 } };
                    self.answers.push_back((number, Input::Refused(refused)));
                } else {
                    self.jobs.push_back(Job::Submit { connection: number, from, kind, submission: Box::new(submission) });
                }
            }
            Output::Read { after, items, bytes } => {
                self.reads.push_back((number, connection.address.expect("the session stands"), after, items, bytes));
            }
            Output::Acknowledge(acknowledge) => {
                self.jobs.push_back(Job::Acknowledge { of: connection.address.expect("the session stands"), acknowledge });
            }
            // What was sent before the end may still arrive.
            Output::Close { .. } => connection.inbound.clear(),
        }
    }

    /// Takes what waits into a group: nothing of it is on disk yet.
    pub(crate) fn form(&mut self, dice: &mut Dice) -> bool {
        if self.group.is_some() || self.jobs.is_empty() {
            return false;
        }
        let take = 1 + dice.below(self.jobs.len());
        let mut jobs: Vec<Job> = self.jobs.drain(..take).collect();
        if self.bug == Some(Bug::GroupReversed) {
            jobs.reverse();
        }
        let mut group = Group { disk: self.disk.clone(), answers: Vec::new(), woken: Vec::new() };
        for job in jobs {
            self.work(job, &mut group);
        }
        if self.bug == Some(Bug::AcceptBeforeStore) {
            self.answers.extend(group.answers.drain(..));
        }
        if self.bug == Some(Bug::DeliverBeforeCommit) {
            let woken = std::mem::take(&mut group.woken);
            self.wake(&woken);
        }
        self.group = Some(group);
        true
    }

    fn work(&self, job: Job, group: &mut Group) {
        match job {
            Job::Submit { connection, from, kind, submission } => {
                let message_id = submission.message_id;
                let answer = match self.submit(from, kind, &submission, group) {
                    Ok(()) => Input::Accepted(AcceptedItem { message_id, envelope: None }),
                    Err(refusal) => Input::Refused(Refused { message_id, refusal }),
                };
                group.answers.push((connection, answer));
            }
            Job::Acknowledge { of, acknowledge } => {
                if self.bug != Some(Bug::AcknowledgementsForgotten) {
                    let mailbox = group.disk.mailboxes.entry(of).or_default();
                    let change =
                        |queue: &mut Queue, items: &_| Ok::<_, ()>(queue.acknowledge(acknowledge.upto, &acknowledge.also, size(items)));
                    mailbox.change(change).expect("it cannot be refused");
                }
            }
            Job::Resume { connection, of, claimed } => {
                let claimed = if self.bug == Some(Bug::AcknowledgementsForgotten) { 0 } else { claimed };
                let resumed = group.disk.mailboxes.entry(of).or_default().change(|queue, items| queue.resume(claimed, size(items)));
                let answer = match resumed {
                    Ok(queue) => Input::Authenticated { address: of, acknowledged: queue.acknowledged() },
                    Err(ahead) => Input::NotAuthenticated(Problem { code: Ahead::CODE, message: ahead.to_string() }),
                };
                group.answers.push((connection, answer));
            }
        }
    }

    fn submit(&self, from: Address, kind: Kind, submission: &Submission, group: &mut Group) -> Result<(), Refusal> {
        let name = (from, submission.message_id);
        let fingerprint = intake::fingerprint(kind, submission);
        if let Some(known) = group.disk.ids.get(&name) {
            return if *known == fingerprint { Ok(()) } else { Err(Refusal::IdReused) };
        }
        let none = Devices::default();
        let devices = |did: &Did| self.directory.get(did).unwrap_or(&none);
        intake::check(&from, kind, submission, devices(&submission.recipient_id), devices(&from.did))?;
        for (to, stored) in intake::deliveries(&from, kind, submission, self.now, None) {
            let bytes = stored.to_bytes();
            let mailbox = group.disk.mailboxes.entry(to).or_default();
            let mut queue = mailbox.queue();
            let number = queue.push(bytes.len() as u64).map_err(|_| Refusal::Full { did: to.did })?;
            mailbox.head = Some(queue.to_bytes());
            mailbox.items.insert(number, Rc::new(bytes));
            group.woken.push(to);
        }
        group.disk.ids.insert(name, fingerprint);
        Ok(())
    }

    /// The group is on disk. From here on a crash loses none of it, whoever has heard.
    pub(crate) fn sync(&mut self) -> bool {
        let Some(group) = self.group.take() else { return false };
        if self.syncs.is_multiple_of(8) {
            self.old_heads = self.disk.mailboxes.iter().map(|(address, mailbox)| (*address, mailbox.head.clone())).collect();
        }
        self.syncs += 1;
        self.disk = group.disk;
        self.answers.extend(group.answers);
        self.wake(&group.woken);
        true
    }

    fn wake(&mut self, woken: &[Address]) {
        let awake = self.connections.iter().filter(|(_, connection)| connection.address.is_some_and(|address| woken.contains(&address)));
        let numbers: Vec<u64> = awake.map(|(number, _)| *number).collect();
        self.answers.extend(numbers.into_iter().map(|number| (number, Input::Available)));
    }

    /// Tells one session one thing.
    pub(crate) fn answer(&mut self, dice: &mut Dice) -> bool {
        let Some((number, input)) = self.answers.pop_front() else { return false };
        self.step(number, input, dice);
        true
    }

    /// Answers one read, out of what is on disk.
    pub(crate) fn read(&mut self, dice: &mut Dice) -> bool {
        let Some((number, of, after, items, bytes)) = self.reads.pop_front() else { return false };
        let disk = match &self.group {
            Some(group) if self.bug == Some(Bug::DeliverBeforeCommit) => &group.disk,
            _ => &self.disk,
        };
        let mut found: Vec<Delivery> = Vec::new();
        let (mut left, mut more) = (bytes as usize, false);
        for (sequence, bytes) in disk.mailboxes.get(&of).into_iter().flat_map(|mailbox| mailbox.items.range(after + 1..)) {
            let delivery = Stored::from_bytes(bytes).expect("it was stored").delivery(*sequence);
            let size = delivery.encrypted_content.0.len();
            if found.len() == items as usize || size > left {
                more = true;
                break;
            }
            left -= size;
            found.push(delivery);
        }
        if self.bug == Some(Bug::SkipOnRead) && found.len() > 1 && dice.one_in(10) {
            found.remove(0);
        }
        if self.bug == Some(Bug::DeleteOnDelivery) {
            let mailbox = self.disk.mailboxes.entry(of).or_default();
            let upto = found.last().map_or(0, |item| item.sequence);
            mailbox.change(|queue, items| Ok::<_, ()>(queue.acknowledge(upto, &[], size(items)))).expect("it cannot be refused");
        }
        self.step(number, Input::Read { items: found, more }, dice);
        true
    }

    /// Whether everything that was stored was fetched.
    pub(crate) fn is_empty(&self) -> bool {
        self.disk.mailboxes.values().all(|mailbox| mailbox.items.is_empty() && mailbox.queue().items() == 0 && mailbox.queue().bytes() == 0)
    }
}
