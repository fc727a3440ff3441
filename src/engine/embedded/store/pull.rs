//! Images from registries (OCI distribution specification 1.1).
//!
//! Nothing that a registry says is believed but for the name itself: every document and every layer is what its digest says, the
//! layers are unpacked those that the configuration names, and a reference with a digest gives that image or none.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, TryStreamExt};
use oci_client::client::{BlobResponse, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::sync::mpsc;

use super::catalogue::{self, NewImage};
use super::chunked::Chunking;
use super::error::StoreError;
use super::feed::{Feed, Staged};
use super::image_config::ImageConfig;
use super::layout::Layout;
use super::load::{Descriptor, Manifest, hold, parse, the_one};
use super::platform::Wanted;
use super::registries::Registries;
use super::workspace::Workspace;
use crate::engine::{EngineError, ImageInfo, Progress, Result};
use crate::model::{Digest, Hasher};
use crate::registry::{self, Credentials};
use crate::support::decompress::{self, Packing};

/// How many layers travel at once.
const AT_ONCE: usize = 3;

/// How often a layer that broke off is taken up again where it was, and how long is waited before (doubled each time).
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(300);

/// How many pieces of a layer may have come and not been unpacked.
const WAITING: usize = 16;

/// The most bytes of a manifest (OCI distribution specification: registries need not take more) and of a configuration.
const MOST_MANIFEST: usize = 4 << 20;
const MOST_CONFIG: u64 = 16 << 20;

/// What a registry may answer with when it is asked for an image.
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Where Docker's own registry is and what it is called.
const DOCKER: &str = "docker.io";
const DOCKER_LOGIN: &str = "https://index.docker.io/v1/";

/// Pulls `reference`, from a mirror of its registry if one has it, and tags it `tag`.
pub(super) async fn pull(
    layout: &Layout,
    registries: &Registries,
    reference: &str,
    platform: Wanted,
    tag: &str,
    progress: Progress,
) -> Result<ImageInfo> {
    let failed = |message: String| EngineError::Pull { reference: reference.to_owned(), message };
    let wanted: Reference =
        reference.parse().map_err(|error| failed(format!("it is not a valid reference: {error}")))?;
    let mut tried = Vec::new();
    for mirror in registries.mirrors.iter().filter(|mirror| mirror.of == wanted.registry()) {
        let mut there = wanted.clone();
        there.set_mirror_registry(mirror.host.clone());
        match pull_from(layout, registries, &there, platform, tag, progress.clone()).await {
            // A full disk is full for whoever brings the image.
            Err(Failed::Store(error)) if error.is_full() => {
                return Err(error.during(format!("pull {reference}")));
            }
            Err(error) => tried.push(format!("{}: {error}", mirror.host)),
            Ok(image) => return Ok(image),
        }
    }
    match pull_from(layout, registries, &wanted, platform, tag, progress.clone()).await {
        Ok(image) => Ok(image),
        Err(Failed::Store(error @ StoreError::Fs(_))) => Err(error.during(format!("pull {reference}"))),
        Err(Failed::Store(error)) if error.is_full() => Err(error.during(format!("pull {reference}"))),
        Err(error) => {
            tried.push(error.to_string());
            Err(failed(tried.join("; ")))
        }
    }
}

/// Why an image was not pulled.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Store(StoreError),
    #[error("{0}")]
    Registry(String),
}

impl<E: Into<StoreError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// A registry, and the image that is wanted of it.
struct Registry {
    client: Client,
    auth: RegistryAuth,
    image: Reference,
    came: Came,
}

async fn pull_from(
    layout: &Layout,
    registries: &Registries,
    image: &Reference,
    platform: Wanted,
    tag: &str,
    progress: Progress,
) -> Result<ImageInfo, Failed> {
    let registry = Registry::open(registries, image)?;
    let (manifest, digest) = registry.manifest(platform).await?;
    let (Some(config), Some(layers)) = (manifest.config, manifest.layers) else {
        return Err(refused("it is no image"));
    };
    let config = registry.document(&config).await?;
    let parsed = ImageConfig::read(&config, "its configuration")?;
    if layers.len() != parsed.layers.len() {
        return Err(refused(format!(
            "its manifest has {} layers and its configuration {}",
            layers.len(),
            parsed.layers.len()
        )));
    }
    let opened = layout.clone();
    let workspace = blocking(move || Ok(Workspace::new(&opened)?)).await?;
    let workspace = Arc::new(workspace);
    let mut known = BTreeSet::new();
    let wanted = layers.into_iter().zip(parsed.layers).filter(|(_, diff_id)| known.insert(*diff_id));
    let wanted: Vec<_> = wanted.collect();
    let total = wanted.iter().map(|(layer, _)| layer.size).sum();
    let registry = Arc::new(Registry { came: Came { done: AtomicU64::new(0), total, progress }, ..registry });
    let fetched = futures_util::stream::iter(wanted).map(|(layer, diff_id)| {
        let (layout, workspace, registry) = (layout.clone(), workspace.clone(), registry.clone());
        async move {
            let (place, holder) = (layout.clone(), workspace.clone());
            if blocking(move || hold(&place, &holder, &diff_id)).await? {
                registry.came.more(layer.size);
                return Ok(None);
            }
            registry.layer(&layout, &workspace, &layer, diff_id).await.map(Some)
        }
    });
    let fetched: Vec<Option<Staged>> = fetched.buffer_unordered(AT_ONCE).try_collect().await?;
    let repo_digest = Some(format!("{}@{digest}", familiar(image)));
    let (layout, tag) = (layout.clone(), tag.to_owned());
    blocking(move || {
        let layers = fetched.into_iter().flatten().collect();
        let image = NewImage { config: &config, layers, repo_digest, tag: &tag };
        catalogue::publish(&layout, &workspace, image)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> super::error::Result<T> + Send + 'static,
) -> Result<T, Failed> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.unwrap_or_else(|error| Err(StoreError::Refused(error.to_string())))?)
}

fn refused(why: impl Into<String>) -> Failed {
    Failed::Store(StoreError::Refused(why.into()))
}

/// The name of an image without tag and digest, as Docker shows it.
fn familiar(image: &Reference) -> String {
    let repository = image.repository();
    match image.registry() {
        DOCKER => repository.strip_prefix("library/").unwrap_or(repository).to_owned(),
        host => format!("{host}/{repository}"),
    }
}

/// How much of the layers of an image has come.
#[derive(Default)]
struct Came {
    done: AtomicU64,
    total: u64,
    progress: Progress,
}

impl Came {
    fn more(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.tell(done, Some(self.total));
    }
}

impl Registry {
    fn open(registries: &Registries, image: &Reference) -> Result<Self, Failed> {
        let host = image.resolve_registry();
        let protocol = if registries.is_plain(host) { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = registry::client_config(protocol, registries.authority.as_deref());
        let client = Client::try_from(config).map_err(|error| said(&error))?;
        let login = if host == "index.docker.io" { DOCKER_LOGIN } else { host };
        let credentials: Credentials = (registries.credentials)(login).map_err(refused)?;
        let came = Came::default();
        Ok(Self { client, auth: credentials.into(), image: image.clone(), came })
    }

    /// The manifest of the image for the platform, and the digest of what was asked for.
    async fn manifest(&self, platform: Wanted) -> Result<(Manifest, Digest), Failed> {
        let (bytes, digest) = self.manifest_of(&self.image).await?;
        let mut bytes = bytes;
        // An index may name an index.
        for _ in 0..4 {
            let manifest: Manifest = parse(&bytes, "its manifest")?;
            if manifest.manifests.is_none() {
                return Ok((manifest, digest));
            }
            let inner = the_one(&bytes, "its index", platform)?;
            bytes = self.manifest_of(&self.image.clone_with_digest(inner.to_string())).await?.0;
        }
        Err(refused("its indexes lead nowhere"))
    }

    /// A manifest that was found to be no larger than allowed, once it was read: the client library takes the whole answer into memory, and gives
    /// neither its stream nor its length before that. So a registry that means harm can fill this process's memory, and no more.
    async fn manifest_of(&self, image: &Reference) -> Result<(Bytes, Digest), Failed> {
        let pulled = self.client.pull_manifest_raw(image, &self.auth, &MANIFESTS).await;
        let (bytes, _) = pulled.map_err(|error| said(&error))?;
        if bytes.len() > MOST_MANIFEST {
            return Err(refused(format!("its manifest has {} bytes", bytes.len())));
        }
        let found = Digest::of(&bytes);
        match image.digest().map(str::parse::<Digest>) {
            None => Ok((bytes, found)),
            Some(Ok(expected)) if expected == found => Ok((bytes, found)),
            Some(Ok(expected)) => {
                let what = "its manifest".to_owned();
                Err(StoreError::WrongDigest { what, expected, found }.into())
            }
            Some(Err(error)) => Err(refused(error.to_string())),
        }
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Failed> {
        if descriptor.size > MOST_CONFIG {
            return Err(refused(format!("its configuration has {} bytes", descriptor.size)));
        }
        let mut bytes = Vec::new();
        let digest = descriptor.digest.to_string();
        let pulled = self.client.pull_blob_stream(&self.image, digest.as_str()).await;
        let mut stream = pulled.map_err(|error| said(&error))?.stream;
        while let Some(piece) = stream.try_next().await.map_err(StoreError::Input)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > MOST_CONFIG {
                return Err(refused("its configuration is larger than it says"));
            }
        }
        match Digest::of(&bytes) {
            found if found == descriptor.digest => Ok(bytes),
            found => {
                let what = "its configuration".to_owned();
                Err(StoreError::WrongDigest { what, expected: descriptor.digest, found }.into())
            }
        }
    }

    /// Fetches a layer and unpacks it on the way.
    async fn layer(
        &self,
        layout: &Layout,
        workspace: &Arc<Workspace>,
        layer: &Descriptor,
        diff_id: Digest,
    ) -> Result<Staged, Failed> {
        let (out, pieces) = mpsc::channel(WAITING);
        let (layout, workspace) = (layout.clone(), workspace.clone());
        let (digest, size) = (layer.digest, layer.size);
        let unpacked = blocking(move || {
            let chunks = Chunking::new(&layout, &workspace).writer()?;
            let feed = Feed::new(&workspace.new_path(), chunks)?;
            let input = Pieces { pieces, piece: Bytes::new(), hasher: Hasher::new(), most: size };
            unpack(input, feed, digest, diff_id)
        });
        let (fetched, unpacked) = tokio::join!(self.fetch(layer, out), unpacked);
        match (fetched, unpacked) {
            // Who fetches for somebody who has failed stops, and says less.
            (Ok(()), unpacked) => unpacked,
            (Err(error), Ok(_)) => Err(error),
            (Err(error), Err(Failed::Store(StoreError::Input(_)))) => Err(error),
            (Err(_), Err(error)) => Err(error),
        }
    }

    /// Fetches the bytes of a layer; a connection that breaks is taken up again.
    async fn fetch(&self, layer: &Descriptor, out: mpsc::Sender<io::Result<Bytes>>) -> Result<(), Failed> {
        let (mut at, mut failures) = (0, 0);
        loop {
            let broke = match self.fetch_from(layer, &mut at, &out).await {
                Ok(()) => return Ok(()),
                Err(Broke::Off(why)) => why,
                Err(Broke::Unwanted) => return Ok(()),
                Err(Broke::Refused(error)) => {
                    let _ = out.send(Err(io::ErrorKind::ConnectionAborted.into())).await;
                    return Err(error);
                }
            };
            failures += 1;
            if failures >= ATTEMPTS {
                let _ = out.send(Err(io::ErrorKind::ConnectionAborted.into())).await;
                return Err(Failed::Registry(format!("layer {} broke off: {broke}", layer.digest.short())));
            }
            tracing::debug!(layer = %layer.digest, at, broke, "a layer broke off and is taken up again");
            tokio::time::sleep(PAUSE * 2_u32.pow(failures - 1)).await;
        }
    }

    async fn fetch_from(
        &self,
        layer: &Descriptor,
        at: &mut u64,
        out: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(), Broke> {
        let digest = layer.digest.to_string();
        let broke = |error: OciDistributionError| match &error {
            OciDistributionError::RequestError(inner) if inner.status().is_none() => {
                Broke::Off(words(&error))
            }
            OciDistributionError::ServerError { code, .. } if *code >= 500 => Broke::Off(words(&error)),
            _ => Broke::Refused(said(&error)),
        };
        let (mut skip, mut stream) = match *at {
            0 => (0, self.client.pull_blob_stream(&self.image, digest.as_str()).await.map_err(broke)?.stream),
            offset => {
                let rest = self.client.pull_blob_stream_partial(&self.image, digest.as_str(), offset, None);
                match rest.await.map_err(broke)? {
                    BlobResponse::Full(whole) => (offset, whole.stream),
                    BlobResponse::Partial(rest) => (0, rest.stream),
                }
            }
        };
        while let Some(piece) = stream.next().await {
            let mut piece = match piece {
                Ok(piece) => piece,
                // Bytes that are others than they should be do not become right when they come again.
                Err(error) if *at + skip >= layer.size => {
                    return Err(Broke::Refused(StoreError::Input(error).into()));
                }
                Err(error) => return Err(Broke::Off(error.to_string())),
            };
            let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            piece.advance(passed);
            skip -= passed as u64;
            *at += piece.len() as u64;
            self.came.more(piece.len() as u64);
            if out.send(Ok(piece)).await.is_err() {
                return Err(Broke::Unwanted);
            }
        }
        match *at < layer.size {
            true => Err(Broke::Off("the connection ended early".to_owned())),
            false => Ok(()),
        }
    }
}

/// Why no more bytes come.
enum Broke {
    /// It may be tried again, from where it was.
    Off(String),
    /// It is of no use to try again.
    Refused(Failed),
    /// Nobody takes them any more.
    Unwanted,
}

fn unpack(mut input: Pieces, feed: Feed, digest: Digest, diff_id: Digest) -> super::error::Result<Staged> {
    let (start, packed) = decompress::peek(&mut input, 6).map_err(StoreError::Input)?;
    let packing = Packing::of(&start);
    let unpacked = decompress::unpack(packed, packing).map_err(StoreError::Input)?;
    let fed = feed.take_all(unpacked)?;
    // What follows the compressed stream belongs to the bytes.
    io::copy(&mut input, &mut io::sink()).map_err(StoreError::Input)?;
    let (found, _, _) = input.hasher.finish();
    if found != digest {
        return Err(StoreError::WrongDigest { what: "a layer of it".to_owned(), expected: digest, found });
    }
    if fed.digest != diff_id {
        let what = "an unpacked layer of it".to_owned();
        return Err(StoreError::WrongDigest { what, expected: diff_id, found: fed.digest });
    }
    fed.wait()
}

/// The pieces of a layer as they come. When nobody fetches any more, they end; what was read then has not the digest that it
/// should.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
    hasher: Hasher,
    most: u64,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let read = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..read]);
        self.hasher.write_all(&buffer[..read])?;
        match self.hasher.bytes() > self.most {
            true => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a layer is larger than its manifest says"))
            }
            false => Ok(read),
        }
    }
}

/// What a registry said.
fn said(error: &OciDistributionError) -> Failed {
    Failed::Registry(match error {
        _ if registry::is_missing(error) => "the registry has no such image, or wants a login".to_owned(),
        _ if registry::is_denied(error) => format!("the registry refuses access: {}", words(error)),
        _ => words(error),
    })
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    super::error::chain(error)
}
