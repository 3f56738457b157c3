//! What a job is, and what to do next about it.

use ledger::{Body, SignedTransaction, TxHash};
use types::{Blob, Decode, DecodeError, Encode, Hash, Height, Reader};

use crate::node::Found;

/// Something that is to reach the chain once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name, given by whoever handed it in: a hash of what it is.
    pub name: Hash,
    /// What the transaction does.
    pub body: Body,
    /// The transaction that may be on its way.
    pub attempt: Option<Attempt>,
}

/// A transaction that was signed for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    transaction: SignedTransaction,
    bytes: Vec<u8>,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A node says that it is in a block, and did what it says.
    Included {
        /// The block.
        height: Height,
    },
    /// It was refused: by the mempool, or in its block, where it cost its fee.
    Refused {
        /// Whose list the number is from.
        codespace: String,
        /// The reason's number there.
        number: u32,
        /// The words to it.
        log: String,
        /// The block; none for the mempool.
        height: Option<Height>,
    },
    /// The author's sequence is proven to be used, and the node does not show the transaction: it has thrown old blocks away,
    /// or lies. What became of it stands in the state.
    Unseen,
}

/// What is proven of an author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// The account's next sequence.
    pub sequence: u64,
    /// The height after which it was like this.
    pub height: Height,
}

/// What to do about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing more.
    Done(Outcome),
    /// Look for the transaction again: its sequence is used.
    Used,
    /// Send the transaction (again).
    Send,
    /// Sign a transaction: there is none, or none that can still be included.
    Sign {
        /// With this sequence.
        sequence: u64,
    },
}

/// What to do next. `found` was asked for before `stand`: a transaction that came into a block in between is then used and
/// not found, never unused.
#[must_use]
pub fn next(attempt: Option<&Attempt>, found: Option<Found>, stand: Stand) -> Step {
    let Some(attempt) = attempt else {
        return Step::Sign { sequence: stand.sequence };
    };
    if let Some(found) = found {
        return Step::Done(found.into());
    }
    if stand.sequence > attempt.sequence() {
        return Step::Used;
    }
    // After its last height, with the sequence unused: no chain can take it any more.
    if stand.height >= attempt.valid_until() { Step::Sign { sequence: stand.sequence } } else { Step::Send }
}

/// Whether a mempool's refusal says something about the transaction, and not about the moment: that it waits already, that
/// there is no room, that its sequence or its time does not fit the state as it is now.
#[must_use]
pub fn is_final(codespace: &str, number: u32) -> bool {
    let passing = match codespace {
        "mempool" => true,
        // Stale and future sequence, and expired: the proven account says what to make of them.
        "ledger" => (5..=7).contains(&number),
        _ => false,
    };
    !passing
}

impl Attempt {
    /// Of a transaction that was just signed.
    #[must_use]
    pub fn new(transaction: SignedTransaction) -> Self {
        Self { bytes: transaction.to_bytes(), transaction }
    }

    /// The transaction's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The transaction's hash.
    #[must_use]
    pub fn hash(&self) -> TxHash {
        TxHash::sha256(&[&self.bytes])
    }

    const fn sequence(&self) -> u64 {
        self.transaction.transaction.sequence
    }

    const fn valid_until(&self) -> Height {
        self.transaction.transaction.valid_until
    }

    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        Ok(Self { transaction: SignedTransaction::from_bytes(&bytes)?, bytes })
    }
}

impl Outcome {
    /// Whether the same name may be handed in again.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

impl From<Found> for Outcome {
    fn from(found: Found) -> Self {
        let Found { height, number, codespace, log, .. } = found;
        if number == 0 { Self::Included { height } } else { Self::Refused { codespace, number, log, height: Some(height) } }
    }
}

/// How long the texts of a refusal may be in the store, in bytes; the rest is cut off.
const MAX_TEXT: usize = 1024;

impl Encode for Outcome {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Included { height } => {
                out.push(1);
                height.encode(out);
            }
            Self::Refused { codespace, number, log, height } => {
                out.push(2);
                text(codespace).encode(out);
                number.encode(out);
                text(log).encode(out);
                height.encode(out);
            }
            Self::Unseen => out.push(3),
        }
    }
}

impl Decode for Outcome {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let words = |blob: Blob<MAX_TEXT>| String::from_utf8_lossy(&blob).into_owned();
        Ok(match u8::decode(reader)? {
            1 => Self::Included { height: Decode::decode(reader)? },
            2 => Self::Refused {
                codespace: words(Decode::decode(reader)?),
                number: Decode::decode(reader)?,
                log: words(Decode::decode(reader)?),
                height: Decode::decode(reader)?,
            },
            3 => Self::Unseen,
            found => return Err(DecodeError::Tag { what: "outcome", found }),
        })
    }
}

fn text(words: &str) -> Blob<MAX_TEXT> {
    let end = words.floor_char_boundary(MAX_TEXT);
    words.as_bytes()[..end].to_vec().try_into().expect("cut to its bound")
}
