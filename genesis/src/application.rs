//! Applications: how several people become the first validators of one chain.
//!
//! Everybody signs what they want to begin with, by the account that will operate the validator and by the key
//! that will sign its votes. Whoever puts the genesis together can leave an application out, but not change it.

use std::path::Path;

use ledger::genesis::GenesisValidator;
use ledger::stake::Candidacy;
use serde::{Deserialize, Serialize};
use types::{Amount, Blob, ChainId, Encode as _, PublicKey, Signature, SigningKey, Text};

use crate::keys::Version;
use crate::{Error, file, peer, strict};

/// How large an application may be, in bytes.
pub const MAX_BYTES: u64 = 4 << 10;

/// What stands before the bytes that the operator signs.
pub const CONTEXT: &[u8] = b"zynk.2026 genesis application v1";

/// Somebody who wants to validate from the first block on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    version: Version,
    /// The chain.
    pub chain: ChainId,
    /// The key of the account that will operate the validator, and gives the stake out of its first balance.
    pub operator: PublicKey,
    /// The key that will sign its votes.
    pub consensus_key: PublicKey,
    /// Its node's peer id, as multihash bytes.
    pub peer_id: Blob<64>,
    /// What people call it.
    pub moniker: Text<64>,
    /// Its stake.
    pub stake: Amount,
    /// The operator's part of the rewards, in hundredths of a percent.
    pub commission_bps: u16,
    /// The consensus key's signature: see [`Candidacy::proof_bytes`].
    pub proof: Signature,
    /// The operator's, over [`CONTEXT`] and all of the above but the version.
    pub signature: Signature,
}

/// What an application says, before it is signed.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What people call the validator.
    pub moniker: Text<64>,
    /// Its stake.
    pub stake: Amount,
    /// The operator's part of the rewards, in hundredths of a percent.
    pub commission_bps: u16,
}

impl Application {
    /// Applies for a place in the genesis of `chain`, with the keys of operator and validator, for the node
    /// with the key `node`.
    #[must_use]
    pub fn sign(chain: ChainId, terms: Terms, operator: &SigningKey, validator: &SigningKey, node: &PublicKey) -> Self {
        let peer_id = peer::peer_id_blob(node);
        let proof = validator.sign(&Candidacy::proof_bytes(&chain, &operator.public().address(), &peer_id));
        let Terms { moniker, stake, commission_bps } = terms;
        let unsigned = Self {
            version: Version,
            chain,
            operator: operator.public(),
            consensus_key: validator.public(),
            peer_id,
            moniker,
            stake,
            commission_bps,
            proof,
            signature: Signature([0; 64]),
        };
        Self { signature: operator.sign(&unsigned.signed_bytes()), ..unsigned }
    }

    /// Reads an application and checks both signatures.
    ///
    /// # Errors
    /// Why it is not read: [`Error::Io`], [`Error::TooLarge`], [`Error::Json`] and the like; [`Error::Application`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let application: Self = strict::parse(&file::read(path, MAX_BYTES)?)?;
        application.verify()?;
        Ok(application)
    }

    /// The file's text.
    ///
    /// # Panics
    /// Never: it has text keys and no float.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("it serialises");
        text.push('\n');
        text
    }

    /// Checks both signatures.
    ///
    /// # Errors
    /// [`Error::Application`].
    pub fn verify(&self) -> Result<(), Error> {
        if !self.operator.verify(&self.signed_bytes(), &self.signature) {
            return Err(Error::Application("is not signed by its operator"));
        }
        let proven = Candidacy::proof_bytes(&self.chain, &self.operator.address(), &self.peer_id);
        if !self.consensus_key.verify(&proven, &self.proof) {
            return Err(Error::Application("is not signed by its consensus key"));
        }
        Ok(())
    }

    /// The validator that comes of it.
    #[must_use]
    pub fn validator(&self) -> GenesisValidator {
        GenesisValidator {
            operator: self.operator.address(),
            consensus_key: self.consensus_key,
            peer_id: self.peer_id.clone(),
            moniker: self.moniker.clone(),
            stake: self.stake,
            commission_bps: self.commission_bps,
        }
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = CONTEXT.to_vec();
        self.chain.encode(&mut bytes);
        self.operator.encode(&mut bytes);
        self.consensus_key.encode(&mut bytes);
        self.peer_id.encode(&mut bytes);
        self.moniker.encode(&mut bytes);
        self.stake.encode(&mut bytes);
        self.commission_bps.encode(&mut bytes);
        self.proof.encode(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests;
