//! A small chain with identities in its state, and a node's RPC that serves it.

use std::sync::Arc;

use audit::bundle::Item;
use audit::log::{Frontier, inclusion};
use audit::{Anchor, Batch, Commitment, CommitmentPart, EnvelopePart, LeafOpening, LogId, SignedAnchor};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use genesis::Keyring;
use identity::{Did, Entry};
use jmt::mock::MockTreeStore;
use jmt::{KeyHash, Sha256Jmt};
use ledger::Params;
use ledger::account::Account;
use ledger::state::key as at;
use light::testing::{Chain, key, validators};
use light::{Trust, Validators};
use prost_ics23::Message as _;
use rpc::query::{self, AnchorAt, AnchorProof, Changes, Refusal};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::BTreeMap;
use tendermint::Time;
use tendermint::abci::Code;
use tendermint::block::signed_header::SignedHeader;
use tendermint_rpc::endpoint::abci_query::{self, AbciQuery};
use tendermint_rpc::endpoint::{commit, validators as sets};
use types::{Address, Amount, Decode as _, Encode as _, Hash, Height, Millis};

/// The last block. The state after the one before it is provable.
pub(super) const TIP: u64 = 6;

/// How the node lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    /// Headers of validators that nobody trusts.
    Header,
    /// An entry of an older state.
    OldState,
}

/// Just after the last block.
pub(super) fn soon() -> Time {
    Time::from_unix_timestamp(1_790_000_020, 0).expect("a time")
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) lie: Lie,
    chain: Chain,
    set: Validators,
    headers: Vec<SignedHeader>,
    store: Arc<MockTreeStore>,
    /// Created at 2, rotated at 4: version 1.
    pub(super) alice: Did,
    pub(super) entry: Entry,
    /// Created at 2, deactivated at 4.
    pub(super) gone: Did,
    pub(super) item: Item,
    pub(super) anchored: AnchorProof,
    head: audit::Head,
}

impl World {
    pub(super) fn new(lie: Lie) -> Self {
        let (chain, set) = (Chain::new("zynk-test-1"), validators(&[1, 2, 3, 4]));
        let until = Height(1000);
        let create = || {
            let (ring, operation) = Keyring::generate(chain.id(), until);
            let entry = identity::apply(None, chain.id(), Height(2), &operation).expect("created");
            (ring, entry)
        };
        let (mut ring, first) = create();
        ring.begin_rotation();
        let entry = identity::apply(Some(&first), chain.id(), Height(4), &ring.rotation(&first, until)).expect("rotated");
        let (end, before) = create();
        let ended = identity::apply(Some(&before), chain.id(), Height(4), &end.deactivation(&before, until)).expect("ended");
        let (item, anchored, head) = anchored(&chain);
        let store = Arc::new(MockTreeStore::default());
        let mut headers = Vec::new();
        for height in 1..=TIP {
            let after = height - 1;
            let mut entries = vec![
                (at::PARAMS.to_vec(), Params::default().to_bytes()),
                (at::SUPPLY.to_vec(), Amount(1).to_bytes()),
                (at::account(&Address([1; 20])), Account { balance: Amount(70 + after), sequence: 4 }.to_bytes()),
                (at::ANCHORS_HEAD.to_vec(), head.to_bytes()),
            ];
            if after >= 2 {
                entries.push((ring.did.state_key(), if after >= 4 { &entry } else { &first }.to_bytes()));
                entries.push((end.did.state_key(), if after >= 4 { &ended } else { &before }.to_bytes()));
            }
            headers.push(chain.block(height, write(&store, after, entries), &set, &set));
        }
        Self { lie, chain, set, headers, store, alice: ring.did, entry, gone: end.did, item, anchored, head }
    }

    pub(super) fn trust(&self) -> Trust {
        self.chain.genesis(&self.set)
    }

    pub(super) fn header(&self, height: u64) -> &SignedHeader {
        self.headers.iter().find(|signed| signed.header.height.value() == height).expect("a height of the table")
    }

    pub(super) fn head(&self) -> &audit::Head {
        &self.head
    }

    /// The node's RPC.
    pub(super) fn router(self) -> Router {
        Router::new().route("/", post(ask)).route("/health", get(|| async { Json(json!({})) })).with_state(Arc::new(self))
    }

    fn commit(&self, height: Option<u64>) -> Result<Value, &'static str> {
        let height = height.unwrap_or(TIP);
        if height == 0 || height > TIP {
            return Err("height must not be above the tip");
        }
        let mut signed_header = self.header(height).clone();
        if self.lie == Lie::Header {
            let set = validators(&[21, 22, 23, 24]);
            signed_header = self.chain.block(height, Hash([1; 32]), &set, &set);
        }
        Ok(value(&commit::Response { signed_header, canonical: true }))
    }

    fn query(&self, params: &Value) -> AbciQuery {
        let data = hex::decode(params["data"].as_str().expect("data")).expect("hexadecimal");
        let height = number(&params["height"]).filter(|height| *height > 0).unwrap_or(TIP - 1);
        match params["path"].as_str().expect("a path") {
            query::STATE => self.state(data, height),
            query::ANCHOR => {
                let place = AnchorAt::from_bytes(&data).expect("a place");
                let anchor = &self.anchored.anchor.anchor;
                if (place.log, place.sequence) != (anchor.log, anchor.sequence) {
                    return refused(Refusal::NotYet);
                }
                AbciQuery { value: self.anchored.to_bytes(), height: block(height), ..AbciQuery::default() }
            }
            query::HANDOFFS => AbciQuery { value: Changes::default().to_bytes(), height: block(TIP), ..AbciQuery::default() },
            _ => refused(Refusal::UnknownPath),
        }
    }

    fn state(&self, key: Vec<u8>, height: u64) -> AbciQuery {
        let read = if self.lie == Lie::OldState { height - 2 } else { height };
        let (found, proof) = Sha256Jmt::new(&*self.store).get_with_ics23_proof(key.clone(), read).expect("the tree proves");
        let proof = Some(query::proof_ops(&key, proof.encode_to_vec()));
        AbciQuery { key, value: found.unwrap_or_default(), proof, height: block(height), ..AbciQuery::default() }
    }
}

async fn ask(State(world): State<Arc<World>>, Json(question): Json<Value>) -> Json<Value> {
    let params = &question["params"];
    let result = match question["method"].as_str().unwrap_or_default() {
        "commit" => world.commit(number(&params["height"])),
        "validators" => {
            let infos = world.set.set().validators().clone();
            Ok(value(&sets::Response::new(block(number(&params["height"]).expect("a height")), infos, 4)))
        }
        "abci_query" => Ok(value(&abci_query::Response { response: world.query(params) })),
        _ => Err("no such method"),
    };
    let id = &question["id"];
    Json(match result {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(data) => json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": "Internal error", "data": data}}),
    })
}

/// Writes the state after a height; its root.
fn write(store: &MockTreeStore, height: u64, entries: Vec<(Vec<u8>, Vec<u8>)>) -> Hash {
    let changes = entries.into_iter().map(|(key, value)| {
        store.put_key_preimage(KeyHash::with::<Sha256>(&key), &key);
        (KeyHash::with::<Sha256>(&key), Some(value))
    });
    let (root, batch) = Sha256Jmt::new(store).put_value_set(changes, height).expect("the tree takes entries");
    store.write_tree_update_batch(batch).expect("the store takes nodes");
    Hash(root.0)
}

fn anchored(chain: &Chain) -> (Item, AnchorProof, audit::Head) {
    let opening =
        LeafOpening { commitment: CommitmentPart::Hidden(Commitment(Hash([6; 32]))), envelope: EnvelopePart::Hidden(Hash([7; 32])) };
    let batch = Batch::seal(vec![opening.leaf(), Hash([1; 32])], || Hash::ZERO).expect("two leaves");
    let index = batch.index_of(&opening.leaf()).expect("in the batch");
    let path = batch.path(index).expect("a leaf").try_into().expect("one sibling");
    let anchor = Anchor {
        version: audit::anchor::VERSION,
        chain: chain.id().clone(),
        log: LogId::derive(chain.id(), &key(1).public().address(), 0),
        sequence: 1,
        previous: Hash::ZERO,
        root: batch.root(),
        count: batch.count(),
        opened: Millis(1),
        closed: Millis(2),
    };
    let anchor = SignedAnchor::sign(anchor, &key(1));
    let (mut frontier, mut nodes) = (Frontier::default(), BTreeMap::new());
    for entry in [Hash([8; 32]), anchor.entry_hash(), Hash([9; 32])] {
        frontier.append(entry, |level, index, hash| {
            nodes.insert((level, index), hash);
        });
    }
    let siblings = inclusion(1, 3, |level, index| nodes.get(&(level, index)).copied()).expect("an entry");
    let proof = AnchorProof { index: 1, size: 3, path: siblings.try_into().expect("two siblings"), anchor };
    (Item { opening, index, path }, proof, frontier.head())
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn value(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).expect("an answer serialises")
}

fn refused(refusal: Refusal) -> AbciQuery {
    AbciQuery { code: Code::from(refusal.code()), log: refusal.to_string(), ..AbciQuery::default() }
}

fn block(height: u64) -> tendermint::block::Height {
    Height(height).try_into().expect("a height")
}
