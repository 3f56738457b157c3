//! A node and its signer over real sockets, and those who come between them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use prost::Message as _;
use serde_json::json;
use tempfile::TempDir;
use tendermint::proposal::{self, Proposal};
use tendermint::vote::{self, Vote};
use tendermint::{Time, account, chain};
use tendermint_proto::v0_38::privval::message::Sum;
use tendermint_proto::v0_38::privval::{Message, PingRequest, PubKeyRequest, SignProposalRequest, SignVoteRequest};
use types::{Signature, SigningKey};

use super::link::Link;
use super::signer::Ended;
use super::*;
use crate::commit::{block_id, vote_time};
use crate::guard::Guard;

const CHAIN: &str = "zynk-test-1";
const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn chain() -> chain::Id {
    CHAIN.try_into().expect("a name")
}

const VALIDATOR: u8 = 1;
const NODE: u8 = 2;
const SIGNER: u8 = 3;

fn signer(folder: &Path) -> Signer {
    let (guard, _) = Guard::open(&folder.join("guard"), key(VALIDATOR).public()).expect("a guard");
    Signer::new(chain(), key(VALIDATOR), guard)
}

fn vote(height: u32, hash: u8) -> Vote {
    Vote {
        vote_type: vote::Type::Precommit,
        height: height.into(),
        round: 0u16.into(),
        block_id: Some(block_id(tendermint::Hash::Sha256([hash; 32]))),
        timestamp: Some(vote_time()),
        validator_address: account::Id::from(key(VALIDATOR).public().address()),
        validator_index: 0u32.try_into().expect("an index"),
        signature: None,
        extension: Vec::new(),
        extension_signature: None,
    }
}

fn proposal(height: u32, hash: u8) -> Proposal {
    Proposal {
        msg_type: proposal::Type::Proposal,
        height: height.into(),
        round: 0u16.into(),
        pol_round: None,
        block_id: Some(block_id(tendermint::Hash::Sha256([hash; 32]))),
        timestamp: Some(vote_time()),
        signature: None,
    }
}

fn ask_vote(vote: Vote) -> Sum {
    Sum::SignVoteRequest(SignVoteRequest { vote: Some(vote.into()), chain_id: CHAIN.to_owned() })
}

fn ask_proposal(proposal: Proposal) -> Sum {
    Sum::SignProposalRequest(SignProposalRequest { proposal: Some(proposal.into()), chain_id: CHAIN.to_owned() })
}

/// The signature in an answer, or why there is none.
fn said(answer: Sum) -> Result<Vec<u8>, String> {
    let (signature, error) = match answer {
        Sum::SignedVoteResponse(answer) => (answer.vote.map(|vote| vote.signature), answer.error),
        Sum::SignedProposalResponse(answer) => (answer.proposal.map(|proposal| proposal.signature), answer.error),
        other => panic!("{other:?}"),
    };
    error.map_or_else(|| Ok(signature.expect("one of both")), |error| Err(error.description))
}

fn ask(signer: &mut Signer, request: Sum) -> Result<Vec<u8>, String> {
    let (answer, broken) = signer.answer(request).expect("a request");
    assert_eq!(broken, None);
    said(answer)
}

/// A node that listens on a port of its own, and where that is.
fn listen() -> (Arc<Remote>, Endpoint) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let endpoint: Endpoint = format!("tcp://127.0.0.1:{port}").parse().expect("an endpoint");
    let remote = Remote::listen(&endpoint, Some(key(SIGNER).public()), key(NODE), chain()).expect("it listens");
    let peer = format!("tcp://{}@127.0.0.1:{port}", key(NODE).public());
    (remote, peer.parse().expect("an endpoint"))
}

/// A signer that dials until its process ends.
fn dial(signer: Signer, endpoint: &Endpoint) {
    let endpoint = endpoint.clone();
    thread::spawn(move || signer.run(&endpoint, &key(SIGNER)));
}

fn holds(message: &[u8], signature: &[u8]) -> bool {
    key(VALIDATOR).public().verify(message, &Signature(signature.try_into().expect("64 bytes")))
}

#[test]
fn endpoints_are_said_as_cometbft_says_them() {
    let id = "00112233445566778899aabbccddeeff00112233";
    let key = key(NODE).public();
    let by_key = format!("tcp://{key}@host:1");
    let named = format!("tcp://{}@host:1", key.address().0.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let by_id = format!("tcp://{id}@127.0.0.1:26659");
    let cases = [
        ("tcp://127.0.0.1:26659", Some("tcp://127.0.0.1:26659")),
        ("tcp://[::1]:26659", Some("tcp://[::1]:26659")),
        (&by_id, Some(by_id.as_str())),
        (&by_key, Some(named.as_str())),
        ("unix:///run/signer", Some("unix:///run/signer")),
        ("unix://", None),
        ("127.0.0.1:26659", None),
        ("tcp://127.0.0.1", None),
        ("tcp://:26659", None),
        ("tcp://host:port", None),
        ("tcp://0011@host:1", None),
        ("tcp://ééééééééééééééééééé00@host:1", None),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()).ok().as_deref(), expected, "{text}");
    }
}

#[test]
fn vectors() {
    let folder = TempDir::new().expect("a folder");
    let mut signer = signer(folder.path());
    let hex = |sum: &Sum| hex::encode(Message { sum: Some(sum.clone()) }.encode_length_delimited_to_vec());
    let requests = [
        ("ping", Sum::PingRequest(PingRequest {})),
        ("public key", Sum::PubKeyRequest(PubKeyRequest { chain_id: CHAIN.to_owned() })),
        ("proposal", ask_proposal(proposal(5, 7))),
        ("precommit", ask_vote(vote(5, 7))),
        ("another precommit", ask_vote(vote(5, 8))),
        ("another chain", Sum::PubKeyRequest(PubKeyRequest { chain_id: "other".to_owned() })),
    ];
    let exchanges: Vec<_> = requests
        .into_iter()
        .map(|(what, request)| {
            let answer = signer.answer(request.clone()).expect("a request").0;
            json!({"what": what, "request": hex(&request), "answer": hex(&answer)})
        })
        .collect();
    support::frozen("privval", &json!({"chain": CHAIN, "seed": hex::encode([VALIDATOR; 32]), "exchanges": exchanges}));
}

#[test]
fn a_signer_signs_once_for_a_height_round_and_step() {
    let folder = TempDir::new().expect("a folder");
    let mut first = signer(folder.path());
    let signature = ask(&mut first, ask_vote(vote(5, 7))).expect("signed");
    assert!(holds(&vote(5, 7).into_signable_vec(chain()), &signature));
    assert_eq!(ask(&mut first, ask_vote(vote(5, 7))).as_ref(), Ok(&signature), "the same again");
    assert!(ask(&mut first, ask_vote(vote(5, 8))).expect_err("another block").contains("second, different"));
    assert!(ask(&mut first, ask_vote(vote(4, 7))).expect_err("a lower height").contains("signed before"));
    // A later time alone is no other vote, as CometBFT judges evidence.
    let later = Vote { timestamp: Time::from_unix_timestamp(2_000_000_000, 5).ok(), ..vote(5, 7) };
    let signed = ask(&mut first, ask_vote(later.clone())).expect("signed");
    assert!(holds(&later.into_signable_vec(chain()), &signed));
    assert!(ask(&mut first, ask_proposal(proposal(5, 7))).is_ok());
    assert!(ask(&mut first, ask_proposal(proposal(5, 8))).is_err(), "one proposal");
    // Killed and started again, it remembers.
    drop(first);
    let mut again = signer(folder.path());
    assert_eq!(ask(&mut again, ask_vote(vote(5, 7))), Ok(signature));
    assert!(ask(&mut again, ask_vote(vote(5, 8))).is_err());
    assert!(ask(&mut again, ask_proposal(proposal(5, 8))).is_err());
    let zero = Vote { height: 0u32.into(), ..vote(5, 7) };
    assert!(ask(&mut again, ask_vote(zero)).is_err(), "there is no height 0");
}

#[test]
fn a_signer_signs_for_its_chain_and_answers_requests_only() {
    let folder = TempDir::new().expect("a folder");
    let mut signer = signer(folder.path());
    let other = "zynk-test-2".to_owned();
    let vote_there = Sum::SignVoteRequest(SignVoteRequest { vote: Some(vote(5, 7).into()), chain_id: other.clone() });
    assert!(ask(&mut signer, vote_there).expect_err("another chain").contains("zynk-test-1"));
    let proposal_there = Sum::SignProposalRequest(SignProposalRequest { proposal: Some(proposal(5, 7).into()), chain_id: other });
    assert!(ask(&mut signer, proposal_there).is_err());
    assert!(ask(&mut signer, Sum::SignVoteRequest(SignVoteRequest { vote: None, chain_id: CHAIN.to_owned() })).is_err());
    let answer = signer.answer(Sum::PingRequest(PingRequest {})).expect("a request").0;
    assert!(signer.answer(answer).is_err(), "an answer is no request");
    assert!(ask(&mut signer, ask_vote(vote(5, 7))).is_ok(), "what was refused has signed nothing");
}

#[test]
fn two_nodes_that_share_a_signer_do_not_get_two_signatures() {
    let folder = TempDir::new().expect("a folder");
    let (one, at_one) = listen();
    let (two, at_two) = listen();
    let shared = signer(folder.path());
    dial(shared, &at_one);
    assert_eq!(one.wait(PATIENCE), Some(key(VALIDATOR).public()));
    assert!(one.sign_vote(&vote(9, 1), PATIENCE).is_ok());
    // The signer of the second node has the same file: its process took over from the first.
    dial(signer(folder.path()), &at_two);
    assert_eq!(two.wait(PATIENCE), Some(key(VALIDATOR).public()));
    let refused = two.sign_vote(&vote(9, 2), PATIENCE).expect_err("a second vote");
    assert!(matches!(&refused, NotSigned::Refused(reason) if reason.contains("second, different")), "{refused}");
    assert!(!two.is_gone(), "it was there, and refused");
    assert!(two.sign_vote(&vote(9, 1), PATIENCE).is_ok(), "the same vote");
    assert!(two.sign_proposal(&proposal(10, 1), PATIENCE).is_ok());
}

#[test]
fn a_signer_that_goes_away_is_waited_for() {
    let folder = TempDir::new().expect("a folder");
    let (remote, endpoint) = listen();
    assert_eq!((remote.wait(SHORT), remote.is_here()), (None, false));
    assert!(matches!(remote.sign_proposal(&proposal(1, 1), SHORT), Err(NotSigned::Away(_))));
    assert!(!remote.is_gone(), "a proposal that was not signed costs a turn");
    assert!(matches!(remote.sign_vote(&vote(1, 1), SHORT), Err(NotSigned::Away(_))));
    assert!(remote.is_gone());
    let waiting = Arc::clone(&remote);
    let asked = thread::spawn(move || waiting.sign_vote(&vote(1, 1), PATIENCE));
    // Its first connection breaks off before it answers; the request is put again to the next one.
    let Endpoint::Tcp { address, .. } = &endpoint else { panic!("TCP") };
    let (mut link, _) = Link::tcp(TcpStream::connect(address).expect("it listens"), &key(SIGNER), PATIENCE).expect("a handshake");
    let mut first = signer(folder.path());
    let request = link.receive().expect("who are you?");
    link.send(first.answer(request).expect("a request").0).expect("sent");
    assert!(matches!(link.receive(), Ok(Sum::SignVoteRequest(_) | Sum::PingRequest(_))));
    drop(link);
    dial(first, &endpoint);
    assert!(asked.join().expect("no panic").is_ok());
}

#[test]
fn a_unix_socket_serves_too() {
    let folder = TempDir::new().expect("a folder");
    let endpoint = Endpoint::Unix(folder.path().join("socket"));
    let remote = Remote::listen(&endpoint, None, key(NODE), chain()).expect("it listens");
    dial(signer(folder.path()), &endpoint);
    assert_eq!(remote.wait(PATIENCE), Some(key(VALIDATOR).public()));
    assert!(remote.sign_vote(&vote(3, 1), PATIENCE).is_ok());
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(folder.path().join("socket")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else opens it");
    let nobody = Remote::listen(&"tcp://127.0.0.1:0".parse().expect("an endpoint"), None, key(NODE), chain());
    assert!(nobody.is_err(), "over TCP a signer has a name");
}

#[test]
fn strangers_are_refused_on_either_side() {
    let folder = TempDir::new().expect("a folder");
    let (remote, endpoint) = listen();
    let Endpoint::Tcp { address, .. } = &endpoint else { panic!("TCP") };
    // Somebody else's identity, and what is no handshake at all.
    let (mut link, node) = Link::tcp(TcpStream::connect(address).expect("it listens"), &key(9), PATIENCE).expect("a handshake");
    assert_eq!(node, key(NODE).public());
    assert!(link.receive().is_err(), "a stranger is asked nothing");
    for garbage in [vec![0; 2000], vec![0x22; 2000], b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(!remote.is_here());
    // The signer wants to meet the node that was named.
    let other = format!("tcp://{}@{address}", key(9).public()).parse().expect("an endpoint");
    match signer(folder.path()).serve(&other, &key(SIGNER)) {
        Ended::Lost(error) => assert!(error.to_string().contains("somebody else"), "{error}"),
        Ended::Broken(reason) => panic!("{reason}"),
    }
    // One of another chain, and one with another validator's key than before.
    let elsewhere = Signer::new("other".try_into().expect("a name"), key(VALIDATOR), guard(folder.path(), VALIDATOR));
    dial(elsewhere, &endpoint);
    assert_eq!(remote.wait(SHORT), None);
    dial(signer(folder.path()), &endpoint);
    assert_eq!(remote.wait(PATIENCE), Some(key(VALIDATOR).public()));
    let other = Signer::new(chain(), key(8), guard(folder.path(), 8));
    dial(other, &endpoint);
    thread::sleep(SHORT);
    assert!(remote.sign_vote(&vote(7, 1), PATIENCE).is_ok(), "the first one stays");
}

fn guard(folder: &Path, seed: u8) -> Guard {
    Guard::open(&folder.join(format!("guard-{seed}")), key(seed).public()).expect("a guard").0
}

#[test]
fn who_listens_in_between_can_neither_replay_nor_alter() {
    let folder = TempDir::new().expect("a folder");
    let (remote, endpoint) = listen();
    let Endpoint::Tcp { address, .. } = endpoint else { panic!("TCP") };
    let between = TcpListener::bind("127.0.0.1:0").expect("a port");
    let through = format!("tcp://{}@{}", key(NODE).public(), between.local_addr().expect("an address")).parse().expect("an endpoint");
    dial(signer(folder.path()), &through);
    // One connection is passed on as it is, and what the signer said is recorded.
    let (from_signer, _) = between.accept().expect("the signer");
    let to_node = TcpStream::connect(&address).expect("it listens");
    let pass = |mut from: TcpStream, mut to: TcpStream, flip: usize| {
        thread::spawn(move || {
            let (mut record, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let before = record.len();
                record.extend(&buffer[..count]);
                if (before..before + count).contains(&flip) {
                    buffer[flip - before] ^= 1;
                }
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Both);
            record
        })
    };
    let up = pass(from_signer.try_clone().expect("a socket"), to_node.try_clone().expect("a socket"), usize::MAX);
    let down = pass(to_node.try_clone().expect("a socket"), from_signer.try_clone().expect("a socket"), usize::MAX);
    assert!(remote.wait(PATIENCE).is_some());
    assert!(remote.sign_vote(&vote(5, 1), PATIENCE).is_ok());
    from_signer.shutdown(std::net::Shutdown::Both).expect("cut");
    let recorded = up.join().expect("recorded");
    drop(down);
    assert!(recorded.len() > 2000 && !recorded.windows(32).any(|bytes| bytes == key(VALIDATOR).public().0), "nothing is in the clear");
    while remote.is_here() {
        let _ = remote.sign_proposal(&proposal(6, 1), Duration::ZERO);
    }
    let mut replayed = TcpStream::connect(&address).expect("it listens");
    replayed.write_all(&recorded).expect("sent");
    let _ = replayed.shutdown(std::net::Shutdown::Write);
    let _ = replayed.read_to_end(&mut Vec::new());
    assert!(!remote.is_here(), "what was said before counts for nothing");
    // One bit of the first frame after the handshake.
    let (from_signer, _) = between.accept().expect("the signer again");
    let to_node = TcpStream::connect(&address).expect("it listens");
    let up = pass(from_signer.try_clone().expect("a socket"), to_node.try_clone().expect("a socket"), 35 + 1044 + 500);
    let _down = pass(to_node, from_signer, usize::MAX);
    up.join().expect("it ends");
    assert!(!remote.is_here(), "what was altered counts for nothing");
}

#[test]
fn messages_have_a_bound() {
    let (near, mut far) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut link = Link::unix(near, PATIENCE).expect("a link");
    let ping = Message { sum: Some(Sum::PingRequest(PingRequest {})) };
    for byte in ping.encode_length_delimited_to_vec() {
        far.write_all(&[byte]).expect("sent");
    }
    assert!(matches!(link.receive(), Ok(Sum::PingRequest(_))), "byte by byte");
    let cases: [(&str, &[u8]); 4] = [
        ("above the bound", &[0x81, 0x50]),
        ("a length without end", &[0xff; 11]),
        ("of no kind", &[0x00]),
        ("no message", &[0x02, 0xff, 0xff]),
    ];
    for (what, bytes) in cases {
        let (near, mut far) = std::os::unix::net::UnixStream::pair().expect("a pair");
        far.write_all(bytes).expect("sent");
        assert!(Link::unix(near, PATIENCE).expect("a link").receive().is_err(), "{what}");
    }
}

#[test]
fn who_speaks_byte_by_byte_is_not_listened_to_for_long() {
    let (_remote, endpoint) = listen();
    let Endpoint::Tcp { address, .. } = endpoint else { panic!("it listens on TCP") };
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_millis(400))).expect("a timeout");
    // The first message has 35 bytes, and each of them comes within what one read may take.
    let ended = (0..30).any(|_| {
        if stream.write_all(&[34]).is_err() {
            return true;
        }
        match stream.read(&mut [0; 64]) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
        }
    });
    assert!(ended, "it was listened to for twelve seconds");
}
