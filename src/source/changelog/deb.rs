use std::fmt::Write;

use jiff::Timestamp;

use super::{Changes, Release, Template};

/// How long a line should be (lintian, debian-changelog-line-too-long).
const WIDTH: usize = 80;

/// An entry of `debian/changelog` (deb-changelog(5)), with an empty line at its end.
pub fn debian_entry(release: &Release, changes: &Changes, template: &Template) -> String {
    let mut entry =
        format!("{} ({}) {}; urgency=medium\n\n", release.package, release.version, release.distribution);
    for line in lines(changes, template) {
        for (index, part) in wrapped(&line, WIDTH - 4).iter().enumerate() {
            let _ = writeln!(entry, "{}{part}", if index == 0 { "  * " } else { "    " });
        }
    }
    let time = Timestamp::from_second(changes.time).unwrap_or(Timestamp::UNIX_EPOCH);
    let author = &changes.author;
    let name = if author.name.is_empty() { "(no name)" } else { &author.name };
    let _ = writeln!(
        entry,
        "\n -- {name} <{}>  {}\n",
        author.email,
        time.strftime("%a, %d %b %Y %H:%M:%S +0000")
    );
    entry
}

/// A changelog with a new entry before all others.
pub fn prepend(changelog: &str, entry: &str) -> String {
    format!("{entry}{}", changelog.trim_start_matches('\n'))
}

/// The lines of an entry, not wrapped.
pub(super) fn lines(changes: &Changes, template: &Template) -> Vec<String> {
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
