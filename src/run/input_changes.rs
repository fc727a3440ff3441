//! What a target was built from in one run and not in another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::inputs::Inputs;
use crate::model::{Digest, Hasher, TargetName, TargetRecord, short_commit};
use crate::plan::{BuildInputs, KeyField, PrepareInputs, build_fields, prepare_key};
use crate::report::changes::{FieldChange, NameChanges};
use crate::support::fs::{FsError, PathContext};

/// Fields of a build key as people call them. Those that only repeat what others say are left out: the time and the version follow from the
/// commit, and the target is the same.
const WORDS: [(&str, &str); 12] = [
    ("recipe", "Packhold's recipe"),
    ("changelog", "changelog entry"),
    ("name", "package name"),
    ("tree", "source tree"),
    ("commit", "commit"),
    ("full", "package version"),
    ("image", "deps image"),
    ("prepared", "shared prepare stage"),
    ("scripts", "builder's build.sh, changelog.sh"),
    ("packaging", "packaging"),
    ("prepare", "prepare script"),
    ("env", "environment"),
];

/// The fields of a target's build key in a run. An error says why they are not known.
pub(super) fn fields_of(inputs: &Inputs, target: &TargetRecord) -> Result<Vec<KeyField>, String> {
    let said = |outcome: crate::model::Outcome| outcome.message().unwrap_or_default().to_owned();
    let plan = inputs.plan(&target.target).map_err(said)?;
    let commit = &inputs.tree.commit;
    let images = inputs.images(&target.target.builder, &target.images).map_err(said)?;
    let prepared = match (&inputs.pipeline.prepare, inputs.prepare_images().map_err(said)?) {
        (Some(stage), Some(images)) => {
            Some(prepare_key(PrepareInputs { stage, commit, image: images.deps.id }))
        }
        _ => None,
    };
    Ok(build_fields(BuildInputs { plan: &plan, commit, image: images.deps.id, prepared }))
}

/// The fields that differ, by the words for them.
pub(super) fn changed_fields(old: &[KeyField], new: &[KeyField]) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    for (name, what) in WORDS {
        let of = |fields: &[KeyField]| -> Vec<String> {
            fields.iter().filter(|field| field.name == name).map(|field| shown(&field.value)).collect()
        };
        let (old, new) = (of(old), of(new));
        let change = |old, new| FieldChange { what: what.to_owned(), old, new };
        match (old.as_slice(), new.as_slice()) {
            (old, new) if old == new => {}
            ([old], [new]) if name != "env" => changes.push(change(Some(old.clone()), Some(new.clone()))),
            _ => {
                let went = old.iter().filter(|value| !new.contains(value));
                changes.extend(went.map(|value| change(Some(value.clone()), None)));
                let came = new.iter().filter(|value| !old.contains(value));
                changes.extend(came.map(|value| change(None, Some(value.clone()))));
            }
        }
    }
    changes
}

/// Of a digest, and of a commit's id, its beginning is enough.
fn shown(value: &str) -> String {
    let is_commit = value.len() >= 40 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    match value.parse::<Digest>() {
        Ok(digest) => digest.short(),
        Err(_) if is_commit => short_commit(value).to_owned(),
        Err(_) => value.to_owned(),
    }
}

/// The files of a target's builder that differ.
pub(super) fn changed_scripts(old: &Inputs, new: &Inputs, target: &TargetName) -> NameChanges {
    let files = |inputs: &Inputs| -> BTreeMap<String, Digest> {
        let builder = inputs.builder(&target.builder, target.architecture);
        let files = builder.map(|builder| builder.files).unwrap_or_default();
        files.into_iter().map(|(name, bytes)| (name, Digest::of(bytes))).collect()
    };
    changed_names(&files(old), &files(new))
}

/// The files of the source trees that differ.
pub(super) fn changed_sources(old: &Inputs, new: &Inputs) -> Result<NameChanges, FsError> {
    if old.tree.commit.tree == new.tree.commit.tree {
        return Ok(NameChanges::default());
    }
    Ok(changed_names(&entries(&old.tree.tar)?, &entries(&new.tree.tar)?))
}

/// What there is in a tar: path → a digest of what it is.
fn entries(path: &Path) -> Result<BTreeMap<String, Digest>, FsError> {
    let read = || -> io::Result<BTreeMap<String, Digest>> {
        let mut entries = BTreeMap::new();
        for entry in tar::Archive::new(io::BufReader::new(File::open(path)?)).entries()? {
            let mut entry = entry?;
            let header = entry.header();
            if header.entry_type().is_dir() {
                continue;
            }
            let mut hasher = Hasher::new();
            hasher.field("kind", [header.entry_type().as_byte()])?;
            hasher.field("mode", header.mode()?.to_string())?;
            hasher.field("link", entry.link_name_bytes().unwrap_or_default())?;
            io::copy(&mut entry, &mut hasher)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            entries.insert(name, hasher.finish().0);
        }
        Ok(entries)
    };
    read().at("read", path)
}

fn changed_names(old: &BTreeMap<String, Digest>, new: &BTreeMap<String, Digest>) -> NameChanges {
    let missing_in = |other: &BTreeMap<String, Digest>, all: &BTreeMap<String, Digest>| {
        all.keys().filter(|name| !other.contains_key(*name)).cloned().collect()
    };
    let differs = |(name, digest): &(&String, &Digest)| old.get(*name).is_some_and(|then| then != *digest);
    NameChanges {
        added: missing_in(old, new),
        removed: missing_in(new, old),
        changed: new.iter().filter(differs).map(|(name, _)| name.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> KeyField {
        KeyField { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn fields_that_differ_are_told_and_variables_one_by_one() {
        let old = [field("tree", &Digest::of("a").to_string()), field("env", "A=1"), field("env", "B=1")];
        let new = [field("tree", &Digest::of("b").to_string()), field("env", "A=1"), field("env", "C=1")];
        let told: Vec<(String, Option<String>, Option<String>)> = changed_fields(&old, &new)
            .into_iter()
            .map(|change| (change.what, change.old, change.new))
            .collect();
        let short = |text: &str| Some(Digest::of(text).short());
        let expected = [
            ("source tree".to_owned(), short("a"), short("b")),
            ("environment".to_owned(), Some("B=1".to_owned()), None),
            ("environment".to_owned(), None, Some("C=1".to_owned())),
        ];
        assert_eq!(told, expected);
        assert!(changed_fields(&old, &old).is_empty());
    }

    #[test]
    fn names_came_went_or_stand_for_something_else() {
        let all = |pairs: &[(&str, &str)]| -> BTreeMap<String, Digest> {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), Digest::of(text))).collect()
        };
        let told = changed_names(
            &all(&[("a", "1"), ("b", "1"), ("c", "1")]),
            &all(&[("b", "2"), ("c", "1"), ("d", "1")]),
        );
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!((told.added, told.removed, told.changed), (names(&["d"]), names(&["a"]), names(&["b"])));
    }
}
