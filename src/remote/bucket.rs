use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as Key;
use object_store::{ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::io::AsyncReadExt;

use super::{MAX_BUNDLE, RemoteError, Result, Sink, Source, read_bundle};
use crate::archive::{Bundle, Object};
use crate::model::RunId;
use crate::registry;
use crate::support::fs::PathContext;

/// Bytes of a part of a large file.
const PART: usize = 16 << 20;

/// A bucket of S3-compatible storage: the files of an archive under their names, and `runs/ID.json` for each run, which is
/// written last.
pub struct Bucket {
    store: Box<dyn ObjectStore>,
    name: String,
    prefix: String,
}

impl Bucket {
    /// A bucket. `settings` are those of the AWS command line by their names (`AWS_ACCESS_KEY_ID`, `AWS_REGION`,
    /// `AWS_ENDPOINT_URL` …); what is none of them is passed over. `authority` is the certificate of an authority that is
    /// trusted beside the system's, PEM.
    pub fn open(
        bucket: &str,
        prefix: &str,
        settings: impl IntoIterator<Item = (String, String)>,
        authority: Option<&[u8]>,
    ) -> Result<Self> {
        registry::install_tls();
        let name = format!("s3://{bucket}/{prefix}");
        let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
        let mut options = ClientOptions::new();
        for (key, value) in settings {
            if let Ok(key) = key.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                // A server of one's own on loopback has no certificate.
                if matches!(key, AmazonS3ConfigKey::Endpoint) && value.starts_with("http://") {
                    options = options.with_allow_http(true);
                }
                builder = builder.with_config(key, value);
            }
        }
        if let Some(pem) = authority {
            let certificates = object_store::Certificate::from_pem_bundle(pem);
            for certificate in certificates.map_err(|error| failed("read from", &name, error))? {
                options = options.with_root_certificate(certificate);
            }
        }
        let store = builder.with_client_options(options).build();
        let store = store.map_err(|error| failed("open", &name, error))?;
        Ok(Self { store: Box::new(store), name, prefix: prefix.to_owned() })
    }

    fn key(&self, name: &str) -> Key {
        match self.prefix.is_empty() {
            true => Key::from(name),
            false => Key::from(format!("{}/{name}", self.prefix)),
        }
    }
}

fn failed(action: &'static str, place: &str, cause: object_store::Error) -> RemoteError {
    use object_store::Error;
    let (place, denied) =
        (place.to_owned(), matches!(cause, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }));
    let cause = Box::new(cause);
    match denied {
        true => RemoteError::Denied { place, cause },
        false => RemoteError::Failed { action, place, cause },
    }
}

#[async_trait]
impl Source for Bucket {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn runs(&self) -> Result<Vec<RunId>> {
        let folder = self.key("runs");
        let listed: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|error| failed("read from", &self.name, error))?;
        let id = |name: &str| name.strip_suffix(".json")?.parse::<RunId>().ok();
        let mut runs: Vec<RunId> =
            listed.iter().filter_map(|object| id(object.location.filename()?)).collect();
        runs.sort();
        Ok(runs)
    }

    async fn bundle(&self, run: &RunId) -> Result<Bundle> {
        let read = |error| failed("read from", &self.name, error);
        let found = match self.store.get(&self.key(&format!("runs/{run}.json"))).await {
            Err(object_store::Error::NotFound { .. }) => {
                return Err(RemoteError::UnknownRun { place: self.name.clone(), run: run.clone() });
            }
            found => found.map_err(read)?,
        };
        if found.meta.size > MAX_BUNDLE {
            let reason = format!("the description of run {run} is too large");
            return Err(RemoteError::Foreign { place: self.name.clone(), reason });
        }
        read_bundle(&self.name, &found.bytes().await.map_err(read)?)
    }

    async fn get(
        &self,
        object: &Object,
        offset: u64,
    ) -> Result<(u64, BoxStream<'static, std::io::Result<Bytes>>)> {
        let options =
            GetOptions { range: (offset > 0).then_some(GetRange::Offset(offset)), ..GetOptions::default() };
        let found = self.store.get_opts(&self.key(&object.path()), options).await;
        let found = found.map_err(|error| failed("read from", &self.name, error))?;
        let start = found.range.start;
        Ok((start, found.into_stream().map_err(std::io::Error::other).boxed()))
    }
}

#[async_trait]
impl Sink for Bucket {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn has(&self, object: &Object) -> Result<bool> {
        match self.store.head(&self.key(&object.path())).await {
            Ok(found) => Ok(found.size == object.size),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed("read from", &self.name, error)),
        }
    }

    async fn put(&self, object: &Object, path: &Path) -> Result<()> {
        let write = |error| failed("write to", &self.name, error);
        let key = self.key(&object.path());
        let mut file = tokio::fs::File::open(path).await.at("read", path)?;
        if object.size <= PART as u64 {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).await.at("read", path)?;
            self.store.put(&key, bytes.into()).await.map_err(write)?;
            return Ok(());
        }
        // A large file appears when its last part has arrived.
        let upload = self.store.put_multipart(&key).await.map_err(write)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).await {
                Ok(0) => break,
                Ok(read) => {
                    upload.wait_for_capacity(2).await.map_err(write)?;
                    upload.write(&buffer[..read]);
                }
                Err(error) => {
                    let _ = upload.abort().await;
                    return Err(error).at("read", path)?;
                }
            }
        }
        upload.finish().await.map_err(write)?;
        Ok(())
    }

    async fn put_bundle(&self, bundle: &Bundle) -> Result<()> {
        let bytes = serde_json::to_vec(bundle)
            .map_err(|error| RemoteError::Foreign { place: self.name.clone(), reason: error.to_string() })?;
        let key = self.key(&format!("runs/{}.json", bundle.run));
        self.store.put(&key, bytes.into()).await.map_err(|error| failed("write to", &self.name, error))?;
        Ok(())
    }
}
