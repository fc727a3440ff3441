//! Buckets of S3-compatible storage: how one is opened, under which names things lie in it, and how large files get there.

use std::path::Path;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as Key;
use object_store::{
    Attributes, ClientOptions, ObjectStore, PutMultipartOptions, PutOptions, PutResult, WriteMultipart,
};
use tokio::io::AsyncReadExt;

use crate::registry;
use crate::support::fs::{FsError, PathContext};

/// Bytes of a part of a large file.
const PART: usize = 16 << 20;

/// Why something could not be brought into a bucket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BringError {
    /// The file here could not be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The bucket does not take it.
    #[error(transparent)]
    Store(#[from] object_store::Error),
}

/// What opens buckets.
#[derive(Clone, Default)]
pub struct BucketSettings {
    /// The settings of the AWS command line by their names (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL` …); what is none of them is
    /// passed over.
    pub variables: Vec<(String, String)>,
    /// The certificate of an authority that is trusted beside the system's, PEM.
    pub authority: Option<Vec<u8>>,
}

impl std::fmt::Debug for BucketSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BucketSettings(…)")
    }
}

/// The bucket, and what all names in it begin with, of an address: what follows `s3://`. An error says what is wrong with it.
pub(crate) fn address(text: &str) -> Result<(String, String), &'static str> {
    let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
    let prefix = prefix.trim_matches('/');
    if bucket.is_empty() {
        return Err("it names no bucket");
    }
    if !prefix.is_empty() && prefix.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        return Err("its prefix has an empty part, or a dot for one");
    }
    Ok((bucket.to_owned(), prefix.to_owned()))
}

/// A bucket, and what all names in it begin with.
pub(crate) struct Prefixed {
    pub(crate) store: AmazonS3,
    /// Its address, for people.
    pub(crate) name: String,
    prefix: String,
}

impl Prefixed {
    pub(crate) fn open(
        bucket: &str,
        prefix: &str,
        settings: &BucketSettings,
    ) -> Result<Self, object_store::Error> {
        registry::install_tls();
        let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
        let mut options = ClientOptions::new();
        for (key, value) in &settings.variables {
            if let Ok(key) = key.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                // A server of one's own on loopback has no certificate.
                if matches!(key, AmazonS3ConfigKey::Endpoint) && value.starts_with("http://") {
                    options = options.with_allow_http(true);
                }
                builder = builder.with_config(key, value);
            }
        }
        if let Some(pem) = &settings.authority {
            for certificate in object_store::Certificate::from_pem_bundle(pem)? {
                options = options.with_root_certificate(certificate);
            }
        }
        let store = builder.with_client_options(options).build()?;
        Ok(Self { store, name: format!("s3://{bucket}/{prefix}"), prefix: prefix.to_owned() })
    }

    /// Where `name` lies, letter by letter: other readers of the bucket, web servers among them, ask for it by that name.
    pub(crate) fn key(&self, name: &str) -> Result<Key, object_store::Error> {
        let name = match self.prefix.is_empty() {
            true => name.to_owned(),
            false => format!("{}/{name}", self.prefix),
        };
        Ok(Key::parse(name)?)
    }

    /// The reverse of [`Prefixed::key`].
    pub(crate) fn name_of<'a>(&self, key: &'a Key) -> Option<&'a str> {
        match self.prefix.is_empty() {
            true => Some(key.as_ref()),
            false => key.as_ref().strip_prefix(self.prefix.as_str())?.strip_prefix('/'),
        }
    }

    /// Brings a local file, of which nothing is there until all of it is.
    pub(crate) async fn put_file(
        &self,
        key: &Key,
        path: &Path,
        attributes: Attributes,
    ) -> Result<(), BringError> {
        let mut file = tokio::fs::File::open(path).await.at("read", path)?;
        let size = file.metadata().await.at("read", path)?.len();
        if size <= PART as u64 {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).await.at("read", path)?;
            self.put(key, bytes, attributes.into()).await?;
            return Ok(());
        }
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let upload = self.store.put_multipart_opts(key, options).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).await {
                Ok(0) => break,
                Ok(read) => {
                    upload.wait_for_capacity(2).await?;
                    upload.write(&buffer[..read]);
                }
                Err(error) => {
                    let _ = upload.abort().await;
                    return Err(error).at("read", path)?;
                }
            }
        }
        upload.finish().await?;
        Ok(())
    }

    pub(crate) async fn put(
        &self,
        key: &Key,
        bytes: Vec<u8>,
        options: PutOptions,
    ) -> Result<PutResult, object_store::Error> {
        self.store.put_opts(key, bytes.into(), options).await
    }
}

/// Whether a bucket does not let in who asks.
pub(crate) fn is_denied(error: &object_store::Error) -> bool {
    use object_store::Error;
    matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
}
