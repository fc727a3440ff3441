//! Small archives, images and runs for the tests of this module.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::model::{
    Artifact, ArtifactKind, EngineRecord, ImageRole, Origin, Outcome, PackageVersion, SourceRecord, Stage,
    StageRecord, ToolRecord,
};

/// A temporary archive.
pub(super) struct Fixture {
    pub(super) dir: tempfile::TempDir,
    pub(super) archive: Archive,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open_or_create(dir.path().join("archive")).unwrap();
        Self { dir, archive }
    }

    /// The same archive as another process sees it, whose writer has ended.
    pub(super) fn reopened(self) -> Self {
        let Self { dir, archive } = self;
        let path = archive.path().to_owned();
        drop(archive);
        Self { dir, archive: Archive::open(path).unwrap() }
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.archive.layout().blob(digest)
    }

    /// The file that holds a blob's bytes: itself, or the pack of one that is kept in chunks.
    pub(super) fn file_of(&self, digest: &Digest) -> PathBuf {
        let list = chunked::list(self.archive.layout(), digest).unwrap();
        list.map_or_else(|| self.blob(digest), |list| self.blob(&list.extents[0].pack))
    }

    pub(super) fn verify(&self) -> VerifyReport {
        verify(self.archive.path(), |_| ()).unwrap()
    }

    /// The names of all blobs.
    pub(super) fn blobs(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.archive.layout().blobs())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// An image of one layer that holds the file `content`.
    pub(super) fn image(&self, content: &str) -> Image {
        let spec = RootfsSpec {
            arch: "amd64".to_owned(),
            created: 1_700_000_000,
            labels: BTreeMap::from([("com.packhold.test".to_owned(), "yes".to_owned())]),
            comment: "a test".to_owned(),
        };
        self.archive.image_from_rootfs(tar_of(&[("file", content.as_bytes())]).as_slice(), &spec).unwrap()
    }

    /// A run with one target, one artifact and one image, stored.
    pub(super) fn add_run(&self, number: u32) -> RunRecord {
        let (record, images, files) = self.run(number);
        self.archive.add_run(&record, &images, &files).unwrap();
        record
    }

    /// A run as [`Fixture::add_run`] stores it, of a release or not.
    pub(super) fn add_run_of(&self, number: u32, release: bool) -> RunRecord {
        let (mut record, images, files) = self.run(number);
        record.source.version.release = release;
        self.archive.add_run(&record, &images, &files).unwrap();
        record
    }

    pub(super) fn run(&self, number: u32) -> (RunRecord, Vec<ImageRecord>, Vec<RunFile>) {
        let image = image_record(&self.image("base"), "key");
        let content = format!("package {number}");
        let (digest, size) = self.archive.put_bytes(content.as_bytes()).unwrap();
        let target: TargetName = "debian-12/deb".parse().unwrap();
        let file = RunFile {
            name: "hostpulse_1.0_amd64.deb".to_owned(),
            role: FileRole::Artifact,
            target: Some(target),
            media_type: "application/vnd.debian.binary-package".to_owned(),
            digest,
            size,
        };
        (run_record(number, &file, &image), vec![image], vec![file])
    }
}

pub(super) fn image_record(image: &Image, key: &str) -> ImageRecord {
    ImageRecord {
        id: image.id,
        role: ImageRole::Base,
        builder: "debian-12".to_owned(),
        platform: None,
        key: Digest::of(key),
        origin: Origin::Bootstrap { suite: "bookworm".to_owned(), mirror: None, tool: "test".to_owned() },
        obtained: "bootstrap".to_owned(),
        layers: image.layers.iter().map(|layer| layer.digest).collect(),
        packages: Vec::new(),
    }
}

/// Build keys are `build NUMBER`; verify failed.
pub(super) fn run_record(number: u32, file: &RunFile, image: &ImageRecord) -> RunRecord {
    let started = jiff::Timestamp::from_second(1_700_000_000 + i64::from(number)).unwrap();
    let stage = |stage, outcome| StageRecord {
        stage,
        outcome,
        started,
        duration_ms: 1,
        reused: None,
        steps: Vec::new(),
        log: None,
    };
    let failed = Outcome::Skipped { why: "test".to_owned() };
    RunRecord {
        schema: 1,
        id: RunId::new(started, number),
        package: "hostpulse".to_owned(),
        pipeline: "hostpulse.toml".to_owned(),
        pipeline_digest: Digest::of("pipeline"),
        lock: None,
        source: SourceRecord {
            repository: ".".to_owned(),
            revision: "HEAD".to_owned(),
            commit: "0123456789".to_owned(),
            epoch: 1_700_000_000,
            tree: Digest::of("tree"),
            size: 4,
            version: PackageVersion {
                describe: "v1.0".to_owned(),
                deb: "1.0".to_owned(),
                rpm: "1.0".to_owned(),
                release: false,
                deb_full: None,
            },
            dirty: false,
            changes: None,
        },
        tool: ToolRecord { name: "packhold".to_owned(), version: "0".to_owned() },
        engine: EngineRecord {
            kind: "fake".to_owned(),
            version: "0".to_owned(),
            arch: "amd64".to_owned(),
            kernel: None,
            cores: None,
        },
        started,
        duration_ms: 5,
        shared: Vec::new(),
        targets: vec![TargetRecord {
            target: "debian-12/deb".parse().unwrap(),
            outcome: Outcome::Passed,
            package_version: "1.0".to_owned(),
            stages: vec![stage(Stage::Build, Outcome::Passed), stage(Stage::Verify, failed)],
            artifacts: vec![Artifact {
                name: file.name.clone(),
                kind: ArtifactKind::Package,
                size: file.size,
                digest: file.digest,
                package: None,
            }],
            checks: Vec::new(),
            warnings: Vec::new(),
            images: vec![image.id],
            build_key: Some(Digest::of(format!("build {number}"))),
            verify_key: Some(Digest::of(format!("verify {number}"))),
            reproducibility: None,
        }],
        images: vec![image.clone()],
        warnings: Vec::new(),
        outcome: Outcome::Passed,
    }
}

/// One entry of a tar, as a header says it.
pub(super) fn append(tar: &mut Vec<u8>, name: &str, kind: tar::EntryType, link: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    tar.extend(header.as_bytes());
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

pub(super) fn end(mut tar: Vec<u8>) -> Vec<u8> {
    tar.resize(tar.len() + 1024, 0);
    tar
}

pub(super) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, content) in files {
        append(&mut tar, name, tar::EntryType::Regular, "", content);
    }
    end(tar)
}

/// An image configuration with a field that only Docker knows and a layout that no serializer would choose.
pub(super) fn config_of(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(Digest::of).collect();
    let diff_ids = serde_json::to_string(&diff_ids).unwrap();
    format!(
        "{{\"os\":\"linux\",  \"architecture\":\"amd64\",\"docker_version\":\"20.10\",\"config\":{{\"Labels\":null}},\
         \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":{diff_ids}}}}}"
    )
    .into_bytes()
}
