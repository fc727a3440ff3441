use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::environment::{script, watch};
use super::image_store::{
    Wanted, accept, derive, ensure_loaded, labels, list_packages, load, look_up, pulled_origin, record_of,
};
use super::streams::blocking;
use super::{ImagePolicy, Recorder, StageResult, Workshop, diagnose, infrastructure};
use crate::archive::RootfsSpec;
use crate::config::{Bootstrap, Builder};
use crate::engine::{ImageInfo, ImageSource, Object};
use crate::model::{Architecture, Digest, Hasher, ImageRecord, ImageRole, InfraReason, Origin, Outcome};
use crate::plan::{base_key, builder_key};
use crate::sandbox::SandboxError;

/// All times in a bootstrapped userland are at most this (2000-01-01 UTC), so that the same packages give the same image.
const BOOTSTRAP_EPOCH: i64 = 946_684_800;

/// How long mmdebstrap may take to clean up after it was asked to stop.
const GRACE: Duration = Duration::from_secs(20);

/// What the user says about where base images come from.
#[derive(Clone, Debug, Default)]
pub struct BaseChoice {
    /// The registry that is asked instead of the one in an image reference; `none` asks no registry.
    pub registry: Option<String>,
    /// The mirror that mmdebstrap uses instead of its own default.
    pub mirror: Option<String>,
    /// Builder, as [`Builder::place`] or [`Builder::full_place`] has it → the tar of a root file system to start from.
    pub tars: BTreeMap<String, PathBuf>,
}

impl BaseChoice {
    /// The tar that a builder is to start from, if there is one. [`Outcome::Broken`] where it has two, under its two names.
    pub(super) fn tar(&self, builder: &Builder) -> StageResult<Option<&PathBuf>> {
        let (place, full) = (builder.place(), builder.full_place());
        let other = full.filter(|full| *full != place).and_then(|full| Some((self.tars.get(&full)?, full)));
        match (self.tars.get(&place), other) {
            (Some(one), Some((two, full))) if one != two => Err(Outcome::Broken {
                message: format!(
                    "two files for one base image: --base-tar {place}={} and {full}={}",
                    one.display(),
                    two.display()
                ),
                hint: format!("give one of them: on this engine `{place}` is `{full}`"),
            }),
            (one, other) => Ok(one.or(other.map(|(path, _)| path))),
        }
    }
}

/// The base image of a builder.
pub async fn base(shop: &Workshop, recorder: &mut Recorder, builder: &Builder) -> StageResult<ImageRecord> {
    let userland = userland(shop, recorder, builder).await?;
    if !builder.has("base.sh") {
        return Ok(userland);
    }
    let wanted = Wanted { builder, role: ImageRole::Base, key: base_key(builder, userland.id) };
    let from = Wanted { builder, role: ImageRole::Base, key: userland.key };
    scripted(shop, recorder, wanted, from, &userland, "base.sh", &[], "make the base image").await
}

/// The builder image of a builder, made from its base image.
pub(super) async fn builder_image(
    shop: &Workshop,
    recorder: &mut Recorder,
    builder: &Builder,
    base: &ImageRecord,
) -> StageResult<ImageRecord> {
    let wanted = Wanted { builder, role: ImageRole::Builder, key: builder_key(builder, base.id) };
    let from = Wanted { builder, role: ImageRole::Base, key: base.key };
    scripted(shop, recorder, wanted, from, base, "prepare.sh", &[], "install the packaging tools").await
}

/// An image that one script makes of another image.
#[expect(clippy::too_many_arguments, reason = "each caller says something else with every one of them")]
pub(super) async fn scripted(
    shop: &Workshop,
    recorder: &mut Recorder,
    wanted: Wanted<'_>,
    from_wanted: Wanted<'_>,
    from: &ImageRecord,
    name: &str,
    arguments: &[&str],
    title: &str,
) -> StageResult<ImageRecord> {
    let _held = shop.images.lock(wanted.key).await;
    if let Some(record) = look_up(shop, recorder, wanted).await? {
        return Ok(record);
    }
    ensure_loaded(shop, recorder, from_wanted, from).await?;
    let builder = wanted.builder;
    derive(shop, recorder, wanted, from, |recorder, sandbox| async move {
        let command = script(builder, name, arguments, BTreeMap::new());
        let limits = builder.limits();
        let result = match recorder.step(&sandbox, title, &command, &watch(&limits)).await {
            Ok(result) if result.end.succeeded() => Ok(()),
            Ok(_) => Err(builder_failed(recorder, builder, name)),
            Err(outcome) => Err(outcome),
        };
        (recorder, result)
    })
    .await
}

/// The outcome when a builder's own script failed.
pub(super) fn builder_failed(recorder: &Recorder, builder: &Builder, name: &str) -> Outcome {
    let unreachable = !diagnose::contract_lines(recorder.tail(), "mirror-unreachable").is_empty();
    let log = recorder.log_path().display();
    if unreachable {
        return Outcome::Infra {
            stage: recorder.stage(),
            reason: InfraReason::MirrorUnreachable,
            message: format!(
                "builder `{}`: the package mirror cannot be reached from a container",
                builder.name
            ),
            hint: format!(
                "check the network and name resolution with `packhold doctor`; the whole log is {log}"
            ),
        };
    }
    let failed = format!("builder `{}`: {name} failed", builder.name);
    let (message, hint) = match diagnose::told(recorder) {
        Some((says, hint)) => (format!("{failed}: {says}"), hint),
        None => (failed, "see the last lines above".to_owned()),
    };
    Outcome::Infra {
        stage: recorder.stage(),
        reason: InfraReason::BuilderFailed,
        message,
        hint: format!("{hint}; the whole log is {log}"),
    }
}

/// The userland that a builder starts from: a bare image, as a registry, mmdebstrap or the user's tar gives it.
async fn userland(shop: &Workshop, recorder: &mut Recorder, builder: &Builder) -> StageResult<ImageRecord> {
    if let Some(path) = shop.base.tar(builder)? {
        return from_tar(shop, recorder, builder, path.clone()).await;
    }
    let wanted = Wanted { builder, role: ImageRole::Base, key: builder.userland_key() };
    let _held = shop.images.lock(wanted.key).await;
    if let Some(record) = look_up(shop, recorder, wanted).await? {
        return Ok(record);
    }
    let mut tried = Vec::new();
    let mut attempts = 0;
    // What a name stands for today is what an update asks for.
    let known = match shop.policy {
        ImagePolicy::Anew => None,
        _ => known_digest(shop, wanted.key).await,
    };
    if let Some(reference) = reference(shop, builder, known) {
        attempts += 1;
        recorder.doing(&format!("pull {reference}"));
        let tag = wanted.own_tag(shop);
        // An engine is not asked for what it gives anyway.
        let architecture = builder.architecture.filter(|_| builder.emulated);
        let progress = recorder.progress();
        let source = ImageSource::Registry { reference: reference.clone(), architecture, progress };
        let pulled = tokio::select! {
            pulled = shop.engine.load(source, &tag) => pulled,
            () = shop.cancel.cancelled() => return Err(interrupted(recorder)),
        };
        match pulled {
            Ok(image) if builder.architecture.is_some_and(|own| own.oci() != image.arch) => {
                let unwanted = Object::ImageTag(tag);
                shop.engine.remove(&unwanted).await.map_err(|e| infrastructure(recorder.stage(), &e))?;
                let why = format!("{reference} is for {} and not for {}", image.arch, builder.place());
                recorder.write_line(&format!("packhold: {why}"))?;
                tried.push(why);
            }
            Ok(image) => {
                let origin = pulled_origin(&image, reference);
                return listed(shop, recorder, wanted, &image, origin, "registry").await;
            }
            Err(error @ crate::engine::EngineError::Pull { .. }) => {
                recorder.write_line(&format!("packhold: {error}"))?;
                tried.push(error.to_string());
            }
            Err(error) => return Err(infrastructure(recorder.stage(), &error)),
        }
    }
    let mut reason = InfraReason::NoBase;
    if let Some(bootstrap) = &builder.base.bootstrap {
        attempts += 1;
        recorder.doing(&format!("bootstrap {} with mmdebstrap", bootstrap.suite));
        match bootstrap_tar(shop, recorder, bootstrap, builder.architecture).await? {
            Ok((tar, tool)) => {
                let mirror = shop.base.mirror.clone().or_else(|| bootstrap.mirror.clone());
                let origin = Origin::Bootstrap { suite: bootstrap.suite.clone(), mirror, tool };
                let record = from_rootfs(shop, recorder, wanted, tar, origin, "bootstrap").await?;
                return Ok(record);
            }
            Err(why) => {
                if attempts == 1 {
                    reason = InfraReason::MirrorUnreachable;
                }
                tried.push(why);
            }
        }
    }
    let mut hint = format!(
        "check the network with `packhold doctor`, name another source with --registry or --mirror, or give a root file \
         system with --base-tar {}=FILE",
        builder.place()
    );
    if builder.base.bootstrap.is_none() {
        hint = format!("builder `{}` can only be pulled; {hint}", builder.name);
    }
    Err(Outcome::Infra {
        stage: recorder.stage(),
        reason,
        message: format!(
            "no way to obtain the base image of `{}` worked: {}",
            builder.place(),
            tried.join("; ")
        ),
        hint,
    })
}

/// The digest under which a registry gave this userland before, as the archive remembers it.
async fn known_digest(shop: &Workshop, key: Digest) -> Option<Digest> {
    let archive = shop.archive.clone();
    // An archive that cannot be read is told about where it is needed; here it only knows nothing.
    let record = blocking(move || archive.find_image(&key)).await.ok()??;
    match record.origin {
        Origin::Registry { digest: Some(digest), .. } => digest.parse().ok(),
        _ => None,
    }
}

/// The reference to pull: the builder's, on the registry that the user names, by digest where one is known.
fn reference(shop: &Workshop, builder: &Builder, known: Option<Digest>) -> Option<String> {
    let written = builder.base.registry.as_deref()?;
    let reference = match shop.base.registry.as_deref() {
        Some("none") => return None,
        None => written.to_owned(),
        Some(host) => {
            let path = match written.split_once('/') {
                Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => rest,
                _ => written,
            };
            format!("{host}/{path}")
        }
    };
    Some(match builder.base.digest.or(known) {
        Some(digest) => {
            let name = match reference.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => name,
                _ => &reference,
            };
            format!("{name}@{digest}")
        }
        None => reference,
    })
}

async fn listed(
    shop: &Workshop,
    recorder: &mut Recorder,
    wanted: Wanted<'_>,
    image: &ImageInfo,
    origin: Origin,
    obtained: &str,
) -> StageResult<ImageRecord> {
    let packages = list_packages(shop, recorder, wanted, image, true).await?;
    let record = record_of(wanted, image, origin, obtained, packages);
    accept(shop, recorder.stage(), wanted, record, &[]).await
}

fn tar_key(digest: Digest) -> Digest {
    Digest::of(format!("tar:{digest}"))
}

/// The key of a builder's userland, as the user wants it to be obtained.
pub async fn userland_key(shop: &Workshop, builder: &Builder) -> StageResult<Digest> {
    match shop.base.tar(builder)? {
        Some(path) => Ok(tar_key(tar_digest(builder, path).await?)),
        None => Ok(builder.userland_key()),
    }
}

async fn tar_digest(builder: &Builder, path: &Path) -> StageResult<Digest> {
    let file = path.to_owned();
    blocking(move || {
        let mut hasher = Hasher::new();
        std::io::copy(&mut std::fs::File::open(file)?, &mut hasher)?;
        Ok::<_, std::io::Error>(hasher.finish().0)
    })
    .await
    .map_err(|error| Outcome::Broken {
        message: format!("cannot read the root file system {}: {error}", path.display()),
        hint: format!("check the file given with --base-tar {}=FILE", builder.place()),
    })
}

async fn from_tar(
    shop: &Workshop,
    recorder: &mut Recorder,
    builder: &Builder,
    path: PathBuf,
) -> StageResult<ImageRecord> {
    let digest = tar_digest(builder, &path).await?;
    let wanted = Wanted { builder, role: ImageRole::Base, key: tar_key(digest) };
    let _held = shop.images.lock(wanted.key).await;
    if let Some(record) = look_up(shop, recorder, wanted).await? {
        return Ok(record);
    }
    recorder.doing(&format!("import {}", path.display()));
    let origin = Origin::Tar { path: path.display().to_string(), digest };
    from_rootfs(shop, recorder, wanted, path, origin, "tar").await
}

/// Makes an image of a root file system: first in the archive, from there in the engine, so that both hold the same.
async fn from_rootfs(
    shop: &Workshop,
    recorder: &mut Recorder,
    wanted: Wanted<'_>,
    tar: PathBuf,
    origin: Origin,
    obtained: &str,
) -> StageResult<ImageRecord> {
    let stage = recorder.stage();
    let info = shop.engine.info().await.map_err(|e| infrastructure(stage, &e))?;
    let spec = RootfsSpec {
        arch: wanted.builder.architecture.map_or(info.arch, |own| own.oci().to_owned()),
        created: BOOTSTRAP_EPOCH,
        labels: labels(wanted, &origin),
        comment: format!("packhold: userland of {}", wanted.builder.name),
    };
    recorder.doing("store the base image");
    let archive = shop.archive.clone();
    let image = blocking(move || {
        let file = std::fs::File::open(&tar).map_err(crate::archive::ArchiveError::Input)?;
        archive.image_from_rootfs(file, &spec)
    })
    .await
    .map_err(|e| infrastructure(stage, &e))?;
    let image =
        load(shop, recorder, image.id, &wanted.own_tag(shop)).await.map_err(|e| infrastructure(stage, &e))?;
    let record = listed(shop, recorder, wanted, &image, origin, obtained).await?;
    let (archive, copy) = (shop.archive.clone(), record.clone());
    blocking(move || archive.add_image(&copy)).await.map_err(|e| infrastructure(stage, &e))?;
    Ok(record)
}

/// Runs mmdebstrap on this host; what it says goes to the log. The inner error says why there is no tar.
async fn bootstrap_tar(
    shop: &Workshop,
    recorder: &mut Recorder,
    bootstrap: &Bootstrap,
    architecture: Option<Architecture>,
) -> StageResult<Result<(PathBuf, String), String>> {
    let version = tokio::process::Command::new("mmdebstrap").arg("--version").output().await;
    let Ok(version) = version else {
        return Ok(Err("mmdebstrap is not installed on this host".to_owned()));
    };
    let tool = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let arch = match architecture {
        Some(architecture) => architecture.deb().to_owned(),
        None => shop.engine.info().await.map_err(|e| infrastructure(recorder.stage(), &e))?.arch,
    };
    let tar = shop.scratch.join(format!("{}-{arch}.tar", bootstrap.suite));

    // The parent-death signal lets mmdebstrap clean up its mounts even if this process is killed.
    let mut command = tokio::process::Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "mmdebstrap", "--quiet", "--format=tar"]);
    command.args(["--aptopt=Acquire::Retries \"3\"", "--aptopt=Acquire::http::Timeout \"30\""]);
    command.arg(format!("--variant={}", bootstrap.variant));
    command.arg(format!("--components={}", bootstrap.components.join(",")));
    command.arg(format!("--architectures={arch}"));
    if !bootstrap.include.is_empty() {
        command.arg(format!("--include={}", bootstrap.include.join(",")));
    }
    if let Some(keyring) = bootstrap.keyring.as_ref().filter(|keyring| keyring.exists()) {
        command.arg(format!("--keyring={}", keyring.display()));
    }
    command.arg(&bootstrap.suite).arg(&tar);
    command.args(shop.base.mirror.as_ref().or(bootstrap.mirror.as_ref()));
    command.env("SOURCE_DATE_EPOCH", BOOTSTRAP_EPOCH.to_string());
    command.env("TMPDIR", &shop.scratch);
    command.env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(Err(format!("cannot start mmdebstrap: {error}"))),
    };
    let mut said = child.stderr.take();
    let mut text = Vec::new();
    let status = {
        let read = async {
            if let Some(pipe) = &mut said {
                let _ = tokio::io::AsyncReadExt::read_to_end(pipe, &mut text).await;
            }
            child.wait().await
        };
        tokio::select! {
            status = read => Some(status),
            () = shop.cancel.cancelled() => None,
        }
    };
    let Some(status) = status else {
        if let Some(pid) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
        return Err(interrupted(recorder));
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    recorder.write_line(text.trim_end())?;
    match status {
        Ok(status) if status.success() => Ok(Ok((tar, tool))),
        Ok(_) => {
            let reason =
                text.lines().rev().find(|line| line.starts_with("E: ")).unwrap_or("it failed").to_owned();
            Ok(Err(format!("mmdebstrap {}: {}", bootstrap.suite, reason.trim_start_matches("E: "))))
        }
        Err(error) => Ok(Err(format!("mmdebstrap: {error}"))),
    }
}

fn interrupted(recorder: &Recorder) -> Outcome {
    infrastructure(recorder.stage(), &SandboxError::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Builders;

    #[test]
    fn a_tar_is_found_by_the_builders_name_with_its_architecture_and_without() {
        let choice = |names: &[&str]| BaseChoice {
            tars: names.iter().map(|name| ((*name).to_owned(), PathBuf::from(name))).collect(),
            ..BaseChoice::default()
        };
        let builders = Builders::shipped().on("amd64");
        let own = builders.load_for("debian-12", None).expect("a builder");
        let other = builders.load_for("debian-12", Some(Architecture::Arm64)).expect("a builder");
        for name in ["debian-12", "debian-12/amd64"] {
            let choice = choice(&[name, "debian-12/arm64"]);
            assert_eq!(choice.tar(&own), Ok(Some(&PathBuf::from(name))));
            assert_eq!(choice.tar(&other), Ok(Some(&PathBuf::from("debian-12/arm64"))));
        }
        assert_eq!(choice(&["debian-12"]).tar(&other), Ok(None));
        assert!(matches!(choice(&["debian-12", "debian-12/amd64"]).tar(&own), Err(Outcome::Broken { .. })));
    }
}
