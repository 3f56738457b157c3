//! Proofs of the node's own kind of tree, and what is done to them.

use jmt::mock::MockTreeStore;
use jmt::{KeyHash, Sha256Jmt};
use sha2::Sha256;

use super::*;
use crate::Verified;
use crate::testing::{Chain, State, validators};

/// A header over a state of some entries, in the node's kind of tree and in the tests'.
struct World {
    store: MockTreeStore,
    verified: Verified,
    state: State,
}

impl World {
    fn new(count: u32) -> Self {
        let (store, mut state) = (MockTreeStore::default(), State::default());
        let mut changes = Vec::new();
        for (key, value) in (0..count).map(|number| (name(number), value(number))) {
            store.put_key_preimage(KeyHash::with::<Sha256>(&key), &key);
            state.insert(&key, &value);
            changes.push((KeyHash::with::<Sha256>(&key), Some(value)));
        }
        let (root, batch) = Sha256Jmt::new(&store).put_value_set(changes, 0).expect("the tree takes entries");
        store.write_tree_update_batch(batch).expect("the store takes nodes");
        assert_eq!(state.root(), Hash(root.0), "the trees agree over {count} entries");
        let (chain, set) = (Chain::new("zynk-test-1"), validators(&[1, 2, 3, 4]));
        let verified = chain.genesis(&set).accept(&chain.block(5, Hash(root.0), &set, &set)).expect("an honest block");
        Self { store, verified, state }
    }

    fn proof(&self, key: &[u8]) -> Vec<u8> {
        Sha256Jmt::new(&self.store).get_with_ics23_proof(key.to_vec(), 0).expect("the tree proves").1.encode_to_vec()
    }

    /// What the proof, bent, says about the key: its value, nothing, or a code.
    fn entry(&self, key: &[u8], bend: impl FnOnce(&mut CommitmentProof)) -> Result<Option<Vec<u8>>, u32> {
        let mut proof = CommitmentProof::decode(self.proof(key).as_slice()).expect("a proof");
        bend(&mut proof);
        self.verified.entry(key, &proof.encode_to_vec()).map_err(|error| error.code())
    }
}

fn name(number: u32) -> Vec<u8> {
    format!("key/{number}").into_bytes()
}

fn value(number: u32) -> Vec<u8> {
    format!("value {number}").into_bytes()
}

#[test]
fn our_description_of_the_tree_is_its_own() {
    assert_eq!(spec(), jmt::ics23_spec());
}

#[test]
fn every_entry_is_proven_in_both_forms() {
    for count in (1..20).chain([30, 300]) {
        let world = World::new(count);
        for number in 0..count {
            let (key, proof) = (name(number), world.proof(&name(number)));
            assert_eq!(world.verified.entry(&key, &proof), Ok(Some(value(number))), "entry {number} of {count}");
            let compact = StateProof::from_ics23(&key, &proof).expect("it has a compact form");
            assert_eq!(compact, world.state.prove(&key), "the proof of the tests' tree is the same");
            assert_eq!(world.verified.read(&key, &compact), Ok(Some(value(number).as_slice())));
            assert_eq!(StateProof::from_bytes(&compact.to_bytes()), Ok(compact));
        }
    }
}

#[test]
fn absence_is_proven() {
    for count in (1..20).chain([30, 300]) {
        let world = World::new(count);
        for number in 1000..1020 {
            let (key, proof) = (name(number), world.proof(&name(number)));
            assert_eq!(world.verified.entry(&key, &proof), Ok(None), "key {number} beside {count}");
            let absent = StateProof::from_ics23(&key, &proof).expect("a proof of absence");
            assert_eq!(world.verified.read(&key, &absent), Ok(None));
            assert_eq!(StateProof::from_bytes(&absent.to_bytes()), Ok(absent));
        }
    }
}

#[test]
fn a_proof_is_of_one_key_and_one_root() {
    let (world, other) = (World::new(30), World::new(31));
    let (here, there) = (world.proof(&name(3)), world.proof(&name(1000)));
    let entry = |key: u32, proof: &[u8]| world.verified.entry(&name(key), proof).map_err(|error| error.code());
    assert_eq!(entry(4, &here), Err(1016), "a present entry for another key");
    assert_eq!(entry(1001, &there), Err(1016), "an absent key for another");
    assert_eq!(entry(3, &other.proof(&name(3))), Err(1017), "another state's entry");
    assert_eq!(entry(1000, &other.proof(&name(1000))), Err(1017), "another state's absence");
    let compact = StateProof::from_ics23(&name(3), &here).expect("it has a compact form");
    assert_eq!(world.verified.read(&name(4), &compact).map_err(|error| error.code()), Err(1017), "compact, for another key");
    let absent = StateProof::from_ics23(&name(1000), &there).expect("a proof of absence");
    assert_eq!(world.verified.read(&name(1001), &absent).map_err(|error| error.code()), Err(1016), "absence of another key");
    let disguised = StateProof::Absent(here.try_into().expect("it is short"));
    assert_eq!(world.verified.read(&name(3), &disguised).map_err(|error| error.code()), Err(1016), "presence as absence");
}

#[test]
fn bent_proofs() {
    let world = World::new(30);
    let exist = |bend: &dyn Fn(&mut ExistenceProof)| {
        world.entry(&name(3), |proof| match &mut proof.proof {
            Some(Proof::Exist(exist)) => bend(exist),
            _ => panic!("a present entry"),
        })
    };
    let deeper = InnerOp { hash: HashOp::Sha256.into(), prefix: INNER.to_vec(), suffix: vec![0; 32] };
    assert_eq!(exist(&|_| ()), Ok(Some(value(3))));
    assert_eq!(exist(&|proof| proof.value = b"another".to_vec()), Err(1017), "another value");
    assert_eq!(exist(&|proof| proof.value.clear()), Err(1017), "no value");
    assert_eq!(exist(&|proof| drop(proof.path.pop())), Err(1016), "a sibling missing at the root turns the others");
    assert_eq!(exist(&|proof| drop(proof.path.remove(0))), Err(1017), "a sibling missing at the leaf");
    assert_eq!(exist(&|proof| proof.path.insert(0, deeper.clone())).map_err(|code| code / 10), Err(101), "a sibling too many");
    assert_eq!(exist(&|proof| proof.path = vec![deeper.clone(); 257]), Err(1016), "more siblings than bits");
    assert_eq!(exist(&|proof| proof.leaf = None), Err(1016), "no leaf");
    assert_eq!(exist(&|proof| proof.leaf.get_or_insert_default().prefix.push(0)), Err(1016), "a longer leaf prefix");
    assert_eq!(exist(&|proof| proof.path[0].hash = HashOp::Sha512.into()), Err(1016), "another hash");
    assert_eq!(exist(&|proof| proof.path[0].suffix.extend([0; 32])), Err(1016), "two siblings in one step");

    let absent = |bend: &dyn Fn(&mut NonExistenceProof)| {
        world.entry(&name(1000), |proof| match &mut proof.proof {
            Some(Proof::Nonexist(absent)) => bend(absent),
            _ => panic!("an absent key"),
        })
    };
    assert_eq!(absent(&|_| ()), Ok(None));
    assert_eq!(absent(&|proof| proof.key.clear()), Err(1016), "no key named");
    assert_eq!(absent(&|proof| proof.left = None), Err(1017), "no neighbour on the left");
    assert_eq!(absent(&|proof| proof.right = None), Err(1017), "no neighbour on the right");
    assert_eq!(absent(&|proof| std::mem::swap(&mut proof.left, &mut proof.right)), Err(1017), "neighbours swapped");
    assert_eq!(absent(&|proof| proof.left.clone_from(&proof.right)), Err(1017), "one neighbour twice");
    assert_eq!(absent(&|proof| drop((proof.left.take(), proof.right.take()))), Err(1017), "no neighbour");
}

#[test]
fn an_entry_cannot_be_hidden_behind_distant_neighbours() {
    let world = World::new(30);
    let exist = |number: u32| match CommitmentProof::decode(world.proof(&name(number)).as_slice()).expect("a proof").proof {
        Some(Proof::Exist(exist)) => exist,
        _ => panic!("a present entry"),
    };
    let mut order: Vec<u32> = (0..30).collect();
    order.sort_by_key(|number| Hash::sha256(&[&name(*number)]));
    for three in order.windows(3) {
        let hidden = NonExistenceProof { key: name(three[1]), left: Some(exist(three[0])), right: Some(exist(three[2])) };
        let proof = CommitmentProof { proof: Some(Proof::Nonexist(hidden)) }.encode_to_vec();
        assert_eq!(world.verified.entry(&name(three[1]), &proof).map_err(|error| error.code()), Err(1017));
    }
}

#[test]
fn no_bit_of_a_proof_can_be_flipped() {
    let world = World::new(30);
    for (key, expected) in [(name(3), Some(value(3))), (name(1000), None)] {
        let bytes = world.proof(&key);
        assert_eq!(world.verified.entry(&key, &bytes), Ok(expected));
        each_change(&bytes, |changed| world.verified.entry(&key, changed).is_ok());
        let compact = StateProof::from_ics23(&key, &bytes).expect("it has a compact form").to_bytes();
        each_change(&compact, |changed| StateProof::from_bytes(changed).is_ok_and(|proof| world.verified.read(&key, &proof).is_ok()));
    }
}

fn each_change(bytes: &[u8], believed: impl Fn(&[u8]) -> bool) {
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!believed(&flipped), "bit {} of byte {} flipped", bit % 8, bit / 8);
    }
    for end in 0..bytes.len() {
        assert!(!believed(&bytes[..end]), "cut to {end} bytes");
    }
    assert!(!believed(&[bytes, &[0]].concat()), "a byte too many");
}

#[test]
fn what_is_not_a_proof() {
    let world = World::new(3);
    let entry = |proof: &[u8]| world.verified.entry(b"key/1", proof).map_err(|error| error.code());
    assert_eq!(entry(&[]), Err(1016), "nothing");
    assert_eq!(entry(&[0xff; 40]), Err(1016), "no protobuf");
    assert_eq!(entry(&vec![0; MAX_PROOF + 1]), Err(1016), "too long");
    let batch = CommitmentProof { proof: Some(Proof::Batch(ics23::BatchProof { entries: Vec::new() })) };
    assert_eq!(entry(&batch.encode_to_vec()), Err(1016), "a batch");
    let unknown_field = [world.proof(b"key/1"), vec![0x28, 1]].concat();
    assert_eq!(entry(&unknown_field), Err(1016), "a field that nobody knows");
}

#[test]
fn a_compact_step_takes_32_bytes() {
    let world = World::new(300);
    let StateProof::Present { value, path } = world.state.prove(&name(7)) else { panic!("a present entry") };
    let bytes = world.state.prove(&name(7)).to_bytes().len();
    assert_eq!(bytes, 3 + value.len() + 32 * path.len());
    assert!(bytes + 16 * path.len() < world.proof(&name(7)).len());
}
