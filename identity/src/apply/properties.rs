//! What holds for every run of operations.

use proptest::prelude::*;
use types::{Decode, Encode, Height};

use super::apply;
use crate::control::Control;
use crate::did::Did;
use crate::draft::Draft;
use crate::entry::{Entry, MAX_ENTRY_BYTES};
use crate::fixture::{HEIGHT, UNTIL, chain, create, genesis, key, life, put, services, set, signal};
use crate::operation::{Genesis, Operation, SignedOperation};

/// An owner who has all keys: each new key takes the next seed.
struct Owner {
    did: Did,
    entry: Entry,
    /// The seeds of the control keys in force, of the next, and of the device keys by id.
    control: Vec<u8>,
    next: Vec<u8>,
    devices: Vec<(u16, u8)>,
    seed: u8,
    history: Vec<(SignedOperation, Option<Entry>)>,
}

#[derive(Debug, Clone)]
enum Wish {
    Update(usize),
    Add,
    Remove(prop::sample::Index),
    Leave(prop::sample::Index),
    Rotate(prop::sample::Index, bool),
    RotateControl { keys: u8, threshold: u8 },
    Deactivate,
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        2 => (0..3usize).prop_map(Wish::Update),
        4 => Just(Wish::Add),
        1 => any::<prop::sample::Index>().prop_map(Wish::Remove),
        1 => any::<prop::sample::Index>().prop_map(Wish::Leave),
        2 => any::<(prop::sample::Index, bool)>().prop_map(|(device, signed)| Wish::Rotate(device, signed)),
        1 => (1..4u8, 1..4u8).prop_map(|(keys, threshold)| Wish::RotateControl { keys, threshold: threshold.min(keys) }),
        1 => Just(Wish::Deactivate),
    ]
}

impl Owner {
    fn new() -> Self {
        let (control, next) = (vec![1], vec![2]);
        let genesis = Genesis { control: set(&control, 1), next_control: set(&next, 1).commitment(), ..genesis() };
        let first = create(genesis, &[11], &control);
        let entry = put(None, &first).expect("a valid creation");
        Self { did: first.did, entry, control, next, devices: vec![(1, 11)], seed: 100, history: vec![(first, None)] }
    }

    fn fresh(&mut self) -> u8 {
        self.seed += 1;
        self.seed
    }

    fn pick(&self, index: &prop::sample::Index) -> Option<(u16, u8)> {
        (!self.devices.is_empty()).then(|| *index.get(&self.devices))
    }

    fn draft(&self, operation: Operation) -> Draft {
        Draft::new(&chain(), &self.did, &self.entry, operation, UNTIL)
    }

    fn by(&self, draft: Draft, seeds: &[u8], threshold: u8) -> SignedOperation {
        (0..threshold).zip(seeds).fold(draft, |draft, (place, seed)| draft.sign(place, &key(*seed))).finish().expect("few")
    }

    /// The operation of a wish, or `None` where there is nothing to wish for.
    fn make(&mut self, wish: &Wish) -> Option<SignedOperation> {
        let (control, threshold) = (self.control.clone(), self.entry.control.threshold);
        let draft = match wish {
            Wish::Update(count) => {
                let all = ["https://a.example", "https://b.example/zynk", "http://localhost:1"];
                self.draft(Operation::Update { services: services(&all[..*count]) })
            }
            Wish::Add if self.devices.len() == 16 => return None,
            Wish::Add => {
                let seed = self.fresh();
                self.devices.push((self.entry.next_device, seed));
                Draft::add_device(&chain(), &self.did, &self.entry, &key(seed), signal(seed), UNTIL)
            }
            Wish::Remove(index) => {
                let (device, _) = self.pick(index)?;
                self.devices.retain(|(id, _)| *id != device);
                self.draft(Operation::RemoveDevice { device })
            }
            Wish::Leave(index) => {
                let (device, seed) = self.pick(index)?;
                self.devices.retain(|(id, _)| *id != device);
                let draft = self.draft(Operation::RemoveDevice { device }).sign_as_device(device, &key(seed));
                return Some(draft.finish().expect("one signature"));
            }
            Wish::Rotate(index, proof) => {
                let (id, seed) = self.pick(index)?;
                let (to, proof) = (self.fresh(), proof.then(|| vec![1; 64].try_into().expect("64 bytes")));
                Draft::rotate_signal_key(&chain(), &self.did, &self.entry, (id, &key(seed)), signal(to), proof, UNTIL)
            }
            Wish::RotateControl { keys, threshold } => {
                let after: Vec<u8> = (0..*keys).map(|_| self.fresh()).collect();
                let revealed = self.revealed();
                let needed = revealed.threshold;
                let draft = self.draft(Operation::RotateControl {
                    control: revealed,
                    next_control: set(&after, *threshold).commitment(),
                    recovery: set(&[9], 1).recovery_commitment(),
                    recovery_delay: 600,
                });
                self.control = std::mem::replace(&mut self.next, after);
                return Some(self.by(draft, &self.control, needed));
            }
            Wish::Deactivate => {
                let revealed = self.revealed();
                let needed = revealed.threshold;
                self.devices.clear();
                return Some(self.by(self.draft(Operation::Deactivate { control: revealed }), &self.next, needed));
            }
        };
        Some(self.by(draft, &control, threshold))
    }

    /// The next set: whichever threshold it was committed with.
    fn revealed(&self) -> Control {
        (1..=8).map(|threshold| set(&self.next, threshold)).find(|set| set.commitment() == self.entry.next_control).expect("committed")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_run_keeps_the_invariants(wishes in prop::collection::vec(wish(), 1..24)) {
        let mut owner = Owner::new();
        for wish in &wishes {
            let Some(signed) = owner.make(wish) else { continue };
            let before = owner.entry.clone();
            let height = Height(HEIGHT.0 + before.sequence);
            let after = apply(Some(&before), &chain(), height, &signed).map_err(|error| TestCaseError::fail(format!("{wish:?}: {error}")))?;
            prop_assert_eq!(after.sequence, before.sequence + 1);
            prop_assert_eq!(after.last_operation, signed.hash(&chain()));
            prop_assert_eq!((after.created, after.updated), (before.created, height));
            prop_assert!(after.next_device >= before.next_device && after.devices.iter().all(|device| device.id < after.next_device));
            prop_assert!(after.devices.is_sorted_by(|one, other| one.id < other.id));
            prop_assert!(after.devices.iter().all(|device| device.is_bound(&chain(), &owner.did)));
            prop_assert!(after.control.check().is_ok());
            prop_assert_eq!(after.devices.iter().map(|device| device.id).collect::<Vec<_>>(), owner.devices.iter().map(|(id, _)| *id).collect::<Vec<_>>());
            let bytes = after.to_bytes();
            prop_assert!(bytes.len() <= MAX_ENTRY_BYTES);
            prop_assert_eq!(Entry::from_bytes(&bytes), Ok(after.clone()));
            prop_assert_eq!(SignedOperation::parse(&signed.to_bytes()), Ok(signed.clone()));
            owner.history.push((signed, Some(before)));
            owner.entry = after;
            for (earlier, _) in &owner.history {
                prop_assert!(apply(Some(&owner.entry), &chain(), height, earlier).is_err(), "a replay of {:?}", earlier.operation);
            }
            if owner.entry.is_deactivated() {
                break;
            }
        }
        // A history replayed from nothing gives the same entry: all that counts is in it.
        let mut entry = None;
        for (signed, before) in &owner.history {
            prop_assert_eq!(&entry, before);
            let height = entry.as_ref().map_or(HEIGHT, |entry: &Entry| Height(HEIGHT.0 + entry.sequence));
            entry = Some(apply(entry.as_ref(), &chain(), height, signed).expect("it held before"));
        }
        prop_assert_eq!(entry, Some(owner.entry));
    }

    #[test]
    fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(signed) = SignedOperation::parse(&bytes) {
            prop_assert_eq!(signed.to_bytes(), bytes.clone());
        }
        if let Ok(entry) = Entry::from_bytes(&bytes) {
            prop_assert_eq!(entry.to_bytes(), bytes);
        }
    }
}

/// Exhaustive: each bit of each kind of operation.
#[test]
fn a_flipped_bit_is_refused_wherever_it_is() {
    let mut before: Option<Entry> = None;
    for (name, signed, after) in life() {
        let bytes = signed.to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let applied = SignedOperation::parse(&flipped).and_then(|signed| put(before.as_ref(), &signed));
            assert!(applied.is_err(), "{name}: bit {bit}");
        }
        before = Some(after);
    }
}
