use std::any::Any;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;
use tempfile::NamedTempFile;

use super::{Found, Listed, Place, Stamp};
use crate::model::Digest;
use crate::publish::{PublishError, Result};
use crate::support::file_lock::FileLock;
use crate::support::fs::PathContext;
use crate::support::tar_reader::safe_relative;

/// A folder that a web server, or a `file:` address, offers. Files are written beside their place, synced and renamed.
///
/// Locks and files that are being written are in its folder `.packhold`. A lock is the kernel's, so that a publisher that was
/// killed holds none.
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder `root`, which is made if it is not there.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref().to_owned();
        let own = root.join(".packhold/incoming");
        fs::create_dir_all(&own).at("create", &own)?;
        Ok(Self { root })
    }

    /// A folder that is there and is only read.
    pub(in crate::publish) fn existing(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The version that a file with this content is.
    pub(super) fn stamp(bytes: &[u8]) -> Stamp {
        Stamp(Digest::of(bytes).hex())
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        match safe_relative(key) {
            Some(safe) if safe == key => Ok(self.root.join(safe)),
            _ => Err(PublishError::Name { what: "file of a repository", name: key.to_owned() }),
        }
    }

    /// A new file of the folder, under no name yet.
    fn incoming(&self) -> Result<NamedTempFile> {
        let folder = self.root.join(".packhold/incoming");
        Ok(NamedTempFile::new_in(&folder).at("create a file in", &folder)?)
    }

    fn finish(&self, file: NamedTempFile, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).at("create", parent)?;
        file.as_file().set_permissions(Permissions::from_mode(0o644)).at("write", &path)?;
        file.as_file().sync_data().at("write", &path)?;
        file.persist(&path).map_err(|error| error.error).at("write", &path)?;
        Ok(())
    }

    /// A new file of the folder with this content, which is to be `key`.
    fn written(&self, key: &str, bytes: &[u8]) -> Result<NamedTempFile> {
        let mut file = self.incoming()?;
        file.write_all(bytes).at("write", self.path(key)?)?;
        Ok(file)
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.finish(self.written(key, bytes)?, key)
    }

    fn read(&self, key: &str, most: u64) -> Result<Option<Found>> {
        let found = |bytes: Vec<u8>| Found { stamp: Self::stamp(&bytes), bytes };
        Ok(self.bytes(key, most)?.map(found))
    }

    fn bytes(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let path = self.path(key)?;
        let file = match File::open(&path) {
            Err(error) if missing(&error) => return Ok(None),
            other => other.at("read", &path)?,
        };
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).at("read", &path)?;
        if bytes.len() as u64 > most {
            let reason = format!("it has more than {most} bytes");
            return Err(PublishError::Foreign { key: key.to_owned(), reason });
        }
        Ok(Some(bytes))
    }

    fn walk(&self, folder: &Path, key: &str, listed: &mut Vec<Listed>) -> Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if missing(&error) => return Ok(()),
            other => other.at("list", folder)?,
        };
        for entry in entries {
            let entry = entry.at("list", folder)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let (key, path) = (format!("{key}/{name}"), entry.path());
            let metadata = fs::symlink_metadata(&path).at("read", &path)?;
            if metadata.is_dir() {
                self.walk(&path, &key, listed)?;
            } else if metadata.is_file() {
                let modified = metadata.modified().at("read", &path)?;
                let modified = Timestamp::try_from(modified).unwrap_or(Timestamp::UNIX_EPOCH);
                listed.push(Listed { key, size: metadata.len(), modified });
            }
        }
        Ok(())
    }
}

fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[async_trait]
impl Place for Folder {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    async fn lock(&self) -> Result<Box<dyn Any + Send>> {
        let path = self.root.join(".packhold/lock");
        let lock = tokio::task::spawn_blocking(move || FileLock::take(&path)).await;
        let lock = lock.map_err(|error| PublishError::Place {
            action: "lock",
            place: self.name(),
            key: ".packhold/lock".to_owned(),
            source: Box::new(error),
        })??;
        // Nobody else is writing now: what is there was left by publishers that were killed.
        for left in self.list(".packhold/incoming").await? {
            self.delete(&left.key).await?;
        }
        Ok(Box::new(lock))
    }

    async fn get(&self, key: &str, most: u64) -> Result<Option<Found>> {
        self.read(key, most)
    }

    async fn content(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        self.bytes(key, most)
    }

    async fn size(&self, key: &str) -> Result<Option<u64>> {
        let path = self.path(key)?;
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if missing(&error) => Ok(None),
            Err(error) => Ok(Err(error).at("read", &path)?),
        }
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        self.write(key, &bytes)
    }

    async fn put_all(&self, files: Vec<(String, Vec<u8>)>) -> Result<()> {
        // What is written before the first one is synced goes to the disk with it.
        let written = files.iter().map(|(key, bytes)| Ok((self.written(key, bytes)?, key)));
        for (file, key) in written.collect::<Result<Vec<_>>>()? {
            self.finish(file, key)?;
        }
        Ok(())
    }

    async fn put_file(&self, key: &str, path: &Path) -> Result<()> {
        let mut from = File::open(path).at("read", path)?;
        let mut file = self.incoming()?;
        io::copy(&mut from, &mut file).at("copy", path)?;
        self.finish(file, key)
    }

    async fn put_if_unchanged(&self, key: &str, bytes: Vec<u8>, seen: Option<&Stamp>) -> Result<bool> {
        // Held for as long as a comparison and a renaming take; the lock of publishers is another one.
        let _lock = FileLock::take(&self.root.join(".packhold/switch.lock"))?;
        let now = self.read(key, u64::MAX - 1)?.map(|found| found.stamp);
        if now.as_ref() != seen {
            return Ok(false);
        }
        self.write(key, &bytes)?;
        Ok(true)
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let (source, target) = (self.path(from)?, self.path(to)?);
        let parent = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).at("create", parent)?;
        // Files are replaced and never changed, so two names may share one content.
        let temporary = self.incoming()?.into_temp_path();
        fs::remove_file(&temporary).at("delete", &temporary)?;
        match fs::hard_link(&source, &temporary) {
            Ok(()) => Ok(fs::rename(&temporary, &target).at("write", &target)?),
            Err(_) => self.put_file(to, &source).await,
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        self.walk(&self.path(folder)?, folder, &mut listed)?;
        Ok(listed)
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.path(folder)?;
        let entries = match fs::read_dir(&path) {
            Err(error) if missing(&error) => return Ok(Vec::new()),
            other => other.at("list", &path)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.at("list", &path)?;
            if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Err(error) if missing(&error) => Ok(()),
            other => Ok(other.at("delete", &path)?),
        }
    }
}
