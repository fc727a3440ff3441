use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::image_store::Wanted;
use crate::config::{LockedImage, package_changes};
use crate::model::{Digest, ImageRecord, ImageRole, InstalledPackage, Outcome, TargetName};
use crate::plan::changed_dependencies;
use crate::support::terminal_text::neutralise;

/// Lines of what drifted that are shown; a distro's point release changes hundreds of packages.
const SHOWN: usize = 40;

/// Which base, builder and deps images may be used.
#[derive(Clone, Debug, Default)]
pub enum ImagePolicy {
    /// Those that are known under their keys; others are made.
    #[default]
    Known,
    /// Only those that were made in this run.
    Anew,
    /// Those of a lock.
    Locked(LockedImages),
}

/// The images of a lock that hold for a run, by key.
#[derive(Clone, Debug, Default)]
pub struct LockedImages {
    by_key: BTreeMap<Digest, (String, LockedImage)>,
    builders: BTreeSet<String>,
    declared: BTreeMap<TargetName, Vec<String>>,
}

impl LockedImages {
    /// Adds an image of a builder (by its [place](crate::config::Builder::place)) with the words for it. Its key was computed from the builder's scripts, never taken from a file
    /// alone.
    pub fn add(&mut self, builder: &str, what: String, image: &LockedImage) {
        self.builders.insert(builder.to_owned());
        self.by_key.insert(image.key, (what, image.clone()));
    }

    /// Adds what the packaging of a target has to declare.
    pub fn expect(&mut self, target: &TargetName, declared: &[String]) {
        self.declared.insert(target.clone(), declared.to_vec());
    }
}

impl ImagePolicy {
    /// The identity that the image has to have; `None` if any is good. Builders that only verify are in no lock.
    pub(super) fn identity(&self, wanted: Wanted<'_>) -> Option<Digest> {
        let Self::Locked(locked) = self else { return None };
        let held = wanted.role != ImageRole::Verify && locked.builders.contains(&wanted.builder.place());
        // Nothing has this identity: whatever follows from an image that is not as locked is not as locked.
        let none = || Digest::of("no image");
        held.then(|| locked.by_key.get(&wanted.key).map_or_else(none, |(_, image)| image.id))
    }

    /// What the packaging of a target declares according to the lock.
    pub(super) fn declared(&self, target: &TargetName) -> Option<&[String]> {
        let Self::Locked(locked) = self else { return None };
        locked.declared.get(target).map(Vec::as_slice)
    }

    /// Says what is wrong if a target's packaging declares something else than what the lock was made for.
    pub(super) fn same_dependencies(&self, target: &TargetName, found: &[String]) -> Result<(), Outcome> {
        let Some(locked) = self.declared(target) else { return Ok(()) };
        changed_dependencies(&target.to_string(), [(locked, found)])
            .map_err(|why| refused(format!("the lock does not hold: {why}")))
    }

    /// What is wrong with an image that was made in the place of a locked one: the images and what differs in packages.
    pub(super) fn refusal(&self, made: &ImageRecord, below: &[InstalledPackage]) -> Outcome {
        let locked = match self {
            Self::Locked(locked) => locked.by_key.get(&made.key),
            _ => None,
        };
        let what = locked.map_or_else(|| format!("{} {}", made.builder, made.role), |(what, _)| what.clone());
        let (id, before) = locked.map_or((None, &[][..]), |(_, image)| (Some(image.id), &image.packages[..]));
        let changes = package_changes(before, &own_packages(&made.packages, below));
        let mut message = format!(
            "the {what} image is not the locked one: {} is locked and in no store, and what is made today is {}",
            id.map_or("none".to_owned(), |id| id.short()),
            made.id.short()
        );
        for change in changes.iter().take(SHOWN) {
            let _ = write!(message, "\n    {}", neutralise(change.to_string().as_bytes()));
        }
        if changes.len() > SHOWN {
            let _ = write!(message, "\n    and {} packages more", changes.len() - SHOWN);
        }
        if changes.is_empty() {
            message.push_str("\n    its packages are the same");
        }
        refused(message)
    }
}

/// The outcome of what a lock does not allow.
pub fn refused(message: String) -> Outcome {
    Outcome::Broken {
        message,
        hint: "look at what changes with `packhold update`, and commit the lock that it writes".to_owned(),
    }
}

/// The packages of an image that the image below does not have in the same version.
pub fn own_packages(packages: &[InstalledPackage], below: &[InstalledPackage]) -> Vec<InstalledPackage> {
    let identity = |p: &InstalledPackage| (p.name.clone(), p.version.clone(), p.arch.clone());
    let known: BTreeSet<_> = below.iter().map(identity).collect();
    let mut own: Vec<_> = packages.iter().filter(|p| !known.contains(&identity(p))).cloned().collect();
    own.sort();
    own.dedup_by_key(|package| identity(package));
    own
}
