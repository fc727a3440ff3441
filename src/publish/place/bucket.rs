use std::any::Any;
use std::path::Path;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutResult,
    UpdateVersion,
};

use super::{Found, Listed, Place, Stamp};
use crate::bucket::{BringError, BucketSettings, Prefixed, is_denied};
use crate::publish::{PublishError, Result};

/// The file with which is found out whether conditions on writing count.
const PROBE: &str = ".packhold/conditions";

/// How many objects are written at once.
const AT_ONCE: usize = 8;

/// A bucket of S3-compatible storage. Objects are read and written whole.
///
/// It keeps nobody out: an anchor is written on the condition that it still has the ETag that was read (`If-Match`), or that there is none
/// (`If-None-Match`; RFC 9110, 13.1). Storage that does not heed these is refused.
pub struct Bucket(Prefixed);

impl Bucket {
    /// The bucket `bucket`, in which all names begin with `prefix`.
    pub fn open(bucket: &str, prefix: &str, settings: &BucketSettings) -> Result<Self> {
        let opened = Prefixed::open(bucket, prefix, settings).map_err(|error| PublishError::Place {
            action: "open",
            place: format!("s3://{bucket}"),
            key: prefix.to_owned(),
            source: Box::new(error),
        });
        Ok(Self(opened?))
    }

    fn failed(&self, action: &'static str, key: &str, error: Error) -> PublishError {
        let (place, source) = (self.0.name.clone(), Box::new(error));
        match is_denied(&source) {
            true => PublishError::Denied { place, source },
            false => PublishError::Place { action, place, key: key.to_owned(), source },
        }
    }

    fn key(&self, key: &str) -> Result<Key> {
        self.0.key(key).map_err(|_| PublishError::Name { what: "file of a repository", name: key.to_owned() })
    }

    async fn write(
        &self,
        key: &str,
        bytes: Vec<u8>,
        mode: PutMode,
    ) -> Result<std::result::Result<PutResult, Error>> {
        let options = PutOptions { mode, attributes: attributes(key), ..PutOptions::default() };
        Ok(self.0.put(&self.key(key)?, bytes, options).await)
    }

    /// Writes if a condition holds; tells whether it did.
    async fn write_if(&self, key: &str, bytes: Vec<u8>, mode: PutMode) -> Result<bool> {
        match self.write(key, bytes, mode).await? {
            Ok(_) => Ok(true),
            Err(error) if fails_condition(&error) => Ok(false),
            Err(error) => Err(self.failed("write", key, error)),
        }
    }

    async fn meta(&self, key: &str) -> Result<Option<ObjectMeta>> {
        match self.0.store.head(&self.key(key)?).await {
            Ok(meta) => Ok(Some(meta)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", key, error)),
        }
    }

    /// Fails if this storage writes whatever the condition.
    async fn heeds_conditions(&self) -> Result<()> {
        let note =
            || b"Packhold finds out here whether this storage heeds If-Match and If-None-Match.\n".to_vec();
        let first = self.write_if(PROBE, note(), PutMode::Create).await?;
        let again = first && self.write_if(PROBE, note(), PutMode::Create).await?;
        // Nothing has this one.
        let other =
            UpdateVersion { e_tag: Some("\"00000000000000000000000000000000\"".to_owned()), version: None };
        if again || self.write_if(PROBE, note(), PutMode::Update(other)).await? {
            return Err(PublishError::Unconditional { place: self.0.name.clone() });
        }
        Ok(())
    }
}

/// Whether something is not written because it is not, or not any more, what was read.
fn fails_condition(error: &Error) -> bool {
    matches!(error, Error::Precondition { .. } | Error::AlreadyExists { .. } | Error::NotModified { .. })
}

/// What a web server in front of the bucket tells clients and caches.
fn attributes(key: &str) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, content_type(key).into());
    // All others have names of their own for each content, or are not read by clients that have to be current.
    let file = key.rsplit('/').next().unwrap_or(key);
    if ["InRelease", "Release", "Release.gpg", "repomd.xml", "repomd.xml.asc"].contains(&file)
        || key.starts_with("install")
    {
        attributes.insert(Attribute::CacheControl, "no-cache".into());
    }
    attributes
}

/// The media type of a file of a repository, by its name.
fn content_type(key: &str) -> &'static str {
    let file = key.rsplit('/').next().unwrap_or(key);
    match file.rsplit_once('.').map_or("", |(_, extension)| extension) {
        _ if key.contains("/by-hash/") => "application/octet-stream",
        "deb" => "application/vnd.debian.binary-package",
        "rpm" => "application/x-rpm",
        "gz" => "application/gzip",
        "xz" => "application/x-xz",
        "zst" => "application/zstd",
        "xml" => "application/xml",
        "json" => "application/json",
        "html" => "text/html; charset=utf-8",
        "asc" | "repo" | "sources" => "text/plain; charset=utf-8",
        "" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[async_trait]
impl Place for Bucket {
    fn name(&self) -> String {
        self.0.name.clone()
    }

    async fn lock(&self) -> Result<Box<dyn Any + Send>> {
        self.heeds_conditions().await?;
        Ok(Box::new(()))
    }

    async fn get(&self, key: &str, most: u64) -> Result<Option<Found>> {
        let failed = |error| self.failed("read", key, error);
        let found = match self.0.store.get(&self.key(key)?).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed)?,
        };
        if found.meta.size > most {
            let reason = format!("it has more than {most} bytes");
            return Err(PublishError::Foreign { key: key.to_owned(), reason });
        }
        let Some(stamp) = found.meta.e_tag.clone() else {
            return Err(PublishError::Unconditional { place: self.0.name.clone() });
        };
        Ok(Some(Found { bytes: found.bytes().await.map_err(failed)?.into(), stamp: Stamp(stamp) }))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>> {
        Ok(self.meta(key).await?.map(|meta| meta.size))
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        match self.write(key, bytes, PutMode::Overwrite).await? {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed("write", key, error)),
        }
    }

    async fn put_all(&self, files: Vec<(String, Vec<u8>)>) -> Result<()> {
        let puts = files.into_iter().map(|(key, bytes)| async move { self.put(&key, bytes).await });
        stream::iter(puts).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn put_file(&self, key: &str, path: &Path) -> Result<()> {
        match self.0.put_file(&self.key(key)?, path, attributes(key)).await {
            Ok(()) => Ok(()),
            Err(BringError::Fs(error)) => Err(error.into()),
            Err(BringError::Store(error)) => Err(self.failed("write", key, error)),
        }
    }

    async fn put_if_unchanged(&self, key: &str, bytes: Vec<u8>, seen: Option<&Stamp>) -> Result<bool> {
        let mode = match seen {
            None => PutMode::Create,
            Some(Stamp(tag)) => PutMode::Update(UpdateVersion { e_tag: Some(tag.clone()), version: None }),
        };
        if self.write_if(key, bytes.clone(), mode).await? {
            return Ok(true);
        }
        // A request whose answer was lost is sent again, and what it wrote the first time is in its way then.
        let there = self.get(key, bytes.len() as u64).await;
        Ok(there.ok().flatten().is_some_and(|there| there.bytes == bytes))
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let copied = self.0.store.copy(&self.key(from)?, &self.key(to)?).await;
        copied.map_err(|error| self.failed("write", to, error))
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let failed = |error| self.failed("list", folder, error);
        let all: Vec<ObjectMeta> =
            self.0.store.list(Some(&self.key(folder)?)).try_collect().await.map_err(failed)?;
        let listed = |meta: &ObjectMeta| {
            Some(Listed {
                key: self.0.name_of(&meta.location)?.to_owned(),
                size: meta.size,
                modified: Timestamp::from_millisecond(meta.last_modified.timestamp_millis())
                    .unwrap_or(Timestamp::UNIX_EPOCH),
            })
        };
        Ok(all.iter().filter_map(listed).collect())
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let listed = self.0.store.list_with_delimiter(Some(&self.key(folder)?)).await;
        let listed = listed.map_err(|error| self.failed("list", folder, error))?;
        let mut names: Vec<String> =
            listed.common_prefixes.iter().filter_map(|key| Some(key.filename()?.to_owned())).collect();
        names.sort();
        Ok(names)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        match self.0.store.delete(&self.key(key)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", key, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_to_be_what_they_are() {
        for (key, kind) in [
            ("pool/bookworm/main/a/a/a_1.0_amd64.deb", "application/vnd.debian.binary-package"),
            ("dists/bookworm/InRelease", "text/plain; charset=utf-8"),
            ("dists/bookworm/main/binary-amd64/Packages.xz", "application/x-xz"),
            ("dists/bookworm/main/binary-amd64/by-hash/SHA256/00", "application/octet-stream"),
            ("rpm/stable/rocky-9/x86_64/repodata/repomd.xml", "application/xml"),
            ("install.html", "text/html; charset=utf-8"),
            ("install/packages.gpg", "application/octet-stream"),
        ] {
            assert_eq!(content_type(key), kind, "{key}");
        }
        let is_asked_again = |key| attributes(key).get(&Attribute::CacheControl).is_some();
        assert!(is_asked_again("dists/bookworm/InRelease") && !is_asked_again("pool/a_1_all.deb"));
    }
}
