//! The commands that put files where the package has them, the same for both formats.

use crate::config::{FileSource, PackageSection, is_for};
use crate::model::Format;

/// One line of a recipe of make or of `%install`. Words are apart by single spaces and, but for patterns of files, mean themselves to a shell.
pub(super) type Line = String;

fn line(words: &[&str]) -> Line {
    words.join(" ")
}

/// What installs a package's folders, files and links below `root`, which may name a macro. `place` says how a path is written there.
pub(super) fn install(
    package: &PackageSection,
    format: Format,
    root: &str,
    place: impl Fn(&str) -> String,
) -> Vec<Line> {
    let at = |path: &str| format!("{root}{}", place(path));
    let mut lines = Vec::new();
    for directory in package.directories.iter().filter(|directory| is_for(directory.only, format)) {
        lines.push(line(&["install", "-d", "-m", "0755", "--", &at(&directory.path)]));
    }
    for file in package.files.iter().filter(|file| is_for(file.only, format)) {
        let (mode, to) = (octal(file.mode()), at(&file.to));
        match &file.source {
            FileSource::File(path) => {
                lines.push(line(&["install", "-D", "-p", "-m", &mode, "--", path, &to]));
            }
            FileSource::Glob(glob) => {
                lines.push(line(&["install", "-D", "-p", "-m", &mode, "-t", &to, "--", glob]));
            }
            FileSource::Tree(path) => {
                lines.push(line(&["install", "-d", "-m", "0755", "--", &to]));
                lines.push(line(&["cp", "-R", "-p", "--", &format!("{path}/."), &format!("{to}/")]));
                lines.push(line(&["chmod", "-R", "u=rwX,go=rX", "--", &to]));
            }
        }
    }
    for link in package.symlinks.iter().filter(|link| is_for(link.only, format)) {
        let folder = link.path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        lines.push(line(&["install", "-d", "-m", "0755", "--", &at(folder)]));
        lines.push(line(&["ln", "-s", "--", &link.target, &at(&link.path)]));
    }
    lines
}

/// Permission bits as `install -m` and `%attr` want them.
pub(super) fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}
