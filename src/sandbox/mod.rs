//! One disposable container as a scope: it is removed on success, failure, panic, cancellation and time-out.
//!
//! Whatever still outlives its owner (SIGKILL, a lost engine) carries the owner's labels, and [`reap()`] removes it.

mod error;
mod owner;
mod reap;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

pub use error::SandboxError;
pub use owner::{Owner, RUN_LABEL};
pub use reap::{Reaped, reap};
pub use step::{StepEnd, StepResult, Watch};

use crate::engine::{
    ByteStream, Command, CommitSpec, ContainerId, ContainerSpec, Engine, EngineError, ExecStatus, ImageInfo,
    Limits, Network, Object, Root, Session, Sink, SnapshotId,
};

/// What installing packages needs: package managers change owners and modes, drop to their own users and run
/// maintainer scripts. NET_RAW is for what was installed: the kernel refuses to run a program whose file capabilities
/// its container may not have, and network agents have that one. Nothing here reaches the host.
const INSTALLER: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETUID",
    "SYS_CHROOT",
];

/// What systemd needs in addition, as the first process of a container of its own.
///
/// - SYS_ADMIN: it mounts its control group hierarchy and ends at once without. Services with PrivateTmp, ProtectSystem,
///   PrivateDevices and the like get mounts of their own.
/// - SETPCAP: it takes capabilities away from a service with CapabilityBoundingSet, and that is a privilege. Without,
///   such services, systemd-journald among them, end with status 218.
///
/// SYS_ADMIN in a container without a user namespace can undo the engine's read-only mounts (`/proc/sys`) and so reach
/// the host: a package that means harm is root there. The engine's seccomp filter and its no-new-privileges stay on;
/// AppArmor's and SELinux's profiles are not lifted, but where one forbids mounts there is no such container
/// ([`EngineInfo::init`](crate::engine::EngineInfo)).
const INIT: [&str; 2] = ["SYS_ADMIN", "SETPCAP"];

/// The host name in every container, so that no name of a machine gets into a package.
const HOSTNAME: &str = "packhold";

/// How often the engine is asked to remove a container before that is left to [`reap()`].
const REMOVE_TRIES: u32 = 3;

/// What a sandbox may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// No network, no capabilities: what runs a project's code.
    Build,
    /// The same with a network, for a person who works in it and asks for one. No run has it.
    BuildOnline,
    /// A network and the capabilities of a package manager: what fetches and installs packages.
    Install,
    /// No network, and the capabilities of a package manager: what installs packages whose dependencies are there.
    Offline,
    /// No network, the image's init system (systemd) as first process, and to the capabilities of a package manager
    /// those that systemd needs: what runs a package's services. Only for packages that may have the engine's host:
    /// one of these capabilities, SYS_ADMIN, is enough to take it. No other profile has them.
    Init,
}

impl Privileges {
    fn capabilities(self) -> Vec<String> {
        let names: &[&[&str]] = match self {
            Self::Build | Self::BuildOnline => &[],
            Self::Install | Self::Offline => &[&INSTALLER],
            Self::Init => &[&INSTALLER, &INIT],
        };
        names.concat().into_iter().map(str::to_owned).collect()
    }

    fn network(self) -> Network {
        match self {
            Self::Install | Self::BuildOnline => Network::Outside,
            Self::Build | Self::Offline | Self::Init => Network::None,
        }
    }
}

/// A sandbox to make.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// What it starts from.
    pub root: Root,
    /// A part of its name, for people: `debian-12_deb-build`.
    pub name: String,
    /// What it may do.
    pub privileges: Privileges,
    /// What it may use.
    pub limits: Limits,
    /// The run that it belongs to.
    pub run: String,
    /// The host name; `None` is that of every container.
    pub hostname: Option<&'static str>,
}

/// A handle on a running container. It is of no use after its scope.
#[derive(Clone)]
pub struct Sandbox {
    engine: Arc<dyn Engine>,
    id: ContainerId,
}

/// Makes a container, runs `body` with it and removes it, whatever happens in between. Cancelling `cancel` ends
/// `body` at its next await and gives [`SandboxError::Interrupted`].
pub async fn scope<T, F, Fut>(
    engine: &Arc<dyn Engine>,
    spec: SandboxSpec,
    cancel: &CancellationToken,
    body: F,
) -> Result<T, SandboxError>
where
    F: FnOnce(Sandbox) -> Fut,
    Fut: Future<Output = T>,
{
    if cancel.is_cancelled() {
        return Err(SandboxError::Interrupted);
    }
    let id = create(engine, spec, cancel).await?;
    let mut guard = Guard { engine: engine.clone(), id: Some(id.clone()) };
    let sandbox = Sandbox { engine: engine.clone(), id };
    let result = tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(Err(SandboxError::Interrupted)),
        result = AssertUnwindSafe(async { body(sandbox).await }).catch_unwind() => result.map(Ok),
    };
    guard.remove().await;
    match result {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Makes the container in a task of its own: a request that was sent is always waited for, so that a cancellation
/// between request and answer leaves no container that nobody knows.
async fn create(
    engine: &Arc<dyn Engine>,
    spec: SandboxSpec,
    cancel: &CancellationToken,
) -> Result<ContainerId, SandboxError> {
    let labels = BTreeMap::from([
        (RUN_LABEL.to_owned(), spec.run),
        (owner::OWNER_LABEL.to_owned(), Owner::this_process().to_string()),
    ]);
    let spec = ContainerSpec {
        root: spec.root,
        name_hint: spec.name,
        labels,
        network: spec.privileges.network(),
        capabilities: spec.privileges.capabilities(),
        limits: spec.limits,
        hostname: spec.hostname.unwrap_or(HOSTNAME).to_owned(),
        init: spec.privileges == Privileges::Init,
    };
    let owned = engine.clone();
    let task = tokio::spawn(async move { owned.create(&spec).await });
    tokio::pin!(task);
    let joined = tokio::select! {
        joined = &mut task => joined,
        () = cancel.cancelled() => {
            if let Ok(Ok(Ok(id))) = tokio::time::timeout(Duration::from_secs(20), task).await {
                Guard { engine: engine.clone(), id: Some(id) }.remove().await;
            }
            return Err(SandboxError::Interrupted);
        }
    };
    match joined {
        Ok(created) => Ok(created?),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Removes a container even if the future that owns it is dropped.
struct Guard {
    engine: Arc<dyn Engine>,
    id: Option<ContainerId>,
}

impl Guard {
    async fn remove(&mut self) {
        let Some(id) = self.id.take() else { return };
        remove(self.engine.clone(), Object::Container(id)).await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(remove(self.engine.clone(), Object::Container(id)));
        }
    }
}

async fn remove(engine: Arc<dyn Engine>, object: Object) {
    for attempt in 1..=REMOVE_TRIES {
        match engine.remove(&object).await {
            Ok(()) => return,
            Err(error) if attempt == REMOVE_TRIES => {
                tracing::warn!("cannot remove {object:?}: {error}; `packhold clean` will try again");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(300 * u64::from(attempt))).await,
        }
    }
}

impl Sandbox {
    /// Runs a command under `watch` and hands over what it prints. A command that reached a limit may still run; the
    /// sandbox is then good for nothing but [`Sandbox::get`].
    pub async fn run(
        &self,
        command: &Command,
        watch: &Watch,
        output: &mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send),
    ) -> Result<StepResult, SandboxError> {
        step::run(self.engine.as_ref(), &self.id, command, watch, output).await
    }

    /// Runs a command that a person works with, for as long as it takes, and hands over what it prints.
    pub async fn attach(
        &self,
        command: &Command,
        session: Session,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus, SandboxError> {
        Ok(self.engine.attach(&self.id, command, session, sink).await?)
    }

    /// Unpacks a tar into the existing folder `path`.
    pub async fn put(&self, path: &str, tar: ByteStream) -> Result<(), SandboxError> {
        Ok(self.engine.put(&self.id, path, tar).await?)
    }

    /// Puts small files with these names (paths below `path`), modes and contents.
    pub async fn put_files(&self, path: &str, files: &[SmallFile<'_>]) -> Result<(), SandboxError> {
        let mut builder = tar::Builder::new(Vec::new());
        for file in files {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(if file.is_folder {
                tar::EntryType::Directory
            } else {
                tar::EntryType::Regular
            });
            header.set_mode(file.mode);
            header.set_uid(file.owner);
            header.set_gid(file.owner);
            header.set_mtime(0);
            header.set_size(file.content.len() as u64);
            builder.append_data(&mut header, &file.name, file.content).map_err(SandboxError::Tar)?;
        }
        let bytes = builder.into_inner().map_err(SandboxError::Tar)?;
        self.put(path, Box::pin(std::io::Cursor::new(bytes))).await
    }

    /// A file or folder as a tar. What it holds is hostile.
    pub async fn get(&self, path: &str) -> Result<ByteStream, SandboxError> {
        Ok(self.engine.get(&self.id, path).await?)
    }

    /// Makes an image of the container as it is now.
    pub async fn commit(&self, spec: &CommitSpec) -> Result<ImageInfo, SandboxError> {
        Ok(self.engine.commit(&self.id, spec).await?)
    }

    /// Ends what runs in the sandbox and keeps what it is like, for others to start from. The sandbox is of no use after
    /// that.
    pub async fn snapshot(&self) -> Result<Snapshot, SandboxError> {
        // In a task of its own, so that a caller who is cancelled half-way leaves no snapshot behind.
        let (engine, id) = (self.engine.clone(), self.id.clone());
        let made = tokio::spawn(async move {
            let id = engine.snapshot(&id).await?;
            Ok::<_, EngineError>(Snapshot { engine, id: Some(id) })
        });
        match made.await {
            Ok(made) => Ok(made?),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// A state of a sandbox from which others start. It goes with this value, after the sandboxes that were made of it.
pub struct Snapshot {
    engine: Arc<dyn Engine>,
    id: Option<SnapshotId>,
}

impl Snapshot {
    /// What sandboxes of it start from.
    pub fn root(&self) -> Root {
        Root::Snapshot(self.id.clone().unwrap_or_else(|| SnapshotId(String::new())))
    }

    /// Removes it. What cannot be removed is left to [`reap()`].
    pub async fn remove(mut self) {
        if let Some(id) = self.id.take() {
            remove(self.engine.clone(), Object::Snapshot(id)).await;
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(remove(self.engine.clone(), Object::Snapshot(id)));
        }
    }
}

/// A small file or a folder to put into a sandbox.
#[derive(Clone, Debug)]
pub struct SmallFile<'a> {
    /// Path below the folder that it is put into.
    pub name: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group, as a number.
    pub owner: u64,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Its bytes; empty for a folder.
    pub content: &'a [u8],
}

impl<'a> SmallFile<'a> {
    /// A file of root that anybody may read and run.
    pub fn script(name: impl Into<String>, content: &'a [u8]) -> Self {
        Self { name: name.into(), mode: 0o755, owner: 0, is_folder: false, content }
    }

    /// A file of root that anybody may read.
    pub fn data(name: impl Into<String>, content: &'a [u8]) -> Self {
        Self { mode: 0o644, ..Self::script(name, content) }
    }

    /// A folder that belongs to `owner`.
    pub fn folder(name: impl Into<String>, owner: u64) -> Self {
        Self { name: name.into(), mode: 0o755, owner, is_folder: true, content: b"" }
    }
}
