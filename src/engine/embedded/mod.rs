//! Containers without a daemon: overlayfs over the engine's own images, and namespaces, control groups and filters of the
//! kernel, which [libcontainer](https://docs.rs/libcontainer), the library under youki, sets up. Into the groups of cgroup v1, and into a
//! container that is there, processes go without it: see [`helper`].
//!
//! The engine is this process and its [`helper`]s: short-lived processes of one thread that enter containers. What is kept
//! of a container is a folder with a record in it; any later process finds it by its labels and removes it,
//! whoever made it.
//!
//! # What keeps a container in
//!
//! Namespaces for mounts, processes, IPC, host name, control groups, and without network for that; a root file system without
//! devices; a read-only or hidden `/proc/sys`, `/sys` and the like; the given capabilities and no others; no new
//! privileges; a filter of system calls; control groups for memory, processes, processors and devices. Where root has started the
//! program there is no user namespace: root in a container is root to the kernel, without its privileges. An ordinary user's engine
//! works in one, without control groups unless one was delegated to that user, and root in a container is that user to the kernel: see [`rootless`]. With cgroup v2 no control group
//! guards devices; there the filter lets a container make no node of one that it does not have anyway.
//!
//! A container with the host's network shares its ports and its abstract sockets: what installs packages of the distro has it. What
//! runs code of a commit has not: neither what builds and verifies nor the macros of a spec file that asks for build dependencies
//! (they run as an ordinary user, in a container that is thrown away). An init system gets SYS_ADMIN, which is no wall ([`ContainerSpec::init`]).
//!
//! # Holes that others had
//!
//! Published ones of runc, of youki and of Docker's runtime before them, and what of them is to be feared here. `escapes`
//! is `tests/embedded_escapes.rs`, `engine` is `tests/embedded_engine.rs`; both are run as root and as an ordinary user.
//!
//! | hole | here |
//! |---|---|
//! | CVE-2015-3627, image's links followed while the root is set up | tested by escapes: `an_image_whose_folders_are_links…` |
//! | CVE-2015-3629, the same when a container is started again | not applicable: none is |
//! | CVE-2015-3630, writable files in `/proc` | tested by escapes: `no_known_way_out_is_open` |
//! | CVE-2015-3631, volumes over `/proc` | not applicable: there are no volumes |
//! | CVE-2016-3697, a user's number taken for a name of `/etc/passwd` | not applicable: users are numbers, no file is read |
//! | CVE-2016-9962, open files of a process that enters | tested by escapes: `no_known_way_out_is_open`; helpers cannot be traced or looked into |
//! | CVE-2019-5736, the runtime's program overwritten by `/proc/self/exe` | tested by escapes: `the_program_of_the_engine…`; helpers run from a sealed copy in memory |
//! | CVE-2019-16884, CVE-2023-27561, CVE-2023-28642, `/proc` of an image is a link | tested by escapes: `an_image_whose_folders_are_links…`; there are no labels of AppArmor or SELinux to get around |
//! | CVE-2019-19921, CVE-2021-30465, CVE-2024-45310, folders swapped while they are mounted on | not applicable: no volumes are shared, and no process is in a container before its mounts are made |
//! | GHSA-g54h-m393-cpwq, devices allowed unless denied | tested by escapes: `no_known_way_out_is_open`; the list begins with a denial of all |
//! | CVE-2021-43784, a message to the runtime's own start cut short | not applicable: no such message; requests are JSON from the engine |
//! | CVE-2022-0492, a user namespace to set `release_agent` | tested by escapes: `no_known_way_out_is_open` |
//! | CVE-2022-24769, CVE-2022-27649, CVE-2022-29162, CVE-2025-27612, inheritable capabilities | tested by engine: `a_container_is_to_its_programs…` |
//! | CVE-2023-25809, writable control groups of rootless containers | tested by escapes, as an ordinary user too: `mounts_and_processes…`: with cgroup v1 none are mounted, with v2 the container's own, read-only; those of an init system are its own and what is below |
//! | CVE-2014-8989, CVE-2018-7169, groups given up in a user namespace to get past modes that deny them | not applicable: newgidmap decides whether groups may be given up, and nothing of the host is reached in a container |
//! | CVE-2021-20199, what comes from outside seems to come from the container itself | not applicable: no port is forwarded |
//! | CVE-2024-21626, a working directory in an open file of the runtime | tested by escapes: `a_working_directory…` |
//! | CVE-2025-31133, CVE-2025-62161, a link in place of the `/dev/null` that hides files | tested by escapes: `an_image_whose_folders_are_links…`; the library checks the device, in a `/dev` that no process has seen yet |
//! | CVE-2025-52565, `/dev/console` swapped while it is mounted | not applicable: no terminal is mounted. One that a command gets is made in the container's own devpts, and what is opened there has to be its multiplexer |
//! | CVE-2025-52881, CVE-2025-62596, writes to `/proc` redirected | not applicable: no labels and no sysctls are written, and `/proc` cannot be swapped |
//! | CVE-2025-54867, `/proc` or `/sys` of an image is a link | tested by escapes: `an_image_whose_folders_are_links…` |
//! | CVE-2020-15257, the runtime's sockets reached over the host's network | not applicable: nothing listens but for a moment, on a path that a container does not have |
//! | CVE-2019-14271, a library of the image loaded by a process of the host | tested by escapes: `the_engine_loads_no_library…` |
//! | CVE-2018-15664, copying out of a container follows its links | tested by escapes: `links_that_change…`, `a_tar_with_links…`; what copies is this program alone, in the container's file system |

mod cgroup;
mod containers;
mod discard;
mod exec;
mod files;
mod frame;
mod held;
pub mod helper;
mod launch;
mod needs;
mod processes;
mod record;
mod request;
pub mod rootless;
mod runtime_config;
mod snapshot;
pub mod store;

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

pub use launch::HELPER_COMMAND;
pub use needs::{missing, try_overlay};

use self::containers::GONE;
use self::record::{Folder, Record};
use self::store::{Lease, Registries, Store};
use super::{
    ByteStream, Command, CommitSpec, ContainerId, ContainerSpec, Engine, EngineError, EngineInfo, ExecStatus,
    Found, ImageId, ImageInfo, ImageSource, Object, Query, Result, Session, Sink, SnapshotId, emulators,
};
use crate::support::fs::is_full;

/// After this time an unfinished folder of a container is nobody's: it takes milliseconds to make.
const UNFINISHED: Duration = Duration::from_secs(3600);

/// Where an embedded engine works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The engine's own folder: images and containers. Several processes may share it.
    pub folder: PathBuf,
    /// The program that [`helper::main`] belongs to.
    pub helper: PathBuf,
    /// Where what containers write is kept: a folder on a tmpfs makes installing packages quicker, and then counts as
    /// memory of the container. `None` is the engine's own folder.
    pub upper: Option<PathBuf>,
    /// The folder of the archive into which images of this engine are to go, whether it is there or not. On the file system of the
    /// engine's own folder, its images are kept as the archive keeps them, and archived by linking.
    pub archive: Option<PathBuf>,
    /// How registries are asked for images.
    pub registries: Registries,
}

/// An engine of this process. Cloning is cheap and gives the same engine.
#[derive(Clone)]
pub struct Embedded {
    store: Store,
    program: launch::Program,
    containers: PathBuf,
    upper: Option<PathBuf>,
    folder: PathBuf,
    /// Goes with the last clone.
    _groups: Arc<Groups>,
}

/// The group of control groups above those of all containers. Processes that work at the same time share it.
struct Groups;

impl Drop for Groups {
    fn drop(&mut self) {
        cgroup::remove_parent_if_empty();
    }
}

impl Embedded {
    /// Opens the engine's folder, and makes it if there is none. [`EngineError::Refused`] where this machine lacks
    /// something that [`missing`] names.
    pub fn open(settings: &Settings) -> Result<Self> {
        let action = "run containers without a daemon".to_owned();
        let missing = missing();
        if !missing.is_empty() {
            return Err(EngineError::Refused {
                action,
                message: format!("this machine lacks {}", missing.join("; ")),
            });
        }
        if rootless::is_outside() {
            let message = "an ordinary user's process has to enter its user namespace first".to_owned();
            return Err(EngineError::Refused { action, message });
        }
        let fail = |error| io_error(action.clone(), error);
        let containers = settings.folder.join("containers");
        for folder in [&settings.folder, &containers] {
            make_private(folder).map_err(fail)?;
        }
        if let Some(upper) = &settings.upper {
            make_or_find_private(upper).map_err(fail)?;
        }
        // A disk that is full must not keep anybody from removing what fills it.
        if let Err(error) = sweep(&containers, settings.upper.as_deref()) {
            tracing::warn!(%error, "what dead processes left of containers stays for now");
        }
        let mut store =
            Store::open(&settings.folder.join("images"))?.with_registries(settings.registries.clone());
        if let Some(archive) = &settings.archive {
            store = store.sharing_with(archive);
        }
        if let Err(error) = store.sweep() {
            tracing::warn!(%error, "what dead processes left of images stays for now");
        }
        Ok(Self {
            store,
            program: launch::Program::new(settings.helper.clone()),
            containers,
            upper: settings.upper.clone(),
            folder: settings.folder.clone(),
            _groups: Arc::new(Groups),
        })
    }

    /// Keeps the layers of a container's image for as long as the container's folder is there.
    async fn lease(&self, folder: &Folder, record: &Record) -> Result<Lease> {
        let (store, image, holder) = (self.store.clone(), record.image, folder.path.clone());
        detached(move || store.lease(&image, &holder)).await
    }

    async fn commit_container(&self, container: &ContainerId, spec: &CommitSpec) -> Result<ImageInfo> {
        let (folder, record) = self.existing(container)?;
        let lease = self.lease(&folder, &record).await?;
        // What is written while it is read would be half in the image.
        let running = processes::Processes::of(&folder)
            .map_err(|error| io_error(format!("make the image {}", spec.tag), error))?;
        let frozen = Frozen(running.clone());
        blocking(format!("stop the processes of {}", folder.id), move || running.freeze(true)).await?;
        let mut uppers = self.snapshots_of(&record)?;
        uppers.push(record.upper());
        let made = self.store.commit_layers(&lease, &uppers, spec).await;
        drop(frozen);
        made
    }
}

/// A container whose processes stand still until this is dropped.
struct Frozen(processes::Processes);

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = self.0.freeze(false) {
            tracing::warn!(%error, "the processes of a container stand still");
        }
    }
}

/// Makes a folder that nobody but root can look into: what containers write has set-id programs and device nodes.
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // What is in it is believed, and another user's layers are not what they seem to this one.
    if std::fs::metadata(folder)?.uid() != rustix::process::geteuid().as_raw() {
        let words = "is not a folder of the user who runs this; each user has an engine of their own: see to $HOME and $XDG_DATA_HOME";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {words}", folder.display())));
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

/// Makes a folder for what containers write, where others may have made one before: only its owner may have a way into it. What was
/// there is not changed.
fn make_or_find_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let found = std::fs::symlink_metadata(folder)?;
    if found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("{} is not a folder that its owner alone can enter", folder.display())))
}

/// Removes what processes that were killed have left in the folder of containers without being a container.
fn sweep(containers: &Path, upper: Option<&Path>) -> io::Result<()> {
    for entry in std::fs::read_dir(containers)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let old = || {
            let changed = entry.metadata().and_then(|found| found.modified());
            changed.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > UNFINISHED))
        };
        if name.starts_with(GONE) || name.starts_with('.') && old() {
            // Another process may be at it.
            if let Err(error) = discard::discard(&entry.path()) {
                tracing::warn!(%error, "the remains of a container stay behind");
            }
        }
    }
    // A folder has its record when it gets its name, and nobody writes it again: one that cannot be read tells of a machine that
    // stopped, and of nobody who could ask for the container.
    for folder in record::all(containers)? {
        if folder.record().is_err_and(|error| record::is_lost(&error))
            && folder.path.exists()
            && let Err(error) = containers::remove(&folder, containers, upper)
        {
            tracing::warn!(%error, container = folder.id, "a container without a record stays behind");
        }
    }
    Ok(())
}

/// As [`blocking`], for what tells its errors itself.
async fn detached<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io_error("do its work".to_owned(), io::Error::other(error))))
}

/// Runs what waits for the kernel where it holds up nobody.
async fn blocking<T: Send + 'static>(
    action: String,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| io_error(action, error))
}

fn io_error(action: String, error: io::Error) -> EngineError {
    let message = error.to_string();
    match is_full(&error) {
        true => EngineError::NoSpace { action, message },
        false => EngineError::Refused { action, message },
    }
}

#[async_trait]
impl Engine for Embedded {
    async fn info(&self) -> Result<EngineInfo> {
        Ok(EngineInfo {
            kind: "embedded".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: "none".to_owned(),
            arch: store::host_architecture().to_owned(),
            emulators: Some(emulators()),
            kernel: Some(rustix::system::uname().release().to_string_lossy().into_owned()),
            cores: std::thread::available_parallelism()
                .ok()
                .and_then(|cores| u32::try_from(cores.get()).ok()),
            store: self.folder.to_str().map(str::to_owned),
            limits: !rootless::is_inside() || rootless::has_groups(),
            isolation: true,
            init: !rootless::is_inside() || rootless::has_groups(),
            // Such containers have this machine's network.
            host: Some(Ipv4Addr::LOCALHOST.into()),
            shortcomings: if rootless::is_inside() { rootless::shortcomings() } else { Vec::new() },
        })
    }

    async fn find(&self, query: &Query) -> Result<Vec<Found>> {
        let store = self.store.clone();
        // A layer of an earlier boot is read whole, once.
        let image = match query.clone() {
            Query::ImageNamed(tag) => detached(move || store.named(&tag)).await?,
            Query::ImageWithId(id) => detached(move || store.with_id(&id)).await?,
            Query::ChunksOf(id) => {
                return Ok(self.store.in_chunks(&id).await?.map(Found::Chunks).into_iter().collect());
            }
            Query::ContainersLabelled(label) => return self.find_containers(&label).await,
            Query::SnapshotsLabelled(label) => return self.find_snapshots(&label).await,
        };
        Ok(image.into_iter().map(Found::Image).collect())
    }

    async fn load(&self, source: ImageSource, tag: &str) -> Result<ImageInfo> {
        match source {
            ImageSource::Registry { reference, architecture, progress } => {
                self.store.pull(&reference, architecture, tag, progress).await
            }
            ImageSource::Archive(archive) => self.store.load(archive, tag).await,
            ImageSource::Chunked { tar, chunks } => self.store.load_chunked(tar, Some(chunks), tag).await,
        }
    }

    async fn save(&self, image: &ImageId) -> Result<ByteStream> {
        self.store.save(image).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        self.create_container(spec).await
    }

    async fn exec(
        &self,
        container: &ContainerId,
        command: &Command,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus> {
        self.run(container, command, None, sink).await
    }

    async fn attach(
        &self,
        container: &ContainerId,
        command: &Command,
        session: Session,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus> {
        self.run(container, command, Some(session), sink).await
    }

    async fn put(&self, container: &ContainerId, path: &str, tar: ByteStream) -> Result<()> {
        self.upload(container, path, tar).await
    }

    async fn get(&self, container: &ContainerId, path: &str) -> Result<ByteStream> {
        self.download(container, path).await
    }

    async fn commit(&self, container: &ContainerId, spec: &CommitSpec) -> Result<ImageInfo> {
        self.commit_container(container, spec).await
    }

    async fn snapshot(&self, container: &ContainerId) -> Result<SnapshotId> {
        self.make_snapshot(container).await
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        match object {
            Object::Snapshot(id) => self.remove_snapshot(id).await,
            Object::Container(id) => self.remove_container(id).await,
            Object::ImageTag(tag) => {
                let (store, tag) = (self.store.clone(), tag.clone());
                detached(move || store.remove_tag(&tag)).await
            }
        }
    }
}
