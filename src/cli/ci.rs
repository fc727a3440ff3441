//! The CI server in which this program runs, and what it wants to be told.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::args::OutputFormat;
use super::error::CliError;
use super::notify::NotifyArguments;
use super::reports::{Form, ReportFiles, Views};
use crate::model::RunRecord;
use crate::report;
use crate::run::write_text;
use crate::support::fs::PathContext;

/// What GitLab is told which files to read ("artifacts:reports" of a job).
const GITLAB_JUNIT: &str = "packhold-junit.xml";
const GITLAB_CODE_QUALITY: &str = "gl-code-quality-report.json";

/// Who is told about a run, beside the user.
#[derive(Args, Debug, Default)]
pub(super) struct Told {
    #[command(flatten)]
    pub files: ReportFiles,
    /// Tell a CI server what it shows beside a commit: GitHub gets annotations and a summary, GitLab JUnit and code quality files
    #[arg(long, value_enum, default_value_t, env = "PACKHOLD_CI")]
    pub ci: CiChoice,
    #[command(flatten)]
    pub others: NotifyArguments,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum CiChoice {
    /// The one whose variables are in the environment: GITHUB_ACTIONS, GITLAB_CI
    #[default]
    Auto,
    Github,
    Gitlab,
    None,
}

/// A CI server.
pub(super) enum Ci {
    None,
    /// GitHub Actions, or what speaks as it does.
    Github {
        /// The folder of the repository.
        workspace: Option<PathBuf>,
        /// The file that becomes the step's summary.
        summary: Option<PathBuf>,
    },
    /// GitLab.
    Gitlab {
        /// The folder of the repository, in which a job's reports are.
        project: Option<PathBuf>,
    },
}

impl Ci {
    /// The server that is chosen, or the one whose variables are in the environment.
    pub fn of(choice: CiChoice) -> Self {
        let says_so = |name: &str| env::var_os(name).is_some_and(|value| value == "true");
        let path = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        match choice {
            CiChoice::None => Self::None,
            CiChoice::Auto if says_so("GITHUB_ACTIONS") => Self::of(CiChoice::Github),
            CiChoice::Auto if says_so("GITLAB_CI") => Self::of(CiChoice::Gitlab),
            CiChoice::Auto => Self::None,
            CiChoice::Github => {
                Self::Github { workspace: path("GITHUB_WORKSPACE"), summary: path("GITHUB_STEP_SUMMARY") }
            }
            CiChoice::Gitlab => Self::Gitlab { project: path("CI_PROJECT_DIR") },
        }
    }

    /// The path of a run's pipeline file in the repository that the server shows.
    pub fn pipeline(&self, record: &RunRecord) -> String {
        let current = env::current_dir().unwrap_or_default();
        let root = match self {
            Self::Github { workspace: Some(root), .. } | Self::Gitlab { project: Some(root) } => root,
            _ => &current,
        };
        path_in_repository(&record.pipeline, &current, root)
    }

    /// Keeps the server from taking what builds print for commands, until the answer is dropped.
    pub fn quote(&self, format: OutputFormat) -> Option<Quoted> {
        matches!(self, Self::Github { .. }).then(|| Quoted::begin(format))
    }

    /// Tells the server about a run.
    pub fn tell(&self, views: &Views<'_>, format: OutputFormat) -> Result<(), CliError> {
        match self {
            Self::None => {}
            Self::Github { summary, .. } => {
                say(format, report::github_commands(views.record, &views.pipeline).trim_end());
                if let Some(path) = summary {
                    // Other steps of the job have their parts in it.
                    let file = OpenOptions::new().append(true).create(true).open(path);
                    let written =
                        file.and_then(|mut file| file.write_all(report::markdown(views.record).as_bytes()));
                    written.at("write", path)?;
                }
            }
            Self::Gitlab { project } => {
                let folder = project.clone().unwrap_or_default();
                for (form, name) in [(Form::Junit, GITLAB_JUNIT), (Form::CodeQuality, GITLAB_CODE_QUALITY)] {
                    if let Some(text) = views.text(form) {
                        write_text(&folder.join(name), &text)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// While it lives GitHub's runner takes no line for a command: what a build prints could say `##[set-env …]`.
pub(super) struct Quoted {
    token: String,
    format: OutputFormat,
}

impl Quoted {
    fn begin(format: OutputFormat) -> Self {
        // Nobody who prints can know it.
        let token = format!("packhold-{}", ulid::Ulid::generate());
        say(format, &format!("::stop-commands::{token}"));
        Self { token, format }
    }
}

impl Drop for Quoted {
    fn drop(&mut self) {
        say(self.format, &format!("::{}::", self.token));
    }
}

/// The runner reads both; standard output may be for a program.
fn say(format: OutputFormat, lines: &str) {
    match (lines, format) {
        ("", _) => {}
        (lines, OutputFormat::Json) => eprintln!("{lines}"),
        (lines, _) => println!("{lines}"),
    }
}

fn path_in_repository(pipeline: &str, current: &Path, root: &Path) -> String {
    if pipeline.starts_with("built-in:") {
        return pipeline.to_owned();
    }
    let whole = current.join(pipeline);
    match whole.strip_prefix(root) {
        Ok(inside) => inside.to_string_lossy().into_owned(),
        // A file of somewhere else, or of another machine.
        Err(_) => whole.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_pipeline_is_that_in_the_repository() {
        let told = |pipeline, current: &str, root: &str| {
            path_in_repository(pipeline, Path::new(current), Path::new(root))
        };
        assert_eq!(told("packhold.toml", "/src/agent", "/src"), "agent/packhold.toml");
        assert_eq!(told("/src/agent/p.toml", "/tmp", "/src"), "agent/p.toml");
        assert_eq!(told("/elsewhere/p.toml", "/src", "/src"), "p.toml");
        assert_eq!(told("built-in:demo", "/src", "/src"), "built-in:demo");
    }
}
