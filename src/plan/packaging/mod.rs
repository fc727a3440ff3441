//! Packaging of a package that the pipeline describes: `debian/` for debhelper 13, and a spec file.
//!
//! It is text of text that a pull request may have written. Paths, names and numbers have no letter that means anything to a shell, to make or
//! to rpm's macros ([`PackageSection`]); one line of text is one line of a control file or a tag; commands are in files of their own, which nothing
//! expands but the shell that runs them; and percent signs are doubled in what rpm expands.
//!
//! Both are made of the same list of files, so that deb and rpm have the same, with the same modes and owners. What is a format's own
//! differs: changelogs, copyright or licence, and what tools compress.

mod copyright;
mod deb;
mod install;
mod maintainer_scripts;
mod shared_folders;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::config::PackageSection;
use crate::model::{Format, TargetName};

/// The first line of what is made.
const MADE: &str = "# Made by Packhold of [package] in the pipeline.";

/// A file that is made of a description, for the source tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedFile {
    /// The path in the source tree.
    pub path: String,
    /// The bytes.
    pub content: Vec<u8>,
    /// Whether it may be executed.
    pub executable: bool,
}

/// A description that does not fit the commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadDescription {
    /// What is missing or wrong, naming the file.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// The files of a commit that packaging is made of, as far as they exist: licences, and scripts of debs.
pub fn wanted_files(package: &PackageSection) -> Vec<String> {
    let mut wanted: Vec<String> = copyright::candidates(package);
    for target in &package.made_for {
        wanted.extend(package.scripts(target).all().map(|(_, path)| path.to_owned()));
    }
    wanted.sort();
    wanted.dedup();
    wanted
}

/// The packaging of all targets that have none of their own, in the order of the paths. `files` has those of the commit that
/// [`wanted_files`] asks for and that exist.
pub fn generate(
    package: &PackageSection,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<GeneratedFile>, BadDescription> {
    let licences = copyright::licences(package, files)?;
    let mut made = Vec::new();
    for target in &package.made_for {
        for (name, path) in package.scripts(target).all() {
            if !files.contains_key(path) {
                return Err(BadDescription {
                    message: format!("the commit has no `{path}`, which [package.scripts] names as {name}"),
                    hint: "commit the script, or correct its path".to_owned(),
                });
            }
        }
        match target.format {
            Format::Deb => made.extend(deb::packaging(package, target, files, &licences)?),
            Format::Rpm => made.extend(spec::packaging(package, target, files, &licences)?),
        }
        made.extend(beside(package, target));
    }
    made.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(made)
}

/// What the packaging of either format calls or installs.
fn beside(package: &PackageSection, target: &TargetName) -> Vec<GeneratedFile> {
    let folder = package.folder(target);
    let mut made = Vec::new();
    let mut add = |name: &str, text: String| made.push(GeneratedFile::text(format!("{folder}{name}"), text));
    if let Some(script) = &package.build {
        add("build.sh", commands("Builds.", script));
    }
    if let Some(script) = &package.check {
        add("check.sh", commands("Tests what was built.", script));
    }
    if !package.users.is_empty() {
        add("sysusers.conf", sysusers(package));
    }
    made
}

impl GeneratedFile {
    fn text(path: String, content: String) -> Self {
        Self { path, content: content.into_bytes(), executable: false }
    }

    fn program(path: String, content: String) -> Self {
        Self { executable: true, ..Self::text(path, content) }
    }
}

/// A script of the commands in the description.
fn commands(what: &str, script: &str) -> String {
    format!("#!/bin/sh\n{MADE}\n# {what}\nset -eu\n\n{script}")
}

/// sysusers.d(5)
fn sysusers(package: &PackageSection) -> String {
    let mut lines = String::new();
    for user in &package.users {
        lines += &format!("u {} - \"{}\" {} {}\n", user.name, user.description, user.home, user.shell);
        for group in &user.groups {
            lines += &format!("m {} {group}\n", user.name);
        }
    }
    lines
}
