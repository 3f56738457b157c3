//! A node that shows somebody a second history, on a chain of real processes: `zynk light` with a witness believes
//! nothing of it, and who signed it is out for good.

#![allow(clippy::result_large_err, reason = "the published client's errors are large")]

mod world;

use std::process::Command;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use consensus::commit::{block_id, vote_bytes, vote_time};
use consensus::evidence::bytes;
use genesis::{KeyFile, KeyKind};
use light::{Validator, Validators};
use serde_json::{Value, json};
use tendermint::block::signed_header::SignedHeader;
use tendermint::block::{Commit, CommitSig, Height, Round};
use tendermint::evidence::{Evidence, LightClientAttackEvidence};
use tendermint::vote::Type;
use tendermint::{Signature, account};
use tendermint_rpc::endpoint::{commit, validators};
use tendermint_rpc::{Client, HttpClient, Paging};
use tokio::net::TcpListener;
use types::SigningKey;
use world::{PATIENCE, World, ZYNK, until};

/// The height at which the second history begins.
const AT: u64 = 4;

/// The validators that sign it: half of the power, where more than a third is believed.
const OFFENDERS: [usize; 2] = [2, 3];

/// A node that has come to height [`AT`] and no further, with what it shows there: the chain's own block, or another.
/// Everything else it passes on to a node of the chain.
struct Frozen {
    node: String,
    http: reqwest::Client,
    block: SignedHeader,
    validators: Validators,
}

impl Frozen {
    /// The chain as it was.
    fn honest(world: &World) -> Self {
        let node = world.node(0);
        let block = world.runtime.block_on(node.commit(Some(types::Height(AT)))).expect("a block");
        let validators = world.runtime.block_on(node.validators(types::Height(AT))).expect("a set");
        Self { node: world.url(0), http: reqwest::Client::new(), block, validators }
    }

    /// Another state than the chain's, signed by validators who say that they are all there are.
    fn lying(world: &World, offenders: &[usize]) -> Self {
        let honest = Self::honest(world);
        let keys: Vec<SigningKey> = offenders.iter().map(|place| key(world, *place)).collect();
        let signer = |validator: &Validator| keys.iter().find(|key| key.public() == validator.public_key);
        let members: Vec<_> = honest.validators.members().filter(|validator| signer(validator).is_some()).collect();
        let validators = Validators::new(&members).expect("a set");
        let mut header = honest.block.header.clone();
        header.app_hash = vec![8; 32].try_into().expect("a hash");
        (header.validators_hash, header.next_validators_hash) = (validators.set().hash(), validators.set().hash());
        let (id, round) = (block_id(header.hash()), Round::default());
        let message = vote_bytes(&header.chain_id, Type::Precommit, header.height, round, Some(id));
        let vote = |validator: Validator| {
            let key = signer(&validator).expect("one of them");
            CommitSig::BlockIdFlagCommit {
                validator_address: account::Id::from(key.public().address()),
                timestamp: vote_time(),
                signature: Signature::new(key.sign(&message).0).expect("64 bytes"),
            }
        };
        let commit = Commit { height: header.height, round, block_id: id, signatures: validators.members().map(vote).collect() };
        Self { block: SignedHeader::new(header, commit).expect("one height"), validators, ..honest }
    }

    /// Serves on loopback for as long as the world is there; the URL.
    fn serve(self, world: &World) -> String {
        world.runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("bound"));
            let router = Router::new().fallback(answer).with_state(Arc::new(self));
            tokio::spawn(async move { axum::serve(listener, router).await });
            url
        })
    }

    fn hash(&self) -> String {
        self.block.header.hash().to_string()
    }

    /// What it says itself; `None` if it passes the question on.
    fn result(&self, method: &str, params: &Value) -> Option<Result<Value, &'static str>> {
        let height = params["height"].as_str().map(|height| height.parse().expect("a height"));
        let at = height.unwrap_or(AT);
        let tip = if method == "validators" { AT + 1 } else { AT };
        match method {
            "commit" | "validators" if at < AT => None,
            "commit" | "validators" if at > tip => Some(Err("height must be less than or equal to the current blockchain height")),
            "commit" => {
                let answer = commit::Response { signed_header: self.block.clone(), canonical: true };
                Some(Ok(serde_json::to_value(answer).expect("it serialises")))
            }
            "validators" => {
                let infos = self.validators.set().validators().clone();
                let total = infos.len().try_into().expect("few");
                let answer = validators::Response::new(Height::try_from(at).expect("a height"), infos, total);
                Some(Ok(serde_json::to_value(answer).expect("it serialises")))
            }
            _ => None,
        }
    }
}

async fn answer(State(frozen): State<Arc<Frozen>>, question: String) -> Result<String, StatusCode> {
    let asked: Value = serde_json::from_str(&question).map_err(|_| StatusCode::BAD_REQUEST)?;
    let id = &asked["id"];
    match frozen.result(asked["method"].as_str().unwrap_or_default(), &asked["params"]) {
        Some(Ok(result)) => Ok(json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()),
        Some(Err(data)) => {
            let error = json!({"code": -32603, "message": "Internal error", "data": data});
            Ok(json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string())
        }
        None => {
            let passed = frozen.http.post(&frozen.node).body(question).send().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
            passed.text().await.map_err(|_| StatusCode::BAD_GATEWAY)
        }
    }
}

fn key(world: &World, place: usize) -> SigningKey {
    KeyFile::load(&world.running.network().home(place).validator_key(), KeyKind::Validator).expect("a key").key().clone()
}

/// Runs `zynk … --genesis … --json`: whether it did it, and what it says.
fn zynk(world: &World, line: &str) -> (bool, Value) {
    let genesis = world.running.network().genesis();
    let command = Command::new(ZYNK).args(line.split(' ')).arg("--genesis").arg(genesis).arg("--json").output().expect("it runs");
    let said = String::from_utf8_lossy(&command.stdout);
    (command.status.success(), serde_json::from_str(&said).unwrap_or_else(|error| panic!("{line}: {error}: {said}")))
}

/// What `zynk light` says of an attack.
fn attacked(world: &World, node: &str, witness: &str) -> String {
    let (believed, said) = zynk(world, &format!("light --once --node {node} --witness {witness}"));
    assert!(!believed, "{said}");
    assert_eq!(said["error"]["code"], 5013, "{said}");
    said["error"]["message"].as_str().expect("words").to_owned()
}

/// The heights of blocks with evidence, and what stands in them, as the published client reads it.
fn found(world: &World, place: usize) -> Vec<(u64, Evidence)> {
    let client = HttpClient::new(world.url(place).as_str()).expect("a URL");
    let mut found = Vec::new();
    for height in 1..=world.height(place) {
        let block = world.runtime.block_on(client.block(Height::try_from(height).expect("a height"))).expect("a block").block;
        assert_eq!(block.header.evidence_hash, Some(bytes::list_hash(&block.evidence)), "the header names it");
        found.extend(block.evidence.into_vec().into_iter().map(|evidence| (height, evidence)));
    }
    found
}

#[test]
fn a_second_history_is_not_believed_and_who_signed_it_is_out() {
    let mut world = World::start();
    // Whether a block is the chain's, a node judges by the commit in the next one.
    for place in 0..4 {
        world.wait_for(place, AT + 1);
    }
    let (honest, weak, strong) = (Frozen::honest(&world), Frozen::lying(&world, &OFFENDERS[..1]), Frozen::lying(&world, &OFFENDERS));
    let (own, other) = (honest.hash(), strong.hash());
    let (honest, weak, strong) = (honest.serve(&world), weak.serve(&world), strong.serve(&world));
    let (node, witness) = (world.url(0), world.url(1));

    // A quarter of the power convinces nobody: as the node it is refused, as a witness it is dropped, and its word is no attack.
    let (believed, said) = zynk(&world, &format!("light --once --node {weak} --witness {witness}"));
    assert!(!believed && said["error"]["code"] == 5010, "{said}");
    let (believed, said) = zynk(&world, &format!("light --once --node {honest} --witness {weak} --witness {witness}"));
    assert!(believed, "{said}");
    assert_eq!((&said["header_hash"], &said["header_height"]), (&json!(own.to_lowercase()), &json!(AT)), "{said}");
    assert_eq!((&said["witnesses_asked"], &said["witnesses_agreed"]), (&json!(2), &json!(1)), "{said}");
    let doubts = said["witness_doubts"].as_array().expect("a list");
    assert!(matches!(doubts.as_slice(), [doubt] if doubt.as_str().is_some_and(|doubt| doubt.contains(&weak))), "{said}");
    assert_eq!(found(&world, 0), [], "nobody is accused for that");

    // Half of it would. The witness has another header, and is told who signed both.
    let names_both = |words: &str| words.to_uppercase().contains(&own) && words.to_uppercase().contains(&other);
    let words = attacked(&world, &strong, &witness);
    assert!(names_both(&words) && words.contains("the witness has taken the evidence; the node has not taken"), "{words}");
    let at = until("a block with evidence", PATIENCE, || found(&world, 0).first().map(|(height, _)| *height));

    // Seen from the other side it is the same attack: the node is honest and has the evidence, the liar takes none.
    let words = attacked(&world, &honest, &strong);
    assert!(names_both(&words) && words.contains("the witness has not taken the evidence"), "{words}");
    assert!(words.ends_with("the node has taken the evidence"), "{words}");

    // It stands in one block of everybody's, and accuses those two.
    world.transfer(1).expect("included");
    let mut offenders: Vec<account::Id> = OFFENDERS.iter().map(|place| key(&world, *place).public().address().into()).collect();
    offenders.sort();
    for place in 0..4 {
        world.wait_for(place, at + 4);
        let found = found(&world, place);
        let [(height, Evidence::LightClientAttack(evidence))] = found.as_slice() else { panic!("validator {place}: {found:?}") };
        let LightClientAttackEvidence { conflicting_block, byzantine_validators, .. } = &**evidence;
        assert_eq!((*height, conflicting_block.signed_header.header.hash().to_string()), (at, other.clone()), "validator {place}");
        assert_eq!(byzantine_validators.iter().map(|validator| validator.address).collect::<Vec<_>>(), offenders);
    }
    world.assert_agreed(at + 4);

    // They are out for good, and the other two go on.
    let client = HttpClient::new(node.as_str()).expect("a URL");
    let voters = |height: u64| {
        let height = Height::try_from(height).expect("a height");
        world.runtime.block_on(client.validators(height, Paging::All)).expect("validators").validators.len()
    };
    assert_eq!((voters(at + 1), voters(at + 2)), (4, 2));
    for place in 0..4 {
        let (_, said) = zynk(&world, &format!("validator show {} --node {node}", key(&world, place).public().address()));
        let state = if OFFENDERS.contains(&place) { "tombstoned" } else { "eligible" };
        assert_eq!(said["status"]["state"], state, "validator {place}: {said}");
    }
    world.transfer(0).expect("included");
    assert!(!world.log(0).contains("THIS VALIDATOR") && world.log(OFFENDERS[0]).contains("THIS VALIDATOR stands accused"));
}
