//! Which architectures the engine's containers run, before anything is built.

use super::{Request, RunError};
use crate::engine::{Emulator, EngineInfo};
use crate::model::{Architecture, TargetName};

/// Tells the builders of a request what the engine's own architecture is. An error if a target is for one whose programs its
/// containers cannot run.
pub(super) fn settle(request: &mut Request, engine: &EngineInfo) -> Result<(), RunError> {
    check(engine, request.pipeline.targets.iter().map(|section| &section.name))?;
    request.builders = request.builders.clone().on(&engine.arch);
    Ok(())
}

/// An error if a target is for an architecture whose programs the engine's containers cannot run. Where that cannot be known, it is
/// tried.
pub(super) fn check<'a>(
    engine: &EngineInfo,
    targets: impl IntoIterator<Item = &'a TargetName>,
) -> Result<(), RunError> {
    for target in targets {
        let Some(architecture) = foreign(engine, target) else { continue };
        let Some(emulators) = &engine.emulators else { continue };
        let emulator = emulator_of(emulators, architecture);
        if !emulator.is_some_and(|emulator| emulator.fixed) {
            return Err(RunError::NoEmulator {
                target: Box::new(target.clone()),
                architecture,
                engine: engine.kind.clone(),
                own: engine.arch.clone(),
                interpreter: emulator.map(|emulator| emulator.interpreter.clone()),
            });
        }
    }
    Ok(())
}

/// The architecture that a target names, if it is not the engine's own.
pub(super) fn foreign(engine: &EngineInfo, target: &TargetName) -> Option<Architecture> {
    target.architecture.filter(|own| own.oci() != engine.arch)
}

fn emulator_of(emulators: &[Emulator], architecture: Architecture) -> Option<&Emulator> {
    emulators.iter().find(|emulator| emulator.architecture == architecture)
}

/// What a target's containers run on, in words: `linux/amd64`, `linux/arm64, emulated by /usr/bin/qemu-aarch64-static`.
pub(super) fn words(engine: &EngineInfo, target: &TargetName) -> String {
    let Some(architecture) = foreign(engine, target) else {
        let own = Architecture::of_oci(&engine.arch);
        return own.map_or_else(|| format!("linux/{}", engine.arch), Architecture::platform);
    };
    let emulators = engine.emulators.as_deref().unwrap_or_default();
    match emulator_of(emulators, architecture) {
        Some(emulator) => {
            format!("{}, emulated by {}", architecture.platform(), emulator.interpreter.display())
        }
        None => format!("{}, emulated by the engine's host", architecture.platform()),
    }
}
