use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::generated::{added, generated, text_of};
use super::previous::archived_commits;
use super::{Request, RunError};
use crate::config::{ChangelogSection, PackageSection, TargetSection, VersionSection};
use crate::model::{Changes, SourceRecord};
use crate::plan::{Commit, Packaging};
use crate::source::{self, Repository, SourceError, VersionSource};
use crate::stage::{SourceTree, Workshop};
use crate::support::fs::PathContext;

/// A commit, exported, with everything that plans look at.
pub(super) struct Source {
    pub record: SourceRecord,
    pub tree: SourceTree,
    /// Target by target, in the pipeline's order.
    pub packaging: Vec<Packaging>,
    pub warnings: Vec<String>,
    /// Commits of archived runs of the package that are in the history of this one.
    pub ancestors: BTreeSet<String>,
}

/// The repository that a request is for. It blocks.
pub(super) fn repository(request: &Request) -> Result<Repository, RunError> {
    let (location, from) = location(request);
    open(location.as_deref(), &from, &request.file.folder, &request.folders.repositories())
}

/// What names the repository, and where a relative name starts: what the user names on the command line starts from where the user is.
fn location(request: &Request) -> (Option<String>, PathBuf) {
    let from = if request.source.is_some() { PathBuf::from(".") } else { request.file.folder.clone() };
    (request.source.clone().or_else(|| request.pipeline.source.git.clone()), from)
}

fn open(location: Option<&str>, from: &Path, pipeline: &Path, cache: &Path) -> Result<Repository, RunError> {
    Ok(match location {
        Some(location) => Repository::open(location, absolute(from)?.as_path(), cache)?,
        None => Repository::discover(pipeline, cache)?,
    })
}

/// Finds and exports the commit.
pub(super) async fn source(shop: &Workshop, request: &Request) -> Result<Source, RunError> {
    let (location, from) = location(request);
    let asked = Asked {
        location,
        from,
        pipeline: request.file.folder.clone(),
        revision: request.revision.clone(),
        subdir: request.pipeline.source.subdir.clone().unwrap_or_default(),
        submodules: request.pipeline.source.submodules,
        version: match &request.pipeline.version {
            VersionSection::Tags { prefix } => VersionSource::Tags { prefix: prefix.clone() },
            VersionSection::File(path) => VersionSource::File(path.clone()),
        },
        changelog: request.pipeline.changelog.clone(),
        package: request.pipeline.package.clone(),
        targets: request.pipeline.targets.clone(),
        cache: request.folders.repositories(),
        tar: shop.scratch.join("source.tar"),
        archived: archived_commits(&request.archive, &request.pipeline.name)?,
    };
    let task = tokio::task::spawn_blocking(move || export(&asked));
    tokio::select! {
        joined = task => match joined {
            Ok(exported) => exported,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        },
        () = shop.cancel.cancelled() => Err(RunError::Interrupted),
    }
}

struct Asked {
    location: Option<String>,
    from: PathBuf,
    pipeline: PathBuf,
    revision: String,
    subdir: String,
    submodules: bool,
    version: VersionSource,
    changelog: ChangelogSection,
    package: Option<PackageSection>,
    targets: Vec<TargetSection>,
    cache: PathBuf,
    tar: PathBuf,
    archived: BTreeSet<String>,
}

fn export(asked: &Asked) -> Result<Source, RunError> {
    let Asked { subdir, .. } = asked;
    let repository = open(asked.location.as_deref(), &asked.from, &asked.pipeline, &asked.cache)?;
    let commit = repository.resolve(&asked.revision)?;
    let version = repository.version_of(&commit, subdir, &asked.version)?;
    let file = File::create(&asked.tar).at("create", &asked.tar)?;
    let made = match &asked.package {
        None => Vec::new(),
        Some(package) => {
            if package.made_for.iter().any(|target| package.folder(target) == "debian/")
                && repository.list_dir(&commit, subdir, "debian")?.is_some()
            {
                return Err(SourceError::Occupied { path: "debian".to_owned() }.into());
            }
            generated(package, |path| Ok(repository.read_file(&commit, subdir, path)?))?
        }
    };
    let tree = repository.export(&commit, subdir, asked.submodules, &added(&made), BufWriter::new(file))?;
    let mut packaging = Vec::new();
    for target in &asked.targets {
        let mut found = Packaging::default();
        for path in Packaging::wanted(target) {
            let bytes = match target.generated {
                true => text_of(&made, &path),
                false => repository.read_file(&commit, subdir, &path)?,
            };
            found.files.extend(bytes.map(|bytes| (path, bytes)));
        }
        packaging.push(found);
    }
    let mut ancestors = BTreeSet::new();
    for archived in &asked.archived {
        if repository.is_in_history(archived, &commit)? {
            ancestors.insert(archived.clone());
        }
    }
    let dirty = repository.is_dirty()?;
    let mut warnings = Vec::new();
    let wanted = asked.changelog.wants(version.release);
    let changes = if wanted { changes(asked, &repository, &commit, &mut warnings)? } else { None };
    if dirty {
        warnings.push(format!("{} had uncommitted changes, which were not built", repository.location()));
    }
    Ok(Source {
        record: SourceRecord {
            repository: repository.location(),
            revision: asked.revision.clone(),
            commit: commit.id.clone(),
            epoch: commit.epoch,
            tree: tree.digest,
            size: tree.size,
            version: version.clone(),
            dirty,
            changes: changes.clone(),
        },
        tree: SourceTree {
            commit: Commit { id: commit.id, epoch: commit.epoch, tree: tree.digest, version, changes },
            tar: asked.tar.clone(),
        },
        packaging,
        warnings,
        ancestors,
    })
}

/// What the changelogs of a commit tell. A clone without its history has nothing to tell, which is an error only where the pipeline asks.
fn changes(
    asked: &Asked,
    repository: &Repository,
    commit: &source::Commit,
    warnings: &mut Vec<String>,
) -> Result<Option<Changes>, RunError> {
    let VersionSource::Tags { prefix } = &asked.version else { return Ok(None) };
    match repository.changes(commit, &asked.subdir, prefix) {
        Ok(changes) => Ok(Some(changes)),
        Err(error @ SourceError::Shallow { .. }) if !asked.changelog.is_asked => {
            warnings.push(format!("its changelogs do not tell what is new: {error}"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, RunError> {
    Ok(std::path::absolute(path).at("find", path)?)
}
