use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Digest;

/// What an image is in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImageRole {
    /// The distro's bare userland.
    Base,
    /// Base image and packaging tools.
    Builder,
    /// Builder image and one package's build dependencies.
    Deps,
    /// Base image and what verify needs beside the package: its dependencies, an init system, the distro's lint. Also the
    /// builder image with what varies the conditions of a build. None of them is archived.
    Verify,
}

impl std::fmt::Display for ImageRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Base => "base",
            Self::Builder => "builder",
            Self::Deps => "deps",
            Self::Verify => "verify",
        })
    }
}

/// Where an image came from the first time it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "how", rename_all = "lowercase")]
pub enum Origin {
    /// Pulled from a registry.
    Registry {
        /// The reference that was asked for.
        reference: String,
        /// The manifest's digest, as the registry names it.
        digest: Option<String>,
    },
    /// Bootstrapped from a mirror with mmdebstrap.
    Bootstrap {
        /// The distro's suite.
        suite: String,
        /// The mirror, where the user named one; otherwise mmdebstrap's own default was used.
        mirror: Option<String>,
        /// The tool and its version.
        tool: String,
    },
    /// A tar of a root file system that the user named.
    Tar {
        /// The file, as it was named.
        path: String,
        /// The digest of the file.
        digest: Digest,
    },
    /// Made from another image by a builder's script.
    Built {
        /// The image that it was made from.
        from: Digest,
    },
}

/// An image that a run used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageRecord {
    /// The image's identity: the digest of its configuration, which names its uncompressed layers.
    pub id: Digest,
    /// What it is for.
    pub role: ImageRole,
    /// The builder it belongs to.
    pub builder: String,
    /// The platform it is for, as OCI's registries name it: `linux/arm64`. `None` in records of earlier versions, and where the engine does
    /// not tell its architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// What it was made from, as a key: the same key means that the image need not be made again.
    pub key: Digest,
    /// Where it came from the first time.
    pub origin: Origin,
    /// How this run came by it: `engine`, `archive`, `registry`, `bootstrap`, `tar` or `built`.
    pub obtained: String,
    /// Digests of the uncompressed layers, lowest first.
    pub layers: Vec<Digest>,
    /// Every package that is installed in it, sorted by name.
    pub packages: Vec<InstalledPackage>,
}

/// A package that is installed in an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct InstalledPackage {
    /// Name.
    pub name: String,
    /// Full version.
    pub version: String,
    /// Architecture, in the distro's own word.
    pub arch: String,
    /// The sha256 of the package file, as the distro's index names it; `None` where nobody could tell when the image was
    /// looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Of an rpm, the sha256 of its main header, as rpm's database keeps it (`RPMTAG_SHA256HEADER`): the header has the digest
    /// of the payload, so this names all of the file but its signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_sha256: Option<Digest>,
}

impl InstalledPackage {
    /// Whether it is known which package of this name and version it is.
    pub fn is_identified(&self) -> bool {
        self.sha256.is_some() || self.header_sha256.is_some()
    }
}
