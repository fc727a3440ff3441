use std::any::Any;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use packhold::publish::{Found, Listed, Place, Result, Stamp};

/// A place that is not quite as it should be.
pub struct Wrapped<P> {
    place: P,
    locks: bool,
    /// What somebody else does right before an index is switched for the first time.
    first: Mutex<Option<BoxFuture<'static, ()>>>,
    /// How long each file takes.
    pause: Duration,
    reads: Arc<Mutex<Vec<String>>>,
    /// Where index files are written after the anchor.
    late: Option<Late>,
}

struct Late {
    files: Mutex<Vec<(String, Vec<u8>)>>,
    /// What is waited for before they are written.
    meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl<P: Place> Wrapped<P> {
    fn of(place: P) -> Self {
        Self {
            place,
            locks: true,
            first: Mutex::new(None),
            pause: Duration::ZERO,
            reads: Arc::default(),
            late: None,
        }
    }

    /// The keys of the files that were read and there.
    pub fn reads(&self) -> Arc<Mutex<Vec<String>>> {
        self.reads.clone()
    }

    /// It keeps nobody out, as a bucket does not.
    pub fn unlocked(place: P) -> Self {
        Self { locks: false, ..Self::of(place) }
    }

    /// It keeps nobody out, and somebody else does something right before an index is switched for the first time.
    pub fn interrupted(place: P, first: BoxFuture<'static, ()>) -> Self {
        Self { first: Mutex::new(Some(first)), ..Self::unlocked(place) }
    }

    /// Each file takes a while.
    pub fn slow(place: P, pause: Duration) -> Self {
        Self { pause, ..Self::of(place) }
    }

    /// The anchor comes before the index files that it names, and something happens in between.
    pub fn backwards(place: P, meanwhile: BoxFuture<'static, ()>) -> Self {
        let late = Late { files: Mutex::default(), meanwhile: Mutex::new(Some(meanwhile)) };
        Self { late: Some(late), ..Self::of(place) }
    }
}

#[async_trait]
impl<P: Place> Place for Wrapped<P> {
    fn name(&self) -> String {
        self.place.name()
    }
    async fn lock(&self) -> Result<Box<dyn Any + Send>> {
        if self.locks { self.place.lock().await } else { Ok(Box::new(())) }
    }
    async fn get(&self, key: &str, most: u64) -> Result<Option<Found>> {
        let found = self.place.get(key, most).await?;
        if found.is_some() {
            self.reads.lock().unwrap().push(key.to_owned());
        }
        Ok(found)
    }
    async fn size(&self, key: &str) -> Result<Option<u64>> {
        self.place.size(key).await
    }
    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let is_index = key.contains("/by-hash/") || key.contains("/repodata/");
        if let Some(late) = self.late.as_ref().filter(|_| is_index) {
            late.files.lock().unwrap().push((key.to_owned(), bytes));
            return Ok(());
        }
        tokio::time::sleep(self.pause).await;
        self.place.put(key, bytes).await
    }
    async fn put_file(&self, key: &str, path: &Path) -> Result<()> {
        tokio::time::sleep(self.pause).await;
        self.place.put_file(key, path).await
    }
    async fn put_if_unchanged(&self, key: &str, bytes: Vec<u8>, seen: Option<&Stamp>) -> Result<bool> {
        let first = self.first.lock().unwrap().take();
        if let Some(first) = first {
            first.await;
        }
        tokio::time::sleep(self.pause).await;
        let done = self.place.put_if_unchanged(key, bytes, seen).await;
        if let Some(late) = &self.late {
            let meanwhile = late.meanwhile.lock().unwrap().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
            let files = std::mem::take(&mut *late.files.lock().unwrap());
            for (key, bytes) in files {
                self.place.put(&key, bytes).await?;
            }
        }
        done
    }
    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        tokio::time::sleep(self.pause).await;
        self.place.copy(from, to).await
    }
    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        self.place.list(folder).await
    }
    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        self.place.folders(folder).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        self.place.delete(key).await
    }
    async fn settle(&self) -> Result<()> {
        self.place.settle().await
    }
}
