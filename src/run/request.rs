use std::sync::Arc;

use super::Folders;
use crate::archive::Archive;
use crate::config::{Builders, LockFile, Pipeline, PipelineFile};
use crate::engine::Engine;
use crate::provenance::ReceiptKey;
use crate::stage::BaseChoice;

/// A run that is asked for. Everything in it was checked; nothing below sees a command line.
#[derive(Clone)]
pub struct Request {
    /// The pipeline, with only the targets that are wanted.
    pub pipeline: Pipeline,
    /// The file that it was read from.
    pub file: PipelineFile,
    /// The lock whose images alone may be built in.
    pub lock: Option<LockFile>,
    /// The builders that can be named.
    pub builders: Builders,
    /// The repository, where the user names another one than the pipeline does.
    pub source: Option<String>,
    /// The git revision.
    pub revision: String,
    /// What runs the containers.
    pub engine: Arc<dyn Engine>,
    /// Where everything is kept.
    pub archive: Archive,
    /// What the user says about base images.
    pub base: BaseChoice,
    /// How many targets run at once.
    pub jobs: usize,
    /// Whether builds and verifications are done although they were done before.
    pub rebuild: bool,
    /// Whether a container may get the privileges that an init system needs.
    pub init: bool,
    /// Whether every target is built again under other conditions.
    pub reproducible: Option<CheckReproducible>,
    /// What signs the receipt of the run.
    pub receipt_key: Option<Arc<ReceiptKey>>,
    /// Where caches and logs are.
    pub folders: Folders,
}

/// A check of whether packages depend on the conditions of their build.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckReproducible {
    /// Whether the build path stays what it is.
    pub keep_build_path: bool,
}
