use std::fs;
use std::path::{Path, PathBuf};

use super::super::RunError;
use super::super::inputs::{Inputs, ended};
use super::beside::{self, keep_both};
use super::{ReplayedArtifact, ReplayedTarget};
use crate::archive::{Archive, ArchiveError, Run};
use crate::compare::{self, Comparison, Difference};
use crate::model::{Artifact, ArtifactKind, Outcome, Stage, TargetRecord};
use crate::stage::{
    BuildOf, Conditions, Prepared, Recorder, StageResult, TargetImages, Workshop, build, infrastructure,
};
use crate::support::fs::PathContext;

/// A run that is built again.
pub(super) struct Again {
    pub(super) inputs: Inputs,
    archive: Archive,
}

impl Again {
    pub(super) fn open(archive: &Archive, run: Run, scratch: &Path) -> Result<Self, RunError> {
        Ok(Self { inputs: Inputs::open(archive, run, scratch)?, archive: archive.clone() })
    }

    pub(super) async fn target(
        &self,
        shop: &Workshop,
        target: &TargetRecord,
        prepared: &mut Option<StageResult<Option<Prepared>>>,
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
        let builder = self.inputs.builder(&target.target.builder, None).ok()?;
        let images = self.inputs.images(&builder.name, &target.images).ok()?;
        self.has(&images).ok()?;
        beside::packages(shop, recorder, &builder, &images.deps).await.ok()
    }

    async fn build(
        &self,
        shop: &Workshop,
        recorder: &mut Recorder,
        target: &TargetRecord,
        prepared: &mut Option<StageResult<Option<Prepared>>>,
    ) -> StageResult<(Vec<Artifact>, Option<PathBuf>)> {
        let inputs = &self.inputs;
        let plan = inputs.plan(&target.target)?;
        let images = inputs.images(&target.target.builder, &target.images)?;
        self.has(&images)?;
        if prepared.is_none() {
            *prepared = Some(inputs.prepare(shop, |images| self.has(images)).await);
        }
        let prepared = prepared.clone().transpose()?.flatten();
        let of = BuildOf { plan: &plan, tree: &inputs.tree, images: &images, prepared: prepared.as_ref() };
        let built = build(shop, recorder, of, &Conditions::default()).await?;
        Ok((built.artifacts, built.folder))
    }

    /// Refuses images that the archive does not have. The engine may have them by chance; what counts is that the archive has.
    fn has(&self, images: &TargetImages) -> StageResult<()> {
        let missing = |error| match error {
            ArchiveError::MissingBlob { .. } => Outcome::Broken {
                message: format!(
                    "the archive has no deps image of {} for run {}",
                    images.deps.builder, self.inputs.run.record.id
                ),
                hint: "the run was archived with `images = false`; it can be restored and not replayed"
                    .to_owned(),
            },
            error => infrastructure(Stage::Build, &error),
        };
        self.archive.image(&images.deps.id).map(drop).map_err(missing)
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

fn read_built(folder: Option<&Path>, artifact: &Artifact) -> Result<Vec<u8>, RunError> {
    let path = folder.unwrap_or(Path::new(".")).join(&artifact.name);
    match artifact.size <= compare::MAX_PACKAGE {
        true => Ok(fs::read(&path).at("read", &path)?),
        false => Ok(Vec::new()),
    }
}
