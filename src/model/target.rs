use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Architecture;
use super::schema::text_schema;

/// A package format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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

/// One builder × one package format of a pipeline, written `BUILDER/FORMAT`: `debian-12/deb`. For another architecture than the
/// engine's own its name follows, in the format's own word: `debian-12/deb/arm64`, `rocky-9/rpm/aarch64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TargetName {
    /// The builder's folder name.
    pub builder: String,
    /// What is built on it.
    pub format: Format,
    /// What it is built for; `None` is the engine's own architecture.
    pub architecture: Option<Architecture>,
}

/// A text that does not name a target.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetParseError {
    /// It has another form.
    #[error(
        "`{0}` is not a target of the form BUILDER/FORMAT or BUILDER/FORMAT/ARCHITECTURE, such as debian-12/deb or rocky-9/rpm/aarch64"
    )]
    Form(String),
    /// Its format has no such architecture, or calls it otherwise.
    #[error("`{architecture}` is not an architecture of {format} packages; {advice}")]
    Architecture {
        /// What was written.
        architecture: String,
        /// The format.
        format: Format,
        /// What to write instead.
        advice: String,
    },
}

impl TargetName {
    /// The target's name as one path component: `debian-12_deb`.
    pub fn file_stem(&self) -> String {
        self.to_string().replace('/', "_")
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let architecture = self.architecture.map(|own| format!("/{}", own.name(self.format)));
        f.pad(&format!("{}/{}{}", self.builder, self.format, architecture.unwrap_or_default()))
    }
}

impl FromStr for TargetName {
    type Err = TargetParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || TargetParseError::Form(text.to_owned());
        let (builder, rest) = text.split_once('/').ok_or_else(error)?;
        let (format, architecture) = match rest.split_once('/') {
            Some((format, architecture)) => (format, Some(architecture)),
            None => (rest, None),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if builder.is_empty() || builder.starts_with('.') || !builder.chars().all(plain) {
            return Err(error());
        }
        let format = match format {
            "deb" => Format::Deb,
            "rpm" => Format::Rpm,
            _ => return Err(error()),
        };
        let architecture = match architecture {
            None => None,
            Some(name) if name.is_empty() || !name.chars().all(plain) => return Err(error()),
            Some(name) => Some(Architecture::named(name, format).ok_or_else(|| unknown(name, format))?),
        };
        Ok(Self { builder: builder.to_owned(), format, architecture })
    }
}

fn unknown(name: &str, format: Format) -> TargetParseError {
    let advice = match Architecture::of_any(name) {
        Some(meant) => format!("they call it {}", meant.name(format)),
        None => {
            let names: Vec<&str> = Architecture::ALL.iter().map(|known| known.name(format)).collect();
            format!("those known are {}", names.join(", "))
        }
    };
    TargetParseError::Architecture { architecture: name.to_owned(), format, advice }
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

text_schema!(
    TargetName,
    pattern(),
    "BUILDER/FORMAT, such as debian-12/deb, or BUILDER/FORMAT/ARCHITECTURE, such as rocky-9/rpm/aarch64."
);

/// What every name of a target matches.
fn pattern() -> String {
    let of = |format: Format| {
        let names: Vec<&str> = Architecture::ALL.iter().map(|known| known.name(format)).collect();
        format!("{format}(/({}))?", names.join("|"))
    };
    format!("^[A-Za-z0-9_-][A-Za-z0-9._-]*/({}|{})$", of(Format::Deb), of(Format::Rpm))
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
    fn an_architecture_is_named_as_the_format_does() {
        let deb: TargetName = "debian-12/deb/arm64".parse().unwrap();
        let rpm: TargetName = "rocky-9/rpm/aarch64".parse().unwrap();
        assert_eq!(
            (deb.architecture, rpm.architecture),
            (Some(Architecture::Arm64), Some(Architecture::Arm64))
        );
        assert_eq!(
            (deb.to_string().as_str(), rpm.to_string().as_str()),
            ("debian-12/deb/arm64", "rocky-9/rpm/aarch64")
        );
        assert_eq!(deb.file_stem(), "debian-12_deb_arm64");
        let said = |text: &str| text.parse::<TargetName>().unwrap_err().to_string();
        assert!(said("debian-12/deb/aarch64").contains("they call it arm64"));
        assert!(said("rocky-9/rpm/pdp11").contains("x86_64, aarch64"));
    }

    #[test]
    fn a_target_never_names_a_path_outside_the_builders() {
        for text in [
            "",
            "deb",
            "/deb",
            "../deb",
            "a/b/deb",
            "debian-12/",
            "debian-12/apk",
            "a b/deb",
            "a/deb/",
            "a/deb/../x",
            "a/deb/arm64/",
        ] {
            assert!(text.parse::<TargetName>().is_err(), "{text}");
        }
    }
}
