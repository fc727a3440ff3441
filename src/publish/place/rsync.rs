use std::any::Any;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::{Folder, Found, Listed, Place, Stamp};
use crate::model::Digest;
use crate::publish::{PublishError, Result};
use crate::support::fs::PathContext;
use crate::support::terminal_text::neutralise;

/// The anchors of suites and trees, as rsync's patterns.
const ANCHORS: [&str; 3] = ["/dists/*/InRelease", "/dists/*/Release", "/rpm/*/*/*/repodata/repomd.xml"];

/// What belongs to the copy alone.
const OWN: [&str; 4] = [
    "--exclude=/.packhold/empty/",
    "--exclude=/.packhold/incoming/",
    "--exclude=/.packhold/lock",
    "--exclude=/.packhold/switch.lock",
];

/// What rsync says when something that it was to read is not there (rsync(1), exit values).
const PARTIAL: i32 = 23;

/// The same when something went away meanwhile.
const VANISHED: i32 = 24;

/// Lines of what rsync said that are told.
const TOLD: usize = 8;

/// A folder that rsync reaches, over ssh or at a daemon (rsync(1)); its password and remote shell are rsync's own business
/// (`RSYNC_PASSWORD`, `RSYNC_RSH`).
///
/// A copy of it is kept on this machine, brought up to date before it is read. What is written goes to the copy; packages and metadata are
/// sent before an anchor is, the anchor alone, and what goes away is removed last. rsync renames each file into place when it is whole.
///
/// Publishers of one user on one machine wait for each other. Those of others are not locked out, since rsync has no means for it: right before an anchor
/// is sent it is compared with what was read, and if it changed everything is read again and published on top of that. Between this comparison and the
/// renaming, two round trips, another publisher can still be overwritten: whoever publishes from several machines at the same moment needs
/// a bucket, or a lock of the CI's.
pub struct Rsync {
    copy: Folder,
    root: PathBuf,
    remote: String,
    /// Set when the copy has been brought up to date.
    fetched: OnceCell<()>,
    unsent: Mutex<Unsent>,
}

/// What the copy has before the remote folder has it.
#[derive(Default)]
struct Unsent {
    written: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

impl Rsync {
    /// The folder that rsync calls `remote`, without a slash at the end; its copy is below `copies`.
    pub fn open(remote: &str, copies: &Path) -> Result<Self> {
        let root = Self::copy_of(remote, copies);
        let copy = Folder::open(&root)?;
        let (fetched, unsent) = (OnceCell::new(), Mutex::default());
        Ok(Self { copy, root, remote: remote.to_owned(), fetched, unsent })
    }

    /// Where the copy of a remote folder is.
    pub(super) fn copy_of(remote: &str, copies: &Path) -> PathBuf {
        copies.join(&Digest::of(remote.as_bytes()).hex()[..32])
    }

    fn unsent(&self) -> std::sync::MutexGuard<'_, Unsent> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrote(&self, key: &str) {
        let mut unsent = self.unsent();
        unsent.deleted.remove(key);
        unsent.written.insert(key.to_owned());
    }

    /// Starts rsync with options, and lines on its standard input. The error is its exit status and what it said.
    async fn rsync(
        &self,
        options: &[&str],
        files: &BTreeSet<String>,
        from: &str,
        to: &str,
    ) -> std::result::Result<(), (Option<i32>, String)> {
        let mut command = Command::new("rsync");
        // Remote names reach the other side as they are, whatever its shell would make of them.
        command.args(["-s", "--no-motd", "--timeout=300"]).args(options).args(["--", from, to]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| (None, error.to_string()))?;
        let input = child.stdin.take();
        let text: Vec<u8> = files.iter().flat_map(|key| [key.as_bytes(), b"\0"].concat()).collect();
        let feed = async move {
            if let Some(mut input) = input {
                // Where it ends early its exit status says why.
                let _ = input.write_all(&text).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        let output = output.map_err(|error| (None, error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = neutralise(&output.stderr);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let said = lines[lines.len().saturating_sub(TOLD)..].join("; ");
        let said = if said.is_empty() { output.status.to_string() } else { said };
        Err((output.status.code(), said))
    }

    fn failed(&self, action: &'static str, (_, said): (Option<i32>, String)) -> PublishError {
        PublishError::Rsync { action, place: self.remote.clone(), said }
    }

    fn local(&self, folder: &Path) -> Result<String> {
        match folder.to_str() {
            Some(path) => Ok(format!("{path}/")),
            None => Err(PublishError::Name {
                what: "copy of a repository",
                name: folder.to_string_lossy().into_owned(),
            }),
        }
    }

    /// Reads again what has gone away while it was read: another publisher has removed it.
    async fn pull(&self, options: &[&str], to: &str) -> std::result::Result<(), (Option<i32>, String)> {
        let (none, from) = (BTreeSet::new(), format!("{}/", self.remote));
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.rsync(options, &none, &from, to).await {
                Err((Some(VANISHED), _)) if attempts < 3 => {}
                done => return done,
            }
        }
    }

    /// Brings the copy up to date. The anchors come first, so that what they name is there when the rest has come.
    async fn fetch(&self) -> Result<()> {
        let none = BTreeSet::new();
        let (from, to) = (format!("{}/", self.remote), self.local(&self.root)?);
        // Anchors of one size may be written within what a file system counts as one moment, so times do not count.
        let mut anchors = vec!["--recursive", "--times", "--ignore-times", "--delete"];
        anchors.extend(OWN);
        anchors.push("--include=*/");
        let includes = ANCHORS.map(|anchor| format!("--include={anchor}"));
        anchors.extend(includes.iter().map(String::as_str));
        anchors.push("--exclude=*");
        match self.pull(&anchors, &to).await {
            Err((Some(PARTIAL), _)) => {
                // Nobody has published there yet: the folder is made, or what kept it from being read is told.
                let empty = self.root.join(".packhold/empty");
                fs::create_dir_all(&empty).at("create", &empty)?;
                let made = self.rsync(&["--dirs"], &none, &self.local(&empty)?, &from).await;
                made.map_err(|error| self.failed("write to", error))?;
                self.pull(&anchors, &to).await
            }
            done => done,
        }
        .map_err(|error| self.failed("read from", error))?;
        let mut rest = vec!["--recursive", "--times", "--delete"];
        rest.extend(OWN);
        let excludes = ANCHORS.map(|anchor| format!("--exclude={anchor}"));
        rest.extend(excludes.iter().map(String::as_str));
        self.pull(&rest, &to).await.map_err(|error| self.failed("read from", error))?;
        *self.unsent() = Unsent::default();
        Ok(())
    }

    /// Brings the copy up to date if that has not been done.
    async fn ready(&self) -> Result<()> {
        let fetch = || async {
            let _lock = self.copy.lock().await?;
            self.fetch().await
        };
        self.fetched.get_or_try_init(fetch).await.map(|_| ())
    }

    async fn send(&self, files: &BTreeSet<String>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let options = ["--times", "--ignore-times", "--omit-dir-times", "--from0", "--files-from=-"];
        let sent = self.rsync(&options, files, &self.local(&self.root)?, &format!("{}/", self.remote)).await;
        sent.map_err(|error| self.failed("write to", error))
    }

    /// Sends what has been written.
    async fn send_written(&self) -> Result<()> {
        let written = std::mem::take(&mut self.unsent().written);
        self.send(&written).await
    }

    /// Which version the remote folder has of a file.
    async fn remote_stamp(&self, key: &str) -> Result<Option<Stamp>> {
        let own = self.root.join(".packhold/incoming");
        let scratch = tempfile::tempdir_in(&own).at("create a folder in", &own)?;
        let options = ["--times", "--ignore-times", "--ignore-missing-args"];
        // By its own name: daemons of rsync 3.5.0 find nothing below a module's folders that is in a list.
        let (from, to) = (format!("{}/{key}", self.remote), self.local(scratch.path())?);
        let read = self.rsync(&options, &BTreeSet::new(), &from, &to).await;
        read.map_err(|error| self.failed("read from", error))?;
        let path = scratch.path().join(key.rsplit('/').next().unwrap_or(key));
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(Folder::stamp(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Ok(Err(error).at("read", &path)?),
        }
    }
}

#[async_trait]
impl Place for Rsync {
    fn name(&self) -> String {
        self.remote.clone()
    }

    async fn lock(&self) -> Result<Box<dyn Any + Send>> {
        let lock = self.copy.lock().await?;
        self.fetch().await?;
        let _ = self.fetched.set(());
        Ok(lock)
    }

    async fn get(&self, key: &str, most: u64) -> Result<Option<Found>> {
        self.ready().await?;
        self.copy.get(key, most).await
    }

    async fn content(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        self.ready().await?;
        self.copy.content(key, most).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>> {
        self.ready().await?;
        self.copy.size(key).await
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        self.copy.put(key, bytes).await?;
        // A client needs it together with its anchor, which is there.
        if key.ends_with("/repodata/repomd.xml.asc") {
            return self.send(&BTreeSet::from([key.to_owned()])).await;
        }
        self.wrote(key);
        Ok(())
    }

    async fn put_all(&self, files: Vec<(String, Vec<u8>)>) -> Result<()> {
        let keys: Vec<String> = files.iter().map(|(key, _)| key.clone()).collect();
        self.copy.put_all(files).await?;
        keys.iter().for_each(|key| self.wrote(key));
        Ok(())
    }

    async fn put_file(&self, key: &str, path: &Path) -> Result<()> {
        self.copy.put_file(key, path).await?;
        self.wrote(key);
        Ok(())
    }

    async fn put_if_unchanged(&self, key: &str, bytes: Vec<u8>, seen: Option<&Stamp>) -> Result<bool> {
        self.send_written().await?;
        if self.remote_stamp(key).await?.as_ref() != seen {
            self.fetch().await?;
            return Ok(false);
        }
        if !self.copy.put_if_unchanged(key, bytes, seen).await? {
            return Ok(false);
        }
        self.send(&BTreeSet::from([key.to_owned()])).await?;
        Ok(true)
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.copy.copy(from, to).await?;
        self.wrote(to);
        Ok(())
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        self.ready().await?;
        self.copy.list(folder).await
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        self.ready().await?;
        self.copy.folders(folder).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.copy.delete(key).await?;
        let mut unsent = self.unsent();
        unsent.written.remove(key);
        unsent.deleted.insert(key.to_owned());
        Ok(())
    }

    async fn settle(&self) -> Result<()> {
        self.send_written().await?;
        let deleted = std::mem::take(&mut self.unsent().deleted);
        if deleted.is_empty() {
            return Ok(());
        }
        let options = ["--delete-missing-args", "--from0", "--files-from=-"];
        let done =
            self.rsync(&options, &deleted, &self.local(&self.root)?, &format!("{}/", self.remote)).await;
        done.map_err(|error| self.failed("write to", error))
    }
}
