//! The pipeline's own questions: commands that must answer, files that must be as it says.

use super::session::Session;
use super::{Done, Halt};
use crate::config::{FileAssertion, SmokeCommand};
use crate::model::{FailReason, Scenario};
use crate::sandbox::{StepResult, Watch};
use crate::support::terminal_text::neutralise;

/// Keeps standard output and standard error apart: prints the first, a NUL, then the second.
const APART: &str = "d=$(mktemp -d) || exit; /bin/sh -c \"$1\" >\"$d/out\" 2>\"$d/err\"; s=$?; \
                     cat \"$d/out\"; printf '\\0'; cat \"$d/err\"; rm -rf \"$d\"; exit $s";

/// Bytes of a file in which its assertion looks for a pattern.
const LONGEST_FILE: usize = 1 << 20;

impl Session<'_> {
    /// The pipeline's commands and files. A failure is told and ends nothing. True if all is well.
    pub async fn smoke(&mut self, scenario: Scenario) -> Done<bool> {
        let section = self.bench.request.section;
        let mut well = true;
        for smoke in &section.smoke {
            well &= self.smoke_command(scenario, smoke).await?;
        }
        for assertion in &section.files {
            well &= self.file_assertion(scenario, assertion).await?;
        }
        Ok(well)
    }

    async fn smoke_command(&mut self, scenario: Scenario, smoke: &SmokeCommand) -> Done<bool> {
        let apart = smoke.stdout.is_some() || smoke.stderr.is_some();
        let argv: &[&str] = if apart {
            &["/bin/sh", "-c", APART, "smoke", &smoke.run]
        } else {
            &["/bin/sh", "-c", &smoke.run]
        };
        let command = self.command(argv);
        let watched = Watch { time: smoke.time, silence: smoke.time, output: self.bench.limits().output };
        let title = format!("smoke: {}", smoke.run);
        let result = self.recorder.step(&self.sandbox, &title, &command, &watched).await?;
        let Some(message) = self.smoke_problem(smoke, apart, &result) else {
            self.passed(scenario, smoke.run.clone());
            return Ok(true);
        };
        self.failed(scenario, &smoke.run, FailReason::SmokeFailed, message);
        // A command that was given up may still run, and with it the sandbox is good for nothing more.
        if result.end.code().is_none() { Err(Halt::Told) } else { Ok(false) }
    }

    fn smoke_problem(&self, smoke: &SmokeCommand, apart: bool, result: &StepResult) -> Option<String> {
        let Some(code) = result.end.code() else {
            let time = humantime::format_duration(smoke.time);
            return Some(format!("`{}` did not end within {time}", smoke.run));
        };
        if code != smoke.exit {
            return Some(format!("`{}` ended with exit status {code} instead of {}", smoke.run, smoke.exit));
        }
        let said = String::from_utf8_lossy(self.recorder.tail()).into_owned();
        let (out, err) = if apart { said.split_once('\0').unwrap_or((&said, "")) } else { ("", "") };
        let both = said.replace('\0', "");
        let questions = [
            (&smoke.output, both.as_str(), "print"),
            (&smoke.stdout, out, "print to standard output"),
            (&smoke.stderr, err, "print to standard error"),
        ];
        questions.into_iter().find_map(|(pattern, text, how)| {
            let pattern = pattern.as_ref().filter(|pattern| !pattern.is_match(text))?;
            Some(format!("`{}` did not {how} what matches `{pattern}`", smoke.run))
        })
    }

    async fn file_assertion(&mut self, scenario: Scenario, asked: &FileAssertion) -> Done<bool> {
        let path = asked.path.as_str();
        // Exit status 3 is our own word for a path that is not there.
        let stat = "[ -e \"$1\" ] || [ -L \"$1\" ] || exit 3; stat -c '%a %U:%G' -- \"$1\"; \
                    [ ! -f \"$1\" ] || head -c \"$2\" -- \"$1\"";
        let longest = LONGEST_FILE.to_string();
        let command = self.command(&["/bin/sh", "-c", stat, "stat", path, &longest]);
        let mut said = Vec::new();
        let mut keep = |chunk: &[u8]| {
            said.extend_from_slice(chunk);
            Ok(())
        };
        let watched = Watch {
            time: std::time::Duration::from_secs(60),
            silence: std::time::Duration::from_secs(60),
            output: 2 * LONGEST_FILE as u64,
        };
        self.recorder.doing(&format!("look at {path}"));
        let stage = self.recorder.stage();
        let result = self.sandbox.run(&command, &watched, &mut keep).await;
        let result = result.map_err(|e| Halt::Stage(crate::stage::infrastructure(stage, &e)))?;
        let there = result.end.code() != Some(3);
        let said = String::from_utf8_lossy(&said).into_owned();
        let (first, content) = said.split_once('\n').unwrap_or((&said, ""));
        let (mode, owner) = first.split_once(' ').unwrap_or((first, ""));
        let message = if there != asked.exists {
            Some(format!("{path} {}", if there { "is there" } else { "is not there" }))
        } else if !there {
            None
        } else if let Some(wanted) = asked.mode.as_ref().filter(|wanted| *wanted != mode) {
            Some(format!("{path} has mode {mode} instead of {wanted}"))
        } else if let Some(wanted) = asked.owner.as_ref().filter(|wanted| *wanted != owner) {
            Some(format!("{path} belongs to {owner} instead of {wanted}"))
        } else {
            let pattern = asked.contains.as_ref().filter(|pattern| !pattern.is_match(content));
            pattern.map(|pattern| format!("{path} does not contain what matches `{pattern}`"))
        };
        let check = format!("file {path}");
        match message {
            None => {
                self.passed(scenario, check);
                Ok(true)
            }
            Some(message) => {
                let message = neutralise(message.as_bytes());
                let evidence = vec![neutralise(first.as_bytes())];
                let object = Some(path.to_owned());
                self.fail(scenario, &check, FailReason::FileAssertion, message, object, evidence);
                Ok(false)
            }
        }
    }
}
