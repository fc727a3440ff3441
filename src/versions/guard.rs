use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::{BadVersion, compare};
use crate::model::{Digest, Format};
use crate::support::Hint;

/// Where a version of a package is already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a repository, by its channel.
    Published(String),
    /// In the archive, by the id of its run.
    Archived(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Published(channel) => write!(f, "published in {channel}"),
            Self::Archived(run) => write!(f, "archived by run {run}"),
        }
    }
}

/// A package that may be published.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its format.
    pub format: Format,
    /// Its name.
    pub package: String,
    /// Its architecture, as its format names it: `all` and `noarch` are on every machine.
    pub architecture: String,
    /// Its whole version, with epoch and revision or release.
    pub version: String,
    /// Of the package's bytes without a signature.
    pub digest: Digest,
}

/// A package that is somewhere already.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it is.
    pub package: Candidate,
    /// And where.
    pub place: Place,
}

/// What is to be done with a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Above all versions that there are.
    Upgrade,
    /// These bytes are published with this version.
    NothingToDo,
    /// No upgrade, which is wanted nevertheless.
    Overridden,
}

/// Why a package must not be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// Users who have the other version would not get this one.
    #[error(
        "{package} {version} ({architecture}, {format}) is no upgrade: {} is {place}",
        if *same { "the same version with other bytes".to_owned() } else { format!("the higher version {other}") }
    )]
    NoUpgrade {
        /// The package's name.
        package: String,
        /// Its version.
        version: String,
        /// Its architecture.
        architecture: String,
        /// Its format.
        format: Format,
        /// The version that is in its way.
        other: String,
        /// Where that is.
        place: Box<Place>,
        /// True when the versions are equal and the bytes are not.
        same: bool,
    },
    /// A version cannot be compared.
    #[error("cannot tell whether {package} is an upgrade")]
    BadVersion {
        /// The package's name.
        package: String,
        /// Which, and why.
        source: BadVersion,
    },
}

impl Hint for GuardError {
    fn hint(&self) -> String {
        match self {
            Self::NoUpgrade { package, same, .. } => {
                let way = if *same { "build it from a new commit or tag" } else { "tag a higher version" };
                format!("{way}; or, if it is meant so, `--allow-downgrade {package}`")
            }
            Self::BadVersion { .. } => "see deb-version(7) and rpm-version(7)".to_owned(),
        }
    }
}

/// Whether `new` may be published beside what is `known`. Only packages of its format, name and architecture count; those for all
/// architectures count for each. `allowed` holds the names of packages that may be lowered or replaced.
///
/// The error names the highest version that is in its way, one that is published rather than one that is archived.
pub fn check(new: &Candidate, known: &[Known], allowed: &BTreeSet<String>) -> Result<Verdict, GuardError> {
    let for_all = |architecture: &str| ["all", "noarch"].contains(&architecture);
    let mut above: Option<(&Known, Ordering)> = None;
    let mut there = false;
    for known in known {
        let other = &known.package;
        let beside = for_all(&new.architecture)
            || for_all(&other.architecture)
            || new.architecture == other.architecture;
        if other.format != new.format || other.package != new.package || !beside {
            continue;
        }
        let order = order(&other.version, &new.version, new)?;
        if order.is_eq() && other.digest == new.digest {
            there |= matches!(known.place, Place::Published(_));
            continue;
        }
        if order.is_lt() {
            continue;
        }
        let higher = match above {
            None => true,
            Some((best, _)) => {
                let published = |known: &Known| matches!(known.place, Place::Published(_));
                let order = self::order(&other.version, &best.package.version, new)?;
                order.then(published(known).cmp(&published(best))).is_gt()
            }
        };
        if higher {
            above = Some((known, order));
        }
    }
    match above {
        _ if there => Ok(Verdict::NothingToDo),
        None => Ok(Verdict::Upgrade),
        Some(_) if allowed.contains(&new.package) => Ok(Verdict::Overridden),
        Some((known, order)) => Err(GuardError::NoUpgrade {
            package: new.package.clone(),
            version: new.version.clone(),
            architecture: new.architecture.clone(),
            format: new.format,
            other: known.package.version.clone(),
            place: Box::new(known.place.clone()),
            same: order.is_eq(),
        }),
    }
}

fn order(a: &str, b: &str, new: &Candidate) -> Result<Ordering, GuardError> {
    compare(new.format, a, b)
        .map_err(|source| GuardError::BadVersion { package: new.package.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(version: &str, bytes: &str) -> Candidate {
        Candidate {
            format: Format::Deb,
            package: "agent".into(),
            architecture: "amd64".into(),
            version: version.into(),
            digest: Digest::of(bytes),
        }
    }

    fn published(version: &str, bytes: &str) -> Known {
        Known { package: package(version, bytes), place: Place::Published("stable".into()) }
    }

    fn ask(new: &Candidate, known: &[Known]) -> Result<Verdict, GuardError> {
        check(new, known, &BTreeSet::new())
    }

    #[test]
    fn only_a_higher_version_or_the_same_bytes_pass() {
        let known = [published("1.2.0-1", "a"), published("1.10.0-1", "b"), published("1.9.0-1", "c")];
        assert_eq!(ask(&package("1.11.0-1", "d"), &known).unwrap(), Verdict::Upgrade);
        assert_eq!(ask(&package("1.10.0-1", "b"), &known).unwrap(), Verdict::NothingToDo);
        assert_eq!(ask(&package("1.10.0-1", "b"), &[]).unwrap(), Verdict::Upgrade);
        let error = ask(&package("1.10.0-1", "x"), &known).unwrap_err();
        assert_eq!(
            error.to_string(),
            "agent 1.10.0-1 (amd64, deb) is no upgrade: the same version with other bytes is published in stable"
        );
        let error = ask(&package("1.3.0-1", "x"), &known).unwrap_err();
        assert_eq!(
            error.to_string(),
            "agent 1.3.0-1 (amd64, deb) is no upgrade: the higher version 1.10.0-1 is published in stable"
        );
        assert_eq!(error.hint(), "tag a higher version; or, if it is meant so, `--allow-downgrade agent`");
        // What is there already stays there, whatever came after it.
        assert_eq!(ask(&package("1.2.0-1", "a"), &known).unwrap(), Verdict::NothingToDo);
    }

    #[test]
    fn it_is_overridden_by_name_alone() {
        let known = [published("2.0-1", "a")];
        let allow = |name: &str| check(&package("1.0-1", "b"), &known, &[name.to_owned()].into());
        assert_eq!(allow("agent").unwrap(), Verdict::Overridden);
        assert!(allow("other").is_err());
    }

    #[test]
    fn what_is_archived_counts_too_but_is_not_there_yet() {
        let archived = |version: &str, bytes: &str| Known {
            place: Place::Archived("20260101-0000".into()),
            ..published(version, bytes)
        };
        assert_eq!(ask(&package("1.0-1", "a"), &[archived("1.0-1", "a")]).unwrap(), Verdict::Upgrade);
        let error = ask(&package("1.0-1", "b"), &[archived("1.0-1", "a")]).unwrap_err();
        assert!(error.to_string().ends_with("is archived by run 20260101-0000"), "{error}");
        let both = [archived("2.0-1", "a"), published("2.0-1", "a"), archived("2.0-1", "a")];
        let error = ask(&package("1.0-1", "b"), &both).unwrap_err();
        assert!(error.to_string().ends_with("is published in stable"), "{error}");
    }

    #[test]
    fn other_packages_and_other_architectures_do_not_count() {
        let mut other = published("9.0-1", "a");
        for change in [
            |other: &mut Known| other.package.architecture = "arm64".into(),
            |other: &mut Known| other.package.package = "agent-doc".into(),
            |other: &mut Known| other.package.format = Format::Rpm,
        ] {
            let mut known = published("9.0-1", "a");
            change(&mut known);
            assert_eq!(ask(&package("1.0-1", "b"), &[known]).unwrap(), Verdict::Upgrade);
        }
        other.package.architecture = "all".into();
        assert!(ask(&package("1.0-1", "b"), &[other]).is_err());
        let error = ask(&package("one", "b"), &[published("9.0-1", "a")]).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("`one` is no version"));
    }
}
