//! Believes one signed header, ours beside the published verifier that ours contains: how many headers a second, of 4 validators and
//! of 100.
//!
//! Ours checks every signature once, the published one stops at two thirds: the difference is the
//! price of a proof that has only one form.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use light::testing::{Chain, validators};
use tendermint_light_client_verifier::types::UntrustedBlockState;
use tendermint_light_client_verifier::{ProdVerifier, Verdict};
use types::Hash;

fn light_block(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("light block");
    group.sample_size(20);
    for count in [4u8, 100] {
        let chain = Chain::new("zynk-bench-1");
        let seeds: Vec<u8> = (1..=count).collect();
        let set = validators(&seeds);
        let signed = chain.block(5, Hash::ZERO, &set, &set);
        let trust = chain.genesis(&set);
        let untrusted = || UntrustedBlockState { signed_header: &signed, validators: set.set(), next_validators: None };
        let published = |state: &UntrustedBlockState<'_>| {
            let verifier = ProdVerifier::default();
            (verifier.verify_validator_sets(state), verifier.verify_commit(state))
        };
        assert!(trust.accept(&signed).is_ok(), "ours must believe the block");
        assert_eq!(published(&untrusted()), (Verdict::Success, Verdict::Success), "the published one must, too");

        group.throughput(Throughput::Elements(1));
        group.bench_with_input(BenchmarkId::new("ours, accept", count), &signed, |bench, signed| {
            bench.iter(|| trust.accept(black_box(signed)));
        });
        group.bench_with_input(BenchmarkId::new("published, ProdVerifier", count), &untrusted(), |bench, state| {
            bench.iter(|| published(black_box(state)));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    light_block(&mut criterion);
    criterion.final_summary();
}
