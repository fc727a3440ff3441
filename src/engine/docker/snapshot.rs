use std::collections::{BTreeMap, HashMap};

use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};

use super::Docker;
use super::error::{status, words};
use crate::engine::{CommitSpec, ContainerId, EngineError, Found, Result, SnapshotId};

/// The name of the images that are snapshots; their tags tell them apart.
const NAME: &str = "packhold-snapshot";

/// The label of an image that is a snapshot: the labels of the container that it was, as a JSON object. As labels of
/// their own they would be those of every image and container that is made of it.
pub(super) const SNAPSHOT_LABEL: &str = "packhold.snapshot";

impl Docker {
    pub(super) async fn make_snapshot(&self, container: &ContainerId) -> Result<SnapshotId> {
        let action = format!("make a snapshot of the container {}", container.0);
        let fail = |error| self.error(action.as_str(), format!("container {}", container.0), error);
        let inspected = self.quick.inspect_container(&container.0, None).await.map_err(fail)?;
        let labels = inspected.config.and_then(|config| config.labels).unwrap_or_default();
        let labels: BTreeMap<_, _> = labels.into_iter().filter(|(name, _)| name != SNAPSHOT_LABEL).collect();
        let labels = serde_json::to_string(&labels)
            .map_err(|error| EngineError::Refused { action: action.clone(), message: error.to_string() })?;
        let tag = format!("{NAME}:{}", ulid::Ulid::generate().to_string().to_lowercase());
        let spec = CommitSpec {
            tag: tag.clone(),
            labels: BTreeMap::from([(SNAPSHOT_LABEL.to_owned(), labels)]),
            comment: "packhold: snapshot".to_owned(),
        };
        self.commit_as(container, &spec).await?;
        let id = SnapshotId(tag);
        if let Err(error) = self.remove_container(container).await {
            // The caller has the container still, and nothing else.
            if let Err(error) = self.remove_snapshot(&id).await {
                tracing::warn!(%error, "a snapshot that nobody knows stays behind");
            }
            return Err(error);
        }
        Ok(id)
    }

    pub(super) async fn find_snapshots(&self, label: &str) -> Result<Vec<Found>> {
        let filters = HashMap::from([("label", vec![SNAPSHOT_LABEL])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let action = format!("list snapshots with the label {label}");
        let images = self.quick.list_images(Some(options)).await;
        let images = images.map_err(|error| self.error(action, label, error))?;
        let mut found = Vec::new();
        for image in images {
            let told = image.labels.get(SNAPSHOT_LABEL);
            let labels = told.and_then(|told| serde_json::from_str::<BTreeMap<String, String>>(told).ok());
            let Some(labels) = labels.filter(|labels| labels.contains_key(label)) else { continue };
            // Podman puts `localhost/` before a name without a registry.
            let ours = |tag: &&String| tag.trim_start_matches("localhost/").starts_with(&format!("{NAME}:"));
            let snapshot =
                |tag: &String| Found::Snapshot { id: SnapshotId(tag.clone()), labels: labels.clone() };
            found.extend(image.repo_tags.iter().filter(ours).map(snapshot));
        }
        Ok(found)
    }

    pub(super) async fn remove_snapshot(&self, id: &SnapshotId) -> Result<()> {
        // Without force, the engine refuses as long as a container was made from it.
        let options = RemoveImageOptionsBuilder::new().force(false).build();
        match self.quick.remove_image(&id.0, Some(options), None).await {
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(404) || words(&error).contains("No such image") => Ok(()),
            Err(error) => Err(self.error(format!("remove the snapshot {}", id.0), id.0.as_str(), error)),
        }
    }
}
