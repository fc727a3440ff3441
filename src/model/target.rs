use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A package format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Debian binary packages (deb(5)).
    Deb,
    /// RPM packages.
    Rpm,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        })
    }
}

/// One builder × one package format of a pipeline, written `BUILDER/FORMAT`: `debian-12/deb`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TargetName {
    /// The builder's folder name.
    pub builder: String,
    /// What is built on it.
    pub format: Format,
}

/// A text that does not name a target.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a target of the form BUILDER/FORMAT, such as debian-12/deb or rocky-9/rpm")]
pub struct TargetParseError(String);

impl TargetName {
    /// The target's name as one path component: `debian-12_deb`.
    pub fn file_stem(&self) -> String {
        format!("{}_{}", self.builder, self.format)
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.builder, self.format))
    }
}

impl FromStr for TargetName {
    type Err = TargetParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || TargetParseError(text.to_owned());
        let (builder, format) = text.split_once('/').ok_or_else(error)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if builder.is_empty() || builder.starts_with('.') || !builder.chars().all(plain) {
            return Err(error());
        }
        let format = match format {
            "deb" => Format::Deb,
            "rpm" => Format::Rpm,
            _ => return Err(error()),
        };
        Ok(Self { builder: builder.to_owned(), format })
    }
}

impl From<TargetName> for String {
    fn from(target: TargetName) -> Self {
        target.to_string()
    }
}

impl TryFrom<String> for TargetName {
    type Error = TargetParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_written_as_builder_and_format() {
        let target: TargetName = "opensuse-leap-15.6/rpm".parse().unwrap();
        assert_eq!((target.builder.as_str(), target.format), ("opensuse-leap-15.6", Format::Rpm));
        assert_eq!(target.to_string(), "opensuse-leap-15.6/rpm");
    }

    #[test]
    fn a_target_never_names_a_path_outside_the_builders() {
        for text in ["", "deb", "/deb", "../deb", "a/b/deb", "debian-12/", "debian-12/apk", "a b/deb"] {
            assert!(text.parse::<TargetName>().is_err(), "{text}");
        }
    }
}
