//! Which images there are, under which tags, who leases them, and what goes when nobody does any more.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::chunked;
use super::error::{Result, StoreError};
use super::feed::Staged;
use super::image_config::ImageConfig;
use super::layout::{Layout, StoreLock};
use super::trash::Trash;
use super::workspace::{self, Workspace};
use super::written;
use crate::engine::ImageInfo;
use crate::model::Digest;
use crate::support::fs::{FsError, PathContext};

/// A file below `tags`.
#[derive(Deserialize, Serialize)]
struct Tag {
    tag: String,
    image: Digest,
}

/// A file below `leases`.
#[derive(Deserialize, Serialize)]
struct LeaseRecord {
    image: Digest,
    holder: PathBuf,
}

/// An image that is complete but for its place.
pub(super) struct NewImage<'a> {
    /// Its configuration, byte for byte.
    pub(super) config: &'a [u8],
    /// Its layers that the store may not have yet.
    pub(super) layers: Vec<Staged>,
    /// What a registry calls it.
    pub(super) repo_digest: Option<String>,
    /// `name:tag`.
    pub(super) tag: &'a str,
}

/// The tag in the form in which it is kept: `debian` is `debian:latest`, and Docker's own registry has no name.
pub(super) fn normalise(tag: &str) -> String {
    let short = ["docker.io/library/", "docker.io/"].iter().find_map(|prefix| tag.strip_prefix(prefix));
    let short = short.unwrap_or(tag);
    match short.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) {
        true => short.to_owned(),
        false => format!("{short}:latest"),
    }
}

/// Puts a complete image into its place: layers, configuration, tag, in this order and under the lock, so that whatever is seen is
/// whole whenever the writer dies. What a power failure does is the business of [`written`]. What has lost its last tag by it goes.
pub(super) fn publish(layout: &Layout, workspace: &Workspace, image: NewImage<'_>) -> Result<ImageInfo> {
    let id = Digest::of(image.config);
    let config = ImageConfig::read(image.config, "the image's configuration")?;
    // Before the lock, and so emptied after it.
    let mut trash = Trash::new(layout);
    let lock = StoreLock::take(&layout.lock())?;
    for layer in image.layers {
        let place = layout.layer(&layer.digest);
        // Somebody else may have been faster with the same layer.
        if written::is_doubtful(&place) {
            trash.take(&place)?;
        }
        if !place.exists() {
            for (pack, file) in &layer.packs {
                let place = layout.pack(pack);
                if !place.exists() {
                    fs::rename(file, &place).at("create", &place)?;
                }
            }
            fs::rename(&layer.dir, &place).at("create", &place)?;
        }
    }
    for layer in &config.layers {
        if !layout.layer(layer).exists() {
            return Err(StoreError::Refused(format!("its layer {layer} is neither in it nor in the store")));
        }
    }
    write(workspace, &layout.image(&id), image.config)?;
    if let Some(digest) = &image.repo_digest {
        let mut known = repo_digests(layout, &id)?;
        if known.first() != Some(digest) {
            // What it was called last comes first.
            known.retain(|other| other != digest);
            known.insert(0, digest.clone());
            let lines: String = known.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            write(workspace, &layout.repo_digests(&id), lines.as_bytes())?;
        }
    }
    let tag = normalise(image.tag);
    write_json(workspace, &layout.tag(&tag), &Tag { tag, image: id })?;
    let info = config.info(id, repo_digests(layout, &id)?);
    collect(layout, &mut trash, &lock)?;
    Ok(info)
}

/// The image with this identity.
pub(super) fn image(layout: &Layout, id: &Digest) -> Result<Option<(Vec<u8>, ImageConfig, ImageInfo)>> {
    let path = layout.image(id);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.at("read", &path)?,
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let found = Digest::of(&bytes);
    if found != *id {
        return Err(StoreError::WrongDigest { what: path.display().to_string(), expected: *id, found });
    }
    let config = ImageConfig::read(&bytes, &path.display().to_string())?;
    let info = config.info(*id, repo_digests(layout, id)?);
    Ok(Some((bytes, config, info)))
}

/// The identity of the image with this tag.
pub(super) fn tagged(layout: &Layout, tag: &str) -> Result<Option<Digest>> {
    let path = layout.tag(&normalise(tag));
    Ok(read_json::<Tag>(&path)?.map(|found| found.image))
}

/// Takes a tag away; what nobody names or leases any more goes.
pub(super) fn untag(layout: &Layout, tag: &str) -> Result<()> {
    let mut trash = Trash::new(layout);
    let lock = StoreLock::take(&layout.lock())?;
    let path = layout.tag(&normalise(tag));
    match fs::remove_file(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed.at("remove", &path)?,
    }
    collect(layout, &mut trash, &lock)
}

/// Notes that `holder`, a folder, uses an image.
pub(super) fn lease(
    layout: &Layout,
    workspace: &Workspace,
    id: &Digest,
    holder: &Path,
) -> Result<(Vec<u8>, ImageConfig)> {
    let _lock = StoreLock::take(&layout.lock())?;
    let found = image(layout, id)?;
    let (bytes, config, _) = found.ok_or_else(|| StoreError::Missing(format!("image {id}")))?;
    fs::symlink_metadata(holder).at("find", holder)?;
    write_json(workspace, &layout.lease(holder, id), &LeaseRecord { image: *id, holder: holder.to_owned() })?;
    Ok((bytes, config))
}

/// Removes a layer that is not whole, and all images that have it.
pub(super) fn discard(layout: &Layout, layer: &Digest) -> Result<()> {
    let mut trash = Trash::new(layout);
    let _lock = StoreLock::take(&layout.lock())?;
    for path in files(&layout.images())? {
        let hex = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(id) = Digest::from_hex(&hex) else { continue };
        if image(layout, &id)?.is_some_and(|(_, config, _)| config.layers.contains(layer)) {
            let path = layout.image(&id);
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    let place = layout.layer(layer);
    if written::is_doubtful(&place) {
        trash.take(&place)?;
    }
    Ok(())
}

/// Removes what nobody needs.
pub(super) fn sweep(layout: &Layout) -> Result<()> {
    let mut trash = Trash::new(layout);
    let lock = StoreLock::take(&layout.lock())?;
    collect(layout, &mut trash, &lock)
}

/// Removes leases whose holders are gone, images that have neither tag nor lease, and layers of no image. Images go before their
/// layers, and these before the packs of which no list tells any more; layers go to the trash at once, and with it.
fn collect(layout: &Layout, trash: &mut Trash, lock: &StoreLock) -> Result<()> {
    let mut needed = BTreeSet::new();
    for path in files(&layout.tags())? {
        needed.extend(read_json::<Tag>(&path)?.map(|tag| tag.image));
    }
    for path in files(&layout.leases())? {
        let Some(lease) = read_json::<LeaseRecord>(&path)? else { continue };
        match fs::symlink_metadata(&lease.holder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::remove_file(&path).at("remove", &path)?
            }
            _ => {
                needed.insert(lease.image);
            }
        }
    }
    let mut layers = workspace::held(layout, lock)?;
    let mut packs = layers.clone();
    for path in files(&layout.images())? {
        let hex = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let id = Digest::from_hex(&hex).ok().filter(|id| needed.contains(id));
        match id {
            Some(_) if path.extension().is_some_and(|extension| extension != "json") => {}
            Some(id) => {
                layers.extend(image(layout, &id)?.into_iter().flat_map(|(_, config, _)| config.layers))
            }
            None => fs::remove_file(&path).at("remove", &path)?,
        }
    }
    for path in files(&layout.layers())? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match Digest::from_hex(&name).is_ok_and(|digest| layers.contains(&digest)) {
            true => packs.extend(chunked::packs_of(&path)),
            false => trash.take(&path)?,
        }
    }
    for path in files(&layout.packs())? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if Digest::from_hex(&name).map_or(true, |digest| !packs.contains(&digest)) {
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

fn repo_digests(layout: &Layout, id: &Digest) -> Result<Vec<String>, FsError> {
    let path = layout.repo_digests(id);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        lines => Ok(lines.at("read", &path)?.lines().map(str::to_owned).collect()),
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, FsError> {
    let entries = fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    entries.at("list", dir)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.at("read", path)?,
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|error| StoreError::Refused(format!("{} is damaged: {error}", path.display())))
}

fn write_json(workspace: &Workspace, path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| StoreError::Refused(format!("{} cannot be written: {error}", path.display())))?;
    Ok(write(workspace, path, &bytes)?)
}

/// Writes a file whole or not at all. After a power failure it may be empty, which reads as not being there.
fn write(workspace: &Workspace, path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let new = workspace.new_path();
    fs::write(&new, bytes).at("write", &new)?;
    fs::rename(&new, path).at("create", path)
}
