//! Maintainer scripts of debs (Debian Policy 6, deb-postinst(5)): users, owners, what a purge removes, and the description's own scripts.

use std::collections::BTreeMap;

use super::install::octal;
use super::shared_folders::owned_folders;
use super::{BadDescription, MADE};
use crate::config::{FileSource, Owner, PackageSection, is_for};
use crate::model::{Format, TargetName};

const OWNED: &str = include_str!("scripts/deb-owned.sh");
const MAKE_USER: &str = include_str!("scripts/deb-user.sh");
const JOIN_GROUP: &str = include_str!("scripts/deb-group.sh");
const REMOVE_EMPTY: &str = include_str!("scripts/deb-remove-empty.sh");
const REMOVE_USER: &str = include_str!("scripts/deb-remove-user.sh");

/// Where dh_installdeb puts what it has to say.
const TOKEN: &str = "#DEBHELPER#";

/// The scripts that a package needs, by their names.
pub(super) fn maintainer_scripts(
    package: &PackageSection,
    target: &TargetName,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<(&'static str, String)>, BadDescription> {
    let scripts = package.scripts(target);
    let mut made = Vec::new();
    for (name, functions, ours) in [
        ("preinst", String::new(), Vec::new()),
        ("postinst", functions(package), in_case("configure", configure(package))),
        ("prerm", String::new(), Vec::new()),
        ("postrm", String::new(), in_case("purge", purge(package))),
    ] {
        let own = scripts
            .get(name)
            .map(|path| own(path, files.get(path).map(Vec::as_slice).unwrap_or_default()))
            .transpose()?;
        if ours.is_empty() && own.is_none() {
            continue;
        }
        let (shell, own) = own.unwrap_or(("/bin/sh", Vec::new()));
        // Units stop before the package's own script runs, and start after it, as in rpms.
        let order: [&[String]; 2] = match name {
            "preinst" | "postinst" => [&own, &[TOKEN.to_owned()]],
            _ => [&[TOKEN.to_owned()], &own],
        };
        let functions = match name {
            "postrm" => removing(&ours),
            _ => functions,
        };
        let mut text = format!("#!{shell}\n{MADE}\nset -e\n\n");
        if !functions.is_empty() {
            text += &(functions + "\n");
        }
        for part in [&ours[..], order[0], order[1]].iter().filter(|part| !part.is_empty()) {
            text += &(part.join("\n") + "\n\n");
        }
        made.push((name, text.trim_end().to_owned() + "\n"));
    }
    Ok(made)
}

fn functions(package: &PackageSection) -> String {
    let user = if package.users.is_empty() { "" } else { MAKE_USER };
    let group = if joins(package) { JOIN_GROUP } else { "" };
    let owned = if owned(package).is_empty() { "" } else { OWNED };
    [user, group, owned].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The functions that a purge calls.
fn removing(lines: &[String]) -> String {
    let called = |name: &str| lines.iter().any(|line| line.trim_start().starts_with(name));
    let known = [("remove_empty", REMOVE_EMPTY), ("remove_user", REMOVE_USER)];
    known.into_iter().filter(|(name, _)| called(name)).map(|(_, text)| text).collect::<Vec<_>>().join("\n")
}

/// Lines for one of the cases in which the script is called.
fn in_case(action: &str, lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() {
        return lines;
    }
    let first = ["if", "[", "\"$1\"", "=", action, "];", "then"].join(" ");
    let inner = lines.into_iter().map(|line| format!("\t{line}"));
    std::iter::once(first).chain(inner).chain(["fi".to_owned()]).collect()
}

/// Every path with an owner of its own: it, the owner and the mode.
fn owned(package: &PackageSection) -> Vec<(String, &Owner, u32)> {
    let directories = package.directories.iter().filter(|directory| is_for(directory.only, Format::Deb));
    let directories = directories.map(|directory| (directory.path.clone(), &directory.owner, directory.mode));
    let files = package.files.iter().filter(|file| is_for(file.only, Format::Deb));
    let files = files.filter(|file| !matches!(file.source, FileSource::Tree(_)));
    let files = files.map(|file| (file.installed(), &file.owner, file.mode()));
    directories.chain(files).filter(|(_, owner, _)| !owner.is_root()).collect()
}

fn configure(package: &PackageSection) -> Vec<String> {
    let mut lines = users(package);
    for (path, owner, mode) in owned(package) {
        let owner = format!("{}:{}", owner.user, owner.group);
        lines.push(shell_words::join(["owned", &path, &owner, &octal(mode)]));
    }
    lines
}

/// Whether a user has further groups.
pub(super) fn joins(package: &PackageSection) -> bool {
    package.users.iter().any(|user| !user.groups.is_empty())
}

/// The calls that make users and members of groups, for debs and rpms.
pub(super) fn users(package: &PackageSection) -> Vec<String> {
    let mut lines = Vec::new();
    for user in &package.users {
        lines.push(shell_words::join(["make_user", &user.name, &user.home, &user.shell, &user.description]));
        for group in &user.groups {
            lines.push(shell_words::join(["join_group", &user.name, group]));
        }
    }
    lines
}

fn purge(package: &PackageSection) -> Vec<String> {
    let mut lines = Vec::new();
    let ours = || package.directories.iter().filter(|directory| is_for(directory.only, Format::Deb));
    let below =
        |path: &str, folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let purged = |path: &str| ours().any(|directory| directory.purge && below(path, &directory.path));
    let ghosts = package.ghosts.iter().filter(|ghost| is_for(ghost.only, Format::Deb));
    let ghosts: Vec<&str> = ghosts.map(|ghost| ghost.path.as_str()).filter(|path| !purged(path)).collect();
    for path in &ghosts {
        lines.push(shell_words::join(["rm", "-f", "--", path]));
    }
    // dpkg has left a folder that was not empty.
    let above = owned_folders(ghosts.iter().copied()).into_iter().rev();
    for folder in above {
        lines.push(shell_words::join(["remove_empty", &folder]));
    }
    for directory in ours().filter(|directory| directory.purge) {
        lines.push(shell_words::join(["rm", "-rf", "--", &directory.path]));
    }
    for user in package.users.iter().rev() {
        lines.push(shell_words::join(["remove_user", &user.name]));
    }
    lines
}

/// A script of the commit, so that it may leave as it likes: its shell, and its lines in a subshell.
fn own(path: &str, content: &[u8]) -> Result<(&'static str, Vec<String>), BadDescription> {
    let (shell, text) = shell_script(path, content)?;
    let lines = text.lines().filter(|line| !line.starts_with("#!")).map(str::to_owned);
    Ok((shell, std::iter::once("(".to_owned()).chain(lines).chain([")".to_owned()]).collect()))
}

/// The shell and the text of a script of the commit.
pub(super) fn shell_script<'a>(
    path: &str,
    content: &'a [u8],
) -> Result<(&'static str, &'a str), BadDescription> {
    let wrong = |what: &str, hint: &str| BadDescription {
        message: format!("`{path}` {what}"),
        hint: hint.to_owned(),
    };
    let shells = "begin it with #!/bin/sh or #!/bin/bash; another program can be called by a shell script";
    let text = std::str::from_utf8(content).map_err(|_| wrong("is no text", shells))?;
    if text.contains(['\r', '\0']) {
        return Err(wrong("has carriage returns", "end its lines as Unix does"));
    }
    if text.contains(TOKEN) {
        return Err(wrong("has debhelper's token", "leave the token out: it is put in by itself"));
    }
    let first = text.lines().next().unwrap_or_default();
    let words: Vec<&str> = first.strip_prefix("#!").unwrap_or("/bin/sh").split_whitespace().collect();
    let shell = match words.as_slice() {
        ["/bin/sh" | "/usr/bin/sh" | "/bin/dash" | "/usr/bin/dash", ..] | ["/usr/bin/env", "sh"] => "/bin/sh",
        ["/bin/bash" | "/usr/bin/bash", ..] | ["/usr/bin/env", "bash"] => "/bin/bash",
        _ => return Err(wrong("is no shell script", shells)),
    };
    Ok((shell, text))
}
