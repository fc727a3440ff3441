//! Other places that keep runs: a registry, a bucket, another archive. Only files that are missing travel, what was
//! fetched before is not fetched again, and a run is listed when everything of it has arrived and proved sound.

mod bucket;
mod directory;
mod error;
mod location;
mod registry;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use tokio::io::AsyncWriteExt;

pub use bucket::Bucket;
pub use directory::Directory;
pub use error::{RemoteError, Result};
pub use location::Location;
pub use registry::Registry;

pub use crate::registry::Credentials;

use crate::archive::{Archive, Bundle, Object};
use crate::model::{Digest, RunId};
use crate::support::fs::PathContext;

/// How many files travel at once.
const AT_ONCE: usize = 4;

/// How often a transfer that broke off is taken up again, and how long is waited before (doubled each time).
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(300);

/// The most bytes that the description of a run may have.
const MAX_BUNDLE: u64 = 64 << 20;

/// A place that runs can be fetched from.
#[async_trait]
pub trait Source: Send + Sync {
    /// The place, for people.
    fn name(&self) -> String;

    /// The runs that it has, oldest first.
    async fn runs(&self) -> Result<Vec<RunId>>;

    /// What belongs to a run; an error if there is none.
    async fn bundle(&self, run: &RunId) -> Result<Bundle>;

    /// A file from `offset` on, bytes. Tells where the stream really begins: 0 where a place cannot give parts.
    async fn get(
        &self,
        object: &Object,
        offset: u64,
    ) -> Result<(u64, BoxStream<'static, std::io::Result<Bytes>>)>;
}

/// A place that runs can be brought to.
#[async_trait]
pub trait Sink: Send + Sync {
    /// The place, for people.
    fn name(&self) -> String;

    /// True when it has the file.
    async fn has(&self, object: &Object) -> Result<bool>;

    /// Brings a file; the place has it whole or not at all.
    async fn put(&self, object: &Object, file: &Path) -> Result<()>;

    /// Lists a run, whose files are all there.
    async fn put_bundle(&self, bundle: &Bundle) -> Result<()>;
}

/// What travelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transferred {
    /// The run.
    pub run: RunId,
    /// Files that travelled.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already.
    pub known: u64,
}

/// Fetches a run. Interrupted, it goes on where it stopped when it is called again.
pub async fn pull(archive: &Archive, source: &dyn Source, run: &RunId) -> Result<Transferred> {
    let bundle = source.bundle(run).await?;
    if bundle.run != *run {
        return Err(RemoteError::Foreign {
            place: source.name(),
            reason: format!("it has another run as {run}"),
        });
    }
    let all = bundle.objects.len() as u64;
    let owner = archive.clone();
    let incoming = Arc::new(blocking(move || owner.receive(bundle)).await?);
    let wanted = incoming.missing.clone();
    let fetched: Vec<u64> = stream::iter(wanted)
        .map(|object| {
            let incoming = incoming.clone();
            async move {
                let file = incoming.temporary()?;
                fetch(source, &object, &file).await?;
                let size = object.size;
                blocking(move || incoming.accept(&object, &file)).await?;
                Ok::<u64, RemoteError>(size)
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let done = Transferred {
        run: run.clone(),
        files: fetched.len() as u64,
        bytes: fetched.iter().sum(),
        known: all - fetched.len() as u64,
    };
    // Every task has ended, so nobody else has it.
    if let Some(incoming) = Arc::into_inner(incoming) {
        blocking(move || incoming.finish()).await?;
    }
    Ok(done)
}

/// Brings a run to another place. Its files are checked before they leave.
pub async fn push(archive: &Archive, sink: &dyn Sink, run: &RunId) -> Result<Transferred> {
    let (owner, id) = (archive.clone(), run.clone());
    let bundle = blocking(move || owner.bundle(&id)).await?;
    let brought: Vec<Option<u64>> = stream::iter(bundle.objects.clone())
        .map(|object| async move {
            if retried(|| sink.has(&object)).await? {
                return Ok(None);
            }
            let path = archive.object_path(&object);
            let (checked, expected) = (path.clone(), object.digest);
            let found = blocking(move || digest_of(&checked)).await?;
            if found != expected {
                return Err(crate::archive::ArchiveError::WrongDigest {
                    what: object.path(),
                    expected,
                    found,
                }
                .into());
            }
            retried(|| sink.put(&object, &path)).await?;
            Ok::<_, RemoteError>(Some(object.size))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    sink.put_bundle(&bundle).await?;
    let bytes: Vec<u64> = brought.iter().copied().flatten().collect();
    Ok(Transferred {
        run: run.clone(),
        files: bytes.len() as u64,
        bytes: bytes.iter().sum(),
        known: (brought.len() - bytes.len()) as u64,
    })
}

fn digest_of(path: &Path) -> Result<Digest> {
    let mut file = std::fs::File::open(path).at("read", path)?;
    let mut hasher = crate::model::Hasher::new();
    std::io::copy(&mut file, &mut hasher).at("read", path)?;
    Ok(hasher.finish().0)
}

/// Fetches a file, and takes up again where the connection broke off.
async fn fetch(source: &dyn Source, object: &Object, path: &Path) -> Result<()> {
    let mut file = tokio::fs::File::create(path).await.at("create", path)?;
    let mut have = 0;
    let mut attempt = 0;
    loop {
        let before = have;
        match fetch_on(source, object, &mut file, &mut have, path).await {
            Ok(()) => return Ok(()),
            Err(error) if !error.is_passing() => return Err(error),
            Err(error) => {
                // What comes on is not given up.
                attempt = if have > before { 1 } else { attempt + 1 };
                if attempt >= ATTEMPTS {
                    return Err(error);
                }
                tokio::time::sleep(PAUSE * 2_u32.pow(attempt)).await;
            }
        }
    }
}

async fn fetch_on(
    source: &dyn Source,
    object: &Object,
    file: &mut tokio::fs::File,
    have: &mut u64,
    path: &Path,
) -> Result<()> {
    use tokio::io::AsyncSeekExt;
    let (start, mut stream) = source.get(object, *have).await?;
    *have = start;
    file.set_len(start).await.at("write", path)?;
    file.seek(std::io::SeekFrom::Start(start)).await.at("write", path)?;
    let broke = |cause| RemoteError::BrokeOff { place: source.name(), object: object.path(), cause };
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(broke)?;
        *have += bytes.len() as u64;
        if *have > object.size {
            let reason = format!("{} has more than {} bytes", object.path(), object.size);
            return Err(RemoteError::Foreign { place: source.name(), reason });
        }
        file.write_all(&bytes).await.at("write", path)?;
    }
    file.flush().await.at("write", path)?;
    match *have == object.size {
        true => Ok(()),
        false => Err(broke(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

async fn retried<T, F: Future<Output = Result<T>>>(mut work: impl FnMut() -> F) -> Result<T> {
    let mut attempt = 0;
    loop {
        match work().await {
            Err(error) if error.is_passing() && attempt + 1 < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(PAUSE * 2_u32.pow(attempt)).await;
            }
            done => return done,
        }
    }
}

async fn blocking<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, E> + Send + 'static,
) -> std::result::Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn read_bundle(place: &str, bytes: &[u8]) -> Result<Bundle> {
    serde_json::from_slice(bytes)
        .map_err(|error| RemoteError::Foreign { place: place.to_owned(), reason: error.to_string() })
}
