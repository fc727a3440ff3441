use std::fs;
use std::path::{Path, PathBuf};

use crate::archive::Archive;

/// A folder for one input, with an archive in it and a file beside it that nobody may touch.
pub struct Place {
    dir: tempfile::TempDir,
}

const CANARY: &[u8] = b"nobody may touch this\n";

impl Place {
    /// An empty folder.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        crate::bound();
        let dir = tempfile::Builder::new().prefix("fuzz-").tempdir().expect("a folder for temporary files");
        for folder in ["outside", "dest"] {
            fs::create_dir(dir.path().join(folder)).expect("a new folder");
        }
        fs::write(dir.path().join("outside/canary"), CANARY).expect("a new file");
        Self { dir }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A new archive.
    pub fn archive(&self) -> Archive {
        Archive::open_or_create(self.path("archive")).expect("a new archive")
    }

    /// The files of an archive that hold blobs.
    pub fn blobs(&self, archive: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for folder in ["blobs/sha256", "chunked/sha256"] {
            let entries = fs::read_dir(self.path(archive).join(folder)).into_iter().flatten().flatten();
            files.extend(entries.map(|entry| entry.path()));
        }
        files
    }

    /// Panics if anything was written beside the folders `allowed`.
    pub fn assert_untouched(&self, allowed: &[&str]) {
        let names = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        for name in names(self.dir.path()) {
            assert!(name == "outside" || name == "dest" || allowed.contains(&&*name), "{name} was written");
        }
        assert_eq!(names(&self.path("outside")), ["canary"], "something was written outside");
        let canary = fs::read(self.path("outside/canary")).expect("the canary is there");
        assert_eq!(canary, CANARY, "a file outside was changed");
    }
}
