//! The images of the embedded engine.
//!
//! ```text
//! lock                      flock(2): held while what is below changes, never for long
//! tags/DIGEST.json          a tag and the identity of its image; named by the digest of the tag
//! images/HEX.json           the configuration of an image, byte for byte; HEX is its identity
//! images/HEX.repo-digests   what registries call it
//! layers/sha256/HEX/tree    the tree of a layer as overlayfs wants it; HEX is the digest of its uncompressed tar
//! layers/sha256/HEX/recipe  what the tar has besides the content of the tree's files
//! layers/sha256/HEX/extra   the content of files that the tar holds twice, where there are such
//! layers/sha256/HEX/size    bytes of the tar
//! layers/sha256/HEX/boot    in which boot of the machine it was unpacked: see `written`
//! layers/sha256/HEX/chunks  where the chunks of the tar lie, if the store shares its layers with an archive: see `chunked`
//! packs/sha256/HEX          compressed chunks of layers; HEX is the digest of the file, which archives may link to
//! leases/DIGEST.json        an image and the folder of who uses it; void when the folder is gone
//! tmp/w-*                   what is not complete: see `workspace`
//! tmp/gone-*                layers that nobody needs, until they are removed: see `trash`
//! ```
//!
//! A layer is unpacked once, however many images have it, and its tar is not kept: [`Store::save`] makes it again of recipe and tree
//! and proves it by its digest. What is visible is whole: a layer, then a configuration, then a tag appears by a rename, after
//! everything below it. Several processes may share a store.
//!
//! The folder is root's alone (mode 0700): its trees hold set-id programs of strangers.

mod catalogue;
mod chunked;
mod commit;
mod error;
mod feed;
mod image_config;
mod layer_tar;
mod layout;
mod load;
mod overlay;
mod platform;
mod pull;
mod recipe;
mod registries;
mod save;
mod trash;
mod unpack;
mod walker;
mod workspace;
mod written;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

pub use image_config::ImageConfig;
pub use registries::{CredentialsOf, Mirror, Registries};

use crate::chunks::ChunkedImage;
use crate::engine::{ByteStream, CommitSpec, ImageId, ImageInfo, Progress, Result};
use crate::model::Architecture;
use crate::support::fs::PathContext;
use crate::support::read_ahead::ReadAhead;
use error::StoreError;
use layout::{Layout, StoreLock, TREE};
use workspace::Workspace;

/// Bytes of an image that go out at a time, and how many such blocks may wait.
const BLOCK: usize = 512 << 10;
const WAITING: usize = 4;

/// The images of the embedded engine in one folder. Clones are the same store, and other processes may have it open too.
#[derive(Clone, Debug)]
pub struct Store {
    layout: Layout,
    registries: Arc<Registries>,
}

/// The use of an image by who has a folder: while that folder is there, the image and its layers are.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The image.
    pub image: ImageId,
    /// The trees of its layers, lowest first, as overlayfs takes them for `lowerdir` (where the uppermost comes first). They
    /// must not be written to.
    pub lower: Vec<PathBuf>,
    /// What the image says of itself.
    pub config: ImageConfig,
}

/// This machine's architecture, in OCI's word.
pub(super) fn host_architecture() -> &'static str {
    platform::host().architecture
}

impl Store {
    /// Opens a store, or makes one. What dead processes left in it goes with [`Store::sweep`].
    pub fn open(dir: &Path) -> Result<Self> {
        let layout = Layout::new(dir);
        let make = || -> error::Result<()> {
            for path in [
                layout.tmp(),
                layout.images(),
                layout.tags(),
                layout.leases(),
                layout.layers(),
                layout.packs(),
            ] {
                DirBuilder::new().recursive(true).mode(0o700).create(&path).at("create", &path)?;
            }
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).at("change", dir)?;
            StoreLock::take(&layout.lock())?;
            Ok(())
        };
        make().map_err(|error| error.during(format!("open its store in {}", dir.display())))?;
        Ok(Self { layout, registries: Arc::default() })
    }

    /// The same store, which pulls as `registries` say.
    pub fn with_registries(self, registries: Registries) -> Self {
        Self { registries: Arc::new(registries), ..self }
    }

    /// The same store, which keeps layers that come in chunks as well, if a file in it can have a second name in `archive`, a folder
    /// that need not be there yet: if both are on one file system.
    pub fn sharing_with(self, archive: &Path) -> Self {
        let device = |path: &Path| Some(fs::metadata(path).ok()?.dev());
        let there = archive.ancestors().find_map(device);
        match there.is_some() && there == device(self.layout.dir()) {
            true => Self { layout: self.layout.shared(), ..self },
            false => self,
        }
    }

    /// Pulls an image (`name[:tag][@digest]`) for an architecture, without one for this machine's, and tags it `tag`. Layers that the store has do not
    /// travel. `progress` is told how much has come. Fails with [`EngineError::Pull`](crate::engine::EngineError::Pull) when no registry gives a sound image.
    pub async fn pull(
        &self,
        reference: &str,
        architecture: Option<Architecture>,
        tag: &str,
        progress: Progress,
    ) -> Result<ImageInfo> {
        let wanted = architecture.map_or_else(platform::host, platform::of);
        pull::pull(&self.layout, &self.registries, reference, wanted, tag, progress).await
    }

    /// Takes the image of an archive in, of `docker save` or of an OCI image layout, and tags it `tag` (`name:tag`). Nothing is
    /// seen of it before all of it has proved sound. An archive need not hold layers that the store has.
    pub async fn load(&self, archive: ByteStream, tag: &str) -> Result<ImageInfo> {
        self.load_chunked(archive, None, tag).await
    }

    /// As [`Store::load`], of an image whose layers somebody has in chunks: the store links to them, if it keeps such.
    pub async fn load_chunked(
        &self,
        archive: ByteStream,
        chunked: Option<ChunkedImage>,
        tag: &str,
    ) -> Result<ImageInfo> {
        let name = tag.to_owned();
        // When this future is dropped, what is read ends, and the work with it.
        let cancelled = CancellationToken::new();
        let _guard = cancelled.clone().drop_guard();
        let stream = Cancellable { archive, cancelled: Box::pin(cancelled.cancelled_owned()) };
        let stream = SyncIoBridge::new(stream);
        self.blocking(format!("load the image {tag}"), move |layout| {
            let workspace = Workspace::new(layout)?;
            let stream = ReadAhead::new(stream).map_err(StoreError::Input)?;
            load::load(layout, &workspace, stream, chunked.as_ref(), &name)
        })
        .await
    }

    /// The image as a `docker save` archive, with the very bytes of its layers. The image stays while the stream lives. When it cannot
    /// be read, the stream ends with an error.
    pub async fn save(&self, id: &ImageId) -> Result<ByteStream> {
        let (action, id) = (format!("save the image {id}"), *id);
        let workspace = self
            .blocking(action, move |layout| {
                let workspace = Workspace::new(layout)?;
                catalogue::lease(layout, &workspace, &id, workspace.dir())?;
                Ok(workspace)
            })
            .await?;
        let (out, blocks) = mpsc::channel(WAITING);
        let layout = self.layout.clone();
        tokio::task::spawn_blocking(move || {
            let workspace = workspace;
            let mut out = Blocks { out, block: Vec::with_capacity(BLOCK) };
            let saved = save::save(&layout, &id, &mut out).map_err(|error| match error {
                StoreError::Input(error) => error,
                error => io::Error::other(error),
            });
            // Whoever has read it to its end finds that nobody holds the image any more.
            let sent = saved.and_then(|()| out.send());
            drop(workspace);
            if let Err(error) = sent {
                // Nobody may listen any more.
                let _ = out.out.blocking_send(Err(error));
            }
        });
        let blocks =
            futures_util::stream::unfold(blocks, |mut blocks| async { Some((blocks.recv().await?, blocks)) });
        Ok(Box::pin(StreamReader::new(Box::pin(blocks))))
    }

    /// The image as it is kept in chunks, for an archive to link to. It stays while the answer lives. `None` if none of its layers is kept so.
    pub async fn in_chunks(&self, id: &ImageId) -> Result<Option<ChunkedImage>> {
        let (action, id) = (format!("find the chunks of the image {id}"), *id);
        self.blocking(action, move |layout| chunked::image(layout, &id)).await
    }

    /// The image with this tag, which may be an identity.
    pub fn named(&self, tag: &str) -> Result<Option<ImageInfo>> {
        if let Ok(id) = tag.parse() {
            return self.with_id(&id);
        }
        let found = catalogue::tagged(&self.layout, tag).and_then(|id| match id {
            Some(id) => self.whole(&id),
            None => Ok(None),
        });
        found.map_err(|error| error.during(format!("look for the image {tag}")))
    }

    /// The image with this identity.
    pub fn with_id(&self, id: &ImageId) -> Result<Option<ImageInfo>> {
        self.whole(id).map_err(|error| error.during(format!("look for the image {id}")))
    }

    fn whole(&self, id: &ImageId) -> error::Result<Option<ImageInfo>> {
        let Some((_, config, info)) = catalogue::image(&self.layout, id)? else { return Ok(None) };
        Ok(written::prove(&self.layout, &config)?.then_some(info))
    }

    /// Takes a tag away; one that is not there is no error. The image and its layers go with the last tag, unless somebody leases
    /// them. Blocks while trees are removed.
    pub fn remove_tag(&self, tag: &str) -> Result<()> {
        catalogue::untag(&self.layout, tag).map_err(|error| error.during(format!("remove the tag {tag}")))
    }

    /// Keeps an image for `holder`, a folder that is there, until that folder is gone. It may be asked for again.
    pub fn lease(&self, id: &ImageId, holder: &Path) -> Result<Lease> {
        let leased = self.whole(id).and_then(|_| {
            let workspace = Workspace::new(&self.layout)?;
            catalogue::lease(&self.layout, &workspace, id, holder)
        });
        let (_, config) = leased.map_err(|error| error.during(format!("use the image {id}")))?;
        let lower = config.layers.iter().map(|layer| self.layout.layer(layer).join(TREE)).collect();
        Ok(Lease { image: *id, lower, config })
    }

    /// Makes an image of a leased one and of `upper`, the upper folder of an overlay over its layers, which stays as it is.
    /// Nothing may write to it meanwhile; when the future is dropped before all of it was read, no image is made. Owner, mode and time of `upper` itself are not kept. The overlay must have been mounted without `redirect_dir` and `metacopy`.
    pub async fn commit(&self, lease: &Lease, upper: &Path, spec: &CommitSpec) -> Result<ImageInfo> {
        self.commit_layers(lease, &[upper.to_owned()], spec).await
    }

    /// As [`Store::commit`], of several upper folders, the lowest first: each becomes a layer.
    pub async fn commit_layers(
        &self,
        lease: &Lease,
        uppers: &[PathBuf],
        spec: &CommitSpec,
    ) -> Result<ImageInfo> {
        let (lease, uppers, spec) = (lease.clone(), uppers.to_owned(), spec.clone());
        let cancelled = CancellationToken::new();
        let _guard = cancelled.clone().drop_guard();
        self.blocking(format!("make the image {}", spec.tag), move |layout| {
            let workspace = Workspace::new(layout)?;
            commit::commit(layout, &workspace, &lease, &uppers, &spec, &cancelled)
        })
        .await
    }

    /// Removes what the dead have left: their workspaces, leases of folders that are gone, and images and layers that nobody
    /// names or leases.
    pub fn sweep(&self) -> Result<()> {
        let swept = workspace::sweep(&self.layout)
            .map_err(StoreError::from)
            .and_then(|()| catalogue::sweep(&self.layout));
        swept.map_err(|error| error.during(format!("clean its store in {}", self.layout.dir().display())))
    }

    /// Does work that blocks where it may.
    async fn blocking<T: Send + 'static>(
        &self,
        action: String,
        work: impl FnOnce(&Layout) -> error::Result<T> + Send + 'static,
    ) -> Result<T> {
        let layout = self.layout.clone();
        let done = tokio::task::spawn_blocking(move || work(&layout)).await;
        let done = done.unwrap_or_else(|error| Err(StoreError::Refused(error.to_string())));
        done.map_err(|error| error.during(action))
    }
}

/// A stream that ends with an error once nobody wants what is read, even while it gives nothing.
struct Cancellable {
    archive: ByteStream,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for Cancellable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.cancelled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::other(StoreError::Cancelled))),
            Poll::Pending => self.archive.as_mut().poll_read(context, buffer),
        }
    }
}

/// Passes blocks on to a stream.
struct Blocks {
    out: mpsc::Sender<io::Result<Bytes>>,
    block: Vec<u8>,
}

impl Blocks {
    fn send(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        self.out.blocking_send(Ok(block.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl io::Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
