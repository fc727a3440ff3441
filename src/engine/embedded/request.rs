//! What the engine and its helper process say to each other.
//!
//! The helper reads one line of JSON, a [`Request`], from its standard input, and after it for [`Request::Put`] a tar, for
//! [`Request::Exec`] with an input [`Frame`](super::frame::Frame)s.
//! Its standard output is data: what a command prints, or a tar. On standard error it says how it ended, as one line of
//! JSON, a [`Report`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::record::Process;
use crate::engine::{Command, EngineError, Limits, WindowSize};

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Makes a container and starts its first process.
    Create(Create),
    /// Runs a command and waits for it.
    Exec(Exec),
    /// Unpacks a tar.
    Put(Files),
    /// Packs a tar.
    Get(Files),
}

impl Request {
    /// The container in which something goes on for as long as the helper runs.
    pub(super) fn container(&self) -> Option<&str> {
        match self {
            Self::Create(Create { id, .. }) | Self::Exec(Exec { id, .. }) => Some(id),
            Self::Put(_) | Self::Get(_) => None,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Create {
    pub(super) folder: PathBuf,
    pub(super) id: String,
    pub(super) overlay: Overlay,
    pub(super) init: bool,
    pub(super) capabilities: Vec<String>,
    pub(super) limits: Limits,
    pub(super) own_network: bool,
}

/// The file system of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Overlay {
    /// The lowest first.
    pub(super) lower: Vec<PathBuf>,
    pub(super) upper: PathBuf,
    pub(super) work: PathBuf,
    pub(super) merged: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Exec {
    pub(super) folder: PathBuf,
    pub(super) id: String,
    pub(super) first: Process,
    pub(super) capabilities: Vec<String>,
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) dir: String,
    pub(super) input: Input,
}

/// The standard input of a command.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Input {
    /// It is empty.
    Empty,
    /// A pipe.
    Pipe,
    /// A terminal of this size, which is standard output and error too.
    Terminal(WindowSize),
}

impl Exec {
    /// A command as a request; `None` if its user is not `uid:gid` as numbers.
    pub(super) fn new(
        folder: PathBuf,
        id: String,
        first: Process,
        capabilities: Vec<String>,
        command: &Command,
        input: Input,
    ) -> Option<Self> {
        let (uid, gid) = command.user.split_once(':')?;
        Some(Self {
            folder,
            id,
            first,
            capabilities,
            argv: command.argv.clone(),
            env: command.env.clone(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            dir: command.dir.clone(),
            input,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Files {
    /// The container's first process, whose view of the file system it is.
    pub(super) first: Option<Process>,
    /// Of a container that has stopped: where its file system is.
    pub(super) overlay: Option<Overlay>,
    /// The path in the container.
    pub(super) path: String,
}

/// How the helper ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// It did what it was asked.
    Done,
    /// The command ended, with this status.
    Exited(i64),
    /// The container's first process does not run any more.
    Gone,
    /// A path of the container does not exist.
    NotFound(String),
    /// A file system is full.
    NoSpace(String),
    /// It could not do it.
    Refused(String),
}

impl Report {
    /// The report in what a helper wrote to its standard error; other words there are the kernel's or a library's.
    pub(super) fn parse(text: &str) -> Self {
        let last = text.lines().rev().find_map(|line| serde_json::from_str(line).ok());
        last.unwrap_or_else(|| match text.trim() {
            "" => Self::Refused("the helper process was ended".to_owned()),
            words => Self::Refused(words.to_owned()),
        })
    }

    /// The report as an error, where it is one that `action` did not expect.
    pub(super) fn into_error(self, action: String) -> EngineError {
        match self {
            Self::NotFound(what) => EngineError::NotFound(what),
            Self::NoSpace(message) => EngineError::NoSpace { action, message },
            Self::Refused(message) => EngineError::Refused { action, message },
            Self::Gone => EngineError::Refused { action, message: "the container has stopped".to_owned() },
            Self::Done | Self::Exited(_) => EngineError::Refused {
                action,
                message: "the helper process answered another question".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_report_counts_and_other_words_are_a_failure() {
        let text = "warning: x\n{\"Exited\":3}\n\"Done\"\n";
        assert_eq!(Report::parse(text), Report::Done);
        assert_eq!(Report::parse("{\"Exited\":3}"), Report::Exited(3));
        assert_eq!(Report::parse("panicked at y\n"), Report::Refused("panicked at y".to_owned()));
        assert!(matches!(Report::parse(""), Report::Refused(_)));
    }
}
