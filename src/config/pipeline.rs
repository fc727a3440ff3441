use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::changelog_section::{ChangelogSection, RawChangelog};
use super::checker::{Checker, INNER_PATH, is_inner_path};
use super::limits::RawLimits;
use super::package::{RawPackage, generated_path};
use super::publish_section::{PublishSection, RawPublish};
use super::schema;
use super::strict::{Document, nearest};
use super::verify_section::RawVerify;
use super::{Builders, ConfigError, PackageSection, StageLimits, VerifySection};
use crate::model::{Format, TargetName};
use crate::support::fs::PathContext;

static SHIPPED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/pipelines");

/// The name of the pipeline file that a repository holds.
pub const PIPELINE_FILE: &str = "packhold.toml";

/// A pipeline file's bytes and where they came from.
#[derive(Clone, Debug)]
pub struct PipelineFile {
    /// The file, as it was named; `built-in:NAME` for one that is compiled in.
    pub path: PathBuf,
    /// The folder that relative paths in it start from.
    pub folder: PathBuf,
    /// The text.
    pub text: String,
}

impl PipelineFile {
    /// Finds the pipeline `name`: a path, else a pipeline that is compiled in. Without a name: `packhold.toml` in
    /// `current`.
    pub fn find(name: Option<&str>, current: &Path) -> Result<Self, ConfigError> {
        let path = current.join(name.unwrap_or(PIPELINE_FILE));
        let path = if path.is_dir() { path.join(PIPELINE_FILE) } else { path };
        if path.is_file() {
            let text = std::fs::read_to_string(&path).at("read", &path)?;
            let folder = path.parent().unwrap_or(current).to_owned();
            let shown = path.strip_prefix(current).unwrap_or(&path).to_owned();
            return Ok(Self { path: shown, folder, text });
        }
        let Some(name) = name else {
            return Err(ConfigError::NoPipeline {
                name: PIPELINE_FILE.to_owned(),
                hint: format!(
                    "name a pipeline file, go to the folder that holds {PIPELINE_FILE}, or use a built-in one: {}",
                    shipped_names().join(", ")
                ),
            });
        };
        match SHIPPED.get_file(format!("{name}.toml")).and_then(|file| file.contents_utf8()) {
            Some(text) => Ok(Self {
                path: PathBuf::from(format!("built-in:{name}")),
                folder: current.to_owned(),
                text: text.to_owned(),
            }),
            None => {
                let names = shipped_names();
                let hint = match nearest(name, names.iter().map(String::as_str)) {
                    Some(near) => {
                        format!("no such file, and no built-in pipeline of that name; did you mean `{near}`?")
                    }
                    None => format!("no such file; the built-in pipelines are {}", names.join(", ")),
                };
                Err(ConfigError::NoPipeline { name: name.to_owned(), hint })
            }
        }
    }
}

impl PipelineFile {
    /// The name of the pipeline's lock, as it is shown: `packhold.lock` for `packhold.toml`.
    pub fn lock_name(&self) -> PathBuf {
        let shown = self.path.to_string_lossy();
        let path = Path::new(shown.strip_prefix("built-in:").unwrap_or(&shown)).to_owned();
        match path.extension() {
            Some(extension) if extension == "toml" => path.with_extension("lock"),
            // Never the pipeline itself.
            _ => PathBuf::from(format!("{}.lock", path.display())),
        }
    }

    /// Where the lock is: beside the pipeline, and for a built-in one in the current folder.
    pub fn lock_path(&self) -> PathBuf {
        let name = self.lock_name();
        self.folder.join(name.file_name().unwrap_or(name.as_os_str()))
    }
}

fn shipped_names() -> Vec<String> {
    let stem = |file: &include_dir::File<'_>| Some(file.path().file_stem()?.to_str()?.to_owned());
    SHIPPED.files().filter(|f| f.path().extension().is_some_and(|e| e == "toml")).filter_map(stem).collect()
}

/// One source, the targets to build it for, and how to verify and archive them. Everything in it was checked.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The package's name.
    pub name: String,
    /// What packaging is made of, where the pipeline describes the package.
    pub package: Option<PackageSection>,
    /// Where the source comes from.
    pub source: SourceSection,
    /// How a commit gets its version.
    pub version: VersionSection,
    /// Which entries of changelogs are made of commits.
    pub changelog: ChangelogSection,
    /// The stage that all targets share.
    pub prepare: Option<PrepareStage>,
    /// The targets, in the file's order.
    pub targets: Vec<TargetSection>,
    /// What the packages are put through.
    pub verify: VerifySection,
    /// Whether images are archived with a run.
    pub archive_images: bool,
    /// What is said of the repositories that the packages are published in.
    pub publish: PublishSection,
}

/// Where the source comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SourceSection {
    /// A path or an address of a git repository; without it, the repository that holds the pipeline file.
    pub git: Option<String>,
    /// The folder of the repository that is the source tree.
    #[schemars(schema_with = "schema::inner_path")]
    pub subdir: Option<String>,
    /// Whether submodules are exported; they are unless this says no.
    #[serde(default = "yes")]
    pub submodules: bool,
}

/// How a commit gets its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionSection {
    /// From the nearest tag that starts with the prefix and goes on with a digit.
    Tags {
        /// `v` unless the pipeline says otherwise.
        prefix: String,
    },
    /// From a debian/changelog or a spec file in the source tree.
    File(String),
}

/// What is built once and handed to all targets.
#[derive(Clone, Debug, PartialEq)]
pub struct PrepareStage {
    /// The builder it runs in.
    pub builder: String,
    /// Distro packages it needs.
    pub deps: Vec<String>,
    /// Shell text.
    pub script: String,
    /// Paths in the source tree, relative to it, that the targets get under `PACKHOLD_PREPARED`.
    pub outputs: Vec<String>,
    /// Variables for the script.
    pub env: BTreeMap<String, String>,
    /// What it may use.
    pub limits: StageLimits,
}

/// One target of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSection {
    /// The target.
    pub name: TargetName,
    /// The path of the debian folder or of the spec file in the source tree.
    pub packaging: String,
    /// Whether the packaging is made of the pipeline's `[package]`, and added to the source tree.
    pub generated: bool,
    /// Distro packages that it needs beyond what the packaging declares.
    pub deps: Vec<String>,
    /// Shell text that runs in the source tree before the package tool.
    pub prepare: Option<String>,
    /// Variables for the target's scripts.
    pub env: BTreeMap<String, String>,
    /// The deb revision or rpm release of what is built.
    pub revision: String,
    /// What it may use.
    pub limits: StageLimits,
}

/// A pipeline of Packhold: one source, the targets to build it for, and how to verify, archive and publish them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("required" = ["package", "target"]))]
pub(super) struct RawPipeline {
    package: RawPackage,
    source: Option<SourceSection>,
    version: Option<RawVersion>,
    #[schemars(with = "Option<RawChangelog>")]
    changelog: Option<Spanned<RawChangelog>>,
    prepare: Option<RawPrepare>,
    /// What is built: one builder × one package format each.
    #[serde(default)]
    #[schemars(with = "BTreeMap<TargetName, RawTarget>", extend("minProperties" = 1))]
    target: BTreeMap<Spanned<String>, RawTarget>,
    #[schemars(with = "Option<RawLimits>")]
    limits: Option<Spanned<RawLimits>>,
    #[serde(default)]
    verify: RawVerify,
    #[serde(default)]
    archive: RawArchive,
    #[serde(default)]
    publish: RawPublish,
}

/// How a commit gets its version.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawVersion {
    /// `tags`, as without it, or the path of a debian/changelog or a spec file in the source tree.
    #[serde(default)]
    #[schemars(schema_with = "schema::inner_path")]
    from: Option<Spanned<String>>,
    /// What stands before the digits of a tag that is a version: `v` unless this says otherwise.
    tag_prefix: Option<String>,
}

/// What is built once, and handed to all targets.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawPrepare {
    /// The builder that it runs in.
    #[schemars(schema_with = "schema::builder")]
    builder: Spanned<String>,
    /// Distro packages that it needs, in the builder's own names.
    #[serde(default)]
    #[schemars(schema_with = "schema::dependencies")]
    deps: Vec<Spanned<String>>,
    /// Shell text, run in the source tree by an ordinary user without a network.
    script: String,
    /// Paths in the source tree that the targets get under `$PACKHOLD_PREPARED`.
    #[schemars(schema_with = "schema::inner_paths")]
    outputs: Vec<Spanned<String>>,
    /// Variables for the script.
    #[serde(default)]
    #[schemars(schema_with = "schema::env")]
    env: BTreeMap<Spanned<String>, String>,
    #[schemars(with = "Option<RawLimits>")]
    limits: Option<Spanned<RawLimits>>,
}

/// One builder × one package format.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTarget {
    /// The path of the debian folder (`debian` unless this says otherwise), or of the spec file, in the source tree.
    #[serde(default)]
    #[schemars(schema_with = "schema::inner_path")]
    packaging: Option<Spanned<String>>,
    /// Distro packages that it needs beyond what the packaging declares, in the builder's own names.
    #[serde(default)]
    #[schemars(schema_with = "schema::dependencies")]
    deps: Vec<Spanned<String>>,
    /// Shell text, run in the source tree before the package tool by an ordinary user without a network.
    prepare: Option<String>,
    /// Variables for what builds.
    #[serde(default)]
    #[schemars(schema_with = "schema::env")]
    env: BTreeMap<Spanned<String>, String>,
    /// The deb revision or rpm release: `1` unless this says otherwise.
    #[schemars(with = "Option<String>", regex(pattern = r"^[A-Za-z0-9+.~]+$"))]
    revision: Option<Spanned<String>>,
    #[schemars(with = "Option<RawLimits>")]
    limits: Option<Spanned<RawLimits>>,
}

/// What is archived.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawArchive {
    /// Keep base, builder and deps images with a run; they are unless this says no.
    images: bool,
}

impl Default for RawArchive {
    fn default() -> Self {
        Self { images: true }
    }
}

fn yes() -> bool {
    true
}

impl Pipeline {
    /// Reads and checks a pipeline file. `builders` must hold every builder that it names.
    pub fn parse(file: &PipelineFile, builders: &Builders) -> Result<Self, ConfigError> {
        let document = Document { file: &file.path, text: &file.text };
        let raw: RawPipeline = document.parse()?;
        let checker = Checker { document: &document, builders };
        let limits = checker.limits(raw.limits.as_ref(), &StageLimits::default())?;

        let raw_package = raw.package;
        let name = checker.package_name(&raw_package.name)?;
        let source = raw.source.unwrap_or(SourceSection { git: None, subdir: None, submodules: true });
        if let Some(subdir) = &source.subdir
            && !is_inner_path(subdir)
        {
            let at = file.text.find("subdir").unwrap_or(0);
            return Err(document.error(
                at..at,
                format!("`{subdir}` is not a path inside the repository"),
                INNER_PATH,
            ));
        }
        let version = match raw.version {
            None => VersionSection::Tags { prefix: "v".to_owned() },
            Some(RawVersion { from: None, tag_prefix }) => {
                VersionSection::Tags { prefix: tag_prefix.unwrap_or_else(|| "v".to_owned()) }
            }
            Some(RawVersion { from: Some(from), tag_prefix }) if from.get_ref() == "tags" => {
                VersionSection::Tags { prefix: tag_prefix.unwrap_or_else(|| "v".to_owned()) }
            }
            Some(RawVersion { from: Some(from), .. }) => VersionSection::File(checker.inner_path(&from)?),
        };
        let changelog = ChangelogSection::check(raw.changelog, &version, &checker)?;
        let prepare = match raw.prepare {
            None => None,
            Some(raw) => Some(PrepareStage {
                builder: checker.builder(&raw.builder)?,
                deps: checker.dependencies(&raw.deps)?,
                outputs: raw.outputs.iter().map(|path| checker.inner_path(path)).collect::<Result<_, _>>()?,
                env: checker.env(raw.env)?,
                limits: checker.limits(raw.limits.as_ref(), &limits)?,
                script: raw.script,
            }),
        };
        let mut sections: Vec<_> = raw.target.into_iter().collect();
        sections.sort_by_key(|(name, _)| name.span().start);
        let mut targets = Vec::new();
        for (name, raw) in sections {
            targets.push(checker.target(&name, raw, &limits, &raw_package)?);
        }
        if targets.is_empty() {
            return Err(document.error(
                file.text.len()..file.text.len(),
                "the pipeline has no target",
                "add a section such as [target.\"debian-12/deb\"]",
            ));
        }
        let package = raw_package.check(&checker, &targets)?;
        let names: Vec<TargetName> =
            targets.iter().map(|target: &TargetSection| target.name.clone()).collect();
        let verify = raw.verify.check(&checker, &names, &limits)?;
        let publish = raw.publish.check(&checker)?;
        let archive_images = raw.archive.images;
        Ok(Self {
            name,
            package,
            source,
            version,
            changelog,
            prepare,
            targets,
            verify,
            archive_images,
            publish,
        })
    }

    /// Keeps only the targets in `wanted`; an empty list keeps all.
    pub fn select(&mut self, wanted: &[TargetName]) -> Result<(), ConfigError> {
        for name in wanted {
            if !self.targets.iter().any(|target| target.name == *name) {
                let known: Vec<String> = self.targets.iter().map(|t| t.name.to_string()).collect();
                let hint = match nearest(&name.to_string(), known.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("its targets are {}", known.join(", ")),
                };
                return Err(ConfigError::UnknownTarget { name: name.to_string(), hint });
            }
        }
        if !wanted.is_empty() {
            self.targets.retain(|target| wanted.contains(&target.name));
        }
        Ok(())
    }
}

impl Checker<'_> {
    fn target(
        &self,
        key: &Spanned<String>,
        raw: RawTarget,
        limits: &StageLimits,
        package: &RawPackage,
    ) -> Result<TargetSection, ConfigError> {
        let name = self.target_name(key)?;
        let limits = match name.architecture {
            Some(_) => &limits.emulated(),
            None => limits,
        };
        self.builder(&Spanned::new(key.span(), name.builder.clone()))?;
        if let Some(makes) = self.builders.format_of(&name.builder)?.filter(|makes| *makes != name.format) {
            return Err(self.document.error(
                key.span(),
                format!("builder `{}` makes {makes} packages, not {}", name.builder, name.format),
                format!("write [target.\"{}/{makes}\"], or choose another builder", name.builder),
            ));
        }
        let generated = raw.packaging.is_none() && package.is_described();
        let packaging = match (&raw.packaging, name.format) {
            (Some(path), _) => self.inner_path(path)?,
            (None, format) if generated => {
                generated_path(package.name.get_ref(), package.builder_said(&name.builder), format)
            }
            (None, Format::Deb) => "debian".to_owned(),
            (None, Format::Rpm) => {
                return Err(self.document.error(
                    key.span(),
                    format!("target `{name}` does not say where its spec file is"),
                    "add packaging = \"path/to/NAME.spec\", or describe the package in [package]: a spec file is made of that",
                ));
            }
        };
        let revision = match &raw.revision {
            None => "1".to_owned(),
            Some(text) => {
                let good = |c: char| c.is_ascii_alphanumeric() || "+.~".contains(c);
                if text.get_ref().is_empty() || !text.get_ref().chars().all(good) {
                    let message = format!("`{}` is not a revision", text.get_ref());
                    return Err(self.document.error(
                        text.span(),
                        message,
                        "use letters, digits, `+`, `.` and `~`",
                    ));
                }
                text.get_ref().clone()
            }
        };
        Ok(TargetSection {
            packaging,
            generated,
            deps: self.dependencies(&raw.deps)?,
            prepare: raw.prepare,
            env: self.env(raw.env)?,
            revision,
            limits: self.limits(raw.limits.as_ref(), limits)?,
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::support::Hint;

    fn parse(text: &str) -> Result<Pipeline, ConfigError> {
        let file = PipelineFile { path: "p.toml".into(), folder: ".".into(), text: text.to_owned() };
        Pipeline::parse(&file, &Builders::shipped())
    }

    fn error_of(text: &str) -> (String, String) {
        let error = parse(text).expect_err(text);
        (error.to_string(), error.hint())
    }

    const MINIMAL: &str = "[package]\nname = \"demo\"\n[target.\"debian-12/deb\"]\n";

    #[test]
    fn a_minimal_pipeline_is_enough() {
        let pipeline = parse(MINIMAL).unwrap();
        assert_eq!(pipeline.targets[0].packaging, "debian");
        assert_eq!(pipeline.version, VersionSection::Tags { prefix: "v".into() });
        assert!(pipeline.source.submodules && pipeline.archive_images);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_key() {
        let (message, hint) = error_of(&format!("{MINIMAL}packging = \"x\"\n"));
        assert_eq!(message, "p.toml:4:1: unknown key `packging`");
        assert_eq!(hint, "did you mean `packaging`?");
    }

    #[test]
    fn an_unknown_builder_is_named_with_its_line_and_the_nearest_one() {
        let (message, hint) = error_of("[package]\nname = \"demo\"\n[target.\"debian12/deb\"]\n");
        assert_eq!(message, "p.toml:3:9: there is no builder `debian12`");
        assert!(hint.contains("`debian-12`"), "{hint}");
    }

    #[test]
    fn a_builder_is_never_asked_for_a_format_it_does_not_make() {
        let (message, _) =
            error_of("[package]\nname = \"demo\"\n[target.\"debian-12/rpm\"]\npackaging = \"a.spec\"\n");
        assert_eq!(message, "p.toml:3:9: builder `debian-12` makes deb packages, not rpm");
    }

    #[test]
    fn a_family_is_not_a_builder() {
        assert!(
            error_of("[package]\nname = \"demo\"\n[target.\"deb/deb\"]\n").0.contains("no builder `deb`")
        );
    }

    #[test]
    fn nothing_in_a_pipeline_leaves_the_source_tree() {
        for line in ["packaging = \"../debian\"", "packaging = \"/etc\"", "packaging = \"a/../../b\""] {
            assert!(
                error_of(&format!("{MINIMAL}{line}\n")).0.contains("not a path inside the source tree"),
                "{line}"
            );
        }
        let text = format!("[source]\nsubdir = \"../x\"\n{MINIMAL}");
        assert!(error_of(&text).0.starts_with("p.toml:2:1:"), "{}", error_of(&text).0);
    }

    #[test]
    fn a_dependency_is_a_package_and_never_an_option() {
        for name in ["-oDebug=1", "a b", "$(id)", "./x.deb", "http://h/x.rpm", "file:/x", ""] {
            let (message, _) = error_of(&format!("{MINIMAL}deps = [\"{name}\"]\n"));
            assert!(message.contains("is not a name of a distro package"), "{message}");
        }
    }

    #[test]
    fn the_variables_of_the_contract_cannot_be_overridden() {
        for name in ["PACKHOLD_VERSION", "SOURCE_DATE_EPOCH", "A-B", "1A"] {
            let (message, _) = error_of(&format!("{MINIMAL}env = {{ \"{name}\" = \"x\" }}\n"));
            assert!(message.contains("cannot be set"), "{message}");
        }
    }

    #[test]
    fn a_target_may_narrow_the_limits_of_the_pipeline() {
        let text = format!(
            "{MINIMAL}limits = {{ memory = \"64 MiB\" }}\n[limits]\ntime = \"5m\"\nmemory = \"1 GiB\"\n"
        );
        let limits = &parse(&text).unwrap().targets[0].limits;
        assert_eq!((limits.memory, limits.time), (64 << 20, Duration::from_secs(300)));
    }

    #[test]
    fn a_limit_that_is_none_is_an_error() {
        assert!(error_of(&format!("{MINIMAL}[limits]\nmemory = \"lots\"\n")).0.contains("not a size"));
        assert!(error_of(&format!("{MINIMAL}[limits]\nprocesses = 1\n")).0.contains("at least 16"));
    }

    #[test]
    fn an_unknown_target_is_named_with_the_nearest_one() {
        let mut pipeline = parse(MINIMAL).unwrap();
        let error = pipeline.select(&["debian-13/deb".parse().unwrap()]).unwrap_err();
        assert!(error.hint().contains("debian-12/deb"));
    }

    #[test]
    fn the_pattern_of_a_smoke_command_may_name_a_whole_line() {
        let text = format!("{MINIMAL}[[verify.smoke]]\nrun = \"demo\"\noutput = \"^demo$\"\n");
        let pattern = parse(&text).unwrap().verify.smoke[0].output.clone().unwrap();
        assert!(pattern.is_match("demo\n") && !pattern.is_match("demo 1\n"));
    }

    #[test]
    fn every_shipped_pipeline_is_valid() {
        for name in shipped_names() {
            let file = PipelineFile::find(Some(&name), Path::new("/nonexistent")).unwrap();
            Pipeline::parse(&file, &Builders::shipped()).unwrap();
        }
    }
}
