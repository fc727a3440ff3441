//! An archived run with what it was made of: the pipeline, the builders and the source tree, as they were then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RunError;
use crate::archive::{Archive, ArchiveError, FileRole, Run};
use crate::config::{Builder, Builders, Pipeline, PipelineFile, TargetSection};
use crate::model::{Architecture, Digest, ImageRecord, ImageRole, Outcome, Stage, TargetName};
use crate::plan::{Commit, Packaging, TargetPlan, plan_target};
use crate::provenance::RECEIPT;
use crate::stage::{
    Prepared, Recorder, SourceTree, StageResult, TargetImages, Workshop, infrastructure, prepare,
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
pub(super) fn archived_pipeline(
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
pub(super) struct Inputs {
    pub run: Run,
    pub pipeline: Pipeline,
    pub builders: Builders,
    pub tree: SourceTree,
}

impl Inputs {
    /// As [`Inputs::open`]; where the archive does not have them, why.
    pub fn open_or_why(archive: &Archive, run: &Run, scratch: &Path) -> Result<Self, String> {
        Self::open(archive, run.clone(), scratch).map_err(|error| error.to_string())
    }

    /// The inputs of a run. Its source tree is written into `scratch`.
    pub fn open(archive: &Archive, run: Run, scratch: &Path) -> Result<Self, RunError> {
        let bytes = |digest: &Digest| bytes(archive, digest);
        let (pipeline, builders) = archived_pipeline(archive, &run, scratch)?;
        let of_role = |role| run.files.iter().find(|file| file.role == role);
        let source = of_role(FileRole::Source).ok_or_else(|| missing(&run, "source"))?;
        let receipt = run.files.iter().find(|file| file.role == FileRole::Receipt && file.name == RECEIPT);
        if let Some(receipt) = receipt {
            check_receipt(&run, &bytes(&receipt.digest)?)?;
        }
        let tar = scratch.join(format!("source-{}.tar", run.record.id));
        let mut out = File::create(&tar).at("create", &tar)?;
        archive.copy_blob(&source.digest, &mut out)?;
        let said = &run.record.source;
        let (id, epoch, version) = (said.commit.clone(), said.epoch, said.version.clone());
        let changes = said.changes.clone();
        let tree = SourceTree { commit: Commit { id, epoch, tree: source.digest, version, changes }, tar };
        Ok(Self { run, pipeline, builders, tree })
    }

    /// What was going to be built for a target.
    pub fn plan(&self, target: &TargetName) -> StageResult<TargetPlan> {
        let section = self.pipeline.targets.iter().find(|section| section.name == *target);
        let section = section.ok_or_else(|| Outcome::Broken {
            message: format!("the archived pipeline has no target {target}"),
            hint: "`packhold archive verify` tells whether the archive is damaged".to_owned(),
        })?;
        let builder = self.builder(&section.name.builder, section.name.architecture)?;
        let packaging = self.packaging(section).map_err(|e| ended(&e))?;
        plan_target(&self.pipeline, section, Arc::new(builder), &self.tree.commit, &packaging)
            .map_err(|error| Outcome::Broken { message: error.message, hint: error.hint })
    }

    /// A builder as it was.
    pub fn builder(&self, name: &str, architecture: Option<Architecture>) -> StageResult<Builder> {
        let loaded = self.builders.load_for(name, architecture);
        loaded.map_err(|error| Outcome::Broken { message: error.to_string(), hint: error.hint() })
    }

    /// The image of a builder in this role among those with these ids, as the record has it.
    pub fn image(&self, role: ImageRole, builder: &str, ids: &[Digest]) -> StageResult<ImageRecord> {
        let mut images = self.run.record.images.iter();
        let found = images.find(|i| i.role == role && i.builder == builder && ids.contains(&i.id));
        found.cloned().ok_or_else(|| Outcome::Broken {
            message: format!("the record of run {} names no {role} image of {builder}", self.run.record.id),
            hint: "the run ended before it was made; choose another".to_owned(),
        })
    }

    /// The builder image of a target, whether or not it came so far that the target's record names it.
    pub fn builder_image(&self, target: &TargetName) -> StageResult<ImageRecord> {
        let native = Architecture::of_oci(&self.run.record.engine.arch);
        let platform = target.architecture.or(native).map(Architecture::platform);
        let fits = |image: &&ImageRecord| image.platform.is_none() || image.platform == platform;
        let ids: Vec<Digest> = self.run.record.images.iter().filter(fits).map(|image| image.id).collect();
        self.image(ImageRole::Builder, &target.builder, &ids)
    }

    /// The images of a target.
    pub fn images(&self, builder: &str, ids: &[Digest]) -> StageResult<TargetImages> {
        Ok(TargetImages {
            base: self.image(ImageRole::Base, builder, ids)?,
            builder: self.image(ImageRole::Builder, builder, ids)?,
            deps: self.image(ImageRole::Deps, builder, ids)?,
        })
    }

    /// The images that the shared prepare stage ran in; `None` if the pipeline has no such stage.
    pub fn prepare_images(&self) -> StageResult<Option<TargetImages>> {
        let Some(stage) = &self.pipeline.prepare else { return Ok(None) };
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
        let mut images = self.images(&stage.builder, &ids)?;
        if let Some(deps) = deps.first() {
            images.deps = (*deps).clone();
        }
        Ok(Some(images))
    }

    /// Runs the shared prepare stage again; `None` if the pipeline has no such stage.
    pub async fn prepare(
        &self,
        shop: &Workshop,
        check: impl Fn(&TargetImages) -> StageResult<()>,
    ) -> StageResult<Option<Prepared>> {
        let (Some(stage), Some(images)) = (&self.pipeline.prepare, self.prepare_images()?) else {
            return Ok(None);
        };
        check(&images)?;
        let builder = self.builder(&stage.builder, None)?;
        let mut recorder = Recorder::start(shop, None, Stage::Prepare);
        let result = prepare(shop, &mut recorder, stage, &builder, &self.tree, &images).await;
        recorder.finish(result.as_ref().err().cloned().unwrap_or(Outcome::Passed));
        result.map(Some)
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
}

/// What an error of ours means for the target.
pub(super) fn ended(error: &RunError) -> Outcome {
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
