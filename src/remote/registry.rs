use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use oci_client::client::{BlobResponse, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio_util::io::ReaderStream;

use super::{MAX_BUNDLE, RemoteError, Result, Sink, Source, read_bundle};
use crate::archive::{Bundle, Object, ObjectKind};
use crate::model::{Digest, RunId};
use crate::registry::{self, Credentials, is_missing};
use crate::support::fs::PathContext;

/// The artifact type of a run's manifest in a registry, and the media type of its configuration: the bundle as JSON.
const BUNDLE: &str = "application/vnd.packhold.bundle.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Tags of runs begin so.
const TAG: &str = "run-";

/// A repository of an OCI registry: each run is an artifact under the tag `run-ID` whose layers are the files of an archive,
/// titled with their paths in it.
pub struct Registry {
    client: Client,
    auth: RegistryAuth,
    host: String,
    repository: String,
    name: String,
}

impl Registry {
    /// A repository. `authority` is the certificate of an authority that is trusted beside the system's, PEM.
    pub async fn open(
        host: &str,
        repository: &str,
        plain: bool,
        credentials: Credentials,
        authority: Option<&[u8]>,
    ) -> Result<Self> {
        let name = format!("{}://{host}/{repository}", if plain { "oci+http" } else { "oci" });
        let protocol = if plain { ClientProtocol::Http } else { ClientProtocol::Https };
        let client = Client::try_from(registry::client_config(protocol, authority));
        let client = client.map_err(|error| failed("open", &name, error))?;
        let auth = RegistryAuth::from(credentials);
        client.store_auth_if_needed(host, &auth).await;
        Ok(Self { client, auth, host: host.to_owned(), repository: repository.to_owned(), name })
    }

    fn tag(&self, tag: &str) -> Reference {
        Reference::with_tag(self.host.clone(), self.repository.clone(), tag.to_owned())
    }

    async fn put_bytes(&self, image: &Reference, bytes: Vec<u8>) -> Result<Digest> {
        let digest = Digest::of(&bytes);
        let pushed = self.client.push_blob(image, bytes, &digest.to_string()).await;
        pushed.map_err(|error| failed("write to", &self.name, error))?;
        Ok(digest)
    }
}

fn failed(action: &'static str, place: &str, cause: OciDistributionError) -> RemoteError {
    let denied = registry::is_denied(&cause);
    let (place, cause) = (place.to_owned(), Box::new(cause));
    match denied {
        true => RemoteError::Denied { place, cause },
        false => RemoteError::Failed { action, place, cause },
    }
}

#[async_trait]
impl Source for Registry {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn runs(&self) -> Result<Vec<RunId>> {
        let mut runs = Vec::new();
        let mut last: Option<String> = None;
        loop {
            let image = self.tag("latest");
            let listed = match self.client.list_tags(&image, &self.auth, Some(1000), last.as_deref()).await {
                Err(error) if is_missing(&error) => return Ok(Vec::new()),
                listed => listed.map_err(|error| failed("read from", &self.name, error))?.tags,
            };
            runs.extend(listed.iter().filter_map(|tag| tag.strip_prefix(TAG)?.parse::<RunId>().ok()));
            // A registry may give all at once, or the same page for ever.
            if listed.len() < 1000 || listed.last() == last.as_ref() {
                break;
            }
            last = listed.last().cloned();
        }
        runs.sort();
        runs.dedup();
        Ok(runs)
    }

    async fn bundle(&self, run: &RunId) -> Result<Bundle> {
        let foreign = |reason: String| RemoteError::Foreign { place: self.name.clone(), reason };
        let image = self.tag(&format!("{TAG}{run}"));
        let manifest = match self.client.pull_manifest_raw(&image, &self.auth, &[MANIFEST]).await {
            Err(error) if is_missing(&error) => {
                return Err(RemoteError::UnknownRun { place: self.name.clone(), run: run.clone() });
            }
            manifest => manifest.map_err(|error| failed("read from", &self.name, error))?.0,
        };
        let manifest: serde_json::Value =
            serde_json::from_slice(&manifest).map_err(|error| foreign(error.to_string()))?;
        let config = &manifest["config"];
        let is_bundle = config["mediaType"] == BUNDLE;
        let digest = config["digest"].as_str().and_then(|digest| digest.parse::<Digest>().ok());
        let Some(digest) = digest.filter(|_| is_bundle) else {
            return Err(foreign(format!("`{TAG}{run}` is no run of Packhold's")));
        };
        let stream = self.client.pull_blob_stream(&image, digest.to_string().as_str()).await;
        let mut stream = stream.map_err(|error| failed("read from", &self.name, error))?.stream;
        let mut bytes = Vec::new();
        while let Some(more) = stream.try_next().await.map_err(|cause| RemoteError::BrokeOff {
            place: self.name.clone(),
            object: format!("the description of run {run}"),
            cause,
        })? {
            bytes.extend_from_slice(&more);
            if bytes.len() as u64 > MAX_BUNDLE {
                return Err(foreign(format!("the description of run {run} is too large")));
            }
        }
        match Digest::of(&bytes) == digest {
            true => read_bundle(&self.name, &bytes),
            false => Err(foreign(format!("the description of run {run} is damaged"))),
        }
    }

    async fn get(
        &self,
        object: &Object,
        offset: u64,
    ) -> Result<(u64, BoxStream<'static, std::io::Result<Bytes>>)> {
        let (image, digest) = (self.tag("latest"), object.digest.to_string());
        let read = |error| failed("read from", &self.name, error);
        if offset == 0 {
            let whole = self.client.pull_blob_stream(&image, digest.as_str()).await.map_err(read)?;
            return Ok((0, whole.stream));
        }
        match self
            .client
            .pull_blob_stream_partial(&image, digest.as_str(), offset, None)
            .await
            .map_err(read)?
        {
            BlobResponse::Full(whole) => Ok((0, whole.stream)),
            BlobResponse::Partial(rest) => Ok((offset, rest.stream)),
        }
    }
}

#[async_trait]
impl Sink for Registry {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn has(&self, object: &Object) -> Result<bool> {
        let found = self.client.blob_exists(&self.tag("latest"), &object.digest.to_string()).await;
        found.map_err(|error| failed("read from", &self.name, error))
    }

    async fn put(&self, object: &Object, path: &Path) -> Result<()> {
        let file = tokio::fs::File::open(path).await.at("read", path)?;
        let bytes = ReaderStream::with_capacity(file, 1 << 20).map_err(OciDistributionError::from).boxed();
        let (image, digest) = (self.tag("latest"), object.digest.to_string());
        let pushed = self.client.push_blob_stream(&image, bytes, &digest, Some(object.size)).await;
        pushed.map(|_| ()).map_err(|error| failed("write to", &self.name, error))
    }

    async fn put_bundle(&self, bundle: &Bundle) -> Result<()> {
        let foreign = |error: serde_json::Error| RemoteError::Foreign {
            place: self.name.clone(),
            reason: error.to_string(),
        };
        let image = self.tag(&format!("{TAG}{}", bundle.run));
        let document = serde_json::to_vec(bundle).map_err(foreign)?;
        let config = serde_json::json!({
            "mediaType": BUNDLE, "size": document.len(), "digest": self.put_bytes(&image, document).await?,
        });
        // With these two, whoever fetches all layers by their titles has an archive.
        let mut layers = Vec::new();
        let index = serde_json::to_vec(&bundle.index).map_err(foreign)?;
        for (title, bytes) in
            [("index.json", index), ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())]
        {
            let (size, digest) = (bytes.len(), self.put_bytes(&image, bytes).await?);
            layers.push(layer("application/json", size as u64, &digest, title));
        }
        for object in &bundle.objects {
            let media_type = match object.kind {
                ObjectKind::Blob => "application/octet-stream",
                ObjectKind::Chunks => "application/vnd.packhold.chunks.v1",
            };
            layers.push(layer(media_type, object.size, &object.digest, &object.path()));
        }
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": BUNDLE,
            "config": config,
            "layers": layers,
            "annotations": BTreeMap::from([("com.packhold.run.id", bundle.run.to_string())]),
        });
        let bytes = serde_json::to_vec(&manifest).map_err(foreign)?;
        let content_type = http::HeaderValue::from_static(MANIFEST);
        let pushed = self.client.push_manifest_raw(&image, bytes, content_type).await;
        pushed.map(|_| ()).map_err(|error| failed("write to", &self.name, error))
    }
}

fn layer(media_type: &str, size: u64, digest: &Digest, title: &str) -> serde_json::Value {
    serde_json::json!({
        "mediaType": media_type, "size": size, "digest": digest,
        "annotations": { "org.opencontainers.image.title": title },
    })
}
