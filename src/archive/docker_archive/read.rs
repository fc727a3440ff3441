use std::collections::HashMap;
use std::io::{self, Read};

use super::super::chunks::{ChunkWriter, StagedChunks};
use super::super::error::{ArchiveError, Result};
use super::super::image::{self, Image, ImageConfig};
use super::super::layer_check;
use super::super::layout::Layout;
use super::super::workspace::Workspace;
use super::{MANIFEST, ManifestItem};
use crate::model::Digest;
use crate::support::decompress::{self, Packing};
use crate::support::tar_reader::{self, TarEntry, TarKind, TarReader};

/// What all documents of one image together may hold in memory.
const MAX_DOCUMENTS: u64 = 16 << 20;

/// The most entries that are remembered. An image has some hundred layers at most.
const MAX_ENTRIES: usize = 1 << 14;

/// How many links may lead from one to the next.
const MAX_LINKS: usize = 8;

/// What an entry of the tar turned out to be. Names say nothing: older Docker writes `ID.json` and `ID/layer.tar`, newer
/// Docker and podman write `blobs/sha256/HEX` for everything.
enum Item {
    /// Something small that is no tar: a configuration, a manifest.
    Document(Vec<u8>),
    /// A tar, unpacked.
    Layer(StagedChunks),
    /// A link to another entry.
    Link(String),
    /// Something large that is no tar.
    Unusable,
}

struct Importer<'a> {
    layout: &'a Layout,
    workspace: &'a Workspace,
    chunks: ChunkWriter<'a>,
    items: HashMap<String, Item>,
    documents: u64,
}

/// Reads an image from `docker save`'s tar in one pass. Nothing becomes visible before the whole image has proved sound.
pub(in super::super) fn import(
    layout: &Layout,
    workspace: &Workspace,
    chunks: ChunkWriter<'_>,
    stream: impl Read,
) -> Result<Image> {
    let mut importer = Importer { layout, workspace, chunks, items: HashMap::new(), documents: 0 };
    let mut tar = TarReader::new(stream);
    while let Some(entry) = tar.next_entry()? {
        importer.take(entry, &mut tar)?;
    }
    importer.finish()
}

impl Importer<'_> {
    fn take(&mut self, entry: TarEntry, content: &mut impl Read) -> Result<()> {
        let TarEntry { path, kind, size } = entry;
        let item = match kind {
            TarKind::Directory => return Ok(()),
            TarKind::File => self.take_file(&path, size, content)?,
            TarKind::Symlink(target) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                Item::Link(join(folder, &target).ok_or_else(|| bad(format!("`{path}` links to `{target}`")))?)
            }
            TarKind::Hardlink(target) => {
                let inside = tar_reader::safe_relative(&target);
                Item::Link(inside.ok_or_else(|| bad(format!("`{path}` links to `{target}`")))?)
            }
            TarKind::Special(what) => return Err(bad(format!("`{path}` is {what}"))),
        };
        if self.items.len() >= MAX_ENTRIES {
            return Err(bad(format!("it has more than {MAX_ENTRIES} entries")));
        }
        match self.items.insert(path.clone(), item) {
            None => Ok(()),
            Some(_) => Err(bad(format!("it holds `{path}` twice"))),
        }
    }

    fn take_file(&mut self, path: &str, size: u64, content: &mut impl Read) -> Result<Item> {
        let (start, mut content) = decompress::peek(content, 512).map_err(ArchiveError::Input)?;
        let packing = Packing::of(&start);
        if let Packing::Gzip | Packing::Zstd | Packing::Xz = packing {
            let mut unpacked = decompress::unpack(content, packing).map_err(ArchiveError::Input)?;
            layer_check::copy(&mut unpacked, |bytes| self.chunks.write(bytes))?;
            return Ok(Item::Layer(self.chunks.end_blob()?));
        }
        let is_tar = tar_reader::is_header(&start) || (start.len() == 512 && start.iter().all(|b| *b == 0));
        if is_tar {
            layer_check::copy(&mut content, |bytes| self.chunks.write(bytes))?;
            return Ok(Item::Layer(self.chunks.end_blob()?));
        }
        if size > MAX_DOCUMENTS {
            io::copy(&mut content, &mut io::sink()).map_err(ArchiveError::Input)?;
            return Ok(Item::Unusable);
        }
        self.documents += size;
        if self.documents > MAX_DOCUMENTS {
            return Err(bad(format!("up to `{path}` it holds more than {MAX_DOCUMENTS} bytes of documents")));
        }
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(ArchiveError::Input)?;
        Ok(Item::Document(bytes))
    }

    fn finish(mut self) -> Result<Image> {
        let manifest: Vec<ManifestItem> = serde_json::from_slice(self.document(MANIFEST)?)
            .map_err(|e| bad(format!("its {MANIFEST} cannot be read: {e}")))?;
        let [item] = manifest.as_slice() else {
            return Err(bad(format!("it holds {} images instead of one", manifest.len())));
        };
        let config = self.document(&item.config)?.to_vec();
        let id = Digest::of(&config);
        let parsed: ImageConfig = serde_json::from_slice(&config)
            .map_err(|e| bad(format!("its configuration `{}` cannot be read: {e}", item.config)))?;
        let named = item.layers.as_deref().unwrap_or_default();
        let wanted = parsed.layers();
        if named.len() != wanted.len() {
            return Err(bad(format!(
                "its manifest has {} layers and its configuration {}",
                named.len(),
                wanted.len()
            )));
        }
        for (name, wanted) in named.iter().zip(wanted) {
            self.check_layer(name, wanted)?;
        }
        // Every layer is sound: only now does anything become visible, and the configuration last.
        let mut layers = Vec::new();
        for name in named {
            // An image may have the same layer twice.
            let path = self.resolve(name)?;
            if let Some(Item::Layer(layer)) = self.items.remove(&path) {
                layers.push(layer);
            }
        }
        self.chunks.publish(&layers)?;
        image::put_config(self.layout, self.workspace, &config)?;
        image::from_config(self.layout, &id, &config)
    }

    fn check_layer(&self, name: &str, wanted: &Digest) -> Result<()> {
        match self.items.get(&self.resolve(name)?) {
            Some(Item::Layer(layer)) if layer.digest == *wanted => Ok(()),
            Some(Item::Layer(layer)) => Err(ArchiveError::WrongDigest {
                what: format!("layer `{name}` of the image"),
                expected: *wanted,
                found: layer.digest,
            }),
            Some(_) => Err(bad(format!("its layer `{name}` is no tar"))),
            None => Err(bad(format!("its layer `{name}` is missing"))),
        }
    }

    fn document(&self, name: &str) -> Result<&[u8]> {
        match self.items.get(&self.resolve(name)?) {
            Some(Item::Document(bytes)) => Ok(bytes),
            Some(_) => Err(bad(format!("its `{name}` is no document"))),
            None => Err(bad(format!("it has no `{name}`"))),
        }
    }

    /// Follows links.
    fn resolve(&self, name: &str) -> Result<String> {
        let mut path = tar_reader::safe_relative(name).ok_or_else(|| bad(format!("it names `{name}`")))?;
        for _ in 0..MAX_LINKS {
            match self.items.get(&path) {
                Some(Item::Link(target)) => path.clone_from(target),
                _ => return Ok(path),
            }
        }
        Err(bad(format!("the links of `{name}` lead nowhere")))
    }
}

/// The entry that a symbolic link in `folder` means, or `None` if it leads out of the tar.
fn join(folder: &str, target: &str) -> Option<String> {
    if target.starts_with('/') || target.is_empty() {
        return None;
    }
    let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                path.pop()?;
            }
            part => path.push(part),
        }
    }
    Some(path.join("/"))
}

fn bad(reason: String) -> ArchiveError {
    ArchiveError::BadImage { reason }
}
