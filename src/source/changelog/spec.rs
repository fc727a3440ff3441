use std::fmt::Write;

use jiff::Timestamp;

use super::deb::{lines, wrapped};
use super::{Changes, Release, Template};

const WIDTH: usize = 78;

/// An entry of a spec's `%changelog`, with an empty line at its end. Its percent signs are doubled: rpm expands macros there.
pub fn spec_entry(release: &Release, changes: &Changes, template: &Template) -> String {
    let time = Timestamp::from_second(changes.time).unwrap_or(Timestamp::UNIX_EPOCH);
    let author = &changes.author;
    let name = if author.name.is_empty() { "(no name)" } else { &author.name };
    let day = time.strftime("%a %b %d %Y");
    let mut entry = format!("* {day} {name} <{}> - {}\n", author.email, release.version);
    for line in lines(changes, template) {
        for (index, part) in wrapped(&line, WIDTH - 2).iter().enumerate() {
            let _ = writeln!(entry, "{}{part}", if index == 0 { "- " } else { "  " });
        }
    }
    entry.push('\n');
    entry.replace('%', "%%")
}

/// A spec with a new entry before all others; with a `%changelog` at its end where it has none. `None` if a macro makes its changelog
/// (`%autochangelog`): there is no place for an entry.
pub fn insert(spec: &str, entry: &str) -> Option<String> {
    let mut before = 0;
    for line in spec.split_inclusive('\n') {
        before += line.len();
        if line.trim_end() != "%changelog" {
            continue;
        }
        let (head, tail) = spec.split_at(before);
        let first = tail.lines().find(|line| !line.trim().is_empty());
        if first.is_some_and(|line| line.trim_start().starts_with('%')) {
            return None;
        }
        let end = if head.ends_with('\n') { "" } else { "\n" };
        return Some(format!("{head}{end}{entry}{}", tail.trim_start_matches('\n')));
    }
    let end = if spec.ends_with('\n') { "" } else { "\n" };
    Some(format!("{spec}{end}\n%changelog\n{entry}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_goes_before_the_others() {
        assert_eq!(
            insert("Name: a\n%changelog\n\n* old\n", "* new\n\n").unwrap(),
            "Name: a\n%changelog\n* new\n\n* old\n"
        );
        assert_eq!(insert("Name: a", "* new\n\n").unwrap(), "Name: a\n\n%changelog\n* new\n\n");
        assert_eq!(insert("%changelog", "* new\n\n").unwrap(), "%changelog\n* new\n\n");
        assert_eq!(insert("%changelog\n%autochangelog\n", "* new\n"), None);
    }
}
