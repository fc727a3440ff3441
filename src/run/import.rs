use std::collections::BTreeSet;
use std::path::PathBuf;

use super::publish::unsigned;
use super::{Destination, RunError, SigningKeys};
use crate::publish::{
    Channel, ImportOptions, ImportedPackage, Options, Publication, PublishError, Published, Repository,
    read_foreign,
};
use crate::sign::Signer;

/// A repository of another program that is to be published in a place.
pub struct ImportRequest {
    /// Its folder.
    pub from: PathBuf,
    /// Which part of it, and for whom.
    pub options: ImportOptions,
    /// The channel that gets its packages.
    pub channel: Channel,
    /// Where it is published.
    pub to: Destination,
    /// The address at which users find the place, where it is known.
    pub url: Option<String>,
    /// What signs.
    pub keys: SigningKeys,
    /// Whether what no known key has signed in the place is taken over.
    pub adopt: bool,
}

/// What was imported.
pub struct ImportedRepository {
    /// How many packages the repository has.
    pub packages: usize,
    /// What the channel has now.
    pub published: Published,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Publishes the packages of a repository that another program made, all of them or none, beside what the channel has. Again, it brings what has
/// been added since.
pub async fn import(request: ImportRequest) -> Result<ImportedRepository, RunError> {
    let found = read_foreign(&request.from, &request.options).await?;
    let options = Options {
        origin: found.origin,
        label: found.label,
        name: request.channel.to_string(),
        adopt: request.adopt,
        url: request.url,
        sign_rpms: true,
        ..Options::default()
    };
    let repository = Repository::open(request.to.open()?.0, options)?;
    let keys = request.keys.open(None)?;
    let (signer, mut warnings) = match &keys {
        Some((keys, warnings)) => (Some(keys as &dyn Signer), warnings.clone()),
        None => (None, Vec::new()),
    };
    let from = request.from.display();
    if found.packages.is_empty() {
        return Err(PublishError::NothingToImport {
            folder: request.from,
            reason: "its index names no packages".to_owned(),
        }
        .into());
    }
    let publication = Publication {
        id: format!("import of {from}"),
        channel: request.channel.clone(),
        packages: found.packages,
    };
    let published = repository.publish(&publication, signer).await?;
    let offered: BTreeSet<ImportedPackage> = repository
        .offers(&request.channel)
        .await?
        .into_iter()
        .filter(|offer| offer.format == found.format && offer.distro == found.distro)
        .map(|offer| ImportedPackage {
            package: offer.package,
            version: offer.version,
            architecture: offer.architecture,
        })
        .collect();
    if let Some(lost) = found.known.difference(&offered).next() {
        return Err(PublishError::NotImported {
            package: format!("{} {} ({})", lost.package, lost.version, lost.architecture),
        }
        .into());
    }
    warnings.extend(unsigned(&published));
    warnings.extend(found.left.iter().map(|(index, count)| {
        format!("{index}: {count} packages stay where they are: only those that users install are published")
    }));
    Ok(ImportedRepository { packages: found.known.len(), published, warnings })
}
