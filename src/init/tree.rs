use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::config::maintainer;
use crate::model::Person;
use crate::source::{Repository, Result};
use crate::support::fs::read_up_to;

/// Bytes of a file that are read. What is looked for is in its first lines.
const READ: u64 = 256 << 10;

/// Folders in which packaging is that of somebody else, or made to test with.
pub(super) const FOREIGN: [&str; 10] = [
    "vendor",
    "node_modules",
    "third_party",
    "external",
    "target",
    "test",
    "tests",
    "testdata",
    "fixtures",
    "examples",
];

/// What is looked at of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The folder's name: the package's, where nothing else names it.
    pub name: String,
    /// The folder within the repository; empty for its top.
    pub subdir: String,
    /// Paths of the files below it, sorted.
    pub paths: BTreeSet<String>,
    /// Those of them that no commit has yet.
    pub uncommitted: BTreeSet<String>,
    /// The texts of the files that say something.
    pub texts: BTreeMap<String, String>,
    /// The names of the repository's tags.
    pub tags: Vec<String>,
    /// Who works here: `NAME <ADDRESS>`.
    pub maintainer: Option<String>,
}

impl Tree {
    /// Reads the folder `subdir` of a repository's working directory. A file that cannot be read says nothing.
    pub fn read(repository: &Repository, subdir: &str) -> Result<Self> {
        let top = repository.work_dir().unwrap_or(Path::new("."));
        let folder = top.join(subdir);
        let absolute = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        let name = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut tree =
            Self { name, subdir: subdir.to_owned(), tags: repository.tag_names()?, ..Self::default() };
        tree.maintainer = repository.identity().and_then(|person| person_line(&person));
        for file in repository.work_files()? {
            let Some(path) = inside(&file.path, subdir) else { continue };
            if !file.committed {
                tree.uncommitted.insert(path.to_owned());
            }
            if says_something(path)
                && let Ok(bytes) = read_up_to(folder.join(path), READ)
            {
                tree.texts.insert(path.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
            }
            tree.paths.insert(path.to_owned());
        }
        Ok(tree)
    }

    /// The folder `folder` of it as a tree of its own.
    pub(super) fn below(&self, folder: &str) -> Self {
        let shorter = |paths: &BTreeSet<String>| {
            paths.iter().filter_map(|path| inside(path, folder)).map(str::to_owned).collect()
        };
        let texts = self
            .texts
            .iter()
            .filter_map(|(path, text)| Some((inside(path, folder)?.to_owned(), text.clone())));
        let subdir =
            if self.subdir.is_empty() { folder.to_owned() } else { format!("{}/{folder}", self.subdir) };
        Self {
            name: self.name.clone(),
            subdir,
            paths: shorter(&self.paths),
            uncommitted: shorter(&self.uncommitted),
            texts: texts.collect(),
            tags: self.tags.clone(),
            maintainer: self.maintainer.clone(),
        }
    }

    /// Whether there is a file of this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// The text of a file that says something; empty if there is none.
    pub(super) fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    /// The project's own files whose texts are here, those nearest to the top first.
    pub(super) fn own_texts(&self) -> Vec<(&str, &str)> {
        let own = |path: &str| !path.split('/').any(|part| FOREIGN.contains(&part));
        let mut found: Vec<(&str, &str)> = self
            .texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .filter(|(path, _)| own(path))
            .collect();
        found.sort_by_key(|(path, _)| (path.matches('/').count(), *path));
        found
    }
}

/// A path as seen from a folder that holds it.
fn inside<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    match folder {
        "" => Some(path),
        folder => path.strip_prefix(folder)?.strip_prefix('/'),
    }
}

/// The last part of a path.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The folder that holds a file; empty for the top.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `NAME <ADDRESS>`, if the description of a package takes it for a maintainer.
fn person_line(person: &Person) -> Option<String> {
    let line = format!("{} <{}>", person.name.trim(), person.email);
    maintainer(&line).map(|_| line)
}

/// Whether a file of this name has the text of a licence.
pub(super) fn is_licence(name: &str) -> bool {
    ["LICENSE", "LICENCE", "COPYING"].iter().any(|start| name.starts_with(start))
}

/// Whether a file's text tells how something is built or packaged.
fn says_something(path: &str) -> bool {
    const NAMES: [&str; 20] = [
        "control",
        "changelog",
        "Cargo.toml",
        "Cargo.lock",
        "go.mod",
        "pyproject.toml",
        "setup.cfg",
        "setup.py",
        "configure.ac",
        "configure.in",
        "CMakeLists.txt",
        "meson.build",
        "Makefile",
        "GNUmakefile",
        "config.toml",
        "Makefile.am",
        "README",
        "README.md",
        "README.rst",
        "README.txt",
    ];
    let name = file_name(path);
    NAMES.contains(&name)
        || name.ends_with(".spec")
        || name.ends_with(".spec.in")
        || name.ends_with("install")
        || is_licence(name)
}

#[cfg(test)]
impl Tree {
    /// A tree with these files.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let paths = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        let texts = files.iter().filter(|(path, _)| says_something(path));
        let texts = texts.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Self { name: "folder".to_owned(), paths, texts, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maintainer_is_proposed_only_if_a_pipeline_may_name_him() {
        let line =
            |name: &str, email: &str| person_line(&Person { name: name.to_owned(), email: email.to_owned() });
        assert_eq!(line("A. Uthor ", "a@b.example").as_deref(), Some("A. Uthor <a@b.example>"));
        let wrong = [("", "a@b.example"), ("A", "nowhere"), ("A, B", "a@b.example"), ("A", "a$b@c.example")];
        for (name, email) in wrong {
            assert_eq!(line(name, email), None, "{name} {email}");
        }
    }
}
