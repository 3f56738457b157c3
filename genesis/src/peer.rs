//! Peer ids: how a node is named on the networks that carry blocks and transactions.
//!
//! libp2p's peer id of an ed25519 key is the key itself in a protobuf message in an identity
//! multihash, so it is computed here without libp2p. Source: libp2p `peer-ids.md`.

use types::{Blob, PublicKey};

/// Identity multihash of 36 bytes: a message with key type 1 (ed25519) and 32 bytes of data.
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The peer id of a node's key, as multihash bytes: 38 of them.
#[must_use]
pub fn peer_id_bytes(key: &PublicKey) -> Vec<u8> {
    [&PREFIX[..], &key.0].concat()
}

/// The peer id as the genesis and the state hold it.
#[must_use]
pub fn peer_id_blob(key: &PublicKey) -> Blob<64> {
    peer_id_bytes(key).try_into().expect("38 bytes are within the bound")
}

/// The peer id as people and multiaddresses write it: base58btc, `12D3KooW…`.
#[must_use]
pub fn peer_id_text(key: &PublicKey) -> String {
    bs58::encode(peer_id_bytes(key)).into_string()
}

/// The bytes of a peer id out of its text, if it is that of a usable ed25519 key.
#[must_use]
pub fn parse(text: &str) -> Option<Vec<u8>> {
    let bytes = bs58::decode(text).into_vec().ok()?;
    key_of_peer(&bytes).map(|_| bytes)
}

/// The key that a peer id holds, if it is that of a usable ed25519 key.
#[must_use]
pub fn key_of_peer(id: &[u8]) -> Option<PublicKey> {
    let key = id.strip_prefix(&PREFIX)?.try_into().map(PublicKey).ok()?;
    key.is_usable().then_some(key)
}
