use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::Hasher;

/// Small documents in a folder, by what they were made of. What cannot be read or written is made anew.
#[derive(Clone, Debug)]
pub(super) struct JsonCache {
    folder: PathBuf,
}

impl JsonCache {
    /// The documents that are kept in a folder, which need not exist.
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn get<T: DeserializeOwned>(&self, made_of: &[(&str, &[u8])]) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path(made_of)).ok()?).ok()
    }

    pub(super) fn keep<T: Serialize + ?Sized>(&self, made_of: &[(&str, &[u8])], document: &T) {
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            serde_json::to_writer(&mut file, document)?;
            file.persist(self.path(made_of))?;
            Ok(())
        };
        let _ = write();
    }

    pub(super) fn path(&self, made_of: &[(&str, &[u8])]) -> PathBuf {
        let mut hasher = Hasher::new();
        for (name, value) in made_of {
            // Hashing in memory does not fail.
            let _ = hasher.field(name, value);
        }
        self.folder.join(format!("{}.json", hasher.finish().0.hex()))
    }
}
