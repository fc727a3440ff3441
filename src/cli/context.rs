use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::args::{Common, EngineChoice, RunArguments, UpdateArguments, UserlandArguments, VerifyArguments};
use super::ci::Told;
use super::error::CliError;
use super::leftovers::reap_beside;
use super::transfer::credentials;
use crate::archive::Archive;
use crate::config::{Builders, ConfigError, LockFile, Pipeline, PipelineFile, VerifySection};
use crate::engine::docker::{DOCKER_SOCKET, Docker, PODMAN_SOCKET};
use crate::engine::embedded::store::Registries;
use crate::engine::embedded::{Embedded, Settings};
use crate::engine::{Engine, EngineError};
use crate::model::{Architecture, Format};
use crate::provenance::ReceiptKey;
use crate::run::{CheckReproducible, Folders, Request, VerifyFiles, sharing_builders};
use crate::stage::BaseChoice;
use crate::support::fs::PathContext;

/// A folder of the XDG base directory specification.
fn xdg(variable: &str, below_home: &str) -> PathBuf {
    let given = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    given.unwrap_or_else(|| home().join(below_home)).join("packhold")
}

/// Where caches and logs are.
pub(super) fn folders() -> Folders {
    Folders { cache: xdg("XDG_CACHE_HOME", ".cache"), state: xdg("XDG_STATE_HOME", ".local/state") }
}

fn archive_dir(common: &Common) -> PathBuf {
    common.archive.clone().unwrap_or_else(|| xdg("XDG_DATA_HOME", ".local/share").join("archive"))
}

/// The archive, made if there is none.
pub(super) fn archive(common: &Common) -> Result<Archive, CliError> {
    Ok(Archive::open_or_create(archive_dir(common))?)
}

/// The archive, which must be there.
pub(super) fn existing_archive(common: &Common) -> Result<Archive, CliError> {
    Ok(Archive::open(archive_dir(common))?)
}

/// The folder of the archive, whether it is one or not.
pub(super) fn archive_path(common: &Common) -> PathBuf {
    archive_dir(common)
}

/// The folder of this program's own engine.
pub(super) fn engine_folder() -> PathBuf {
    xdg("XDG_DATA_HOME", ".local/share").join("engine")
}

/// The folders in which programs are found.
pub(super) fn program_folders() -> Vec<PathBuf> {
    env::var_os("PATH").iter().flat_map(|path| env::split_paths(path).collect::<Vec<_>>()).collect()
}

fn given(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}

/// Where Docker is to be found.
pub(super) fn docker_address() -> String {
    given("DOCKER_HOST").unwrap_or_else(|| DOCKER_SOCKET.to_owned())
}

/// Where podman is to be found: a user's own socket before the machine's.
pub(super) fn podman_address() -> String {
    let own = || {
        let path = PathBuf::from(env::var_os("XDG_RUNTIME_DIR")?).join("podman/podman.sock");
        path.exists().then(|| format!("unix://{}", path.display()))
    };
    given("CONTAINER_HOST").or_else(own).unwrap_or_else(|| PODMAN_SOCKET.to_owned())
}

/// The engine of this program itself. `PACKHOLD_ENGINE_CHANGES` names a folder, on a tmpfs say, for what containers
/// write. `archive` is the folder of the archive that is to have its images.
fn embedded(archive: Option<&Path>) -> Result<Embedded, EngineError> {
    Embedded::open(&Settings {
        folder: engine_folder(),
        // This program, even if its file was replaced meanwhile.
        helper: PathBuf::from("/proc/self/exe"),
        upper: env::var_os("PACKHOLD_ENGINE_CHANGES").map(PathBuf::from).filter(|path| path.is_absolute()),
        archive: archive.map(Path::to_owned),
        registries: Registries {
            credentials: Arc::new(|host| credentials(host).map_err(|error| error.to_string())),
            ..Registries::default()
        },
    })
}

/// Why there is no daemon.
enum NoDaemon {
    /// None is asked for.
    Unwanted,
    /// None answers, and none has to.
    Missing(EngineError),
    /// One was asked for, and does not answer.
    Needed(EngineError),
}

/// The engine that is chosen, if it answers. An engine that somebody has named an address of is not replaced by another.
pub(super) async fn engine(choice: EngineChoice) -> Result<Arc<dyn Engine>, CliError> {
    engine_for(choice, None).await
}

/// As [`engine`], whose images are to go into the archive in this folder.
pub(super) async fn engine_for(
    choice: EngineChoice,
    archive: Option<&Path>,
) -> Result<Arc<dyn Engine>, CliError> {
    Ok(match daemon(choice).await {
        Ok(daemon) => Arc::new(daemon),
        Err(NoDaemon::Needed(error)) => return Err(error.into()),
        Err(NoDaemon::Unwanted) => Arc::new(embedded(archive)?),
        Err(NoDaemon::Missing(error)) => {
            Arc::new(embedded(archive).map_err(|own| first_to_mend(error, own))?)
        }
    })
}

/// Whether the engine that is chosen is that of this program itself.
pub(super) async fn uses_embedded(choice: EngineChoice) -> bool {
    matches!(daemon(choice).await, Err(NoDaemon::Unwanted | NoDaemon::Missing(_)))
}

async fn daemon(choice: EngineChoice) -> Result<Docker, NoDaemon> {
    let named = given("DOCKER_HOST").or_else(|| given("CONTAINER_HOST")).is_some();
    let docker = async || Docker::connect(Some(&docker_address())).await;
    let podman = async || Docker::podman(Some(&podman_address())).await;
    match choice {
        EngineChoice::Docker => docker().await.map_err(NoDaemon::Needed),
        EngineChoice::Podman => podman().await.map_err(NoDaemon::Needed),
        EngineChoice::Embedded => Err(NoDaemon::Unwanted),
        EngineChoice::Auto => match docker().await {
            Ok(engine) => Ok(engine),
            Err(error) => match podman().await {
                Ok(engine) => Ok(engine),
                Err(_) if named => Err(NoDaemon::Needed(error)),
                Err(_) => Err(NoDaemon::Missing(error)),
            },
        },
    }
}

/// Where no engine can be used, the error to tell: what root lacks for this program's own engine, or that no daemon runs.
fn first_to_mend(daemon: EngineError, own: EngineError) -> EngineError {
    if rustix::process::geteuid().is_root() { own } else { daemon }
}

/// A run that the command line asks for.
pub(super) async fn request(common: &Common, arguments: RunArguments) -> Result<Request, CliError> {
    let (builders, base) = userland(arguments.userland)?;
    let (file, mut pipeline) = pipeline(arguments.pipeline.as_deref(), &builders)?;
    pipeline.select(&arguments.targets)?;
    let lock = match arguments.locked {
        false => None,
        true => Some(LockFile::read(&file)?.ok_or_else(|| ConfigError::NoLock { file: file.lock_name() })?),
    };
    let archived = pipeline.archive_images.then(|| archive_dir(common));
    let engine = engine_for(arguments.engine.engine, archived.as_deref()).await?;
    reap_beside(&engine).await?;
    Ok(Request {
        pipeline,
        file,
        lock,
        builders,
        source: arguments.source,
        revision: arguments.commit,
        engine,
        archive: archive(common)?,
        base,
        jobs: jobs(arguments.jobs),
        rebuild: arguments.rebuild,
        init: !arguments.no_systemd,
        reproducible: arguments
            .check_reproducible
            .then_some(CheckReproducible { keep_build_path: arguments.keep_build_path }),
        receipt_key: arguments.receipt_key.as_deref().map(ReceiptKey::read).transpose()?.map(Arc::new),
        folders: folders(),
    })
}

/// An update that the command line asks for: a run of every target that it concerns.
pub(super) async fn update_request(
    common: &Common,
    arguments: UpdateArguments,
) -> Result<(Request, bool), CliError> {
    let UpdateArguments { pipeline: name, commit, targets, source, engine, jobs, userland } = arguments;
    let builders = match &userland.builders {
        Some(folder) => Builders::with_folder(folder)?,
        None => Builders::shipped(),
    };
    let (_, mut whole) = pipeline(name.as_deref(), &builders)?;
    let partly = !targets.is_empty();
    let mut concerned = Vec::new();
    if partly {
        concerned = sharing_builders(&whole, &targets);
        whole.select(&targets)?;
    }
    let run = RunArguments {
        pipeline: name,
        commit,
        targets: concerned,
        source,
        engine,
        jobs,
        rebuild: false,
        check_reproducible: false,
        keep_build_path: false,
        locked: false,
        no_systemd: true,
        receipt_key: None,
        told: Told::default(),
        userland,
    };
    Ok((request(common, run).await?, partly))
}

/// A verification of files that the command line asks for.
pub(super) async fn verify_request(
    common: &Common,
    arguments: VerifyArguments,
) -> Result<VerifyFiles, CliError> {
    let (builders, base) = userland(arguments.userland)?;
    let target = arguments.target;
    let (package, mut section) = match &arguments.pipeline {
        None => (String::new(), VerifySection::default().for_target(&target)),
        Some(name) => {
            let (_, mut pipeline) = pipeline(Some(name), &builders)?;
            pipeline.select(std::slice::from_ref(&target))?;
            (pipeline.name, pipeline.verify.for_target(&target))
        }
    };
    if !arguments.scenarios.is_empty() {
        section.scenarios = arguments.scenarios.into_iter().collect();
    }
    let engine = engine(arguments.engine.engine).await?;
    reap_beside(&engine).await?;
    Ok(VerifyFiles {
        target,
        package,
        section,
        builders,
        files: arguments.files,
        before: arguments.upgrade_from,
        engine,
        archive: archive(common)?,
        base,
        jobs: jobs(arguments.jobs),
        init: !arguments.no_systemd,
        folders: folders(),
    })
}

pub(super) fn pipeline(
    name: Option<&str>,
    builders: &Builders,
) -> Result<(PipelineFile, Pipeline), CliError> {
    let current = env::current_dir().at("find", ".")?;
    let file = PipelineFile::find(name, &current)?;
    let pipeline = Pipeline::parse(&file, builders)?;
    Ok((file, pipeline))
}

pub(super) fn userland(arguments: UserlandArguments) -> Result<(Builders, BaseChoice), CliError> {
    let builders = match &arguments.builders {
        Some(folder) => Builders::with_folder(folder)?,
        None => Builders::shipped(),
    };
    for (builder, _) in &arguments.base_tar {
        // As Builder::place has it: `debian-12`, or `debian-12/arm64`.
        let Some((name, architecture)) = builder.split_once('/') else {
            builders.check_name(builder)?;
            continue;
        };
        let format = builders.format_of(name)?.unwrap_or(Format::Deb);
        if Architecture::named(architecture, format).is_none() {
            let known: Vec<&str> = Architecture::ALL.iter().map(|known| known.name(format)).collect();
            return Err(CliError::Usage {
                message: format!(
                    "--base-tar {builder}: `{architecture}` is no architecture of {format} packages"
                ),
                hint: format!("known are {}; that of the engine itself is not named", known.join(", ")),
            });
        }
    }
    let base = BaseChoice {
        registry: arguments.registry,
        mirror: arguments.mirror,
        tars: arguments.base_tar.into_iter().collect(),
    };
    Ok((builders, base))
}

fn jobs(wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// A token that is cancelled by ctrl-c, SIGTERM and SIGHUP. A second ctrl-c ends the process at once.
pub(super) fn cancelled_by_signals() -> CancellationToken {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        // One channel for all kinds: what counts is how often somebody asked.
        let (send, mut asked) = tokio::sync::mpsc::unbounded_channel();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let send = send.clone();
            if let Ok(mut signal) = signal(kind) {
                tokio::spawn(async move {
                    while signal.recv().await.is_some() {
                        let _ = send.send(());
                    }
                });
            }
        }
        asked.recv().await;
        eprintln!("stopping: removing containers (once more to stop at once)");
        cancel.cancel();
        asked.recv().await;
        std::process::exit(130);
    });
    token
}
