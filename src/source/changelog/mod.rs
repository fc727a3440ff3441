//! Changelogs of packages from the commits since the last release.
//!
//! # What is said
//!
//! One line for each commit since the last version tag below this one, newest first; merges are left out. A final release
//! tells what came since the last final one. Author, date and subject are git's: nothing is invented, and nothing but them
//! is taken from a message. The entry itself is by the author of the commit that is packaged, at its committer time, so that two builds of it
//! say the same.
//!
//! # The line of a change
//!
//! A [`Template`] is one line, `{subject}` by default, with these placeholders; `{{` and `}}` are braces:
//!
//! | placeholder | value |
//! |---|---|
//! | `{subject}` | the first line of the message, at most 300 characters |
//! | `{author}` | the author's name |
//! | `{email}` | the author's address |
//! | `{commit}` | the first 12 digits of the commit's id |
//! | `{date}` | the author's day, UTC: `2025-03-01` |
//!
//! # Hostile messages
//!
//! Control characters, escape sequences and bidirectional overrides are made visible text ([`crate::support::terminal_text`]); each change
//! starts with `  * ` or `- `, and what is wrapped with four or two spaces, so that no line of a message is a trailer, an entry or a section; `%`
//! is doubled in specs, where rpm would expand macros, `%(…)` with a shell, in changelogs too.
//!
//! # How a build uses it
//!
//! These functions are pure but for [`Repository::changes`](crate::source::Repository::changes). They are meant for the exported tree of a release, before its build: the
//! changed `debian/changelog` ([`prepend`]) or spec ([`insert`]) is part of the source tree, and so of its digest and of the build's key. A snapshot
//! keeps the changelog that its commit has.

mod changes;
mod deb;
mod spec;
mod template;

pub use changes::{Change, Changes, Person};
pub use deb::{debian_entry, prepend};
pub use spec::{insert, spec_entry};
pub use template::Template;

/// What an entry is for.
#[derive(Clone, Debug)]
pub struct Release {
    /// The source package's name (Debian Policy 5.6.1).
    pub package: String,
    /// The whole version in the format of the entry, with epoch and revision or release.
    pub version: String,
    /// Debian's distribution: `stable`, `unstable`. Specs have none.
    pub distribution: String,
}
