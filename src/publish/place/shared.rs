use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Found, Listed, Place, Stamp};
use crate::publish::Result;

/// A place of whatever kind.
#[async_trait]
impl Place for Arc<dyn Place> {
    fn name(&self) -> String {
        (**self).name()
    }

    async fn lock(&self) -> Result<Box<dyn Any + Send>> {
        (**self).lock().await
    }

    async fn get(&self, key: &str, most: u64) -> Result<Option<Found>> {
        (**self).get(key, most).await
    }

    async fn content(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        (**self).content(key, most).await
    }

    async fn size(&self, key: &str) -> Result<Option<u64>> {
        (**self).size(key).await
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        (**self).put(key, bytes).await
    }

    async fn put_all(&self, files: Vec<(String, Vec<u8>)>) -> Result<()> {
        (**self).put_all(files).await
    }

    async fn put_file(&self, key: &str, path: &Path) -> Result<()> {
        (**self).put_file(key, path).await
    }

    async fn put_if_unchanged(&self, key: &str, bytes: Vec<u8>, seen: Option<&Stamp>) -> Result<bool> {
        (**self).put_if_unchanged(key, bytes, seen).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        (**self).copy(from, to).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        (**self).list(folder).await
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        (**self).folders(folder).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        (**self).delete(key).await
    }

    async fn settle(&self) -> Result<()> {
        (**self).settle().await
    }
}
