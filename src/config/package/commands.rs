use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::super::ConfigError;
use super::super::checker::Checker;

/// Commands as they are written: a shell script, or a list of commands.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a shell script, or a list of commands: lines, or lists of words")]
pub(super) enum RawCommands {
    Script(String),
    List(Vec<RawCommand>),
}

/// A line for a shell, or a program and its arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a line for a shell, or a list of words")]
pub(super) enum RawCommand {
    Line(String),
    Words(Vec<String>),
}

impl Checker<'_> {
    /// The commands as one shell script that ends in a newline.
    pub(super) fn commands(&self, raw: &Spanned<RawCommands>) -> Result<String, ConfigError> {
        let wrong = |message: &str| {
            let hint = "write a script, or a list such as [\"make\", [\"./stamp\", \"--release\"]]";
            Err(self.document.error(raw.span(), message, hint))
        };
        let lines: Vec<String> = match raw.get_ref() {
            RawCommands::Script(script) => vec![script.trim_end().to_owned()],
            RawCommands::List(commands) => commands.iter().map(RawCommand::line).collect(),
        };
        if lines.iter().all(|line| line.trim().is_empty()) {
            return wrong("there is no command");
        }
        let text = lines.join("\n") + "\n";
        match text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
            true => wrong("a command has a control character"),
            false => Ok(text),
        }
    }
}

impl RawCommand {
    fn line(&self) -> String {
        match self {
            Self::Line(line) => line.trim_end().to_owned(),
            Self::Words(words) => shell_words::join(words),
        }
    }
}
