//! Transactions: the bytes that people sign (`docs/spec/transactions.md`).

use std::sync::{Arc, OnceLock};

use audit::{LogId, SignedAnchor};
use identity::SignedOperation;
use types::{Address, Amount, ChainId, Decode, DecodeError, Encode, Hash, Height, PublicKey, Reader, Signature, SigningKey, Text};

use crate::error::Refusal;
use crate::governance::{Choice, Draft, ProposalId};
use crate::stake::{Candidacy, Edit};

/// The largest transaction, in bytes: an identity operation of 4 KiB with room for its wrapping.
pub const MAX_BYTES: usize = 8 * 1024;

/// The only version there is.
pub const VERSION: u8 = 1;

/// What stands before the bytes that author and payer sign.
pub const CONTEXT: &[u8] = b"zynk.2026 transaction v1";

/// A transaction's name: SHA-256 of its signed bytes, as CometBFT names it.
pub type TxHash = Hash;

/// What an author asks the chain to do, and who pays for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The chain it is for; another chain refuses it.
    pub chain: ChainId,
    /// The author's key; its address is the author's account.
    pub author: PublicKey,
    /// How many transactions the author's account has made before this one.
    pub sequence: u64,
    /// The last height at which it may be included.
    pub valid_until: Height,
    /// What the payer pays, at least the parameters' minimum for its size.
    pub fee: Amount,
    /// Who pays.
    pub payer: Payer,
    /// What is to be done.
    pub body: Body,
}

/// Who pays a transaction's fee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payer {
    /// The author.
    Author,
    /// Somebody who signs this transaction too.
    Cosigner(PublicKey),
    /// Somebody who has allowed the author to spend on fees ([`Body::Allow`]).
    Allowance(Address),
}

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Moves tokens from the author to another account.
    Transfer {
        /// The receiving account.
        to: Address,
        /// How much, above zero.
        amount: Amount,
        /// A public remark.
        memo: Text<128>,
    },
    /// Carries an operation on an identity, which its own keys have signed.
    Identity(Box<SignedOperation>),
    /// Registers a log of anchors, owned by the author, with a bond out of the author's balance.
    RegisterLog {
        /// The key that will sign the log's anchors.
        key: PublicKey,
        /// The bond, at least the parameters' minimum.
        bond: Amount,
    },
    /// Gives a log another key. Only its owner may.
    RotateLogKey {
        /// The log.
        log: LogId,
        /// The new key.
        key: PublicKey,
    },
    /// Retires a log; asked again after the holding time, returns its bond. Only its owner may.
    RetireLog {
        /// The log.
        log: LogId,
    },
    /// Carries an anchor, which its log's key has signed.
    Anchor(Box<SignedAnchor>),
    /// Lets another account spend on fees at the author's cost: the sponsor's quota.
    /// A limit of zero takes the allowance back.
    Allow {
        /// Who may spend.
        beneficiary: Address,
        /// How much in all, from now on.
        limit: Amount,
        /// The last height at which it may be spent.
        expires: Height,
    },
    /// Makes a validator of a consensus key, operated by the author.
    CreateValidator(Box<Candidacy>),
    /// Changes what a validator says of itself. Only its operator may.
    EditValidator {
        /// The validator.
        validator: Address,
        /// What changes.
        edit: Box<Edit>,
    },
    /// Bonds tokens out of the author's balance to a validator.
    Delegate {
        /// The validator.
        validator: Address,
        /// How much; what makes no whole share stays in the balance.
        amount: Amount,
    },
    /// Takes stake back; it is in the balance after the unbonding period.
    Undelegate {
        /// The validator.
        validator: Address,
        /// How much.
        amount: Amount,
    },
    /// Moves stake to another validator at once; it answers for the former one for the unbonding period.
    Redelegate {
        /// The validator that it leaves.
        from: Address,
        /// The validator that it goes to.
        to: Address,
        /// How much.
        amount: Amount,
    },
    /// Pays out what the author's stake at a validator has earned, and the commission where the
    /// author is the operator.
    WithdrawRewards {
        /// The validator.
        validator: Address,
    },
    /// Lets a validator that was jailed back into the set. Only its operator may.
    Unjail {
        /// The validator.
        validator: Address,
    },
    /// Puts a proposal to the holders of stake.
    SubmitProposal(Box<Draft>),
    /// Adds to a proposal's deposit.
    Deposit {
        /// The proposal.
        proposal: ProposalId,
        /// How much.
        amount: Amount,
    },
    /// Votes on a proposal, with all that the author has bonded.
    Vote {
        /// The proposal.
        proposal: ProposalId,
        /// The vote.
        choice: Choice,
    },
}

/// A transaction with its signatures: what travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    /// What is signed.
    pub transaction: Transaction,
    /// The author's signature.
    pub signature: Signature,
    /// The payer's signature, where the payer is a [`Payer::Cosigner`].
    pub payer_signature: Option<Signature>,
}

/// A transaction whose signatures hold: the type is the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    transaction: Arc<Transaction>,
    author: Address,
    size_bytes: usize,
    signer: Signer,
}

/// Whose signature the one in a transaction's body was found to be. All copies know it, and it makes none different.
#[derive(Debug, Clone, Default)]
struct Signer(Arc<OnceLock<PublicKey>>);

impl PartialEq for Signer {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Signer {}

impl Transaction {
    /// The bytes that author and payer sign: context, version, transaction.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = CONTEXT.to_vec();
        self.encode(&mut bytes);
        bytes
    }

    /// Signs as the author; for [`Payer::Cosigner`] the payer's key is needed too.
    #[must_use]
    pub fn sign(self, author: &SigningKey, payer: Option<&SigningKey>) -> SignedTransaction {
        let bytes = self.signed_bytes();
        SignedTransaction { signature: author.sign(&bytes), payer_signature: payer.map(|key| key.sign(&bytes)), transaction: self }
    }
}

impl SignedTransaction {
    /// Reads a transaction off the wire.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] and [`Refusal::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_BYTES {
            return Err(Refusal::TooLarge { found: bytes.len(), bound: MAX_BYTES });
        }
        Self::from_bytes(bytes).map_err(Refusal::Malformed)
    }

    /// Checks the signatures on the transaction itself. Those inside its body (of an identity's
    /// keys, of a log's key) need the state and are checked when it is applied.
    ///
    /// # Errors
    /// [`Refusal::BadSignature`], naming whose.
    pub fn verify(self) -> Result<Verified, Refusal> {
        let mut bytes = self.transaction.signed_bytes();
        if !self.transaction.author.verify(&bytes, &self.signature) {
            return Err(Refusal::BadSignature { whose: "author" });
        }
        let payer_agrees = match (&self.transaction.payer, &self.payer_signature) {
            (Payer::Cosigner(key), Some(signature)) => key.verify(&bytes, signature),
            (Payer::Author | Payer::Allowance(_), None) => true,
            _ => false,
        };
        if !payer_agrees {
            return Err(Refusal::BadSignature { whose: "payer" });
        }
        // All of the encoding but for the context: its size.
        self.signature.encode(&mut bytes);
        self.payer_signature.encode(&mut bytes);
        let (author, size_bytes) = (self.transaction.author.address(), bytes.len() - CONTEXT.len());
        Ok(Verified { transaction: Arc::new(self.transaction), author, size_bytes, signer: Signer::default() })
    }

    /// The transaction's name.
    #[must_use]
    pub fn hash(&self) -> TxHash {
        Hash::sha256(&[&self.to_bytes()])
    }
}

impl Verified {
    /// What was signed.
    #[must_use]
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// Whose it is: the address of its author's key.
    #[must_use]
    pub const fn author(&self) -> &Address {
        &self.author
    }

    /// Has `check` say whether the signature in the body is `key`'s, unless that was found before.
    pub(crate) fn once<E>(&self, key: &PublicKey, check: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        if self.signer.0.get() != Some(key) {
            check()?;
            // Another key may have been found before: then this one is asked for again each time.
            let _ = self.signer.0.set(*key);
        }
        Ok(())
    }

    /// The size of the signed transaction, in bytes; the fee depends on it.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

impl Encode for Transaction {
    fn encode(&self, out: &mut Vec<u8>) {
        VERSION.encode(out);
        self.chain.encode(out);
        self.author.encode(out);
        self.sequence.encode(out);
        self.valid_until.encode(out);
        self.fee.encode(out);
        self.payer.encode(out);
        self.body.encode(out);
    }
}

impl Decode for Transaction {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            VERSION => {}
            found => return Err(DecodeError::Tag { what: "transaction version", found }),
        }
        Ok(Self {
            chain: Decode::decode(reader)?,
            author: Decode::decode(reader)?,
            sequence: Decode::decode(reader)?,
            valid_until: Decode::decode(reader)?,
            fee: Decode::decode(reader)?,
            payer: Decode::decode(reader)?,
            body: Decode::decode(reader)?,
        })
    }
}

impl Encode for Payer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Author => out.push(0),
            Self::Cosigner(key) => {
                out.push(1);
                key.encode(out);
            }
            Self::Allowance(sponsor) => {
                out.push(2);
                sponsor.encode(out);
            }
        }
    }
}

impl Decode for Payer {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::Author),
            1 => PublicKey::decode(reader).map(Self::Cosigner),
            2 => Address::decode(reader).map(Self::Allowance),
            found => Err(DecodeError::Tag { what: "payer", found }),
        }
    }
}

impl Encode for Body {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Transfer { to, amount, memo } => {
                out.push(1);
                to.encode(out);
                amount.encode(out);
                memo.encode(out);
            }
            Self::Allow { beneficiary, limit, expires } => {
                out.push(2);
                beneficiary.encode(out);
                limit.encode(out);
                expires.encode(out);
            }
            Self::Identity(operation) => {
                out.push(3);
                operation.encode(out);
            }
            Self::RegisterLog { key, bond } => {
                out.push(4);
                key.encode(out);
                bond.encode(out);
            }
            Self::RotateLogKey { log, key } => {
                out.push(5);
                log.encode(out);
                key.encode(out);
            }
            Self::RetireLog { log } => {
                out.push(6);
                log.encode(out);
            }
            Self::Anchor(anchor) => {
                out.push(7);
                anchor.encode(out);
            }
            Self::CreateValidator(candidacy) => {
                out.push(8);
                candidacy.encode(out);
            }
            Self::EditValidator { validator, edit } => {
                out.push(9);
                validator.encode(out);
                edit.encode(out);
            }
            Self::Delegate { validator, amount } => {
                out.push(10);
                validator.encode(out);
                amount.encode(out);
            }
            Self::Undelegate { validator, amount } => {
                out.push(11);
                validator.encode(out);
                amount.encode(out);
            }
            Self::Redelegate { from, to, amount } => {
                out.push(12);
                from.encode(out);
                to.encode(out);
                amount.encode(out);
            }
            Self::WithdrawRewards { validator } => {
                out.push(13);
                validator.encode(out);
            }
            Self::Unjail { validator } => {
                out.push(14);
                validator.encode(out);
            }
            Self::SubmitProposal(draft) => {
                out.push(15);
                draft.encode(out);
            }
            Self::Deposit { proposal, amount } => {
                out.push(16);
                proposal.encode(out);
                amount.encode(out);
            }
            Self::Vote { proposal, choice } => {
                out.push(17);
                proposal.encode(out);
                choice.encode(out);
            }
        }
    }
}

impl Decode for Body {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u8::decode(reader)? {
            1 => Self::Transfer { to: Decode::decode(reader)?, amount: Decode::decode(reader)?, memo: Decode::decode(reader)? },
            2 => Self::Allow { beneficiary: Decode::decode(reader)?, limit: Decode::decode(reader)?, expires: Decode::decode(reader)? },
            3 => Self::Identity(Decode::decode(reader)?),
            4 => Self::RegisterLog { key: Decode::decode(reader)?, bond: Decode::decode(reader)? },
            5 => Self::RotateLogKey { log: Decode::decode(reader)?, key: Decode::decode(reader)? },
            6 => Self::RetireLog { log: Decode::decode(reader)? },
            7 => Self::Anchor(Decode::decode(reader)?),
            8 => Self::CreateValidator(Decode::decode(reader)?),
            9 => Self::EditValidator { validator: Decode::decode(reader)?, edit: Decode::decode(reader)? },
            10 => Self::Delegate { validator: Decode::decode(reader)?, amount: Decode::decode(reader)? },
            11 => Self::Undelegate { validator: Decode::decode(reader)?, amount: Decode::decode(reader)? },
            12 => Self::Redelegate { from: Decode::decode(reader)?, to: Decode::decode(reader)?, amount: Decode::decode(reader)? },
            13 => Self::WithdrawRewards { validator: Decode::decode(reader)? },
            14 => Self::Unjail { validator: Decode::decode(reader)? },
            15 => Self::SubmitProposal(Decode::decode(reader)?),
            16 => Self::Deposit { proposal: Decode::decode(reader)?, amount: Decode::decode(reader)? },
            17 => Self::Vote { proposal: Decode::decode(reader)?, choice: Decode::decode(reader)? },
            found => return Err(DecodeError::Tag { what: "transaction body", found }),
        })
    }
}

types::codec!(SignedTransaction { transaction, signature, payer_signature });
