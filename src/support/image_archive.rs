//! An image in a tar: the format of `docker save` (Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset
//! Format"), which podman, skopeo and containerd read and write too, and the tar of an OCI image layout.
//!
//! One pass, in whatever order the entries come, and nothing that the tar says is believed: names are only names.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::decompress::{self, Packing};
use super::tar_reader::{self, TarEntry, TarError, TarKind, TarReader};

/// The file of a `docker save` archive that says what is in it.
pub(crate) const MANIFEST: &str = "manifest.json";

/// What all documents of one image together may hold in memory.
const MAX_DOCUMENTS: u64 = 16 << 20;

/// The most entries that are remembered. An image has some hundred layers at most.
const MAX_ENTRIES: usize = 1 << 14;

/// How many links may lead from one to the next.
const MAX_LINKS: usize = 8;

/// One image of [`MANIFEST`].
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ManifestItem {
    pub(crate) config: String,
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) layers: Option<Vec<String>>,
}

/// What is wrong with an image's tar.
#[derive(Debug)]
pub(crate) enum Problem {
    /// It is no tar that can be read.
    Tar(TarError),
    /// Reading it failed.
    Input(io::Error),
    /// It is not an image that is accepted: in words, to follow "it".
    Image(String),
}

impl From<TarError> for Problem {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}

/// What an entry of the tar turned out to be. Names say nothing: older Docker writes `ID.json` and `ID/layer.tar`, newer
/// Docker and podman write `blobs/sha256/HEX` for everything.
enum Item<L> {
    /// Something small that is no tar: a configuration, a manifest.
    Document(Vec<u8>),
    /// A tar, as the caller has taken it.
    Layer(L),
    /// A link to another entry.
    Link(String),
    /// Something large that is no tar.
    Unusable,
}

/// The entries of an image's tar.
pub(crate) struct Contents<L> {
    items: HashMap<String, Item<L>>,
    documents: u64,
}

/// Reads an image's tar to its end. `layer` gets each layer's name in the tar and its unpacked bytes; it need not read them.
pub(crate) fn read<L, E: From<Problem>>(
    stream: impl Read,
    mut layer: impl FnMut(&str, Box<dyn Read + '_>) -> Result<L, E>,
) -> Result<Contents<L>, E> {
    let mut contents = Contents { items: HashMap::new(), documents: 0 };
    let mut tar = TarReader::new(stream);
    while let Some(entry) = tar.next_entry().map_err(Problem::Tar)? {
        contents.take(entry, &mut tar, &mut layer)?;
    }
    Ok(contents)
}

impl<L> Contents<L> {
    fn take<E: From<Problem>>(
        &mut self,
        entry: TarEntry,
        content: &mut impl Read,
        layer: &mut impl FnMut(&str, Box<dyn Read + '_>) -> Result<L, E>,
    ) -> Result<(), E> {
        let TarEntry { path, kind, size } = entry;
        let item = match kind {
            TarKind::Directory => return Ok(()),
            TarKind::File => self.take_file(&path, size, content, layer)?,
            TarKind::Symlink(target) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                Item::Link(join(folder, &target).ok_or_else(|| bad(format!("`{path}` links to `{target}`")))?)
            }
            TarKind::Hardlink(target) => {
                let inside = tar_reader::safe_relative(&target);
                Item::Link(inside.ok_or_else(|| bad(format!("`{path}` links to `{target}`")))?)
            }
            TarKind::Special(what) => return Err(bad(format!("`{path}` is {what}")).into()),
        };
        if self.items.len() >= MAX_ENTRIES {
            return Err(bad(format!("it has more than {MAX_ENTRIES} entries")).into());
        }
        match self.items.insert(path.clone(), item) {
            None => Ok(()),
            Some(_) => Err(bad(format!("it holds `{path}` twice")).into()),
        }
    }

    fn take_file<E: From<Problem>>(
        &mut self,
        path: &str,
        size: u64,
        content: &mut impl Read,
        layer: &mut impl FnMut(&str, Box<dyn Read + '_>) -> Result<L, E>,
    ) -> Result<Item<L>, E> {
        let (start, mut content) = decompress::peek(content, 512).map_err(Problem::Input)?;
        let packing = Packing::of(&start);
        if let Packing::Gzip | Packing::Zstd | Packing::Xz = packing {
            let unpacked = decompress::unpack(content, packing).map_err(Problem::Input)?;
            return layer(path, unpacked).map(Item::Layer);
        }
        let is_tar = tar_reader::is_header(&start) || (start.len() == 512 && start.iter().all(|b| *b == 0));
        if is_tar {
            return layer(path, Box::new(content)).map(Item::Layer);
        }
        if size > MAX_DOCUMENTS {
            io::copy(&mut content, &mut io::sink()).map_err(Problem::Input)?;
            return Ok(Item::Unusable);
        }
        self.documents += size;
        if self.documents > MAX_DOCUMENTS {
            return Err(
                bad(format!("up to `{path}` it holds more than {MAX_DOCUMENTS} bytes of documents")).into()
            );
        }
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(Problem::Input)?;
        Ok(Item::Document(bytes))
    }

    /// The one image of [`MANIFEST`].
    pub(crate) fn manifest(&self) -> Result<ManifestItem, Problem> {
        let mut manifest: Vec<ManifestItem> = serde_json::from_slice(self.document(MANIFEST)?)
            .map_err(|e| bad(format!("its {MANIFEST} cannot be read: {e}")))?;
        match manifest.pop() {
            Some(item) if manifest.is_empty() => Ok(item),
            Some(_) => Err(bad(format!("it holds {} images instead of one", manifest.len() + 1))),
            None => Err(bad("it holds 0 images instead of one".to_owned())),
        }
    }

    /// True when it has an entry of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.items.contains_key(name)
    }

    /// A document that must be there.
    pub(crate) fn document(&self, name: &str) -> Result<&[u8], Problem> {
        match self.items.get(&self.resolve(name)?) {
            Some(Item::Document(bytes)) => Ok(bytes),
            Some(_) => Err(bad(format!("its `{name}` is no document"))),
            None => Err(bad(format!("it has no `{name}`"))),
        }
    }

    /// A layer that must be there.
    pub(crate) fn layer(&self, name: &str) -> Result<&L, Problem> {
        match self.items.get(&self.resolve(name)?) {
            Some(Item::Layer(layer)) => Ok(layer),
            Some(_) => Err(bad(format!("its layer `{name}` is no tar"))),
            None => Err(bad(format!("its layer `{name}` is missing"))),
        }
    }

    /// Gives away the layers of these names, each once: an image may have the same layer twice.
    pub(crate) fn into_layers(mut self, names: &[String]) -> Result<Vec<L>, Problem> {
        let mut layers = Vec::new();
        for name in names {
            let path = self.resolve(name)?;
            if let Some(Item::Layer(layer)) = self.items.remove(&path) {
                layers.push(layer);
            }
        }
        Ok(layers)
    }

    /// Follows links.
    fn resolve(&self, name: &str) -> Result<String, Problem> {
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

fn bad(reason: String) -> Problem {
    Problem::Image(reason)
}

/// Writes the entry `name` that holds `bytes`. All entries have the same owner, mode and time, so that the same image gives the
/// same archive.
pub(crate) fn write_bytes(out: &mut impl Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    write_header(out, name, bytes.len() as u64)?;
    out.write_all(bytes)?;
    write_padding(out, bytes.len() as u64)
}

/// Writes the header of the entry `name`; `size` bytes and [`write_padding`] are to follow.
pub(crate) fn write_header(out: &mut impl Write, name: &str, size: u64) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

/// Fills the last block of an entry of `size` bytes.
pub(crate) fn write_padding(out: &mut impl Write, size: u64) -> io::Result<()> {
    let padding = (size.next_multiple_of(512) - size) as usize;
    out.write_all(&[0; 512][..padding])
}

/// Writes the end marker.
pub(crate) fn write_end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 1024])?;
    out.flush()
}
