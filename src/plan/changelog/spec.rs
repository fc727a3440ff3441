use std::fmt::Write;

use jiff::Timestamp;

use super::{Release, lines, wrapped};
use crate::config::Template;
use crate::model::Changes;

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
