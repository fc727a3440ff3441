//! Files that a source tree has beyond those of its commit.

use std::collections::BTreeMap;
use std::io::Write;

use git2::ObjectType;

use super::repository::Repository;
use super::tarball::Tarball;
use super::tree::{TreeEntryKind, components};
use super::{Result, SourceError};

/// A file that is added to a source tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedFile {
    /// The path from the top of the source tree.
    pub path: String,
    /// The bytes.
    pub content: Vec<u8>,
    /// Whether it may be executed.
    pub executable: bool,
}

impl Repository {
    /// Adds the files to the tar of `tree`, in the order of their paths, with the folders that the tree lacks. The tree must have nothing in
    /// the place of a file, and nothing but folders above it.
    pub(super) fn add<W: Write>(
        &self,
        tarball: &mut Tarball<W>,
        tree: &git2::Tree<'_>,
        added: &[AddedFile],
    ) -> Result<()> {
        let mut files: Vec<&AddedFile> = added.iter().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        // Path → whether it is a file.
        let mut made = BTreeMap::new();
        for file in files {
            let names: Vec<&str> = components(&file.path)?.collect();
            let occupied = |path: String| SourceError::Occupied { path };
            let mut place = Some(tree.clone());
            for (depth, name) in names.iter().enumerate() {
                let path = names[..=depth].join("/");
                let is_file = depth + 1 == names.len();
                let entry = place
                    .as_ref()
                    .and_then(|tree| tree.get_name(name).map(|entry| (entry.kind(), entry.id())));
                place = match entry {
                    Some((Some(ObjectType::Tree), id)) if !is_file => {
                        let found = self.git.find_tree(id);
                        Some(found.map_err(|e| self.object_error(&id.to_string(), e))?)
                    }
                    Some(_) => return Err(occupied(path)),
                    None => None,
                };
                match made.insert(path.clone(), is_file) {
                    Some(false) if !is_file => continue,
                    Some(_) => return Err(occupied(path)),
                    None => {}
                }
                if is_file {
                    let kind = if file.executable { TreeEntryKind::Executable } else { TreeEntryKind::File };
                    tarball.entry(path.as_bytes(), kind, &file.content).map_err(SourceError::Write)?;
                } else if place.is_none() {
                    let path = format!("{path}/");
                    tarball.entry(path.as_bytes(), TreeEntryKind::Folder, b"").map_err(SourceError::Write)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::TestRepository;

    fn file(path: &str) -> AddedFile {
        AddedFile {
            path: path.to_owned(),
            content: path.as_bytes().to_vec(),
            executable: path.ends_with("rules"),
        }
    }

    fn export(test: &TestRepository, subdir: &str, added: &[AddedFile]) -> Result<Vec<(String, u32)>> {
        let repository = test.open();
        let commit = repository.resolve("HEAD")?;
        let mut bytes = Vec::new();
        repository.export(&commit, subdir, true, added, &mut bytes)?;
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries = archive.entries().unwrap().map(Result::unwrap);
        let entry = |entry: tar::Entry<'_, _>| {
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            (path, entry.header().mode().unwrap())
        };
        Ok(entries.map(entry).collect())
    }

    #[test]
    fn added_files_come_after_those_of_the_commit_with_the_folders_that_it_lacks() {
        let test = TestRepository::new();
        test.write("sub/rpm/README", b"");
        test.write("sub/z", b"");
        test.commit("one");
        let added = [file("rpm/a.spec"), file("debian/source/format"), file("debian/rules")];
        let names: Vec<(String, u32)> = [
            ("rpm/", 0o755),
            ("rpm/README", 0o644),
            ("z", 0o644),
            ("debian/", 0o755),
            ("debian/rules", 0o755),
            ("debian/source/", 0o755),
            ("debian/source/format", 0o644),
            ("rpm/a.spec", 0o644),
        ]
        .map(|(name, mode)| (name.to_owned(), mode))
        .to_vec();
        assert_eq!(export(&test, "sub", &added).unwrap(), names);
    }

    #[test]
    fn nothing_of_the_commit_is_replaced_and_no_link_is_entered() {
        let test = TestRepository::new();
        test.write("file", b"");
        test.write("rpm/a.spec", b"");
        test.symlink("/etc", "link");
        test.commit("one");
        for (path, place) in
            [("rpm/a.spec", "rpm/a.spec"), ("file/x", "file"), ("link/passwd", "link"), ("rpm", "rpm")]
        {
            let error = export(&test, "", &[file(path)]).unwrap_err();
            assert!(matches!(&error, SourceError::Occupied { path } if path == place), "{path}: {error}");
        }
        assert!(export(&test, "", &[file("../x")]).is_err());
        assert!(export(&test, "", &[file("x"), file("x")]).is_err());
        assert!(export(&test, "", &[file("x"), file("x/y")]).is_err());
    }
}
