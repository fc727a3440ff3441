use std::fs;
use std::io::{self, Write};

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType, SCHEMA_VERSION};

use super::blobs::MAX_DOCUMENT;
use super::error::{ArchiveError, Result};
use super::layout::{self, ArchiveLock, Layout};
use super::manifest::{FORMAT_VERSION, annotations, canonical_json};
use super::pages;
use super::workspace::Workspace;
use crate::support::fs::{PathContext, read_up_to};

/// The newest archive format that this program reads and the one that it writes.
pub(super) const KNOWN_FORMAT: u32 = 3;

/// An index that names nothing.
pub(super) fn empty() -> Result<ImageIndex> {
    ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(Vec::new())
        .annotations(annotations([(FORMAT_VERSION, KNOWN_FORMAT.to_string())]))
        .build()
        .map_err(|e| damaged(e.to_string()))
}

/// The index as it is now. Needs no lock: it is only ever replaced as a whole.
pub(super) fn read(layout: &Layout) -> Result<ImageIndex> {
    let path = layout.index();
    let bytes = match read_up_to(&path, MAX_DOCUMENT + 1) {
        Ok(bytes) if bytes.len() as u64 > MAX_DOCUMENT => {
            return Err(damaged(format!(
                "it is larger than the {MAX_DOCUMENT} bytes that an index may have"
            )));
        }
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged("it is missing".to_owned()));
        }
        Err(error) => return Err(error).at("read", &path)?,
    };
    let index: ImageIndex = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if index.schema_version() != SCHEMA_VERSION {
        return Err(damaged(format!("schema version {} is not {SCHEMA_VERSION}", index.schema_version())));
    }
    let version = index.annotations().as_ref().and_then(|all| all.get(FORMAT_VERSION));
    match version {
        Some(version) if version.parse::<u32>().is_ok_and(|v| v <= KNOWN_FORMAT) => Ok(index),
        Some(version) => Err(ArchiveError::Newer {
            path: layout.root().to_owned(),
            version: version.clone(),
            known: KNOWN_FORMAT,
        }),
        // Another tool's image layout: everything in it follows from the OCI specification.
        None => Ok(index),
    }
}

/// Looks something up. A prune may remove what an index named that was read before it: then the new index is asked.
pub(super) fn look_up<T>(layout: &Layout, mut find: impl FnMut(&ImageIndex) -> Result<T>) -> Result<T> {
    let mut index = read(layout)?;
    loop {
        match find(&index) {
            Err(error @ ArchiveError::MissingBlob { .. }) => {
                let now = read(layout)?;
                if now == index {
                    return Err(error);
                }
                index = now;
            }
            found => return found,
        }
    }
}

/// Changes the index as one step: what `change` leaves in the list becomes visible to readers all at once, or, if it
/// fails, not at all. Everything that the new list names must be stored before.
pub(super) fn update<T>(
    layout: &Layout,
    workspace: &Workspace,
    change: impl FnOnce(&mut Vec<Descriptor>) -> Result<T>,
) -> Result<T> {
    update_under_lock(layout, workspace, |manifests, _| {
        let result = change(manifests)?;
        Ok(|_: &[Descriptor]| Ok(result))
    })
}

/// As [`update`]; what `change` gives is done when the new list is visible, still under the lock. It gets that list.
pub(super) fn update_under_lock<T, After: FnOnce(&[Descriptor]) -> Result<T>>(
    layout: &Layout,
    workspace: &Workspace,
    change: impl FnOnce(&mut Vec<Descriptor>, &ArchiveLock) -> Result<After>,
) -> Result<T> {
    // The workspace takes the same lock when it is made, so it comes first.
    let temp = workspace.new_path()?;
    let lock = ArchiveLock::take(&layout.lock())?;
    let mut index = read(layout)?;
    let mut manifests = index.manifests().clone();
    let after = change(&mut manifests, &lock)?;
    if *index.manifests() == manifests {
        return after(&manifests);
    }
    pages::turn(layout, workspace, &mut manifests, &lock)?;
    index.set_manifests(manifests);
    let mut about = index.annotations().clone().unwrap_or_default();
    about.insert(FORMAT_VERSION.to_owned(), KNOWN_FORMAT.to_string());
    index.set_annotations(Some(about));
    let bytes = canonical_json(&index)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(ArchiveError::Full { bytes: bytes.len() as u64, most: MAX_DOCUMENT });
    }
    let mut file = fs::File::create_new(&temp).at("create", &temp)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).at("write", &temp)?;
    fs::rename(&temp, layout.index()).at("replace", layout.index())?;
    layout::sync_dir(layout.root())?;
    after(index.manifests())
}

fn damaged(reason: String) -> ArchiveError {
    ArchiveError::Damaged { what: "index.json".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Archive;
    use crate::archive::testing::Fixture;
    use crate::support::Hint;

    #[test]
    fn an_index_that_is_too_large_is_refused_and_not_read() {
        let fixture = Fixture::new();
        let file = fs::OpenOptions::new().append(true).open(fixture.archive.layout().index()).unwrap();
        let size = file.metadata().unwrap().len();
        // White space after a document changes nothing else; a hole takes no space on the disk.
        (&file).write_all(b" ").unwrap();
        assert!(Archive::open(fixture.archive.path()).is_ok());
        file.set_len(MAX_DOCUMENT).unwrap();
        let error = Archive::open(fixture.archive.path()).unwrap_err();
        assert!(!error.to_string().contains("larger than"), "{error}");
        file.set_len(MAX_DOCUMENT + 1).unwrap();
        let error = Archive::open(fixture.archive.path()).unwrap_err();
        let told = "index.json is damaged: it is larger than the 67108864 bytes that an index may have";
        assert_eq!(error.to_string(), told);
        assert!(error.hint().contains("another copy"));
        file.set_len(size).unwrap();
        assert!(Archive::open(fixture.archive.path()).is_ok());
    }

    #[test]
    fn an_index_never_grows_larger_than_what_is_read() {
        let fixture = Fixture::new();
        let layout = fixture.archive.layout();
        let before = fs::read(layout.index()).unwrap();
        let workspace = Workspace::new(layout.clone());
        let error = update(layout, &workspace, |manifests| {
            let digest = crate::model::Digest::of(b"x");
            let mut large = crate::archive::manifest::descriptor(MediaType::ImageManifest, &digest, 1)?;
            let text = "x".repeat(usize::try_from(MAX_DOCUMENT).unwrap());
            large.set_annotations(Some(annotations([("x", text)])));
            manifests.push(large);
            Ok(())
        });
        let error = error.unwrap_err();
        assert!(matches!(error, ArchiveError::Full { most: MAX_DOCUMENT, .. }), "{error}");
        assert!(error.hint().contains("prune"), "{}", error.hint());
        assert_eq!(fs::read(layout.index()).unwrap(), before);
    }
}
