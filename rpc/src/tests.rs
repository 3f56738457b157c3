//! The client against a node on loopback that may lie.

mod witness;
mod world;

use audit::bundle::verify;
use audit::{Anchor, SignedAnchor};
use identity::Did;
use ledger::{Body, Params, SignedTransaction};
use light::testing::{Manner, key};
use light::{Checkpoint, Kept, Options, kept};
use serde_json::json;
use tendermint::Time;
use types::{Address, Amount, Decode, Encode, Hash, Height, Millis};

use crate::query::{AnchorAt, AnchorProof, Changes, ChangesFrom};
use crate::submit::Terms;
use crate::{Chain, Error, FeePayer, Node};
use world::{Lie, World};

/// Long after the last block: all that is trusted is too old.
fn late() -> Time {
    Time::from_unix_timestamp(1_790_000_000 + 100 * 24 * 60 * 60, 0).expect("a time")
}

/// Just after the last block.
fn soon() -> Time {
    Time::from_unix_timestamp(1_790_000_020, 0).expect("a time")
}

async fn client(world: &World, clock: fn() -> Time) -> Chain {
    let url = world.clone().serve().await;
    Chain::with(Node::new(&url).expect("a URL"), world.genesis(), Options::default(), clock)
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> u32 {
    result.map_or_else(|error| error.code(), |_| 0)
}

#[test]
fn queries_have_these_bytes() {
    let chain = "zynk-test-1".parse().expect("a chain id");
    let log = audit::LogId::derive(&chain, &key(1).public().address(), 3);
    let anchor = Anchor {
        version: audit::anchor::VERSION,
        chain,
        log,
        sequence: 1,
        previous: Hash::ZERO,
        root: Hash::sha256(&[b"root"]),
        count: 4,
        opened: Millis(1_790_000_000_000),
        closed: Millis(1_790_000_001_000),
    };
    let proof = AnchorProof {
        index: 5,
        size: 7,
        path: vec![Hash::sha256(&[b"a"]), Hash::sha256(&[b"b"])].try_into().expect("two"),
        anchor: SignedAnchor::sign(anchor, &key(2)),
    };
    let changes = Changes::new(vec![Height(5), Height(300), Height(70_000)]).expect("they ascend");
    let (at, from) = (AnchorAt { log, sequence: 258 }, ChangesFrom(Height(65_537)));
    support::frozen(
        "queries",
        &json!({
            "anchor_at": hex::encode(at.to_bytes()),
            "anchor_proof": hex::encode(proof.to_bytes()),
            "changes_from": hex::encode(from.to_bytes()),
            "changes": hex::encode(changes.to_bytes()),
        }),
    );
    assert_eq!(AnchorAt::from_bytes(&at.to_bytes()), Ok(at));
    assert_eq!(AnchorProof::from_bytes(&proof.to_bytes()), Ok(proof));
    assert_eq!(ChangesFrom::from_bytes(&from.to_bytes()), Ok(from));
    assert_eq!(Changes::from_bytes(&changes.to_bytes()), Ok(changes));
}

#[test]
fn malformed_queries_are_refused() {
    assert!(AnchorAt::from_bytes(&[1; 39]).is_err() && AnchorAt::from_bytes(&[1; 41]).is_err(), "40 bytes");
    assert!(ChangesFrom::from_bytes(&[1; 7]).is_err() && ChangesFrom::from_bytes(&[1; 9]).is_err(), "8 bytes");
    let cases: [(&str, &[u8]); 5] =
        [("nothing", &[]), ("a repeat", &[2, 7, 7]), ("a descent", &[2, 7, 6]), ("a missing height", &[2, 7]), ("too many", &[0x81, 0x08])];
    for (case, bytes) in cases {
        assert!(Changes::from_bytes(bytes).is_err(), "{case}");
    }
    assert!(AnchorProof::from_bytes(&[0; 64]).is_err());
}

#[test]
fn a_url_is_one_of_http() {
    for url in ["", "127.0.0.1:26657", "ftp://127.0.0.1", "http://", "unix:///run/node"] {
        assert_eq!(code(Node::new(url)), 5001, "{url:?}");
    }
    for url in ["http://127.0.0.1:26657", "https://node.example/rpc", "http://[::1]:1"] {
        assert_eq!(code(Node::new(url)), 0, "{url:?}");
    }
}

#[tokio::test]
async fn what_is_there_and_what_is_not_is_proven() {
    let world = World::new();
    let mut chain = client(&world, soon).await;
    let entry = chain.entry(b"height").await.expect("proven");
    assert_eq!((entry.height(), entry.value.as_deref()), (Height(11), Some(&b"after 11"[..])));
    assert_eq!(entry.header.height(), Height(12));
    assert_eq!(chain.account(&Address([1; 20])).await.expect("proven").value.balance, Amount(77));
    assert_eq!(chain.account(&Address([2; 20])).await.expect("proven absent").value.balance, Amount::ZERO);
    assert_eq!(chain.identity(&Did([3; 32])).await.expect("proven absent").value, None);
    assert_eq!(chain.params().await.expect("proven").value, Params::default());
    assert_eq!(chain.log(&world.log()).await.expect("proven absent").value, None);
}

#[tokio::test]
async fn trust_moves_over_changes_of_all_validators() {
    let world = World::new();
    let mut skipping = client(&world, soon).await;
    let mut walking = client(&world, late).await;
    for (chain, beyond) in [(&mut skipping, false), (&mut walking, true)] {
        assert_eq!(chain.latest().await.expect("verified").height(), Height(12));
        assert_eq!(chain.trust().height(), Height(12));
        assert_eq!(chain.is_beyond_period(), beyond);
        for height in [11, 7, 5, 1, 12] {
            assert_eq!(chain.header(Height(height)).await.expect("a look back").height(), Height(height));
        }
        assert_eq!(chain.trust().height(), Height(12), "looking back moves nothing");
    }
    assert_eq!(skipping.follow(Height(11)).await.expect("the tip is above").height(), Height(12));
}

#[tokio::test]
async fn below_a_checkpoint_hashes_lead_down() {
    let world = World::new();
    let verified = client(&world, soon).await.header(Height(11)).await.expect("verified");
    let trust = light::Trust::checkpoint(&Checkpoint::at(&verified, world.validators(12)).expect("the next set"));
    let chain = |world: &World| {
        let (world, trust) = (world.clone(), trust.clone());
        async move { Chain::with(Node::new(&world.serve().await).expect("a URL"), trust, Options::default(), soon) }
    };
    for height in [10, 7, 3, 1] {
        let header = chain(&world).await.header(Height(height)).await.expect("two sets of validators before those of the checkpoint");
        assert_eq!(header.hash(), world.hash(height));
    }
    // Another block 7, and so another link, signed by all of the validators of then.
    let bent = World::new().with(7, Manner::EMBEDDED, |header| header.data_hash = Some(tendermint::Hash::Sha256([8; 32])));
    for height in [7, 3] {
        assert_eq!(code(chain(&bent).await.header(Height(height)).await), 5010, "height {height}");
    }
    assert_eq!(chain(&bent).await.header(Height(8)).await.expect("above the bend").hash(), world.hash(8));
}

#[tokio::test]
async fn what_was_believed_is_remembered() {
    let world = World::new();
    let mut first = client(&world, soon).await;
    first.header(Height(7)).await.expect("verified");
    let bytes = first.kept().to_bytes().expect("it seals");
    let kept = Kept::from_bytes(&bytes, kept::KEEP).expect("it opens");
    assert_eq!(kept.latest().height(), Height(7));

    // From there no block below is needed: the node has none.
    let mut second = client(&world.clone().without_below(8), soon).await.remembering(kept);
    assert_eq!(second.latest().await.expect("verified").hash(), world.hash(12));
    assert_eq!((second.trust().height(), second.kept().root().height()), (Height(12), Height(0)));
    assert_eq!(second.validators(Height(9)).await.expect("named by the header"), *world.validators(9));
}

#[tokio::test]
async fn validators_are_those_that_a_header_names() {
    let (world, lying) = (World::new(), World::lying(Lie::OtherValidators));
    let mut chain = client(&world, soon).await;
    for height in [1, 5, 6, 12, 13] {
        assert_eq!(chain.validators(Height(height)).await.expect("named"), *world.validators(height), "height {height}");
    }
    assert_eq!(code(client(&lying, soon).await.validators(Height(5)).await), 5010);
}

#[tokio::test]
async fn a_node_that_lies_is_not_believed() {
    let cases = [
        (Lie::None, 0),
        (Lie::OldValue, 5010),
        (Lie::OtherKey, 5009),
        (Lie::NoProof, 5009),
        (Lie::GarbledProof, 5010),
        (Lie::FutureState, 5005),
        (Lie::OtherHeader, 5009),
        (Lie::ForgedHeader, 5010),
        (Lie::OtherValidators, 5010),
        (Lie::NoValidators, 5009),
        (Lie::EndlessValidators, 5009),
        (Lie::NoJson, 5003),
        (Lie::Status, 5003),
        (Lie::Long, 5004),
        (Lie::Refusal, 5006),
    ];
    for (lie, expected) in cases {
        let world = World::lying(lie);
        assert_eq!(code(client(&world, soon).await.entry(b"height").await), expected, "{lie:?}");
    }
    let hiding = World::lying(Lie::HiddenHandoff);
    assert_eq!(code(client(&hiding, late).await.latest().await), 5010, "a hand-off is left out");
    let silent = Chain::connect("http://127.0.0.1:1", World::new().genesis()).expect("a URL").latest().await;
    assert_eq!(code(silent), 5002, "nobody is there");
}

#[tokio::test]
async fn a_bundle_holds_without_the_node() {
    let world = World::new();
    let mut chain = client(&world, late).await;
    let bundle = chain.bundle(world.items(), world.log(), 1).await.expect("a bundle");
    let verdict = verify(&bundle, &world.genesis(), late(), &Options::default()).expect("from genesis");
    assert_eq!((verdict.height, verdict.handoffs), (Height(12), 2));
    let header = chain.header(Height(7)).await.expect("verified");
    let checkpoint = Checkpoint::at(&header, world.validators(8)).expect("the next set");
    verify(&bundle, &light::Trust::checkpoint(&checkpoint), late(), &Options::default()).expect("from a checkpoint");

    // Bound to a checkpoint, a client makes the same bundle: others may have the genesis only.
    let url = world.clone().serve().await;
    let trust = light::Trust::checkpoint(&checkpoint);
    let mut chain = Chain::with(Node::new(&url).expect("a URL"), trust, Options::default(), late);
    assert_eq!(chain.bundle(world.items(), world.log(), 1).await.expect("a bundle"), bundle);

    // Items of another batch make none.
    let mut items = world.items();
    items[0].index ^= 1;
    assert_eq!(code(chain.bundle(items, world.log(), 1).await), 5011);
}

#[tokio::test]
async fn a_transaction_is_seen_through() {
    let transfer = |memo: &str| {
        let body = Body::Transfer { to: Address([9; 20]), amount: Amount(1), memo: memo.try_into().expect("short") };
        terms().sign(&key(1), FeePayer::Author, body)
    };
    let world = World::new();
    let mut chain = client(&world, soon).await;
    let included = chain.broadcast(&transfer("take it")).await.expect("included");
    assert_eq!((included.height, included.hash), (Height(9), transfer("take it").hash()));
    let refused = chain.broadcast(&transfer("refuse")).await.expect_err("the mempool refuses");
    let Error::Transaction { codespace, number: 5, height: None, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(codespace, "ledger");
    let failed = chain.broadcast(&transfer("fail")).await.expect_err("the block refuses");
    assert!(matches!(failed, Error::Transaction { number: 9, height: Some(Height(9)), .. }), "{failed:?}");
    assert_eq!(chain.terms(&Address([1; 20])).await.expect("proven").sequence, 4);
}

fn terms() -> Terms {
    let chain = "zynk-test-1".parse().expect("a chain id");
    Terms { chain, sequence: 127, valid_until: Height(300), params: Params::default() }
}

#[test]
fn a_fee_is_the_least_that_covers_its_own_size() {
    let cosigner = key(2);
    for payer in [FeePayer::Author, FeePayer::Cosigner(&cosigner), FeePayer::Allowance(Address([7; 20]))] {
        for length in 0..128 {
            let memo = "m".repeat(length).try_into().expect("within the bound");
            let signed = terms().sign(&key(1), payer, Body::Transfer { to: Address([9; 20]), amount: Amount(1), memo });
            let fee = signed.transaction.fee;
            let verified = SignedTransaction::parse(&signed.to_bytes()).and_then(SignedTransaction::verify).expect("it holds");
            let needed = Params::default().minimum_fee(verified.size_bytes());
            assert!(fee >= needed && fee.0 - needed.0 <= 10, "{fee} for {needed}");
        }
    }
}
