//! A plain client of one node: bounded, parsed, and believed.

use audit::LogId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use light::{LightBlock, Validator, Validators};
use serde_json::{Value, json};
use tendermint::abci::Event;
use tendermint::block::Header;
use tendermint::block::signed_header::SignedHeader;
use tendermint::evidence::Evidence;
use tendermint_rpc::endpoint::{abci_query, broadcast::tx_sync, commit, evidence as evidence_endpoint, header, status, tx, validators};
use types::{Decode, Encode, Height, PublicKey};

use crate::http::Http;
use crate::query::{self, AnchorAt, AnchorProof, Changes, ChangesFrom};
use crate::{Error, evidence};

/// How many validators stand on a page: CometBFT's bound.
const PAGE: u8 = 100;

/// How long a block may be as JSON, in bytes: 8 MiB of transactions in base64, and the rest.
const MAX_BLOCK: usize = 12 << 20;

/// The RPC of one node.
#[derive(Debug, Clone)]
pub struct Node {
    http: Http,
}

/// An entry of the state as a node gives it: nothing is proven yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The height of the state; the header after it proves it.
    pub height: Height,
    /// The ICS-23 proof.
    pub proof: Vec<u8>,
}

/// A transaction that a node says was included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The block.
    pub height: Height,
    /// What its execution gave: 0 is success.
    pub number: u32,
    /// Whose list the number is from.
    pub codespace: String,
    /// The words to it.
    pub log: String,
    /// What happened.
    pub events: Vec<Event>,
}

impl Found {
    /// The value of an attribute of the first event of a kind.
    #[must_use]
    pub fn attribute(&self, kind: &str, name: &str) -> Option<String> {
        let event = self.events.iter().find(|event| event.kind == kind)?;
        let attribute = event.attributes.iter().find(|attribute| attribute.key_str().is_ok_and(|key| key == name))?;
        attribute.value_str().ok().map(str::to_owned)
    }
}

impl Node {
    /// A client of the node whose RPC is at `url`, `http` or `https`. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(url: &str) -> Result<Self, Error> {
        Http::new(url).map(|http| Self { http })
    }

    /// The address, without what a person may have put before an `@`.
    #[must_use]
    pub fn url(&self) -> String {
        self.http.url()
    }

    /// What the node says of itself.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::TooLarge`], [`Error::Answer`], [`Error::Refused`], as each
    /// question here.
    pub async fn status(&self) -> Result<status::Response, Error> {
        self.http.ask(status::Request).await
    }

    /// The signed header of a height, or of the tip.
    ///
    /// # Errors
    /// As [`Node::status`], and [`Error::Mismatch`] for another height.
    pub async fn commit(&self, height: Option<Height>) -> Result<SignedHeader, Error> {
        let request = match height {
            Some(height) => commit::Request::new(block_height(height)?),
            None => commit::Request::default(),
        };
        let signed = self.http.ask(request).await?.signed_header;
        match height {
            Some(height) if Height::from(signed.header.height) != height => {
                Err(Error::Mismatch { query: "commit", fault: "another height" })
            }
            _ => Ok(signed),
        }
    }

    /// The header of a height, without its commit.
    ///
    /// # Errors
    /// As [`Node::commit`].
    pub async fn header(&self, height: Height) -> Result<Header, Error> {
        let header = self.http.ask(header::Request::new(block_height(height)?)).await?.header;
        if Height::from(header.height) == height { Ok(header) } else { Err(Error::Mismatch { query: "header", fault: "another height" }) }
    }

    /// The transactions of the block at a height, by the node's word: the header's data hash tells whether they are.
    ///
    /// # Errors
    /// As [`Node::status`]; [`Error::TooLarge`] above 12 MiB of JSON.
    pub async fn transactions(&self, height: Height) -> Result<Vec<Vec<u8>>, Error> {
        let answer = self.ask("block", json!({"height": height.0.to_string()}), MAX_BLOCK).await?;
        let listed = &answer["block"]["data"]["txs"];
        let texts = listed.as_array().map_or(&[][..], Vec::as_slice);
        let decode = |text: &Value| text.as_str().and_then(|text| STANDARD.decode(text).ok());
        let transactions = texts.iter().map(decode).collect::<Option<Vec<_>>>();
        transactions.ok_or(Error::Mismatch { query: "block", fault: "a transaction that is not base64" })
    }

    /// The answer to any method, as JSON that nothing is known of yet; of at most `bound` bytes.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn ask(&self, method: &str, params: Value, bound: usize) -> Result<Value, Error> {
        self.http.ask_for(method, params, bound).await
    }

    /// The validators of a height.
    ///
    /// # Errors
    /// As [`Node::status`], and [`Error::Mismatch`] for what is no set.
    pub async fn validators(&self, height: Height) -> Result<Validators, Error> {
        const FAULT: Error = Error::Mismatch { query: "validators", fault: "not a set of ed25519 keys with power, in pages" };
        let mut members = Vec::new();
        for page in 1..=light::validators::MAX_VALIDATORS.div_ceil(usize::from(PAGE)) {
            let request = validators::Request::new(Some(block_height(height)?), Some(page.into()), Some(PAGE.into()));
            let answer = self.http.ask(request).await?;
            let found: Option<Vec<_>> = answer.validators.iter().map(member).collect();
            members.extend(found.filter(|found| !found.is_empty()).ok_or(FAULT)?);
            let total = usize::try_from(answer.total).map_err(|_| FAULT)?;
            if members.len() >= total {
                return Validators::new(&members).map_err(|_| FAULT);
            }
        }
        Err(FAULT)
    }

    /// The signed header of a height with the validators of that height and the next.
    ///
    /// # Errors
    /// As [`Node::commit`] and [`Node::validators`].
    pub async fn light_block(&self, height: Height) -> Result<LightBlock, Error> {
        let signed_header = self.commit(Some(height)).await?;
        let validators = self.validators(height).await?;
        let header = &signed_header.header;
        let same = header.next_validators_hash == header.validators_hash;
        let next_validators = if same { validators.clone() } else { self.validators(height.next()).await? };
        Ok(LightBlock { signed_header, validators, next_validators })
    }

    /// An entry of the state at a height, or of the last provable one.
    ///
    /// # Errors
    /// As [`Node::status`]; [`Error::Query`]; [`Error::Mismatch`] for another height or no proof.
    pub async fn state(&self, key: &[u8], height: Option<Height>) -> Result<Answer, Error> {
        let answer = self.query(query::STATE, key.to_vec(), height, true).await?;
        let proof = answer.proof.as_ref().and_then(|ops| query::proof_of(key, ops));
        let proof = proof.ok_or(Error::Mismatch { query: query::STATE, fault: "no proof of this tree about this key" })?;
        Ok(Answer { height: answer.height.into(), proof })
    }

    /// An entry of the newest state, without a proof, and that state's height.
    ///
    /// # Errors
    /// As [`Node::status`]; [`Error::Query`].
    pub async fn peek(&self, key: &[u8]) -> Result<(Height, Option<Vec<u8>>), Error> {
        let answer = self.query(query::STATE, key.to_vec(), None, false).await?;
        // No entry of our state is empty.
        Ok((answer.height.into(), Some(answer.value).filter(|value| !value.is_empty())))
    }

    /// An anchor and its place in the log of all anchors, in the state at a height, or in the last
    /// provable one; and that height. `None` if it is not there (yet).
    ///
    /// # Errors
    /// As [`Node::status`]; [`Error::Query`]; [`Error::Decode`]; [`Error::Mismatch`].
    pub async fn anchor(&self, log: LogId, sequence: u64, height: Option<Height>) -> Result<Option<(Height, AnchorProof)>, Error> {
        let answer = match self.query(query::ANCHOR, AnchorAt { log, sequence }.to_bytes(), height, false).await {
            Err(Error::Query { number, .. }) if number == query::Refusal::NotYet.code() => return Ok(None),
            answer => answer?,
        };
        let proof = AnchorProof::from_bytes(&answer.value).map_err(|source| Error::Decode { query: query::ANCHOR, source })?;
        let named = &proof.anchor.anchor;
        if (named.log, named.sequence) != (log, sequence) {
            return Err(Error::Mismatch { query: query::ANCHOR, fault: "another anchor" });
        }
        Ok(Some((answer.height.into(), proof)))
    }

    /// All heights from `from` to below `until` at which the validators change.
    ///
    /// # Errors
    /// As [`Node::status`]; [`Error::Query`]; [`Error::Decode`]; [`Error::Mismatch`].
    pub async fn changes(&self, from: Height, until: Height) -> Result<Vec<Height>, Error> {
        let mut heights = Vec::new();
        let mut next = from;
        // More changes than a bundle holds are of no use to anybody here.
        while heights.len() <= audit::bundle::MAX_HANDOFFS {
            let answer = self.query(query::HANDOFFS, ChangesFrom(next).to_bytes(), None, false).await?;
            let changes = Changes::from_bytes(&answer.value).map_err(|source| Error::Decode { query: query::HANDOFFS, source })?;
            if changes.heights().first().is_some_and(|first| *first < next) {
                return Err(Error::Mismatch { query: query::HANDOFFS, fault: "heights before the asked one" });
            }
            heights.extend(changes.heights().iter().copied().filter(|height| *height < until));
            match changes.heights().last() {
                Some(last) if changes.is_full() && *last < until => next = last.next(),
                _ => break,
            }
        }
        Ok(heights)
    }

    /// Hands a transaction to the mempool.
    ///
    /// # Errors
    /// As [`Node::status`], and [`Error::Transaction`] if it is refused there.
    pub async fn send(&self, bytes: Vec<u8>) -> Result<(), Error> {
        let answer = self.http.ask(tx_sync::Request::new(bytes)).await?;
        if answer.code.is_ok() {
            return Ok(());
        }
        Err(Error::Transaction { codespace: answer.codespace, number: answer.code.value(), log: answer.log, height: None })
    }

    /// Where a transaction was included, if it was.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn find(&self, hash: types::Hash) -> Result<Option<Found>, Error> {
        let request = tx::Request::new(tendermint::Hash::Sha256(hash.0), false);
        match self.http.ask(request).await {
            Ok(found) => Ok(Some(Found {
                height: found.height.into(),
                number: found.tx_result.code.value(),
                codespace: found.tx_result.codespace,
                log: found.tx_result.log,
                events: found.tx_result.events,
            })),
            Err(Error::Refused { message, .. }) if message.contains("not found") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hands in evidence; the node's name for it.
    ///
    /// # Errors
    /// As [`Node::status`]: [`Error::Refused`] if the node does not find it right.
    pub async fn broadcast_evidence(&self, evidence: &Evidence) -> Result<tendermint::Hash, Error> {
        let params = json!({"evidence": evidence::to_json(evidence)});
        Ok(self.http.ask_in_json::<evidence_endpoint::Response>("broadcast_evidence", params).await?.hash)
    }

    async fn query(&self, path: &'static str, data: Vec<u8>, height: Option<Height>, prove: bool) -> Result<abci_query::AbciQuery, Error> {
        let asked = height.map(block_height).transpose()?;
        let answer = self.http.ask(abci_query::Request::new(Some(path.to_owned()), data, asked, prove)).await?.response;
        if answer.code.is_err() {
            return Err(Error::Query { path, number: answer.code.value(), log: answer.log });
        }
        match height {
            Some(height) if Height::from(answer.height) != height => Err(Error::Mismatch { query: path, fault: "another height" }),
            _ => Ok(answer),
        }
    }
}

fn block_height(height: Height) -> Result<tendermint::block::Height, Error> {
    height.try_into().map_err(|source| Error::Decode { query: "a height", source })
}

fn member(info: &tendermint::validator::Info) -> Option<Validator> {
    let key = info.pub_key.ed25519()?.as_bytes().try_into().ok()?;
    Some(Validator { public_key: PublicKey(key), power: info.power() })
}
