//! What cron and logrotate run of a package.

use super::package::Facts;
use super::session::Session;
use super::{Done, Halt};
use crate::model::{FailReason, Scenario};
use crate::stage::diagnose;
use crate::support::terminal_text::neutralise;

impl Session<'_> {
    /// Runs what is there of the packages' cron jobs and settings of logrotate: none may fail or speak.
    pub async fn run_jobs(&mut self, scenario: Scenario, check: &str, facts: &Facts) -> Done {
        let runs = |path: &&String| path.starts_with("/etc/cron.") || path.starts_with("/etc/logrotate.d/");
        let jobs: Vec<&str> = facts.contents.iter().filter(runs).map(String::as_str).collect();
        if jobs.is_empty() {
            self.passed(scenario, check);
            return Ok(());
        }
        let mut arguments = vec!["left"];
        arguments.extend(jobs);
        let result = self.run("run cron jobs and logrotate", "verify.sh", &arguments).await?;
        if result.end.succeeded() {
            self.passed(scenario, check);
            return Ok(());
        }
        let mut told = false;
        for (word, reason) in
            [("cron-fails", FailReason::CronFails), ("logrotate-fails", FailReason::LogrotateFails)]
        {
            for line in diagnose::contract_lines(self.recorder.tail(), word) {
                let line = neutralise(line.as_bytes());
                let object = line.split(':').next().unwrap_or_default().to_owned();
                let message = format!("{reason}: {line}");
                self.fail(scenario, check, reason, message, Some(object), vec![line]);
                told = true;
            }
        }
        if told { Ok(()) } else { Err(Halt::Stage(self.script_failed("verify.sh"))) }
    }
}
