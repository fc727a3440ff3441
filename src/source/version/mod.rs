//! How a version follows from a commit.
//!
//! # From tags
//!
//! A tag `PREFIX` + version marks a release. A commit that carries such a tag *is* the release; every other commit is a
//! snapshot of the highest release in its history, with the number `N` of commits that came since and 12 digits of its
//! id.
//!
//! | commit | deb (deb-version(7)) | rpm (rpm-version(7)) |
//! |---|---|---|
//! | `v1.2.0` | `1.2.0` | `1.2.0` |
//! | 3 commits after it | `1.2.0+3.g0123456789ab` | `1.2.0^3.g0123456789ab` |
//! | `v1.3.0-rc1`, `v1.3.0rc1`, `v1.3.0-RC.1` | `1.3.0~rc1` | `1.3.0~rc1` |
//! | 3 commits after it | `1.3.0~rc1+3.g0123456789ab` | `1.3.0~rc1^3.g0123456789ab` |
//! | `v1.3.0-alpha` | `1.3.0~alpha` | `1.3.0~alpha` |
//! | 3 commits after it | `1.3.0~alpha0+3.g0123456789ab` | `1.3.0~alpha0^3.g0123456789ab` |
//! | `v1.2.0+k3s1` | `1.2.0+k3s1` | `1.2.0+k3s1` |
//! | 3 commits after it | `1.2.0+k3s1+3.g0123456789ab` | `1.2.0+k3s1^3.g0123456789ab` |
//! | `v1.2.0_1` | `1.2.0.1` | `1.2.0.1` |
//! | no release in its history, 7 commits | `0~~7.g0123456789ab` | `0~~7.g0123456789ab` |
//!
//! What holds in dpkg's order and in rpm's alike:
//!
//! - A snapshot is above its release, with every Debian revision that the release may have (`1.2.0-9` <
//!   `1.2.0+3.g…-1`: the upstream part is compared first), and below every later release: `1.2.1`, `1.2.0.1`,
//!   `1.3.0~alpha`.
//! - A pre-release is below its release; a snapshot of it is below the next pre-release.
//! - Without a release, a snapshot is below everything that a tag can say, `0~a1` included. (`0~0` would not do: rpm
//!   puts digits above letters, dpkg below.) rpm from 4.15 on knows `^`.
//! - Along a line of commits versions only go up, because a commit's history holds its parents' and `N` grows with
//!   each commit. git-describe(1) takes the *nearest* tag instead, so that merging an old maintenance branch makes its
//!   answer go down; and of two tags on one commit (`v1.3.0-rc2`, `v1.3.0`) it may take the lower.
//!
//! Rewriting history can lower `N`; so can a branch with fewer commits. A commit that loses its last tag, because the tag is moved or
//! because a squash leaves its commit out, becomes a snapshot of the release before. Two branches' snapshots with equal `N` are not
//! in any order. Whether a version may follow one that users have is for [`crate::versions`] to say.
//!
//! A version tag is `NUMBERS[PRE][+META]`. `NUMBERS` are digits joined by `.` or `_`. `PRE` is one word and numbers
//! (`rc1`, `-alpha.2`, `-beta.2.1`); without a hyphen before it, only the usual words (`a`, `alpha`, `b`, `beta`, `c`,
//! `rc`, `pre`, `preview`, `dev`) count. `META` starts with a letter. What the two package managers, Semantic
//! Versioning and custom would order differently is refused rather than guessed: `v1.2.0-1`, `v1.2.0-p1`, `v1.0.2a`,
//! `v1.0.0+5`. Where such a tag is only in a commit's history, the next lower release counts.
//!
//! A shallow clone has no such history, and gives no version but for a commit that carries a tag.
//!
//! # From a file
//!
//! `debian/changelog` (its first entry) or the literal `Version:` line of a spec file. Such a version is always a
//! release. The other format's spelling is derived so that it sorts alike: deb's `+` is rpm's `^`, and what is not
//! allowed (`-` in rpm, `_` in deb) becomes a `.`.

pub(super) mod describe;
mod file;
mod prefix;
mod scheme;

pub use prefix::usual_prefix;

use crate::model::PackageVersion;

use super::repository::{Commit, Repository};
use super::{Result, SourceError};

/// What names the version of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionSource {
    /// Tags that start with `prefix`, directly followed by a digit.
    Tags {
        /// `v` by default; it may be empty, or `agent/v`.
        prefix: String,
    },
    /// A `debian/changelog`, or else a spec file, as a path in the source folder.
    File(String),
}

impl Default for VersionSource {
    fn default() -> Self {
        Self::Tags { prefix: "v".into() }
    }
}

impl Repository {
    /// The version of a commit. `subdir` is the source folder, where a version file is looked for; tags count for the
    /// whole repository.
    pub fn version_of(
        &self,
        commit: &Commit,
        subdir: &str,
        source: &VersionSource,
    ) -> Result<PackageVersion> {
        match source {
            VersionSource::Tags { prefix } => describe::version(self, commit, prefix),
            VersionSource::File(path) => {
                let content = self.read_file(commit, subdir, path)?.ok_or_else(|| {
                    SourceError::NoVersionFile { path: path.clone(), commit: commit.short().to_owned() }
                })?;
                file::version(path, &content, commit.short())
            }
        }
    }
}

/// The whole version that a deb's `Version` field has: what the packaging names, or the upstream version, with
/// `-revision` unless the package is native.
pub fn deb_full_version(version: &PackageVersion, native: bool, revision: &str) -> Result<String> {
    match &version.deb_full {
        Some(full) => Ok(full.clone()),
        None if native => Ok(version.deb.clone()),
        None => {
            check_revision(revision, "Debian revision (deb-version(7))")?;
            Ok(format!("{}-{revision}", version.deb))
        }
    }
}

/// The version and release of an rpm: `1.2.0^3.g0123456789ab-1.el9`.
pub fn rpm_full_version(version: &PackageVersion, release: &str) -> Result<String> {
    check_revision(release, "release of an rpm (rpm-version(7))")?;
    Ok(format!("{}-{release}", version.rpm))
}

fn check_revision(text: &str, what: &'static str) -> Result<()> {
    let fine = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+~".contains(&b));
    if fine { Ok(()) } else { Err(SourceError::BadRevision { text: text.to_owned(), what }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_added_unless_the_packaging_names_it() {
        let mut version = PackageVersion {
            describe: "v1.2.0-0-g0".into(),
            deb: "1.2.0".into(),
            rpm: "1.2.0".into(),
            release: true,
            deb_full: None,
        };
        assert_eq!(deb_full_version(&version, false, "1~bpo12+1").unwrap(), "1.2.0-1~bpo12+1");
        assert_eq!(deb_full_version(&version, true, "1").unwrap(), "1.2.0");
        assert_eq!(rpm_full_version(&version, "1.el9").unwrap(), "1.2.0-1.el9");
        for revision in ["", "1-2", "1 2", "a:b"] {
            assert!(deb_full_version(&version, false, revision).is_err(), "{revision}");
            assert!(rpm_full_version(&version, revision).is_err(), "{revision}");
        }
        version.deb_full = Some("2:1.2.0-3".into());
        assert_eq!(deb_full_version(&version, false, "1").unwrap(), "2:1.2.0-3");
    }
}
