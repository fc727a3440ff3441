//! Whether what was written has reached the disk.
//!
//! Waiting for it takes longer than all the rest of loading an image, since a file system writes out for everybody at once. So a
//! layer says in which boot of the machine it was unpacked. In that boot, what was written is there. In a later one it may not be,
//! if the power failed within seconds: the layer is then proven by its digest, once, before it is used, and goes if it is not whole.
//! Owners and modes need no proof: file systems with a journal keep the order in which names and attributes were written, and the
//! layer got its name last.

use std::fs;
use std::io;
use std::path::Path;

use super::catalogue;
use super::error::Result;
use super::image_config::ImageConfig;
use super::layout::{BOOT, Layout};
use super::save;
use crate::model::Digest;
use crate::support::fs::{FsError, PathContext};

/// Notes in which boot the layer in `dir` was unpacked.
pub(super) fn note(dir: &Path) -> Result<(), FsError> {
    let path = dir.join(BOOT);
    fs::write(&path, boot()).at("write", &path)
}

/// True when the layer in `dir` was unpacked in an earlier boot, and not proven since.
pub(super) fn is_doubtful(dir: &Path) -> bool {
    // One whose file is empty has lost it with the power.
    fs::read_to_string(dir.join(BOOT)).is_ok_and(|noted| noted != boot())
}

/// True when all layers of an image are there and whole. What is not goes, and every image with it.
pub(super) fn prove(layout: &Layout, config: &ImageConfig) -> Result<bool> {
    let mut whole = true;
    for layer in &config.layers {
        whole &= prove_layer(layout, layer)?;
    }
    Ok(whole)
}

/// True when a layer is there and whole. One that is not whole goes.
pub(super) fn prove_layer(layout: &Layout, layer: &Digest) -> Result<bool> {
    let dir = layout.layer(layer);
    if !dir.exists() {
        return Ok(false);
    }
    if !is_doubtful(&dir) {
        return Ok(true);
    }
    let proven = save::size(&dir).and_then(|size| save::write_layer(&dir, layer, size, &mut io::sink()));
    match proven {
        Ok(()) => {
            let path = dir.join(BOOT);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", &path)?,
                _ => {}
            }
            Ok(true)
        }
        Err(error) => {
            tracing::warn!(%layer, %error, "a layer is not whole, and goes: the machine stopped while it was written");
            catalogue::discard(layout, layer)?;
            Ok(false)
        }
    }
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
