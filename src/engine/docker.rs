//! The Docker Engine API: Docker from API 1.41 on, and podman's socket, which speaks the same.
//!
//! The only module, with its children, that names bollard. What it hides: requests and streams that end in different
//! errors, answers of status 200 whose body is an error, and a command whose output stays open after its end.

mod commit;
mod connect;
mod containers;
mod error;
mod exec;
mod images;
mod layers;
mod limits;
mod session;
mod snapshot;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

pub use connect::{DOCKER_SOCKET, PODMAN_SOCKET};

use super::{
    ByteStream, Command, CommitSpec, ContainerId, ContainerSpec, Engine, EngineInfo, ExecStatus, Found,
    ImageId, ImageInfo, ImageSource, Object, Query, Result, Session, Sink, SnapshotId,
};

/// Docker or podman behind a socket. Cloning is cheap and gives the same connection.
///
/// Every request has a time-out after which the engine counts as [`Unreachable`](super::EngineError::Unreachable).
/// Streams (a command's output, tars in and out, a pull) have none: who reads them watches them.
#[derive(Clone)]
pub struct Docker {
    /// For requests that are answered at once.
    quick: bollard::Docker,
    /// For requests whose answer comes when a stream has ended.
    patient: bollard::Docker,
    /// `docker` or `podman`.
    kind: String,
    address: String,
    /// What the engine says of itself, asked once.
    info: Arc<tokio::sync::OnceCell<EngineInfo>>,
    /// Held while an image is pulled: a reference stands for the image of one architecture at a time.
    pulling: Arc<tokio::sync::Mutex<()>>,
    /// What a container's limits had counted when this process last looked.
    counters: Arc<Mutex<HashMap<ContainerId, limits::Counters>>>,
}

#[async_trait]
impl Engine for Docker {
    async fn info(&self) -> Result<EngineInfo> {
        Ok(self.info.get_or_try_init(|| self.describe()).await?.clone())
    }

    async fn find(&self, query: &Query) -> Result<Vec<Found>> {
        match query {
            Query::ImageNamed(reference) => self.find_image(reference).await,
            Query::ImageWithId(id) => self.find_image(&id.to_string()).await,
            Query::ContainersLabelled(label) => self.find_containers(label).await,
            Query::SnapshotsLabelled(label) => self.find_snapshots(label).await,
            Query::ChunksOf(_) => Ok(Vec::new()),
        }
    }

    async fn load(&self, source: ImageSource, tag: &str) -> Result<ImageInfo> {
        let loaded = match source {
            ImageSource::Registry { reference, architecture, progress } => {
                return self.pull_as(&reference, architecture, tag, &progress).await;
            }
            ImageSource::Archive(archive) | ImageSource::Chunked { tar: archive, .. } => {
                self.load_archive(archive).await?
            }
        };
        self.tag(&loaded, tag).await?;
        Ok(loaded)
    }

    async fn save(&self, image: &ImageId) -> Result<ByteStream> {
        self.save_image(image).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        self.create_container(spec).await
    }

    async fn exec(
        &self,
        container: &ContainerId,
        command: &Command,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus> {
        self.run(container, command, None, sink).await
    }

    async fn attach(
        &self,
        container: &ContainerId,
        command: &Command,
        session: Session,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus> {
        self.run(container, command, Some(session), sink).await
    }

    async fn put(&self, container: &ContainerId, path: &str, tar: ByteStream) -> Result<()> {
        self.upload(container, path, tar).await
    }

    async fn get(&self, container: &ContainerId, path: &str) -> Result<ByteStream> {
        self.download(container, path).await
    }

    async fn commit(&self, container: &ContainerId, spec: &CommitSpec) -> Result<ImageInfo> {
        self.commit_container(container, spec).await
    }

    async fn snapshot(&self, container: &ContainerId) -> Result<SnapshotId> {
        self.make_snapshot(container).await
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        match object {
            Object::Container(id) => self.remove_container(id).await,
            Object::ImageTag(tag) => self.remove_tag(tag).await,
            Object::Snapshot(id) => self.remove_snapshot(id).await,
        }
    }
}
