//! Making a transaction that fits the chain as it stands, and sending it.

use ledger::{Body, Params, Payer, SignedTransaction, Transaction};
use types::{Address, Amount, ChainId, Encode, Height, SigningKey};

use crate::{Chain, Error, Included};

/// For how many blocks a transaction may be included.
pub const VALID_FOR: u64 = 100;

/// Who pays the fee.
#[derive(Debug, Clone, Copy)]
pub enum FeePayer<'a> {
    /// The author.
    Author,
    /// Somebody whose key is at hand.
    Cosigner(&'a SigningKey),
    /// Somebody who allowed the author to spend.
    Allowance(Address),
}

/// What a transaction is made for: the chain as it stood when it was asked.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The chain.
    pub chain: ChainId,
    /// The author's next sequence.
    pub sequence: u64,
    /// The last height at which it may be included.
    pub valid_until: Height,
    /// The parameters that the fee follows from.
    pub params: Params,
}

impl Terms {
    /// The transaction with the least fee for its size, signed.
    #[must_use]
    pub fn sign(&self, author: &SigningKey, payer: FeePayer<'_>, body: Body) -> SignedTransaction {
        let (payer, cosigner) = match payer {
            FeePayer::Author => (Payer::Author, None),
            FeePayer::Cosigner(key) => (Payer::Cosigner(key.public()), Some(key)),
            FeePayer::Allowance(sponsor) => (Payer::Allowance(sponsor), None),
        };
        let transaction = Transaction {
            chain: self.chain.clone(),
            author: author.public(),
            sequence: self.sequence,
            valid_until: self.valid_until,
            fee: Amount::ZERO,
            payer,
            body,
        };
        let fee = self.fee(&transaction, cosigner.is_some());
        Transaction { fee, ..transaction }.sign(author, cosigner)
    }

    /// The fee is part of the size that it pays for: it grows until it covers itself.
    fn fee(&self, transaction: &Transaction, cosigned: bool) -> Amount {
        let signatures = if cosigned { 64 + 1 + 64 } else { 64 + 1 };
        let mut fee = Amount::ZERO;
        loop {
            let size = Transaction { fee, ..transaction.clone() }.to_bytes().len() + signatures;
            let needed = self.params.minimum_fee(size);
            if needed <= fee {
                return fee;
            }
            fee = needed;
        }
    }
}

impl Chain {
    /// The terms for the author's next transaction.
    ///
    /// # Errors
    /// As [`Chain::entry`].
    pub async fn terms(&mut self, author: &Address) -> Result<Terms, Error> {
        let account = self.account(author).await?;
        self.terms_at(account.value.sequence).await
    }

    /// The terms for a transaction with a sequence that its author has counted: the chain shows what was used up only a
    /// block later.
    ///
    /// # Errors
    /// As [`Chain::entry`].
    pub async fn terms_at(&mut self, sequence: u64) -> Result<Terms, Error> {
        let params = self.params().await?.value;
        Ok(Terms { chain: self.trust().chain().clone(), sequence, valid_until: self.valid_until().await?, params })
    }

    /// The last height that a transaction or an operation made now should be valid for.
    ///
    /// # Errors
    /// As [`Chain::latest`].
    pub async fn valid_until(&mut self) -> Result<Height, Error> {
        Ok(Height(self.latest().await?.height().0 + VALID_FOR))
    }

    /// Makes, signs and sends a transaction, and waits for it as [`Chain::broadcast`] does.
    ///
    /// # Errors
    /// As [`Chain::terms`] and [`Chain::broadcast`].
    pub async fn submit(&mut self, author: &SigningKey, payer: FeePayer<'_>, body: Body) -> Result<Included, Error> {
        let terms = self.terms(&author.public().address()).await?;
        self.broadcast(&terms.sign(author, payer, body)).await
    }
}
