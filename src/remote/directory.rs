use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::io::AsyncSeekExt;
use tokio_util::io::ReaderStream;

use super::{Result, Source, blocking};
use crate::archive::{Archive, Bundle, Object};
use crate::model::RunId;
use crate::support::fs::PathContext;

/// Another archive in a folder.
pub struct Directory(pub Archive);

#[async_trait]
impl Source for Directory {
    fn name(&self) -> String {
        self.0.path().display().to_string()
    }

    async fn runs(&self) -> Result<Vec<RunId>> {
        let archive = self.0.clone();
        let mut runs: Vec<RunId> =
            blocking(move || archive.runs()).await?.into_iter().map(|run| run.id).collect();
        runs.reverse();
        Ok(runs)
    }

    async fn bundle(&self, run: &RunId) -> Result<Bundle> {
        let (archive, run) = (self.0.clone(), run.clone());
        Ok(blocking(move || archive.bundle(&run)).await?)
    }

    async fn get(
        &self,
        object: &Object,
        offset: u64,
    ) -> Result<(u64, BoxStream<'static, std::io::Result<Bytes>>)> {
        let path = self.0.object_path(object);
        let mut file = tokio::fs::File::open(&path).await.at("read", &path)?;
        file.seek(std::io::SeekFrom::Start(offset)).await.at("read", &path)?;
        Ok((offset, ReaderStream::with_capacity(file, 1 << 20).boxed()))
    }
}
