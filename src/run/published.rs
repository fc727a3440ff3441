use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{Folders, RunError, clean_up_after, open_shop_for, platform};
use crate::archive::Archive;
use crate::config::Builders;
use crate::engine::Engine;
use crate::model::{Event, Outcome, RunId, Stage, TargetName, TargetRecord};
use crate::publish::Place;
use crate::serve::Source;
use crate::stage::{
    BaseChoice, Published, Recorder, Reporter, StageResult, Workshop, base, infrastructure, published,
};
use crate::support::fs::{FsError, PathContext};

/// Repositories that are tried as their users will.
pub struct CheckPublished {
    /// One for each target.
    pub repositories: Vec<PublishedRepository>,
    /// The builders that can be named.
    pub builders: Builders,
    /// What runs the containers.
    pub engine: Arc<dyn Engine>,
    /// Where images are looked for.
    pub archive: Archive,
    /// What the user says about base images.
    pub base: BaseChoice,
    /// Where caches and logs are.
    pub folders: Folders,
}

/// The repository of one target.
pub struct PublishedRepository {
    /// The target, whose builder's base image is what a user has.
    pub target: TargetName,
    /// Where the repository's files are.
    pub files: RepositoryFiles,
    /// What a user's package manager is told, for the repository at an address ([`Published::description`]).
    pub description: Box<dyn Fn(&str) -> String + Send + Sync>,
    /// The keys that sign it, armored.
    pub keys: String,
    /// Name and full version of each package that was published for the target.
    pub packages: Vec<(String, String)>,
    /// The same of the release before, if the repository still has one.
    pub previous: Vec<(String, String)>,
}

/// Where the files of a repository are.
#[derive(Clone)]
pub enum RepositoryFiles {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// In another place, from which they are fetched when they are asked for.
    Place(Arc<dyn Place>),
}

/// The largest file that is fetched from a place, bytes.
const MAX_FILE: u64 = 8 << 30;

struct FromPlace(Arc<dyn Place>);

#[async_trait]
impl Source for FromPlace {
    async fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let found = self.0.get(path, MAX_FILE).await.map_err(io::Error::other)?;
        Ok(found.map(|found| found.bytes))
    }
}

/// Tries every repository in a fresh base image: install, or upgrade from the release before. What came out is the outcome of each
/// target's record; the logs are in the folder of the id.
pub async fn check_published(
    request: CheckPublished,
    events: UnboundedSender<Event>,
    cancel: CancellationToken,
) -> Result<(RunId, Vec<TargetRecord>), RunError> {
    let engine = request.engine.info().await?;
    platform::check(&engine, request.repositories.iter().map(|repository| &repository.target))?;
    let builders = request.builders.on(&engine.arch);
    let scratch = request.folders.scratch()?;
    let place = (Timestamp::now(), scratch.path());
    let (engine, archive, base) = (request.engine.clone(), request.archive.clone(), request.base.clone());
    let shop = open_shop_for(engine, archive, base, &request.folders, place, Reporter::new(events), cancel)?;
    clean_up_after(&request.folders, &shop).await?;
    let mut records = Vec::new();
    for repository in &request.repositories {
        let target = &repository.target;
        let builder = builders.load_for(&target.builder, target.architecture)?;
        let mut recorder = Recorder::start(&shop, Some(target), Stage::Publish);
        let fetched = scratch.path().join(format!("{}.published", target.file_stem()));
        let result = check(&shop, &mut recorder, repository, &builder, &fetched).await;
        let outcome = result.err().unwrap_or(Outcome::Passed);
        let stages = vec![recorder.finish(outcome.clone())];
        records.push(TargetRecord { outcome, stages, ..TargetRecord::of(target.clone()) });
    }
    Ok((shop.run.clone(), records))
}

async fn check(
    shop: &Workshop,
    recorder: &mut Recorder,
    repository: &PublishedRepository,
    builder: &crate::config::Builder,
    fetched: &Path,
) -> StageResult<()> {
    let infra = |error: FsError| infrastructure(Stage::Publish, &error);
    let (folder, source): (&Path, Option<Arc<dyn Source>>) = match &repository.files {
        RepositoryFiles::Folder(folder) => (folder, None),
        RepositoryFiles::Place(place) => {
            std::fs::create_dir_all(fetched).at("create", fetched).map_err(infra)?;
            (fetched, Some(Arc::new(FromPlace(place.clone()))))
        }
    };
    let base = base(shop, recorder, builder).await?;
    let request = Published {
        name: &repository.target,
        builder,
        base: &base,
        folder,
        source: source.as_ref(),
        description: &*repository.description,
        keys: &repository.keys,
        packages: &repository.packages,
        previous: &repository.previous,
    };
    published(shop, recorder, request).await
}
