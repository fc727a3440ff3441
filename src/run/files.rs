use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{Folders, RunError, clean_up_after, open_shop_for, platform};
use crate::archive::Archive;
use crate::config::{Builder, Builders, ConfigError, VerifySection};
use crate::engine::Engine;
use crate::model::{
    Artifact, ArtifactKind, Event, Format, Hasher, Outcome, RunId, Stage, TargetName, TargetRecord,
};
use crate::stage::{
    BaseChoice, PackageFile, Previous, Recorder, Reporter, StageResult, Verified, VerifyRequest, Workshop,
    base, environment, verify,
};
use crate::support::fs::PathContext;

/// A verification of package files that were built elsewhere. Everything in it but the files was checked.
pub struct VerifyFiles {
    /// The target that they are for.
    pub target: TargetName,
    /// The pipeline's name for the package; empty without a pipeline.
    pub package: String,
    /// What they are put through.
    pub section: VerifySection,
    /// The builders that can be named.
    pub builders: Builders,
    /// The packages.
    pub files: Vec<PathBuf>,
    /// The packages of the release that they replace.
    pub before: Vec<PathBuf>,
    /// What runs the containers.
    pub engine: Arc<dyn Engine>,
    /// Where images are looked for.
    pub archive: Archive,
    /// What the user says about base images.
    pub base: BaseChoice,
    /// How many containers run at once.
    pub jobs: usize,
    /// Whether a container may get the privileges that an init system needs.
    pub init: bool,
    /// Where caches and logs are.
    pub folders: Folders,
}

/// Puts files through the scenarios and says what was found. Nothing is archived; the logs are in the folder of the
/// run's id.
pub async fn verify_files(
    mut request: VerifyFiles,
    events: UnboundedSender<Event>,
    cancel: CancellationToken,
) -> Result<(RunId, TargetRecord), RunError> {
    let engine = request.engine.info().await?;
    platform::check(&engine, [&request.target])?;
    request.builders = request.builders.on(&engine.arch);
    let architecture = request.target.architecture;
    let builder = Arc::new(request.builders.load_for(&request.target.builder, architecture)?);
    if builder.format != request.target.format {
        let hint = format!("builder `{}` makes {} packages", builder.name, builder.format);
        return Err(ConfigError::UnknownTarget { name: request.target.to_string(), hint }.into());
    }
    let others = request
        .section
        .images
        .iter()
        .map(|name| Ok(Arc::new(request.builders.load_for(name, architecture)?)));
    let others: Vec<Arc<Builder>> = others.collect::<Result<_, RunError>>()?;
    let format = request.target.format;
    let packages = read_all(request.files.clone(), format).await?;
    let before = read_all(request.before.clone(), format).await?;

    let scratch = request.folders.scratch()?;
    let (engine, archive) = (request.engine.clone(), request.archive.clone());
    let place = (Timestamp::now(), scratch.path());
    let base = request.base.clone();
    let shop = open_shop_for(engine, archive, base, &request.folders, place, Reporter::new(events), cancel)?;
    let shop = Workshop { init: request.init, ..shop };
    clean_up_after(&request.folders, &shop).await?;

    let mut record = TargetRecord {
        artifacts: packages.iter().map(artifact).collect(),
        ..TargetRecord::of(request.target.clone())
    };
    let mut recorder = Recorder::start(&shop, Some(&request.target), Stage::Verify);
    let mut verified = Verified::default();
    let work = Work { shop: &shop, request: &request, builder: &builder, others: &others };
    let result = work.verify(&mut recorder, &packages, &before, &mut verified).await;
    record.outcome = result.err().unwrap_or(Outcome::Passed);
    record.stages.push(recorder.finish(record.outcome.clone()));
    record.take(verified.checks, verified.warnings, verified.identities);
    shop.reporter.say(Event::FilesVerified { record: Box::new(record.clone()) });
    Ok((shop.run.clone(), record))
}

struct Work<'a> {
    shop: &'a Workshop,
    request: &'a VerifyFiles,
    builder: &'a Builder,
    others: &'a [Arc<Builder>],
}

impl Work<'_> {
    async fn verify(
        &self,
        recorder: &mut Recorder,
        packages: &[PackageFile],
        before: &[PackageFile],
        verified: &mut Verified,
    ) -> StageResult<()> {
        let previous = (!before.is_empty())
            .then(|| Previous { what: "the given release".to_owned(), packages: before.to_vec() });
        let base = base(self.shop, recorder, self.builder).await?;
        let target = &self.request.target;
        let request = VerifyRequest {
            name: target,
            builder: self.builder,
            base: &base,
            others: self.others,
            packages,
            expected: None,
            previous: previous.as_ref(),
            section: &self.request.section,
            env: &environment(&self.request.package, target, None),
        };
        let permits = tokio::sync::Semaphore::new(self.request.jobs.max(1));
        let _own = permits.acquire().await;
        verify(self.shop, recorder, request, &permits, verified).await
    }
}

/// Reads files to their digests.
async fn read_all(paths: Vec<PathBuf>, format: Format) -> Result<Vec<PackageFile>, RunError> {
    let read = move || paths.into_iter().map(|path| read_one(path, format)).collect();
    let files: Result<Vec<PackageFile>, RunError> =
        tokio::task::spawn_blocking(read).await.map_err(|_| RunError::Interrupted)?;
    let files = files?;
    let mut names = std::collections::BTreeSet::new();
    match files.iter().find(|file| !names.insert(&file.name)) {
        Some(twice) => Err(RunError::SameName { name: twice.name.clone() }),
        None => Ok(files),
    }
}

fn read_one(path: PathBuf, format: Format) -> Result<PackageFile, RunError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if ArtifactKind::of(&name, format) != Some(ArtifactKind::Package) {
        return Err(RunError::NoPackage { path, format });
    }
    let mut file = File::open(&path).at("read", &path)?;
    let mut hasher = Hasher::around(io::sink());
    io::copy(&mut file, &mut hasher).at("read", &path)?;
    let (digest, size, _) = hasher.finish();
    Ok(PackageFile { name, digest, size, path: Some(path) })
}

fn artifact(file: &PackageFile) -> Artifact {
    Artifact {
        name: file.name.clone(),
        kind: ArtifactKind::Package,
        size: file.size,
        digest: file.digest,
        package: None,
    }
}
