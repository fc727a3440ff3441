use std::collections::BTreeMap;

use super::{Commit, TargetPlan};
use crate::config::{Builder, PrepareStage, VerifySection};
use crate::model::{Artifact, ArtifactKind, Digest, Hasher};

/// Raised when Packhold itself builds differently from the same inputs.
const RECIPE: &str = "1";

/// A named field of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyField {
    /// Its name; several may have the same: each variable is an `env`.
    pub name: String,
    /// Its value; of what is itself known by a digest, that.
    pub value: String,
}

/// Collects the named fields of a key.
struct Key(Vec<KeyField>);

impl Key {
    fn new(kind: &str) -> Self {
        Self(Vec::new()).with("kind", kind).with("recipe", RECIPE)
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push(KeyField { name: name.to_owned(), value: value.into() });
        self
    }

    fn with_all<'a>(self, name: &str, values: impl IntoIterator<Item = &'a String>) -> Self {
        values.into_iter().fold(self, |key, value| key.with(name, value))
    }

    fn with_map(self, name: &str, values: &BTreeMap<String, String>) -> Self {
        values.iter().fold(self, |key, (variable, value)| key.with(name, format!("{variable}={value}")))
    }

    fn finish(self) -> Digest {
        digest(&self.0)
    }
}

/// The key that has these fields.
fn digest(fields: &[KeyField]) -> Digest {
    let mut hasher = Hasher::new();
    for KeyField { name, value } in fields {
        hasher.field(name, value).expect("a sink takes every byte");
    }
    hasher.finish().0
}

/// What runs in the container of every image of ours before it is stored, whatever makes it.
const STORING: [&str; 4] = ["tidy.sh", "packages.sh", "dpkg.sh", "lists.sh"];

/// The digest of the scripts that make an image.
fn making(builder: &Builder, scripts: &[&str]) -> String {
    builder.digest_of(&[scripts, &STORING].concat()).to_string()
}

/// The key of the base image that `base.sh` makes of a userland.
pub fn base_key(builder: &Builder, userland: Digest) -> Digest {
    Key::new("base")
        .with("userland", userland.to_string())
        .with("scripts", making(builder, &["base.sh"]))
        .finish()
}

/// The key of a builder image.
pub fn builder_key(builder: &Builder, base: Digest) -> Digest {
    Key::new("builder")
        .with("base", base.to_string())
        .with("scripts", making(builder, &["prepare.sh"]))
        .finish()
}

/// The key of a deps image: builder image, what the packaging declares ([`Dependencies`](super::Dependencies)) and what the
/// pipeline adds. Nothing else of a commit gets into the container that makes it.
pub fn deps_key(builder: &Builder, image: Digest, declared: &[String], own: &[String]) -> Digest {
    Key::new("deps")
        .with("builder", image.to_string())
        .with("scripts", making(builder, &["deps.sh"]))
        // Images that were made of more than the list have other keys.
        .with("made-of", "list")
        .with_all("declared", declared)
        .with_all("own", own)
        .finish()
}

/// What a shared prepare stage is made from.
#[derive(Clone, Copy, Debug)]
pub struct PrepareInputs<'a> {
    /// The stage.
    pub stage: &'a PrepareStage,
    /// The commit.
    pub commit: &'a Commit,
    /// The deps image that it runs in.
    pub image: Digest,
}

/// The key of a shared prepare stage's outputs.
pub fn prepare_key(inputs: PrepareInputs<'_>) -> Digest {
    Key::new("prepare")
        .with("tree", inputs.commit.tree.to_string())
        .with("commit", &inputs.commit.id)
        .with("epoch", inputs.commit.epoch.to_string())
        .with("version", &inputs.commit.version.describe)
        .with("image", inputs.image.to_string())
        .with("script", &inputs.stage.script)
        .with_all("outputs", &inputs.stage.outputs)
        .with_map("env", &inputs.stage.env)
        .finish()
}

/// What a target's packages are built from.
#[derive(Clone, Copy, Debug)]
pub struct BuildInputs<'a> {
    /// The target.
    pub plan: &'a TargetPlan,
    /// The commit.
    pub commit: &'a Commit,
    /// The deps image that it is built in.
    pub image: Digest,
    /// The key of the shared prepare stage, if there is one.
    pub prepared: Option<Digest>,
}

/// The key of a target's packages.
pub fn build_key(inputs: BuildInputs<'_>) -> Digest {
    digest(&build_fields(inputs))
}

/// What the key of a target's packages is made of, in order.
pub fn build_fields(inputs: BuildInputs<'_>) -> Vec<KeyField> {
    let BuildInputs { plan, commit, image, prepared } = inputs;
    let key = match &plan.changelog {
        None => Key::new("build"),
        Some(entry) => Key::new("build").with("changelog", entry),
    };
    key.with("name", &plan.package)
        .with("target", plan.section.name.to_string())
        .with("tree", commit.tree.to_string())
        .with("commit", &commit.id)
        .with("epoch", commit.epoch.to_string())
        .with("upstream", &plan.version.upstream)
        .with("full", &plan.version.full)
        .with("image", image.to_string())
        .with("prepared", prepared.map(|key| key.to_string()).unwrap_or_default())
        .with("scripts", plan.builder.digest_of(&["build.sh", "changelog.sh"]).to_string())
        .with("packaging", &plan.section.packaging)
        .with("prepare", plan.section.prepare.as_deref().unwrap_or_default())
        .with_map("env", &plan.section.env)
        .0
}

/// What `verify.sh` and what it reads are made of.
const PROVIDING: &[&str] = &["verify.sh", "look.sh", "family.sh", "provide.sh", "install.sh"];

/// What else looks at packages.
const LOOKING: &[&str] = &["init.sh", "service.sh", "lint.sh", "lint.toml", "churn"];

/// The key of an image that has everything that packages need of others: what it is made from and what they need.
pub fn provided_key(builder: &Builder, from: Digest, needs: &[String]) -> Digest {
    Key::new("provided")
        .with("from", from.to_string())
        .with("scripts", making(builder, PROVIDING))
        .with_all("needs", needs)
        .finish()
}

/// The key of the base image with the distro's init system.
pub fn init_key(builder: &Builder, base: Digest) -> Digest {
    Key::new("init").with("base", base.to_string()).with("scripts", making(builder, &["init.sh"])).finish()
}

/// The key of the base image with the distro's lint.
pub fn lint_key(builder: &Builder, base: Digest) -> Digest {
    Key::new("lint").with("base", base.to_string()).with("scripts", making(builder, &["lint.sh"])).finish()
}

/// The key of the image with what varies the conditions of builds: the preloaded libraries and the other locale.
pub fn kit_key(builder: &Builder, image: Digest) -> Digest {
    Key::new("kit")
        .with("builder", image.to_string())
        .with("scripts", making(builder, &["kit.sh", "vary.sh", "order.c", "filetimes.c"]))
        .finish()
}

/// What a verification is made of.
#[derive(Clone, Copy, Debug)]
pub struct VerifyInputs<'a> {
    /// The builder.
    pub builder: &'a Builder,
    /// The base image.
    pub image: Digest,
    /// The further builders.
    pub others: &'a [std::sync::Arc<Builder>],
    /// The files of the build.
    pub artifacts: &'a [Artifact],
    /// The digests of the packages of the release before.
    pub previous: &'a [Digest],
    /// What the packages are put through.
    pub section: &'a VerifySection,
    /// Whether an init system may run: where it may not, less is looked at.
    pub init: bool,
}

/// The key of what verify finds: the packages, the image they are installed in, and the questions.
pub fn verify_key(inputs: VerifyInputs<'_>) -> Digest {
    let scripts: Vec<&str> = PROVIDING.iter().chain(LOOKING).copied().collect();
    let VerifyInputs { builder, image, others, artifacts, previous, section, init } = inputs;
    let mut key = Key::new("verify")
        .with("image", image.to_string())
        .with("scripts", making(builder, &scripts))
        .with("init", init.to_string())
        .with_all("wanted", &section.packages);
    for other in others {
        // Its base image is whatever its name stands for at the time.
        key = key.with("other", &other.name).with("scripts", making(other, &scripts));
        key = key.with("base", other.userland_key().to_string());
    }
    for artifact in artifacts.iter().filter(|artifact| artifact.kind == ArtifactKind::Package) {
        key = key.with("artifact", &artifact.name).with("digest", artifact.digest.to_string());
    }
    for digest in previous {
        key = key.with("previous", digest.to_string());
    }
    with_questions(key, section).finish()
}

fn with_questions(mut key: Key, section: &VerifySection) -> Key {
    let pattern = |pattern: &Option<regex::Regex>| {
        pattern.as_ref().map(|pattern| pattern.as_str().to_owned()).unwrap_or_default()
    };
    let told = |said: Option<bool>| said.map(|said| said.to_string()).unwrap_or_default();
    for scenario in &section.scenarios {
        key = key.with("scenario", scenario.word());
    }
    for command in &section.smoke {
        key = key
            .with("run", &command.run)
            .with("exit", command.exit.to_string())
            .with("output", pattern(&command.output))
            .with("stdout", pattern(&command.stdout))
            .with("stderr", pattern(&command.stderr))
            .with("time", command.time.as_millis().to_string());
    }
    for file in &section.files {
        key = key
            .with("file", &file.path)
            .with("exists", file.exists.to_string())
            .with("mode", file.mode.as_deref().unwrap_or_default())
            .with("owner", file.owner.as_deref().unwrap_or_default())
            .with("contains", pattern(&file.contains));
    }
    for service in &section.services {
        key = key
            .with("unit", &service.unit)
            .with("enabled", told(service.enabled))
            .with("started", told(service.started))
            .with("start", service.start.to_string());
    }
    for exception in &section.exceptions {
        key = key.with("exception", exception.subject()).with("because", &exception.reason);
    }
    let level = |level: Option<crate::model::LintLevel>| format!("{level:?}");
    key = key.with("lint-require", level(section.lint.require)).with("lint-warn", level(section.lint.warn));
    for waiver in &section.lint.waive {
        key = key
            .with("waive", &waiver.tag)
            .with("package", waiver.package.as_deref().unwrap_or_default())
            .with("match", pattern(&waiver.pattern))
            .with("because", &waiver.reason);
    }
    let limits = &section.limits;
    key.with("active", section.active.as_millis().to_string())
        .with("limit-time", limits.time.as_millis().to_string())
        .with("limit-silence", limits.silence.as_millis().to_string())
        .with("limit-memory", limits.memory.to_string())
        .with("limit-processes", limits.processes.to_string())
}
