use std::fmt::Write;

use jiff::Timestamp;

use super::{Release, lines, wrapped};
use crate::config::Template;
use crate::model::Changes;

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
