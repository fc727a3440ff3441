//! Views of a run record: pure functions from the record, and what the archive has beside it, to text. Nothing here reads a file or
//! prints.
//!
//! | view | for | form |
//! |---|---|---|
//! | [`summary`] | a terminal | text |
//! | [`junit()`] | test views of CI servers | JUnit XML |
//! | [`sarif()`] | code scanning | SARIF 2.1.0 |
//! | [`code_quality`] | merge requests of GitLab | JSON |
//! | [`github_commands`] | annotations of GitHub | workflow commands |
//! | [`html`] | people, and a folder of all runs | HTML |
//! | [`why()`] | a terminal: why a run did what it did | text, JSON |
//! | [`diff()`] | a terminal: what differs between two runs | text, JSON |
//! | [`markdown()`] | the page of a CI job | GitHub Flavored Markdown |

pub mod changes;
mod diff;
mod finding;
mod github;
mod gitlab;
pub mod html;
pub mod junit;
pub mod log;
mod markdown;
mod sarif;
mod text;
mod why;

pub use changes::Side;
pub use diff::{Diff, StageTime, StageTimes, TargetDiff, diff};
pub use finding::{Finding, Severity, findings};
pub use github::github_commands;
pub use gitlab::code_quality;
pub use junit::junit;
pub use markdown::markdown;
pub use sarif::sarif;
pub use text::{Tails, archived_hint, bytes, duration, summary, verified};
pub use why::{FailedCheck, FailedStep, Failure, InputChanges, KnownFailure, StageWhy, TargetWhy, Why, why};
