//! Challenges: a nonce that says by itself when and for which device it was drawn.
//!
//! Bytes: the time (8, big endian, milliseconds since 1970), 8 of entropy, and 16 of a keyed hash over
//! both and the device, under a key that only relays with the same tokens' key have.

use mailbox::Address;
use types::{Domain, Encode as _, Hash, Millis, SigningKey};

/// For how long a challenge counts, in milliseconds.
pub const CHALLENGE_MS: u64 = 60_000;

static KEY: Domain = Domain::new("zynk.2026 relay challenge key v1");
static MARK: Domain = Domain::new("zynk.2026 relay challenge v1");

/// Draws challenges and knows its own again.
#[derive(Clone)]
pub struct Challenges {
    key: Hash,
}

impl std::fmt::Debug for Challenges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Challenges")
    }
}

impl Challenges {
    /// Challenges under the key of the access tokens.
    #[must_use]
    pub fn new(key: &SigningKey) -> Self {
        Self { key: KEY.hash(&[key.seed()]) }
    }

    /// A challenge for a device, and until when it counts.
    #[must_use]
    pub fn draw(&self, address: &Address, now: Millis, entropy: [u8; 8]) -> (Hash, Millis) {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&now.0.to_be_bytes());
        nonce[8..16].copy_from_slice(&entropy);
        let mark = self.mark(address, &nonce);
        nonce[16..].copy_from_slice(&mark);
        (Hash(nonce), Millis(now.0.saturating_add(CHALLENGE_MS)))
    }

    /// Until when a challenge counts, if it was drawn here for this device and counts still. Whether
    /// it was answered before is the store's to say.
    #[must_use]
    pub fn expires(&self, address: &Address, nonce: &Hash, now: Millis) -> Option<Millis> {
        let mut drawn = [0; 8];
        drawn.copy_from_slice(&nonce.0[..8]);
        let drawn = u64::from_be_bytes(drawn);
        let mark = self.mark(address, &nonce.0);
        // Without a shortcut at the first byte that differs.
        let differing = mark.iter().zip(&nonce.0[16..]).fold(0, |differing, (ours, theirs)| differing | (ours ^ theirs));
        let expires = drawn.checked_add(CHALLENGE_MS)?;
        (differing == 0 && now.0 < expires).then_some(Millis(expires))
    }

    fn mark(&self, address: &Address, nonce: &[u8; 32]) -> [u8; 16] {
        let mut mark = [0; 16];
        mark.copy_from_slice(&MARK.hash(&[&self.key.0, &nonce[..16], &address.to_bytes()]).0[..16]);
        mark
    }
}
