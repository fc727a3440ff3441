//! Starting again as root of a user namespace, where an ordinary user is to have the embedded engine.

use std::ffi::OsString;

use super::args::{ArchiveCommand, Command, EngineChoice};
use super::context;
use super::error::CliError;
use crate::engine::embedded::{missing, rootless};

/// Starts the program again, inside, if the command is to use the embedded engine and an ordinary user gave it; otherwise, and
/// where this machine lacks something for that, nothing. Returns the error of the start.
pub(super) async fn enter_where_needed(command: &Command) -> Option<CliError> {
    let choice = engine_of(command).filter(|_| rootless::is_outside())?;
    // Cleaning asks every engine that is here.
    let all = matches!(command, Command::Clean(_)) && choice == EngineChoice::Auto;
    let wanted = if all { context::engine_folder().exists() } else { context::uses_embedded(choice).await };
    if !wanted || !missing().is_empty() {
        return None;
    }
    Some(failed("packhold", &rootless::enter_again(std::env::args_os())))
}

/// `packhold unshare`
pub(super) fn unshare(command: &[OsString]) -> CliError {
    let name = command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    let lacks = missing();
    if rootless::is_outside() && !lacks.is_empty() {
        return CliError::Usage {
            message: format!(
                "there can be no namespace to run {name} in: this machine lacks {}",
                lacks.join("; ")
            ),
            hint: "mend that, as root, then run it again".to_owned(),
        };
    }
    failed(&name, &rootless::run_inside(command))
}

fn failed(program: &str, error: &std::io::Error) -> CliError {
    CliError::Usage {
        message: format!("cannot start {program}: {error}"),
        hint: "check the spelling, and that the program's file is still there and may be run".to_owned(),
    }
}

/// The engine that a command uses, if it uses one.
fn engine_of(command: &Command) -> Option<EngineChoice> {
    let arguments = match command {
        Command::Run(arguments) | Command::Plan(arguments) => &arguments.engine,
        Command::Update(arguments) => &arguments.engine,
        Command::Verify(arguments) => &arguments.engine,
        Command::Shell(arguments) => &arguments.engine,
        Command::Release(arguments) => &arguments.destination.engine,
        Command::Publish(arguments) if !arguments.rollback && !arguments.destination.no_check => {
            &arguments.destination.engine
        }
        Command::Doctor(arguments) => &arguments.engine,
        Command::Clean(arguments) => arguments,
        Command::Archive(ArchiveCommand::Replay(arguments)) => &arguments.engine,
        Command::Archive(ArchiveCommand::Drill(arguments)) => &arguments.engine,
        Command::Archive(ArchiveCommand::Restore(arguments)) if arguments.image.is_some() => {
            &arguments.engine
        }
        Command::Archive(_)
        | Command::Publish(_)
        | Command::Import(_)
        | Command::Init(_)
        | Command::Key(_)
        | Command::Eject(_)
        | Command::Log(_)
        | Command::Why(_)
        | Command::Diff(_)
        | Command::Report(_)
        | Command::Unshare { .. }
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Schema { .. } => {
            return None;
        }
    };
    Some(arguments.engine)
}
