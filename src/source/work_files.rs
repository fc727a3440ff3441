use git2::{Status, StatusOptions};

use super::repository::Repository;
use super::{Result, SourceError};
use crate::model::Person;

/// A file of the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkFile {
    /// Its path from the top of the working directory.
    pub path: String,
    /// Whether the commit HEAD has it, in this form or another.
    pub committed: bool,
}

impl Repository {
    /// The files of the working directory that git does not ignore, sorted by path. Submodules and names that are not UTF-8 are left
    /// out; a bare or fetched repository has none.
    pub fn work_files(&self) -> Result<Vec<WorkFile>> {
        if self.git.is_bare() {
            return Ok(Vec::new());
        }
        let mut options = StatusOptions::new();
        options.include_untracked(true).recurse_untracked_dirs(true).include_unmodified(true);
        options.include_ignored(false).exclude_submodules(true);
        let action = "list the files of";
        let statuses =
            self.git.statuses(Some(&mut options)).map_err(SourceError::git(action, &self.location()))?;
        let mut files = Vec::with_capacity(statuses.len());
        for entry in statuses.iter() {
            let status = entry.status();
            let gone = status.intersects(Status::WT_DELETED)
                || status.contains(Status::INDEX_DELETED) && !status.contains(Status::WT_NEW);
            if let Some(path) = std::str::from_utf8(entry.path_bytes()).ok().filter(|_| !gone) {
                let committed = !status.intersects(Status::WT_NEW | Status::INDEX_NEW);
                files.push(WorkFile { path: path.to_owned(), committed });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The name and the address that commits made here would have (git-config(1), user.name and user.email).
    pub fn identity(&self) -> Option<Person> {
        let signature = self.git.signature().ok()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Person { name: text(signature.name_bytes()), email: text(signature.email_bytes()) })
    }

    /// The names of all tags, sorted.
    pub fn tag_names(&self) -> Result<Vec<String>> {
        let names =
            self.git.tag_names(None).map_err(SourceError::git("read the tags of", &self.location()))?;
        let mut names: Vec<String> = names.iter().flatten().flatten().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use crate::source::testing::TestRepository;

    #[test]
    fn the_files_that_git_does_not_ignore_are_listed_and_new_ones_told() {
        let test = TestRepository::new();
        test.write("debian/control", b"Source: x\n");
        test.write("gone", b"");
        test.write(".gitignore", b"build/\n");
        test.commit("one");
        std::fs::remove_file(test.path().join("gone")).unwrap();
        test.write("debian/control", b"Source: y\n");
        test.write("build/x", b"");
        test.write("new/deep/file", b"");
        test.write("staged", b"");
        test.git(["add", "staged"]);
        let files = test.open().work_files().unwrap();
        let told: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.committed)).collect();
        let expected =
            [(".gitignore", true), ("debian/control", true), ("new/deep/file", false), ("staged", false)];
        assert_eq!(told, expected);
    }

    #[test]
    fn tags_are_named_without_their_folder() {
        let test = TestRepository::new();
        test.commit("one");
        test.git(["tag", "v1.0"]);
        test.git(["tag", "--annotate", "--message", "x", "debian/1.0-1"]);
        assert_eq!(test.open().tag_names().unwrap(), ["debian/1.0-1", "v1.0"]);
    }
}
