use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::checker::Checker;
use super::limits::duration;
use super::schema;
use super::{Builder, ConfigError};

/// What a pipeline says of the repositories that its packages are published in. Where they are and who signs them it cannot say:
/// that is for whoever publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishSection {
    /// Who publishes; without it, the package's name.
    pub origin: Option<String>,
    /// What the repository is; without it, the package's name.
    pub label: Option<String>,
    /// The component of apt's suites; `main` without it.
    pub component: Option<String>,
    /// How long clients may rely on an index of apt.
    pub valid_for: Option<Duration>,
    /// Builder → the distro release that its packages are for, where it is not [`PublishSection::distro`]'s own choice.
    pub distros: BTreeMap<String, String>,
    /// Channel → how many versions of a package stay in it.
    pub keep: BTreeMap<String, usize>,
}

impl PublishSection {
    /// The distro release that packages of a builder are for, as users know it: the suite that its userland is bootstrapped from
    /// (`bookworm`), or else the builder's own name (`rocky-9`). rpms of a Debian userland have the builder's name.
    pub fn distro(&self, builder: &Builder) -> String {
        let suite = || {
            let bootstrap = builder.base.bootstrap.as_ref()?;
            (builder.format == crate::model::Format::Deb).then(|| bootstrap.suite.clone())
        };
        self.distros.get(&builder.name).cloned().or_else(suite).unwrap_or_else(|| builder.name.clone())
    }
}

/// What is said of the repositories that the packages are published in.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawPublish {
    /// Who publishes; without it, the package's name.
    #[schemars(with = "Option<String>")]
    origin: Option<Spanned<String>>,
    /// What the repository is; without it, the package's name.
    #[schemars(with = "Option<String>")]
    label: Option<Spanned<String>>,
    /// The component of apt's suites: `main` unless this says otherwise.
    #[schemars(with = "Option<String>", regex(pattern = r"^[a-z0-9][a-z0-9._-]*$"))]
    component: Option<Spanned<String>>,
    /// How long clients may rely on an index of apt, at least an hour.
    #[schemars(schema_with = "schema::duration")]
    valid_for: Option<Spanned<RawDuration>>,
    /// Builder → the distro release that its packages are for, where it is not the suite that it bootstraps, or its name.
    #[schemars(with = "BTreeMap<String, String>")]
    distros: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Channel → how many versions of a package stay in it.
    #[schemars(with = "BTreeMap<String, std::num::NonZeroUsize>")]
    keep: BTreeMap<Spanned<String>, Spanned<usize>>,
}

#[derive(Clone, Copy, Deserialize)]
struct RawDuration(#[serde(deserialize_with = "duration")] Duration);

impl RawPublish {
    pub(super) fn check(self, checker: &Checker<'_>) -> Result<PublishSection, ConfigError> {
        let line = |text: Spanned<String>| {
            let said = text.get_ref();
            match said.is_empty() || said.trim() != said || said.chars().any(char::is_control) {
                true => Err(checker.document.error(
                    text.span(),
                    format!("`{}` is not one line of text", said.escape_debug()),
                    "leave out line feeds, and spaces at its ends",
                )),
                false => Ok(text.into_inner()),
            }
        };
        let word = |what: &str, text: &Spanned<String>| {
            let said = text.get_ref();
            let is_fine = said.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
                && said.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c));
            match is_fine {
                true => Ok(said.clone()),
                false => Err(checker.document.error(
                    text.span(),
                    format!("`{said}` is not the name of a {what}"),
                    "use lower-case letters, digits, `-`, `.` and `_`, beginning with a letter or digit",
                )),
            }
        };
        let mut distros = BTreeMap::new();
        for (builder, distro) in &self.distros {
            distros.insert(checker.builder(builder)?, word("distro release", distro)?);
        }
        let mut keep = BTreeMap::new();
        for (channel, count) in &self.keep {
            if *count.get_ref() == 0 {
                let message = format!("the channel `{}` would keep nothing", channel.get_ref());
                return Err(checker.document.error(count.span(), message, "keep at least 1 version"));
            }
            keep.insert(word("channel", channel)?, *count.get_ref());
        }
        let valid_for = self.valid_for.map(|valid| match valid.get_ref().0 {
            time if time < Duration::from_secs(3600) => Err(checker.document.error(
                valid.span(),
                "clients would refuse the index within the hour",
                "let it be valid for days, and publish again before they are over",
            )),
            time => Ok(time),
        });
        Ok(PublishSection {
            origin: self.origin.map(line).transpose()?,
            label: self.label.map(line).transpose()?,
            component: self.component.as_ref().map(|component| word("component", component)).transpose()?,
            valid_for: valid_for.transpose()?,
            distros,
            keep,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Builders, Pipeline, PipelineFile};
    use crate::support::Hint;

    fn parse(section: &str) -> Result<PublishSection, ConfigError> {
        let text = format!("[package]\nname = \"agent\"\n[target.\"debian-12/deb\"]\n{section}");
        let file = PipelineFile { path: "p.toml".into(), folder: PathBuf::new(), text };
        Ok(Pipeline::parse(&file, &Builders::shipped())?.publish)
    }

    #[test]
    fn a_section_says_what_a_repository_is() {
        let section = parse(
            "[publish]\norigin = \"Example GmbH\"\nlabel = \"Agents\"\ncomponent = \"contrib\"\nvalid-for = \"30days\"\n\
             [publish.distros]\ndebian-13 = \"debian13\"\n[publish.keep]\nsnapshot = 5\n",
        )
        .unwrap();
        assert_eq!(section.origin.as_deref(), Some("Example GmbH"));
        assert_eq!(section.component.as_deref(), Some("contrib"));
        assert_eq!(section.valid_for, Some(Duration::from_secs(30 * 24 * 3600)));
        assert_eq!(section.keep["snapshot"], 5);
        let builders = Builders::shipped();
        let distro = |name: &str| section.distro(&builders.load(name).unwrap());
        assert_eq!(distro("debian-12"), "bookworm");
        assert_eq!(distro("debian-13"), "debian13");
        assert_eq!(distro("rocky-9"), "rocky-9");
        assert_eq!(distro("debian-rpm"), "debian-rpm");
        assert_eq!(parse("").unwrap(), PublishSection::default());
    }

    #[test]
    fn what_is_wrong_in_a_section_is_told_with_its_line() {
        for (section, message) in [
            ("[publish]\nto = \"/etc\"\n", "p.toml:5:1: unknown key `to`"),
            ("[publish]\norigin = \"a\\nLabel: b\"\n", "p.toml:5:10: `a\\nLabel: b` is not one line"),
            ("[publish]\ncomponent = \"../main\"\n", "p.toml:5:13: `../main` is not the name of a component"),
            ("[publish]\nvalid-for = \"1s\"\n", "p.toml:5:13: clients would refuse"),
            ("[publish.distros]\nnone = \"x\"\n", "p.toml:5:1: there is no builder `none`"),
            ("[publish.keep]\nstable = 0\n", "p.toml:5:10: the channel `stable` would keep nothing"),
        ] {
            let error = parse(section).unwrap_err();
            assert!(error.to_string().starts_with(message), "{error}");
            assert!(!error.hint().is_empty());
        }
    }
}
