use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::RunError;
use super::beside::{self, keep_both};
use super::{ReplayedArtifact, ReplayedTarget};
use crate::archive::{Archive, ArchiveError, FileRole, Run};
use crate::compare::{self, Comparison, Difference};
use crate::config::{Builders, Pipeline, PipelineFile, TargetSection};
use crate::model::{
    Architecture, Artifact, ArtifactKind, Digest, ImageRecord, ImageRole, Outcome, Stage, TargetRecord,
};
use crate::plan::{Commit, Packaging, plan_target};
use crate::provenance::RECEIPT;
use crate::stage::{
    Conditions, Prepared, Recorder, SourceTree, StageResult, TargetImages, Workshop, build, infrastructure,
    prepare,
};
use crate::support::Hint;
use crate::support::fs::PathContext;

fn missing(run: &Run, what: &str) -> ArchiveError {
    ArchiveError::Damaged {
        what: format!("run {}", run.record.id),
        reason: format!("it was archived without its {what}"),
    }
}

fn bytes(archive: &Archive, digest: &Digest) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    archive.copy_blob(digest, &mut bytes)?;
    Ok(bytes)
}

/// The pipeline of an archived run and the builders that it used, as they were then. Relative paths in it start from `folder`.
pub(in super::super) fn archived_pipeline(
    archive: &Archive,
    run: &Run,
    folder: &Path,
) -> Result<(Pipeline, Builders), RunError> {
    let mut files: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for file in run.files.iter().filter(|file| file.role == FileRole::Builder) {
        if let Some((builder, name)) = file.name.split_once('/') {
            files
                .entry(builder.to_owned())
                .or_default()
                .insert(name.to_owned(), bytes(archive, &file.digest)?);
        }
    }
    let format_of = |builder: &str| {
        let target = run.record.targets.iter().find(|target| target.target.builder == builder);
        // A builder of the shared stage alone makes no packages.
        target.map_or(crate::model::Format::Deb, |target| target.target.format)
    };
    let builders = Builders::kept(
        files.into_iter().map(|(name, files)| (name.clone(), (format_of(&name), files))).collect(),
    );
    let text = run.files.iter().find(|file| file.role == FileRole::Pipeline);
    let text = text.ok_or_else(|| missing(run, "pipeline"))?;
    let text = String::from_utf8_lossy(&bytes(archive, &text.digest)?).into_owned();
    let file = PipelineFile { path: PathBuf::from("pipeline.toml"), folder: folder.to_owned(), text };
    let pipeline = Pipeline::parse(&file, &builders)?;
    Ok((pipeline, builders))
}

/// A run, with its inputs as they were.
pub(super) struct Again {
    pub(super) run: Run,
    pipeline: Pipeline,
    builders: Builders,
    tree: SourceTree,
    archive: Archive,
}

impl Again {
    pub(super) fn open(archive: &Archive, run: Run, scratch: &Path) -> Result<Self, RunError> {
        let bytes = |digest: &Digest| bytes(archive, digest);
        let (pipeline, builders) = archived_pipeline(archive, &run, scratch)?;
        let of_role = |role| run.files.iter().find(|file| file.role == role);
        let source = of_role(FileRole::Source).ok_or_else(|| missing(&run, "source"))?;
        let receipt = run.files.iter().find(|file| file.role == FileRole::Receipt && file.name == RECEIPT);
        if let Some(receipt) = receipt {
            check_receipt(&run, &bytes(&receipt.digest)?)?;
        }
        let tar = scratch.join("source.tar");
        let mut out = File::create(&tar).at("create", &tar)?;
        archive.copy_blob(&source.digest, &mut out)?;
        let said = &run.record.source;
        let (id, epoch, version) = (said.commit.clone(), said.epoch, said.version.clone());
        let changes = said.changes.clone();
        let tree = SourceTree { commit: Commit { id, epoch, tree: source.digest, version, changes }, tar };
        Ok(Self { run, pipeline, builders, tree, archive: archive.clone() })
    }

    pub(super) async fn target(
        &self,
        shop: &Workshop,
        target: &TargetRecord,
        prepared: &mut Option<StageResult<Prepared>>,
        keep: Option<&Path>,
    ) -> ReplayedTarget {
        let mut recorder = Recorder::start(shop, Some(&target.target), Stage::Build);
        let built = self.build(shop, &mut recorder, target, prepared).await;
        let outcome = built.as_ref().err().cloned().unwrap_or(Outcome::Passed);
        let (artifacts, folder) = built.unwrap_or_default();
        let mut compared = Ok(Vec::new());
        if outcome.passed() {
            compared = self.compare(target, &artifacts, folder.as_deref(), keep);
        }
        let (artifacts, outcome) = match compared {
            Ok(artifacts) => (artifacts, outcome),
            Err(error) => (Vec::new(), ended(&error)),
        };
        let mut packages = None;
        if !outcome.passed() || !artifacts.iter().all(ReplayedArtifact::is_same) {
            packages = self.packages(shop, &mut recorder, target).await;
        }
        recorder.finish(outcome.clone());
        ReplayedTarget { target: target.target.clone(), outcome, artifacts, packages }
    }

    /// How the packages in the deps image differ; `None` if that cannot be known.
    async fn packages(
        &self,
        shop: &Workshop,
        recorder: &mut Recorder,
        target: &TargetRecord,
    ) -> Option<Vec<Difference>> {
        let builder = self.builders.load(&target.target.builder).ok()?;
        let images = self.images(shop, &builder.name, &target.images).ok()?;
        beside::packages(shop, recorder, &builder, &images.deps).await.ok()
    }

    async fn build(
        &self,
        shop: &Workshop,
        recorder: &mut Recorder,
        target: &TargetRecord,
        prepared: &mut Option<StageResult<Prepared>>,
    ) -> StageResult<(Vec<Artifact>, Option<PathBuf>)> {
        let broken = |error: &dyn Hint, message: String| Outcome::Broken { message, hint: error.hint() };
        let section = self.pipeline.targets.iter().find(|section| section.name == target.target);
        let section = section.ok_or_else(|| Outcome::Broken {
            message: format!("the archived pipeline has no target {}", target.target),
            hint: "`packhold archive verify` tells whether the archive is damaged".to_owned(),
        })?;
        let builder = self
            .builders
            .load_for(&section.name.builder, section.name.architecture)
            .map_err(|e| broken(&e, e.to_string()))?;
        let packaging = self.packaging(section).map_err(|e| ended(&e))?;
        let plan = plan_target(&self.pipeline, section, Arc::new(builder), &self.tree.commit, &packaging)
            .map_err(|error| Outcome::Broken { message: error.message, hint: error.hint })?;
        let images = self.images(shop, &section.name.builder, &target.images)?;
        let prepared = match &self.pipeline.prepare {
            None => None,
            Some(_) => {
                if prepared.is_none() {
                    *prepared = Some(self.prepare(shop).await);
                }
                prepared.clone().transpose()?
            }
        };
        let built =
            build(shop, recorder, &plan, &self.tree, &images, prepared.as_ref(), &Conditions::default())
                .await?;
        Ok((built.artifacts, built.folder))
    }

    async fn prepare(&self, shop: &Workshop) -> StageResult<Prepared> {
        let Some(stage) = &self.pipeline.prepare else { return Ok(Prepared { tar: PathBuf::new() }) };
        let builder = self.builders.load(&stage.builder);
        let builder = builder.map_err(|e| Outcome::Broken { message: e.to_string(), hint: e.hint() })?;
        // Its image is the deps image of that builder which no target has, unless a target has the same.
        let of_targets =
            |id: &Digest| self.run.record.targets.iter().any(|target| target.images.contains(id));
        // The shared stage ran on the engine's own architecture, whatever the targets are for.
        let own = Architecture::of_oci(&self.run.record.engine.arch).map(Architecture::platform);
        let native = |image: &&ImageRecord| image.platform.is_none() || image.platform == own;
        let deps = self.run.record.images.iter().filter(native);
        let mut deps: Vec<&ImageRecord> =
            deps.filter(|image| image.role == ImageRole::Deps && image.builder == stage.builder).collect();
        deps.sort_by_key(|image| of_targets(&image.id));
        let ids: Vec<Digest> = self.run.record.images.iter().filter(native).map(|image| image.id).collect();
        let mut images = self.images(shop, &stage.builder, &ids)?;
        if let Some(deps) = deps.first() {
            images.deps = (*deps).clone();
        }
        let mut recorder = Recorder::start(shop, None, Stage::Prepare);
        let result = prepare(shop, &mut recorder, stage, &builder, &self.tree, &images).await;
        recorder.finish(result.as_ref().err().cloned().unwrap_or(Outcome::Passed));
        result
    }

    /// The images of a target, all of which the archive must have.
    fn images(&self, shop: &Workshop, builder: &str, ids: &[Digest]) -> StageResult<TargetImages> {
        let image = |role| {
            let mut images = self.run.record.images.iter();
            let found = images.find(|i| i.role == role && i.builder == builder && ids.contains(&i.id));
            found.cloned().ok_or_else(|| Outcome::Broken {
                message: format!(
                    "the record of run {} names no {role} image of {builder}",
                    self.run.record.id
                ),
                hint: "the run ended before it was made; replay another".to_owned(),
            })
        };
        let images = TargetImages {
            base: image(ImageRole::Base)?,
            builder: image(ImageRole::Builder)?,
            deps: image(ImageRole::Deps)?,
        };
        // The engine may have it by chance; what counts is that the archive has.
        shop.archive.image(&images.deps.id).map_err(|error| match error {
            ArchiveError::MissingBlob { .. } => Outcome::Broken {
                message: format!("the archive has no deps image of {builder} for run {}", self.run.record.id),
                hint: "the run was archived with `images = false`; it can be restored and not replayed"
                    .to_owned(),
            },
            error => infrastructure(Stage::Build, &error),
        })?;
        Ok(images)
    }

    /// The packaging files of the source tree that a plan wants to see.
    fn packaging(&self, section: &TargetSection) -> Result<Packaging, RunError> {
        let wanted = Packaging::wanted(section);
        let mut found = Packaging::default();
        let tar = &self.tree.tar;
        let file = File::open(tar).at("read", tar)?;
        for entry in tar::Archive::new(file).entries().at("read", tar)? {
            let mut entry = entry.at("read", tar)?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            if wanted.contains(&path) && entry.header().entry_type().is_file() {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).at("read", tar)?;
                found.files.insert(path, bytes);
            }
        }
        Ok(found)
    }

    fn compare(
        &self,
        target: &TargetRecord,
        built: &[Artifact],
        folder: Option<&Path>,
        keep: Option<&Path>,
    ) -> Result<Vec<ReplayedArtifact>, RunError> {
        let mut names: Vec<&str> =
            target.artifacts.iter().chain(built).map(|file| file.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mut compared = Vec::new();
        for name in names {
            let then = target.artifacts.iter().find(|file| file.name == name);
            let now = built.iter().find(|file| file.name == name);
            let comparison = match (then, now) {
                (Some(then), Some(now)) if then.digest == now.digest => Some(Comparison::Identical),
                (Some(then), Some(now)) => {
                    let (old, new) = (self.archived(then)?, read_built(folder, now)?);
                    if let Some(keep) = keep {
                        keep_both(keep, &target.target, name, &old, &new)?;
                    }
                    Some(compare::compare(name, &old, &new))
                }
                _ => None,
            };
            let kind = then.or(now).map_or(ArtifactKind::Package, |file| file.kind);
            compared.push(ReplayedArtifact {
                name: name.to_owned(),
                kind,
                archived: then.map(|file| file.digest),
                built: now.map(|file| file.digest),
                comparison,
            });
        }
        Ok(compared)
    }

    fn archived(&self, artifact: &Artifact) -> Result<Vec<u8>, RunError> {
        let mut bytes = Vec::new();
        if artifact.size <= compare::MAX_PACKAGE {
            self.archive.copy_blob(&artifact.digest, &mut bytes)?;
        }
        Ok(bytes)
    }
}

/// What an error of ours means for the target.
fn ended(error: &RunError) -> Outcome {
    match error {
        RunError::Archive(error) => infrastructure(Stage::Build, error),
        RunError::Fs(error) => infrastructure(Stage::Build, error),
        error => Outcome::Broken { message: error.to_string(), hint: error.hint() },
    }
}

/// Refuses to build from anything else than what the receipt names. Runs of earlier versions have none.
fn check_receipt(run: &Run, receipt: &[u8]) -> Result<(), ArchiveError> {
    let damaged = |reason: String| ArchiveError::Damaged {
        what: format!("the receipt of run {}", run.record.id),
        reason,
    };
    let statement: serde_json::Value =
        serde_json::from_slice(receipt).map_err(|error| damaged(error.to_string()))?;
    let dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array();
    let named: BTreeSet<&str> = dependencies
        .into_iter()
        .flatten()
        .filter_map(|resource| resource["digest"]["sha256"].as_str())
        .collect();
    let inputs = [FileRole::Source, FileRole::Pipeline, FileRole::Builder];
    let files = run.files.iter().filter(|file| inputs.contains(&file.role));
    let files = files.map(|file| (file.path(), file.digest));
    let images = run
        .record
        .images
        .iter()
        .map(|image| (format!("the {} image of {}", image.role, image.builder), image.id));
    match files.chain(images).find(|(_, digest)| !named.contains(digest.hex().as_str())) {
        None => Ok(()),
        Some((name, digest)) => {
            Err(damaged(format!("it does not name {name} ({digest}), which the run has")))
        }
    }
}

fn read_built(folder: Option<&Path>, artifact: &Artifact) -> Result<Vec<u8>, RunError> {
    let path = folder.unwrap_or(Path::new(".")).join(&artifact.name);
    match artifact.size <= compare::MAX_PACKAGE {
        true => Ok(fs::read(&path).at("read", &path)?),
        false => Ok(Vec::new()),
    }
}
