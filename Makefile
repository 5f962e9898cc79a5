# The commands of this project: `make run` builds and serves, `make test` sets up what it needs and runs everything.
# The dependency s3s declares a newer Rust than it needs; --ignore-rust-version lets it compile all the same.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
CLIENTS := $(or $(ARTIFACTSTORE_CLIENTS),$(TARGET)/clients)
# CI says LOCKED=--locked, so that a Cargo.lock nobody committed is a failure and not a surprise.
LOCKED ?=
ROUNDS ?= 5000
CARGO_FLAGS := --ignore-rust-version $(LOCKED)
export LOCKED
export CARGO_TARGET_DIR := $(TARGET)
export ARTIFACTSTORE_CLIENTS := $(CLIENTS)

# What `make bench` runs and where it writes; docs/performance.md explains each, and BENCH_PEERS, BENCH_OPS and the others
# that go straight to the program.
BENCH_SECONDS ?= 5
BENCH_FOLDER ?= $(TARGET)/bench
BENCH_PAGE ?= docs/performance.md
BENCH_ARTIFACTSTORE ?= $(TARGET)/release/artifactstore
export BENCH_SECONDS BENCH_FOLDER BENCH_ARTIFACTSTORE
BENCH := $(TARGET)/release/artifactstore-bench

.PHONY: help run run-cluster build failpoints clients sdk postgres test test-rgw crash soak bench bench-quick bench-cluster bench-programs fuzz lint golden clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 20

run: ## build and serve: S3 on 127.0.0.1:9000, admin on 127.0.0.1:9001, everything kept in ./data
	cargo run --release $(CARGO_FLAGS) -p artifactstore-gateway --bin artifactstore -- serve

# What `make run-cluster` tells examples/cluster/run besides, such as --gateways 3.
CLUSTER ?=

run-cluster: ## PostgreSQL, a Ceph RGW and two gateways behind nginx on this machine, until Ctrl-C; installs them as root
	cargo build --release $(CARGO_FLAGS) -p artifactstore-gateway --bin artifactstore
	@exec examples/cluster/run --program "$(TARGET)/release/artifactstore" $(CLUSTER)

build: ## build the program as the tests use it
	cargo build $(CARGO_FLAGS) --workspace --bins

failpoints: ## build the program once more, so that the crash tests can end it at a named step
	cargo build $(CARGO_FLAGS) --workspace --features artifactstore-gateway/failpoints --bin artifactstore-failpoints

clients: ## install the real clients of PyPI and npm into an environment of their own
	tests/clients/setup "$(CLIENTS)"

postgres: # the tests start servers of their own; what they need is the programs
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
		{ echo "PostgreSQL is missing, and the tests want a real one: apt install postgresql-15" >&2; exit 1; }

sdk: # the AWS SDK for Rust, as a client: a program and a workspace of its own
	cargo build --manifest-path tests/clients/rust/Cargo.toml --target-dir "$(TARGET)/sdk" $(CARGO_FLAGS)

test: postgres clients sdk build failpoints ## everything: unit tests, then every promise on the real program with real clients
	tests/run unit
	cargo test $(CARGO_FLAGS) --workspace --doc --quiet
	tests/run promises
	tests/suites postgres-local
	@"$(CLIENTS)/bin/python" tests/clients/count_junit.py "$(TARGET)"/reports/unit/junit.xml \
		"$(TARGET)"/reports/promises/junit.xml "$(TARGET)"/reports/postgres-local/junit.xml

test-rgw: postgres clients sdk build failpoints ## the promises on a real Ceph RGW, killed and filled up, with PostgreSQL beside it; installs Ceph as root
	tests/rgw/run

bench-programs:
	cargo build --release $(CARGO_FLAGS) -p artifactstore-gateway --bin artifactstore
	cargo build --release $(CARGO_FLAGS) -p artifactstore-bench --bin artifactstore-bench

bench: export BENCH_RESULTS := $(TARGET)/bench/results
bench: bench-programs ## measure: micro benches, the log, then this gateway beside other servers (docs/performance.md)
	cargo bench $(CARGO_FLAGS) -p artifactstore-bench --bench micro -- --noplot
	"$(BENCH)" log
	"$(BENCH)" listing
	"$(BENCH)" machine
	"$(BENCH)" wire --heavy
	"$(BENCH)" report --criterion "$(TARGET)/criterion" $(if $(BENCH_PAGE),--page "$(BENCH_PAGE)")

bench-quick: export BENCH_RESULTS := $(TARGET)/bench/quick
bench-quick: bench-programs ## measure this gateway alone and the machine's limits, shortly
	"$(BENCH)" machine --seconds 1.5
	"$(BENCH)" wire --peers artifactstore --seconds 1.5
	"$(BENCH)" report --criterion "$(TARGET)/bench/quick"

bench-cluster: bench-programs ## measure Ceph RGW direct, through one gateway and through two behind nginx; installs them as root
	bench/cluster --program "$(BENCH_ARTIFACTSTORE)" --bench "$(BENCH)" --seconds $(BENCH_SECONDS)

crash: failpoints ## the crash sweep for thousands of rounds (ROUNDS=5000, SEED=...)
	ARTIFACTSTORE_CRASH_ROUNDS=$(ROUNDS) $(if $(SEED),ARTIFACTSTORE_CRASH_SEED=$(SEED)) \
		cargo test $(CARGO_FLAGS) --workspace --test crash -- --nocapture

# How long each half of `make soak` takes: SQLite with one gateway, then PostgreSQL with two.
SOAK_SECONDS ?= 120

soak: postgres build ## upload, overwrite, delete, finalize, collect garbage and kill, all at once, for minutes (SOAK_SECONDS=120)
	SOAK_SECONDS=$(SOAK_SECONDS) ARTIFACTSTORE_BINARY="$(TARGET)/debug/artifactstore" \
		cargo test $(CARGO_FLAGS) --workspace --test it soak:: -- --nocapture --test-threads=1

lint: ## format, clippy without warnings, licences and advisories where cargo-deny is there
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets --features artifactstore-tests/rgw -- -D warnings
	cargo clippy $(CARGO_FLAGS) --workspace --features artifactstore-gateway/failpoints --bins -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then \
		cargo deny --all-features check bans licenses sources advisories; \
	else \
		echo "cargo-deny is not available: licences and advisories were not checked"; \
	fi

# How long `make fuzz` gives each of its targets.
FUZZ_SECONDS ?= 30
export FUZZ_SECONDS

fuzz: ## feed bytes at random to what reads those of strangers: keys, ranges, chunks, manifests (FUZZ_SECONDS=30 each)
	fuzz/run

golden: clients build ## rewrite the golden files; review reads the difference
	"$(CLIENTS)/bin/python" tests/clients/golden_manifest.py tests/golden
	ARTIFACTSTORE_GOLDEN=write cargo test $(CARGO_FLAGS) --workspace --test it -- golden:: retention_matrix::
	git diff --stat -- tests/golden docs/retention-matrix.md

clean: ## forget everything that was built and installed
	cargo clean
	rm -rf target
