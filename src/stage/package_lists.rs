use std::path::PathBuf;

use super::json_cache::JsonCache;
use crate::config::Builder;
use crate::model::{Digest, InstalledPackage};

/// What is installed in images that were looked at before: a container less for each image that is found again. It is
/// a cache: what cannot be read or written is listed anew.
#[derive(Clone, Debug)]
pub struct PackageLists(JsonCache);

impl PackageLists {
    /// The lists that are kept in a folder, which need not exist.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self(JsonCache::in_folder(folder))
    }

    pub(super) fn get(&self, image: Digest, builder: &Builder) -> Option<Vec<InstalledPackage>> {
        made_of(image, builder, |fields| self.0.get(fields))
    }

    pub(super) fn keep(&self, image: Digest, builder: &Builder, packages: &[InstalledPackage]) {
        made_of(image, builder, |fields| self.0.keep(fields, packages));
    }
}

/// An image's identity is that of its contents; what is said of them depends on the script that is asked.
fn made_of<T>(image: Digest, builder: &Builder, use_it: impl FnOnce(&[(&str, &[u8])]) -> T) -> T {
    let script = |name: &str| builder.files.get(name).map(Vec::as_slice).unwrap_or_default();
    let image = image.hex();
    use_it(&[("image", image.as_bytes()), ("script", script("packages.sh")), ("dpkg", script("dpkg.sh"))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Builders;

    #[test]
    fn a_list_is_found_again_for_the_same_image_and_script_only() {
        let folder = tempfile::tempdir().unwrap();
        let lists = PackageLists::in_folder(folder.path().join("packages"));
        let builder = Builders::shipped().load("debian-12").unwrap();
        let (image, other) = (Digest::of("image"), Digest::of("other"));
        let package = InstalledPackage {
            name: "a".into(),
            version: "1".into(),
            arch: "all".into(),
            sha256: None,
            header_sha256: None,
        };
        assert_eq!(lists.get(image, &builder), None);
        lists.keep(image, &builder, std::slice::from_ref(&package));
        assert_eq!(lists.get(image, &builder), Some(vec![package]));
        assert_eq!(lists.get(other, &builder), None);
        let mut changed = builder.clone();
        changed.files.insert("packages.sh".into(), b"true".to_vec());
        assert_eq!(lists.get(image, &changed), None);
    }
}
