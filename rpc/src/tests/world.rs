//! A chain of twelve blocks with three sets of validators, and a node that serves it over HTTP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use audit::bundle::Item;
use audit::{Body, LogId, SignedAnchor, testing};
use jmt::mock::MockTreeStore;
use jmt::{KeyHash, Sha256Jmt};
use ledger::Params;
use ledger::account::Account;
use ledger::state::key as at;
use light::attack::{self, BadAttack, Common, Ours};
use light::testing::{Chain, Manner, key, validators};
use light::{Trust, Validators};
use prost::Message as _;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;
use tendermint::abci::Code;
use tendermint::abci::types::ExecTxResult;
use tendermint::block::Header;
use tendermint::block::signed_header::SignedHeader;
use tendermint::evidence::Evidence;
use tendermint_rpc::endpoint::abci_query::AbciQuery;
use tendermint_rpc::endpoint::{abci_query, broadcast::tx_sync, commit, evidence, tx, validators as sets};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use types::{Address, Amount, Decode, Encode, Hash, Height};

use crate::query::{self, AnchorAt, AnchorProof, Changes, ChangesFrom, Refusal};

const TIP: u64 = 12;

/// How the node lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    OldValue,
    OtherKey,
    NoProof,
    GarbledProof,
    FutureState,
    OtherHeader,
    ForgedHeader,
    OtherValidators,
    NoValidators,
    EndlessValidators,
    HiddenHandoff,
    NoJson,
    Status,
    Long,
    Refusal,
}

#[derive(Clone)]
pub(super) struct World {
    lie: Lie,
    chain: Chain,
    sets: [Validators; 3],
    headers: Vec<SignedHeader>,
    store: Arc<MockTreeStore>,
    anchored: Anchored,
    sent: Arc<Mutex<BTreeMap<Hash, (u32, ExecTxResult)>>>,
    /// What it was told of attacks, and whom it finds guilty.
    pub(super) accused: Arc<Mutex<Vec<Judgement>>>,
}

/// The offenders, or why there are none.
pub(super) type Judgement = Result<Vec<Address>, BadAttack>;

#[derive(Clone)]
struct Anchored {
    items: Vec<Item>,
    proof: AnchorProof,
    head: audit::Head,
}

impl World {
    pub(super) fn new() -> Self {
        let chain = Chain::new("zynk-test-1");
        let sets = [validators(&[1, 2, 3, 4]), validators(&[5, 6, 7, 8]), validators(&[9, 10, 11, 12])];
        let (store, anchored) = (Arc::new(MockTreeStore::default()), anchored(&chain));
        let mut headers = Vec::new();
        for height in 1..=TIP {
            let root = write(&store, height - 1, &anchored);
            let mut header = chain.header(height, root, set(&sets, height), set(&sets, height + 1));
            header.last_block_id = headers.last().map(|last: &SignedHeader| last.commit.block_id);
            headers.push(chain.sign(header, set(&sets, height), Manner::EMBEDDED));
        }
        Self { lie: Lie::None, chain, sets, headers, store, anchored, sent: Arc::default(), accused: Arc::default() }
    }

    pub(super) fn lying(lie: Lie) -> Self {
        Self { lie, ..Self::new() }
    }

    /// With another header at a height, signed by the same validators.
    pub(super) fn with(mut self, height: u64, manner: Manner<'_>, bend: impl FnOnce(&mut Header)) -> Self {
        let (set, next) = (set(&self.sets, height), set(&self.sets, height + 1));
        let mut header =
            self.header(height).map_or_else(|| self.chain.header(height, Hash([1; 32]), set, next), |signed| signed.header.clone());
        bend(&mut header);
        let signed = self.chain.sign(header, set, manner);
        self.headers.retain(|signed| signed.header.height.value() != height);
        self.headers.push(signed);
        self
    }

    /// With no block above a height.
    pub(super) fn cut(mut self, height: u64) -> Self {
        self.headers.retain(|signed| signed.header.height.value() <= height);
        self
    }

    /// With no block below a height.
    pub(super) fn without_below(mut self, height: u64) -> Self {
        self.headers.retain(|signed| signed.header.height.value() >= height);
        self
    }

    fn tip(&self) -> u64 {
        self.headers.iter().map(|signed| signed.header.height.value()).max().expect("there are blocks")
    }

    pub(super) fn hash(&self, height: u64) -> Hash {
        let tendermint::Hash::Sha256(hash) = self.header(height).expect("a block").header.hash() else { panic!("a hash") };
        Hash(hash)
    }

    /// The time of a height.
    pub(super) fn time(&self, height: u64) -> tendermint::Time {
        self.chain.time(height)
    }

    pub(super) fn genesis(&self) -> Trust {
        self.chain.genesis(&self.sets[0])
    }

    pub(super) fn validators(&self, height: u64) -> &Validators {
        set(&self.sets, height)
    }

    pub(super) fn log(&self) -> LogId {
        self.anchored.proof.anchor.anchor.log
    }

    pub(super) fn items(&self) -> Vec<Item> {
        self.anchored.items.clone()
    }

    /// Serves on loopback; the URL.
    pub(super) async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up early is part of the tests.
                let _ = self.answer(stream).await;
            }
        });
        url
    }

    async fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let question = read(&mut stream).await?;
        let (status, body) = match self.lie {
            Lie::NoJson => (200, b"<html>".to_vec()),
            Lie::Status => (502, b"bad gateway".to_vec()),
            Lie::Long => (200, vec![b' '; 5 << 20]),
            _ => (200, self.result(&question).to_string().into_bytes()),
        };
        let head = format!("HTTP/1.1 {status} OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        stream.shutdown().await
    }

    fn result(&self, question: &Value) -> Value {
        let params = &question["params"];
        let result = match question["method"].as_str().expect("a method") {
            "commit" => self.commit(number(&params["height"])),
            "header" => self.commit(number(&params["height"])).map(|commit| json!({"header": commit["signed_header"]["header"]})),
            "validators" => Ok(self.page(number(&params["height"]).expect("a height"), number(&params["page"]).expect("a page"))),
            "abci_query" => Ok(value(&abci_query::Response { response: self.query(params) })),
            "broadcast_tx_sync" => Ok(self.take(params["tx"].as_str().expect("base64"))),
            "tx" => self.found(),
            "broadcast_evidence" => self.judge(params["evidence"].clone()),
            other => Err(format!("no method {other}")),
        };
        let id = &question["id"];
        match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(data) => json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": "Internal error", "data": data}}),
        }
    }

    fn commit(&self, height: Option<u64>) -> Result<Value, String> {
        let height = height.unwrap_or_else(|| self.tip());
        let asked = if self.lie == Lie::OtherHeader { height - 1 } else { height };
        let mut signed_header = self.header(asked).cloned().ok_or("height must not be above the tip")?;
        if self.lie == Lie::ForgedHeader {
            let set = validators(&[21, 22, 23, 24]);
            signed_header = self.chain.block(height, Hash([1; 32]), &set, &set);
        }
        Ok(value(&commit::Response { signed_header, canonical: true }))
    }

    fn header(&self, height: u64) -> Option<&SignedHeader> {
        self.headers.iter().find(|signed| signed.header.height.value() == height)
    }

    /// As a full node does, which has this chain and no other.
    fn judge(&self, json: Value) -> Result<Value, String> {
        let Evidence::LightClientAttack(evidence) = crate::evidence::from_json(json)? else { return Err("votes".to_owned()) };
        let common = self.header(evidence.common_height.value()).ok_or("no such height")?;
        let common = Common { header: &common.header, validators: self.validators(evidence.common_height.value()) };
        let height = evidence.conflicting_block.signed_header.header.height.value();
        let tip = self.header(self.tip()).expect("a block");
        let ours = self.header(height).map_or(Ours::Tip(&tip.header), Ours::Block);
        let verdict = attack::verify(&evidence, self.chain.id(), &common, ours);
        self.accused.lock().expect("no test panics here").push(verdict.clone());
        verdict.map_err(|error| error.to_string())?;
        Ok(value(&evidence::Response { hash: tendermint::Hash::Sha256(attack::hash(&evidence).0) }))
    }

    fn page(&self, height: u64, page: u64) -> Value {
        let mut infos = self.validators(height).set().validators().clone();
        let mut total = 4;
        match self.lie {
            Lie::OtherValidators => infos = validators(&[21, 22, 23, 24]).set().validators().clone(),
            Lie::NoValidators => infos.clear(),
            Lie::EndlessValidators => total = i32::MAX,
            _ => assert_eq!(page, 1),
        }
        value(&sets::Response::new(block(height), infos, total))
    }

    fn query(&self, params: &Value) -> AbciQuery {
        let data = hex::decode(params["data"].as_str().expect("data")).expect("hexadecimal");
        let height = number(&params["height"]).filter(|height| *height > 0).unwrap_or(TIP - 1);
        if self.lie == Lie::Refusal {
            return refused(Refusal::PrunedHeight);
        }
        match params["path"].as_str().expect("a path") {
            query::STATE => self.state(data, height),
            query::ANCHOR => self.anchor(&AnchorAt::from_bytes(&data).expect("a place"), height),
            query::HANDOFFS => {
                let ChangesFrom(from) = ChangesFrom::from_bytes(&data).expect("a height");
                let all = if self.lie == Lie::HiddenHandoff { vec![9] } else { vec![5, 9] };
                let changes = all.into_iter().map(Height).filter(|height| *height >= from).collect();
                AbciQuery { value: Changes::new(changes).expect("they ascend").to_bytes(), height: block(TIP), ..AbciQuery::default() }
            }
            _ => refused(Refusal::UnknownPath),
        }
    }

    fn state(&self, mut key: Vec<u8>, height: u64) -> AbciQuery {
        let read = if self.lie == Lie::OldValue { height - 1 } else { height };
        let named = if self.lie == Lie::FutureState { TIP } else { height };
        if self.lie == Lie::OtherKey {
            key = at::SUPPLY.to_vec();
        }
        let (found, proof) = Sha256Jmt::new(&*self.store).get_with_ics23_proof(key.clone(), read).expect("the tree proves");
        let mut proof = proof.encode_to_vec();
        if self.lie == Lie::GarbledProof {
            proof[20] ^= 1;
        }
        let proof = (self.lie != Lie::NoProof).then(|| query::proof_ops(&key, proof));
        AbciQuery { key, value: found.unwrap_or_default(), proof, height: block(named), ..AbciQuery::default() }
    }

    fn anchor(&self, place: &AnchorAt, height: u64) -> AbciQuery {
        if (place.log, place.sequence) != (self.log(), 1) {
            return refused(Refusal::NotYet);
        }
        AbciQuery { value: self.anchored.proof.to_bytes(), height: block(height), ..AbciQuery::default() }
    }

    /// The memo says what is to become of the transaction.
    fn take(&self, text: &str) -> Value {
        let request: tx_sync::Request = serde_json::from_value(json!({"tx": text})).expect("base64");
        let is = |memo: &str| request.tx.windows(memo.len()).any(|window| window == memo.as_bytes());
        let code = if is("refuse") { 5 } else { 0 };
        let result =
            ExecTxResult { code: Code::from(if is("fail") { 9 } else { 0 }), codespace: "ledger".to_owned(), ..Default::default() };
        self.sent.lock().expect("no test panics here").insert(Hash::sha256(&[&request.tx]), (0, result));
        let hash = tendermint::Hash::Sha256(Hash::sha256(&[&request.tx]).0);
        value(&tx_sync::Response {
            codespace: "ledger".to_owned(),
            code: Code::from(code),
            data: [0u8; 0].to_vec().into(),
            log: String::new(),
            hash,
        })
    }

    /// The last sent transaction is found at the second look.
    fn found(&self) -> Result<Value, String> {
        let mut sent = self.sent.lock().expect("no test panics here");
        let (hash, (looks, tx_result)) = sent.iter_mut().last().ok_or("tx not found")?;
        *looks += 1;
        if *looks < 2 {
            return Err(format!("tx ({hash}) not found"));
        }
        let (hash, tx_result) = (tendermint::Hash::Sha256(hash.0), tx_result.clone());
        sent.clear();
        Ok(value(&tx::Response { hash, height: block(9), index: 0, tx_result, tx: Vec::new(), proof: None }))
    }
}

fn set(sets: &[Validators; 3], height: u64) -> &Validators {
    match height {
        0..=5 => &sets[0],
        6..=9 => &sets[1],
        _ => &sets[2],
    }
}

/// Writes the state after a height; its root.
fn write(store: &MockTreeStore, height: u64, anchored: &Anchored) -> Hash {
    let account = Account { balance: Amount(77), sequence: 4 };
    let entries = [
        (b"height".to_vec(), format!("after {height}").into_bytes()),
        (at::account(&Address([1; 20])), account.to_bytes()),
        (at::PARAMS.to_vec(), Params::default().to_bytes()),
        (at::SUPPLY.to_vec(), Amount(1).to_bytes()),
        (at::ANCHORS_HEAD.to_vec(), anchored.head.to_bytes()),
    ];
    let changes = entries.map(|(key, value)| {
        store.put_key_preimage(KeyHash::with::<Sha256>(&key), &key);
        (KeyHash::with::<Sha256>(&key), Some(value))
    });
    let (root, batch) = Sha256Jmt::new(store).put_value_set(changes, height).expect("the tree takes entries");
    store.write_tree_update_batch(batch).expect("the store takes nodes");
    Hash(root.0)
}

fn anchored(chain: &Chain) -> Anchored {
    let body = Body::File { content: Hash::sha256(&[b"content"]), size: 7, name: None };
    let (batch, item) = testing::stamped(body, [Hash([1; 32])]);
    let log = LogId::derive(chain.id(), &key(1).public().address(), 0);
    let anchor = SignedAnchor::sign(testing::anchor(chain.id(), log, &batch), &key(1));
    let (head, place) = testing::log(&anchor, 1, 3);
    let proof = AnchorProof { index: place.index, size: head.size, path: place.path, anchor };
    Anchored { items: vec![item], proof, head }
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Value> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or_default() {
                return Ok(serde_json::from_str(body)?);
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
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
