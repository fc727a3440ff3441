use serde::Deserialize;

use super::load::Descriptor;
use crate::model::Architecture;

/// What an index says an image is for (OCI image specification, "Image Index").
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
    pub(super) variant: Option<String>,
}

/// The platform that an image is wanted for, always of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// OCI's word (Go's).
    pub(super) architecture: &'static str,
    /// Where images tell variants apart.
    pub(super) variant: Option<&'static str>,
}

/// Images for an architecture.
pub(super) fn of(architecture: Architecture) -> Wanted {
    Wanted { architecture: architecture.oci(), variant: architecture.variant() }
}

/// Images for this machine.
pub(super) fn host() -> Wanted {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", None),
        "x86" => ("386", None),
        "aarch64" => ("arm64", Some("v8")),
        "arm" => ("arm", Some("v7")),
        "powerpc64" => ("ppc64le", None),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    };
    Wanted { architecture, variant }
}

/// The image of an index that is wanted: the only one, or the one for the platform. Else why there is none.
pub(super) fn choose(manifests: &[Descriptor], wanted: Wanted) -> Result<&Descriptor, String> {
    let Wanted { architecture: arch, variant } = wanted;
    // What says how an image was made stands beside it for the platform `unknown`.
    let images = || {
        let is_image = |platform: &Platform| platform.os != "unknown" && platform.architecture != "unknown";
        manifests.iter().filter(move |manifest| manifest.platform.as_ref().is_none_or(is_image))
    };
    if let (Some(only), 1) = (images().next(), images().count()) {
        return Ok(only);
    }
    let fitting = || {
        images().filter(|manifest| {
            manifest.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == arch)
        })
    };
    let exact = fitting().find(|manifest| {
        let its = manifest.platform.as_ref().and_then(|platform| platform.variant.as_deref());
        its.is_none() || its == variant
    });
    exact.or_else(|| fitting().next()).ok_or_else(|| {
        let offered: Vec<String> = images()
            .filter_map(|manifest| manifest.platform.as_ref())
            .map(|platform| format!("{}/{}", platform.os, platform.architecture))
            .collect();
        match offered.is_empty() {
            true => "holds no image, or several and does not say what they are for".to_owned(),
            false => format!("has an image for {} and none for linux/{arch}", offered.join(", ")),
        }
    })
}
