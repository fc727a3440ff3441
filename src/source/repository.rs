use std::path::{Path, PathBuf};

use git2::ErrorCode;

use super::fetch;
use super::location::Location;
use super::{Result, SourceError, UnknownRevision};
use crate::model::short_commit;

/// A git repository, to read commits from.
///
/// It can be sent to another thread, but not shared between threads. Everything it does blocks.
pub struct Repository {
    pub(super) git: git2::Repository,
    pub(super) location: Location,
    pub(super) cache_dir: PathBuf,
}

/// One commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The full id: 40 hexadecimal digits.
    pub id: String,
    /// The committer time, seconds since 1970 UTC: SOURCE_DATE_EPOCH. Never negative: no package format can say it.
    pub epoch: i64,
    /// The first line of its message.
    pub summary: String,
}

impl Commit {
    /// The beginning of the id ([`short_commit`]).
    pub fn short(&self) -> &str {
        short_commit(&self.id)
    }
}

impl Repository {
    /// Opens the repository at `location`: a path in a work tree or a bare repository, relative to `base_dir`, or an
    /// address (see [`Location`]), which is fetched into `cache_dir` now.
    pub fn open(location: &str, base_dir: &Path, cache_dir: &Path) -> Result<Self> {
        Self::open_at(Location::parse(location, base_dir)?, cache_dir)
    }

    /// The repository that holds `path`, for instance a pipeline file.
    pub fn discover(path: &Path, cache_dir: &Path) -> Result<Self> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(&path) };
        let mut repository = Self::open_at(Location::Local(folder.to_owned()), cache_dir)?;
        let top = repository.git.workdir().unwrap_or_else(|| repository.git.path()).to_owned();
        repository.location = Location::Local(top);
        Ok(repository)
    }

    /// Opens a location that was read already.
    pub fn open_at(location: Location, cache_dir: &Path) -> Result<Self> {
        let git = match &location {
            Location::Local(path) => open_local(path, true)?,
            Location::Remote(_) => open_local(&fetch::mirror(&location, cache_dir)?, false)?,
        };
        Ok(Self { git, location, cache_dir: cache_dir.to_owned() })
    }

    /// Where it is, for people and records: without a password.
    pub fn location(&self) -> String {
        self.location.to_string()
    }

    /// The top folder of the working directory; `None` for a bare or fetched repository.
    pub fn work_dir(&self) -> Option<&Path> {
        self.git.workdir()
    }

    /// The commit that a revision names: a branch, a tag, an id or the start of one, `HEAD~2` (gitrevisions(7)).
    ///
    /// In a fetched repository, a full id or a full reference name (`refs/pull/7/head`) that no branch or tag reaches
    /// is fetched by itself.
    pub fn resolve(&self, rev: &str) -> Result<Commit> {
        match self.find(rev) {
            Err(SourceError::UnknownRevision(unknown)) => {
                let full_id = rev.len() == 40 && rev.bytes().all(|b| b.is_ascii_hexdigit());
                let fetchable = full_id || (rev.starts_with("refs/") && git2::Reference::is_valid_name(rev));
                if !fetchable || !matches!(self.location, Location::Remote(_)) {
                    return Err(unknown.into());
                }
                match fetch::mirror_one(&self.location, &self.cache_dir, rev) {
                    Ok(_) if full_id => self.find(rev),
                    Ok(_) => self.find(&format!("refs/packhold/{}", rev.trim_start_matches("refs/"))),
                    Err(SourceError::GitCommand { .. }) => Err(unknown.into()),
                    Err(error) => Err(error),
                }
            }
            found => found,
        }
    }

    fn find(&self, rev: &str) -> Result<Commit> {
        let object = match self.git.revparse_single(rev) {
            Ok(object) => object,
            Err(error) if error.code() == ErrorCode::Ambiguous => {
                return Err(SourceError::AmbiguousRevision {
                    rev: rev.to_owned(),
                    repository: self.location(),
                });
            }
            Err(_) => return Err(self.unknown(rev)),
        };
        let commit = object.peel_to_commit().map_err(|_| self.unknown(rev))?;
        Ok(Commit {
            id: commit.id().to_string(),
            epoch: commit.committer().when().seconds().max(0),
            summary: commit
                .summary_bytes()
                .map(|summary| String::from_utf8_lossy(summary).into_owned())
                .unwrap_or_default(),
        })
    }

    /// What to say of a revision that was not found.
    fn unknown(&self, rev: &str) -> SourceError {
        let names: Vec<String> = self
            .git
            .references()
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|reference| reference.shorthand().ok().map(str::to_owned))
            .collect();
        if names.is_empty() && self.git.head().is_err() {
            return SourceError::EmptyRepository { repository: self.location() };
        }
        let nearest = names
            .into_iter()
            .map(|name| (strsim::jaro_winkler(rev, &name), name))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(&a.1)))
            .map(|(_, name)| name);
        UnknownRevision {
            rev: rev.to_owned(),
            repository: self.location(),
            nearest,
            shallow: self.git.is_shallow(),
        }
        .into()
    }

    /// Whether the commit with the id `ancestor` is in the history of `commit`, or is that commit. An id that the
    /// repository does not have is in no history.
    pub fn is_in_history(&self, ancestor: &str, commit: &Commit) -> Result<bool> {
        let found = git2::Oid::from_str(ancestor).ok().filter(|id| self.git.find_commit(*id).is_ok());
        let Some(found) = found else { return Ok(false) };
        let own = self.lookup(commit)?.id();
        let within = self.git.graph_descendant_of(own, found);
        let within = within.map_err(SourceError::git("walk the history of", &self.location()))?;
        Ok(own == found || within)
    }

    /// True when the working directory holds changes or new files that are not committed (ignored files do not count).
    /// A bare or fetched repository is never dirty.
    pub fn is_dirty(&self) -> Result<bool> {
        if self.git.is_bare() {
            return Ok(false);
        }
        let mut options = git2::StatusOptions::new();
        options.include_untracked(true).include_ignored(false).include_unmodified(false);
        let statuses = self
            .git
            .statuses(Some(&mut options))
            .map_err(SourceError::git("look for changes in", &self.location()))?;
        Ok(!statuses.is_empty())
    }

    /// libgit2's view of a commit.
    pub(super) fn lookup(&self, commit: &Commit) -> Result<git2::Commit<'_>> {
        git2::Oid::from_str(&commit.id)
            .and_then(|id| self.git.find_commit(id))
            .map_err(|error| self.object_error(&commit.id, error))
    }

    /// Tells a missing object from other trouble.
    pub(super) fn object_error(&self, object: &str, source: git2::Error) -> SourceError {
        let repository = self.location();
        match source.code() {
            ErrorCode::NotFound => {
                SourceError::MissingObject { repository, object: object.to_owned(), source }
            }
            _ => SourceError::Git { action: "read", repository, source },
        }
    }
}

/// Opens the repository at `path`, or, with `search`, the one that holds it.
pub(super) fn open_local(path: &Path, search: bool) -> Result<git2::Repository> {
    let found = if search { git2::Repository::discover(path) } else { git2::Repository::open(path) };
    found.map_err(|source| match source.code() {
        ErrorCode::NotFound => SourceError::NotARepository { path: path.to_owned() },
        ErrorCode::Owner => SourceError::NotOwned { path: path.to_owned() },
        _ => SourceError::Git { action: "open", repository: path.display().to_string(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::{TestRepository, git};
    use crate::support::Hint;

    #[test]
    fn every_way_to_name_a_commit_finds_it() {
        let test = TestRepository::new();
        let first = test.commit("first\n\nbody");
        test.git(["tag", "--annotate", "--message", "x", "v1.0"]);
        test.commits(2);
        let repository = test.open();
        for rev in ["v1.0", "HEAD~2", "main~2", &first, &first[..8], "refs/tags/v1.0"] {
            let commit = repository.resolve(rev).unwrap();
            assert_eq!((commit.id.as_str(), commit.summary.as_str()), (first.as_str(), "first"), "{rev}");
            // The committer's time, an hour after the author's.
            assert_eq!(commit.epoch, 1_740_794_400);
        }
    }

    #[test]
    fn a_repository_is_found_from_any_path_in_it() {
        let test = TestRepository::new();
        test.write("sub/pipeline.toml", b"");
        let id = test.commit("one");
        let base = test.path();
        for (location, base) in [("sub", base.as_path()), ("../..", &base.join("sub/deep")), (".git", &base)]
        {
            std::fs::create_dir_all(base).unwrap();
            assert_eq!(
                Repository::open(location, base, &test.cache()).unwrap().resolve("HEAD").unwrap().id,
                id
            );
        }
        let found = Repository::discover(&base.join("sub/pipeline.toml"), &test.cache()).unwrap();
        assert_eq!(found.work_dir().unwrap().canonicalize().unwrap(), base.canonicalize().unwrap());
        git(test.folder.path(), ["clone", "--quiet", "--bare", "work", "bare.git"]);
        let bare = Repository::open("bare.git", test.folder.path(), &test.cache()).unwrap();
        assert_eq!(bare.resolve("main").unwrap().id, id);
        assert!(!bare.is_dirty().unwrap());
    }

    #[test]
    fn what_is_not_a_repository_or_has_no_commits_is_said_so() {
        let folder = tempfile::tempdir().unwrap();
        for location in [".", "nowhere"] {
            let error = Repository::open(location, folder.path(), folder.path()).err().unwrap();
            assert!(matches!(error, SourceError::NotARepository { .. }), "{error}");
            assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
        }
        let error = TestRepository::new().open().resolve("HEAD").unwrap_err();
        assert!(matches!(error, SourceError::EmptyRepository { .. }), "{error}");
    }

    #[test]
    fn an_unknown_revision_names_the_nearest_branch_or_tag() {
        let test = TestRepository::new();
        test.commits(1);
        test.git(["tag", "v1.2.0"]);
        test.git(["branch", "stable"]);
        let repository = test.open();
        for (rev, nearest) in [("v1.2.O", "v1.2.0"), ("stabel", "stable"), ("mian", "main")] {
            let error = repository.resolve(rev).unwrap_err();
            assert!(matches!(error, SourceError::UnknownRevision(_)) && error.to_string().contains(rev));
            assert_eq!(error.hint(), format!("did you mean `{nearest}`?"));
        }
        let error = repository.resolve("0000000000000000000000000000000000000000").unwrap_err();
        assert!(error.hint().contains("git log"), "{}", error.hint());
        // A folder of the commit is an object with a name, and no commit.
        assert!(matches!(repository.resolve("HEAD^{tree}"), Err(SourceError::UnknownRevision(_))));
    }

    #[test]
    fn edited_staged_and_new_files_make_it_dirty_and_ignored_ones_do_not() {
        let test = TestRepository::new();
        test.write("a", b"1");
        test.write(".gitignore", b"build/\n");
        test.commit("one");
        let dirty = || test.open().is_dirty().unwrap();
        assert!(!dirty());
        test.write("build/x", b"");
        assert!(!dirty());
        test.write("a", b"22");
        assert!(dirty());
        test.git(["add", "a"]);
        assert!(dirty());
        test.commit("two");
        assert!(!dirty());
        test.write("new", b"");
        assert!(dirty());
    }

    #[test]
    fn an_address_is_fetched_and_fetched_again() {
        let test = TestRepository::new();
        test.git(["checkout", "--quiet", "-b", "trunk"]);
        let first = test.commit("one");
        test.git(["tag", "v1.0"]);
        test.git(["branch", "gone"]);
        let url = format!("file://{}", test.path().display());
        let open = || Repository::open(&url, Path::new("/"), &test.cache());
        let fetched = open().unwrap();
        assert_eq!(fetched.resolve("HEAD").unwrap().id, first);
        assert_eq!(fetched.resolve("v1.0").unwrap().id, first);
        assert!(!fetched.is_dirty().unwrap());

        test.git(["branch", "-D", "gone"]);
        let second = test.commit("two");
        test.git(["update-ref", "refs/pull/7/head", &second]);
        test.git(["reset", "--quiet", "--hard", "HEAD~1"]);
        test.git(["commit", "--quiet", "--amend", "--allow-empty", "--message", "other"]);
        test.git(["tag", "--force", "v1.0"]);
        let fetched = open().unwrap();
        let other = test.git(["rev-parse", "HEAD"]);
        assert_eq!(fetched.resolve("trunk").unwrap().id, other);
        assert_eq!(fetched.resolve("v1.0").unwrap().id, other);
        assert!(fetched.resolve("gone").is_err());
        assert_eq!(fetched.resolve("refs/pull/7/head").unwrap().id, second);
        assert!(matches!(fetched.resolve("refs/pull/8/head"), Err(SourceError::UnknownRevision(_))));
    }

    #[test]
    fn a_commit_that_no_branch_reaches_is_fetched_by_its_id() {
        let test = TestRepository::new();
        test.commit("one");
        let lost = test.commit("two");
        test.git(["reset", "--quiet", "--hard", "HEAD~1"]);
        test.git(["config", "uploadpack.allowAnySHA1InWant", "true"]);
        let url = format!("file://{}", test.path().display());
        let fetched = Repository::open(&url, Path::new("/"), &test.cache()).unwrap();
        assert!(fetched.resolve(&lost[..10]).is_err());
        assert_eq!(fetched.resolve(&lost).unwrap().id, lost);
    }

    #[test]
    fn a_failed_fetch_says_why_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let error = Repository::open("file:///nowhere/at/all", Path::new("/"), folder.path()).err().unwrap();
        assert!(matches!(error, SourceError::GitCommand { .. }), "{error}");
        assert!(error.to_string().contains("file:///nowhere/at/all"), "{error}");
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn many_fetches_at_once_do_not_disturb_each_other() {
        let test = TestRepository::new();
        let id = test.commit("one");
        let url = format!("file://{}", test.path().display());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let fetched = Repository::open(&url, Path::new("/"), &test.cache()).unwrap();
                    assert_eq!(fetched.resolve("main").unwrap().id, id);
                });
            }
        });
    }
}
