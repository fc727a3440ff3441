use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::streams::{blocking, read};
use super::{Recorder, StageResult, Workshop, infrastructure};
use crate::archive::{Archive, ArchiveError, FileRole, RunFile};
use crate::engine::{Found, Query};
use crate::model::{Artifact, ArtifactKind, Digest, ImageRecord, ImageRole, RunRecord, TargetName};
use crate::provenance::{Envelope, RECEIPT, ReceiptKey, SIGNATURES, image_sbom, package_sbom, statement};
use crate::support::fs::PathContext;

/// What a run's files are, beside what its record says.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The source tree's tar.
    pub source: PathBuf,
    /// The pipeline file: name and bytes.
    pub pipeline: (String, Vec<u8>),
    /// The lock file, if the run was held to one.
    pub lock: Option<Vec<u8>>,
    /// The builders' files that were used: path → bytes.
    pub builders: BTreeMap<String, Vec<u8>>,
    /// Target → the folder that holds its artifacts, where they are new.
    pub artifacts: BTreeMap<TargetName, PathBuf>,
    /// Whether images are stored as well.
    pub images: bool,
    /// What signs the receipt.
    pub receipt_key: Option<Arc<ReceiptKey>>,
}

/// Stores everything that the run used and made. It becomes visible at once, or not at all.
pub async fn archive(
    shop: &Workshop,
    recorder: &mut Recorder,
    record: &RunRecord,
    contents: Contents,
) -> StageResult<Digest> {
    let stage = recorder.stage();
    let images: Vec<ImageRecord> = if contents.images { record.images.clone() } else { Vec::new() };
    for image in &images {
        store_image(shop, recorder, image).await?;
    }
    recorder.doing("store source, artifacts, logs and record");
    let (archive, logs, record) = (shop.archive.clone(), shop.logs.clone(), record.clone());
    blocking(move || {
        let mut files = Vec::new();
        let mut file = |name: &str, role, target: Option<&TargetName>, (digest, size)| {
            let media_type = media_type(name, role).to_owned();
            files.push(RunFile {
                name: name.to_owned(),
                role,
                target: target.cloned(),
                media_type,
                digest,
                size,
            });
        };
        // The source, the logs and what compresses of the artifacts lie together.
        let names: Vec<&str> =
            record.stages().filter_map(|stage| Some(stage.log.as_ref()?.name.as_str())).collect();
        let new =
            record.targets.iter().filter_map(|t| Some((contents.artifacts.get(&t.target)?, &t.artifacts)));
        let artifacts = new.flat_map(|(folder, artifacts)| {
            artifacts.iter().filter(|a| !is_packed(&a.name)).map(|a| folder.join(&a.name))
        });
        let paths = [contents.source.clone()].into_iter().chain(names.iter().map(|name| logs.join(name)));
        let paths = paths.chain(artifacts);
        let open = paths.map(|path| Ok(File::open(&path).at("read", &path)?));
        let stored = archive.put_compressed(open.collect::<Result<Vec<File>, ArchiveError>>()?)?;
        file("source.tar", FileRole::Source, None, stored[0]);
        for (name, stored) in names.iter().zip(&stored[1..]) {
            file(name, FileRole::Log, None, *stored);
        }
        let (name, text) = &contents.pipeline;
        file(name, FileRole::Pipeline, None, archive.put_bytes(text)?);
        if let Some(lock) = &contents.lock {
            file("pipeline.lock", FileRole::Lock, None, archive.put_bytes(lock)?);
        }
        for (path, bytes) in &contents.builders {
            file(path, FileRole::Builder, None, archive.put_bytes(bytes)?);
        }
        for target in &record.targets {
            for Artifact { name, digest, size, .. } in &target.artifacts {
                if let Some(folder) = contents.artifacts.get(&target.target).filter(|_| is_packed(name)) {
                    archive.put_file(folder.join(name))?;
                }
                file(name, FileRole::Artifact, Some(&target.target), (*digest, *size));
            }
        }
        add_proofs(&archive, &record, contents.receipt_key.as_deref(), &mut files)?;
        archive.add_run(&record, &images, &files)
    })
    .await
    .map_err(|e| infrastructure(stage, &e))
}

/// Stores images by themselves; the next prune removes what no run has used until then.
pub async fn keep_images(
    shop: &Workshop,
    recorder: &mut Recorder,
    images: &[ImageRecord],
) -> StageResult<()> {
    let stage = recorder.stage();
    for image in images.iter().filter(|image| image.role != ImageRole::Verify) {
        store_image(shop, recorder, image).await?;
        let (archive, image) = (shop.archive.clone(), image.clone());
        blocking(move || archive.add_image(&image)).await.map_err(|e| infrastructure(stage, &e))?;
    }
    Ok(())
}

/// True for artifacts that would not become smaller. An rpm's header is not compressed (RPM's file format), and of a small
/// package it is a third.
fn is_packed(name: &str) -> bool {
    matches!(name.rsplit_once('.'), Some((_, "deb" | "ddeb" | "udeb")))
}

/// Stores the receipt and the bills of materials, if there is anything of which they could speak.
fn add_proofs(
    archive: &Archive,
    record: &RunRecord,
    key: Option<&ReceiptKey>,
    files: &mut Vec<RunFile>,
) -> Result<(), ArchiveError> {
    if record.targets.iter().all(|target| target.artifacts.is_empty()) {
        return Ok(());
    }
    let receipt = Envelope::seal(&statement(record, files), key);
    let mut documents =
        vec![(RECEIPT.to_owned(), FileRole::Receipt, None, receipt.bytes().unwrap_or_default())];
    documents
        .extend(receipt.signatures().map(|bytes| (SIGNATURES.to_owned(), FileRole::Receipt, None, bytes)));
    for image in &record.images {
        let name = format!("sbom/{}-{}-{}.cdx.json", image.role, image.builder, image.id.short());
        documents.push((name, FileRole::Sbom, None, image_sbom(record, image).to_string().into_bytes()));
    }
    for target in &record.targets {
        for artifact in target.artifacts.iter().filter(|artifact| artifact.kind == ArtifactKind::Package) {
            let name = format!("{}.cdx.json", artifact.name);
            let bytes = package_sbom(record, target, artifact).to_string().into_bytes();
            documents.push((name, FileRole::Sbom, Some(target.target.clone()), bytes));
        }
    }
    let stored = archive.put_compressed(documents.iter().map(|(.., bytes)| bytes.as_slice()))?;
    for ((name, role, target, _), (digest, size)) in documents.into_iter().zip(stored) {
        let media_type = media_type(&name, role).to_owned();
        files.push(RunFile { name, role, target, media_type, digest, size });
    }
    Ok(())
}

/// Stores an image of the engine, unless all of it is in the archive already.
async fn store_image(shop: &Workshop, recorder: &mut Recorder, image: &ImageRecord) -> StageResult<()> {
    let stage = recorder.stage();
    let (archive, id) = (shop.archive.clone(), image.id);
    let kept = blocking(move || archive.keep_image(&id)).await;
    if kept.map_err(|e| infrastructure(stage, &e))? {
        return Ok(());
    }
    recorder.doing(&format!("store the {} image of {}", image.role, image.builder));
    // What the engine keeps in chunks is not made into a tar and cut again.
    let found = shop.engine.find(&Query::ChunksOf(image.id)).await.map_err(|e| infrastructure(stage, &e))?;
    if let Some(Found::Chunks(chunked)) = found.into_iter().next() {
        let archive = shop.archive.clone();
        let adopted = blocking(move || archive.adopt(&chunked)).await;
        if adopted.map_err(|e| infrastructure(stage, &e))?.is_some() {
            return Ok(());
        }
    }
    let stream = shop.engine.save(&image.id).await.map_err(|e| infrastructure(stage, &e))?;
    let archive = shop.archive.clone();
    let stored = tokio::select! {
        stored = read(stream, move |tar| archive.import_docker_archive(tar)) => stored,
        () = shop.cancel.cancelled() => {
            return Err(infrastructure(stage, &crate::sandbox::SandboxError::Interrupted));
        }
    };
    stored.map(|_| ()).map_err(|e| infrastructure(stage, &e))
}

/// The media type of a run's file (IANA's registry where it has one).
fn media_type(name: &str, role: FileRole) -> &'static str {
    match (role, name.rsplit_once('.').map_or("", |(_, extension)| extension)) {
        (FileRole::Source, _) => "application/x-tar",
        (FileRole::Receipt, _) if name == SIGNATURES => "application/json",
        (FileRole::Receipt, _) => "application/vnd.in-toto+json",
        (FileRole::Sbom, _) => "application/vnd.cyclonedx+json",
        (FileRole::Artifact, "deb" | "ddeb" | "udeb") => "application/vnd.debian.binary-package",
        (FileRole::Artifact, "rpm") => "application/x-rpm",
        (FileRole::Artifact, "changes" | "buildinfo" | "dsc") => "text/plain",
        (FileRole::Lock, _) | (FileRole::Pipeline | FileRole::Builder, "toml") => "application/toml",
        (FileRole::Builder, "sh") => "application/x-sh",
        // Logs are bytes: what printed them may have meant any encoding.
        _ => "application/octet-stream",
    }
}
