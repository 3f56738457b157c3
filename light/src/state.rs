//! Proofs of what the state held at a key.
//!
//! The state is a Jellyfish Merkle tree with SHA-256 (`jmt`), and its ICS-23 proofs are what the RPC
//! gives. For a present entry an ICS-23 proof repeats in every step what the key already says; the
//! compact form keeps the value and the sibling hashes. It is judged by rebuilding the ICS-23 proof
//! and asking the `ics23` crate, so that one verifier decides over both forms.

use ics23::commitment_proof::Proof;
use ics23::{
    CommitmentProof, ExistenceProof, HashOp, HostFunctionsManager, InnerOp, InnerSpec, LeafOp, LengthOp, NonExistenceProof, ProofSpec,
};
use prost_ics23::Message as _;
use serde::{Deserialize, Serialize};
use types::{Blob, Decode, DecodeError, Encode, Hash, List, Reader};

use crate::Error;

/// How long an ICS-23 proof may be, in bytes: two neighbours of 4 KiB each, with their paths, fit.
pub const MAX_PROOF: usize = 16 * 1024;
/// How many siblings a path may have: one for each bit of a key's hash.
pub const MAX_PATH: usize = 256;

const LEAF: &[u8] = b"JMT::LeafNode";
// The misspelling is the tree's.
const INNER: &[u8] = b"JMT::IntrnalNode";
const EMPTY: &[u8] = b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

/// A proof of what the state held at one key, which the reader names.
///
/// Bytes: 1, value, list of siblings; or 0, ICS-23 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StateProof {
    /// The key was there.
    Present {
        /// Its value, never empty.
        value: Blob<MAX_PROOF>,
        /// The siblings from the leaf up to the root.
        path: List<Hash, MAX_PATH>,
    },
    /// The key was not there: an ICS-23 `CommitmentProof` with the entries on both its sides.
    Absent(Blob<MAX_PROOF>),
}

impl StateProof {
    /// Reads an ICS-23 `CommitmentProof` about `key`, and checks its shape, not yet its root.
    ///
    /// # Errors
    /// [`Error::ProofForm`] when it is too long, not canonical protobuf, about another key, a batch or
    /// compressed, or not of this tree's shape.
    pub fn from_ics23(key: &[u8], bytes: &[u8]) -> Result<Self, Error> {
        match decode(bytes)? {
            Proof::Exist(exist) if exist.key == key => compact(&exist),
            Proof::Nonexist(absent) => {
                check_absent(key, &absent)?;
                Ok(Self::Absent(bytes.to_vec().try_into().map_err(|_| TOO_LONG)?))
            }
            Proof::Exist(_) => Err(Error::ProofForm("is about another key")),
            Proof::Batch(_) | Proof::Compressed(_) => Err(Error::ProofForm("is a batch or compressed")),
        }
    }

    /// The value at the key, or `None` when the proof is one of absence. Not yet believed.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Present { value, .. } => Some(value),
            Self::Absent(_) => None,
        }
    }

    /// Whether the proof leads from `key` to `root`.
    ///
    /// # Errors
    /// [`Error::ProofForm`] when an absence proof cannot be read.
    pub fn leads_from(&self, key: &[u8], root: &Hash) -> Result<bool, Error> {
        let root = root.0.to_vec();
        match self {
            Self::Present { value, path } => {
                let proof = CommitmentProof { proof: Some(Proof::Exist(existence(key, value, path))) };
                Ok(ics23::verify_membership::<HostFunctionsManager>(&proof, &spec(), &root, key, value))
            }
            Self::Absent(bytes) => {
                let Proof::Nonexist(absent) = decode(bytes)? else {
                    return Err(Error::ProofForm("is not one of absence"));
                };
                check_absent(key, &absent)?;
                let proof = CommitmentProof { proof: Some(Proof::Nonexist(absent)) };
                Ok(ics23::verify_non_membership::<HostFunctionsManager>(&proof, &spec(), &root, key))
            }
        }
    }
}

impl Encode for StateProof {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Absent(bytes) => {
                out.push(0);
                bytes.encode(out);
            }
            Self::Present { value, path } => {
                out.push(1);
                value.encode(out);
                path.encode(out);
            }
        }
    }
}

impl Decode for StateProof {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::Absent(Blob::decode(reader)?)),
            1 => Ok(Self::Present { value: Blob::decode(reader)?, path: List::decode(reader)? }),
            found => Err(DecodeError::Tag { what: "state proof", found }),
        }
    }
}

const TOO_LONG: Error = Error::ProofForm("is longer than 16 KiB");

/// The ICS-23 description of the tree: our copy, so that no version of `jmt` can loosen it.
pub(crate) fn spec() -> ProofSpec {
    ProofSpec {
        leaf_spec: Some(leaf()),
        inner_spec: Some(InnerSpec {
            child_order: vec![0, 1],
            child_size: 32,
            min_prefix_length: 16,
            max_prefix_length: 16,
            empty_child: EMPTY.to_vec(),
            hash: HashOp::Sha256.into(),
        }),
        max_depth: 64,
        min_depth: 0,
        prehash_key_before_comparison: true,
    }
}

fn leaf() -> LeafOp {
    LeafOp {
        hash: HashOp::Sha256.into(),
        prehash_key: HashOp::Sha256.into(),
        prehash_value: HashOp::Sha256.into(),
        length: LengthOp::NoPrefix.into(),
        prefix: LEAF.to_vec(),
    }
}

fn decode(bytes: &[u8]) -> Result<Proof, Error> {
    if bytes.len() > MAX_PROOF {
        return Err(TOO_LONG);
    }
    let proof = CommitmentProof::decode(bytes).map_err(|_| Error::ProofForm("is not an ICS-23 proof"))?;
    // Protobuf has many spellings of one message; a proof has one.
    if proof.encode_to_vec() != bytes {
        return Err(Error::ProofForm("is not in its canonical bytes"));
    }
    proof.proof.ok_or(Error::ProofForm("is empty"))
}

/// The compact form of a proof of existence, if it is of this tree's shape.
fn compact(exist: &ExistenceProof) -> Result<StateProof, Error> {
    const SHAPE: Error = Error::ProofForm("is not of this tree's shape");
    let siblings: Option<Vec<Hash>> = exist.path.iter().map(sibling).collect();
    let path: List<Hash, MAX_PATH> = siblings.ok_or(SHAPE)?.try_into().map_err(|_| SHAPE)?;
    if existence(&exist.key, &exist.value, &path) != *exist {
        return Err(SHAPE);
    }
    Ok(StateProof::Present { value: exist.value.clone().try_into().map_err(|_| TOO_LONG)?, path })
}

/// ICS-23 leaves the named key of an absence proof unread and is lax about prefixes; we are not.
fn check_absent(key: &[u8], absent: &NonExistenceProof) -> Result<(), Error> {
    if absent.key != key {
        return Err(Error::ProofForm("is about another key"));
    }
    absent.left.iter().chain(&absent.right).try_for_each(|neighbour| compact(neighbour).map(drop))
}

fn sibling(step: &InnerOp) -> Option<Hash> {
    let bytes = if step.suffix.is_empty() { step.prefix.strip_prefix(INNER)? } else { &step.suffix };
    bytes.try_into().ok().map(Hash)
}

/// The ICS-23 proof that the compact form stands for. `path`: siblings, leaf to root.
fn existence(key: &[u8], value: &[u8], path: &[Hash]) -> ExistenceProof {
    let place = Hash::sha256(&[key]);
    let steps = path.iter().zip((0..path.len()).rev());
    ExistenceProof {
        key: key.to_vec(),
        value: value.to_vec(),
        leaf: Some(leaf()),
        path: steps.map(|(sibling, depth)| step(sibling, bit(&place, depth))).collect(),
    }
}

fn step(sibling: &Hash, on_the_right: bool) -> InnerOp {
    let (prefix, suffix) = if on_the_right { ([INNER, &sibling.0].concat(), Vec::new()) } else { (INNER.to_vec(), sibling.0.to_vec()) };
    InnerOp { hash: HashOp::Sha256.into(), prefix, suffix }
}

/// Bit `depth` of a key's hash, the root's first: 1 goes right.
fn bit(place: &Hash, depth: usize) -> bool {
    place.0.get(depth / 8).is_some_and(|byte| byte >> (7 - depth % 8) & 1 == 1)
}

#[cfg(test)]
mod tests;
