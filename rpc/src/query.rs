//! What our nodes serve through `abci_query`: paths, questions, answers.
//!
//! | path | data | value | height |
//! |---|---|---|---|
//! | [`STATE`] | a key of the state | the entry, and its proof if asked for | that of the state |
//! | [`ANCHOR`] | [`AnchorAt`] | [`AnchorProof`] | that of the state |
//! | [`HANDOFFS`] | [`ChangesFrom`] | [`Changes`] | the tip |
//!
//! Without a height (or with 0) the first two answer for the last provable state: H, where H+1 is
//! the tip, since header H+1 carries the application hash after H. [`STATE`] without a proof
//! answers for the newest state, after the tip.

use audit::{LogId, SignedAnchor};
use tendermint::merkle::proof::{ProofOp, ProofOps};
use types::{Decode, DecodeError, Encode, Hash, Height, List, Reader};

/// An entry of the state.
pub const STATE: &str = "/state";

/// An anchor and its place in the log of all anchors.
pub const ANCHOR: &str = "/anchor";

/// The heights at which the validators change.
pub const HANDOFFS: &str = "/handoffs";

/// The type of the one operation in a proof of [`STATE`]: an ICS-23 `CommitmentProof` of the
/// Jellyfish Merkle tree, as protobuf.
pub const PROOF_TYPE: &str = "ics23:jmt";

/// The codespace of [`Refusal`].
pub const CODESPACE: &str = "query";

/// How many heights one answer of [`HANDOFFS`] holds at most.
pub const MAX_CHANGES: usize = 1024;

/// How long a key of the state may be, in bytes.
pub const MAX_KEY: usize = 256;

/// Why a node refuses a query. The number stands in `response.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u32)]
pub enum Refusal {
    /// There is no such path.
    #[error("unknown path: /state, /anchor and /handoffs are served")]
    UnknownPath = 1,
    /// The data are not those of the path.
    #[error("malformed data for this path")]
    Malformed = 2,
    /// The height has not come yet, or is not provable yet.
    #[error("no provable state at this height yet")]
    FutureHeight = 3,
    /// The height is pruned away.
    #[error("the state at this height is kept no longer")]
    PrunedHeight = 4,
    /// The anchor is not in the log at this height; it may come.
    #[error("the anchor is not in the log at this height")]
    NotYet = 5,
    /// The anchor was taken, but this node does not keep it.
    #[error("this node does not keep the anchor")]
    NotKept = 6,
}

impl Refusal {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }
}

/// What [`ANCHOR`] is asked for: the log's id (32 bytes), then the sequence (8, big endian).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorAt {
    /// The log.
    pub log: LogId,
    /// The anchor's number in it, from 1.
    pub sequence: u64,
}

impl Encode for AnchorAt {
    fn encode(&self, out: &mut Vec<u8>) {
        self.log.encode(out);
        out.extend_from_slice(&self.sequence.to_be_bytes());
    }
}

impl Decode for AnchorAt {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { log: LogId::decode(reader)?, sequence: u64::from_be_bytes(reader.array()?) })
    }
}

/// What [`ANCHOR`] answers: the anchor, and the way from it to the root of the log of all anchors
/// as the state of `response.height` has it, at `anchors/head`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorProof {
    /// The anchor's place in the log of all anchors, from 0.
    pub index: u64,
    /// The size of that log.
    pub size: u64,
    /// The siblings from the anchor up to the root.
    pub path: List<Hash, { audit::log::MAX_PATH }>,
    /// The anchor.
    pub anchor: SignedAnchor,
}
types::codec!(AnchorProof { index, size, path, anchor });

/// What [`HANDOFFS`] is asked for: the first height to look at (8 bytes, big endian).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangesFrom(pub Height);

impl Encode for ChangesFrom {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.0.to_be_bytes());
    }
}

impl Decode for ChangesFrom {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(u64::from_be_bytes).map(Height).map(Self)
    }
}

/// What [`HANDOFFS`] answers: the heights, ascending, of the headers that name other next
/// validators than their own, from the asked one to the tip. A full list may go on after its last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes(List<Height, MAX_CHANGES>);

impl Changes {
    /// The answer for these heights.
    ///
    /// # Errors
    /// [`DecodeError::Bound`] for too many, [`DecodeError::Value`] if they do not ascend.
    pub fn new(heights: Vec<Height>) -> Result<Self, DecodeError> {
        if heights.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(DecodeError::Value { what: "list of heights (they ascend)" });
        }
        heights.try_into().map(Self)
    }

    /// The heights.
    #[must_use]
    pub fn heights(&self) -> &[Height] {
        &self.0
    }

    /// Whether there may be more after the last.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() == MAX_CHANGES
    }
}

impl Encode for Changes {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Changes {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        List::<Height, MAX_CHANGES>::decode(reader).and_then(|heights| Self::new(heights.into_vec()))
    }
}

/// A state proof as the RPC carries it.
#[must_use]
pub fn proof_ops(key: &[u8], proof: Vec<u8>) -> ProofOps {
    ProofOps { ops: vec![ProofOp { field_type: PROOF_TYPE.to_owned(), key: key.to_vec(), data: proof }] }
}

/// The ICS-23 bytes out of a proof about `key`.
#[must_use]
pub fn proof_of(key: &[u8], ops: &ProofOps) -> Option<Vec<u8>> {
    match ops.ops.as_slice() {
        [op] if op.field_type == PROOF_TYPE && op.key == key => Some(op.data.clone()),
        _ => None,
    }
}
