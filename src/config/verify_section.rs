//! The `[verify]` part of a pipeline.

use std::collections::BTreeSet;
use std::time::Duration;

use globset::{Glob, GlobMatcher};
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::checker::Checker;
use super::limits::{EMULATION_FACTOR, RawLimits, duration};
use super::lint::{LintSection, RawLint};
use super::strict::nearest;
use super::{ConfigError, StageLimits, schema};
use crate::model::{FailReason, Scenario, TargetName};

/// What the packages are put through.
#[derive(Clone, Debug)]
pub struct VerifySection {
    /// The packages that verify installs, by name; empty means all that are not for debugging.
    pub packages: Vec<String>,
    /// Further builders on which the same files must install.
    pub images: Vec<String>,
    /// The release that is upgraded.
    pub upgrade_from: UpgradeFrom,
    /// The scenarios that are gone through.
    pub scenarios: BTreeSet<Scenario>,
    /// Commands that an installed package must answer.
    pub smoke: Vec<SmokeCommand>,
    /// What files must be like.
    pub files: Vec<FileAssertion>,
    /// What is expected of units, where it is not what the distro does by itself.
    pub services: Vec<ServiceExpectation>,
    /// How long a service must stay as it is to count as running.
    pub active: Duration,
    /// What is accepted although it is found.
    pub exceptions: Vec<Exception>,
    /// What is demanded of the findings of the distro's lint.
    pub lint: LintSection,
    /// What one step of it may use.
    pub limits: StageLimits,
}

impl VerifySection {
    /// The part of it that is meant for one target.
    pub fn for_target(&self, target: &TargetName) -> Self {
        let mut own = self.clone();
        let is_for = |only: &[TargetName]| only.is_empty() || only.contains(target);
        own.smoke.retain(|item| is_for(&item.only));
        own.files.retain(|item| is_for(&item.only));
        own.services.retain(|item| is_for(&item.only));
        own.exceptions.retain(|item| is_for(&item.only));
        if target.architecture.is_some() {
            own.limits = own.limits.emulated();
            own.smoke.iter_mut().for_each(|smoke| smoke.time = smoke.time.saturating_mul(EMULATION_FACTOR));
        }
        own
    }
}

impl Default for VerifySection {
    /// What holds for every package, of which nothing more is known.
    fn default() -> Self {
        let mut scenarios: BTreeSet<Scenario> = Scenario::ALL.iter().copied().collect();
        scenarios.remove(&Scenario::Rollback);
        Self {
            packages: Vec::new(),
            images: Vec::new(),
            upgrade_from: UpgradeFrom::LastRelease,
            scenarios,
            smoke: Vec::new(),
            files: Vec::new(),
            services: Vec::new(),
            active: Duration::from_secs(5),
            exceptions: Vec::new(),
            lint: LintSection::default(),
            limits: quiet(&StageLimits::default()),
        }
    }
}

/// A build may be silent for long; a maintainer script that is hangs.
fn quiet(limits: &StageLimits) -> StageLimits {
    StageLimits { silence: limits.silence.min(Duration::from_secs(120)), ..limits.clone() }
}

/// The release that is upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeFrom {
    /// The last archived release in the history of the commit.
    LastRelease,
    /// The archived release with this version, as `git describe` or the package says it.
    Version(String),
    /// None.
    Nothing,
}

/// A command that an installed package must answer.
#[derive(Clone, Debug)]
pub struct SmokeCommand {
    /// Shell text.
    pub run: String,
    /// The exit status that it must have.
    pub exit: i64,
    /// What its output, standard output and standard error together, must match; `^` and `$` are the ends of a line.
    pub output: Option<Regex>,
    /// What its standard output alone must match.
    pub stdout: Option<Regex>,
    /// What its standard error alone must match.
    pub stderr: Option<Regex>,
    /// How long it may take.
    pub time: Duration,
    /// The targets that it is meant for; empty means all.
    pub only: Vec<TargetName>,
}

/// What a file must be like when the package is installed.
#[derive(Clone, Debug)]
pub struct FileAssertion {
    /// The file's absolute path.
    pub path: String,
    /// Whether it must be there, or must not.
    pub exists: bool,
    /// Its permission bits, octal without leading zeros: `640`, `4755`.
    pub mode: Option<String>,
    /// `user:group`.
    pub owner: Option<String>,
    /// What its content must match.
    pub contains: Option<Regex>,
    /// The targets that it is meant for; empty means all.
    pub only: Vec<TargetName>,
}

/// What is expected of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceExpectation {
    /// The unit's name, with its suffix.
    pub unit: String,
    /// Whether it is enabled after installation; `None` is what the distro's policy says.
    pub enabled: Option<bool>,
    /// Whether it is started by its installation; `None` is what the distro's policy says.
    pub started: Option<bool>,
    /// Whether it is started by verify where its installation does not.
    pub start: bool,
    /// The targets that it is meant for; empty means all.
    pub only: Vec<TargetName>,
}

/// Something that is accepted although it is found.
#[derive(Clone, Debug)]
pub struct Exception {
    /// The reason word of the checks that it is about; `None` is all of them.
    pub rule: Option<FailReason>,
    /// A pattern (`*`, `**`, `?`, `[…]`, `{a,b}`) for the path, unit, user or other object that it is about.
    pub object: Option<GlobMatcher>,
    /// The scenario that it is about; `None` is all of them.
    pub scenario: Option<Scenario>,
    /// Why it is accepted.
    pub reason: String,
    /// The targets that it is meant for; empty means all.
    pub only: Vec<TargetName>,
}

impl Exception {
    /// What it is about, in words: `user-left-behind hostpulse`.
    pub fn subject(&self) -> String {
        let rule = self.rule.map(|rule| rule.to_string());
        let object = self.object.as_ref().map(|object| object.glob().glob().to_owned());
        let scenario = self.scenario.map(|scenario| scenario.to_string());
        let words: Vec<String> = [scenario, rule, object].into_iter().flatten().collect();
        words.join(" ")
    }
}

/// What the packages are put through.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawVerify {
    /// The packages that are installed, by name; without it, all that are not for debugging.
    #[serde(default)]
    packages: Vec<String>,
    /// Further builders on which the same files must install.
    #[serde(default)]
    #[schemars(schema_with = "schema::builders")]
    images: Vec<Spanned<String>>,
    /// The release that is upgraded: `last-release`, as without it, `nothing`, or a version.
    upgrade_from: Option<String>,
    /// Whether the release before is put back, and upgraded again.
    #[serde(default)]
    rollback: bool,
    /// Scenarios that are not gone through.
    #[serde(default)]
    #[schemars(with = "Vec<Scenario>")]
    skip: Vec<Spanned<String>>,
    /// Commands that an installed package must answer.
    #[serde(default)]
    smoke: Vec<RawSmoke>,
    /// What files must be like.
    #[serde(default)]
    file: Vec<RawFile>,
    /// What is expected of units, where it is not what the distro does by itself.
    #[serde(default)]
    service: Vec<RawService>,
    /// How long a service must stay as it is to count as running: five seconds unless this says otherwise.
    #[serde(default)]
    #[schemars(schema_with = "schema::duration")]
    active: Option<RawDuration>,
    /// What is accepted although it is found.
    #[serde(default)]
    #[schemars(with = "Vec<RawException>")]
    allow: Vec<Spanned<RawException>>,
    #[serde(default)]
    lint: RawLint,
    #[schemars(with = "Option<RawLimits>")]
    limits: Option<Spanned<RawLimits>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct RawDuration(#[serde(deserialize_with = "duration")] Duration);

/// A command that an installed package must answer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSmoke {
    /// Shell text.
    run: String,
    /// The exit status that it must have: 0 unless this says otherwise.
    #[serde(default)]
    exit: i64,
    /// A regular expression that its output, standard output and standard error together, must match; ^ and $ are the ends of a line.
    #[schemars(with = "Option<String>")]
    output: Option<Spanned<String>>,
    /// A regular expression that its standard output alone must match.
    #[schemars(with = "Option<String>")]
    stdout: Option<Spanned<String>>,
    /// A regular expression that its standard error alone must match.
    #[schemars(with = "Option<String>")]
    stderr: Option<Spanned<String>>,
    /// How long it may take: half a minute unless this says otherwise.
    #[serde(default = "half_a_minute", deserialize_with = "duration")]
    #[schemars(schema_with = "schema::duration")]
    time: Duration,
    /// The targets that it is meant for; without it, all.
    #[serde(default)]
    #[schemars(with = "Vec<TargetName>")]
    only: Vec<Spanned<String>>,
}

/// What a file must be like when the package is installed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawFile {
    /// The file's absolute path.
    #[schemars(with = "String", regex(pattern = "^/"))]
    path: Spanned<String>,
    /// Whether it must be there, as without this, or must not.
    #[serde(default = "yes")]
    exists: bool,
    /// Its permission bits, octal: "0640".
    #[schemars(with = "Option<String>", regex(pattern = "^[0-7]+$"))]
    mode: Option<Spanned<String>>,
    /// USER:GROUP.
    #[schemars(with = "Option<String>", regex(pattern = "^[^:]+:.+$"))]
    owner: Option<Spanned<String>>,
    /// A regular expression that its content must match; ^ and $ are the ends of a line.
    #[schemars(with = "Option<String>")]
    contains: Option<Spanned<String>>,
    /// The targets that it is meant for; without it, all.
    #[serde(default)]
    #[schemars(with = "Vec<TargetName>")]
    only: Vec<Spanned<String>>,
}

/// What is expected of a unit.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawService {
    /// The unit's name, with its suffix.
    #[schemars(with = "String")]
    unit: Spanned<String>,
    /// Whether it is enabled after installation; without it, what the distro's policy says.
    enabled: Option<bool>,
    /// Whether it is started by its installation; without it, what the distro's policy says.
    started: Option<bool>,
    /// Whether verify starts it where its installation does not, as without this.
    #[serde(default = "yes")]
    start: bool,
    /// The targets that it is meant for; without it, all.
    #[serde(default)]
    #[schemars(with = "Vec<TargetName>")]
    only: Vec<Spanned<String>>,
}

/// Something that is accepted although it is found.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(transform = schema::object_or_path)]
struct RawException {
    /// The reason word of the checks that it is about; without it, all.
    #[schemars(with = "Option<FailReason>")]
    rule: Option<Spanned<String>>,
    /// A pattern (`*`, `**`, `?`, `[…]`, `{a,b}`) for the path, unit, user or other object that it is about.
    #[serde(alias = "path")]
    #[schemars(with = "Option<String>")]
    object: Option<Spanned<String>>,
    /// The scenario that it is about; without it, all.
    #[schemars(with = "Option<Scenario>")]
    scenario: Option<Spanned<String>>,
    /// Why it is accepted.
    #[schemars(with = "String", regex(pattern = r"\S"))]
    reason: Spanned<String>,
    /// The targets that it is meant for; without it, all.
    #[serde(default)]
    #[schemars(with = "Vec<TargetName>")]
    only: Vec<Spanned<String>>,
}

fn yes() -> bool {
    true
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

impl RawVerify {
    pub fn check(
        self,
        checker: &Checker<'_>,
        targets: &[TargetName],
        limits: &StageLimits,
    ) -> Result<VerifySection, ConfigError> {
        let VerifySection { mut scenarios, active, .. } = VerifySection::default();
        if self.rollback {
            scenarios.insert(Scenario::Rollback);
        }
        for name in &self.skip {
            scenarios.remove(&checker.scenario(name)?);
        }
        let images = self.images.iter().map(|name| checker.builder(name)).collect::<Result<_, _>>()?;
        Ok(VerifySection {
            packages: self.packages,
            images,
            upgrade_from: match self.upgrade_from.as_deref() {
                None | Some("last-release") => UpgradeFrom::LastRelease,
                Some("nothing") => UpgradeFrom::Nothing,
                Some(version) => UpgradeFrom::Version(version.to_owned()),
            },
            scenarios,
            smoke: self.smoke.into_iter().map(|raw| checker.smoke(raw, targets)).collect::<Result<_, _>>()?,
            files: self.file.into_iter().map(|raw| checker.file(raw, targets)).collect::<Result<_, _>>()?,
            services: self
                .service
                .into_iter()
                .map(|raw| checker.service(raw, targets))
                .collect::<Result<_, _>>()?,
            active: self.active.map_or(active, |raw| raw.0),
            exceptions: self
                .allow
                .iter()
                .map(|raw| checker.exception(raw, targets))
                .collect::<Result<_, _>>()?,
            lint: self.lint.check(checker.document, targets)?,
            limits: checker.limits(self.limits.as_ref(), &quiet(limits))?,
        })
    }
}

impl Checker<'_> {
    fn scenario(&self, name: &Spanned<String>) -> Result<Scenario, ConfigError> {
        name.get_ref().parse().map_err(|message: String| {
            let near = nearest(name.get_ref(), Scenario::ALL.iter().map(|scenario| scenario.word()));
            let hint = near.map_or_else(|| "name a scenario".to_owned(), |n| format!("did you mean `{n}`?"));
            self.document.error(name.span(), message, hint)
        })
    }

    fn rule(&self, name: &Spanned<String>) -> Result<FailReason, ConfigError> {
        let words: Vec<String> = FailReason::ALL.iter().map(ToString::to_string).collect();
        match words.iter().position(|word| word == name.get_ref()) {
            Some(at) => Ok(FailReason::ALL[at]),
            None => {
                let hint = match nearest(name.get_ref(), words.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "take the word that the failed check gives as its reason".to_owned(),
                };
                let message = format!("`{}` is no reason that a check gives", name.get_ref());
                Err(self.document.error(name.span(), message, hint))
            }
        }
    }

    fn smoke(&self, raw: RawSmoke, targets: &[TargetName]) -> Result<SmokeCommand, ConfigError> {
        let pattern = |text: &Option<Spanned<String>>| text.as_ref().map(|t| self.pattern(t)).transpose();
        Ok(SmokeCommand {
            output: pattern(&raw.output)?,
            stdout: pattern(&raw.stdout)?,
            stderr: pattern(&raw.stderr)?,
            only: self.only(&raw.only, targets)?,
            run: raw.run,
            exit: raw.exit,
            time: raw.time,
        })
    }

    fn file(&self, raw: RawFile, targets: &[TargetName]) -> Result<FileAssertion, ConfigError> {
        if !raw.path.get_ref().starts_with('/') || raw.path.get_ref().contains('\0') {
            let message = format!("`{}` is not an absolute path", raw.path.get_ref());
            return Err(self.document.error(raw.path.span(), message, "begin it with `/`"));
        }
        let mode = match &raw.mode {
            None => None,
            Some(text) => match u32::from_str_radix(text.get_ref(), 8) {
                Ok(mode) if mode <= 0o7777 => Some(format!("{mode:o}")),
                _ => {
                    let message = format!("`{}` is not a mode", text.get_ref());
                    return Err(self.document.error(
                        text.span(),
                        message,
                        "write it octal, such as \"0640\"",
                    ));
                }
            },
        };
        if let Some(owner) = &raw.owner
            && !owner.get_ref().split_once(':').is_some_and(|(u, g)| !u.is_empty() && !g.is_empty())
        {
            let message = format!("`{}` is not an owner", owner.get_ref());
            return Err(self.document.error(owner.span(), message, "write it as \"user:group\""));
        }
        Ok(FileAssertion {
            path: raw.path.into_inner(),
            exists: raw.exists,
            mode,
            owner: raw.owner.map(Spanned::into_inner),
            contains: raw.contains.as_ref().map(|text| self.pattern(text)).transpose()?,
            only: self.only(&raw.only, targets)?,
        })
    }

    fn service(&self, raw: RawService, targets: &[TargetName]) -> Result<ServiceExpectation, ConfigError> {
        // systemd.unit(5): letters, digits and `:-_.\@`, and a suffix.
        let good = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        let unit = raw.unit.get_ref();
        if !unit.contains('.') || unit.starts_with('-') || !unit.chars().all(good) {
            let message = format!("`{unit}` is not the name of a unit");
            let hint = "write it with its suffix, such as \"hostpulse.service\"";
            return Err(self.document.error(raw.unit.span(), message, hint));
        }
        Ok(ServiceExpectation {
            only: self.only(&raw.only, targets)?,
            unit: raw.unit.into_inner(),
            enabled: raw.enabled,
            started: raw.started,
            start: raw.start,
        })
    }

    fn exception(
        &self,
        raw: &Spanned<RawException>,
        targets: &[TargetName],
    ) -> Result<Exception, ConfigError> {
        let (span, raw) = (raw.span(), raw.get_ref());
        if raw.rule.is_none() && raw.object.is_none() {
            let message = "an exception from everything";
            let hint = "say what it is about: rule = \"user-left-behind\", object = \"/var/log/agent/**\"";
            return Err(self.document.error(span, message, hint));
        }
        if raw.reason.get_ref().trim().is_empty() {
            let hint = "say why it is accepted; whoever reads the result will see it";
            return Err(self.document.error(raw.reason.span(), "an exception without a reason", hint));
        }
        let object = match &raw.object {
            None => None,
            Some(text) => Some(
                Glob::new(text.get_ref())
                    .map_err(|error| {
                        let hint = "use `*`, `**`, `?`, `[…]` and `{a,b}`";
                        self.document.error(text.span(), format!("bad pattern: {}", error.kind()), hint)
                    })?
                    .compile_matcher(),
            ),
        };
        Ok(Exception {
            rule: raw.rule.as_ref().map(|rule| self.rule(rule)).transpose()?,
            object,
            scenario: raw.scenario.as_ref().map(|name| self.scenario(name)).transpose()?,
            reason: raw.reason.get_ref().trim().to_owned(),
            only: self.only(&raw.only, targets)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Builders, Pipeline, PipelineFile};
    use crate::support::Hint;

    fn parse(verify: &str) -> Result<VerifySection, ConfigError> {
        let text = format!("[package]\nname = \"demo\"\n[target.\"debian-12/deb\"]\n{verify}");
        let file = PipelineFile { path: "p.toml".into(), folder: Path::new(".").into(), text };
        Pipeline::parse(&file, &Builders::shipped()).map(|pipeline| pipeline.verify)
    }

    fn error_of(verify: &str) -> (String, String) {
        let error = parse(verify).expect_err(verify);
        (error.to_string(), error.hint())
    }

    #[test]
    fn everything_but_a_rollback_is_gone_through_by_default() {
        let section = parse("").unwrap();
        assert_eq!(section.scenarios.len(), Scenario::ALL.len() - 1);
        assert!(!section.scenarios.contains(&Scenario::Rollback));
        assert_eq!(section.upgrade_from, UpgradeFrom::LastRelease);
        let section = parse("[verify]\nrollback = true\nskip = [\"lint\"]\n").unwrap();
        assert!(section.scenarios.contains(&Scenario::Rollback));
        assert!(!section.scenarios.contains(&Scenario::Lint));
    }

    #[test]
    fn an_exception_says_what_it_is_about_and_why() {
        let section = parse(
            "[[verify.allow]]\nrule = \"file-left-behind\"\npath = \"/var/log/demo/**\"\nreason = \"logs stay\"\n",
        )
        .unwrap();
        let exception = &section.exceptions[0];
        assert_eq!(exception.subject(), "file-left-behind /var/log/demo/**");
        assert!(exception.object.as_ref().unwrap().is_match("/var/log/demo/a/b"));
        assert!(error_of("[[verify.allow]]\nreason = \"x\"\n").0.contains("from everything"));
        assert!(
            error_of("[[verify.allow]]\nrule = \"lint\"\nreason = \" \"\n").0.contains("without a reason")
        );
        let (message, hint) = error_of("[[verify.allow]]\nrule = \"file-left-behnd\"\nreason = \"x\"\n");
        assert!(message.starts_with("p.toml:5:8:"), "{message}");
        assert!(hint.contains("file-left-behind"), "{hint}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line() {
        for (text, part) in [
            ("[verify]\nskip = [\"instal\"]\n", "is no scenario"),
            ("[verify]\nimages = [\"debian-99\"]\n", "no builder `debian-99`"),
            ("[[verify.file]]\npath = \"etc/x\"\n", "not an absolute path"),
            ("[[verify.file]]\npath = \"/etc/x\"\nmode = \"rw\"\n", "is not a mode"),
            ("[[verify.file]]\npath = \"/etc/x\"\nowner = \"root\"\n", "is not an owner"),
            ("[[verify.service]]\nunit = \"demo\"\n", "not the name of a unit"),
            ("[[verify.smoke]]\nrun = \"x\"\nonly = [\"debian-13/deb\"]\n", "no target `debian-13/deb`"),
        ] {
            let (message, _) = error_of(text);
            assert!(message.starts_with("p.toml:") && message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_target_sees_only_what_is_meant_for_it() {
        let text =
            "[[verify.smoke]]\nrun = \"a\"\n[[verify.smoke]]\nrun = \"b\"\nonly = [\"debian-12/deb\"]\n";
        let section = parse(text).unwrap();
        assert_eq!(section.for_target(&"debian-12/deb".parse().unwrap()).smoke.len(), 2);
        assert_eq!(section.for_target(&"debian-13/deb".parse().unwrap()).smoke.len(), 1);
    }
}
