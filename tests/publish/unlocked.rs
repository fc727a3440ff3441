use std::any::Any;
use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use packhold::publish::{Folder, Found, Listed, Place, Result, Stamp};

/// A folder that keeps nobody out, as a bucket does not.
pub struct Unlocked {
    folder: Folder,
    first: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Unlocked {
    pub fn new(folder: Folder) -> Self {
        Self { folder, first: Mutex::new(None) }
    }

    /// Does something else right before an index is switched for the first time.
    pub fn with(folder: Folder, first: BoxFuture<'static, ()>) -> Self {
        Self { folder, first: Mutex::new(Some(first)) }
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
        self.folder.get(key, most).await
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
