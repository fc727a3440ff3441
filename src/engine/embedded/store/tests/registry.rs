//! Pulling from a registry that says and does what a test wants.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::{Mirror, Registries, Store};
use super::{Bench, Tar, config_of};
use crate::engine::{EngineError, Progress};
use crate::model::Digest;
use crate::registry::Credentials;

/// What is under a path, and how many bytes of it the first answers give before they break off.
#[derive(Clone, Default)]
struct Served {
    bytes: Vec<u8>,
    cuts: Vec<usize>,
}

#[derive(Clone)]
struct Registry {
    address: String,
    served: Arc<Mutex<HashMap<String, Served>>>,
    /// Paths with the range that was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let registry = Self { address, served: Arc::default(), asked: Arc::default() };
        let server = registry.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.answer(connection).await });
            }
        });
        registry
    }

    async fn answer(&self, mut connection: tokio::net::TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let Ok(byte) = connection.read_u8().await else { return };
            request.push(byte);
        }
        let request = String::from_utf8(request).unwrap();
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let header = |name: &str| {
            let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
            line.map(|line| line.split_once(": ").unwrap().1.to_owned())
        };
        let range = header("range: ").map(|range| range.replace("bytes=", "").replace('-', ""));
        let from: usize = range.as_ref().map_or(0, |range| range.parse().unwrap());
        let secret = header("authorization: ").unwrap_or_default();
        self.asked.lock().unwrap().push(format!("{path} {} {secret}", range.unwrap_or_default()));
        let (bytes, cut) = match self.served.lock().unwrap().get_mut(&path) {
            Some(served) => {
                let cut = (!served.cuts.is_empty()).then(|| served.cuts.remove(0));
                (Some(served.bytes.clone()), cut)
            }
            None => (None, None),
        };
        let Some(bytes) = bytes else {
            let nothing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = connection.write_all(nothing.as_bytes()).await;
            return;
        };
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        let rest = &bytes[from..];
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", rest.len());
        let _ = connection.write_all(head.as_bytes()).await;
        let _ = connection.write_all(&rest[..cut.unwrap_or(rest.len())]).await;
        let _ = connection.shutdown().await;
    }

    fn serve(&self, path: &str, bytes: &[u8]) {
        let served = Served { bytes: bytes.to_vec(), cuts: Vec::new() };
        self.served.lock().unwrap().insert(path.to_owned(), served);
    }

    fn blob(&self, bytes: &[u8]) -> serde_json::Value {
        self.serve(&blob_path(bytes), bytes);
        serde_json::json!({ "mediaType": "x", "size": bytes.len(), "digest": Digest::of(bytes).to_string() })
    }

    fn manifest(&self, tag: &str, manifest: &serde_json::Value) -> Vec<u8> {
        let bytes = manifest.to_string().into_bytes();
        self.serve(&format!("/v2/team/app/manifests/{tag}"), &bytes);
        self.serve(&format!("/v2/team/app/manifests/{}", Digest::of(&bytes)), &bytes);
        bytes
    }

    /// An image of two layers under `tag`, gzip and zstd; gives its manifest.
    fn image(&self, tag: &str, layers: [&[u8]; 2]) -> serde_json::Value {
        let config = config_of(&layers);
        let packed = [gzip(layers[0]), zstd::encode_all(layers[1], 3).unwrap()];
        let manifest = serde_json::json!({
            "schemaVersion": 2, "config": self.blob(&config),
            "layers": [self.blob(&packed[0]), self.blob(&packed[1])],
        });
        self.manifest(tag, &manifest);
        manifest
    }

    fn name(&self, tag: &str) -> String {
        format!("{}/team/app:{tag}", self.address)
    }

    fn asked_for(&self, path: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.starts_with(path)).cloned().collect()
    }
}

fn blob_path(bytes: &[u8]) -> String {
    format!("/v2/team/app/blobs/{}", Digest::of(bytes))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn layers() -> [Vec<u8>; 2] {
    let noise: String =
        (0..200_000_u32).map(|n| char::from(b'a' + (n.wrapping_mul(n) >> 7) as u8 % 26)).collect();
    [Tar::default().file("lower", "lower").end(), Tar::default().file("upper", &noise).end()]
}

async fn refused(store: &Store, reference: &str) -> String {
    match store.pull(reference, None, "pulled:1", Progress::default()).await {
        Err(EngineError::Pull { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_image_is_pulled_for_this_machine_and_its_layers_travel_once() {
    let (bench, registry) = (Bench::new(), Registry::start().await);
    let [lower, upper] = &layers();
    let own = registry.image("own", [lower, upper]).to_string();
    let entry = |digest: String, arch: &str| serde_json::json!({ "digest": digest, "size": 1, "platform": { "os": "linux", "architecture": arch } });
    let index = registry.manifest(
        "1",
        &serde_json::json!({ "schemaVersion": 2, "manifests": [
            entry(Digest::of("nobody").to_string(), "s390x"),
            entry(Digest::of(&own).to_string(), super::super::platform::host().architecture),
        ]}),
    );
    let image =
        bench.store.pull(&registry.name("1"), None, "packhold/base:1", Progress::default()).await.unwrap();
    assert_eq!(image.id, Digest::of(config_of(&[lower, upper])));
    assert_eq!(image.repo_digests, [format!("{}/team/app@{}", registry.address, Digest::of(&index))]);
    assert_eq!(bench.store.named("packhold/base:1").unwrap(), Some(image.clone()));
    let digest = Digest::of(&index);
    let again = bench
        .store
        .pull(&format!("{}/team/app@{digest}", registry.address), None, "b:2", Progress::default())
        .await
        .unwrap();
    assert_eq!(again, image);
    assert_eq!(registry.asked_for(&blob_path(&gzip(lower))).len(), 1);
    let alone = bench.store.pull(&registry.name("own"), None, "b:3", Progress::default()).await.unwrap();
    assert_eq!(alone.repo_digests.len(), 2);
    assert!(
        alone.repo_digests[0].ends_with(&Digest::of(&own).to_string()),
        "what it was called last comes first"
    );
}

#[tokio::test]
async fn a_layer_that_breaks_off_is_taken_up_where_it_was() {
    let (bench, registry) = (Bench::new(), Registry::start().await);
    let [lower, upper] = &layers();
    registry.image("1", [lower, upper]);
    let packed = zstd::encode_all(&upper[..], 3).unwrap();
    let path = blob_path(&packed);
    registry.served.lock().unwrap().get_mut(&path).unwrap().cuts = vec![1000, 2000];
    let told = Arc::new(Mutex::new(Vec::new()));
    let keep = told.clone();
    let progress = Progress::to(move |done, total| keep.lock().unwrap().push((done, total)));
    let image = bench.store.pull(&registry.name("1"), None, "a:b", progress).await.unwrap();
    assert_eq!(image.id, Digest::of(config_of(&[lower, upper])));
    // Every byte is told of once, those that came before it broke off too.
    let all = (packed.len() + gzip(lower).len()) as u64;
    assert_eq!(told.lock().unwrap().iter().max(), Some(&(all, Some(all))));
    let asked = registry.asked_for(&path);
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[1].contains(" 1000 ") && asked[2].contains(" 3000 "), "{asked:?}");
    // Not without end.
    let other = Bench::new();
    registry.served.lock().unwrap().get_mut(&path).unwrap().cuts = vec![0; 100];
    let message = refused(&other.store, &registry.name("1")).await;
    assert!(message.contains("broke off"), "{message}");
    assert_eq!(other.layers(), 0);
    assert_eq!(std::fs::read_dir(other.path("store/tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_registry_that_lies_is_not_believed() {
    let (bench, registry) = (Bench::new(), Registry::start().await);
    let [lower, upper] = &layers();
    let manifest = registry.image("1", [lower, upper]);
    let (config, packed) = (config_of(&[lower, upper]), zstd::encode_all(&upper[..], 3).unwrap());
    let other = Tar::default().file("upper", "another").end();
    let store = &bench.store;
    let name = registry.name("1");

    registry.serve(&blob_path(&config), &config_of(&[lower]));
    let message = refused(store, &name).await;
    assert!(message.contains("its configuration should be") || message.contains("igest"), "{message}");
    registry.serve(&blob_path(&config), &config);

    // As many bytes as there should be, and others.
    let mut flipped = packed.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bytes in [&flipped, &zstd::encode_all(&other[..], 3).unwrap()] {
        registry.serve(&blob_path(&packed), bytes);
        refused(store, &name).await;
    }
    let mut longer = packed.clone();
    longer.extend([0; 4096]);
    registry.serve(&blob_path(&packed), &longer);
    refused(store, &name).await;
    registry.serve(&blob_path(&packed), &packed);

    // A layer that is what its descriptor says, and not what the configuration says.
    let mut changed = manifest.clone();
    changed["layers"][1] = registry.blob(&gzip(&other));
    registry.manifest("other-layer", &changed);
    let message = refused(store, &registry.name("other-layer")).await;
    assert!(message.contains("unpacked layer"), "{message}");
    changed["layers"] = serde_json::json!([]);
    registry.manifest("no-layers", &changed);
    assert!(refused(store, &registry.name("no-layers")).await.contains("0 layers"));

    let wanted = Digest::of("wanted");
    registry.serve(&format!("/v2/team/app/manifests/{wanted}"), manifest.to_string().as_bytes());
    refused(store, &format!("{}/team/app@{wanted}", registry.address)).await;
    for reference in [registry.name("nothing"), format!("{}/other/app:1", registry.address)] {
        assert!(refused(store, &reference).await.contains("no such image"), "{reference}");
    }
    for reference in ["", "UPPER CASE", "a b", "x/../y@sha256:1"] {
        assert!(refused(store, reference).await.contains("not a valid reference"), "{reference}");
    }
    assert_eq!((bench.layers(), store.named("pulled:1").unwrap()), (0, None));
    assert_eq!(std::fs::read_dir(bench.path("store/tmp")).unwrap().count(), 0);
    store.pull(&name, None, "pulled:1", Progress::default()).await.unwrap();
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_the_registry_itself_when_it_fails() {
    let (registry, mirror) = (Registry::start().await, Registry::start().await);
    let [lower, upper] = &layers();
    let manifest = registry.image("1", [lower, upper]);
    let registries = Registries {
        mirrors: vec![Mirror { of: registry.address.clone(), host: mirror.address.clone() }],
        ..Registries::default()
    };
    let bench = Bench::new();
    let store = bench.store.clone().with_registries(registries);
    let image = store.pull(&registry.name("1"), None, "a:b", Progress::default()).await.unwrap();
    assert_eq!(mirror.asked_for("/v2/team/app/manifests/1").len(), 1);
    assert!(!registry.asked_for("/v2/team/app/manifests/1").is_empty());
    // The whole image is at the mirror now, under the address that mirrors are asked by.
    let ask = format!("?ns={}", registry.address);
    for (path, served) in registry.served.lock().unwrap().iter() {
        mirror.serve(path, &served.bytes);
        mirror.serve(&format!("{path}{ask}"), &served.bytes);
    }
    registry.served.lock().unwrap().clear();
    let other = Bench::new();
    let store = other.store.clone().with_registries(Registries {
        mirrors: vec![Mirror { of: registry.address.clone(), host: mirror.address.clone() }],
        ..Registries::default()
    });
    assert_eq!(store.pull(&registry.name("1"), None, "a:b", Progress::default()).await.unwrap(), image);
    assert!(image.repo_digests[0].starts_with(&format!("{}/team/app@", registry.address)));
    assert!(image.repo_digests[0].ends_with(&Digest::of(manifest.to_string()).to_string()));
    // Both have failed, and both are told.
    let message = refused(&store, &registry.name("2")).await;
    assert!(message.contains(&mirror.address) && message.matches("no such image").count() == 2, "{message}");
}

#[tokio::test]
async fn credentials_go_to_the_registry_that_they_are_for_and_into_no_message() {
    let (bench, registry) = (Bench::new(), Registry::start().await);
    let [lower, upper] = &layers();
    registry.image("1", [lower, upper]);
    let host = registry.address.clone();
    let registries = Registries {
        credentials: Arc::new(move |asked| match asked == host {
            true => Ok(Credentials::Bearer("s3cret-word".to_owned())),
            false => Err(format!("nobody knows {asked}")),
        }),
        ..Registries::default()
    };
    assert!(!format!("{registries:?}").contains("s3cret"));
    let store = bench.store.clone().with_registries(registries);
    store.pull(&registry.name("1"), None, "a:b", Progress::default()).await.unwrap();
    let asked = registry.asked_for("/v2/team/app/manifests/1");
    assert!(asked.iter().any(|asked| asked.ends_with("Bearer s3cret-word")), "{asked:?}");
    let message = refused(&store, &registry.name("2")).await;
    assert!(!message.contains("s3cret"), "{message}");
    assert!(refused(&store, "127.0.0.1:1/x:1").await.contains("nobody knows 127.0.0.1:1"));
}
