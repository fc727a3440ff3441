//! The release that a commit belongs to.

use std::collections::{HashMap, HashSet};

use git2::{ErrorCode, Oid};

use crate::model::PackageVersion;
use crate::source::repository::{Commit, Repository};
use crate::source::{Result, SourceError};

use super::scheme::{TagVersion, unreleased};

struct VersionTag {
    name: String,
    version: Result<TagVersion, &'static str>,
}

/// The version of `commit` by the tags that start with `prefix` and a digit.
pub(super) fn version(repository: &Repository, commit: &Commit, prefix: &str) -> Result<PackageVersion> {
    let head = repository.lookup(commit)?.id();
    let tags = version_tags(repository, prefix)?;
    let id = commit.short();

    if let Some(here) = tags.get(&head) {
        let (tag, version) = match highest(here) {
            Some(found) => found,
            None => return Err(bad_tag(here)),
        };
        let spelling = version.release();
        return Ok(PackageVersion {
            describe: format!("{}-0-g{id}", tag.name),
            deb: spelling.deb,
            rpm: spelling.rpm,
            release: true,
            deb_full: None,
        });
    }
    if repository.git.is_shallow() {
        return Err(SourceError::Shallow { repository: repository.location() });
    }

    let history = History::of(repository, head, &tags)?;
    let best = history
        .tagged
        .iter()
        .filter_map(|commit| highest(tags.get(commit)?).map(|(tag, version)| (version, tag, *commit)))
        .max_by(|a, b| a.0.cmp(b.0).then_with(|| b.1.name.cmp(&a.1.name)));
    let (describe, spelling) = match best {
        Some((version, tag, tagged)) => {
            let (distance, _) = repository
                .git
                .graph_ahead_behind(head, tagged)
                .map_err(|e| repository.object_error(&commit.id, e))?;
            (format!("{}-{distance}-g{id}", tag.name), version.snapshot(distance, id))
        }
        None => match history.tagged.iter().find_map(|commit| tags.get(commit)) {
            Some(unusable) => return Err(bad_tag(unusable)),
            None => (id.to_owned(), unreleased(history.commits, id)),
        },
    };
    Ok(PackageVersion { describe, deb: spelling.deb, rpm: spelling.rpm, release: false, deb_full: None })
}

/// The last release before `commit`: the highest version tag in its history, below its own if it is a release itself. A final release
/// follows the last final one: its pre-releases are part of it.
pub(in crate::source) fn previous(
    repository: &Repository,
    commit: &Commit,
    prefix: &str,
) -> Result<Option<(String, Oid)>> {
    let head = repository.lookup(commit)?.id();
    let tags = version_tags(repository, prefix)?;
    if repository.git.is_shallow() {
        return Err(SourceError::Shallow { repository: repository.location() });
    }
    let own = tags.get(&head).and_then(|tags| highest(tags)).map(|(_, version)| version);
    let history = History::of(repository, head, &tags)?;
    let found = history.tagged.iter().filter(|tagged| **tagged != head);
    let found = found.flat_map(|tagged| tags.get(tagged).into_iter().flatten().map(move |tag| (tagged, tag)));
    let found = found.filter_map(|(tagged, tag)| Some((tagged, &tag.name, tag.version.as_ref().ok()?)));
    let before = found.filter(|(_, _, version)| match own {
        Some(own) => *version < own && (own.is_pre_release() || !version.is_pre_release()),
        None => true,
    });
    let best = before.max_by(|a, b| a.2.cmp(b.2).then_with(|| b.1.cmp(a.1)));
    Ok(best.map(|(tagged, name, _)| (name.clone(), *tagged)))
}

/// The tags with `prefix` and a digit, by the commit they stand on. Lightweight tags count as annotated ones do.
fn version_tags(repository: &Repository, prefix: &str) -> Result<HashMap<Oid, Vec<VersionTag>>> {
    let action = "read the tags of";
    let mut tags: HashMap<Oid, Vec<VersionTag>> = HashMap::new();
    let references = repository.git.references().map_err(SourceError::git(action, &repository.location()))?;
    for reference in references {
        let reference = reference.map_err(SourceError::git(action, &repository.location()))?;
        let Some(name) = reference.name().ok().and_then(|name| name.strip_prefix("refs/tags/")) else {
            continue;
        };
        let Some(text) = name.strip_prefix(prefix) else { continue };
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        // A tag of a tree or a file is no release.
        let Ok(commit) = reference.peel_to_commit() else { continue };
        tags.entry(commit.id())
            .or_default()
            .push(VersionTag { name: name.to_owned(), version: TagVersion::parse(text) });
    }
    Ok(tags)
}

fn highest(tags: &[VersionTag]) -> Option<(&VersionTag, &TagVersion)> {
    tags.iter()
        .filter_map(|tag| tag.version.as_ref().ok().map(|version| (tag, version)))
        .max_by(|a, b| a.1.cmp(b.1).then_with(|| b.0.name.cmp(&a.0.name)))
}

fn bad_tag(tags: &[VersionTag]) -> SourceError {
    let (tag, reason) = tags
        .iter()
        .find_map(|tag| tag.version.as_ref().err().map(|reason| (tag.name.clone(), *reason)))
        .unwrap_or_default();
    SourceError::BadTag { tag, reason }
}

/// What was found on the way from a commit to the beginning.
struct History {
    /// The commits that carry a version tag, newest first.
    tagged: Vec<Oid>,
    /// All commits, the first one included; not complete where every tag was found before.
    commits: usize,
}

impl History {
    fn of(repository: &Repository, head: Oid, tags: &HashMap<Oid, Vec<VersionTag>>) -> Result<Self> {
        let error = |source: git2::Error| match source.code() {
            ErrorCode::NotFound => SourceError::Shallow { repository: repository.location() },
            _ => {
                SourceError::Git { action: "walk the history of", repository: repository.location(), source }
            }
        };
        let mut walk = repository.git.revwalk().map_err(error)?;
        walk.set_sorting(git2::Sort::TIME).map_err(error)?;
        walk.push(head).map_err(error)?;
        let mut missing: HashSet<Oid> = tags.keys().copied().collect();
        let mut history = Self { tagged: Vec::new(), commits: 0 };
        for commit in walk {
            let commit = commit.map_err(error)?;
            history.commits += 1;
            if missing.remove(&commit) {
                history.tagged.push(commit);
                if missing.is_empty() {
                    break;
                }
            }
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::VersionSource;
    use crate::source::testing::{TestRepository, git};

    fn describe(test: &TestRepository, rev: &str) -> Result<PackageVersion> {
        let repository = test.open();
        let commit = repository.resolve(rev).unwrap();
        repository.version_of(&commit, "", &VersionSource::default())
    }

    #[test]
    fn a_commit_is_a_release_or_a_snapshot_of_the_last_one() {
        let test = TestRepository::new();
        test.commits(2);
        let commit = test.open().resolve("HEAD").unwrap();
        let version = describe(&test, "HEAD").unwrap();
        assert_eq!(version.deb, format!("0~~2.g{}", commit.short()));
        assert_eq!((version.rpm, version.describe), (version.deb, commit.short().to_owned()));

        test.git(["tag", "v1.2.0"]);
        let version = describe(&test, "HEAD").unwrap();
        assert_eq!((version.deb.as_str(), version.rpm.as_str(), version.release), ("1.2.0", "1.2.0", true));
        assert_eq!(version.describe, format!("v1.2.0-0-g{}", commit.short()));

        test.commits(3);
        let commit = test.open().resolve("HEAD").unwrap();
        let version = describe(&test, "HEAD").unwrap();
        assert_eq!(version.deb, format!("1.2.0+3.g{}", commit.short()));
        assert_eq!(version.rpm, format!("1.2.0^3.g{}", commit.short()));
        assert!(!version.release);
        let by_git = test.git(["describe", "--tags", "--long", "--match", "v[0-9]*", "--abbrev=12"]);
        assert_eq!(version.describe, by_git);

        test.git(["tag", "--annotate", "--message", "rc", "v1.3.0-rc1"]);
        assert_eq!(describe(&test, "HEAD").unwrap().deb, "1.3.0~rc1");
        assert_eq!(describe(&test, "v1.2.0").unwrap().deb, "1.2.0");
    }

    #[test]
    fn of_two_tags_on_a_commit_the_higher_one_counts() {
        let test = TestRepository::new();
        test.commits(1);
        for tag in ["v1.3.0-rc2", "v1.3.0", "v1"] {
            test.git(["tag", tag]);
        }
        test.git(["tag", "--annotate", "--message", "annotated", "v1.3.0-rc3"]);
        assert_eq!(describe(&test, "HEAD").unwrap().deb, "1.3.0");
    }

    #[test]
    fn merging_an_old_branch_does_not_lower_the_version() {
        let test = TestRepository::new();
        test.commits(1);
        test.git(["tag", "v1.0.0"]);
        test.git(["branch", "old"]);
        test.commits(1);
        test.git(["tag", "v2.0.0"]);
        test.commits(5);
        let before = describe(&test, "HEAD").unwrap();
        test.git(["checkout", "--quiet", "old"]);
        for fix in ["one", "two", "three"] {
            test.commit(fix);
        }
        test.git(["tag", "v1.0.1"]);
        test.git(["checkout", "--quiet", "main"]);
        test.git(["merge", "--quiet", "--no-ff", "--message", "merge", "old"]);
        let after = describe(&test, "HEAD").unwrap();
        assert!(before.deb.starts_with("2.0.0+5.g"), "{}", before.deb);
        assert!(after.deb.starts_with("2.0.0+9.g"), "{}", after.deb);
        let by_git = test.git(["describe", "--tags"]);
        assert!(by_git.starts_with("v1.0.1-"), "git's own answer is the lower one: {by_git}");
    }

    #[test]
    fn tags_without_the_prefix_or_on_other_branches_do_not_count() {
        let test = TestRepository::new();
        test.commits(1);
        for tag in ["release-9.9", "vendor", "vx", "1.0"] {
            test.git(["tag", tag]);
        }
        test.git(["checkout", "--quiet", "-b", "other"]);
        test.commits(1);
        test.git(["commit", "--quiet", "--allow-empty", "--message", "elsewhere"]);
        test.git(["tag", "v5.0"]);
        assert!(describe(&test, "main").unwrap().deb.starts_with("0~~1.g"));
        let repository = test.open();
        let commit = repository.resolve("main").unwrap();
        let tags = |prefix: &str| VersionSource::Tags { prefix: prefix.into() };
        assert_eq!(repository.version_of(&commit, "", &tags("release-")).unwrap().deb, "9.9");
        assert_eq!(repository.version_of(&commit, "", &tags("")).unwrap().deb, "1.0");
    }

    #[test]
    fn a_tag_in_doubt_is_an_error_on_the_commit_and_passed_over_in_its_history() {
        let test = TestRepository::new();
        test.commits(1);
        test.git(["tag", "v1.2.0-1"]);
        let error = describe(&test, "HEAD").unwrap_err();
        assert!(error.to_string().contains("`v1.2.0-1`"), "{error}");
        test.commits(1);
        assert!(matches!(describe(&test, "HEAD"), Err(SourceError::BadTag { .. })));
        test.git(["tag", "v1.2.1", "HEAD~1"]);
        assert!(describe(&test, "HEAD").unwrap().deb.starts_with("1.2.1+1.g"));
    }

    #[test]
    fn a_shallow_clone_is_refused_but_for_a_tagged_commit() {
        let test = TestRepository::new();
        test.commits(1);
        test.git(["tag", "v1.0"]);
        test.commits(4);
        let url = format!("file://{}", test.path().display());
        git(test.folder.path(), ["clone", "--quiet", "--depth", "2", &url, "shallow"]);
        let shallow = Repository::open("shallow", test.folder.path(), &test.cache()).unwrap();
        let commit = shallow.resolve("HEAD").unwrap();
        let error = shallow.version_of(&commit, "", &VersionSource::default()).unwrap_err();
        assert!(matches!(error, SourceError::Shallow { .. }), "{error}");
        git(&test.folder.path().join("shallow"), ["tag", "v2.0"]);
        assert_eq!(shallow.version_of(&commit, "", &VersionSource::default()).unwrap().deb, "2.0");
    }
}
