//! What runs containers. One trait with our own types; what differs between engines stays in their own files.
//!
//! [`Docker`](docker::Docker) speaks the Docker Engine API (Docker from API 1.41 on, and podman's socket);
//! [`Embedded`](embedded::Embedded) needs no daemon.
//! Every engine passes the same [`conformance`] suite.

pub mod conformance;
pub mod docker;
pub mod embedded;
mod emulation;
pub mod fake;
mod progress;
mod says;
mod types;

use std::ops::ControlFlow;

use async_trait::async_trait;

pub use crate::chunks::ChunkedImage;
pub use emulation::{Emulator, emulators};
pub use progress::Progress;
pub use types::{
    ByteStream, Capability, Command, CommitSpec, ContainerId, ContainerSpec, EngineError, EngineInfo,
    ExecStatus, Found, ImageId, ImageInfo, ImageSource, Limits, Network, Object, Query, Result, Root,
    Session, Shortcoming, SnapshotId, WindowSize,
};

/// Receives what a command prints, as bytes in arrival order (standard output and standard error together). Returning
/// `Break` ends the wait: [`Engine::exec`] then returns [`ExecStatus::Abandoned`] and the caller removes the container.
pub type Sink<'a> = dyn FnMut(&[u8]) -> ControlFlow<()> + Send + 'a;

/// What Packhold needs of a container engine. Sources go in and artifacts come out as tar streams: nothing is ever
/// mounted from the host.
///
/// All methods may be called from several tasks at once. None of them retries; none of them leaves an object behind
/// when it fails, except [`Engine::exec`], whose container is the caller's.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Asks the engine who it is. Fails with [`EngineError::Unreachable`] if nothing answers.
    async fn info(&self) -> Result<EngineInfo>;

    /// The images, containers or snapshots that match, or where an image lies.
    async fn find(&self, query: &Query) -> Result<Vec<Found>>;

    /// Brings an image into the engine's store, tags it `tag` (`name:tag`) and tells its identity.
    /// Idempotent: an image that is there already keeps its identity.
    async fn load(&self, source: ImageSource, tag: &str) -> Result<ImageInfo>;

    /// The image as a `docker save` archive: `manifest.json`, configuration and layer tars.
    async fn save(&self, image: &ImageId) -> Result<ByteStream>;

    /// Makes and starts a container that does nothing until [`Engine::exec`] (its first process only reaps, unless
    /// [`ContainerSpec::init`] wants the image's own). Nothing of the host is mounted, and it has no devices beyond the
    /// engine's defaults and no new privileges.
    ///
    /// An image without `/sbin/init` is [`EngineError::Refused`] where that is wanted. One whose init ends at once gives
    /// a container that has stopped: [`Engine::exec`] tells [`ExecStatus::ContainerGone`].
    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId>;

    /// Runs a command in a running container, with empty standard input, and hands over what it prints. Returns when
    /// the command has ended, whether or not something it started still runs.
    ///
    /// A sink that takes its time slows the command down. Dropping the future does not end the command; removing the
    /// container does.
    async fn exec(
        &self,
        container: &ContainerId,
        command: &Command,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus>;

    /// As [`Engine::exec`], with an input, and with a terminal where one is wanted: for a person who works in a container.
    ///
    /// The input is read as the command takes it. When the command has ended no more of it is read.
    async fn attach(
        &self,
        container: &ContainerId,
        command: &Command,
        session: Session,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus>;

    /// Unpacks a tar into the existing folder `path` of the container, with the owners that the tar gives as numbers.
    /// A tmpfs in the container is not seen: [`ContainerSpec::init`].
    async fn put(&self, container: &ContainerId, path: &str, tar: ByteStream) -> Result<()>;

    /// The file or folder `path` of the container as a tar whose names begin with the last component of `path`. What
    /// it holds is hostile; owners in it mean nothing (podman gives 0:0). A path that does not exist is [`EngineError::NotFound`].
    ///
    /// Read it to its end, or drop it, before the next call for the same container: engines lock the container
    /// meanwhile. When an engine fails in the middle, the tar is cut short or broken and says nothing more.
    async fn get(&self, container: &ContainerId, path: &str) -> Result<ByteStream>;

    /// Makes an image of the container's file system as it is now.
    async fn commit(&self, container: &ContainerId, spec: &CommitSpec) -> Result<ImageInfo>;

    /// Ends a container and keeps its file system as a state from which containers can start, as many as wanted:
    /// [`Root::Snapshot`]. The container is not there any more; its labels are those of the snapshot.
    ///
    /// The embedded engine copies nothing: what the container wrote becomes a layer of the others. Docker and podman make
    /// an image of it. Where it fails the container may have ended, and is still to be removed.
    async fn snapshot(&self, container: &ContainerId) -> Result<SnapshotId>;

    /// Removes a container (running or not, with its anonymous volumes) an image's tag or a snapshot. An object that is not
    /// there any more is not an error.
    async fn remove(&self, object: &Object) -> Result<()>;
}
