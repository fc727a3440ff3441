use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::image::OciLayout;

use super::error::{ArchiveError, Result};
use super::index;
use super::manifest::canonical_json;
use crate::model::Digest;
use crate::support::file_lock::FileLock;
use crate::support::fs::{FsError, PathContext, read_up_to};

/// The archive's lock. It guards the replacement of `index.json` and the making and sweeping of workspaces, never a reader.
pub(super) type ArchiveLock = FileLock;

/// The version of the OCI image layout (OCI image specification, "Image Layout", `imageLayoutVersion`).
pub(super) const LAYOUT_VERSION: &str = "1.0.0";

/// Bytes of `oci-layout` that are read. It says one version.
const LONGEST_MARKER: u64 = 4 << 10;

/// The catalogue, with the version of its tables.
const CATALOGUE: &str = "catalogue-1.sqlite";

/// What an archive's folder may hold before it is complete. `lost+found` is there when the folder is a file system.
const OWN_NAMES: [&str; 6] = ["blobs", "chunked", "tmp", "index.json", "index.lock", "lost+found"];

/// The names of everything in an archive's folder.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of an existing archive.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let layout = Self::at(root);
        layout.check()?;
        index::read(&layout)?;
        Ok(layout)
    }

    /// The layout of an archive that is made if there is none. Safe against others that do the same at the same time,
    /// and goes on where a crash left off.
    pub(super) fn open_or_create(root: &Path) -> Result<Self> {
        let layout = Self::at(root);
        if layout.marker().exists() {
            return Self::open(root);
        }
        layout.refuse_foreign()?;
        let blobs = layout.blobs();
        fs::create_dir_all(&blobs).at("create", &blobs)?;
        fs::create_dir_all(layout.tmp()).at("create", layout.tmp())?;
        {
            let _lock = ArchiveLock::take(&layout.lock())?;
            if !layout.index().exists() {
                layout.write_new(&layout.index(), &canonical_json(&index::empty()?)?)?;
            }
            index::read(&layout)?;
            if !layout.marker().exists() {
                let marker = serde_json::json!({ "imageLayoutVersion": LAYOUT_VERSION });
                layout.write_new(&layout.marker(), &canonical_json(&marker)?)?;
            }
        }
        Self::open(root)
    }

    /// The names below `root`, whatever is there.
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn marker(&self) -> PathBuf {
        self.root.join("oci-layout")
    }

    pub(super) fn index(&self) -> PathBuf {
        self.root.join("index.json")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("index.lock")
    }

    /// The database that answers searches; nothing is lost with it.
    pub(super) fn catalogue(&self) -> PathBuf {
        // SQLite follows no link on the way to a file that must not be one.
        fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone()).join(CATALOGUE)
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// The lists of blobs that are kept in chunks.
    pub(super) fn chunk_lists(&self) -> PathBuf {
        self.root.join("chunked").join("sha256")
    }

    pub(super) fn chunk_list(&self, digest: &Digest) -> PathBuf {
        self.chunk_lists().join(digest.hex())
    }

    /// Checks `oci-layout`.
    pub(super) fn check(&self) -> Result<()> {
        let marker = self.marker();
        let bytes = match read_up_to(&marker, LONGEST_MARKER) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(ArchiveError::NotAnArchive { path: self.root.clone() });
            }
            Err(error) => return Err(error).at("read", &marker)?,
        };
        let damaged = |reason: String| ArchiveError::Damaged { what: "oci-layout".to_owned(), reason };
        let layout: OciLayout = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        match layout.image_layout_version().as_str() {
            LAYOUT_VERSION => Ok(()),
            other => Err(damaged(format!("image layout version `{other}` is not {LAYOUT_VERSION}"))),
        }
    }

    /// An archive that a crash left half made has only names of its own; anything else is somebody else's.
    fn refuse_foreign(&self) -> Result<()> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).at("list", &self.root)?,
        };
        for entry in entries {
            let name = entry.at("list", &self.root)?.file_name().to_string_lossy().into_owned();
            if !Self::is_own_name(&name) {
                return Err(ArchiveError::Foreign { path: self.root.clone(), found: name });
            }
        }
        Ok(())
    }

    /// True for what an archive's folder holds.
    pub(super) fn is_own_name(name: &str) -> bool {
        OWN_NAMES.contains(&name) || name == "oci-layout" || name.starts_with("catalogue-")
    }

    /// Writes a small file that is not there yet, complete or not at all. The caller holds the archive's lock.
    fn write_new(&self, path: &Path, bytes: &[u8]) -> Result<(), FsError> {
        let tmp = self.tmp();
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(&tmp)
            .at("create a file in", &tmp)?;
        io::Write::write_all(&mut file, bytes).at("write", file.path())?;
        file.as_file().sync_all().at("write", file.path())?;
        file.persist(path).map_err(|e| e.error).at("create", path)?;
        sync_dir(&self.root)
    }
}

/// Makes the names in `dir` durable (fsync(2) of a file does not cover its folder).
pub(super) fn sync_dir(dir: &Path) -> Result<(), FsError> {
    File::open(dir).and_then(|dir| dir.sync_all()).at("write", dir)
}

#[cfg(test)]
mod tests {
    use super::super::{Archive, testing::Fixture};
    use super::*;

    #[test]
    fn a_folder_that_holds_something_else_is_refused_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        let error = Archive::open_or_create(dir.path()).unwrap_err();
        assert!(matches!(&error, ArchiveError::Foreign { found, .. } if found == "notes.txt"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn opening_never_makes_an_archive() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("missing")] {
            let error = Archive::open(&path).unwrap_err();
            assert!(matches!(error, ArchiveError::NotAnArchive { .. }), "{error}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_archive_that_a_crash_left_half_made_is_completed() {
        for missing in
            [&["oci-layout"][..], &["oci-layout", "index.json"], &["oci-layout", "index.json", "index.lock"]]
        {
            let fixture = Fixture::new();
            for name in missing {
                fs::remove_file(fixture.archive.path().join(name)).unwrap();
            }
            let archive = Archive::open_or_create(fixture.archive.path()).unwrap();
            archive.put_bytes(b"content").unwrap();
            assert!(fixture.verify().is_sound());
        }
    }

    #[test]
    fn several_may_make_the_same_archive_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    Archive::open_or_create(dir.path().join("a")).unwrap().put_bytes(b"x").unwrap()
                });
            }
        });
        assert!(super::super::verify(dir.path().join("a"), |_| ()).unwrap().is_sound());
    }

    #[test]
    fn an_archive_of_a_later_format_is_refused() {
        let fixture = Fixture::new();
        let path = fixture.archive.layout().index();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(
            &path,
            text.replace("\"com.packhold.archive.version\":\"3\"", "\"com.packhold.archive.version\":\"4\""),
        )
        .unwrap();
        let error = Archive::open(fixture.archive.path()).unwrap_err();
        assert!(matches!(error, ArchiveError::Newer { .. }), "{error}");
        fs::write(fixture.archive.layout().marker(), r#"{"imageLayoutVersion": "2.0.0"}"#).unwrap();
        let error = Archive::open(fixture.archive.path()).unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    }
}
