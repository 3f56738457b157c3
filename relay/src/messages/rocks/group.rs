//! A group of writes on its way into one synced write.
//!
//! Each write sees what those before it in the group have done, though nothing of it is written yet.

use std::collections::{BTreeMap, HashMap};

use mailbox::frame::Acknowledge;
use mailbox::queue::{Deletions, Queue};
use mailbox::{Address, Refusal};
use types::{Encode as _, Millis};

use super::super::store::{Answer, Entry, Error, LogState, ON_THE_WAY, Recall, Seal, Sealed, Store as _, Write};
use super::columns::{Column, Copy, Known, Log, Seen, address_key, age_key, delivery_key, id_key, number};
use super::writing::Writing;
use super::{Rocks, decode};

/// The most leaves that one sweep lets go.
const FORGOTTEN_LEAVES: usize = 1 << 16;

pub(super) struct Group<'a> {
    rocks: &'a Rocks,
    writing: Writing<'a>,
    queues: BTreeMap<Address, Queue>,
    /// The sizes of copies of this group.
    fresh: HashMap<(Address, u64), u64>,
    /// Messages of this group.
    known: HashMap<[u8; 50], Known>,
    log: LogState,
    log_before: LogState,
}

impl<'a> Group<'a> {
    pub(super) fn new(rocks: &'a Rocks) -> Result<Self, Error> {
        let log = rocks.log()?;
        Ok(Self {
            rocks,
            writing: Writing::new(rocks),
            queues: BTreeMap::new(),
            fresh: HashMap::new(),
            known: HashMap::new(),
            log,
            log_before: log,
        })
    }

    pub(super) fn take(&mut self, write: &Write) -> Result<Answer, Error> {
        match write {
            Write::Submit(entry) => self.submit(entry),
            Write::Recall(recall) => self.recall(recall),
            Write::Resume { of, claimed } => self.resume(of, *claimed),
            Write::Acknowledge { of, acknowledge } => self.acknowledge(of, acknowledge),
            Write::Expire { before, most } => self.expire(*before, *most),
            Write::Seal(seal) => Ok(self.seal(seal)),
            Write::Complete { sequence, at } => self.complete(*sequence, *at),
            Write::Forget { before, most } => self.forget(*before, *most),
        }
    }

    /// What is to be written.
    pub(super) fn finish(mut self) -> Result<Writing<'a>, Error> {
        for (address, queue) in &self.queues {
            self.writing.put(Column::Heads, &address_key(address), &queue.to_bytes());
        }
        if self.log.leaves != self.log_before.leaves {
            self.writing.put(Column::Meta, b"leaves", &self.log.leaves.to_be_bytes());
        }
        if self.log.before != self.log_before.before {
            self.writing.put(Column::Meta, b"before", &self.log.before.to_be_bytes());
        }
        if (LogState { leaves: 0, ..self.log }) != (LogState { leaves: 0, ..self.log_before }) {
            self.writing.put(Column::Meta, b"log", &Log::from(&self.log).to_bytes());
        }
        Ok(self.writing)
    }

    fn submit(&mut self, entry: &Entry) -> Result<Answer, Error> {
        let id = id_key(&entry.from, &entry.message_id);
        if let Some(known) = self.known(&id)? {
            return Ok(if known.fingerprint == entry.fingerprint {
                Answer::Accepted(known.answer(entry.message_id))
            } else {
                Answer::Refused(Refusal::IdReused)
            });
        }
        // All numbers before any write: a message that does not fit one mailbox goes into none.
        let mut numbered = Vec::with_capacity(entry.copies.len());
        for (to, copy) in &entry.copies {
            let mut queue = self.queue(to)?;
            match queue.push(copy.len() as u64) {
                Ok(sequence) => numbered.push((to, queue, sequence, copy)),
                Err(_) => return Ok(Answer::Refused(Refusal::Full { did: to.did })),
            }
        }
        let mut copies = Vec::with_capacity(numbered.len());
        for (to, queue, sequence, copy) in numbered {
            self.writing.put(Column::Mailbox, &delivery_key(to, sequence), copy);
            self.fresh.insert((*to, sequence), copy.len() as u64);
            self.queues.insert(*to, queue);
            copies.push(Copy { to: *to, sequence });
        }
        let copies = copies.try_into().map_err(|_| Error::Corrupt { what: "a message with too many copies" })?;
        let known = Known { fingerprint: entry.fingerprint, seen: entry.answer.envelope.as_ref().map(Seen::from), copies };
        self.writing.put(Column::Ids, &id, &known.to_bytes());
        self.writing.put(Column::Ages, &age_key(entry.received, &id), &[]);
        self.known.insert(id, known);
        if let Some(leaf) = &entry.leaf {
            let place = self.log.leaves.to_be_bytes();
            self.writing.put(Column::Leaves, &place, &leaf.0);
            self.writing.put(Column::LeafIndex, &leaf.0, &place);
            self.log.leaves += 1;
        }
        Ok(Answer::Accepted(entry.answer.clone()))
    }

    fn recall(&self, recall: &Recall) -> Result<Answer, Error> {
        let known = self.known(&id_key(&recall.from, &recall.message_id))?;
        Ok(match known {
            Some(known) if known.fingerprint == recall.fingerprint => Answer::Accepted(known.answer(recall.message_id)),
            Some(_) => Answer::Refused(Refusal::IdReused),
            None => Answer::Refused(recall.otherwise.clone()),
        })
    }

    fn resume(&mut self, of: &Address, claimed: u64) -> Result<Answer, Error> {
        let changed = self.change(of, |queue, size| queue.resume(claimed, size))?;
        Ok(match changed {
            Ok(acknowledged) => Answer::Resumed { acknowledged },
            Err(ahead) => Answer::Ahead(ahead),
        })
    }

    fn acknowledge(&mut self, of: &Address, acknowledge: &Acknowledge) -> Result<Answer, Error> {
        let Acknowledge { upto, also } = acknowledge;
        let changed: Result<_, ()> = self.change(of, |queue, size| Ok(queue.acknowledge(*upto, also, size)))?;
        Ok(Answer::Resumed { acknowledged: changed.unwrap_or_default() })
    }

    /// Changes a queue and deletes what the change says. The number up to which nothing is stored then.
    fn change<E>(
        &mut self,
        of: &Address,
        change: impl FnOnce(&mut Queue, &mut dyn FnMut(u64) -> u64) -> Result<Deletions, E>,
    ) -> Result<Result<u64, E>, Error> {
        let before = self.queue(of)?;
        let mut queue = before.clone();
        let mut failed = None;
        let mut size = |sequence: u64| {
            self.size(of, sequence).unwrap_or_else(|error| {
                failed = Some(error);
                0
            })
        };
        let deleted = match change(&mut queue, &mut size) {
            Ok(deleted) => deleted,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some(error) = failed {
            return Err(error);
        }
        for sequence in deleted.numbers() {
            self.writing.delete(Column::Mailbox, &delivery_key(of, sequence));
        }
        let acknowledged = queue.acknowledged();
        if queue != before {
            self.queues.insert(*of, queue);
        }
        Ok(Ok(acknowledged))
    }

    fn size(&self, of: &Address, sequence: u64) -> Result<u64, Error> {
        if let Some(size) = self.fresh.get(&(*of, sequence)) {
            return Ok(*size);
        }
        let copy = self.rocks.get(Column::Mailbox, &delivery_key(of, sequence))?;
        copy.map(|copy| copy.len() as u64).ok_or(Error::Corrupt { what: "a mailbox without a message that it counts" })
    }

    fn expire(&mut self, before: Millis, most: usize) -> Result<Answer, Error> {
        // Begun after what was let go last, so that what was deleted is not walked over.
        let from = self.rocks.get(Column::Meta, b"swept")?.unwrap_or_default();
        let (rocks, mut done, mut more, mut last) = (self.rocks, 0, false, None);
        for entry in rocks.entries(Column::Ages, &from) {
            let (key, _) = entry?;
            let (received, id) = key.split_at(8);
            if number(received)? >= before.0 {
                break;
            }
            if done == most {
                more = true;
                break;
            }
            if let Some(known) = rocks.get(Column::Ids, id)? {
                let known: Known = decode(&known, "what is known of a message")?;
                for Copy { to, sequence } in known.copies.iter() {
                    let _: Result<u64, ()> = self.change(to, |queue, size| Ok(queue.expire(*sequence, size)))?;
                }
                self.writing.delete(Column::Ids, id);
            }
            self.writing.delete(Column::Ages, &key);
            done += 1;
            last = Some(key);
        }
        if let Some(last) = last {
            self.writing.put(Column::Meta, b"swept", &last);
        }
        Ok(Answer::Done { more })
    }

    fn seal(&mut self, seal: &Seal) -> Answer {
        let Seal { anchor, end, leaves } = seal;
        let (sequence, first) = (anchor.anchor.sequence, self.log.sealed_leaves);
        let follows = sequence == self.log.sealed + 1 && anchor.anchor.previous == self.log.last;
        if self.log.on_the_way() >= ON_THE_WAY || !follows || *end < first || *end > self.log.leaves {
            return Answer::OutOfOrder;
        }
        let key = self.log.number(sequence).to_be_bytes();
        let batch = Sealed { anchor: anchor.clone(), first, end: *end, anchored: None };
        self.writing.put(Column::Batches, &key, &batch.to_bytes());
        self.writing.put(Column::BatchLeaves, &key, &leaves.iter().flat_map(|leaf| leaf.0).collect::<Vec<u8>>());
        if first < *end {
            self.writing.put(Column::Ranges, &first.to_be_bytes(), &key);
        }
        for leaf in first..*end {
            self.writing.delete(Column::Leaves, &leaf.to_be_bytes());
        }
        self.log = LogState { sealed: sequence, last: anchor.anchor.hash(), closed: anchor.anchor.closed, sealed_leaves: *end, ..self.log };
        Answer::Done { more: false }
    }

    fn complete(&mut self, sequence: u64, at: Millis) -> Result<Answer, Error> {
        if !(self.log.anchored..=self.log.sealed).contains(&sequence) {
            return Ok(Answer::OutOfOrder);
        }
        for sequence in self.log.anchored + 1..=sequence {
            let (number, batch) = self.on_the_way(sequence)?;
            let key = number.to_be_bytes();
            if batch.first == batch.end {
                // Of padding only: nobody will ask for a path, and there is one every second.
                self.writing.delete(Column::Batches, &key);
                self.writing.delete(Column::BatchLeaves, &key);
            } else {
                self.writing.put(Column::Batches, &key, &Sealed { anchored: Some(at), ..batch }.to_bytes());
            }
        }
        self.log.anchored = sequence;
        Ok(Answer::Done { more: false })
    }

    /// See `Store::begin_log`. The first batch of the new log gets the number after the last one that was anchored.
    pub(super) fn begin_log(&mut self) -> Result<(), Error> {
        let (rocks, log) = (self.rocks, self.log);
        let mut sealed_leaves = log.sealed_leaves;
        for sequence in (log.anchored + 1..=log.sealed).rev() {
            let (number, batch) = self.on_the_way(sequence)?;
            for leaf in rocks.leaves(number)?.ok_or(Error::Corrupt { what: "a batch without its leaves" })? {
                // Padding has no place of its own, and goes.
                if let Some(place) = rocks.get(Column::LeafIndex, &leaf.0)? {
                    self.writing.put(Column::Leaves, &place, &leaf.0);
                }
            }
            self.writing.delete(Column::Ranges, &batch.first.to_be_bytes());
            self.writing.delete(Column::BatchLeaves, &number.to_be_bytes());
            self.writing.delete(Column::Batches, &number.to_be_bytes());
            sealed_leaves = batch.first;
        }
        self.log = LogState { before: log.number(log.anchored), sealed_leaves, leaves: log.leaves, ..LogState::default() };
        Ok(())
    }

    /// The number of a batch whose anchor is on its way, and the batch as it was sealed.
    fn on_the_way(&self, sequence: u64) -> Result<(u64, Sealed), Error> {
        let number = self.log.number(sequence);
        let batch = self.rocks.batch(number)?.ok_or(Error::Corrupt { what: "a batch that is on its way" })?;
        Ok((number, batch))
    }

    fn forget(&mut self, before: Millis, most: usize) -> Result<Answer, Error> {
        let from = self.rocks.meta("forgotten")? + 1;
        let (rocks, mut done, mut leaves, mut last) = (self.rocks, 0, 0, None);
        let mut more = false;
        for entry in rocks.entries(Column::Batches, &from.to_be_bytes()) {
            let (key, batch) = entry?;
            let batch: Sealed = decode(&batch, "a batch")?;
            if batch.anchored.is_none_or(|at| at >= before) {
                break;
            }
            if done == most || leaves >= FORGOTTEN_LEAVES {
                more = true;
                break;
            }
            for leaf in rocks.leaves(number(&key)?)?.unwrap_or_default() {
                self.writing.delete(Column::LeafIndex, &leaf.0);
                leaves += 1;
            }
            self.writing.delete(Column::Ranges, &batch.first.to_be_bytes());
            self.writing.delete(Column::BatchLeaves, &key);
            self.writing.delete(Column::Batches, &key);
            done += 1;
            last = Some(key);
        }
        if let Some(last) = last {
            self.writing.put(Column::Meta, b"forgotten", &last);
        }
        Ok(Answer::Done { more })
    }

    fn queue(&self, of: &Address) -> Result<Queue, Error> {
        self.queues.get(of).map_or_else(|| self.rocks.queue(of), |queue| Ok(queue.clone()))
    }

    fn known(&self, id: &[u8; 50]) -> Result<Option<Known>, Error> {
        match self.known.get(id) {
            Some(known) => Ok(Some(known.clone())),
            None => self.rocks.read_value(Column::Ids, id, "what is known of a message"),
        }
    }
}
