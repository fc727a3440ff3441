use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;

use super::lock::{Lock, LockedImage};
use crate::model::{Digest, InstalledPackage};
use crate::support::terminal_text::neutralise;

/// What is different in one image of two locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageChange {
    /// Which one: `debian-12 base`, `debian-12/deb deps`, `prepare deps`.
    pub image: String,
    /// The identity that was locked.
    pub old: Option<Digest>,
    /// The identity that is.
    pub new: Option<Digest>,
    /// What differs in its packages, by name.
    pub packages: Vec<PackageChange>,
    /// How many packages there are in the new one.
    pub count: usize,
}

/// A package that came, went, or is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// The version that was locked.
    pub old: Option<String>,
    /// The version that is.
    pub new: Option<String>,
    /// The sha256 of both files (of rpms: of their headers), where the version is the same and the files are known to differ.
    pub files: Option<(Option<Digest>, Option<Digest>)>,
}

impl Lock {
    /// Every image by what people call it: a builder's images, prepare's and the targets'.
    pub fn images(&self) -> Vec<(String, &LockedImage)> {
        let mut all = Vec::new();
        for (name, builder) in &self.builders {
            all.extend(builder.userland.iter().map(|image| (format!("{name} userland"), image)));
            all.push((format!("{name} base"), &builder.base));
            all.push((format!("{name} builder"), &builder.builder));
        }
        all.extend(self.prepare.iter().map(|(_, deps)| ("prepare deps".to_owned(), &deps.image)));
        all.extend(self.targets.iter().map(|(name, deps)| (format!("{name} deps"), &deps.image)));
        all
    }

    /// What is different in `new`, in the order of the file.
    pub fn diff(&self, new: &Lock) -> Vec<ImageChange> {
        let (before, after) = (self.images(), new.images());
        let find = |all: &[(String, &LockedImage)], name: &str| -> Option<LockedImage> {
            all.iter().find(|(known, _)| known == name).map(|(_, image)| (*image).clone())
        };
        let mut names: Vec<&String> = after.iter().map(|(name, _)| name).collect();
        names.extend(before.iter().map(|(name, _)| name).filter(|name| find(&after, name).is_none()));
        let changes = names.into_iter().map(|name| {
            let (old, new) = (find(&before, name), find(&after, name));
            let packages = |image: &Option<LockedImage>| {
                image.as_ref().map(|image| image.packages.clone()).unwrap_or_default()
            };
            let changed = (old != new).then(|| package_changes(&packages(&old), &packages(&new)));
            let change = |packages| ImageChange {
                image: name.clone(),
                old: old.as_ref().map(|image| image.id),
                new: new.as_ref().map(|image| image.id),
                packages,
                count: new.as_ref().map_or(0, |image| image.packages.len()),
            };
            changed.map(change)
        });
        changes.flatten().collect()
    }
}

/// What differs in two lists of packages, by name.
pub fn package_changes(old: &[InstalledPackage], new: &[InstalledPackage]) -> Vec<PackageChange> {
    type ByVersion<'a> = BTreeMap<&'a str, Option<Digest>>;
    fn by_name(list: &[InstalledPackage]) -> BTreeMap<(&str, &str), ByVersion<'_>> {
        let mut all: BTreeMap<(&str, &str), ByVersion<'_>> = BTreeMap::new();
        for package in list {
            let versions = all.entry((&package.name, &package.arch)).or_default();
            versions.insert(&package.version, package.sha256.or(package.header_sha256));
        }
        all
    }
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
    let none = BTreeMap::new();
    let mut changes = Vec::new();
    for (name, arch) in names {
        let (before, after) =
            (old.get(&(name, arch)).unwrap_or(&none), new.get(&(name, arch)).unwrap_or(&none));
        let change = |old: Option<&str>, new: Option<&str>, files| PackageChange {
            name: name.to_owned(),
            arch: arch.to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
            files,
        };
        for (version, file) in before {
            if let Some(other) = after.get(version).filter(|other| *other != file) {
                changes.push(change(Some(version), Some(version), Some((*file, *other))));
            }
        }
        let mut went: Vec<&str> = before.keys().filter(|v| !after.contains_key(*v)).copied().collect();
        let mut came: Vec<&str> = after.keys().filter(|v| !before.contains_key(*v)).copied().collect();
        while !went.is_empty() && !came.is_empty() {
            changes.push(change(Some(went.remove(0)), Some(came.remove(0)), None));
        }
        changes.extend(went.into_iter().map(|version| change(Some(version), None, None)));
        changes.extend(came.into_iter().map(|version| change(None, Some(version), None)));
    }
    changes
}

impl std::fmt::Display for PackageChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |digest: &Option<Digest>| digest.map_or("unknown".to_owned(), |digest| digest.short());
        match (&self.old, &self.new, &self.files) {
            (Some(version), _, Some((old, new))) => {
                write!(f, "~ {} {version}: sha256 {} → {}", self.name, short(old), short(new))
            }
            (Some(old), Some(new), _) => write!(f, "~ {} {old} → {new}", self.name),
            (Some(old), None, _) => write!(f, "- {} {old}", self.name),
            (_, new, _) => write!(f, "+ {} {}", self.name, new.as_deref().unwrap_or_default()),
        }
    }
}

/// The changes for people, an image a paragraph; of an image that is new, only the number of its packages.
pub fn render_changes(changes: &[ImageChange]) -> String {
    let mut out = String::new();
    for change in changes {
        // Names in a lock of before may be anything.
        let name = neutralise(change.image.as_bytes());
        let _ = match (&change.old, &change.new) {
            (None, Some(new)) => {
                writeln!(out, "{name} image: new, {}, {} packages", new.short(), change.count)
            }
            (Some(old), None) => writeln!(out, "{name} image: gone, {}", old.short()),
            (Some(old), Some(new)) if old == new => writeln!(out, "{name} image: {}, as before", old.short()),
            (old, new) => {
                let short = |id: &Option<Digest>| id.map(|id| id.short()).unwrap_or_default();
                writeln!(out, "{name} image: {} → {}", short(old), short(new))
            }
        };
        if change.old.is_none() || change.new.is_none() {
            continue;
        }
        for package in &change.packages {
            let _ = writeln!(out, "  {package}");
        }
        if change.packages.is_empty() && change.old != change.new {
            let _ = writeln!(out, "  the same packages of its own");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::lock::tests::{image, lock, package};
    use super::*;

    #[test]
    fn a_diff_says_per_image_what_came_went_and_is_another() {
        let (old, mut new) = (lock(), lock());
        assert!(old.diff(&new).is_empty());
        let builder = new.builders.get_mut("opensuse-leap-15.6").unwrap();
        builder.base = image("base 2", &[("apt", "2.6.2"), ("zstd", "1.5")]);
        builder.builder.id = Digest::of("builder 2");
        builder.builder.packages[0].sha256 = Some(Digest::of("another file"));
        new.prepare = None;
        let target = new.targets.pop_first().unwrap().1;
        new.targets.insert("debian-12/deb".parse().unwrap(), target);
        let ids = |text: &str| Digest::of(text).short();
        let wanted = format!(
            "opensuse-leap-15.6 base image: {} → {}\n  ~ apt 2.6.1 → 2.6.2\n  - libc6 2.36-9\n  + zstd 1.5\n\
             opensuse-leap-15.6 builder image: {} → {}\n  ~ gcc 12.2: sha256 {} → {}\n\
             debian-12/deb deps image: new, {}, 1 packages\n\
             prepare deps image: gone, {}\n\
             opensuse-leap-15.6/rpm deps image: gone, {}\n",
            ids("base"),
            ids("base 2"),
            ids("builder"),
            ids("builder 2"),
            ids("gcc 12.2"),
            ids("another file"),
            ids("deps"),
            ids("prepare"),
            ids("deps"),
        );
        assert_eq!(render_changes(&old.diff(&new)), wanted);
    }

    #[test]
    fn several_versions_of_one_package_are_told_apart() {
        let changes = package_changes(
            &[package("kernel", "1"), package("kernel", "2")],
            &[package("kernel", "2"), package("kernel", "3"), package("kernel", "4")],
        );
        let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["~ kernel 1 → 3", "+ kernel 4"]);
    }
}
