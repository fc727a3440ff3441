# The two commands of the README, and what they are made of.

.PHONY: demo demo-release test lint unit fuzz real emulated cgroup-v2 bench-piuparts bench-catalogue bench-archive bench-identical bench-engines

# Tests that need a container engine, or root and overlayfs.
REAL = binary(real) or binary(agents) or binary(catalogue) or binary(engine_conformance) or binary(docker_engine) \
	or binary(embedded_engine) or binary(embedded_escapes) or binary(embedded_store)

# An emulator takes as long for these as all others take together.
EMULATED = binary(real) and test(emulation::)

# Builds and archives the demo agent, from nothing.
demo:
	.ci/setup.sh
	cargo build --locked
	.ci/demo.sh

# Releases two tags of the demo agent into a signed repository, and installs from it with apt and dnf.
demo-release:
	.ci/setup.sh release
	cargo build --locked
	.ci/demo-release.sh

# Everything that has to be true. Built once from nothing, so what makes a second build quick would only take room.
test: export CARGO_INCREMENTAL = 0
test:
	.ci/setup.sh test
	$(MAKE) lint
	$(MAKE) unit
	$(MAKE) fuzz
	.ci/demo.sh
	$(MAKE) real

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	shellcheck .ci/*.sh .ci/bench-archive/*.sh .ci/cgroup-v2/*.sh .ci/run builders/*/*.sh tests/fixtures/*.sh tests/fixtures/demo-agent/*.sh tests/fixtures/declared-agent/scripts/*.sh \
		tests/fixtures/catalogue/*.sh tests/fixtures/catalogue/*/*.sh
	shellcheck -s sh src/plan/packaging/scripts/*.sh
	cargo deny check bans licenses sources

# Hermetic tests: seconds.
unit:
	cargo nextest run --locked -E 'not ($(REAL))'

# Readers of foreign bytes, from the corpus in fuzz/corpus, so many seconds each.
SECONDS = 10
fuzz:
	.ci/fuzz.sh $(SECONDS)

# Tests on a real engine; they share the images that the demo made.
real:
	tests/fixtures/fetch-sources.sh target/sources
	tests/fixtures/catalogue/make.sh target/catalogue
	cargo nextest run --locked -E '($(REAL)) and not ($(EMULATED))'

# The demo agent for another architecture, from its build to its replay: ten minutes, and twice that without its images.
emulated:
	.ci/setup.sh test
	cargo nextest run --locked -E '$(EMULATED)'

# The embedded engine on a kernel with cgroup v2 alone, in a virtual machine: without KVM in user-mode Linux.
cgroup-v2:
	.ci/setup.sh vm
	.ci/cgroup-v2.sh

# The table of what piuparts and Packhold find, and in what time: an hour.
bench-piuparts:
	.ci/setup.sh bench
	cargo build --locked
	.ci/bench-piuparts.sh tests/fixtures/catalogue/PIUPARTS.md

# Whether Docker, podman and Packhold's own engine give the same bytes: half an hour.
bench-identical:
	.ci/setup.sh bench
	cargo build --locked
	.ci/bench-identical.sh benches/IDENTICAL.md

# How long searches take in an archive of 100,000 runs.
bench-catalogue:
	.ci/setup.sh
	.ci/bench-catalogue.sh

# The tables of how an archive grows and how quick it is: hours; with QUICK=1 minutes.
bench-archive:
	.ci/setup.sh bench
	cargo build --locked --release --bin packhold --example archive_bench
	mkdir -p benches
	.ci/bench-archive.sh benches/ARCHIVE.md

# The table of how quick the engines are: half an hour; with QUICK=1 some minutes.
bench-engines:
	.ci/setup.sh bench
	cargo build --locked --release --bin packhold --example engine_bench
	mkdir -p benches
	.ci/bench-engines.sh benches/ENGINES.md
