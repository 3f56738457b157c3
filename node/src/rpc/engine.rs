//! `net_info`, `consensus_state` and `dump_consensus_state`: the node's peers and the height that is being decided.
//!
//! What neither network nor engine tells is empty here: no traffic is counted for a peer, the round's beginning is the
//! year 1, which in CometBFT's answers means never, and the peers' own round states are null.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use consensus::malachite::probe::{Peer, RoundState, RoundVotes};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use serde_json::{Value, json};
use tendermint::account;
use tendermint::vote::Vote;
use tokio::sync::Mutex;
use types::Hash;

use super::error::Fault;
use super::methods::{number, set_json, to_json};
use super::{Door, Info};
use crate::gossip::peers::Direction;

/// Of hashes and signatures in votes, this many bytes are shown.
const FINGERPRINT: usize = 6;

/// Never: the year 1.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// For so long an answer of the engine serves everybody: it copies its whole state for each, and strangers ask.
const FRESH: Duration = Duration::from_millis(200);

/// What the engine said last.
#[derive(Debug, Default)]
pub(super) struct Told {
    state: Mutex<Option<(Instant, RoundState)>>,
    peers: Mutex<Option<(Instant, Vec<Peer>)>>,
}

/// The value that is there, if it is fresh, or else the one that is asked for, by one at a time.
async fn told<T: Clone>(last: &Mutex<Option<(Instant, T)>>, ask: impl Future<Output = Option<T>>) -> Option<T> {
    let mut last = last.lock().await;
    if let Some((_, value)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        return Some(value.clone());
    }
    let value = ask.await?;
    *last = Some((Instant::now(), value.clone()));
    Some(value)
}

/// The engine's peers; nobody where there is no engine.
async fn engine_peers(door: &Door) -> Vec<Peer> {
    match door.app.probe() {
        Some(probe) => told(&door.told.peers, probe.peers()).await.unwrap_or_default(),
        None => Vec::new(),
    }
}

/// A connected node, as the two networks have it.
struct Neighbour {
    address: Multiaddr,
    moniker: String,
    version: String,
    outbound: bool,
    age_ns: u128,
}

pub(super) async fn net_info(door: &Door) -> Result<Value, Fault> {
    let seen = door.app.peers().seen();
    let mut peers: BTreeMap<PeerId, Neighbour> = BTreeMap::new();
    for peer in &seen.connected {
        let version = peer.agent.split('/').nth(1).unwrap_or_default().to_owned();
        let outbound = peer.direction == Direction::Outbound;
        let (address, moniker) = (peer.address.clone(), peer.moniker().to_owned());
        peers.insert(peer.id, Neighbour { address, moniker, version, outbound, age_ns: peer.age.as_nanos() });
    }
    for Peer { id, address, moniker, outbound } in engine_peers(door).await {
        peers.entry(id).or_insert(Neighbour { address, moniker, version: String::new(), outbound, age_ns: 0 });
    }
    let listening = seen.listening.clone();
    let network = door.app.genesis().chain().as_str();
    let shown: Vec<Value> = peers.iter().map(|(id, peer)| peer_json(id, peer, network)).collect();
    Ok(json!({"listening": !listening.is_empty(), "listeners": listening, "n_peers": shown.len().to_string(), "peers": shown}))
}

fn peer_json(id: &PeerId, peer: &Neighbour, network: &str) -> Value {
    let key = genesis::peer::key_of_peer(&id.to_bytes());
    let node_id = key.map_or_else(|| "0".repeat(40), |key| hex::encode(key.address().0));
    let monitor = json!({
        "Active": false, "Start": NEVER, "Duration": "0", "Idle": "0", "Bytes": "0", "Samples": "0", "InstRate": "0",
        "CurRate": "0", "AvgRate": "0", "PeakRate": "0", "BytesRem": "0", "TimeRem": "0", "Progress": 0,
    });
    json!({
        "node_info": {
            "protocol_version": {"p2p": "0", "block": "0", "app": "0"},
            "id": node_id,
            "listen_addr": peer.address,
            "network": network,
            "version": peer.version,
            "channels": "",
            "moniker": peer.moniker,
            "other": {"tx_index": "off", "rpc_address": ""},
        },
        "is_outbound": peer.outbound,
        "connection_status": {
            "Duration": peer.age_ns.to_string(), "SendMonitor": monitor, "RecvMonitor": monitor, "Channels": [],
        },
        "remote_ip": ip(&peer.address),
    })
}

/// A connection's other end always has an address of numbers; the format demands one in any case.
fn ip(address: &Multiaddr) -> String {
    let found = address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.to_string()),
        Protocol::Ip6(ip) => Some(ip.to_string()),
        _ => None,
    });
    found.unwrap_or_else(|| "0.0.0.0".to_owned())
}

/// The engine's word on the height that is being decided.
async fn round_state(door: &Door) -> Result<RoundState, Fault> {
    let state = match door.app.probe() {
        Some(probe) => told(&door.told.state, probe.round_state()).await,
        None => None,
    };
    state.ok_or_else(|| Fault::Internal("the consensus engine does not say how far it is".to_owned()))
}

pub(super) async fn consensus_state(door: &Door) -> Result<Value, Fault> {
    let state = round_state(door).await?;
    let hash = |hash: Option<Hash>| hash.map(|hash| hex::encode_upper(hash.0)).unwrap_or_default();
    Ok(json!({"round_state": {
        "height/round/step": format!("{}/{}/{}", state.height, state.round, state.step),
        "start_time": NEVER,
        "proposal_block_hash": hash(state.proposal),
        "locked_block_hash": hash(state.locked),
        "valid_block_hash": hash(state.valid),
        "height_vote_set": votes_json(&state),
        "proposer": {"address": to_json(&state.proposer)?, "index": place(&state, state.proposer)},
    }}))
}

pub(super) async fn dump_consensus_state(door: &Door, info: &Info) -> Result<Value, Fault> {
    let state = round_state(door).await?;
    let peers = engine_peers(door).await;
    let hash = |hash: Option<Hash>| hash.map_or(Value::Null, |hash| hex::encode_upper(hash.0).into());
    let validators = state.validators.as_slice().iter().map(set_json).collect::<Result<Vec<_>, _>>()?;
    let proposer = usize::try_from(place(&state, state.proposer)).ok().and_then(|place| validators.get(place)).cloned();
    let peers: Vec<Value> = peers.iter().map(|peer| json!({"node_address": peer.address, "peer_state": null})).collect();
    Ok(json!({
        "round_state": {
            "height": number(state.height),
            "round": state.round,
            "step": state.step,
            "start_time": NEVER,
            "commit_time": NEVER,
            "validators": {"validators": validators, "proposer": proposer},
            "proposal_block_hash": hash(state.proposal),
            "locked_block_hash": hash(state.locked),
            "valid_block_hash": hash(state.valid),
            "votes": votes_json(&state),
            "node_address": hex::encode(info.node_id),
        },
        "peers": peers,
    }))
}

/// A validator's place in the set; -1 for one that is not in it.
fn place(state: &RoundState, address: account::Id) -> i32 {
    let place = state.validators.as_slice().iter().position(|validator| validator.address() == address);
    place.and_then(|place| i32::try_from(place).ok()).unwrap_or(-1)
}

fn votes_json(state: &RoundState) -> Vec<Value> {
    let texts = |votes: &[Option<Vote>]| {
        votes.iter().map(|vote| vote.as_ref().map_or_else(|| "nil-Vote".to_owned(), vote_text)).collect::<Vec<_>>()
    };
    let round = |(round, RoundVotes { prevotes, precommits }): (usize, &RoundVotes)| {
        json!({
            "round": round,
            "prevotes": texts(prevotes),
            "prevotes_bit_array": bits(state, prevotes),
            "precommits": texts(precommits),
            "precommits_bit_array": bits(state, precommits),
        })
    };
    state.votes.iter().enumerate().map(round).collect()
}

/// Source: CometBFT 0.38, `types/vote.go`, `String`. Its last hash, of the extension, is left out as before 0.38: there are none, and
/// published clients read it so.
fn vote_text(vote: &Vote) -> String {
    let kind = match vote.vote_type {
        tendermint::vote::Type::Prevote => "SIGNED_MSG_TYPE_PREVOTE(Prevote)",
        tendermint::vote::Type::Precommit => "SIGNED_MSG_TYPE_PRECOMMIT(Precommit)",
    };
    let block = vote.block_id.as_ref().map(|id| id.hash.as_bytes().to_vec()).unwrap_or_default();
    let signature = vote.signature.as_ref().map(|signature| signature.as_bytes().to_vec()).unwrap_or_default();
    format!(
        "Vote{{{}:{} {}/{:02}/{kind} {} {} @ {}}}",
        vote.validator_index.value(),
        fingerprint(vote.validator_address.as_bytes()),
        vote.height,
        vote.round.value(),
        fingerprint(&block),
        fingerprint(&signature),
        vote.timestamp.map_or_else(|| NEVER.to_owned(), |time| time.to_rfc3339()),
    )
}

fn fingerprint(bytes: &[u8]) -> String {
    let mut short = [0; FINGERPRINT];
    short.iter_mut().zip(bytes).for_each(|(short, byte)| *short = *byte);
    hex::encode_upper(short)
}

/// Who has voted, and with how much of the power. Source: CometBFT 0.38, `libs/bits/bit_array.go` and `types/vote_set.go`.
fn bits(state: &RoundState, votes: &[Option<Vote>]) -> String {
    let marks: String = votes.iter().map(|vote| if vote.is_some() { 'x' } else { '_' }).collect();
    let power = |(validator, vote): (&consensus::Validator, &Option<Vote>)| vote.as_ref().map_or(0, |_| validator.power);
    let voted: u64 = state.validators.as_slice().iter().zip(votes).map(power).sum();
    let total = state.validators.total_power();
    let percent = (u128::from(voted) * 100 + u128::from(total) / 2).checked_div(u128::from(total)).unwrap_or(0);
    format!("BA{{{}:{marks}}} {voted}/{total} = {}.{:02}", votes.len(), percent / 100, percent % 100)
}
