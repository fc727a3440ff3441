use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::strict::{Document, nearest};
use super::{ConfigError, schema};
use crate::model::{LintLevel, TargetName};

/// What is demanded of the findings of a distro's lint.
#[derive(Clone, Debug)]
pub struct LintSection {
    /// Findings at this level or worse fail; `None`: none does.
    pub require: Option<LintLevel>,
    /// Findings at this level or worse that do not fail are warnings; `None`: none is.
    pub warn: Option<LintLevel>,
    /// Findings that are known and accepted.
    pub waive: Vec<Waiver>,
}

impl Default for LintSection {
    fn default() -> Self {
        Self { require: Some(LintLevel::Error), warn: Some(LintLevel::Warning), waive: Vec::new() }
    }
}

/// A finding that is known and accepted.
#[derive(Clone, Debug)]
pub struct Waiver {
    /// The tool's name for what it found.
    pub tag: String,
    /// The package that has it; `None` is any.
    pub package: Option<String>,
    /// What the finding's detail must match.
    pub pattern: Option<Regex>,
    /// The targets that it is meant for; empty means all.
    pub only: Vec<TargetName>,
    /// Why it is accepted.
    pub reason: String,
}

impl Waiver {
    /// Says whether it is meant for `target`.
    pub fn is_for(&self, target: &TargetName) -> bool {
        self.only.is_empty() || self.only.contains(target)
    }

    /// Says whether it is about a finding.
    pub fn covers(&self, tag: &str, package: &str, detail: &str) -> bool {
        self.tag == tag
            && self.package.as_ref().is_none_or(|name| name == package)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(detail))
    }
}

/// What is demanded of the findings of the distro's lint.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawLint {
    /// Findings at this level or worse fail: `error` unless this says otherwise.
    #[schemars(schema_with = "schema::lint_level")]
    require: Option<Spanned<String>>,
    /// Findings at this level or worse that do not fail are warnings: `warning` unless this says otherwise.
    #[schemars(schema_with = "schema::lint_level")]
    warn: Option<Spanned<String>>,
    /// Findings that are known and accepted.
    waive: Vec<RawWaiver>,
}

/// A finding that is known and accepted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawWaiver {
    /// The tool's name for what it found: `no-manual-page`.
    #[schemars(with = "String", regex(pattern = r"^[!-~]+$"))]
    tag: Spanned<String>,
    /// The package that has it; without it, any.
    package: Option<String>,
    /// A regular expression that the finding's detail must match.
    #[schemars(with = "Option<String>")]
    r#match: Option<Spanned<String>>,
    /// The targets that it is meant for; without it, all.
    #[serde(default)]
    #[schemars(with = "Vec<TargetName>")]
    only: Vec<Spanned<String>>,
    /// Why it is accepted.
    #[schemars(with = "String", regex(pattern = r"\S"))]
    reason: Spanned<String>,
}

impl RawLint {
    /// The section, checked. `targets` are those of the pipeline.
    pub fn check(self, document: &Document<'_>, targets: &[TargetName]) -> Result<LintSection, ConfigError> {
        let default = LintSection::default();
        Ok(LintSection {
            require: level(self.require, default.require, document)?,
            warn: level(self.warn, default.warn, document)?,
            waive: self
                .waive
                .into_iter()
                .map(|raw| raw.check(document, targets))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl RawWaiver {
    fn check(self, document: &Document<'_>, targets: &[TargetName]) -> Result<Waiver, ConfigError> {
        let tag = self.tag.get_ref();
        if tag.is_empty() || !tag.chars().all(|c| c.is_ascii_graphic()) {
            return Err(document.error(
                self.tag.span(),
                format!("`{tag}` is not a tag"),
                "write the tag as the lint does, one word: no-manual-page",
            ));
        }
        if self.reason.get_ref().trim().is_empty() {
            return Err(document.error(
                self.reason.span(),
                format!("the waiver of `{tag}` gives no reason"),
                "say why the finding is accepted: it is shown in the report",
            ));
        }
        let pattern = match &self.r#match {
            None => None,
            Some(text) => Some(RegexBuilder::new(text.get_ref()).build().map_err(|error| {
                let hint =
                    "write a regular expression of the regex crate; quote `.` and `+` with a backslash";
                document.error(text.span(), format!("bad pattern: {error}"), hint)
            })?),
        };
        let mut only = Vec::new();
        for name in &self.only {
            let target: TargetName =
                name.get_ref().parse().map_err(|error: crate::model::TargetParseError| {
                    document.error(name.span(), error.to_string(), "name a target of this pipeline")
                })?;
            if !targets.contains(&target) {
                let message = format!("the pipeline has no target `{target}`");
                return Err(document.error(name.span(), message, "name a target of this pipeline"));
            }
            only.push(target);
        }
        Ok(Waiver {
            tag: self.tag.into_inner(),
            package: self.package,
            pattern,
            only,
            reason: self.reason.into_inner(),
        })
    }
}

fn level(
    text: Option<Spanned<String>>,
    default: Option<LintLevel>,
    document: &Document<'_>,
) -> Result<Option<LintLevel>, ConfigError> {
    const LEVELS: [(&str, Option<LintLevel>); 4] = [
        ("error", Some(LintLevel::Error)),
        ("warning", Some(LintLevel::Warning)),
        ("info", Some(LintLevel::Info)),
        ("none", None),
    ];
    let Some(text) = text else { return Ok(default) };
    match LEVELS.iter().find(|(name, _)| name == text.get_ref()) {
        Some((_, level)) => Ok(*level),
        None => {
            let hint = match nearest(text.get_ref(), LEVELS.iter().map(|(name, _)| *name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write error, warning, info or none".to_owned(),
            };
            let message = format!("`{}` is not a level of findings", text.get_ref());
            Err(document.error(text.span(), message, hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::support::Hint;

    /// The section alone, without the `[verify.lint]` above it.
    fn parse(text: &str) -> Result<LintSection, ConfigError> {
        let document = Document { file: Path::new("p.toml"), text };
        let raw: RawLint = document.parse()?;
        raw.check(&document, &["debian-12/deb".parse().unwrap()])
    }

    fn error_of(text: &str) -> (String, String) {
        let error = parse(text).expect_err(text);
        (error.to_string(), error.hint())
    }

    #[test]
    fn errors_fail_and_warnings_warn_unless_the_pipeline_says_otherwise() {
        let lint = parse("").unwrap();
        assert_eq!((lint.require, lint.warn), (Some(LintLevel::Error), Some(LintLevel::Warning)));
        let lint = parse("require = \"none\"\nwarn = \"info\"\n").unwrap();
        assert_eq!((lint.require, lint.warn), (None, Some(LintLevel::Info)));
    }

    #[test]
    fn an_unknown_level_or_key_is_named_with_its_line_and_the_nearest_one() {
        assert_eq!(
            error_of("warn = \"info\"\nrequire = \"warnings\"\n"),
            ("p.toml:2:11: `warnings` is not a level of findings".into(), "did you mean `warning`?".into())
        );
        assert_eq!(error_of("requires = \"error\"\n").1, "did you mean `require`?");
        assert!(error_of("[[waive]]\ntag = \"x\"\nreason = \"y\"\nmatches = \"z\"\n").1.contains("`match`"));
    }

    #[test]
    fn a_waiver_says_what_it_waives_and_why() {
        assert!(error_of("[[waive]]\ntag = \"x\"\n").0.contains("missing field `reason`"));
        assert!(error_of("[[waive]]\nreason = \"x\"\n").0.contains("missing field `tag`"));
        assert_eq!(
            error_of("[[waive]]\ntag = \"x\"\nreason = \" \"\n").0,
            "p.toml:3:10: the waiver of `x` gives no reason"
        );
        for tag in ["", "no-manual-page demo", "E: x", "ä"] {
            let (message, _) = error_of(&format!("[[waive]]\ntag = \"{tag}\"\nreason = \"y\"\n"));
            assert_eq!(message, format!("p.toml:2:7: `{tag}` is not a tag"));
        }
    }

    #[test]
    fn a_waiver_names_only_what_can_be() {
        let waiver = "[[waive]]\ntag = \"x\"\nreason = \"y\"\n";
        let (message, _) = error_of(&format!("{waiver}match = \"(\"\n"));
        assert!(message.starts_with("p.toml:4:9: bad pattern"), "{message}");
        let (message, _) = error_of(&format!("{waiver}only = [\"debian-13/deb\"]\n"));
        assert_eq!(message, "p.toml:4:9: the pipeline has no target `debian-13/deb`");
        assert!(error_of(&format!("{waiver}only = [\"deb\"]\n")).0.contains("is not a target"));
    }

    #[test]
    fn a_waiver_covers_what_matches_all_that_it_says() {
        let lint = parse(
            "[[waive]]\ntag = \"x\"\npackage = \"demo\"\nmatch = '^usr/bin/'\nonly = [\"debian-12/deb\"]\nreason = \"y\"\n\
             [[waive]]\ntag = \"x\"\nreason = \"y\"\n",
        )
        .unwrap();
        let [narrow, wide] = lint.waive.as_slice() else { panic!("two waivers") };
        assert!(narrow.covers("x", "demo", "usr/bin/demo"));
        assert!(!narrow.covers("x", "demo", "sbin usr/bin/demo"));
        assert!(
            !narrow.covers("x", "demo-doc", "usr/bin/demo") && !narrow.covers("y", "demo", "usr/bin/demo")
        );
        assert!(wide.covers("x", "demo-doc", ""));
        let other = "rocky-9/rpm".parse().unwrap();
        assert!(!narrow.is_for(&other) && wide.is_for(&other));
    }
}
