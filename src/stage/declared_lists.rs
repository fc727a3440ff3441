use std::path::PathBuf;

use super::declared::SCRIPT;
use super::json_cache::JsonCache;
use crate::config::Builder;
use crate::model::{Digest, Format};
use crate::plan::{Dependencies, SpecFile};

/// What spec files were found to ask for: a container less for each that has not changed. It is a cache: what cannot be read, or is
/// no list that a container could have given, is asked anew.
#[derive(Clone, Debug)]
pub struct DeclaredLists(JsonCache);

impl DeclaredLists {
    /// The lists that are kept in a folder, which need not exist.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self(JsonCache::in_folder(folder))
    }

    /// What a spec file asks for in a builder image, if that was found out before.
    pub fn get(&self, image: Digest, builder: &Builder, spec: &SpecFile) -> Option<Dependencies> {
        let lines = made_of(image, builder, spec, |fields| self.0.get(fields))?;
        Dependencies::of_lines(Format::Rpm, lines).ok()
    }

    pub(super) fn keep(&self, image: Digest, builder: &Builder, spec: &SpecFile, list: &Dependencies) {
        made_of(image, builder, spec, |fields| self.0.keep(fields, list.lines()));
    }
}

/// All that the container is given: a macro of one image is none of another, and any byte of the file may be part of one.
fn made_of<T>(
    image: Digest,
    builder: &Builder,
    spec: &SpecFile,
    use_it: impl FnOnce(&[(&str, &[u8])]) -> T,
) -> T {
    let (image, script) = (image.hex(), builder.digest_of(&[SCRIPT]).hex());
    use_it(&[
        ("image", image.as_bytes()),
        ("script", script.as_bytes()),
        ("name", spec.name.as_bytes()),
        ("spec", &spec.bytes),
    ])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Builders;

    #[test]
    fn a_list_is_found_again_for_the_same_image_script_and_spec_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let lists = DeclaredLists::in_folder(folder.path().join("declared"));
        let builder = Builders::shipped().load("debian-rpm").unwrap();
        let spec = SpecFile { name: "a.spec".into(), bytes: b"BuildRequires: gcc\n".to_vec() };
        let image = Digest::of("image");
        let list = Dependencies::of_answer(b"gcc\n").unwrap();
        assert_eq!(lists.get(image, &builder, &spec), None);
        lists.keep(image, &builder, &spec, &list);
        assert_eq!(lists.get(image, &builder, &spec), Some(list));
        assert_eq!(lists.get(Digest::of("other"), &builder, &spec), None);
        let other = SpecFile { bytes: b"BuildRequires: gcc\n# more\n".to_vec(), ..spec.clone() };
        assert_eq!(lists.get(image, &builder, &other), None);
        let mut changed = builder.clone();
        changed.files.insert(SCRIPT.into(), b"true".to_vec());
        assert_eq!(lists.get(image, &changed, &spec), None);
    }

    #[test]
    fn what_no_container_could_have_given_is_not_taken_from_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let lists = DeclaredLists::in_folder(folder.path().to_owned());
        let builder = Builders::shipped().load("debian-rpm").unwrap();
        let spec = SpecFile { name: "a.spec".into(), bytes: Vec::new() };
        let image = Digest::of("image");
        let path = made_of(image, &builder, &spec, |fields| lists.0.path(fields));
        fs::write(&path, "[\"gcc\"]").unwrap();
        assert!(lists.get(image, &builder, &spec).is_some());
        for text in ["[\"--setopt=x\"]", "[\"%(id)\"]", "{", ""] {
            fs::write(&path, text).unwrap();
            assert_eq!(lists.get(image, &builder, &spec), None, "{text}");
        }
    }
}
