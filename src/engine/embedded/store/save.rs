use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::catalogue;
use super::error::{Result, StoreError};
use super::layout::{EXTRA, Layout, RECIPE, SIZE, TREE};
use super::recipe::{Piece, RecipeReader};
use super::walker::{Walker, split};
use crate::model::{Digest, Hasher};
use crate::support::fs::PathContext;
use crate::support::image_archive::{
    MANIFEST, ManifestItem, write_bytes, write_end, write_header, write_padding,
};

/// Writes an image as a `docker save` archive whose layers are, byte for byte, those that came in. The manifest comes first, so
/// that a reader knows what follows.
pub(super) fn save(layout: &Layout, id: &Digest, out: &mut impl Write) -> Result<()> {
    let found = catalogue::image(layout, id)?;
    let (bytes, config, _) = found.ok_or_else(|| StoreError::Missing(format!("image {id}")))?;
    let layer_name = |digest: &Digest| format!("{}.tar", digest.hex());
    let manifest = [ManifestItem {
        config: format!("{}.json", id.hex()),
        repo_tags: None,
        layers: Some(config.layers.iter().map(layer_name).collect()),
    }];
    let manifest = serde_json::to_vec(&manifest).map_err(|error| StoreError::Refused(error.to_string()))?;
    write_bytes(out, MANIFEST, &manifest).map_err(StoreError::Input)?;
    write_bytes(out, &format!("{}.json", id.hex()), &bytes).map_err(StoreError::Input)?;
    let mut written = BTreeSet::new();
    for layer in &config.layers {
        // An image may have the same layer twice; the manifest then names one file twice.
        if written.insert(*layer) {
            let size = size(&layout.layer(layer))?;
            write_header(out, &layer_name(layer), size).map_err(StoreError::Input)?;
            write_layer(&layout.layer(layer), layer, size, out)?;
            write_padding(out, size).map_err(StoreError::Input)?;
        }
    }
    write_end(out).map_err(StoreError::Input)
}

/// Bytes of a layer's tar.
pub(super) fn size(dir: &Path) -> Result<u64> {
    let path = dir.join(SIZE);
    let text = fs::read_to_string(&path).at("read", &path)?;
    text.parse().map_err(|_| StoreError::Refused(format!("{} is damaged", path.display())))
}

/// Writes the tar of a layer as its recipe says. What is not the layer's bytes is an error, told when they have gone out.
pub(super) fn write_layer(dir: &Path, digest: &Digest, size: u64, out: &mut impl Write) -> Result<()> {
    let recipe = dir.join(RECIPE);
    let mut pieces = File::open(&recipe).and_then(RecipeReader::new).at("read", &recipe)?;
    let tree = dir.join(TREE);
    let mut walker = Walker::new(&tree).at("open", &tree)?;
    let mut twice = Twice::of(dir)?;
    let mut out = Bounded { out: Hasher::around(out), left: size };
    while let Some(piece) = pieces.next().at("read", &recipe)? {
        match piece {
            Piece::Bytes(bytes) => out.write_all(&bytes).map_err(StoreError::Input)?,
            Piece::File { name, size } => {
                let failed =
                    |source| StoreError::Entry { name: String::from_utf8_lossy(&name).into_owned(), source };
                let file = match twice.earlier(&name) {
                    Some(path) => File::open(&path).at("read", &path)?,
                    None => open(&mut walker, &name).map_err(failed)?,
                };
                let copied = io::copy(&mut file.take(size), &mut out).map_err(StoreError::Input)?;
                if copied < size {
                    return Err(failed(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }
    let left = out.left;
    let (found, _, _) = out.out.finish();
    match found == *digest && left == 0 {
        true => Ok(()),
        false => Err(StoreError::WrongDigest {
            what: format!("the layer in {}", dir.display()),
            expected: *digest,
            found,
        }),
    }
}

fn open(walker: &mut Walker, name: &[u8]) -> io::Result<File> {
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').collect();
    let (last, folders) = split(&parts);
    let folder = walker.folder(folders)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, OsStr::from_bytes(last), flags, Mode::empty())?.into())
}

/// A layer that is larger than it was must not run into the archive's next entry.
struct Bounded<W> {
    out: W,
    left: u64,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other("a layer of the store is larger than it was"));
        }
        let written = self.out.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What the tar of a layer holds several times under one name: how often the earlier ones have come, and how many there are.
struct Twice {
    dir: std::path::PathBuf,
    counts: HashMap<String, (u32, u32)>,
}

impl Twice {
    fn of(layer: &Path) -> Result<Self> {
        let dir = layer.join(EXTRA);
        let mut counts: HashMap<String, (u32, u32)> = HashMap::new();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { dir, counts }),
            entries => entries.at("list", &dir)?,
        };
        for entry in entries {
            let name = entry.at("list", &dir)?.file_name().to_string_lossy().into_owned();
            let stem = name.split('.').next().unwrap_or_default().to_owned();
            counts.entry(stem).or_default().1 += 1;
        }
        Ok(Self { dir, counts })
    }

    fn earlier(&mut self, name: &[u8]) -> Option<std::path::PathBuf> {
        if self.counts.is_empty() {
            return None;
        }
        let stem = Digest::of(name).hex();
        let (come, all) = self.counts.get_mut(&stem)?;
        if *come == *all {
            return None;
        }
        *come += 1;
        Some(self.dir.join(format!("{stem}.{}", *come - 1)))
    }
}
