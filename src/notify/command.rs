use std::process::Command;
use std::time::Duration;

use super::Message;
use crate::config::NotifyCommand;
use crate::sign::{SignError, run_program};

/// Runs a program with the message on its standard input, in the user's environment and without a shell. What it prints is not shown, but for the
/// end of its standard error if it fails.
pub(super) async fn run(command: &NotifyCommand, message: &Message, time: Duration) -> Result<(), String> {
    let (argv, body) = (command.run.clone(), message.body.clone());
    let work = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        run_program(&argv[0], command, &body, time)
    });
    match work.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(SignError::Program { reason, stderr, .. })) if stderr.is_empty() => Err(reason),
        Ok(Err(SignError::Program { reason, stderr, .. })) => Err(format!("{reason}; it says: {stderr}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
