mod commit;
mod hostile;
mod images;
mod processes;
mod random;
mod registry;
mod trees;

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;

use super::Store;
use crate::engine::{ByteStream, EngineError, ImageId, ImageInfo};
use crate::model::Digest;

pub(super) const FILE: tar::EntryType = tar::EntryType::Regular;
pub(super) const FOLDER: tar::EntryType = tar::EntryType::Directory;
pub(super) const SYMLINK: tar::EntryType = tar::EntryType::Symlink;
pub(super) const HARDLINK: tar::EntryType = tar::EntryType::Link;

/// A tar that grows entry by entry.
#[derive(Clone, Default)]
pub(super) struct Tar(Vec<u8>);

impl Tar {
    pub(super) fn entry(self, name: &str, kind: tar::EntryType, link: &str, content: &[u8]) -> Self {
        self.with(name, kind, link, content, |_| {})
    }

    pub(super) fn with(
        mut self,
        name: &str,
        kind: tar::EntryType,
        link: &str,
        content: &[u8],
        change: impl FnOnce(&mut tar::Header),
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind == FOLDER { 0o755 } else { 0o644 });
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        change(&mut header);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, name: &str, content: &str) -> Self {
        self.entry(name, FILE, "", content.as_bytes())
    }

    pub(super) fn folder(self, name: &str) -> Self {
        self.entry(name, FOLDER, "", b"")
    }

    /// Records for the entry that follows.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..).find(|all| *all == rest + all.to_string().len()).unwrap();
            bytes.extend([format!("{length} {key}=").as_bytes(), value, b"\n"].concat());
        }
        self.entry("PaxHeaders/x", tar::EntryType::XHeader, "", &bytes)
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// An image's configuration that names these layers.
pub(super) fn config_of(layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<Digest> = layers.iter().map(Digest::of).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "Labels": { "made-by": "test" } },
        "rootfs": { "type": "layers", "diff_ids": ids },
    });
    config.to_string().into_bytes()
}

/// An archive as older Docker writes it: the manifest comes last.
pub(super) fn archive_of(layers: &[&[u8]]) -> Vec<u8> {
    archive_with(&config_of(layers), layers)
}

pub(super) fn archive_with(config: &[u8], layers: &[&[u8]]) -> Vec<u8> {
    let mut tar = Tar::default();
    let mut names = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        names.push(format!("{at}/layer.tar"));
        tar = tar.entry(&names[at], FILE, "", layer);
    }
    let manifest = serde_json::json!([{ "Config": "c.json", "RepoTags": ["x:y"], "Layers": names }]);
    tar.entry("c.json", FILE, "", config)
        .entry("manifest.json", FILE, "", manifest.to_string().as_bytes())
        .end()
}

pub(super) fn stream(bytes: impl Into<Vec<u8>>) -> ByteStream {
    Box::pin(Cursor::new(bytes.into()))
}

/// A store in a folder that goes with it.
pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Store,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// A folder that may hold a lease.
    pub(super) fn holder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub(super) async fn load(&self, layers: &[&[u8]], tag: &str) -> ImageInfo {
        self.store.load(stream(archive_of(layers)), tag).await.unwrap()
    }

    pub(super) async fn save(&self, id: &ImageId) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.store.save(id).await.unwrap().read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    /// The tree of a layer that must be accepted and come back byte for byte.
    pub(super) async fn tree(&self, layer: &[u8]) -> PathBuf {
        let image = self.load(&[layer], "tree:test").await;
        let saved = self.save(&image.id).await;
        assert!(
            file_of(&saved, &format!("{}.tar", Digest::of(layer).hex())) == layer,
            "the layer is another"
        );
        self.store.lease(&image.id, &self.holder("tree")).unwrap().lower.remove(0)
    }

    pub(super) async fn refused(&self, layer: &[u8]) -> String {
        self.refused_archive(archive_of(&[layer])).await
    }

    /// Why an archive is refused; nothing of it may be left.
    pub(super) async fn refused_archive(&self, archive: Vec<u8>) -> String {
        let before = self.everything();
        let refused = match self.store.load(stream(archive), "hostile:test").await {
            Err(EngineError::Refused { message, .. }) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(self.everything(), before, "something is left");
        refused
    }

    /// The paths of all that the store has.
    pub(super) fn everything(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.symlink_metadata().unwrap().is_dir() {
                    walk(&path, found);
                }
                found.push(path);
            }
        }
        let mut found = Vec::new();
        walk(&self.path("store"), &mut found);
        found.sort();
        found
    }

    /// The digests of the layers that the store has.
    pub(super) fn layers(&self) -> usize {
        fs::read_dir(self.path("store/layers/sha256")).unwrap().count()
    }
}

/// The content of a file of a tar.
pub(super) fn file_of(tar: &[u8], name: &str) -> Vec<u8> {
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap() == Path::new(name) {
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            return content;
        }
    }
    panic!("no {name}");
}

/// The names of a tar.
pub(super) fn names_of(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    names.collect()
}

/// True for a whiteout in a tree.
pub(super) fn is_whiteout(path: &Path) -> bool {
    let found = path.symlink_metadata().unwrap();
    found.rdev() == 0 && found.mode() & 0o170_000 == 0o020_000
}

/// True for a folder that hides what is below it.
pub(super) fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 8];
    match rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value[..]) {
        Ok(length) => &value[..length] == b"y",
        Err(error) => {
            assert_eq!(error, rustix::io::Errno::NODATA);
            false
        }
    }
}
