use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Digest, Format};

/// A file that the build stage produced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// The file's name, without any folder.
    pub name: String,
    /// What kind of file it is.
    pub kind: ArtifactKind,
    /// Bytes.
    pub size: u64,
    /// The digest of the file.
    pub digest: Digest,
    /// What the package says of itself; known for packages after verify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageIdentity>,
}

/// What a package says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageIdentity {
    /// The package's name.
    pub name: String,
    /// Its full version.
    pub version: String,
    /// Its architecture, in the format's own word.
    pub arch: String,
}

/// The kinds of file that a build may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactKind {
    /// A binary package that users install.
    Package,
    /// A binary package with debugging symbols.
    Debug,
    /// A package for the distro's installer alone, `.udeb`: no package manager installs it (d-i's internals, "udebs").
    Installer,
    /// A source package.
    Source,
    /// A description of the upload or of the build: `.changes`, `.buildinfo`.
    Description,
}

impl ArtifactKind {
    /// The kind of a file by its name, or `None` if such a file is no artifact of `format`.
    pub fn of(name: &str, format: Format) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        match (format, extension) {
            (Format::Deb, "ddeb") => Some(Self::Debug),
            (Format::Deb, "deb" | "udeb") if stem.split('_').next()?.ends_with("-dbgsym") => {
                Some(Self::Debug)
            }
            (Format::Deb, "deb") => Some(Self::Package),
            (Format::Deb, "udeb") => Some(Self::Installer),
            (Format::Deb, "changes" | "buildinfo") => Some(Self::Description),
            (Format::Deb, "dsc") => Some(Self::Source),
            (Format::Rpm, "rpm") if stem.ends_with(".src") || stem.ends_with(".nosrc") => Some(Self::Source),
            (Format::Rpm, "rpm") => {
                // name-version-release.arch: the name is what stands before the last two hyphens.
                let package = stem.rsplitn(3, '-').nth(2).unwrap_or(stem);
                let debug = package.ends_with("-debuginfo") || package.ends_with("-debugsource");
                Some(if debug { Self::Debug } else { Self::Package })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_artifact_is_known_by_its_name() {
        let kind =
            |name| ArtifactKind::of(name, if name.ends_with(".rpm") { Format::Rpm } else { Format::Deb });
        assert_eq!(kind("hostpulse_1.0-1_amd64.deb"), Some(ArtifactKind::Package));
        assert_eq!(kind("hostpulse-dbgsym_1.0-1_amd64.deb"), Some(ArtifactKind::Debug));
        assert_eq!(kind("hostpulse-udeb_1.0-1_amd64.udeb"), Some(ArtifactKind::Installer));
        assert_eq!(kind("hostpulse_1.0-1_amd64.changes"), Some(ArtifactKind::Description));
        assert_eq!(kind("hostpulse-1.0-1.x86_64.rpm"), Some(ArtifactKind::Package));
        assert_eq!(kind("hostpulse-debuginfo-1.0-1.x86_64.rpm"), Some(ArtifactKind::Debug));
        assert_eq!(kind("hostpulse-1.0-1.src.rpm"), Some(ArtifactKind::Source));
        assert_eq!(kind("notes.txt"), None);
        assert_eq!(ArtifactKind::of("a.rpm", Format::Deb), None);
    }
}
