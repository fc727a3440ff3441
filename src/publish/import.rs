//! Repositories of other programs that lie in a folder of this machine, as packages to be published in a place of one's own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::place::{Folder, Place};
use super::{Addition, PublishError, Result, apt, name, yum};
use crate::model::{Digest, Format};
use crate::support::fs::PathContext;

/// What is to be imported, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The suite, by the name of its folder in `dists/`, where the repository has more than one.
    pub suite: Option<String>,
    /// The distro release that the packages are for; by default the suite's name. A yum repository does not say it.
    pub distro: Option<String>,
    /// The architectures of the yum trees that `noarch` packages go to, by rpm's names; by default those of the other packages.
    pub architectures: Vec<String>,
}

/// A package as the index of the imported repository knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImportedPackage {
    /// Its name.
    pub package: String,
    /// Its whole version.
    pub version: String,
    /// Its architecture, as its format names it.
    pub architecture: String,
}

/// What a repository has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The format of its packages.
    pub format: Format,
    /// The distro release that they are for.
    pub distro: String,
    /// The packages, each of which was found to be the file that the index names.
    pub packages: Vec<Addition>,
    /// The same as the index tells them.
    pub known: BTreeSet<ImportedPackage>,
    /// `Origin` and `Label` of its Release: apt asks users when they change.
    pub origin: String,
    /// See `origin`.
    pub label: String,
    /// What is not published: index files of source packages and of Debian's installer, with how many packages they name.
    pub left: Vec<(String, usize)>,
}

/// Reads the repository in `folder`: one of apt's (a folder with `dists`, as reprepro and aptly make it), or of yum's (a folder with `repodata`, as createrepo
/// makes it). Nothing in it is changed. An error if a package is not there, or not the one that the index names.
pub async fn read(folder: &Path, options: &ImportOptions) -> Result<Imported> {
    let folder = std::fs::canonicalize(folder).at("read", folder)?;
    if folder.join("repodata/repomd.xml").is_file() {
        return tree(&folder, options).await;
    }
    if folder.join("dists").is_dir() {
        return suite(&folder, options).await;
    }
    Err(PublishError::NothingToImport {
        folder,
        reason: "it has neither dists/ nor repodata/repomd.xml".to_owned(),
    })
}

async fn suite(folder: &Path, options: &ImportOptions) -> Result<Imported> {
    let place = Folder::existing(folder);
    let name = match &options.suite {
        Some(name) => name.clone(),
        None => only_suite(&place, folder).await?,
    };
    let suite = apt::foreign(&place, &name).await?.ok_or_else(|| PublishError::NothingToImport {
        folder: folder.to_owned(),
        reason: format!("it has no suite `{name}`"),
    })?;
    let distro = name::word("distro release", options.distro.as_ref().unwrap_or(&name))?;
    let (mut packages, mut known) = (Vec::new(), BTreeSet::new());
    for (component, stanza) in suite.packages {
        let path = folder.join(&stanza.filename);
        if !path.is_file() {
            return Err(missing(&stanza.filename));
        }
        let read = apt::read(&distro, &component, &path)?;
        is_as_told(&stanza.filename, &read.pooled.1.digest, &stanza.digest)?;
        known.insert(ImportedPackage {
            package: stanza.package,
            version: stanza.version,
            architecture: stanza.architecture,
        });
        packages.push(Addition { path, distro: distro.clone(), component, architectures: Vec::new() });
    }
    let (origin, label, left) = (suite.origin, suite.label, suite.left);
    Ok(Imported { format: Format::Deb, distro, packages, known, origin, label, left })
}

/// The only suite; a link in `dists/` is another name of one.
async fn only_suite(place: &Folder, folder: &Path) -> Result<String> {
    let mut suites = place.folders("dists").await?;
    suites.retain(|name| !folder.join("dists").join(name).is_symlink());
    match suites.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(PublishError::NothingToImport {
            folder: folder.to_owned(),
            reason: "dists/ has no suite".to_owned(),
        }),
        _ => Err(PublishError::NothingToImport {
            folder: folder.to_owned(),
            reason: format!("it has several suites ({}), which are imported one by one", suites.join(", ")),
        }),
    }
}

async fn tree(folder: &Path, options: &ImportOptions) -> Result<Imported> {
    let no_distro = || PublishError::NothingToImport {
        folder: folder.to_owned(),
        reason: "a yum repository does not say for which distro release it is".to_owned(),
    };
    let distro = name::word("distro release", options.distro.as_ref().ok_or_else(no_distro)?)?;
    let no_name =
        || PublishError::Name { what: "folder of a repository", name: folder.display().to_string() };
    let (parent, name) = (folder.parent().ok_or_else(no_name)?, folder.file_name().ok_or_else(no_name)?);
    let entries = yum::foreign(&Folder::existing(parent), name.to_str().ok_or_else(no_name)?).await?;
    let mut architectures: BTreeSet<String> = options.architectures.iter().cloned().collect();
    if architectures.is_empty() {
        architectures.extend(entries.iter().map(|entry| entry.arch.clone()).filter(|arch| arch != "noarch"));
    }
    let architectures: Vec<String> = architectures.into_iter().collect();
    let (mut packages, mut known, mut sources) = (Vec::new(), BTreeSet::new(), 0);
    for entry in entries {
        if ["src", "nosrc"].contains(&entry.arch.as_str()) {
            sources += 1;
            continue;
        }
        let path = folder.join(&entry.href);
        if !path.is_file() {
            return Err(missing(&entry.href));
        }
        is_as_told(&entry.href, &yum::Package::read(&path)?.digest, &entry.digest)?;
        let version = entry.version();
        known.insert(ImportedPackage { package: entry.name, version, architecture: entry.arch });
        packages.push(addition(path, &distro, &architectures));
    }
    let left = if sources > 0 { vec![("primary.xml".to_owned(), sources)] } else { Vec::new() };
    let (origin, label) = (String::new(), String::new());
    Ok(Imported { format: Format::Rpm, distro, packages, known, origin, label, left })
}

fn addition(path: PathBuf, distro: &str, architectures: &[String]) -> Addition {
    let (distro, component) = (distro.to_owned(), "main".to_owned());
    Addition { path, distro, component, architectures: architectures.to_vec() }
}

fn missing(key: &str) -> PublishError {
    PublishError::Foreign {
        key: key.to_owned(),
        reason: "the index names it, and it is not there".to_owned(),
    }
}

fn is_as_told(key: &str, found: &Digest, told: &Digest) -> Result<()> {
    match found == told {
        true => Ok(()),
        false => Err(PublishError::Foreign {
            key: key.to_owned(),
            reason: format!("it has the sha256 {}, and the index says {}", found.hex(), told.hex()),
        }),
    }
}
