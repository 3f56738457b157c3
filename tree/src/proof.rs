//! What a version holds, and proofs of it that verifiers of others can judge (ICS-23).

use ics23::commitment_proof::Proof;
use ics23::{CommitmentProof, ExistenceProof, HashOp, InnerOp, LeafOp, LengthOp, NonExistenceProof};
use types::Hash;

use crate::hash::{self, bit, nibble};
use crate::name::{PageId, Path};
use crate::page::{Body, Child, Leaf, count, halves, hash_of_leaves, hash_of_slots};
use crate::{Error, Read, record};

/// The value of `key` in `version`.
///
/// # Errors
/// When there is no such version, or the stored tree is not whole.
pub fn get(reader: &impl Read, version: u64, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let place = hash::place(key);
    let mut siblings = Vec::new();
    let leaf = climb(reader, version, &place, &mut siblings)?;
    leaf.map(|leaf| entry(reader, &leaf).map(|(_, value)| value)).transpose()
}

/// The value of `key` in `version` with its ICS-23 proof: of presence, or of absence with the entries on both sides.
///
/// # Errors
/// As [`get`]; [`Error::Empty`] when the version has no entry, which ICS-23 cannot say.
pub fn prove(reader: &impl Read, version: u64, key: &[u8]) -> Result<(Option<Vec<u8>>, CommitmentProof), Error> {
    let place = hash::place(key);
    if let Some(exist) = existence(reader, version, &place)? {
        return Ok((Some(exist.value.clone()), CommitmentProof { proof: Some(Proof::Exist(exist)) }));
    }
    let beside = |side| {
        let found = neighbour(reader, PageId::root(version), Some(&place), side)?;
        found.map(|leaf| existence(reader, version, &leaf.place)).transpose().map(Option::flatten)
    };
    let (left, right) = (beside(Side::Left)?, beside(Side::Right)?);
    if left.is_none() && right.is_none() {
        return Err(Error::Empty);
    }
    let absent = NonExistenceProof { key: key.to_vec(), left, right };
    Ok((None, CommitmentProof { proof: Some(Proof::Nonexist(absent)) }))
}

/// Goes from the root down to the leaf of `place`, if there is one, and notes the siblings on the way, the root's
/// children first.
fn climb(reader: &impl Read, version: u64, place: &Hash, siblings: &mut Vec<Hash>) -> Result<Option<Leaf>, Error> {
    let mut id = PageId::root(version);
    loop {
        let page = reader.page(&id)?;
        let depth = id.path.depth();
        match &page.body {
            Body::Bucket(leaves) => return Ok(climb_bucket(leaves, 4 * depth, place, siblings)),
            Body::Inner(slots) => {
                let slot = nibble(place, depth);
                let Some(child) = slots[slot] else { return Ok(None) };
                climb_slots(slots.as_slice(), 4 * depth, place, siblings);
                id = PageId { version: child.version, path: id.path.child(slot) };
            }
        }
    }
}

fn climb_bucket(mut leaves: &[Leaf], mut depth: usize, place: &Hash, siblings: &mut Vec<Hash>) -> Option<Leaf> {
    while leaves.len() > 1 {
        let (left, right) = halves(leaves, depth);
        let (own, other) = if bit(place, depth) { (right, left) } else { (left, right) };
        depth += 1;
        siblings.push(hash_of_leaves(other, depth));
        leaves = own;
    }
    leaves.first().filter(|leaf| leaf.place == *place).copied()
}

fn climb_slots(mut slots: &[Option<Child>], mut depth: usize, place: &Hash, siblings: &mut Vec<Hash>) {
    // A subtree of one leaf has no nodes: nothing is beside it.
    while slots.len() > 1 && count(slots) > 1 {
        let (left, right) = slots.split_at(slots.len() / 2);
        let (own, other) = if bit(place, depth) { (right, left) } else { (left, right) };
        depth += 1;
        siblings.push(hash_of_slots(other));
        slots = own;
    }
}

/// Where to look for the next leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// The leaf of the subtree of page `id` that is next to `place` on this side of it; without a place, all of the subtree is
/// on that side.
fn neighbour(reader: &impl Read, id: PageId, place: Option<&Hash>, side: Side) -> Result<Option<Leaf>, Error> {
    let page = reader.page(&id)?;
    let slots = match &page.body {
        Body::Bucket(leaves) => {
            return Ok(match side {
                Side::Left => leaves.iter().rfind(|leaf| place.is_none_or(|place| leaf.place < *place)),
                Side::Right => leaves.iter().find(|leaf| place.is_none_or(|place| leaf.place > *place)),
            }
            .copied());
        }
        Body::Inner(slots) => slots,
    };
    let own = place.map(|place| nibble(place, id.path.depth()));
    if let Some(slot) = own
        && let Some(child) = &slots[slot]
        && let Some(found) = neighbour(reader, below(&id.path, slot, child), place, side)?
    {
        return Ok(Some(found));
    }
    // All leaves of the children beyond its own slot are on one side.
    let taken = |slot: usize| slots[slot].map(|child| below(&id.path, slot, &child));
    let next = match side {
        Side::Left => (0..own.unwrap_or(slots.len())).rev().find_map(taken),
        Side::Right => (own.map_or(0, |own| own + 1)..slots.len()).find_map(taken),
    };
    next.map_or(Ok(None), |id| neighbour(reader, id, None, side))
}

fn below(path: &Path, slot: usize, child: &Child) -> PageId {
    PageId { version: child.version, path: path.child(slot) }
}

fn entry(reader: &impl Read, leaf: &Leaf) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let id = leaf.record();
    let bytes = reader.record(&id)?;
    let (key, value) = record::from_bytes(&bytes).map_err(|error| Error::BadRecord(id, error))?;
    Ok((key.to_vec(), value.to_vec()))
}

fn existence(reader: &impl Read, version: u64, place: &Hash) -> Result<Option<ExistenceProof>, Error> {
    let mut siblings = Vec::new();
    let Some(leaf) = climb(reader, version, place, &mut siblings)? else { return Ok(None) };
    let (key, value) = entry(reader, &leaf)?;
    let path = siblings.iter().enumerate().rev().map(|(depth, sibling)| step(sibling, bit(place, depth))).collect();
    Ok(Some(ExistenceProof { key, value, leaf: Some(leaf_op()), path }))
}

fn step(sibling: &Hash, on_the_right: bool) -> InnerOp {
    let (prefix, suffix) =
        if on_the_right { ([hash::INNER.as_slice(), &sibling.0].concat(), Vec::new()) } else { (hash::INNER.to_vec(), sibling.0.to_vec()) };
    InnerOp { hash: HashOp::Sha256.into(), prefix, suffix }
}

fn leaf_op() -> LeafOp {
    LeafOp {
        hash: HashOp::Sha256.into(),
        prehash_key: HashOp::Sha256.into(),
        prehash_value: HashOp::Sha256.into(),
        length: LengthOp::NoPrefix.into(),
        prefix: hash::LEAF.to_vec(),
    }
}
