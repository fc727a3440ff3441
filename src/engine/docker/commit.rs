use std::collections::HashMap;
use std::io::Cursor;

use bollard::models::{ContainerConfig, ImageConfig};
use bollard::query_parameters::CommitContainerOptionsBuilder;

use super::Docker;
use super::snapshot::SNAPSHOT_LABEL;
use crate::engine::says::Says;
use crate::engine::{ByteStream, CommitSpec, ContainerId, EngineError, ImageInfo, Object, Result};
use crate::model::Digest;

impl Docker {
    pub(super) async fn commit_container(
        &self,
        container: &ContainerId,
        spec: &CommitSpec,
    ) -> Result<ImageInfo> {
        let (made, says) = self.commit_as(container, spec).await?;
        match self.kind.as_str() {
            "podman" => Ok(made),
            _ => self.timeless(made, &says, spec).await,
        }
    }

    /// Makes the image as the engine does, and tells what it says of itself.
    pub(super) async fn commit_as(
        &self,
        container: &ContainerId,
        spec: &CommitSpec,
    ) -> Result<(ImageInfo, Says)> {
        let action = format!("make the image {}", spec.tag);
        let fail = |error| self.error(action.as_str(), format!("container {}", container.0), error);
        let Some((repo, tag)) = spec.tag.rsplit_once(':') else {
            return Err(EngineError::Refused { action, message: "a tag has the form name:tag".to_owned() });
        };
        let inspected = self.quick.inspect_container(&container.0, None).await.map_err(fail)?;
        let parent = self.quick.inspect_image(&inspected.image.unwrap_or_default()).await;
        let parent = parent.ok().and_then(|image| image.config).unwrap_or_default();
        let mut says = says_like(parent, spec);
        // What a snapshot below it says of its container.
        if !spec.labels.contains_key(SNAPSHOT_LABEL) {
            says.labels.remove(SNAPSHOT_LABEL);
        }
        let of_container = inspected.config.and_then(|config| config.labels).unwrap_or_default();
        let mut options = CommitContainerOptionsBuilder::new()
            .container(&container.0)
            .repo(repo)
            .tag(tag)
            .comment(&spec.comment)
            .pause(true);
        let mut config = ContainerConfig::default();
        if self.kind == "podman" {
            options = options.changes(&says.as_dockerfile(&action, of_container)?);
        } else {
            config = ContainerConfig {
                cmd: Some(says.cmd.clone()),
                entrypoint: Some(says.entrypoint.clone()),
                user: says.user.clone(),
                labels: Some(says.labels_with(of_container)),
                ..config
            };
        }
        let made = self.patient.commit_container(options.build(), config).await.map_err(fail)?;
        Ok((self.inspect(&made.id).await?, says))
    }

    /// The same image without the time and the container of its making. The engine has all its layers, so that an archive
    /// with nothing but a configuration is enough. An engine that does not take such an archive (Docker with containerd's
    /// store) keeps the image as it made it.
    async fn timeless(&self, made: ImageInfo, says: &Says, spec: &CommitSpec) -> Result<ImageInfo> {
        let config = says.as_config(&made.arch, &made.layers, &spec.comment);
        let id = Digest::of(&config);
        if id == made.id {
            return Ok(made);
        }
        let Ok(archive) = archive(&config, &id, made.layers.len(), &spec.tag) else { return Ok(made) };
        let archive: ByteStream = Box::pin(Cursor::new(archive));
        match self.load_archive(archive).await {
            Ok(image) if image.id == id && image.layers == made.layers => {
                // The tag has gone over to the new one; the other has no name any more.
                use crate::engine::Engine;
                let old = Object::ImageTag(made.id.to_string());
                if let Err(error) = self.remove(&old).await {
                    tracing::debug!(%error, "an image without a name stays behind");
                }
                Ok(image)
            }
            Ok(_) => self.inspect(&made.id.to_string()).await,
            Err(error) => {
                tracing::debug!(%error, "the engine takes no archive without layers; the image keeps its time");
                Ok(made)
            }
        }
    }
}

/// What the parent says, and the labels of `spec`.
fn says_like(parent: ImageConfig, spec: &CommitSpec) -> Says {
    let said = Says {
        cmd: parent.cmd.unwrap_or_default(),
        entrypoint: parent.entrypoint.unwrap_or_default(),
        user: parent.user,
        env: parent.env.unwrap_or_default(),
        working_dir: parent.working_dir,
        labels: parent.labels.unwrap_or_default().into_iter().collect(),
    };
    said.after(spec)
}

impl Says {
    /// The engine adds the container's labels, which name a run and a host. They cannot be left out, but emptied.
    fn labels_with(&self, of_container: HashMap<String, String>) -> HashMap<String, String> {
        let mut labels: HashMap<String, String> =
            of_container.into_keys().map(|label| (label, String::new())).collect();
        labels.extend(self.labels.clone());
        labels
    }

    /// Podman reads no configuration, but lines of a Dockerfile, whose labels it takes as they stand.
    fn as_dockerfile(&self, action: &str, of_container: HashMap<String, String>) -> Result<String> {
        let labels = self.labels_with(of_container);
        if labels.iter().any(|(name, value)| name.contains(['=', '\n']) || value.contains('\n')) {
            let message = "podman takes no label with a line break".to_owned();
            return Err(EngineError::Refused { action: action.to_owned(), message });
        }
        let mut lines: Vec<_> = labels.iter().map(|(name, value)| format!("LABEL {name}={value}")).collect();
        lines.push(format!("ENTRYPOINT {}", serde_json::json!(self.entrypoint)));
        lines.push(format!("CMD {}", serde_json::json!(self.cmd)));
        Ok(lines.join("\n"))
    }
}

/// An image archive (Docker image specification v1.2) with a configuration and no layers.
fn archive(config: &[u8], id: &Digest, layers: usize, tag: &str) -> std::io::Result<Vec<u8>> {
    let name = format!("{}.json", id.hex());
    let layers: Vec<String> = (0..layers).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = serde_json::json!([{ "Config": name, "RepoTags": [tag], "Layers": layers }]);
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in [("manifest.json", manifest.to_string().as_bytes()), (name.as_str(), config)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes)?;
    }
    tar.into_inner()
}
