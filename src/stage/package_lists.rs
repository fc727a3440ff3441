use std::fs;
use std::path::PathBuf;

use crate::config::Builder;
use crate::model::{Digest, Hasher, InstalledPackage};

/// What is installed in images that were looked at before: a container less for each image that is found again. It is
/// a cache: what cannot be read or written is listed anew.
#[derive(Clone, Debug)]
pub struct PackageLists {
    folder: PathBuf,
}

impl PackageLists {
    /// The lists that are kept in a folder, which need not exist.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn get(&self, image: Digest, builder: &Builder) -> Option<Vec<InstalledPackage>> {
        serde_json::from_slice(&fs::read(self.path(image, builder)).ok()?).ok()
    }

    pub(super) fn keep(&self, image: Digest, builder: &Builder, packages: &[InstalledPackage]) {
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            serde_json::to_writer(&mut file, packages)?;
            file.persist(self.path(image, builder))?;
            Ok(())
        };
        let _ = write();
    }

    /// An image's identity is that of its contents; what is said of them depends on the script that is asked.
    fn path(&self, image: Digest, builder: &Builder) -> PathBuf {
        let mut hasher = Hasher::new();
        let script = |name: &str| builder.files.get(name).map(Vec::as_slice).unwrap_or_default();
        let (packages, dpkg) = (script("packages.sh"), script("dpkg.sh"));
        for (name, value) in [("image", image.hex().as_bytes()), ("script", packages), ("dpkg", dpkg)] {
            // Hashing in memory does not fail.
            let _ = hasher.field(name, value);
        }
        self.folder.join(format!("{}.json", hasher.finish().0.hex()))
    }
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
        let package =
            InstalledPackage { name: "a".into(), version: "1".into(), arch: "all".into(), sha256: None };
        assert_eq!(lists.get(image, &builder), None);
        lists.keep(image, &builder, std::slice::from_ref(&package));
        assert_eq!(lists.get(image, &builder), Some(vec![package]));
        assert_eq!(lists.get(other, &builder), None);
        let mut changed = builder.clone();
        changed.files.insert("packages.sh".into(), b"true".to_vec());
        assert_eq!(lists.get(image, &changed), None);
    }
}
