//! Takes an image in whose layers somebody keeps in chunks already: what the archive lacks is linked, not written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::blobs::{self, TempFile};
use super::chunked::{load_known, publish_lists, publish_pack};
use super::error::{ArchiveError, Result};
use super::image::{self, Image, ImageConfig};
use super::layer_check;
use super::layout::Layout;
use super::workspace::Workspace;
use crate::chunks::{
    ChunkList, ChunkedImage, Extent, ForeignPack, ForeignPacks, ForeignReader, KnownChunks, NewPack,
    PackWriter, PackedChunk, Written, places,
};
use crate::model::{Digest, Hasher};
use crate::support::fs::{FsError, PathContext};
use crate::support::read_ahead::ReadAhead;

/// A pack is linked if of 16 bytes in it the archive needs 15. Of another one only what is needed is copied, so that the archive
/// holds no more than if it had cut the layers itself.
const NEEDED: (u64, u64) = (15, 16);

/// Takes the layers of an image that the archive lacks, and its configuration. `None` if not all of it is there, or if it is not what
/// it should be: then the image has to come as a tar.
pub(super) fn adopt(
    layout: &Layout,
    workspace: &Workspace,
    known: &KnownChunks,
    image: &ChunkedImage,
) -> Result<Option<Image>> {
    match take(layout, workspace, known, image) {
        Ok(image) => Ok(image),
        Err(Stopped::Refused(why)) => {
            tracing::warn!(packs = %image.packs.display(), why, "chunks of an image are not what they should be, and not used");
            Ok(None)
        }
        Err(Stopped::Failed(error)) => Err(error),
    }
}

/// Why an image is not taken.
enum Stopped {
    /// Because of what it is.
    Refused(String),
    /// Because the archive cannot be written.
    Failed(ArchiveError),
}

impl<E: Into<ArchiveError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn refused(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Stopped {
    move |error| Stopped::Refused(format!("{what}: {error}"))
}

fn take(
    layout: &Layout,
    workspace: &Workspace,
    known: &KnownChunks,
    image: &ChunkedImage,
) -> Result<Option<Image>, Stopped> {
    let config: ImageConfig = serde_json::from_slice(&image.config)
        .map_err(|error| Stopped::Refused(format!("its configuration cannot be read: {error}")))?;
    let layers: BTreeSet<Digest> = config.layers().iter().copied().collect();
    workspace.hold(&layers)?;
    let (mut lists, mut is_whole) = (Vec::new(), true);
    for layer in layers.iter().filter(|layer| blobs::size(layout, layer).is_none()) {
        let read = image.lists.get(layer).map(|path| ChunkList::read(path));
        match read.transpose().map_err(|error| Stopped::Refused(error.to_string()))?.flatten() {
            Some(list) => lists.push((*layer, list)),
            None => is_whole = false,
        }
    }
    if !lists.is_empty() {
        load_known(known, layout, workspace)?;
        Adoption::plan(layout, workspace, known, image, lists)?.carry_out()?;
    }
    if !is_whole {
        return Ok(None);
    }
    let (id, _) = image::put_config(layout, workspace, &image.config)?;
    Ok(Some(image::from_config(layout, &id, &image.config)?))
}

/// What is done with packs that the archive has not got.
struct Adoption<'a> {
    layout: &'a Layout,
    workspace: &'a Workspace,
    known: &'a KnownChunks,
    image: &'a ChunkedImage,
    lists: Vec<(Digest, ChunkList)>,
    packs: Arc<ForeignPacks>,
    /// Packs that the archive has.
    there: BTreeSet<Digest>,
    linked: BTreeSet<Digest>,
}

impl<'a> Adoption<'a> {
    fn plan(
        layout: &'a Layout,
        workspace: &'a Workspace,
        known: &'a KnownChunks,
        image: &'a ChunkedImage,
        lists: Vec<(Digest, ChunkList)>,
    ) -> Result<Self, Stopped> {
        let names: BTreeSet<Digest> = lists.iter().flat_map(|(_, list)| list.packs()).collect();
        workspace.hold(&names)?;
        let mut packs = ForeignPacks::new();
        for name in &names {
            let pack = ForeignPack::open(&image.packs, name).map_err(refused(format!("pack {name}")))?;
            packs.insert(*name, pack);
        }
        // Of each pack the bytes that the archive lacks.
        let mut lacking: BTreeMap<Digest, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (layer, list) in &lists {
            for (name, place) in places(&packs, list).map_err(refused(format!("layer {layer}")))? {
                let chunk = packs[&name].chunks()[place];
                if known.get(&chunk.digest).is_none() && seen.insert(chunk.digest) {
                    *lacking.entry(name).or_default() += u64::from(chunk.length);
                }
            }
        }
        let is_there = |name: &Digest| blobs::plain_size(layout, name).is_some();
        let there: BTreeSet<Digest> = names.into_iter().filter(is_there).collect();
        let is_needed = |name: &Digest, pack: &ForeignPack| {
            let all: u64 = pack.chunks().iter().map(|chunk| u64::from(chunk.length)).sum();
            let lacking = lacking.get(name).copied().unwrap_or_default();
            lacking * NEEDED.1 >= all * NEEDED.0
        };
        let linked = packs.iter().filter(|(name, pack)| !there.contains(name) && is_needed(name, pack));
        let linked = linked.map(|(name, _)| *name).collect();
        Ok(Self { layout, workspace, known, image, lists, packs: Arc::new(packs), there, linked })
    }

    /// Proves everything, and only then makes it visible: packs, then lists.
    fn carry_out(self) -> Result<(), Stopped> {
        self.prove()?;
        let linked: Vec<(Digest, TempFile)> =
            self.linked.iter().map(|name| Ok((*name, self.link(name)?))).collect::<Result<_, Stopped>>()?;
        let copied = self.copy_frames()?;
        for (name, temp) in &linked {
            publish_pack(self.layout, self.workspace, &temp.0, name)?;
            self.known.add(*name, self.packs[name].chunks());
        }
        if let Some(pack) = &copied {
            publish_pack(self.layout, self.workspace, pack.path(), &pack.digest)?;
            self.known.add(pack.digest, &pack.chunks);
        }
        let lists = self.lists.iter().map(|(layer, list)| Ok((*layer, self.translated(layer, list)?)));
        let lists = lists.collect::<Result<Vec<_>, Stopped>>()?;
        Ok(publish_lists(self.layout, self.workspace, &lists)?)
    }

    /// Every layer is the one that it is called, and every chunk in a pack that comes what the pack's table says: other blobs will
    /// refer to it.
    fn prove(&self) -> Result<(), Stopped> {
        let mut proven = BTreeSet::new();
        for (layer, list) in &self.lists {
            self.prove_layer(layer, list)?;
            proven.extend(self.places(layer, list)?);
        }
        for name in &self.linked {
            let pack = &self.packs[name];
            for place in (0..pack.chunks().len()).filter(|place| !proven.contains(&(*name, *place))) {
                pack.proven(place).map_err(refused(format!("pack {name}")))?;
            }
        }
        Ok(())
    }

    fn prove_layer(&self, layer: &Digest, list: &ChunkList) -> Result<(), Stopped> {
        let what = format!("layer {layer}");
        let chunks =
            ForeignReader::new(&self.packs, list).and_then(ReadAhead::new).map_err(refused(&what))?;
        let mut hasher = Hasher::new();
        let copied = layer_check::copy(chunks, |bytes| {
            // A hasher that keeps no bytes cannot fail.
            let _ = hasher.write_all(bytes);
            Ok(())
        });
        copied.map_err(|error| Stopped::Refused(format!("{what}: {error}")))?;
        match hasher.finish().0 {
            found if found == *layer => Ok(()),
            found => Err(Stopped::Refused(format!("{what}: its bytes have the digest {found}"))),
        }
    }

    fn places(&self, layer: &Digest, list: &ChunkList) -> Result<Vec<(Digest, usize)>, Stopped> {
        places(&self.packs, list).map_err(refused(format!("layer {layer}")))
    }

    fn is_kept(&self, pack: &Digest) -> bool {
        self.there.contains(pack) || self.linked.contains(pack)
    }

    /// Gives a pack a second name in the workspace, or copies it where it can have none, and checks what is behind that name.
    fn link(&self, name: &Digest) -> Result<TempFile, Stopped> {
        let from = self.image.packs.join(name.hex());
        let temp = TempFile(self.workspace.new_path()?);
        link_or_copy(&from, &temp.0)?;
        match blobs::digest_file(&temp.0)?.0 {
            found if found == *name => Ok(temp),
            found => Err(Stopped::Refused(format!("pack {name}: its bytes have the digest {found}"))),
        }
    }

    /// One pack of the frames that the archive needs of packs which are not linked. They are copied as they are.
    fn copy_frames(&self) -> Result<Option<NewPack>, Stopped> {
        let mut writer: Option<PackWriter> = None;
        let mut copied = BTreeSet::new();
        for (layer, list) in &self.lists {
            for (name, place) in self.places(layer, list)? {
                let pack = &self.packs[&name];
                let chunk = pack.chunks()[place];
                let known = self.is_kept(&name) || self.known.get(&chunk.digest).is_some();
                if known || !copied.insert(chunk.digest) {
                    continue;
                }
                let frame = pack.frame(place).map_err(refused(format!("pack {name}")))?;
                let writer = match &mut writer {
                    Some(writer) => writer,
                    none => none.insert(PackWriter::create(&self.workspace.new_path()?, Written::ToDisk)?),
                };
                writer.push(chunk.digest, &frame, chunk.size as usize)?;
            }
        }
        Ok(writer.map(PackWriter::finish).transpose()?)
    }

    /// The list as it is in the archive.
    fn translated(&self, layer: &Digest, list: &ChunkList) -> Result<ChunkList, Stopped> {
        let mut translated = ChunkList::default();
        for (name, place) in self.places(layer, list)? {
            let PackedChunk { digest, offset, length, size } = self.packs[&name].chunks()[place];
            let own = Extent { pack: name, offset, length: length.into(), size: size.into() };
            let there = if self.is_kept(&name) { Some(own) } else { self.known.get(&digest) };
            translated.push(there.ok_or_else(|| Stopped::Refused(format!("chunk {digest} is nowhere")))?);
        }
        Ok(translated)
    }
}

/// Gives a file that nobody may write to a second name. Where it cannot have one, on another file system, with too many names, or of
/// another owner, it is copied, which a file system that can share blocks does without copying them.
fn link_or_copy(from: &Path, to: &Path) -> Result<(), FsError> {
    let found = fs::symlink_metadata(from).at("read", from)?;
    let own = found.uid() == rustix::process::geteuid().as_raw();
    if own && found.is_file() && found.mode() & 0o222 == 0 {
        match fs::hard_link(from, to) {
            Err(error) if !cannot_link(&error) => return Err(error).at("link", from),
            Err(_) => {}
            Ok(()) => return Ok(()),
        }
    }
    let mut input = crate::support::fs::open_regular(from).at("read", from)?;
    let mut output: File =
        OpenOptions::new().write(true).create_new(true).mode(0o444).open(to).at("create", to)?;
    io::copy(&mut input, &mut output).at("write", to)?;
    Ok(())
}

fn cannot_link(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::CrossesDevices
            | ErrorKind::TooManyLinks
            | ErrorKind::PermissionDenied
            | ErrorKind::Unsupported
    )
}
