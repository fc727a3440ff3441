use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::doctor_keys::examine_keys;
use super::error::REGISTER;
use super::{Folders, RunError, open_shop_for};
use crate::archive::Archive;
use crate::config::Builders;
use crate::engine::{Capability, Emulator, Engine, EngineInfo, embedded};
use crate::model::Architecture;
use crate::sign::KeySource;
use crate::stage::{BaseChoice, Reporter, probe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was looked at, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub state: Health,
    /// What was found.
    pub detail: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Good,
    /// Not looked at, or of little concern.
    Unknown,
    /// Work will fail.
    Bad,
}

/// Free bytes below which a run may not get through.
const LITTLE_SPACE: u64 = 5 << 30;

/// Whether this machine can do without a daemon. A mount is tried where the engine would work: in `folder`, or the nearest
/// folder above it that is there.
async fn own_engine(folder: &Path) -> (Health, String) {
    let missing = embedded::missing();
    if !missing.is_empty() {
        return (Health::Unknown, format!("this machine lacks {}", missing.join("; ")));
    }
    if embedded::rootless::is_outside() {
        let words =
            "this user needs no daemon and not to be root, if `doctor --engine embedded` can mount layers";
        return (Health::Good, words.to_owned());
    }
    let place = folder.ancestors().find(|place| place.is_dir()).unwrap_or(Path::new("/")).to_owned();
    let tried = tokio::task::spawn_blocking(move || embedded::try_overlay(&place)).await;
    match tried.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(()) => (Health::Good, "this machine needs no daemon; layers can be mounted".to_owned()),
        Err(why) => (Health::Unknown, format!("overlayfs cannot be used in {}: {why}", folder.display())),
    }
}

/// The keys that sign repositories here.
pub struct Signing {
    /// The keys that are named.
    pub keys: Vec<KeySource>,
    /// The folders in which programs are found.
    pub path: Vec<PathBuf>,
}

/// Looks at everything that a run needs, and the keys that are named. `engine_folder` is that of this program's own engine; it need not be there.
pub async fn examine(
    engine: Result<Arc<dyn Engine>, String>,
    archive: &Archive,
    builders: &Builders,
    folders: &Folders,
    engine_folder: &Path,
    signing: Signing,
) -> Result<Vec<Finding>, RunError> {
    let mut findings = Vec::new();
    let mut say = |what: &str, state, detail: String| {
        findings.push(Finding { what: what.to_owned(), state, detail });
    };
    for (program, needed) in
        [("mmdebstrap", "base images can only be pulled"), ("setpriv", "needed by bootstraps")]
    {
        match tokio::process::Command::new(program).arg("--version").output().await {
            Ok(output) => {
                say(program, Health::Good, String::from_utf8_lossy(&output.stdout).trim().to_owned())
            }
            Err(_) => say(program, Health::Bad, format!("not installed: {needed}")),
        }
    }
    let keys = tokio::task::spawn_blocking(move || examine_keys(&signing.keys, &signing.path)).await;
    for Finding { what, state, detail } in keys.unwrap_or_default() {
        say(&what, state, detail);
    }
    std::fs::create_dir_all(&folders.cache).ok();
    for (what, path) in [("disk of the archive", archive.path()), ("disk of the cache", &folders.cache)] {
        disk(&mut say, what, path);
    }
    let (state, detail) = own_engine(engine_folder).await;
    say("embedded engine", state, detail);
    let engine = match engine {
        Ok(engine) => engine,
        Err(why) => {
            say("engine", Health::Bad, why);
            return Ok(findings);
        }
    };
    let info = engine.info().await?;
    say("engine", Health::Good, format!("{} {}, API {}, {}", info.kind, info.version, info.api, info.arch));
    let arch = info.arch.clone();
    emulation(&mut say, &info);
    let known = |what| info.shortcomings.iter().any(|each| each.what == what);
    if !known(Capability::Limits) {
        let limits = if info.limits { Health::Good } else { Health::Bad };
        let words = if info.limits { "yes" } else { "no" };
        say("limits", limits, format!("memory and processes can be limited: {words}"));
    }
    for shortcoming in &info.shortcomings {
        say(&shortcoming.what.to_string(), Health::Unknown, shortcoming.why.clone());
    }
    if let Some(store) = &info.store {
        let path = std::path::Path::new(store);
        if path.exists() {
            disk(&mut say, "disk of the engine", path);
        }
    }
    let scratch = folders.scratch()?;
    let (events, _nobody) = tokio::sync::mpsc::unbounded_channel();
    let shop = open_shop_for(
        engine,
        archive.clone(),
        BaseChoice::default(),
        folders,
        (Timestamp::now(), scratch.path()),
        Reporter::new(events),
        CancellationToken::new(),
    )?;
    let mut probed = 0;
    let builders = builders.clone().on(&arch);
    for name in builders.names() {
        let builder = builders.load(&name)?;
        if let Some(result) = probe(&shop, &builder).await {
            probed += 1;
            let what = format!("network in `{name}`");
            match result {
                Ok(()) => say(&what, Health::Good, "names are resolved and the mirror answers".to_owned()),
                Err(why) => say(&what, Health::Bad, why),
            }
        }
    }
    if probed == 0 {
        let detail = "not tried: no base image is here yet; the first run makes one";
        say("network in containers", Health::Unknown, detail.to_owned());
    }
    let _ = std::fs::remove_dir_all(&shop.logs);
    Ok(findings)
}

/// Whether packages for other architectures can be built.
fn emulation(say: &mut impl FnMut(&str, Health, String), info: &EngineInfo) {
    let Some(emulators) = &info.emulators else {
        let detail = "not known: the engine is on another machine; a run tries it";
        say("other architectures", Health::Unknown, detail.to_owned());
        return;
    };
    for architecture in Architecture::ALL.into_iter().filter(|own| own.oci() != info.arch) {
        let what = format!("containers for {architecture}");
        match emulators.iter().find(|emulator| emulator.architecture == architecture) {
            Some(Emulator { interpreter, fixed: true, .. }) => {
                say(&what, Health::Good, format!("emulated by {} (flag F)", interpreter.display()));
            }
            Some(Emulator { interpreter, .. }) => {
                let path = interpreter.display();
                say(&what, Health::Unknown, format!("{path} is registered without flag F: {REGISTER}"));
            }
            None => say(&what, Health::Unknown, format!("no emulator is registered: {REGISTER}")),
        }
    }
}

fn disk(say: &mut impl FnMut(&str, Health, String), what: &str, path: &std::path::Path) {
    match rustix::fs::statvfs(path) {
        Ok(stat) => {
            let free = stat.f_bavail * stat.f_frsize;
            let state = if free < LITTLE_SPACE { Health::Bad } else { Health::Good };
            say(
                what,
                state,
                format!("{} free at {}", bytesize::ByteSize::b(free).display().iec(), path.display()),
            );
        }
        Err(error) => say(what, Health::Bad, format!("{}: {error}", path.display())),
    }
}
