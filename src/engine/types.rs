use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

use super::{ChunkedImage, Emulator, Progress};
use crate::model::{Architecture, Digest};
use crate::support::Hint;

/// A stream of bytes, usually a tar.
pub type ByteStream = Pin<Box<dyn AsyncRead + Send>>;

/// The identity of an image: the digest of its configuration, which names its uncompressed layers. It survives save
/// and load, which a registry's manifest digest does not.
pub type ImageId = Digest;

/// An engine's result.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// What an engine could not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Nothing answers where the engine should be, or it stopped answering.
    #[error("the {engine} engine does not answer at {address}")]
    Unreachable {
        /// `docker`, `podman`.
        engine: String,
        /// Where it was looked for.
        address: String,
        /// What the connection said.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The engine has no such image, container or path.
    #[error("the engine has no {0}")]
    NotFound(String),
    /// A registry did not give the image.
    #[error("cannot pull {reference}: {message}")]
    Pull {
        /// What was asked for.
        reference: String,
        /// The engine's words.
        message: String,
    },
    /// The engine refused or failed.
    #[error("the engine could not {action}: {message}")]
    Refused {
        /// What was asked, in words: `create a container of sha256:…`.
        action: String,
        /// The engine's words.
        message: String,
    },
    /// The engine's disk is full.
    #[error("the engine's disk is full: could not {action}: {message}")]
    NoSpace {
        /// What was asked.
        action: String,
        /// The engine's words.
        message: String,
    },
    /// A stream to or from the engine broke.
    #[error("the stream to or from the engine broke while trying to {action}")]
    Stream {
        /// What was asked.
        action: String,
        /// What the stream said.
        #[source]
        source: std::io::Error,
    },
}

impl Hint for EngineError {
    fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => {
                "start the engine (for Docker: `systemctl start docker`, or `dockerd &` as root), set DOCKER_HOST if it \
                 listens elsewhere, or use `--engine embedded`, which needs none: `packhold doctor` says what it \
                 needs instead"
                    .to_owned()
            }
            Self::NotFound(_) => "it may have been removed by somebody else; run it again".to_owned(),
            Self::Pull { .. } => {
                "check the reference and the network, or name another source of the base image with --registry, \
                 --mirror or --base-tar"
                    .to_owned()
            }
            Self::NoSpace { .. } => {
                "free space on the engine's disk (for Docker, `docker system df` shows what uses it), then run it again".to_owned()
            }
            Self::Refused { .. } | Self::Stream { .. } => {
                "see the engine's own log for more, and check with `packhold doctor`".to_owned()
            }
        }
    }
}

/// Who an engine is and what it can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// `docker`, `podman`, `embedded`, `fake`.
    pub kind: String,
    /// The engine's own version.
    pub version: String,
    /// The API version in use.
    pub api: String,
    /// The architecture of its containers, in OCI's word: `amd64`.
    pub arch: String,
    /// The other architectures whose programs its kernel hands to an emulator; `None` where that cannot be known from here.
    pub emulators: Option<Vec<Emulator>>,
    /// The release of the kernel that runs its containers, where it tells.
    pub kernel: Option<String>,
    /// The number of its cores, where it tells.
    pub cores: Option<u32>,
    /// The path of the engine's own store on its host, where it tells.
    pub store: Option<String>,
    /// Whether limits of memory and processes are enforced.
    pub limits: bool,
    /// Whether a kernel keeps containers apart: users, networks, capabilities. Only the fake engine has none.
    pub isolation: bool,
    /// Whether containers whose first process is their image's init system run: [`ContainerSpec::init`].
    pub init: bool,
    /// The address of this machine for containers with a network; `None` where the engine's host is another one.
    pub host: Option<IpAddr>,
    /// What it cannot do on this machine or for this user, and could elsewhere.
    pub shortcomings: Vec<Shortcoming>,
}

/// What an engine can do, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// [`EngineInfo::limits`].
    Limits,
    /// [`EngineInfo::init`].
    Init,
    /// Root in a container that has the capability MKNOD makes nodes of the devices that the container has.
    Devices,
}

impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Limits => "limits",
            Self::Init => "init system",
            Self::Devices => "device nodes",
        })
    }
}

/// A capability that an engine does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortcoming {
    /// What it cannot do.
    pub what: Capability,
    /// What that means, and why it is so, in words.
    pub why: String,
}

/// What to look for.
#[derive(Clone, Debug)]
pub enum Query {
    /// The image with this tag or reference.
    ImageNamed(String),
    /// The image with this identity.
    ImageWithId(ImageId),
    /// All containers, running or not, that have this label, whatever its value.
    ContainersLabelled(String),
    /// All snapshots of containers that had this label, whatever its value.
    SnapshotsLabelled(String),
    /// Where the image with this identity lies in chunks on this machine, so that an archive on the same file system can link to
    /// them instead of reading all of [`Engine::save`](super::Engine::save). No engine has to keep images so.
    ChunksOf(ImageId),
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An image.
    Image(ImageInfo),
    /// Where an image lies in chunks.
    Chunks(ChunkedImage),
    /// A container.
    Container {
        /// Its id.
        id: ContainerId,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// Whether it runs.
        running: bool,
    },
    /// A snapshot.
    Snapshot {
        /// Its identity.
        id: SnapshotId,
        /// The labels of the container that it was.
        labels: BTreeMap<String, String>,
    },
}

/// An image in an engine's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its identity.
    pub id: ImageId,
    /// Digests of the uncompressed layers, lowest first (`rootfs.diff_ids` of the OCI image configuration).
    pub layers: Vec<Digest>,
    /// OCI's word: `amd64`.
    pub arch: String,
    /// Labels of its configuration.
    pub labels: BTreeMap<String, String>,
    /// `name@sha256:…` as registries know it.
    pub repo_digests: Vec<String>,
}

/// Where an image comes from.
pub enum ImageSource {
    /// Pulled from a registry.
    Registry {
        /// `name[:tag][@digest]`.
        reference: String,
        /// The architecture whose image is wanted; `None` is the engine's own.
        architecture: Option<Architecture>,
        /// Who is told how much has come. An engine that does not know tells nothing.
        progress: Progress,
    },
    /// A `docker save` archive that holds one image.
    Archive(ByteStream),
    /// The same of an image whose layers are in chunks on this machine. An engine that keeps chunks may link to them, and
    /// none has to.
    Chunked {
        /// The `docker save` archive.
        tar: ByteStream,
        /// Where its layers lie in chunks.
        chunks: ChunkedImage,
    },
}

/// The identity of a snapshot: [`Engine::snapshot`](super::Engine::snapshot). Only the engine that made it knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub String);

/// What is in a container at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// An image.
    Image(ImageId),
    /// What another container was like when it ended.
    Snapshot(SnapshotId),
}

impl From<ImageId> for Root {
    fn from(image: ImageId) -> Self {
        Self::Image(image)
    }
}

impl std::fmt::Display for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image(id) => write!(f, "image {id}"),
            Self::Snapshot(id) => write!(f, "snapshot {}", id.0),
        }
    }
}

/// A container's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub String);

/// A container to make.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// What it is made from.
    pub root: Root,
    /// A part of the container's name, for people who look at the engine: `debian-12_deb-build`.
    pub name_hint: String,
    /// Who owns it, to find it again.
    pub labels: BTreeMap<String, String>,
    /// Whether it has a network.
    pub network: Network,
    /// The capabilities it has, without `CAP_`; all others are dropped.
    pub capabilities: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// The container's host name.
    pub hostname: String,
    /// Whether the first process is the image's `/sbin/init` (systemd) instead of one that only reaps. The container
    /// then has a cgroup namespace of its own, tmpfs on `/run`, `/run/lock` and `/tmp`, and `container=docker` in the
    /// environment of that process. What systemd needs besides is in `capabilities`: SYS_ADMIN at least. Only where
    /// [`EngineInfo::init`] says so; elsewhere the container is refused, or its init system need not work.
    ///
    /// What an image has in those three folders is hidden, and on a tmpfs [`put`](super::Engine::put) and
    /// [`get`](super::Engine::get) see the image's folder below it. Commands see the tmpfs, so copy there and from there
    /// with one.
    pub init: bool,
}

/// A container's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Loopback only.
    None,
    /// The engine's default network, from which the outside can be reached.
    Outside,
}

/// What a container may use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, swap included.
    pub memory: u64,
    /// Number of processes and threads.
    pub processes: u32,
    /// Number of processors' worth of time; `None` is all.
    pub cpus: Option<f64>,
}

/// A command to run in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Exactly these variables, with PATH among them where it matters.
    pub env: BTreeMap<String, String>,
    /// `uid:gid` as numbers.
    pub user: String,
    /// The working directory; it exists.
    pub dir: String,
}

/// What a command that somebody works with reads, and the terminal that it is given.
pub struct Session {
    /// Its input, up to the end of this.
    pub input: ByteStream,
    /// The size of the terminal that it has as standard input, output and error, with every change of it; `None` for a pipe as standard
    /// input and no terminal. At a terminal the end of [`Session::input`] is no end of input: a byte says that, as at every terminal.
    pub terminal: Option<tokio::sync::watch::Receiver<WindowSize>>,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecStatus {
    /// It ended by itself or by a signal (then 128 + signal, as shells count).
    Exited {
        /// Exit status.
        code: i64,
        /// The kernel killed something in the container because the memory limit was reached.
        oom: bool,
        /// The container is at its limit of processes.
        process_limit: bool,
    },
    /// The sink asked to stop listening; the command may still run.
    Abandoned,
    /// The container itself stopped or vanished while the command ran.
    ContainerGone {
        /// The kernel killed it because the memory limit was reached.
        oom: bool,
    },
}

/// How to make an image of a container.
#[derive(Clone, Debug)]
pub struct CommitSpec {
    /// `name:tag`.
    pub tag: String,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// What is said in the image's history.
    pub comment: String,
}

/// Something to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A container.
    Container(ContainerId),
    /// An image's tag; the image goes with its last tag, unless a container uses it.
    ImageTag(String),
    /// A snapshot. While there is a container or a snapshot that was made of it, it is [`EngineError::Refused`].
    Snapshot(SnapshotId),
}
