//! Entries of changelogs from the commits since the last release.
//!
//! # What is said
//!
//! One line for each commit since the last version tag below this one that changes the source folder, newest first; merges are left out. A final release
//! tells what came since the last final one. Author, date and subject are git's: nothing is invented, and nothing but them
//! is taken from a message. The entry itself is by whom the pipeline names, or else by the author of the commit that is packaged, and of that commit's
//! committer time, so that two builds of it say the same. What it is made of is in the run record, so that a replay says it again without git.
//!
//! # Hostile messages
//!
//! Control characters, escape sequences and bidirectional overrides are made visible text ([`crate::support::terminal_text`]); each change
//! starts with `  * ` or `- `, and what is wrapped with four or two spaces, so that no line of a message is a trailer, an entry or a section; `%`
//! is doubled in specs, where rpm would expand macros, `%(…)` with a shell, in changelogs too.
//!
//! # How a build uses it
//!
//! `build.sh` gets an entry as a file (builders/README.md) and puts it before the others of `debian/changelog` or of the spec's `%changelog`, unless
//! people have written one for that version. The entry is part of the build's key.

mod deb;
mod spec;

pub use deb::debian_entry;
pub use spec::spec_entry;

use super::{Commit, Packaging, TargetVersion};
use crate::config::{ChangelogSection, TargetSection, Template};
use crate::model::{Changes, Format};

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

/// The entry of a target's packages, where the commit's changes are known.
pub(super) fn entry(
    said: &ChangelogSection,
    section: &TargetSection,
    commit: &Commit,
    packaging: &Packaging,
    version: &TargetVersion,
) -> Option<String> {
    let mut changes = commit.changes.clone()?;
    if let Some(author) = &said.author {
        changes.author = author.clone();
    }
    let text = |file: &str| packaging.text(&format!("{}/{file}", section.packaging));
    let mut release =
        Release { package: String::new(), version: version.full.clone(), distribution: String::new() };
    match section.name.format {
        Format::Rpm => Some(spec_entry(&release, &changes, &said.template)),
        Format::Deb => {
            // Without it dpkg-buildpackage tells what is missing.
            release.package = source_name(&text("control")?)?;
            release.distribution =
                text("changelog").as_deref().and_then(distribution).unwrap_or_else(unstable);
            Some(debian_entry(&release, &changes, &said.template))
        }
    }
}

fn unstable() -> String {
    "unstable".to_owned()
}

/// The Source field of debian/control (Debian Policy 5.6.1).
fn source_name(control: &str) -> Option<String> {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("source").then(|| value.trim().to_owned())
    };
    let name = control.lines().find_map(field)?;
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    (!name.is_empty() && name.chars().all(fine)).then_some(name)
}

/// The distributions of a changelog's newest entry (deb-changelog(5)). What was not released yet is so now.
fn distribution(changelog: &str) -> Option<String> {
    let first = changelog.lines().find(|line| !line.trim().is_empty())?;
    let words = first.split_once(')')?.1.split_once(';')?.0.trim();
    let fine = |c: char| c.is_ascii_alphanumeric() || "-+._ ".contains(c);
    (!words.is_empty() && words != "UNRELEASED" && words.chars().all(fine)).then(|| words.to_owned())
}

/// The lines of an entry, not wrapped.
fn lines(changes: &Changes, template: &Template) -> Vec<String> {
    let mut lines: Vec<_> = changes.changes.iter().map(|change| template.line(change)).collect();
    if changes.left_out > 0 {
        lines.push(format!("{} older changes are not listed.", changes.left_out));
    }
    if lines.is_empty() {
        lines.push(match &changes.since {
            Some(tag) => format!("No changes since {tag}."),
            None => "No changes.".to_owned(),
        });
    }
    lines
}

/// A line as several of at most `width` characters, but for words that are longer.
pub(super) fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        match parts.last_mut() {
            Some(part) if part.chars().count() + 1 + word.chars().count() <= width => {
                part.push(' ');
                part.push_str(word);
            }
            _ => parts.push(word.to_owned()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_for_the_source_package_and_the_distribution_of_the_newest_one() {
        assert_eq!(source_name("# x\nsource:  agent\nPackage: b\n").as_deref(), Some("agent"));
        for control in ["Package: a\n", "Source: a b\n", "Source:\n"] {
            assert_eq!(source_name(control), None, "{control}");
        }
        let of = |first: &str| distribution(&format!("\n{first}\n\n  * x\n"));
        assert_eq!(of("a (1) bookworm-backports; urgency=low").as_deref(), Some("bookworm-backports"));
        for first in ["a (1) UNRELEASED; urgency=low", "a (1) ; x", "a (1)", "a (1) b\u{1b}c; x", ""] {
            assert_eq!(of(first), None, "{first}");
        }
    }
}
