//! Why a node's answer is missing, or was not believed.

use std::time::Duration;

use types::{DecodeError, Hash, Height};

/// What went wrong. [`Error::code`] is stable; `docs/spec/queries.md` lists the codes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one of a node's RPC.
    #[error("{0} is not the URL of a node's RPC (such as http://127.0.0.1:26657)")]
    Url(String),
    /// Nobody answers there, or not in time.
    #[error("no answer from the node at {url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// What answers there is no RPC, or not of this version.
    #[error("the node's answer to {method} is not one of CometBFT 0.38: {reason}")]
    Answer {
        /// What was asked.
        method: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer is longer than any that is asked for.
    #[error("the node's answer to {method} is longer than {bound} bytes")]
    TooLarge {
        /// What was asked.
        method: String,
        /// The bound in bytes.
        bound: usize,
    },
    /// The node refuses the question.
    #[error("the node refuses {method}: {message}")]
    Refused {
        /// What was asked.
        method: String,
        /// Its number for that (JSON-RPC's).
        number: i32,
        /// Its words.
        message: String,
    },
    /// The node's application refuses the query.
    #[error("the node refuses the query {path} (code {number}): {log}")]
    Query {
        /// The query's path.
        path: &'static str,
        /// The number of the reason: [`crate::query::Refusal`].
        number: u32,
        /// Its words.
        log: String,
    },
    /// A transaction was refused, by the mempool or in its block.
    #[error("the transaction was refused ({codespace} {number}): {log}")]
    Transaction {
        /// Whose list the number is from: `ledger`, `identity`, `audit`, or the node's own.
        codespace: String,
        /// The number of the reason.
        number: u32,
        /// Its words.
        log: String,
        /// The block in which it was refused, where it cost its fee; none for the mempool.
        height: Option<Height>,
    },
    /// The answer does not decode.
    #[error("the node's answer to {query} does not decode: {source}")]
    Decode {
        /// What was asked.
        query: &'static str,
        /// Why not.
        source: DecodeError,
    },
    /// The answer is not what was asked for.
    #[error("the node answered {query} with something else: {fault}")]
    Mismatch {
        /// What was asked.
        query: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// What the node says is not proven.
    #[error("the node's answer is not to be believed: {0}")]
    Unproven(#[from] light::Error),
    /// The bundle made from the node's answers does not hold.
    #[error("the bundle does not hold: {0}")]
    Bundle(#[from] audit::NotVerified),
    /// Something has not happened in time. It may still.
    #[error("{what} did not happen within {} s; it may still", .after.as_secs())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The node and a witness show two headers that both hold: one of them, or who stands behind it,
    /// attacks. Neither is believed.
    #[error("an attack: at height {height} the node shows block {shown}, and the witness at {witness} block {instead}; {reports}")]
    Attack {
        /// The first height at which they differ.
        height: Height,
        /// The node's block.
        shown: Hash,
        /// The witness's; its newest one, where it has none at this height that could become one.
        instead: Hash,
        /// The witness's address.
        witness: String,
        /// What came of the evidence, in words.
        reports: String,
    },
    /// Fewer witnesses have said that they have the header than must.
    #[error("{agreed} witnesses have the header at height {height}, at least {needed} must: {doubts}")]
    TooFewWitnesses {
        /// The header's height.
        height: Height,
        /// How many have it.
        agreed: usize,
        /// How many must.
        needed: usize,
        /// What the others did, in words.
        doubts: String,
    },
    /// A header lies too far below all that is trusted.
    #[error("height {height} lies too far below {from}, the first trusted height: hashes lead down {max} heights at most", max = crate::path::MAX_DESCENT)]
    TooDeep {
        /// The height.
        height: Height,
        /// The first trusted height.
        from: Height,
    },
    /// More witnesses than a client asks.
    #[error("{0} witnesses are too many: {max} at most", max = crate::witness::MAX_WITNESSES)]
    TooManyWitnesses(usize),
}

impl Error {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Url(_) => 5001,
            Self::Unreachable { .. } => 5002,
            Self::Answer { .. } => 5003,
            Self::TooLarge { .. } => 5004,
            Self::Refused { .. } => 5005,
            Self::Query { .. } => 5006,
            Self::Transaction { .. } => 5007,
            Self::Decode { .. } => 5008,
            Self::Mismatch { .. } => 5009,
            Self::Unproven(_) => 5010,
            Self::Bundle(_) => 5011,
            Self::Timeout { .. } => 5012,
            Self::Attack { .. } => 5013,
            Self::TooManyWitnesses(_) => 5014,
            Self::TooFewWitnesses { .. } => 5015,
            Self::TooDeep { .. } => 5016,
        }
    }
}
