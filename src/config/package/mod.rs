//! The `[package]` section: a package's name alone, or all that packaging can be made of.

mod commands;
mod contents;
mod paths;
mod raw;
mod relation;
mod service;
mod texts;

use std::collections::BTreeMap;

pub use contents::{FileSource, Owner, PackageDirectory, PackageFile, PackageGhost, PackageSymlink};
pub use relation::{Dependency, Relation, Version};
pub use service::{PackageUnit, PackageUser, Scripts};
pub use texts::maintainer;

pub(super) use paths::generated_path;
pub(super) use raw::RawPackage;

use crate::model::{Format, Person, TargetName};

/// A package that is described, so that the packaging of both formats can be made of it. Everything in it was checked: no text has a
/// control character, and paths and names have no letter that means something to a shell, to make or to rpm's macros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSection {
    /// The name of source and binary package (Debian Policy 5.6.1).
    pub name: String,
    /// What it is, in one line.
    pub summary: String,
    /// What it does: lines, of which an empty one parts paragraphs. None begins with a percent sign.
    pub description: Vec<String>,
    /// The licence, an SPDX expression.
    pub license: String,
    /// The files with the licence's text; `None`: those of the usual names that there are.
    pub license_files: Option<Vec<String>>,
    /// Who holds the copyright, a line each: `2025 The authors`.
    pub copyright: Vec<String>,
    /// Who answers for the package.
    pub maintainer: Person,
    /// An address for people.
    pub homepage: Option<String>,
    /// The section of Debian's archive (Policy 2.4).
    pub section: String,
    /// Whether it is for every architecture alike (deb `all`, rpm `noarch`).
    pub independent: bool,
    /// The shell script that builds, without its first line.
    pub build: Option<String>,
    /// The shell script that tests what was built.
    pub check: Option<String>,
    /// Files of the source tree for users to read.
    pub docs: Vec<String>,
    /// Files.
    pub files: Vec<PackageFile>,
    /// Folders that are there although they may be empty, or have an owner or a mode of their own.
    pub directories: Vec<PackageDirectory>,
    /// Symbolic links.
    pub symlinks: Vec<PackageSymlink>,
    /// Files that the program makes itself.
    pub ghosts: Vec<PackageGhost>,
    /// Units of systemd.
    pub units: Vec<PackageUnit>,
    /// Users of the system.
    pub users: Vec<PackageUser>,
    /// The targets whose packaging is made of it: the first of all that share one, whichever of them a run is for.
    pub made_for: Vec<TargetName>,
    common: Parts,
    formats: BTreeMap<Format, Parts>,
    builders: BTreeMap<String, Parts>,
}

/// What a format or a builder may say otherwise; `None`: it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Parts {
    relations: BTreeMap<RelationKind, Vec<Relation>>,
    scripts: Option<Scripts>,
}

/// How a package stands to others (Debian Policy 7, rpm's manual on dependencies).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelationKind {
    /// It does not work without.
    Depends,
    /// It is installed along, unless somebody says otherwise.
    Recommends,
    /// It is of use beside.
    Suggests,
    /// It cannot be installed beside.
    Conflicts,
    /// It takes over files of an earlier package (Replaces and Breaks; Obsoletes).
    Replaces,
    /// It does what a package of that name does.
    Provides,
    /// It is needed to build.
    BuildDepends,
}

impl RelationKind {
    const ALL: [Self; 7] = [
        Self::Depends,
        Self::Recommends,
        Self::Suggests,
        Self::Conflicts,
        Self::Replaces,
        Self::Provides,
        Self::BuildDepends,
    ];
}

impl PackageSection {
    /// The relations of one kind for a target: what its builder says, or else its format, or else the package.
    pub fn relations(&self, target: &TargetName, kind: RelationKind) -> &[Relation] {
        let said = self.parts(target).find_map(|parts| parts.relations.get(&kind));
        said.map(Vec::as_slice).unwrap_or_default()
    }

    /// The scripts for a target, found as [`PackageSection::relations`] are.
    pub fn scripts(&self, target: &TargetName) -> Scripts {
        self.parts(target).find_map(|parts| parts.scripts.clone()).unwrap_or_default()
    }

    fn parts(&self, target: &TargetName) -> impl Iterator<Item = &Parts> {
        let builder = self.builders.get(&target.builder);
        builder.into_iter().chain(self.formats.get(&target.format)).chain([&self.common])
    }

    /// Where a target's packaging is put, and the folder that is added to the source tree for it, with a slash at the end.
    pub fn folder(&self, target: &TargetName) -> String {
        let builder = self.builders.contains_key(&target.builder).then_some(&*target.builder);
        paths::generated_folder(builder, target.format)
    }
}

/// Whether something that is said for one format alone is for this one.
pub(crate) fn is_for(only: Option<Format>, format: Format) -> bool {
    only.is_none_or(|only| only == format)
}
