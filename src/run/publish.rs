use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::inputs::archived_pipeline;
use super::{Folders, PublishedRepository, RepositoryFiles, RunError};
use crate::archive::{Archive, Run};
use crate::config::Builders;
use crate::model::{
    Architecture, Artifact, ArtifactKind, Format, Outcome, PackageIdentity, RunId, TargetName, TargetRecord,
};
use crate::publish::{
    Access, Addition, Channel, Location, Options, Place, Publication, Published, Repository, Wanted, client,
    keys_of_tree,
};
use crate::sign::{self, Certificate, KeySource, Keys, Options as SignOptions, Passphrase, Signer};
use crate::stage::KEY_FILE;
use crate::versions;

/// A run to publish. Everything in it was checked.
pub struct PublishRequest {
    /// Where the run is.
    pub archive: Archive,
    /// The run: its id, the beginning of one, or `latest`.
    pub run: String,
    /// Its targets that are published; all of them if there are none.
    pub targets: Vec<TargetName>,
    /// The channel that gets them.
    pub channel: Channel,
    /// The channel that has the packages of the run, and from which they come with the same bytes; without it they come from the
    /// archive.
    pub from: Option<Channel>,
    /// Where the repository is.
    pub to: Destination,
    /// The address at which users find it, where it is known.
    pub url: Option<String>,
    /// What signs.
    pub keys: SigningKeys,
    /// Whether what no known key has signed there is taken over.
    pub adopt: bool,
    /// Whether rpms that are there and that no known key has signed are signed.
    pub sign_adopted: bool,
    /// Names of packages that may get a lower version, or another of the same number.
    pub allowed: BTreeSet<String>,
    /// The builders that can be named: they say for which distro release a target's packages are.
    pub builders: Builders,
    /// Where scratch folders are.
    pub folders: Folders,
}

/// Where a repository is, and what it takes to get there.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The place.
    pub location: Location,
    /// What it takes.
    pub access: Access,
}

impl Destination {
    /// The place, and where containers of this machine find its files.
    pub(super) fn open(&self) -> Result<(Arc<dyn Place>, RepositoryFiles), RunError> {
        let place = self.location.open(&self.access)?;
        let files = match self.location.folder(&self.access) {
            Some(folder) => RepositoryFiles::Folder(folder),
            None => RepositoryFiles::Place(place.clone()),
        };
        Ok((place, files))
    }
}

/// Keys that sign a repository.
pub struct SigningKeys {
    /// Where they are; none signs nothing.
    pub sources: Vec<KeySource>,
    /// Opens those that are locked.
    pub passphrase: Option<Passphrase>,
}

impl SigningKeys {
    /// The keys, ready to sign, and what their owner should know. Signatures of rpms have a time that follows from the run, so that the same
    /// run gives the same files.
    pub(super) fn open(&self, run: Option<&Run>) -> Result<Option<(RunKeys, Vec<String>)>, RunError> {
        if self.sources.is_empty() {
            return Ok(None);
        }
        let open = |time| {
            let options = SignOptions { time, ..SignOptions::default() };
            Keys::open(&self.sources, self.passphrase.as_ref(), options)
        };
        let keys = open(None)?;
        let warnings = keys.warnings();
        let newest = keys.certificates()?.iter().map(|certificate| certificate.created).max();
        let time =
            run.map(|run| newest.map_or(run.record.started, |created| created.max(run.record.started)));
        // A key that signs today may not have been there then.
        let then = time.and_then(|time| open(Some(time)).ok());
        Ok(Some((RunKeys { now: keys, then }, warnings)))
    }
}

/// Keys that sign a repository now, and the headers of a run's rpms at a time that follows from the run.
pub(super) struct RunKeys {
    now: Keys,
    then: Option<Keys>,
}

impl Signer for RunKeys {
    fn certificates(&self) -> sign::Result<Vec<Certificate>> {
        self.now.certificates()
    }

    fn detached(&self, bytes: &[u8]) -> sign::Result<String> {
        self.now.detached(bytes)
    }

    fn clearsigned(&self, text: &str) -> sign::Result<String> {
        self.now.clearsigned(text)
    }

    fn sign_rpm(&self, path: &Path, out: &Path) -> sign::Result<()> {
        self.then.as_ref().unwrap_or(&self.now).sign_rpm(path, out)
    }
}

/// What was published.
pub struct PublishedRun {
    /// The run.
    pub run: RunId,
    /// What the channel has now.
    pub published: Published,
    /// The repository as users of each target meet it, to be tried.
    pub repositories: Vec<PublishedRepository>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// A package of a run.
struct Package {
    target: TargetName,
    distro: String,
    identity: PackageIdentity,
    artifact: Artifact,
}

/// Publishes the packages of an archived run, all of them or none. What is published already changes nothing.
pub async fn publish(request: PublishRequest) -> Result<PublishedRun, RunError> {
    let run = request.archive.run(&request.run)?;
    let scratch = request.folders.scratch()?;
    let (pipeline, builders) = archived_pipeline(&request.archive, &run, scratch.path())?;
    let section = &pipeline.publish;
    let mut distros = BTreeMap::new();
    for target in wanted(&run, &request.targets)? {
        // One that is not there any more is known by its scripts alone.
        let name = &target.target.builder;
        let builder = request.builders.load(name).or_else(|_| builders.load(name))?;
        distros.insert(target.target.clone(), section.distro(&builder));
    }
    let packages = packages(&run, &distros)?;
    let options = Options {
        origin: section.origin.clone().unwrap_or_default(),
        label: section.label.clone().unwrap_or_default(),
        name: pipeline.name.clone(),
        adopt: request.adopt,
        valid_for: section.valid_for.and_then(|time| time.try_into().ok()),
        keep: section.keep.get(request.channel.as_str()).copied(),
        guard: Some(request.allowed.clone()),
        url: request.url.clone(),
        sign_rpms: true,
        sign_adopted: request.sign_adopted,
        ..Options::default()
    };
    let (place, files) = request.to.open()?;
    let repository = Repository::open(place, options)?;
    let (signer, mut warnings) = match request.keys.open(Some(&run))? {
        Some((keys, warnings)) => (Some(keys), warnings),
        None => (None, Vec::new()),
    };
    let signer_of = || signer.as_ref().map(|keys| keys as &dyn Signer);
    let published = match &request.from {
        Some(from) => {
            let wanted = |package: &Package| Wanted {
                format: package.target.format,
                distro: package.distro.clone(),
                package: package.identity.name.clone(),
                version: package.identity.version.clone(),
                digest: Some(package.artifact.digest).filter(|_| package.target.format == Format::Deb),
            };
            let wanted: Vec<Wanted> = packages.iter().map(wanted).collect();
            repository.promote(run.record.id.as_str(), from, &request.channel, &wanted, signer_of()).await?
        }
        None => {
            request.archive.restore_files(&run, &request.targets, scratch.path())?;
            let component = section.component.clone().unwrap_or_else(|| "main".to_owned());
            let own = Architecture::of_oci(&run.record.engine.arch);
            let addition = |package: &Package| Addition {
                path: scratch.path().join(package.target.file_stem()).join(&package.artifact.name),
                distro: package.distro.clone(),
                component: component.clone(),
                architectures: package
                    .target
                    .architecture
                    .or(own)
                    .iter()
                    .map(|a| a.rpm().to_owned())
                    .collect(),
            };
            let publication = Publication {
                id: run.record.id.to_string(),
                channel: request.channel.clone(),
                packages: packages.iter().map(addition).collect(),
            };
            repository.publish(&publication, signer_of()).await?
        }
    };
    warnings.extend(published.lowered.iter().map(|what| format!("{what} is no upgrade for users")));
    warnings.extend(unsigned(&published));
    // Some versions may be gone now.
    let names = packages.iter().map(|package| package.identity.name.clone()).collect();
    let offered = repository.offers_of(&request.channel, &names).await?;
    let certificates = signer_of().map(|signer| signer.certificates()).transpose()?.unwrap_or_default();
    let keys: String = certificates.iter().map(|certificate| certificate.armored.as_str()).collect();
    let fingerprints = keys_of_tree(&certificates, &published.signers);
    let repositories = distros.iter().map(|(target, distro)| {
        let own: Vec<&Package> = packages.iter().filter(|package| package.target == *target).collect();
        let version = |package: &&Package| (package.identity.name.clone(), package.identity.version.clone());
        let previous = own.iter().filter_map(|package| {
            let PackageIdentity { name, version, arch } = &package.identity;
            let earlier = offered.iter().filter(|offer| {
                offer.distro == *distro
                    && offer.format == target.format
                    && offer.package == *name
                    && [arch, "all", "noarch"].contains(&offer.architecture.as_str())
                    && versions::compare(target.format, &offer.version, version).is_ok_and(Ordering::is_lt)
            });
            let newest = earlier.max_by(|a, b| {
                versions::compare(target.format, &a.version, &b.version).unwrap_or(Ordering::Equal)
            })?;
            Some((newest.package.clone(), newest.version.clone()))
        });
        let (format, channel, distro) = (target.format, request.channel.clone(), distro.clone());
        let (component, fingerprints) = (section.component.clone(), fingerprints.clone());
        PublishedRepository {
            target: target.clone(),
            files: files.clone(),
            description: Box::new(move |url| match format {
                Format::Deb => {
                    let components = [component.clone().unwrap_or_else(|| "main".to_owned())];
                    let keyring = (!fingerprints.is_empty()).then_some(KEY_FILE);
                    client::sources(url, &channel, &distro, &components, keyring)
                }
                Format::Rpm => client::repo(
                    "packhold-published",
                    "Packhold",
                    url,
                    &channel,
                    &distro,
                    &fingerprints,
                    true,
                ),
            }),
            keys: keys.clone(),
            packages: own.iter().map(version).collect(),
            previous: previous.collect(),
        }
    });
    let repositories = repositories.collect();
    Ok(PublishedRun { run: run.record.id, published, repositories, warnings })
}

/// What is to be said of rpms that no known key has signed, tree by tree.
pub(super) fn unsigned(published: &Published) -> Vec<String> {
    let mut trees: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tree, package) in &published.unsigned {
        trees.entry(tree).or_default().push(package);
    }
    let told = trees.into_iter().map(|(tree, packages)| {
        let first = packages[..packages.len().min(3)].join(", ");
        let more = if packages.len() > 3 { ", …" } else { "" };
        let count = packages.len();
        format!("{tree}: dnf refuses {count} packages that no known key has signed ({first}{more}); --sign-adopted signs them")
    });
    told.collect()
}

/// Undoes the last publication of a channel. What the channel had before is there again; returns the suites and trees.
pub async fn roll_back(
    to: &Destination,
    url: Option<String>,
    channel: &Channel,
    keys: &SigningKeys,
) -> Result<Vec<String>, RunError> {
    let options = Options { url, sign_rpms: true, ..Options::default() };
    let repository = Repository::open(to.open()?.0, options)?;
    let keys = keys.open(None)?;
    let signer = keys.as_ref().map(|(keys, _)| keys as &dyn Signer);
    Ok(repository.roll_back(channel, signer).await?)
}

/// The records of the targets that are wanted, which must have passed.
fn wanted<'a>(run: &'a Run, targets: &[TargetName]) -> Result<Vec<&'a TargetRecord>, RunError> {
    let refused = |what: String| RunError::NotPublished { run: run.record.id.clone(), what };
    if let Some(missing) = targets.iter().find(|name| !run.record.targets.iter().any(|t| t.target == **name))
    {
        return Err(refused(format!("it has no target {missing}")));
    }
    let chosen: Vec<&TargetRecord> = run
        .record
        .targets
        .iter()
        .filter(|record| targets.is_empty() || targets.contains(&record.target))
        .collect();
    match chosen.iter().find(|record| record.outcome != Outcome::Passed) {
        Some(record) => Err(refused(format!("{} did not pass: {}", record.target, record.outcome.summary()))),
        None => Ok(chosen),
    }
}

fn packages(run: &Run, distros: &BTreeMap<TargetName, String>) -> Result<Vec<Package>, RunError> {
    let refused = |what: String| RunError::NotPublished { run: run.record.id.clone(), what };
    let mut packages = Vec::new();
    for (target, distro) in distros {
        let record = run.record.targets.iter().find(|record| record.target == *target);
        let artifacts = record.into_iter().flat_map(|record| &record.artifacts);
        for artifact in artifacts.filter(|artifact| artifact.kind == ArtifactKind::Package) {
            let Some(identity) = artifact.package.clone() else {
                return Err(refused(format!(
                    "{} was not verified, so its version is not known",
                    artifact.name
                )));
            };
            let (target, distro, artifact) = (target.clone(), distro.clone(), artifact.clone());
            packages.push(Package { target, distro, identity, artifact });
        }
    }
    match packages.is_empty() {
        true => Err(refused("it made no package".to_owned())),
        false => Ok(packages),
    }
}
