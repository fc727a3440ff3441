use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::{Result, StoreError};
use crate::engine::says::Says;
use crate::engine::{CommitSpec, ImageInfo};
use crate::model::Digest;

/// The most layers of an image. Linux mounts 500 at most (OVL_MAX_STACK), and an upper one is to come on top.
const MOST_LAYERS: usize = 400;

/// What an image says of itself (OCI image specification, "Image Configuration").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// OCI's word: `amd64`.
    pub arch: String,
    /// Digests of the uncompressed layers, lowest first.
    pub layers: Vec<Digest>,
    /// Variables as `NAME=value`.
    pub env: Vec<String>,
    /// The program and its first arguments; may be empty.
    pub entrypoint: Vec<String>,
    /// Further arguments, or the command.
    pub cmd: Vec<String>,
    /// The working directory; may be empty.
    pub working_dir: String,
    /// Who runs it: a name or a number, with a group after a colon; may be empty.
    pub user: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    config: Option<Defaults>,
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Defaults {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<Digest>>,
}

impl ImageConfig {
    /// Reads a configuration. `what` names it in errors.
    pub(super) fn read(bytes: &[u8], what: &str) -> Result<Self> {
        let refused = |why: String| StoreError::Refused(format!("{what} {why}"));
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| refused(format!("cannot be read: {error}")))?;
        if !["", "linux"].contains(&document.os.as_str()) {
            return Err(refused(format!("is for {} and not for Linux", document.os)));
        }
        let layers = document.rootfs.diff_ids.unwrap_or_default();
        if layers.len() > MOST_LAYERS {
            return Err(refused(format!(
                "names {} layers, and at most {MOST_LAYERS} are mounted",
                layers.len()
            )));
        }
        let said = document.config.unwrap_or_default();
        Ok(Self {
            arch: document.architecture,
            layers,
            env: said.env.unwrap_or_default(),
            entrypoint: said.entrypoint.unwrap_or_default(),
            cmd: said.cmd.unwrap_or_default(),
            working_dir: said.working_dir.unwrap_or_default(),
            user: said.user.unwrap_or_default(),
            labels: said.labels.unwrap_or_default(),
        })
    }

    pub(super) fn info(&self, id: Digest, repo_digests: Vec<String>) -> ImageInfo {
        ImageInfo {
            id,
            layers: self.layers.clone(),
            arch: self.arch.clone(),
            labels: self.labels.clone(),
            repo_digests,
        }
    }

    /// The configuration of an image that has these layers more. It says what this one says, and nothing of when and where it was made.
    pub(super) fn with_layers(&self, layers: impl Iterator<Item = Digest>, spec: &CommitSpec) -> Vec<u8> {
        let said = Says {
            cmd: self.cmd.clone(),
            entrypoint: self.entrypoint.clone(),
            user: Some(self.user.clone()),
            env: self.env.clone(),
            working_dir: Some(self.working_dir.clone()),
            labels: self.labels.clone(),
        };
        let layers: Vec<Digest> = self.layers.iter().copied().chain(layers).collect();
        said.after(spec).as_config(&self.arch, &layers, &spec.comment)
    }
}
