use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{BaseChoice, DeclaredLists, ImagePolicy, ImageStore, MirrorLists, PackageLists, Reporter};
use crate::archive::Archive;
use crate::engine::Engine;
use crate::model::RunId;
use crate::plan::Commit;

/// What every stage of one run works with.
pub struct Workshop {
    /// The run.
    pub run: RunId,
    /// What runs containers.
    pub engine: Arc<dyn Engine>,
    /// Where everything is kept.
    pub archive: Archive,
    /// The images that are known, and how base images are obtained.
    pub images: ImageStore,
    /// What is installed in images that were looked at before.
    pub package_lists: PackageLists,
    /// What spec files that were read before ask for.
    pub declared_lists: DeclaredLists,
    /// The mirror's package lists.
    pub lists: MirrorLists,
    /// Which images may be used.
    pub policy: ImagePolicy,
    /// What the user says about base images.
    pub base: BaseChoice,
    /// Where events go.
    pub reporter: Reporter,
    /// Cancelled when the run has to stop.
    pub cancel: CancellationToken,
    /// A folder of this run's own, gone when it ends.
    pub scratch: PathBuf,
    /// The folder of this run's logs.
    pub logs: PathBuf,
    /// Number of parallel jobs that a build may start.
    pub build_jobs: usize,
    /// Whether a container may get the privileges that an init system needs.
    pub init: bool,
}

/// A commit and its exported source tree.
#[derive(Clone, Debug)]
pub struct SourceTree {
    /// The commit.
    pub commit: Commit,
    /// The tar.
    pub tar: PathBuf,
}
