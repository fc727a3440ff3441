use std::collections::BTreeMap;

use super::{Commit, TargetPlan};
use crate::config::{Builder, PrepareStage, SmokeCommand};
use crate::model::{Artifact, ArtifactKind, Digest, Hasher};

/// Raised when Packhold itself builds differently from the same inputs.
const RECIPE: &str = "1";

/// Collects the named fields of a key.
struct Key(Hasher);

impl Key {
    fn new(kind: &str) -> Self {
        Self(Hasher::new()).with("kind", kind).with("recipe", RECIPE)
    }

    fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.0.field(name, value).expect("a sink takes every byte");
        self
    }

    fn with_all<'a>(self, name: &str, values: impl IntoIterator<Item = &'a String>) -> Self {
        values.into_iter().fold(self, |key, value| key.with(name, value))
    }

    fn with_map(self, name: &str, values: &BTreeMap<String, String>) -> Self {
        values.iter().fold(self, |key, (variable, value)| key.with(name, format!("{variable}={value}")))
    }

    fn finish(self) -> Digest {
        self.0.finish().0
    }
}

/// The key of the base image that `base.sh` makes of a userland.
pub fn base_key(builder: &Builder, userland: Digest) -> Digest {
    Key::new("base")
        .with("userland", userland.to_string())
        .with("scripts", builder.digest_of(&["base.sh"]).to_string())
        .finish()
}

/// The key of a builder image.
pub fn builder_key(builder: &Builder, base: Digest) -> Digest {
    Key::new("builder")
        .with("base", base.to_string())
        .with("scripts", builder.digest_of(&["prepare.sh"]).to_string())
        .finish()
}

/// The key of a deps image: builder image, what the packaging declares and what the pipeline adds.
pub fn deps_key(builder: &Builder, image: Digest, declared: &[String], own: &[String]) -> Digest {
    Key::new("deps")
        .with("builder", image.to_string())
        .with("scripts", builder.digest_of(&["deps.sh"]).to_string())
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
    let BuildInputs { plan, commit, image, prepared } = inputs;
    Key::new("build")
        .with("name", &plan.package)
        .with("target", plan.section.name.to_string())
        .with("tree", commit.tree.to_string())
        .with("commit", &commit.id)
        .with("epoch", commit.epoch.to_string())
        .with("upstream", &plan.version.upstream)
        .with("full", &plan.version.full)
        .with("image", image.to_string())
        .with("prepared", prepared.map(|key| key.to_string()).unwrap_or_default())
        .with("scripts", plan.builder.digest_of(&["build.sh"]).to_string())
        .with("packaging", &plan.section.packaging)
        .with("prepare", plan.section.prepare.as_deref().unwrap_or_default())
        .with_map("env", &plan.section.env)
        .finish()
}

/// The key of what verify finds: the packages, the image they are installed in, and the questions.
pub fn verify_key(
    builder: &Builder,
    image: Digest,
    artifacts: &[Artifact],
    wanted: &[String],
    smoke: &[&SmokeCommand],
) -> Digest {
    let mut key = Key::new("verify")
        .with("image", image.to_string())
        .with("scripts", builder.digest_of(&["verify.sh"]).to_string())
        .with_all("wanted", wanted);
    for artifact in artifacts.iter().filter(|artifact| artifact.kind == ArtifactKind::Package) {
        key = key.with("artifact", &artifact.name).with("digest", artifact.digest.to_string());
    }
    for command in smoke {
        key = key
            .with("run", &command.run)
            .with("exit", command.exit.to_string())
            .with("output", command.output.as_ref().map_or("", |pattern| pattern.as_str()));
    }
    key.finish()
}
