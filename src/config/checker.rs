use std::collections::BTreeMap;
use std::path::{Component, Path};

use regex::{Regex, RegexBuilder};
use toml::Spanned;

use super::limits::RawLimits;
use super::strict::Document;
use super::{Builders, ConfigError, StageLimits};
use crate::model::TargetName;

pub(super) const INNER_PATH: &str = "give a path relative to the source tree, without `..`";

/// True for a relative path that stays below where it starts.
pub(super) fn is_inner_path(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\0')
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Checks the values of one document.
pub(super) struct Checker<'a> {
    pub document: &'a Document<'a>,
    pub builders: &'a Builders,
}

impl Checker<'_> {
    pub fn package_name(&self, name: &Spanned<String>) -> Result<String, ConfigError> {
        // The letters that both formats accept: Debian Policy 5.6.1, and the same set is safe for rpm.
        let text = name.get_ref();
        let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        if first && rest && text.len() >= 2 {
            return Ok(text.clone());
        }
        Err(self.document.error(
            name.span(),
            format!("`{text}` is not a package name"),
            "use at least two letters, digits, `+`, `-`, `.` or `_`, beginning with a letter or digit",
        ))
    }

    pub fn inner_path(&self, path: &Spanned<String>) -> Result<String, ConfigError> {
        if is_inner_path(path.get_ref()) {
            return Ok(path.get_ref().trim_end_matches('/').to_owned());
        }
        let message = format!("`{}` is not a path inside the source tree", path.get_ref());
        Err(self.document.error(path.span(), message, INNER_PATH))
    }

    pub fn builder(&self, name: &Spanned<String>) -> Result<String, ConfigError> {
        match self.builders.check_name(name.get_ref()) {
            Ok(()) => Ok(name.get_ref().clone()),
            Err(ConfigError::UnknownBuilder { name: missing, hint }) => {
                Err(self.document.error(name.span(), format!("there is no builder `{missing}`"), hint))
            }
            Err(other) => Err(other),
        }
    }

    /// Names of distro packages: one word each, never an option, a path or an address.
    pub fn dependencies(&self, names: &[Spanned<String>]) -> Result<Vec<String>, ConfigError> {
        let good = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._:()/=~".contains(c))
                && !name.contains(":/")
        };
        let mut all = Vec::new();
        for name in names {
            if !good(name.get_ref()) {
                let message = format!("`{}` is not a name of a distro package", name.get_ref());
                return Err(self.document.error(name.span(), message, "name one package in each string"));
            }
            all.push(name.get_ref().clone());
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    pub fn env(
        &self,
        env: BTreeMap<Spanned<String>, String>,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        for name in env.keys() {
            let text = name.get_ref();
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let well_formed = text.chars().all(word) && text.starts_with(|c: char| !c.is_ascii_digit());
            if !well_formed || text.starts_with("PACKHOLD_") || text == "SOURCE_DATE_EPOCH" {
                return Err(self.document.error(
                    name.span(),
                    format!("`{text}` cannot be set as a variable"),
                    "use letters, digits and `_`; PACKHOLD_… and SOURCE_DATE_EPOCH are Packhold's own",
                ));
            }
        }
        Ok(env.into_iter().map(|(name, value)| (name.into_inner(), value)).collect())
    }

    pub fn limits(
        &self,
        raw: Option<&Spanned<RawLimits>>,
        base: &StageLimits,
    ) -> Result<StageLimits, ConfigError> {
        let Some(raw) = raw else { return Ok(base.clone()) };
        match raw.get_ref().problem() {
            Some(problem) => {
                Err(self.document.error(raw.span(), problem, "raise the limit, or leave it out"))
            }
            None => Ok(raw.get_ref().over(base)),
        }
    }

    pub fn target_name(&self, name: &Spanned<String>) -> Result<TargetName, ConfigError> {
        name.get_ref().parse().map_err(|error: crate::model::TargetParseError| {
            self.document.error(name.span(), error.to_string(), "write it as [target.\"debian-12/deb\"]")
        })
    }

    /// A regular expression in which `^` and `$` are the ends of a line: nearly every command ends what it prints with
    /// a newline.
    pub fn pattern(&self, text: &Spanned<String>) -> Result<Regex, ConfigError> {
        RegexBuilder::new(text.get_ref()).multi_line(true).build().map_err(|error| {
            let hint = "write a regular expression of the regex crate; quote `.` and `+` with a backslash";
            self.document.error(text.span(), format!("bad pattern: {error}"), hint)
        })
    }

    /// Targets that a part of the pipeline is meant for; each must be one of the pipeline's.
    pub fn only(
        &self,
        names: &[Spanned<String>],
        targets: &[TargetName],
    ) -> Result<Vec<TargetName>, ConfigError> {
        let mut only = Vec::new();
        for name in names {
            let target = self.target_name(name)?;
            if !targets.contains(&target) {
                let message = format!("the pipeline has no target `{target}`");
                return Err(self.document.error(name.span(), message, "name a target of this pipeline"));
            }
            only.push(target);
        }
        Ok(only)
    }
}
