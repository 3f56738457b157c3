//! Devices, a relay and what goes wrong between them.

use std::collections::{BTreeMap, BTreeSet};

use audit::Commitment;
use identity::Did;
use mailbox::Encoding;
use mailbox::frame::{Address, Content, Form, Kind, Submission};
use mailbox::history::Event;
use mailbox::intake::Devices;
use types::{Hash, Millis};
use uuid::Uuid;

use crate::device::Device;
use crate::dice::Dice;
use crate::relay::{Bug, Relay};

/// Identity and how many devices it has.
const IDENTITIES: [(u8, u16); 3] = [(1, 2), (2, 3), (3, 1)];

/// The most steps that the world may take to come to rest.
const REST: usize = 2_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Faults {
    /// Everything, at any step.
    Often,
    Never,
    /// The relay crashes at this step, and nothing else goes wrong.
    RelayAt(u64),
}

pub(crate) struct World {
    dice: Dice,
    faults: Faults,
    steps: u64,
    relay: Relay,
    devices: Vec<Device>,
    connections: u64,
    /// What the devices recorded.
    pub(crate) events: Vec<Event>,
    pub(crate) written: u64,
    pub(crate) crashes: u64,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults, bug: Option<Bug>) -> Self {
        let (mut devices, mut directory) = (Vec::new(), BTreeMap::new());
        for (number, count) in IDENTITIES {
            let did = Did([number; 32]);
            directory.insert(did, Devices((1..=count).map(|device| (device, registration(device))).collect()));
            for device in 1..=count {
                let encoding = if devices.len() % 2 == 0 { Encoding::Cbor } else { Encoding::Json };
                devices.push(Device::new(Address { did, device }, encoding));
            }
        }
        let relay = Relay::new(directory, bug);
        Self { dice: Dice(seed), faults, steps: 0, relay, devices, connections: 0, events: Vec::new(), written: 0, crashes: 0 }
    }

    /// One thing happens.
    pub(crate) fn step(&mut self) {
        self.steps += 1;
        match self.faults {
            Faults::Often if self.dice.one_in(60) => return self.fault(),
            Faults::RelayAt(step) if step == self.steps => return self.crash(),
            _ => {}
        }
        let which = self.dice.below(self.devices.len());
        match self.dice.below(20) {
            0 => self.write(which),
            1 => self.connect(which),
            2..=4 => drop(self.send(which)),
            5..=7 => drop(self.hear(which)),
            8 | 9 => drop(self.devices[which].store(&mut self.dice)),
            10 => drop(self.acknowledge(which)),
            11..=13 => self.relay_hears(),
            14 => drop(self.relay.form(&mut self.dice)),
            15 => drop(self.relay.sync()),
            16 | 17 => drop(self.relay.answer(&mut self.dice)),
            _ => drop(self.relay.read(&mut self.dice)),
        }
    }

    fn relay_hears(&mut self) {
        // Any connection, also one that its device has left: what was in the wire still arrives.
        let numbers: Vec<u64> = self.relay.connections.keys().copied().collect();
        if !numbers.is_empty() {
            let number = numbers[self.dice.below(numbers.len())];
            self.relay.hear(number, &mut self.dice);
        }
    }

    fn fault(&mut self) {
        let which = self.dice.below(self.devices.len());
        match self.dice.below(4) {
            0 => self.crash(),
            // The device loses its connection, and the relay does not notice.
            1 => self.devices[which].disconnect(),
            // Both do, with whatever was on its way.
            2 => {
                if let Some(number) = self.devices[which].connection {
                    self.relay.connections.remove(&number);
                }
                self.devices[which].disconnect();
            }
            // A part of what was on its way to the relay is lost with the connection.
            _ => {
                if let Some(connection) = self.devices[which].connection.and_then(|number| self.relay.connections.get_mut(&number)) {
                    let keep = self.dice.below(connection.inbound.len() + 1);
                    connection.inbound.truncate(keep);
                }
                self.devices[which].disconnect();
            }
        }
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.relay.crash();
        for device in &mut self.devices {
            device.disconnect();
        }
    }

    fn connect(&mut self, which: usize) {
        if self.devices[which].connection.is_none() {
            self.connections += 1;
            let number = self.connections;
            self.relay.connect(number, self.devices[which].encoding);
            let frame = self.devices[which].open(number, &mut self.events);
            self.put(which, frame);
        }
    }

    fn put(&mut self, which: usize, frame: Vec<u8>) {
        if let Some(connection) = self.devices[which].connection.and_then(|number| self.relay.connections.get_mut(&number)) {
            connection.inbound.push_back(frame);
        }
    }

    fn send(&mut self, which: usize) -> bool {
        let frame = self.devices[which].send(&mut self.events);
        frame.map(|frame| self.put(which, frame)).is_some()
    }

    fn acknowledge(&mut self, which: usize) -> bool {
        let frame = self.devices[which].acknowledge(&mut self.events);
        frame.map(|frame| self.put(which, frame)).is_some()
    }

    fn hear(&mut self, which: usize) -> bool {
        let connection = self.devices[which].connection.and_then(|number| self.relay.connections.get_mut(&number));
        let frame = connection.and_then(|connection| connection.outbound.pop_front());
        frame.map(|frame| self.devices[which].hear(&frame, &mut self.events)).is_some()
    }

    /// A person writes, or a device has a receipt to send.
    fn write(&mut self, which: usize) {
        let from = self.devices[which].address;
        let (number, count) = IDENTITIES[self.dice.below(IDENTITIES.len())];
        let recipient_id = Did([number; 32]);
        let size = if self.dice.one_in(40) { 60_000 } else { 1 + self.dice.below(100) };
        let content = |device_id: u16| Content {
            device_id,
            registration_id: registration(device_id),
            form: Form::Ratchet,
            encrypted_content: vec![1; size].into(),
        };
        let own = IDENTITIES.into_iter().find(|(own, _)| Did([*own; 32]) == from.did).map_or(0, |(_, count)| count);
        let others = (1..=own).filter(|device| *device != from.device);
        let (contents, own_contents) = if recipient_id == from.did {
            (others.map(content).collect(), vec![])
        } else {
            ((1..=count).map(content).collect(), others.map(content).collect())
        };
        let kind = [Kind::Message, Kind::Message, Kind::Delivered, Kind::Read][self.dice.below(4)];
        let device = &mut self.devices[which];
        device.database.written += 1;
        self.written += 1;
        let submission = Submission {
            message_id: id(self.written),
            conversation_id: Hash([number.max(from.did.0[0]) * 16 + number.min(from.did.0[0]); 32]),
            recipient_id,
            contents,
            own_contents,
            content_hash: (kind == Kind::Message).then_some(Commitment(Hash([8; 32]))),
            timestamp: Millis(1_790_000_000_000 + self.written),
        };
        device.database.outbox.push_back((kind, submission));
    }

    /// Nothing goes wrong any more: everything is sent, fetched and acknowledged; then every device
    /// opens a last session and finds nothing.
    pub(crate) fn rest(&mut self) {
        self.faults = Faults::Never;
        for round in 0.. {
            self.settle();
            let done = self.relay.is_empty() && self.devices.iter().all(|device| device.database.outbox.is_empty());
            // A planted bug may leave something for ever.
            if round > 20 || (done && round > 0) {
                break;
            }
            for device in &mut self.devices {
                device.disconnect();
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..REST {
            let mut moved = false;
            for which in 0..self.devices.len() {
                self.connect(which);
                moved |= self.send(which);
                moved |= self.hear(which);
                moved |= self.devices[which].store(&mut self.dice);
                moved |= self.acknowledge(which);
            }
            for number in self.relay.connections.keys().copied().collect::<Vec<u64>>() {
                moved |= self.relay.hear(number, &mut self.dice);
            }
            moved |= self.relay.form(&mut self.dice) | self.relay.sync();
            moved |= self.relay.answer(&mut self.dice) | self.relay.read(&mut self.dice);
            if !moved {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// By the devices' databases, not by the checker: every message is in that of each device that it
    /// was for, nothing else is, and nothing is left.
    pub(crate) fn assert_all_arrived(&self, seed: u64) {
        let mut due: BTreeMap<Address, BTreeSet<(Address, Uuid)>> = BTreeMap::new();
        for event in &self.events {
            if let Event::Sent { by, message, to, .. } = event {
                for device in to {
                    due.entry(*device).or_default().insert((*by, *message));
                }
            }
        }
        for device in &self.devices {
            assert_eq!(device.database.shown, due.remove(&device.address).unwrap_or_default(), "seed {seed}: {:?}", device.address);
            assert!(device.database.outbox.is_empty(), "seed {seed}: every message was answered");
        }
        assert!(self.relay.is_empty(), "seed {seed}: everything was acknowledged");
    }

    /// How many items came more than once.
    pub(crate) fn repeats(&self) -> usize {
        let mut seen = BTreeSet::new();
        let received = self.events.iter().filter_map(|event| match event {
            Event::Received { by, sequence, .. } => Some((*by, *sequence)),
            _ => None,
        });
        received.filter(|item| !seen.insert(*item)).count()
    }
}

fn registration(device: u16) -> u32 {
    1_000 + u32::from(device)
}

/// A UUID of version 7.
fn id(number: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] = 0x80;
    Uuid::from_bytes(bytes)
}
