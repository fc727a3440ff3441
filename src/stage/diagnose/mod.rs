mod known;

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::Recorder;
use crate::archive::ArchiveError;
use crate::engine::EngineError;
use crate::model::{FailReason, InfraReason, Outcome, Stage};
use crate::sandbox::{SandboxError, StepEnd, StepResult, Watch};
use crate::support::Hint;
use crate::support::fs::{FsError, is_full};

/// Words in a log that tell more than an exit status, the most telling first.
static PATTERNS: LazyLock<Vec<(Regex, FailReason)>> = LazyLock::new(|| {
    [
        (r"No space left on device|Disk quota exceeded", FailReason::NoSpace),
        (
            r"(?i)fork: (retry: )?Resource temporarily unavailable|cannot fork|can't fork|fork failed|unable to create (a )?(new )?(native )?thread|failed to create new OS thread",
            FailReason::ProcessLimit,
        ),
        (
            r"(?i)temporary failure in name resolution|temporary failure resolving|could not resolve host|network is unreachable|name or service not known|failed to resolve|no such host|dial tcp|unable to resolve",
            FailReason::Network,
        ),
    ]
    .map(|(pattern, reason)| (Regex::new(pattern).expect("the patterns are constants"), reason))
    .into()
});

/// An error of ours as an outcome.
pub trait Infrastructure: Hint + Send + Sync {
    /// The stable word for it.
    fn reason(&self) -> InfraReason;
}

impl Infrastructure for EngineError {
    fn reason(&self) -> InfraReason {
        match self {
            Self::Unreachable { .. } => InfraReason::EngineLost,
            Self::NoSpace { .. } => InfraReason::NoSpace,
            Self::Stream { source, .. } if is_full(source) => InfraReason::NoSpace,
            _ => InfraReason::EngineError,
        }
    }
}

impl Infrastructure for SandboxError {
    fn reason(&self) -> InfraReason {
        match self {
            Self::Engine(error) => error.reason(),
            Self::Interrupted => InfraReason::Interrupted,
            Self::Log(error) | Self::Tar(error) if is_full(error) => InfraReason::NoSpace,
            _ => InfraReason::Io,
        }
    }
}

impl Infrastructure for ArchiveError {
    fn reason(&self) -> InfraReason {
        if self.is_full() { InfraReason::NoSpace } else { InfraReason::Io }
    }
}

impl Infrastructure for FsError {
    fn reason(&self) -> InfraReason {
        if self.is_full() { InfraReason::NoSpace } else { InfraReason::Io }
    }
}

impl<E: Infrastructure + 'static> From<E> for Box<dyn Infrastructure> {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

/// The outcome of a stage that an error of ours ended.
pub fn infrastructure(stage: Stage, error: &dyn Infrastructure) -> Outcome {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    Outcome::Infra { stage, reason: error.reason(), message, hint: error.hint() }
}

/// A failure of the package with a hint that ends with where the log is.
pub(super) fn failed(
    recorder: &Recorder,
    reason: FailReason,
    message: impl Into<String>,
    hint: &str,
) -> Outcome {
    Outcome::Failed {
        stage: recorder.stage(),
        reason,
        message: message.into(),
        hint: format!("{hint}; the whole log is {}", recorder.log_path().display()),
    }
}

/// The log could not be written.
pub(super) fn log_failed(recorder: &Recorder, error: std::io::Error) -> Outcome {
    infrastructure(recorder.stage(), &SandboxError::Log(error))
}

/// The outcome of a step that did not succeed: one function maps what is known to a reason.
pub(super) fn step(recorder: &Recorder, title: &str, result: &StepResult, watch: &Watch) -> Outcome {
    let fail = |reason, message: String, hint: &str| failed(recorder, reason, message, hint);
    match result.end {
        StepEnd::TimeOut => fail(
            FailReason::TimeOut,
            format!("`{title}` was stopped after {}", humantime::format_duration(watch.time)),
            "raise `time` in [limits] if it really needs longer",
        ),
        StepEnd::Silent => fail(
            FailReason::Silent,
            format!("`{title}` printed nothing for {}", humantime::format_duration(watch.silence)),
            "it may wait for input or hang; raise `silence` in [limits] if it is only quiet",
        ),
        StepEnd::OutputLimit => fail(
            FailReason::OutputLimit,
            format!("`{title}` printed more than {}", bytesize::ByteSize::b(watch.output)),
            "make it quieter, or raise `output` in [limits]",
        ),
        StepEnd::ContainerGone { oom: true } | StepEnd::Exited { oom: true, .. } => fail(
            FailReason::Oom,
            format!("`{title}` ran out of memory"),
            "raise `memory` in [limits], or build with fewer parallel jobs",
        ),
        StepEnd::ContainerGone { oom: false } => Outcome::Infra {
            stage: recorder.stage(),
            reason: InfraReason::EngineError,
            message: format!("the container vanished while `{title}` ran"),
            hint: "was it removed by somebody else, or is the host out of memory? run it again".to_owned(),
        },
        StepEnd::Exited { process_limit: true, .. } => too_many_processes(recorder, title),
        StepEnd::Exited { code, .. } => match recognised(recorder.tail()) {
            Some(FailReason::ProcessLimit) => too_many_processes(recorder, title),
            Some(FailReason::NoSpace) => fail(
                FailReason::NoSpace,
                format!("`{title}` found a file system full (exit status {code})"),
                "free space on the engine's disk, or make the build smaller",
            ),
            Some(FailReason::Network) if matches!(recorder.stage(), Stage::Build | Stage::Prepare) => fail(
                FailReason::Network,
                format!(
                    "`{title}` tried to use the network, which is off while building (exit status {code})"
                ),
                "declare what it fetches as a build dependency, or put it into the source tree",
            ),
            _ => match known::recognise(recorder.tail()) {
                Some(known) => fail(
                    known.reason,
                    format!("`{title}` ended with exit status {code}: {}", known.says),
                    &known.hint,
                ),
                None => fail(
                    FailReason::StepExit,
                    format!("`{title}` ended with exit status {code}"),
                    "see the last lines above",
                ),
            },
        },
    }
}

fn too_many_processes(recorder: &Recorder, title: &str) -> Outcome {
    failed(
        recorder,
        FailReason::ProcessLimit,
        format!("`{title}` reached the limit of processes"),
        "raise `processes` in [limits] if it really needs more",
    )
}

fn recognised(tail: &[u8]) -> Option<FailReason> {
    PATTERNS.iter().find(|(pattern, _)| pattern.is_match(tail)).map(|(_, reason)| *reason)
}

/// What the end of a log tells of why a step failed, with a hint.
pub(super) fn told(recorder: &Recorder) -> Option<(String, String)> {
    known_failure(recorder.tail())
}

/// What the table of known failures tells of what a step printed at its end: what is wrong, and what to do about it.
pub fn known_failure(tail: &[u8]) -> Option<(String, String)> {
    known::recognise(tail).map(|known| (known.says, known.hint))
}

/// The values of the lines `packhold: WORD: VALUE` that a builder's script printed (builders/README.md).
pub(super) fn contract_lines(tail: &[u8], word: &str) -> Vec<String> {
    let start = format!("packhold: {word}");
    String::from_utf8_lossy(tail)
        .lines()
        .filter_map(|line| line.strip_prefix(&start))
        .map(|rest| rest.trim_start_matches(':').trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_failures_are_recognised_by_their_words() {
        for (log, reason) in [
            ("cc: error: foo\nwrite error: No space left on device\n", Some(FailReason::NoSpace)),
            ("/bin/sh: 1: Cannot fork\n", Some(FailReason::ProcessLimit)),
            ("bash: fork: retry: Resource temporarily unavailable", Some(FailReason::ProcessLimit)),
            ("curl: (6) Could not resolve host: example.org", Some(FailReason::Network)),
            ("main.c:1:1: error: unknown type name", None),
        ] {
            assert_eq!(recognised(log.as_bytes()), reason, "{log}");
        }
    }

    #[test]
    fn what_a_script_says_by_contract_is_read_from_its_log() {
        let log = b"noise\npackhold: missing-dependency: libfoo-dev\npackhold: mirror-unreachable\n";
        assert_eq!(contract_lines(log, "missing-dependency"), ["libfoo-dev"]);
        assert_eq!(contract_lines(log, "mirror-unreachable"), [""]);
    }
}
