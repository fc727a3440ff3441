//! Packhold turns a git commit of an agent into deb and rpm packages. It builds them in disposable distro containers,
//! proves in fresh images that they install and leave, and archives images, sources and packages so that the same bytes
//! can be had again when every registry and mirror is gone.
//!
//! # Vocabulary
//!
//! One word per thing: in types, files, command line and logs.
//!
//! | word | meaning |
//! |---|---|
//! | pipeline | a TOML file: one source, the targets to build it for, how to verify and archive ([`config::Pipeline`]) |
//! | description | what a pipeline says of a package so that its packaging can be made ([`config::PackageSection`], [`plan::packaging`]) |
//! | builder | a folder of scripts: one distro release as a place to build and to verify ([`config::Builder`]) |
//! | family | a builder without a base image, there to be extended: `deb`, `rpm` |
//! | target | one builder × one package format: `debian-12/deb` ([`model::TargetName`]) |
//! | source tree | the files of one commit as a deterministic tar; its digest and commit time identify it |
//! | userland | what a registry, a bootstrap or a tar gives: a bare root file system |
//! | base image | the userland, with the builder's `base.sh` applied where it has one |
//! | builder image | base image + packaging tools |
//! | deps image | builder image + build dependencies; the build runs in it with the network off |
//! | stage | source → prepare (once, shared) → deps → build → verify → reproduce (on demand) → archive → publish (on demand) ([`model::Stage`]) |
//! | step | one command that ran in a container ([`model::StepRecord`]) |
//! | scenario | what verify puts packages through: install, upgrade, purge … ([`model::Scenario`]) |
//! | check | one thing that verify looked at, with its outcome and what shows it ([`model::Check`]) |
//! | exception | what a pipeline accepts although it is found, with a reason ([`config::Exception`]) |
//! | verify image | base image + what the packages need of others; or + an init system, or the distro's lint |
//! | artifact | a file that a build left ([`model::Artifact`]) |
//! | run | one execution of a pipeline for one commit ([`model::RunId`]) |
//! | run record | the one document that says what happened; every view is drawn from it ([`model::RunRecord`]) |
//! | message | what others are told when a run is over ([`notify`]) |
//! | finding | what a run has against a package, or what kept it from being made, as other tools are told ([`report::Finding`]) |
//! | outcome | passed · failed(stage, reason) · broken · skipped · infra(stage, reason): data, not an error ([`model::Outcome`]) |
//! | key | the digest of everything that can change a result; the same key means that it need not be made again ([`plan`]) |
//! | condition | something about the surroundings of a build that no package should depend on ([`model::Condition`]) |
//! | lock | the images that a pipeline is built in, by identity, with their packages ([`config::Lock`]) |
//! | archive | a folder in OCI image layout, blobs written once ([`mod@archive`]) |
//! | page | a blob that lists older runs as the archive's index would |
//! | catalogue | a database made of the archive, for searches; nothing is lost with it |
//! | compare | two packages of one name, member by member ([`compare`](mod@compare)) |
//! | engine | what runs containers ([`engine::Engine`]) |
//! | receipt | what a run made of what, signed: in-toto and SLSA ([`provenance`]) |
//! | certificate | the public part of an OpenPGP key: what users import ([`sign::Certificate`]) |
//! | release | a tag of a version, built, verified, archived and published ([`run::tag`], [`run::publish`]) |
//! | channel | how tested something is that users may choose: snapshot, testing, stable ([`publish::Channel`]) |
//! | suite, tree | what apt, or yum, reads of a repository for one distro release in one channel ([`publish`](mod@publish)) |
//! | place | where a repository is: a folder, a bucket, a folder that rsync reaches ([`publish::Place`]) |
//! | remote | a registry, a bucket or another archive to which runs are pushed and from which they are pulled ([`remote`]) |
//! | sandbox | one container as a scope, removed whatever happens ([`sandbox`]) |
//!
//! # Layers
//!
//! A module imports only from layers below its own; `tests/architecture.rs` fails on an upward import. Only
//! `engine/docker` names bollard, only `engine/embedded` libcontainer and the crates for namespaces and filters, only [`mod@archive`] names oci-spec and rusqlite, only [`sign`] pgp, only [`mod@bucket`] and the buckets of [`remote`] and [`publish`] object_store, only [`cli`] prints, reads the environment and exits.
//!
//! ```text
//! main.rs            parse, call, exit code
//! 7 cli/             one file per command
//! 6 run/             scheduler: request → run record; parallelism, cancellation, events
//! 5 stage/           source prepare deps build verify archive: one function each, typed in, typed out
//! 4 provenance/      receipt (in-toto, SLSA, DSSE) and SBOM
//! 4 notify/          telling others that a run is over: webhooks, programs, commit statuses
//! 4 publish/         apt/ yum/: packages → repository files, then an atomic switch
//! 4 remote/          registry, bucket, another archive: push and pull of runs
//! 4 sandbox/         one disposable container as a scope: limits, time-outs; always removed
//! 4 init/            what a repository holds → a first pipeline for it (pure but for reading)
//! 4 plan/            pure: what is built from what, and under which key
//! 4 report/          pure functions from the run record, and what the archive has beside it, to text and pages
//! 3 engine/          trait Engine + docker, embedded, fake, conformance; own types only
//! 3 archive/         layout, blobs, index, import and export, verify, prune, restore; FORMAT.md is its specification
//! 3 source/          commit → deterministic tar; version from tags or packaging
//! 3 compare/         two packages, member by member (pure)
//! 3 config/          pipelines and builders: parse, check, errors with file:line and a hint
//! 3 sign/            OpenPGP: keys, signatures over repositories and packages, checks of those of others
//! 3 versions/        whether one version is an upgrade of another, by dpkg's and rpm's orders (pure)
//! 2 chunks/          blobs in pieces: cut, compressed, packed, listed; below archive and engine
//! 2 bucket           buckets of S3-compatible storage: opened, named, filled
//! 1 registry/        speaking with OCI registries: credentials, trust, errors
//! 1 serve/           a folder, and what is fetched into it, over HTTP, for containers of this machine
//! 1 model/           ids, digests, target, artifact, outcome, run record, event
//! 0 support/         paths in errors, hints, safe text, safe tar
//! ```
//!
//! # How a run goes
//!
//! [`run::execute`] exports the commit, adds packaging where the pipeline describes the package, and works on the targets side by side. For each it finds or makes three images
//! by their keys, first in the engine's store, then in the archive, else by making them: base, builder, deps. The build runs in the deps image as an
//! ordinary user with no network and no capabilities; its artifacts are taken out as a tar that is treated as hostile. They go
//! through scenarios in fresh containers of verify images: chains of those that share a start, side by side. What was built or verified under the same key before is
//! taken from the archive. At the end everything becomes visible in the archive at once.
//!
//! Nothing of the host is ever mounted into a container: sources go in and artifacts come out as streams.

pub mod archive;
pub mod bucket;
mod chunks;
pub mod cli;
pub mod compare;
pub mod config;
pub mod engine;
pub mod init;
pub mod model;
pub mod notify;
pub mod plan;
pub mod provenance;
pub mod publish;
pub mod registry;
pub mod remote;
pub mod report;
pub mod run;
pub mod sandbox;
pub mod serve;
pub mod sign;
pub mod source;
pub mod stage;
pub mod support;
pub mod versions;
