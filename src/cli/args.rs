use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::ci::Told;
use super::diff::DiffArguments;
use super::report::ReportArguments;
use super::shell::ShellArguments;
use super::signing_args::{KeyArguments, NamedKeys, SigningArguments};
use super::why::WhyArguments;
use crate::model::{ImageRole, Scenario, TargetName};

/// Turns a git commit into deb and rpm packages: builds them in disposable containers, proves that they install, and
/// archives images and artifacts so that they can be had again a year later.
#[derive(Debug, Parser)]
#[command(
    name = "packhold",
    version,
    after_help = "Exit codes: 0 done, 1 a package failed, 2 usage or configuration, 3 infrastructure, 130 interrupted."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Debug)]
pub(super) struct Common {
    /// The archive's folder [default: packhold/archive in the XDG data folder]
    #[arg(long, global = true, env = "PACKHOLD_ARCHIVE", value_name = "DIR")]
    pub archive: Option<PathBuf>,
    /// How to show what happens: a live board on a terminal and plain lines elsewhere, plain lines, or JSON events
    #[arg(long, global = true, value_enum, default_value_t)]
    pub format: OutputFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    #[default]
    Auto,
    Plain,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look at a repository and write a pipeline that fits: packhold.toml
    Init(InitArguments),
    /// Build, verify and archive the packages of a commit
    Run(RunArguments),
    /// Say what a run would do, and why
    Plan(RunArguments),
    /// Make the images of a pipeline anew and lock them: write packhold.lock, and say what changes
    Update(UpdateArguments),
    /// Write the packaging that is made of the pipeline's package section, debian/ and a spec file, into the repository, to be kept by hand
    Eject(EjectArguments),
    /// Put package files that are there already through the scenarios of a verification
    Verify(VerifyArguments),
    /// Print the logs of an archived run
    Log(LogArguments),
    /// Say why a run did what it did: why it ran, why not from the cache, why it failed
    Why(WhyArguments),
    /// Say what differs between two runs: sources, what was built from what, images, packages, durations
    Diff(DiffArguments),
    /// Open a shell where a run failed: the environment of the failed step, made anew up to that step
    Shell(ShellArguments),
    /// Write what an archived run did as a page for browsers or for other tools, or a site of all runs
    Report(ReportArguments),
    /// List, show, check and restore what is archived
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Build the packages of a tag, archive them and put them into signed apt and yum repositories: all of `run` and `publish`
    Release(ReleaseArguments),
    /// Put the packages of an archived run into signed apt and yum repositories, and install them from there
    Publish(PublishArguments),
    /// Put the packages of a repository that reprepro, aptly or createrepo made into signed apt and yum repositories
    Import(ImportArguments),
    /// Look at keys that sign packages and repositories
    #[command(subcommand)]
    Key(KeyCommand),
    /// Check engine, disk, tools, mirror and name resolution, and what the keys need that sign repositories
    Doctor(DoctorArguments),
    /// Remove what killed runs left: containers and temporary folders
    Clean(EngineArguments),
    /// Run a command with the eyes of an ordinary user's embedded engine: as root of its user namespace, in which the files of
    /// the engine's folder can be read and removed
    Unshare {
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual: a page for each command, as man(1) reads it
    Man {
        /// The folder that gets the pages, such as /usr/local/share/man/man1; it is made if it is not there
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Print a JSON schema: of the files that people write, for editors, or of the run record, for programs that read it
    Schema {
        /// What it is of
        #[arg(value_enum, default_value_t)]
        of: SchemaOf,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// A pipeline file, packhold.toml
    #[default]
    Pipeline,
    /// A builder's builder.toml
    Builder,
    /// The record of a run: the last line of `run --format json`
    RunRecord,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Open keys, sign something with them, and print fingerprint, user id and expiry
    Check(KeyArguments),
}

#[derive(Args, Debug)]
pub(super) struct PublishArguments {
    /// A run's id, the beginning of one, or `latest` [default: latest]
    pub run: Option<String>,
    /// Take the packages of the run from this channel, the same bytes, instead of from the archive
    #[arg(long, value_name = "CHANNEL")]
    pub promote: Option<String>,
    /// Bring back what the channel had before its last publication
    #[arg(long, conflicts_with_all = ["run", "promote", "targets", "allow_downgrade"])]
    pub rollback: bool,
    /// Only this target (may be given several times)
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
    /// The channel that gets the packages: stable, testing, snapshot or a name of your own
    #[arg(long)]
    pub channel: String,
    #[command(flatten)]
    pub destination: DestinationArguments,
}

#[derive(Args, Debug)]
pub(super) struct ReleaseArguments {
    /// The tag, such as v1.2.3; it is made if there is none
    pub tag: String,
    /// A pipeline file, or the name of a built-in pipeline [default: packhold.toml in this folder]
    pub pipeline: Option<String>,
    /// The commit that the tag is made on, or must be on [default: HEAD, if there is no such tag]
    #[arg(long, value_name = "REV")]
    pub commit: Option<String>,
    /// The git repository to build, a path or an address, instead of what the pipeline says
    #[arg(long, value_name = "REPOSITORY")]
    pub source: Option<String>,
    /// Release only a tag with a signature of one of the OpenPGP certificates in this file
    #[arg(long, value_name = "FILE")]
    pub tag_keyring: Option<PathBuf>,
    /// The channel that gets the packages
    #[arg(long, default_value = "stable")]
    pub channel: String,
    /// Build in the images of the pipeline's lock, or not at all
    #[arg(long)]
    pub locked: bool,
    /// How many targets are worked on at once [default: number of cores]
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Give no container the privileges that an init system needs: services are not tried
    #[arg(long)]
    pub no_systemd: bool,
    /// Sign the receipt with this ed25519 key (PKCS #8, PEM)
    #[arg(long, value_name = "FILE", env = "PACKHOLD_RECEIPT_KEY")]
    pub receipt_key: Option<PathBuf>,
    #[command(flatten)]
    pub told: Told,
    #[command(flatten)]
    pub destination: DestinationArguments,
}

/// Where a repository is.
#[derive(Args, Debug)]
pub(super) struct RepositoryArguments {
    /// Where the repository is: a folder that a web server offers, s3://BUCKET/PREFIX, rsync:HOST:PATH or rsync://HOST/MODULE/PATH
    #[arg(long, value_name = "PLACE", env = "PACKHOLD_REPOSITORY")]
    pub to: std::ffi::OsString,
    #[command(flatten)]
    pub place: PlaceArguments,
}

/// Where packages are published, and how.
#[derive(Args, Debug)]
pub(super) struct DestinationArguments {
    #[command(flatten)]
    pub repository: RepositoryArguments,
    #[command(flatten)]
    pub signing: SigningArguments,
    /// The address at which users find the repository: it gets a page that says how to add it
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Publish this package although users have a higher version (may be given several times)
    #[arg(long, value_name = "PACKAGE")]
    pub allow_downgrade: Vec<String>,
    /// Take over, and sign, what another program or another key has published there
    #[arg(long)]
    pub adopt: bool,
    /// Sign rpms there that no known key has signed: dnf refuses them otherwise. Their payloads stay, their files are others
    #[arg(long)]
    pub sign_adopted: bool,
    /// Do not install the packages from the repository in fresh images
    #[arg(long)]
    pub no_check: bool,
    #[command(flatten)]
    pub engine: EngineArguments,
    #[command(flatten)]
    pub userland: UserlandArguments,
}

#[derive(Args, Debug)]
pub(super) struct ImportArguments {
    /// The repository's folder, which is only read: that with dists/ (apt) or repodata/ (yum)
    #[arg(value_name = "DIR")]
    pub from: PathBuf,
    /// Import this suite of dists/ [default: the only one]
    #[arg(long, value_name = "SUITE")]
    pub suite: Option<String>,
    /// The distro release that the packages are for, such as bookworm or rocky-9 [default: the suite's name]
    #[arg(long, value_name = "NAME")]
    pub distro: Option<String>,
    /// Where rpms for all architectures go to, such as x86_64 (may be given several times) [default: the architectures of the others]
    #[arg(long = "architecture", value_name = "ARCH")]
    pub architectures: Vec<String>,
    /// The channel that gets the packages: stable, testing, snapshot or a name of your own
    #[arg(long)]
    pub channel: String,
    #[command(flatten)]
    pub repository: RepositoryArguments,
    #[command(flatten)]
    pub signing: SigningArguments,
    /// The address at which users find the repository: it gets a page that says how to add it
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Take over, and sign, what another program or another key has published in the place
    #[arg(long)]
    pub adopt: bool,
}

#[derive(Args, Debug)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    pub engine: EngineArguments,
    #[command(flatten)]
    pub keys: NamedKeys,
}

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct EngineArguments {
    /// The container engine
    #[arg(long, value_enum, default_value_t)]
    pub engine: EngineChoice,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum EngineChoice {
    /// Docker if it answers, else podman, else embedded
    #[default]
    Auto,
    Docker,
    Podman,
    /// No daemon: this program itself, as root or as an ordinary user with subordinate ids
    Embedded,
}

#[derive(Args, Debug)]
pub(super) struct RunArguments {
    /// A pipeline file, or the name of a built-in pipeline [default: packhold.toml in this folder]
    pub pipeline: Option<String>,
    /// The git revision to build
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub commit: String,
    /// Only this target, such as debian-12/deb, or debian-12/deb/arm64 where the pipeline names an architecture (may be given several
    /// times)
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
    /// The git repository to build, a path or an address, instead of what the pipeline says
    #[arg(long, value_name = "REPOSITORY")]
    pub source: Option<String>,
    #[command(flatten)]
    pub engine: EngineArguments,
    /// How many targets are worked on at once [default: number of cores]
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Build and verify again what was done before
    #[arg(long)]
    pub rebuild: bool,
    /// Build every target again under other conditions (time, path, locale, user, umask, order of files, cores …),
    /// compare, and if something differs build on to find out what it depends on
    #[arg(long)]
    pub check_reproducible: bool,
    /// With --check-reproducible: build at the same path, for packages that hold it by design
    #[arg(long, requires = "check_reproducible")]
    pub keep_build_path: bool,
    /// Build in the images of the pipeline's lock, or not at all: see `packhold update`
    #[arg(long)]
    pub locked: bool,
    /// Run no systemd: its container has CAP_SYS_ADMIN, which holds back no package that wants to break out
    #[arg(long, env = "PACKHOLD_NO_SYSTEMD")]
    pub no_systemd: bool,
    /// Sign the run's receipt with this ed25519 key (PKCS #8, PEM), which only its owner may read
    #[arg(long, env = "PACKHOLD_RECEIPT_KEY", value_name = "FILE")]
    pub receipt_key: Option<PathBuf>,
    #[command(flatten)]
    pub told: Told,
    #[command(flatten)]
    pub userland: UserlandArguments,
}

#[derive(Args, Debug)]
pub(super) struct InitArguments {
    /// The folder of a git repository that gets the pipeline
    #[arg(default_value = ".", value_name = "DIR")]
    pub folder: PathBuf,
    /// Print the pipeline instead of writing it
    #[arg(long)]
    pub print: bool,
    /// Build for this target, such as rocky-9/rpm (may be given several times) [default: what needs Debian's mirror alone]
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
    /// A folder of builders that go in front of the built-in ones
    #[arg(long, env = "PACKHOLD_BUILDERS", value_name = "DIR")]
    pub builders: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct EjectArguments {
    /// A pipeline file [default: packhold.toml in this folder]
    pub pipeline: Option<String>,
    /// The folder of the source tree that gets the files [default: that of the repository that holds the pipeline]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// A folder of builders that go in front of the built-in ones
    #[arg(long, env = "PACKHOLD_BUILDERS", value_name = "DIR")]
    pub builders: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct UpdateArguments {
    /// A pipeline file, or the name of a built-in pipeline [default: packhold.toml in this folder]
    pub pipeline: Option<String>,
    /// The git revision whose packaging says what the builds need
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub commit: String,
    /// Only this target, and those on the same builder (may be given several times)
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
    /// The git repository, a path or an address, instead of what the pipeline says
    #[arg(long, value_name = "REPOSITORY")]
    pub source: Option<String>,
    #[command(flatten)]
    pub engine: EngineArguments,
    /// How many targets are worked on at once [default: number of cores]
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    #[command(flatten)]
    pub userland: UserlandArguments,
}

/// Where builders and their base images come from.
#[derive(Args, Clone, Debug)]
pub(super) struct UserlandArguments {
    /// A folder of builders that go in front of the built-in ones
    #[arg(long, env = "PACKHOLD_BUILDERS", value_name = "DIR")]
    pub builders: Option<PathBuf>,
    /// Pull base images from this registry instead of the one in their names; `none` pulls nothing
    #[arg(long, env = "PACKHOLD_REGISTRY", value_name = "HOST")]
    pub registry: Option<String>,
    /// The mirror that base images are bootstrapped from
    #[arg(long, env = "PACKHOLD_MIRROR", value_name = "URL")]
    pub mirror: Option<String>,
    /// Start a builder from the tar of a root file system; for another architecture BUILDER/ARCHITECTURE=FILE
    #[arg(long, value_name = "BUILDER=FILE", value_parser = builder_and_file)]
    pub base_tar: Vec<(String, PathBuf)>,
}

#[derive(Args, Debug)]
pub(super) struct VerifyArguments {
    /// The packages that are installed together
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The target that they are for, such as debian-12/deb; for another architecture debian-12/deb/arm64
    #[arg(long, value_name = "TARGET")]
    pub target: TargetName,
    /// The pipeline that says what they are put through [default: what holds for every package]
    #[arg(long, value_name = "PIPELINE")]
    pub pipeline: Option<String>,
    /// A package of the release that they replace (may be given several times)
    #[arg(long, value_name = "FILE")]
    pub upgrade_from: Vec<PathBuf>,
    /// Only this scenario, such as upgrade (may be given several times)
    #[arg(long = "scenario", value_name = "SCENARIO")]
    pub scenarios: Vec<Scenario>,
    #[command(flatten)]
    pub engine: EngineArguments,
    /// How many containers run at once [default: number of cores]
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Run no systemd: its container has CAP_SYS_ADMIN, which holds back no package that wants to break out
    #[arg(long, env = "PACKHOLD_NO_SYSTEMD")]
    pub no_systemd: bool,
    #[command(flatten)]
    pub userland: UserlandArguments,
}

fn builder_and_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((builder, file)) if !builder.is_empty() && !file.is_empty() => {
            Ok((builder.to_owned(), file.into()))
        }
        _ => Err("write it as BUILDER=FILE, such as debian-12=root.tar".to_owned()),
    }
}

#[derive(Args, Debug)]
pub(super) struct LogArguments {
    /// A run's id, the beginning of one, or `latest`
    #[arg(default_value = "latest")]
    pub run: String,
    /// Only the logs of this target
    pub target: Option<TargetName>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ArchiveCommand {
    /// List or search the archived runs, newest first
    List(ListArguments),
    /// Show what a run did and what is kept of it
    Show {
        /// A run's id, the beginning of one, or `latest`
        #[arg(default_value = "latest")]
        run: String,
        /// Print the run's receipt instead: an in-toto Statement with SLSA provenance
        #[arg(long)]
        receipt: bool,
        /// With --receipt: in its DSSE envelope, with its signatures, as other tools want it
        #[arg(long, requires = "receipt")]
        dsse: bool,
    },
    /// Check a run's receipt: its signature, and that everything it names is what the archive has
    CheckReceipt {
        /// A run's id, the beginning of one, or `latest`
        run: String,
        /// The public key that has to have signed it (PEM); without one no signature is asked for
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
    },
    /// Read everything and check it against its digests
    Verify {
        /// Bring back what is damaged or missing from another copy of the archive
        #[arg(long, value_name = "DIR")]
        repair_from: Option<PathBuf>,
    },
    /// Remove runs that are not kept, and what belongs to no run
    Prune(PruneArguments),
    /// Bring runs to a registry, a bucket or another archive
    Push(PushArguments),
    /// Fetch runs from a registry, a bucket or another archive
    Pull(PullArguments),
    /// Copy runs to an archive in another folder, which is made if it is not there
    Copy(CopyArguments),
    /// Build a run again from the archive alone, with no network, and compare every file
    Replay(ReplayArguments),
    /// Restore and replay a random sample of runs; meant for cron
    Drill(DrillArguments),
    /// Write a run's artifacts as files, or load one of its images into the engine
    Restore(RestoreArguments),
}

#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("keep").required(true).multiple(true)))]
pub(super) struct PruneArguments {
    /// Keep the newest N runs of each package
    #[arg(long, value_name = "N", group = "keep")]
    pub keep_last: Option<usize>,
    /// Keep runs that are not older than this, such as 90d or 1y
    #[arg(long, value_name = "TIME", group = "keep", value_parser = humantime::parse_duration)]
    pub keep_within: Option<std::time::Duration>,
    /// Keep only the newest N releases of each package [default: releases are never removed]
    #[arg(long, value_name = "N", group = "keep")]
    pub keep_releases: Option<usize>,
    /// Keep every run, and remove only what belongs to none
    #[arg(long, group = "keep", conflicts_with_all = ["keep_last", "keep_within", "keep_releases"])]
    pub keep_all: bool,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Debug)]
pub(super) struct ListArguments {
    /// Only runs of this package
    #[arg(long, value_name = "NAME")]
    pub package: Option<String>,
    /// Only versions that begin so, such as 1.2
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Only commits whose ids begin so
    #[arg(long, value_name = "COMMIT")]
    pub commit: Option<String>,
    /// Only runs with this target, such as debian-12/deb
    #[arg(long, value_name = "TARGET")]
    pub target: Option<TargetName>,
    /// Only outcomes that begin so, such as failed or `failed(build`
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Only runs since a day (2026-11-01), a time (RFC 3339), or a while ago (90d)
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub since: Option<jiff::Timestamp>,
    /// Only runs before a day, a time, or a while ago
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub until: Option<jiff::Timestamp>,
    /// Which run made this file? A file, or its sha256
    #[arg(long, value_name = "FILE|SHA256")]
    pub artifact: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// A day in UTC, a time, or a duration before now.
fn when(text: &str) -> Result<jiff::Timestamp, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time);
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        return jiff::tz::TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).map_err(|error| error.to_string());
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "write a day (2026-11-01), a time (2026-11-01T12:00:00Z) or a while (90d)".to_owned())?;
    jiff::Timestamp::now().checked_sub(ago).map_err(|error| error.to_string())
}

/// Which runs travel.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct WhichRuns {
    /// A run's id, the beginning of one, or `latest` (may be given several times)
    #[arg(value_name = "RUN")]
    pub runs: Vec<String>,
    /// All runs
    #[arg(long)]
    pub all: bool,
}

/// How another place is reached.
#[derive(Args, Debug)]
pub(super) struct PlaceArguments {
    /// Trust this certificate of an authority as well, PEM
    #[arg(long, env = "PACKHOLD_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct PushArguments {
    #[command(flatten)]
    pub which: WhichRuns,
    /// oci://HOST/REPOSITORY, oci+http://HOST/REPOSITORY, s3://BUCKET/PREFIX, or a folder
    #[arg(long, value_name = "PLACE")]
    pub to: String,
    #[command(flatten)]
    pub place: PlaceArguments,
}

#[derive(Args, Debug)]
pub(super) struct PullArguments {
    #[command(flatten)]
    pub which: WhichRuns,
    /// oci://HOST/REPOSITORY, oci+http://HOST/REPOSITORY, s3://BUCKET/PREFIX, or a folder
    #[arg(long, value_name = "PLACE")]
    pub from: String,
    #[command(flatten)]
    pub place: PlaceArguments,
}

#[derive(Args, Debug)]
pub(super) struct CopyArguments {
    #[command(flatten)]
    pub which: WhichRuns,
    /// The folder
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct ReplayArguments {
    /// A run's id, the beginning of one, or `latest`
    pub run: String,
    /// Only this target (may be given several times)
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
    /// Keep files that differ in this folder, beside those of the archive
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    #[command(flatten)]
    pub engine: EngineArguments,
}

#[derive(Args, Debug)]
pub(super) struct DrillArguments {
    /// How many runs are tried
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub sample: usize,
    /// Only runs that are older than this, such as 90d or 1y
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub older_than: Option<std::time::Duration>,
    /// Choose the same runs again
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Write a report in JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    #[command(flatten)]
    pub engine: EngineArguments,
}

#[derive(Args, Debug)]
pub(super) struct RestoreArguments {
    /// A run's id, the beginning of one, or `latest`
    pub run: String,
    /// Only this target (may be given several times)
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<TargetName>,
    /// The folder that gets the artifacts
    #[arg(long, value_name = "DIR", required_unless_present = "image")]
    pub to: Option<PathBuf>,
    /// Load an image into the engine: base, builder or deps of the target, or an id as `archive show` lists it (its
    /// beginning is enough)
    #[arg(long, value_name = "IMAGE", requires = "name")]
    pub image: Option<ImageChoice>,
    /// The name that the loaded image gets, NAME:TAG
    #[arg(long = "as", value_name = "NAME", id = "name")]
    pub name: Option<String>,
    #[command(flatten)]
    pub engine: EngineArguments,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ImageChoice {
    OfTarget(ImageRole),
    /// Hexadecimal digits with which the id begins.
    WithId(String),
}

impl std::str::FromStr for ImageChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "base" => Ok(Self::OfTarget(ImageRole::Base)),
            "builder" => Ok(Self::OfTarget(ImageRole::Builder)),
            "deps" => Ok(Self::OfTarget(ImageRole::Deps)),
            id => {
                let hex = id.strip_prefix("sha256:").unwrap_or(id);
                let is_hex = hex.len() >= 6 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_hex.then(|| Self::WithId(hex.to_ascii_lowercase())).ok_or_else(|| {
                    "it is none of base, builder and deps, and no id of an image (six hexadecimal digits or more)"
                        .to_owned()
                })
            }
        }
    }
}
