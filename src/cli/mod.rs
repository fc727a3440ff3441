//! The command line: one file per command. The only place that prints, reads the environment or exits.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the layer that prints")]

mod archive;
mod args;
mod board;
mod ci;
mod clean;
mod completions;
mod context;
mod diff;
mod doctor;
#[cfg(test)]
mod documented;
mod eject;
mod error;
mod import;
mod init;
mod inside;
mod key;
mod leftovers;
mod list;
mod log;
mod logging;
mod man;
mod notify;
mod output;
mod painter;
mod plan;
mod publish;
mod receipt;
mod release;
mod replay;
mod report;
mod reports;
mod restore;
mod run;
mod schema;
mod shell;
mod signing_args;
mod terminal;
mod transfer;
mod update;
mod verify;
mod why;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command, KeyCommand};
use error::CliError;

use crate::engine::embedded;

/// Parses the command line, does what it says, and gives the process's exit code.
pub fn main() -> ExitCode {
    // Before anything that starts a thread.
    let word = std::env::args_os;
    if let Some(code) = embedded::helper::main(word()).or_else(|| embedded::rootless::main(word())) {
        return code;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap prints help to standard output and errors to standard error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    logging::begin();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: cannot start: {error}\nHint: is the limit of processes or open files reached?");
            return ExitCode::from(3);
        }
    };
    let result = runtime.block_on(dispatch(arguments));
    // A thread that still waits for a dead engine must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprint!("{}", error.render());
            ExitCode::from(error.exit_code())
        }
    }
}

async fn dispatch(arguments: Arguments) -> Result<u8, CliError> {
    let common = &arguments.common;
    if let Some(error) = inside::enter_where_needed(&arguments.command).await {
        return Err(error);
    }
    match arguments.command {
        Command::Init(command) => init::init(&command),
        Command::Run(command) => run::run(common, command).await,
        Command::Plan(command) => plan::plan(common, command).await,
        Command::Update(command) => update::update(common, command).await,
        Command::Verify(command) => verify::verify(common, command).await,
        Command::Log(command) => log::log(common, &command),
        Command::Why(command) => why::why(common, &command),
        Command::Diff(command) => diff::diff(common, &command),
        Command::Shell(command) => shell::shell(common, command).await,
        Command::Report(command) => report::report(common, command),
        Command::Archive(command) => archive::archive(common, command).await,
        Command::Release(command) => release::release(common, command).await,
        Command::Publish(command) => publish::publish(common, command).await,
        Command::Import(command) => import::import(common, command).await,
        Command::Key(KeyCommand::Check(command)) => key::check(common, &command),
        Command::Eject(command) => eject::eject(common, &command),
        Command::Doctor(command) => doctor::doctor(common, command).await,
        Command::Clean(command) => clean::clean(common, command).await,
        Command::Unshare { command } => Err(inside::unshare(&command)),
        Command::Completions { shell } => {
            completions::completions(shell);
            Ok(0)
        }
        Command::Man { to } => man::man(&to),
        Command::Schema { of } => {
            schema::schema(of);
            Ok(0)
        }
    }
}
