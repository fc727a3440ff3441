use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::purl;
use crate::archive::{FileRole, RunFile};
use crate::model::{Digest, Format, ImageRecord, RunRecord};

/// The build type of SLSA provenance: what `externalParameters` and `resolvedDependencies` mean. `builders/README.md` and
/// `src/archive/FORMAT.md` describe what is done with them.
pub const BUILD_TYPE: &str = "https://packhold.invalid/build-types/run/v1";

/// Who builds.
const BUILDER: &str = "https://packhold.invalid/builders/local/v1";

/// The receipt of a run: an in-toto Statement (in-toto attestation framework v1, "Statement") whose predicate is SLSA
/// provenance (SLSA v1.0, "Provenance"). Subjects are the artifacts; dependencies are the commit, every file and image that
/// was used, and every package in those images. With the archive it is enough to replay the run.
pub fn statement(record: &RunRecord, files: &[RunFile]) -> Value {
    let subjects: Vec<Value> = files
        .iter()
        .filter(|file| file.role == FileRole::Artifact)
        .map(|file| json!({ "name": file.path(), "digest": sha256(&file.digest) }))
        .collect();
    let targets: BTreeMap<String, Value> = record
        .targets
        .iter()
        .map(|target| {
            let images: BTreeMap<String, Digest> = record
                .images
                .iter()
                .filter(|image| target.images.contains(&image.id))
                .map(|image| (image.role.to_string(), image.id))
                .collect();
            let about = json!({
                "packageVersion": target.package_version, "buildKey": target.build_key, "images": images,
            });
            (target.target.to_string(), about)
        })
        .collect();
    let byproducts: Vec<Value> =
        files.iter().filter(|file| file.role == FileRole::Log).map(resource).collect();
    let finished = i64::try_from(record.duration_ms).ok().map(jiff::SignedDuration::from_millis);
    let finished = finished.and_then(|took| record.started.checked_add(took).ok()).unwrap_or(record.started);
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "package": record.package,
                    "pipeline": { "name": record.pipeline, "digest": sha256(&record.pipeline_digest) },
                    "source": { "repository": record.source.repository, "revision": record.source.revision },
                    "version": record.source.version.describe,
                    "targets": targets.keys().collect::<Vec<_>>(),
                },
                "internalParameters": {
                    "lock": record.lock.as_ref().map(|lock| json!({ "name": lock.file, "digest": sha256(&lock.digest) })),
                    "tool": record.tool, "engine": record.engine, "targets": targets,
                    "SOURCE_DATE_EPOCH": record.source.epoch,
                },
                "resolvedDependencies": dependencies(record, files),
            },
            "runDetails": {
                "builder": { "id": BUILDER, "version": { "packhold": record.tool.version } },
                "metadata": {
                    "invocationId": record.id,
                    "startedOn": record.started.to_string(),
                    "finishedOn": finished.to_string(),
                },
                "byproducts": byproducts,
            },
        },
    })
}

fn dependencies(record: &RunRecord, files: &[RunFile]) -> Vec<Value> {
    let mut all = vec![json!({
        "uri": format!("git+{}", record.source.repository),
        "digest": { "gitCommit": record.source.commit },
        "name": "commit",
    })];
    let inputs = [FileRole::Source, FileRole::Pipeline, FileRole::Lock, FileRole::Builder];
    all.extend(files.iter().filter(|file| inputs.contains(&file.role)).map(resource));
    for image in &record.images {
        let layers: Vec<String> = image.layers.iter().map(Digest::to_string).collect();
        let mut annotations = json!({ "role": image.role, "builder": image.builder, "layers": layers });
        if let Some(platform) = &image.platform {
            annotations["platform"] = json!(platform);
        }
        all.push(json!({
            "name": format!("{} image of {}", image.role, image.builder),
            "digest": sha256(&image.id),
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "annotations": annotations,
        }));
    }
    // Each package file once, with the images that have it installed.
    let mut packages: BTreeMap<PackageFile<'_>, BTreeSet<&Digest>> = BTreeMap::new();
    for image in &record.images {
        for package in &image.packages {
            let purl = purl::of_installed(format_of(record, image), &image.builder, package);
            let digests = (package.sha256.as_ref(), package.header_sha256.as_ref());
            packages.entry((purl, digests.0, digests.1)).or_default().insert(&image.id);
        }
    }
    all.extend(packages.into_iter().map(|((purl, digest, header), images)| {
        let images: Vec<String> = images.into_iter().map(Digest::short).collect();
        let mut dependency = json!({ "uri": purl, "annotations": { "images": images } });
        if let Some(digest) = digest {
            dependency["digest"] = sha256(digest);
        }
        if let Some(header) = header {
            dependency["annotations"]["rpm-header-sha256"] = json!(header.hex());
        }
        dependency
    }));
    all
}

/// A package by its purl, its file's digest and, of an rpm, its header's.
type PackageFile<'a> = (String, Option<&'a Digest>, Option<&'a Digest>);

/// The format of the packages in an image.
pub(super) fn format_of(record: &RunRecord, image: &ImageRecord) -> Format {
    let target = record.targets.iter().find(|target| target.target.builder == image.builder);
    target.map_or(Format::Deb, |target| target.target.format)
}

fn resource(file: &RunFile) -> Value {
    json!({
        "name": file.path(), "digest": sha256(&file.digest), "mediaType": file.media_type,
        "annotations": { "role": file.role.to_string() },
    })
}

fn sha256(digest: &Digest) -> Value {
    json!({ "sha256": digest.hex() })
}
