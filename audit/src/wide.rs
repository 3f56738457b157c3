//! Many nodes of a tree in one call: as wide as the processor's vectors allow.
//!
//! `blake3` publishes the function used here for its own benchmarks and promises nothing about
//! it, hence the exact pin in the workspace's manifest, this one module, and a test that every
//! output equals [`Domain::pair`]'s. Should it go, a loop over [`Domain::pair`] serves in its
//! place: the same roots, five to six times slower where measured with AVX-512.

use blake3::IncrementCounter;
use blake3::platform::Platform;
use types::Domain;

// BLAKE3 specification, section 2.2, table 3.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;
const KEYED_HASH: u8 = 1 << 4;

/// How many blocks go into one call: several times the widest vector (16), few enough that the
/// list of references stays in the first-level cache.
const GROUP: usize = 64;

/// Hashes each block of `pairs`, two hashes side by side, to the place in `out` with the same
/// number: [`Domain::pair`] of its halves.
///
/// # Panics
/// When `out` is not as long as `pairs`.
pub fn hash_pairs(domain: &Domain, pairs: &[[u8; 64]], out: &mut [[u8; 32]]) {
    assert_eq!(pairs.len(), out.len(), "one hash for each pair");
    let Some(first) = pairs.first() else { return };
    let mut blocks = [first; GROUP];
    let key = words(domain.key());
    let platform = Platform::detect();
    for (pairs, out) in pairs.chunks(GROUP).zip(out.chunks_mut(GROUP)) {
        for (block, pair) in blocks.iter_mut().zip(pairs) {
            *block = pair;
        }
        // A block of exactly 64 bytes is a whole chunk and a whole message: first, last and root.
        let end = CHUNK_END | ROOT;
        let out = out.as_flattened_mut();
        platform.hash_many(&blocks[..pairs.len()], &key, 0, IncrementCounter::No, KEYED_HASH, CHUNK_START, end, out);
    }
}

fn words(key: &[u8; 32]) -> [u32; 8] {
    let (bytes, _) = key.as_chunks::<4>();
    std::array::from_fn(|word| u32::from_le_bytes(bytes[word]))
}

#[cfg(test)]
mod tests {
    use types::Hash;

    use super::hash_pairs;
    use crate::domains::{LEAF, NODE};

    /// `count` blocks that differ in every byte.
    fn blocks(count: usize) -> Vec<[u8; 64]> {
        let block = |number: usize| {
            let mut block = [0; 64];
            let mut output = blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof();
            output.fill(&mut block);
            block
        };
        (0..count).map(block).collect()
    }

    #[test]
    fn every_width_equals_the_plain_keyed_hash() {
        let blocks = blocks(1_000);
        for domain in [&LEAF, &NODE] {
            // Below, at and above every vector width and the size of a group.
            for count in (0..=130).chain([1_000]) {
                let mut out = vec![[0; 32]; count];
                hash_pairs(domain, &blocks[..count], &mut out);
                for (block, found) in blocks.iter().zip(out) {
                    let (halves, _) = block.as_chunks::<32>();
                    assert_eq!(Hash(found), domain.pair(&Hash(halves[0]), &Hash(halves[1])), "of {count} blocks");
                }
            }
        }
    }
}
