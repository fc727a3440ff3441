use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{Attributes, GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::{MAX_BUNDLE, RemoteError, Result, Sink, Source, read_bundle};
use crate::archive::{Bundle, Object};
use crate::bucket::{BringError, BucketSettings, Prefixed, is_denied};
use crate::model::RunId;

/// A bucket of S3-compatible storage: the files of an archive under their names, and `runs/ID.json` for each run, which is
/// written last.
pub struct Bucket(Prefixed);

impl Bucket {
    /// A bucket.
    pub fn open(bucket: &str, prefix: &str, settings: &BucketSettings) -> Result<Self> {
        let name = format!("s3://{bucket}/{prefix}");
        let opened = Prefixed::open(bucket, prefix, settings);
        Ok(Self(opened.map_err(|error| failed("open", &name, error))?))
    }

    fn key(&self, name: &str) -> Result<Key> {
        self.0.key(name).map_err(|error| failed("read from", &self.0.name, error))
    }
}

fn failed(action: &'static str, place: &str, cause: object_store::Error) -> RemoteError {
    let (place, denied) = (place.to_owned(), is_denied(&cause));
    let cause = Box::new(cause);
    match denied {
        true => RemoteError::Denied { place, cause },
        false => RemoteError::Failed { action, place, cause },
    }
}

#[async_trait]
impl Source for Bucket {
    fn name(&self) -> String {
        self.0.name.clone()
    }

    async fn runs(&self) -> Result<Vec<RunId>> {
        let folder = self.key("runs")?;
        let listed: Vec<_> = self
            .0
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|error| failed("read from", &self.0.name, error))?;
        let id = |name: &str| name.strip_suffix(".json")?.parse::<RunId>().ok();
        let mut runs: Vec<RunId> =
            listed.iter().filter_map(|object| id(object.location.filename()?)).collect();
        runs.sort();
        Ok(runs)
    }

    async fn bundle(&self, run: &RunId) -> Result<Bundle> {
        let read = |error| failed("read from", &self.0.name, error);
        let found = match self.0.store.get(&self.key(&format!("runs/{run}.json"))?).await {
            Err(object_store::Error::NotFound { .. }) => {
                return Err(RemoteError::UnknownRun { place: self.0.name.clone(), run: run.clone() });
            }
            found => found.map_err(read)?,
        };
        if found.meta.size > MAX_BUNDLE {
            let reason = format!("the description of run {run} is too large");
            return Err(RemoteError::Foreign { place: self.0.name.clone(), reason });
        }
        read_bundle(&self.0.name, &found.bytes().await.map_err(read)?)
    }

    async fn get(
        &self,
        object: &Object,
        offset: u64,
    ) -> Result<(u64, BoxStream<'static, std::io::Result<Bytes>>)> {
        let options =
            GetOptions { range: (offset > 0).then_some(GetRange::Offset(offset)), ..GetOptions::default() };
        let found = self.0.store.get_opts(&self.key(&object.path())?, options).await;
        let found = found.map_err(|error| failed("read from", &self.0.name, error))?;
        let start = found.range.start;
        Ok((start, found.into_stream().map_err(std::io::Error::other).boxed()))
    }
}

#[async_trait]
impl Sink for Bucket {
    fn name(&self) -> String {
        self.0.name.clone()
    }

    async fn has(&self, object: &Object) -> Result<bool> {
        match self.0.store.head(&self.key(&object.path())?).await {
            Ok(found) => Ok(found.size == object.size),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed("read from", &self.0.name, error)),
        }
    }

    async fn put(&self, object: &Object, path: &Path) -> Result<()> {
        let key = self.key(&object.path())?;
        match self.0.put_file(&key, path, Attributes::default()).await {
            Ok(()) => Ok(()),
            Err(BringError::Fs(error)) => Err(error.into()),
            Err(BringError::Store(error)) => Err(failed("write to", &self.0.name, error)),
        }
    }

    async fn put_bundle(&self, bundle: &Bundle) -> Result<()> {
        let bytes = serde_json::to_vec(bundle).map_err(|error| RemoteError::Foreign {
            place: self.0.name.clone(),
            reason: error.to_string(),
        })?;
        let key = self.key(&format!("runs/{}.json", bundle.run))?;
        self.0
            .store
            .put(&key, bytes.into())
            .await
            .map_err(|error| failed("write to", &self.0.name, error))?;
        Ok(())
    }
}
