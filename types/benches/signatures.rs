//! Checks 64 signatures of 64 keys over messages of a transaction's size: by the strict rule one at a
//! time, as transactions are checked; by ZIP-215 one at a time, as votes are; by ZIP-215 in a batch.
//!
//! There is no batch by the strict rule: a batch multiplies by the cofactor, so it may take what
//! `verify_strict` refuses, and two machines that cut their batches differently would disagree. The
//! last line says what that costs.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tendermint::crypto::default::signature::Verifier;
use tendermint::crypto::signature::Verifier as _;
use types::{PublicKey, Signature, SigningKey};

/// How many signatures are checked.
const COUNT: u8 = 64;
/// How long a message is, in bytes: a transfer.
const MESSAGE: usize = 200;

struct Signed {
    key: PublicKey,
    message: Vec<u8>,
    signature: Signature,
}

fn signed() -> Vec<Signed> {
    let one = |seed| {
        let (key, message) = (SigningKey::from_seed(&[seed; 32]), vec![seed; MESSAGE]);
        Signed { key: key.public(), signature: key.sign(&message), message }
    };
    (1..=COUNT).map(one).collect()
}

fn strict(all: &[Signed]) -> bool {
    all.iter().all(|signed| signed.key.verify(&signed.message, &signed.signature))
}

fn zip215(all: &[(tendermint::PublicKey, Vec<u8>, tendermint::Signature)]) -> bool {
    all.iter().all(|(key, message, signature)| Verifier.verify(*key, message, signature).is_ok())
}

fn batch(all: &[Signed]) -> bool {
    let mut batch = ed25519_consensus::batch::Verifier::new();
    for Signed { key, message, signature } in all {
        batch.queue((ed25519_consensus::VerificationKeyBytes::from(key.0), ed25519_consensus::Signature::from(signature.0), message));
    }
    batch.verify(rand_core::OsRng).is_ok()
}

fn signatures(criterion: &mut Criterion) {
    let all = signed();
    let votes: Vec<_> = all
        .iter()
        .map(|Signed { key, message, signature }| {
            let key = tendermint::PublicKey::from_raw_ed25519(&key.0).expect("a key");
            let signature = tendermint::Signature::try_from(signature.0.as_slice()).expect("64 bytes");
            (key, message.clone(), signature)
        })
        .collect();
    assert!(strict(&all) && zip215(&votes) && batch(&all), "all three must check the same signatures");
    let mut bent = signed();
    bent[7].message[0] ^= 1;
    assert!(!strict(&bent) && !batch(&bent), "and none may take a wrong one");

    let mut group = criterion.benchmark_group("signatures");
    group.throughput(Throughput::Elements(COUNT.into()));
    group.bench_function("ours, strict, one at a time", |bench| bench.iter(|| strict(black_box(&all))));
    group.bench_function("tendermint, ZIP-215, one at a time", |bench| bench.iter(|| zip215(black_box(&votes))));
    group.bench_function("ed25519-consensus, ZIP-215, a batch", |bench| bench.iter(|| batch(black_box(&all))));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    signatures(&mut criterion);
    criterion.final_summary();
}
