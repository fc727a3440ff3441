use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{Destination, Request, RunError, preview};
use crate::archive::{Archive, Run, RunFilter};
use crate::config::{Pipeline, VersionSection};
use crate::model::{Artifact, Digest, Format, Outcome, PackageIdentity, PackageVersion, RunId, TargetName};
use crate::publish::{Channel, Offer, Options, Repository};
use crate::sign::{Certificate, verify_detached};
use crate::support::fs::PathContext;
use crate::versions::{self, Candidate, Known, Place};

/// The tag that a release is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseTag {
    /// Its name.
    pub name: String,
    /// The full id of its commit.
    pub commit: String,
    /// Whether it was made now.
    pub made: bool,
    /// Who signed it, where that was asked: a fingerprint.
    pub signed_by: Option<String>,
}

/// Finds the tag of a release, or makes it on `commit` (a revision) if there is none. With a file of certificates, a signature of one of them
/// must be on it. `request` then builds the tag.
pub fn tag(
    request: &mut Request,
    name: &str,
    commit: Option<&str>,
    keyring: Option<&Path>,
) -> Result<ReleaseTag, RunError> {
    if let VersionSection::Tags { prefix } = &request.pipeline.version
        && !name
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    {
        return Err(RunError::NoRelease {
            tag: name.to_owned(),
            why: format!(
                "a release of this pipeline is tagged `{prefix}` and a version, such as {prefix}1.2.3"
            ),
        });
    }
    let repository = super::source::repository(request)?;
    let wanted = commit.map(|revision| repository.resolve(revision)).transpose()?;
    let (found, made) = match (repository.tagged(name)?, wanted) {
        (Some(found), Some(wanted)) if found.id != wanted.id => {
            return Err(RunError::NoRelease {
                tag: name.to_owned(),
                why: format!("it stands on {:.12} already, and {:.12} was asked for", found.id, wanted.id),
            });
        }
        (Some(found), _) => (found, false),
        (None, _) if keyring.is_some() => {
            return Err(RunError::NoRelease {
                tag: name.to_owned(),
                why: "there is no such tag, and a signed one is asked for".to_owned(),
            });
        }
        (None, wanted) => {
            let commit = match wanted {
                Some(commit) => commit,
                None => repository.resolve("HEAD")?,
            };
            repository.create_tag(name, &commit)?;
            (commit, true)
        }
    };
    let signed_by = match keyring {
        None => None,
        Some(path) => {
            let bytes = std::fs::read(path).at("read", path)?;
            let certificates = Certificate::parse(&path.display().to_string(), &bytes)?;
            let signed = repository.signed_tag(name, &found)?;
            let signer = verify_detached(&certificates, &signed.payload, &signed.signature)?;
            Some(signer.fingerprint.clone())
        }
    };
    request.revision = format!("refs/tags/{name}");
    Ok(ReleaseTag { name: name.to_owned(), commit: found.id, made, signed_by })
}

/// Takes back a tag that [`tag`] has made, if it has.
pub fn untag(request: &Request, tag: &ReleaseTag) -> Result<(), RunError> {
    if tag.made {
        super::source::repository(request)?.remove_tag(&tag.name)?;
    }
    Ok(())
}

/// The archived run that has built this release already: every target of the pipeline passed.
pub fn released(archive: &Archive, pipeline: &Pipeline, tag: &ReleaseTag) -> Result<Option<RunId>, RunError> {
    let filter = RunFilter {
        package: Some(pipeline.name.clone()),
        commit: Some(tag.commit.clone()),
        ..RunFilter::default()
    };
    for summary in archive.search(&filter, usize::MAX)? {
        let passed = |name: &TargetName| {
            summary.targets.iter().any(|target| target.target == *name && target.outcome == "passed")
        };
        if pipeline.targets.iter().all(|target| passed(&target.name))
            && is_of(&archive.run(summary.id.as_str())?.record.source.version, pipeline, tag)
        {
            return Ok(Some(summary.id));
        }
    }
    Ok(None)
}

/// The tag in what `git describe --long` says: all but the number of commits and the id.
fn tag_of(version: &PackageVersion) -> &str {
    version.describe.rsplitn(3, '-').nth(2).unwrap_or(&version.describe)
}

/// Whether a version is that of the tag. One from a file may have any name.
fn is_of(version: &PackageVersion, pipeline: &Pipeline, tag: &ReleaseTag) -> bool {
    let by_file = matches!(pipeline.version, VersionSection::File(_));
    version.release && (by_file || tag_of(version) == tag.name)
}

/// Refuses a release, before it is built, whose commit has another version, or that would be no upgrade of what is published in a channel or archived as a release. The names of its packages
/// are those of earlier runs, or else the pipeline's.
pub async fn guard(
    request: &Request,
    tag: &ReleaseTag,
    to: &Destination,
    channel: &Channel,
    allowed: &BTreeSet<String>,
    cancel: CancellationToken,
) -> Result<(), RunError> {
    let planned = preview(request.clone(), cancel).await?;
    if !is_of(&planned.source.version, &request.pipeline, tag) {
        return Err(RunError::NoRelease {
            tag: tag.name.clone(),
            why: format!("its commit is released as {}", tag_of(&planned.source.version)),
        });
    }
    let repository = Repository::open(to.open()?.0, Options::default())?;
    let offers = repository.offers(channel).await?;
    let archived = archived_releases(&request.archive, &request.pipeline, &planned.source.commit)?;
    for target in &planned.targets {
        let builder = request.builders.load_for(&target.target.builder, target.target.architecture)?;
        let distro = request.pipeline.publish.distro(&builder);
        let none = Vec::new();
        let earlier = archived.get(&target.target).unwrap_or(&none);
        let mut names: BTreeSet<&str> = earlier.iter().map(|known| known.package.package.as_str()).collect();
        names.insert(&request.pipeline.name);
        for name in names {
            let new = Candidate {
                format: target.target.format,
                package: name.to_owned(),
                architecture: "all".to_owned(),
                version: target.version.clone(),
                // It is not built yet.
                digest: Digest::of(b""),
            };
            let mut known = known_offers(&offers, &distro, channel, &new);
            known.extend(earlier.iter().cloned());
            versions::check(&new, &known, allowed)?;
        }
    }
    Ok(())
}

/// The packages of archived releases of other commits, by target.
fn archived_releases(
    archive: &Archive,
    pipeline: &Pipeline,
    commit: &str,
) -> Result<BTreeMap<TargetName, Vec<Known>>, RunError> {
    let filter = RunFilter { package: Some(pipeline.name.clone()), ..RunFilter::default() };
    let mut known: BTreeMap<TargetName, Vec<Known>> = BTreeMap::new();
    for summary in archive.search(&filter, usize::MAX)? {
        if summary.commit == commit {
            continue;
        }
        let Run { record, .. } = archive.run(summary.id.as_str())?;
        if !record.source.version.release {
            continue;
        }
        for target in record.targets.iter().filter(|target| target.outcome == Outcome::Passed) {
            let identities =
                target.artifacts.iter().filter_map(|artifact| Some((artifact, artifact.package.as_ref()?)));
            known.entry(target.target.clone()).or_default().extend(identities.map(|(artifact, identity)| {
                Known {
                    package: candidate(&target.target, identity, artifact),
                    place: Place::Archived(record.id.to_string()),
                }
            }));
        }
    }
    Ok(known)
}

/// What the guard has to know of a channel. An rpm was signed when it was published, so one of the same version is compared where it is
/// put into the repository.
fn known_offers(offers: &[Offer], distro: &str, channel: &Channel, new: &Candidate) -> Vec<Known> {
    let of_distro = offers.iter().filter(|offer| offer.distro == distro);
    of_distro
        .map(|offer| Known {
            package: Candidate {
                format: offer.format,
                package: offer.package.clone(),
                architecture: offer.architecture.clone(),
                version: offer.version.clone(),
                digest: match offer.format {
                    Format::Rpm if offer.version == new.version => new.digest,
                    _ => offer.digest,
                },
            },
            place: Place::Published(channel.to_string()),
        })
        .collect()
}

/// A package of a target for the guard.
fn candidate(target: &TargetName, identity: &PackageIdentity, artifact: &Artifact) -> Candidate {
    let PackageIdentity { name, version, arch } = identity.clone();
    Candidate { format: target.format, package: name, architecture: arch, version, digest: artifact.digest }
}
