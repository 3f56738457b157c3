# What people and CI type. `make run`, `make demo` and `make test` share one build profile.

.PHONY: run demo test bench release soak faults simulate fuzz lint doc tools

ARGS ?=
KILLS ?= 100
SEEDS ?= 1000
SEED ?=
FUZZ ?= 60

run: tools ## Start four validators, a relay and a gateway on loopback; Ctrl-C stops them
	@cargo build
	@exec cargo run --quiet -- devnet $(ARGS)

demo: tools ## Play the whole story against a throw-away network, attacks included
	@cargo build
	@cargo run --quiet -- demo $(ARGS)

test: tools ## Everything
	cargo test --workspace

bench: tools ## Our code beside others' code, in one run
	cargo bench --workspace --bench batch_tree --bench bundle --bench light_block --bench signatures --bench state_commit -- $(ARGS)

release: tools ## The binary that operators run: target/release/zynk
	cargo build --release

soak: faults fuzz ## Everything that takes long: faults and fuzzing

faults: ## The long fault runs; KILLS=3 for a short one
	@tools/install faults
	ZYNK_KILLS=$(KILLS) cargo test --release --test crashes --test faults --test relay -- --ignored --nocapture

fuzz: ## Arbitrary bytes into every decoder that a stranger can reach, FUZZ=60 seconds each
	@tools/install fuzz
	tools/fuzz $(FUZZ)

simulate: tools ## Whole networks out of seeds, in one process (docs/simulation.md); SEED=7 replays one
	ZYNK_SEEDS=$(SEEDS) ZYNK_SEED=$(SEED) cargo test --workspace --test simulation many_networks -- --ignored --nocapture

lint: tools
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

doc: tools
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

tools:
	@tools/install
