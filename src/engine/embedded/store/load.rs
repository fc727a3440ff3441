use std::collections::VecDeque;
use std::io::Read;

use serde::Deserialize;

use super::catalogue::{self, NewImage};
use super::chunked::{self, Chunking};
use super::error::{Result, StoreError};
use super::feed::{Fed, Feed, Staged};
use super::image_config::ImageConfig;
use super::layout::{Layout, StoreLock};
use super::platform;
use super::workspace::Workspace;
use super::written;
use crate::chunks::ChunkedImage;
use crate::engine::ImageInfo;
use crate::model::Digest;
use crate::support::image_archive::{self, Contents, MANIFEST, Problem};

/// How many layers may be on their way at a time: each has a thread.
const AT_ONCE: usize = 4;

/// The index of an OCI image layout.
const INDEX: &str = "index.json";

/// What a layer of the archive is to us.
enum Loaded {
    /// The layer of the archive that is at this place among those that were unpacked.
    Unpacked(usize),
    /// The store has it already. Its name says which it is; its bytes do not matter.
    There(Digest),
}

/// Reads an image archive in one pass and publishes its image under `tag`. Layers that are in chunks where the archive comes from
/// are not cut again.
pub(super) fn load(
    layout: &Layout,
    workspace: &Workspace,
    stream: impl Read,
    chunked: Option<&ChunkedImage>,
    tag: &str,
) -> Result<ImageInfo> {
    let mut fed: VecDeque<Fed> = VecDeque::new();
    let mut staged: Vec<Staged> = Vec::new();
    let chunking = Chunking::new(layout, workspace);
    let has_chunks = |digest: Option<Digest>| {
        digest.is_some_and(|digest| chunked.is_some_and(|chunked| chunked.lists.contains_key(&digest)))
    };
    let contents = image_archive::read(stream, |name, content| {
        if let Some(digest) = named(name)
            && hold(layout, workspace, &digest)?
        {
            return Ok(Loaded::There(digest));
        }
        while fed.len() >= AT_ONCE {
            if let Some(first) = fed.pop_front() {
                staged.push(first.wait()?);
            }
        }
        let chunks = if has_chunks(named(name)) { None } else { chunking.writer()? };
        fed.push_back(Feed::new(&workspace.new_path(), chunks)?.take_all(content)?);
        Ok::<_, StoreError>(Loaded::Unpacked(staged.len() + fed.len() - 1))
    });
    let contents = contents?;
    for layer in fed {
        staged.push(layer.wait()?);
    }
    let Wanted { config, layers } = wanted(&contents)?;
    let parsed = ImageConfig::read(&config, "its configuration")?;
    if layers.len() != parsed.layers.len() {
        return Err(StoreError::Refused(format!(
            "its manifest has {} layers and its configuration {}",
            layers.len(),
            parsed.layers.len()
        )));
    }
    for (name, wanted) in layers.iter().zip(&parsed.layers) {
        // An archive may leave out what the store has.
        if !contents.has(name) && hold(layout, workspace, wanted)? {
            continue;
        }
        let found = match contents.layer(name)? {
            Loaded::Unpacked(at) => staged[*at].digest,
            Loaded::There(digest) => *digest,
        };
        if found != *wanted {
            let what = format!("layer `{name}` of the image");
            return Err(StoreError::WrongDigest { what, expected: *wanted, found });
        }
    }
    staged.retain(|layer| parsed.layers.contains(&layer.digest));
    if let Some(chunked) = chunked.filter(|_| layout.is_shared()) {
        for layer in &mut staged {
            chunked::link(workspace, layer, chunked);
        }
    }
    catalogue::publish(
        layout,
        workspace,
        NewImage { config: &config, layers: staged, repo_digest: None, tag },
    )
}

/// True when the store has the layer; then it stays while the workspace is there.
pub(super) fn hold(layout: &Layout, workspace: &Workspace, layer: &Digest) -> Result<bool> {
    {
        let lock = StoreLock::take(&layout.lock())?;
        if !layout.layer(layer).exists() {
            return Ok(false);
        }
        workspace.hold(layer, &lock)?;
    }
    written::prove_layer(layout, layer)
}

/// The digest that an entry's name promises: `blobs/sha256/HEX`, `HEX.tar`, `HEX/layer.tar`.
fn named(name: &str) -> Option<Digest> {
    let hex = name.strip_prefix("blobs/sha256/").or_else(|| name.strip_suffix(".tar"))?;
    Digest::from_hex(hex.strip_suffix("/layer").unwrap_or(hex)).ok()
}

/// The image that an archive holds.
struct Wanted {
    config: Vec<u8>,
    /// The names of its layers in the archive.
    layers: Vec<String>,
}

fn wanted(contents: &Contents<Loaded>) -> Result<Wanted> {
    if contents.has(MANIFEST) || !contents.has(INDEX) {
        let item = contents.manifest()?;
        let config = contents.document(&item.config)?.to_vec();
        return Ok(Wanted { config, layers: item.layers.unwrap_or_default() });
    }
    let mut digest = the_one(contents.document(INDEX)?, INDEX, platform::host())?;
    // An index may name an index for several platforms.
    for _ in 0..4 {
        let bytes = blob(contents, &digest)?;
        let manifest: Manifest = parse(bytes, &format!("its manifest {digest}"))?;
        match manifest {
            Manifest { config: Some(config), layers: Some(layers), .. } => {
                return Ok(Wanted {
                    config: blob(contents, &config.digest)?.to_vec(),
                    layers: layers.iter().map(|layer| blob_name(&layer.digest)).collect(),
                });
            }
            _ => digest = the_one(bytes, &format!("its index {digest}"), platform::host())?,
        }
    }
    Err(StoreError::Refused("its indexes lead nowhere".to_owned()))
}

/// A descriptor (OCI image specification, "Content Descriptors").
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Descriptor {
    pub(super) digest: Digest,
    #[serde(default)]
    pub(super) size: u64,
    pub(super) platform: Option<platform::Platform>,
}

/// An image's manifest, or an index (OCI image specification; Docker's have the same fields).
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Option<Descriptor>,
    pub(super) layers: Option<Vec<Descriptor>>,
    pub(super) manifests: Option<Vec<Descriptor>>,
}

/// The one image of an index that is for the platform.
pub(super) fn the_one(index: &[u8], what: &str, wanted: platform::Wanted) -> Result<Digest> {
    let index: Manifest = parse(index, what)?;
    let manifests = index.manifests.unwrap_or_default();
    platform::choose(&manifests, wanted)
        .map(|chosen| chosen.digest)
        .map_err(|why| StoreError::Refused(format!("{what} {why}")))
}

pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Refused(format!("{what} cannot be read: {error}")))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn blob<'a>(contents: &'a Contents<Loaded>, digest: &Digest) -> Result<&'a [u8]> {
    let bytes = contents.document(&blob_name(digest))?;
    match Digest::of(bytes) {
        found if found == *digest => Ok(bytes),
        found => Err(StoreError::WrongDigest { what: blob_name(digest), expected: *digest, found }),
    }
}

impl From<Problem> for StoreError {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Tar(error) => error.into(),
            Problem::Input(error) => Self::Input(error),
            Problem::Image(reason) => Self::Refused(reason),
        }
    }
}
