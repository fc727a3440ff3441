use std::any::Any;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use packhold::publish::{Folder, Found, Listed, Place, Result, Stamp};

/// A folder that keeps nobody out, as a bucket does not.
pub struct Unlocked {
    folder: Folder,
    first: Mutex<Option<BoxFuture<'static, ()>>>,
    reads: Arc<Mutex<Vec<String>>>,
}

impl Unlocked {
    pub fn new(folder: Folder) -> Self {
        Self { folder, first: Mutex::new(None), reads: Arc::default() }
    }

    /// Does something else right before an index is switched for the first time.
    pub fn with(folder: Folder, first: BoxFuture<'static, ()>) -> Self {
        Self { first: Mutex::new(Some(first)), ..Self::new(folder) }
    }

    /// The keys of the files that were read and there.
    pub fn reads(&self) -> Arc<Mutex<Vec<String>>> {
        self.reads.clone()
    }
}

#[async_trait]
impl Place for Unlocked {
    fn name(&self) -> String {
        self.folder.name()
    }
    async fn lock(&self) -> Result<Box<dyn Any + Send>> {
        Ok(Box::new(()))
    }
    async fn get(&self, key: &str, most: u64) -> Result<Option<Found>> {
        let found = self.folder.get(key, most).await?;
        if found.is_some() {
            self.reads.lock().unwrap().push(key.to_owned());
        }
        Ok(found)
    }
    async fn size(&self, key: &str) -> Result<Option<u64>> {
        self.folder.size(key).await
    }
    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        self.folder.put(key, bytes).await
    }
    async fn put_file(&self, key: &str, path: &Path) -> Result<()> {
        self.folder.put_file(key, path).await
    }
    async fn put_if_unchanged(&self, key: &str, bytes: Vec<u8>, seen: Option<&Stamp>) -> Result<bool> {
        let first = self.first.lock().unwrap().take();
        if let Some(first) = first {
            first.await;
        }
        self.folder.put_if_unchanged(key, bytes, seen).await
    }
    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.folder.copy(from, to).await
    }
    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        self.folder.list(folder).await
    }
    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        self.folder.folders(folder).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        self.folder.delete(key).await
    }
}
