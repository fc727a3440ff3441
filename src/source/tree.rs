//! Reading single files of a commit without a checkout.

use std::collections::VecDeque;

use git2::ObjectType;

use super::repository::{Commit, Repository};
use super::{Result, SourceError};

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeEntryKind {
    /// A regular file.
    File,
    /// A regular file with the executable bit.
    Executable,
    /// A symbolic link.
    Symlink,
    /// A folder.
    Folder,
    /// Another repository's commit.
    Submodule,
}

impl TreeEntryKind {
    /// The kind that a git tree's mode stands for.
    pub(super) fn of_mode(mode: i32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o100_000 if mode & 0o100 != 0 => Self::Executable,
            0o100_000 => Self::File,
            0o120_000 => Self::Symlink,
            0o040_000 => Self::Folder,
            0o160_000 => Self::Submodule,
            _ => return None,
        })
    }
}

/// An entry of a folder of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// The file's name: bytes, which need not be UTF-8.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: TreeEntryKind,
}

/// Symbolic links followed on one path, as many as Linux follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

impl Repository {
    /// The bytes of the file `path` in the folder `subdir` of a commit; `None` where there is no such regular file.
    ///
    /// Symbolic links are followed as long as they stay inside `subdir`; submodules are not entered.
    pub fn read_file(&self, commit: &Commit, subdir: &str, path: &str) -> Result<Option<Vec<u8>>> {
        let Some(object) = self.walk(commit, subdir, path)? else { return Ok(None) };
        Ok(object.into_blob().ok().map(|blob| blob.content().to_vec()))
    }

    /// The entries of the folder `path` in the folder `subdir` of a commit, sorted by name; `None` where there is no
    /// such folder. Links are followed as by [`Repository::read_file`].
    pub fn list_dir(&self, commit: &Commit, subdir: &str, path: &str) -> Result<Option<Vec<TreeEntry>>> {
        let Some(object) = self.walk(commit, subdir, path)? else { return Ok(None) };
        let Ok(tree) = object.into_tree() else { return Ok(None) };
        let mut entries = Vec::with_capacity(tree.len());
        for entry in &tree {
            if let Some(kind) = TreeEntryKind::of_mode(entry.filemode_raw()) {
                entries.push(TreeEntry { name: entry.name_bytes().to_vec(), kind });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Some(entries))
    }

    /// The folder `subdir` of a commit. Links are not followed: a source tree has one name.
    pub(super) fn subtree(&self, commit: &Commit, subdir: &str) -> Result<git2::Tree<'_>> {
        let mut tree = self.lookup(commit)?.tree().map_err(|e| self.object_error(&commit.id, e))?;
        for name in components(subdir)? {
            let id =
                tree.get_name(name).filter(|entry| entry.kind() == Some(ObjectType::Tree)).map(|e| e.id());
            let Some(id) = id else {
                return Err(SourceError::NoFolder {
                    path: subdir.to_owned(),
                    commit: commit.short().to_owned(),
                });
            };
            tree = self.git.find_tree(id).map_err(|e| self.object_error(&id.to_string(), e))?;
        }
        Ok(tree)
    }

    /// The object at `path` below `subdir`, links followed.
    fn walk(&self, commit: &Commit, subdir: &str, path: &str) -> Result<Option<git2::Object<'_>>> {
        let bad_link = || SourceError::BadLink { path: path.to_owned() };
        let mut todo: VecDeque<Vec<u8>> = components(path)?.map(|name| name.as_bytes().to_vec()).collect();
        let mut folders = vec![self.subtree(commit, subdir)?];
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    folders.pop();
                    if folders.is_empty() {
                        return Err(bad_link());
                    }
                    continue;
                }
                _ => {}
            }
            let Some((id, mode)) = folders.last().and_then(|folder| {
                folder.get_name_bytes(&name).map(|entry| (entry.id(), entry.filemode_raw()))
            }) else {
                return Ok(None);
            };
            let error = |e| self.object_error(&id.to_string(), e);
            match TreeEntryKind::of_mode(mode) {
                Some(TreeEntryKind::Folder) => folders.push(self.git.find_tree(id).map_err(error)?),
                Some(TreeEntryKind::Symlink) => {
                    let target = self.git.find_blob(id).map_err(error)?;
                    links += 1;
                    if target.content().starts_with(b"/") || links > MAX_LINKS {
                        return Err(bad_link());
                    }
                    for part in target.content().split(|b| *b == b'/').rev() {
                        todo.push_front(part.to_vec());
                    }
                }
                Some(TreeEntryKind::File | TreeEntryKind::Executable) if todo.is_empty() => {
                    return self.git.find_blob(id).map(|blob| Some(blob.into_object())).map_err(error);
                }
                _ => return Ok(None),
            }
        }
        Ok(folders.pop().map(git2::Tree::into_object))
    }
}

/// The names of a path that a person wrote; `.` and empty names are left out, `..` and a leading `/` are refused.
pub(super) fn components(path: &str) -> Result<impl Iterator<Item = &str>> {
    if path.starts_with('/') || path.contains('\0') || path.split('/').any(|name| name == "..") {
        return Err(SourceError::BadPath { path: path.to_owned() });
    }
    Ok(path.split('/').filter(|name| !matches!(*name, "" | ".")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::TestRepository;

    #[test]
    fn a_file_is_read_from_the_commit_and_not_from_the_working_directory() {
        let test = TestRepository::new();
        test.write("sub/debian/control", b"Source: x\n");
        let first = test.commit("one");
        test.write("sub/debian/control", b"edited\n");
        let repository = test.open();
        let commit = repository.resolve(&first).unwrap();
        let read = |subdir, path| repository.read_file(&commit, subdir, path).unwrap();
        assert_eq!(read("sub", "debian/control").as_deref(), Some(&b"Source: x\n"[..]));
        assert_eq!(read("", "./sub//debian/control").as_deref(), Some(&b"Source: x\n"[..]));
        assert_eq!(read("sub", "debian/changelog"), None);
        assert_eq!(read("sub", "debian"), None);
        assert_eq!(read("sub", "debian/control/x"), None);
    }

    #[test]
    fn links_are_followed_inside_the_folder_only() {
        let test = TestRepository::new();
        test.write("outside", b"secret");
        test.write("sub/packaging/control", b"inside");
        for (target, link) in [
            ("packaging", "sub/debian"),
            ("../sub/packaging", "sub/around"),
            ("../outside", "sub/up"),
            ("/etc/passwd", "sub/absolute"),
            ("circle", "sub/circle"),
            ("packaging/../packaging/control", "sub/twisted"),
        ] {
            test.symlink(target, link);
        }
        let commit = test.commit("links");
        let repository = test.open();
        let commit = repository.resolve(&commit).unwrap();
        let read = |path| repository.read_file(&commit, "sub", path);
        assert_eq!(read("debian/control").unwrap().as_deref(), Some(&b"inside"[..]));
        assert_eq!(read("twisted").unwrap().as_deref(), Some(&b"inside"[..]));
        for path in ["up", "absolute", "circle", "around/control"] {
            assert!(matches!(read(path), Err(SourceError::BadLink { .. })), "{path}");
        }
        for path in ["../outside", "/etc/passwd", "debian/../../outside"] {
            assert!(matches!(read(path), Err(SourceError::BadPath { .. })), "{path}");
        }
    }

    #[test]
    fn a_folder_lists_its_entries_by_name_and_kind() {
        let test = TestRepository::new();
        test.write("b/x", b"");
        test.write("a", b"");
        test.symlink("a", "c");
        test.executable("run");
        let commit = test.commit("one");
        let repository = test.open();
        let commit = repository.resolve(&commit).unwrap();
        let entries = repository.list_dir(&commit, "", "").unwrap().unwrap();
        let entries: Vec<_> =
            entries.iter().map(|e| (String::from_utf8_lossy(&e.name).into_owned(), e.kind)).collect();
        let expected = [
            ("a", TreeEntryKind::File),
            ("b", TreeEntryKind::Folder),
            ("c", TreeEntryKind::Symlink),
            ("run", TreeEntryKind::Executable),
        ];
        assert_eq!(entries, expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(repository.list_dir(&commit, "", "a").unwrap(), None);
        assert_eq!(repository.list_dir(&commit, "", "nowhere").unwrap(), None);
        let error = repository.read_file(&commit, "nowhere", "a").unwrap_err();
        assert!(matches!(error, SourceError::NoFolder { .. }), "{error}");
    }
}
