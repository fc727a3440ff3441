use bollard::body_try_stream;
use bollard::errors::Error;
use bollard::models::ImageInspect;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::{StreamExt, TryStreamExt};

use super::Docker;
use super::error::{Upload, reader, status, words};
use super::layers::Layers;
use crate::engine::{ByteStream, EngineError, Found, ImageId, ImageInfo, Progress, Result};
use crate::model::{Architecture, Digest};

/// A reference with its tag: without one, the API pulls every tag that the repository has.
fn full_name(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

impl Docker {
    pub(super) async fn find_image(&self, reference: &str) -> Result<Vec<Found>> {
        if !is_reference(reference) {
            return Ok(Vec::new());
        }
        match self.inspect(reference).await {
            Ok(image) => Ok(vec![Found::Image(image)]),
            Err(EngineError::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The image named `reference`, which may be an identity.
    pub(super) async fn inspect(&self, reference: &str) -> Result<ImageInfo> {
        let action = || format!("look at the image {reference}");
        let image = self
            .quick
            .inspect_image(reference)
            .await
            .map_err(|error| self.error(action(), format!("image {reference}"), error))?;
        image_info(image).map_err(|message| EngineError::Refused { action: action(), message })
    }

    /// Pulls an image and tags it `tag`. What the reference stood for before is what it stands for afterwards, if the image is not
    /// one for the engine's own architecture.
    pub(super) async fn pull_as(
        &self,
        reference: &str,
        architecture: Option<Architecture>,
        tag: &str,
        progress: &Progress,
    ) -> Result<ImageInfo> {
        let _one = self.pulling.lock().await;
        let before = match architecture {
            Some(_) => self.find_image(reference).await?,
            None => Vec::new(),
        };
        let image = self.pull(reference, architecture, progress).await?;
        let tagged = self.tag(&image, tag).await;
        if architecture.is_some() && !reference.contains('@') {
            let full = full_name(reference);
            let now = self.find_image(&full).await?;
            let is_ours = matches!(now.first(), Some(Found::Image(now)) if now.id == image.id);
            match before.first() {
                // Somebody else has pulled it meanwhile.
                _ if !is_ours => {}
                Some(Found::Image(before)) if before.id != image.id => self.tag(before, &full).await?,
                Some(_) => {}
                None => self.remove_tag(&full).await?,
            }
        }
        tagged.map(|()| image)
    }

    async fn pull(
        &self,
        reference: &str,
        architecture: Option<Architecture>,
        progress: &Progress,
    ) -> Result<ImageInfo> {
        let pull_error = |message| EngineError::Pull { reference: reference.to_owned(), message };
        if !is_reference(reference) {
            return Err(pull_error("it is not a valid reference".to_owned()));
        }
        let full = full_name(reference);
        let mut options = CreateImageOptionsBuilder::new().from_image(&full);
        let platform = architecture.map(Architecture::platform);
        if let Some(platform) = &platform {
            options = options.platform(platform);
        }
        let options = options.build();
        let told = self.patient.create_image(Some(options), None, None);
        let mut layers = Layers::default();
        let listen = |line| {
            layers.hear(line);
            layers.tell(progress);
            futures_util::future::ok(())
        };
        // A failure after the first byte comes as a line of a body of status 200.
        told.try_for_each(listen).await.map_err(|error| {
            match self.error(format!("pull {reference}"), "", error) {
                EngineError::NotFound(_) => {
                    pull_error("the registry has no such image, or wants a login".to_owned())
                }
                EngineError::Refused { message, .. } => pull_error(message),
                other => other,
            }
        })?;
        self.inspect(&full).await
    }

    pub(super) async fn load_archive(&self, archive: ByteStream) -> Result<ImageInfo> {
        let action = "load an image archive";
        let refused = |message: String| EngineError::Refused { action: action.to_owned(), message };
        let (stream, upload) = Upload::new(archive);
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let answers = self.patient.import_image(options, body_try_stream(stream), None);
        let mut answers = std::pin::pin!(answers);
        let mut loaded = Vec::new();
        while let Some(answer) = answers.next().await {
            let answer = match answer {
                Ok(answer) => answer,
                // Podman ends its answer with an empty line.
                Err(Error::JsonSerdeError { err }) if err.is_eof() => continue,
                Err(error) => {
                    return Err(upload.explain(self, action.to_owned(), "image archive".to_owned(), error));
                }
            };
            loaded.extend(
                answer.stream.iter().flat_map(|text| text.lines()).filter_map(loaded_name).map(str::to_owned),
            );
        }
        // One image may be told by several names, and several images by one answer.
        let mut images = Vec::new();
        for name in &loaded {
            let image = self.inspect(name).await?;
            if !images.contains(&image) {
                images.push(image);
            }
        }
        match images.len() {
            1 => Ok(images.remove(0)),
            0 => Err(refused("it told of no image in it".to_owned())),
            many => {
                Err(refused(format!("it holds {many} images ({}), and one is wanted", loaded.join(", "))))
            }
        }
    }

    pub(super) async fn tag(&self, image: &ImageInfo, name: &str) -> Result<()> {
        let action = format!("tag {} as {name}", image.id);
        let (repo, tag) = match name.rsplit_once(':') {
            Some((repo, tag)) if is_reference(name) && !tag.contains('/') => (repo, tag),
            _ => {
                return Err(EngineError::Refused {
                    action,
                    message: "a tag has the form name:tag".to_owned(),
                });
            }
        };
        let options = TagImageOptionsBuilder::new().repo(repo).tag(tag).build();
        self.quick
            .tag_image(&image.id.to_string(), Some(options))
            .await
            .map_err(|error| self.error(action, format!("image {}", image.id), error))
    }

    pub(super) async fn save_image(&self, image: &ImageId) -> Result<ByteStream> {
        // Asked first: the export would answer for an unknown image with other words on every engine.
        let known = self.inspect(&image.to_string()).await?;
        let stream = self.patient.export_image(&known.id.to_string()).peekable();
        let mut stream = Box::pin(stream);
        if stream.as_mut().peek().await.is_some_and(|first| first.is_err())
            && let Some(Err(error)) = stream.next().await
        {
            return Err(self.error(format!("save the image {image}"), format!("image {image}"), error));
        }
        Ok(reader(stream))
    }

    pub(super) async fn remove_tag(&self, tag: &str) -> Result<()> {
        if !is_reference(tag) {
            return Ok(());
        }
        // Without force, a tag stays as long as a container was made from it.
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        match self.quick.remove_image(tag, Some(options), None).await {
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(404) => Ok(()),
            // Somebody else removes the same image; their words differ between versions.
            Err(error) if status(&error) == Some(409) && self.find_image(tag).await?.is_empty() => Ok(()),
            Err(error) if words(&error).contains("No such image") => Ok(()),
            Err(error) => Err(self.error(format!("remove the tag {tag}"), tag, error)),
        }
    }
}

/// True for what may stand in a request's path: the characters of a reference, and no `..`.
fn is_reference(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@');
    !text.is_empty()
        && text.chars().all(good)
        && !text.split('/').any(|part| part.is_empty() || part.starts_with('.'))
}

/// The image that a line of the engine's answer names: `Loaded image: name:tag`, `Loaded image ID: sha256:…`, and
/// from podman several names with commas.
fn loaded_name(line: &str) -> Option<&str> {
    let name = line.strip_prefix("Loaded image")?.trim_start_matches(" ID").strip_prefix(':')?.trim();
    name.split(',').next()
}

fn image_info(image: ImageInspect) -> Result<ImageInfo, String> {
    let id = image.id.unwrap_or_default();
    // With Docker's containerd image store the id is a manifest's digest, and the manifest is not in the API.
    if image.descriptor.and_then(|d| d.digest).is_some_and(|digest| digest == id) {
        return Err(
            "the engine keeps images in its containerd store, whose ids do not survive save and load; set \
                    {\"features\": {\"containerd-snapshotter\": false}} in its daemon.json"
                .to_owned(),
        );
    }
    let hex = id.strip_prefix("sha256:").unwrap_or(&id);
    let layers = image.root_fs.and_then(|fs| fs.layers).unwrap_or_default();
    let layers: Result<Vec<Digest>, _> = layers.iter().map(|layer| layer.parse()).collect();
    Ok(ImageInfo {
        id: Digest::from_hex(hex).map_err(|error| error.to_string())?,
        layers: layers.map_err(|error| error.to_string())?,
        arch: image.architecture.unwrap_or_default(),
        labels: image.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect(),
        repo_digests: image.repo_digests.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_load_names_the_image() {
        assert_eq!(loaded_name("Loaded image: packhold/x:1"), Some("packhold/x:1"));
        assert_eq!(loaded_name("Loaded image ID: sha256:ab"), Some("sha256:ab"));
        assert_eq!(loaded_name("Loaded image: localhost/x:1,localhost/y:1"), Some("localhost/x:1"));
        assert_eq!(loaded_name("Loading layer"), None);
    }

    #[test]
    fn a_reference_cannot_leave_its_place_in_a_request() {
        for good in ["debian", "quay.io/a/b_c:1.0", "localhost:5000/x@sha256:ab"] {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["", "../containers/x", "a/../b", "a//b", "/a", "a?b=c", "a b", "a%2f", "a#b"] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
