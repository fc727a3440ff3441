use std::path::Path;

use git2::{ErrorCode, Sort};

use super::Result;
use super::repository::{Commit, Repository};
use super::version::describe;
use crate::model::{Change, Changes, Person};
use crate::support::terminal_text::{clip, one_line};

/// No entry tells of more commits.
const MOST_CHANGES: usize = 200;
/// No subject is longer, in characters.
const MOST_SUBJECT: usize = 300;

impl Repository {
    /// The commits from the last version tag before `commit` to it, newest first, without merges; a final release follows the last final one.
    /// Of a source folder `subdir` only what changes it is told. Tags start with `prefix` ([`crate::source::version`]). At most 200 are told of. A shallow clone does not have them, and is an error.
    pub fn changes(&self, commit: &Commit, subdir: &str, prefix: &str) -> Result<Changes> {
        let since = describe::previous(self, commit, prefix)?;
        let error = |source: git2::Error| self.object_error(&commit.id, source);
        let head = self.lookup(commit)?;
        let mut walk = self.git.revwalk().map_err(error)?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME).map_err(error)?;
        walk.push(head.id()).map_err(error)?;
        if let Some((_, tagged)) = &since {
            walk.hide(*tagged).map_err(error)?;
        }
        let (mut changes, mut left_out) = (Vec::new(), 0);
        for id in walk {
            let found = self.git.find_commit(id.map_err(error)?).map_err(error)?;
            if found.parent_count() > 1 || !changes_folder(&found, subdir).map_err(error)? {
                continue;
            }
            if changes.len() == MOST_CHANGES {
                left_out += 1;
                continue;
            }
            changes.push(Change {
                commit: found.id().to_string(),
                subject: subject(found.message_bytes()),
                author: person(&found.author()),
                time: found.author().when().seconds(),
            });
        }
        let author = person(&head.author());
        Ok(Changes { since: since.map(|(name, _)| name), changes, left_out, author, time: commit.epoch })
    }
}

/// Whether a commit has another tree at `folder` than its parent; the whole tree if that is empty.
fn changes_folder(commit: &git2::Commit<'_>, folder: &str) -> Result<bool, git2::Error> {
    let at = |commit: &git2::Commit<'_>| match commit.tree()?.get_path(Path::new(folder)) {
        Ok(entry) => Ok(Some(entry.id())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    if folder.is_empty() {
        return Ok(true);
    }
    let before = if commit.parent_count() == 0 { None } else { at(&commit.parent(0)?)? };
    Ok(at(commit)? != before)
}

/// The first line of a message that is not empty, as one line of printable text.
fn subject(message: &[u8]) -> String {
    let mut lines = message.split(|byte| *byte == b'\n');
    let line = lines.find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    match clip(&one_line(line), MOST_SUBJECT) {
        text if text.is_empty() => "(no subject)".to_owned(),
        text => text,
    }
}

fn person(signature: &git2::Signature<'_>) -> Person {
    let name = one_line(signature.name_bytes());
    let email = one_line(signature.email_bytes());
    Person { name: name.replace(['<', '>'], "").trim().to_owned(), email: email.replace(['<', '>', ' '], "") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::TestRepository;

    fn subjects(test: &TestRepository, rev: &str) -> (Option<String>, Vec<String>) {
        let repository = test.open();
        let changes = repository.changes(&repository.resolve(rev).unwrap(), "", "v").unwrap();
        (changes.since, changes.changes.into_iter().map(|change| change.subject).collect())
    }

    #[test]
    fn a_release_tells_of_the_commits_since_the_last_one_without_merges() {
        let test = TestRepository::new();
        test.commit("first");
        test.git(["tag", "v1.0.0"]);
        test.git(["checkout", "--quiet", "-b", "side"]);
        test.commit("on the side");
        test.git(["checkout", "--quiet", "main"]);
        test.commit("second\n\nBody: not told\n");
        test.git(["tag", "v1.1.0-rc1"]);
        test.git(["merge", "--quiet", "--no-ff", "--message", "Merge side", "side"]);
        test.commit("third");
        test.git(["tag", "v1.1.0"]);
        let (since, told) = subjects(&test, "v1.1.0");
        assert_eq!(since.as_deref(), Some("v1.0.0"));
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0], "third");
        assert!(told.contains(&"on the side".to_owned()) && told.contains(&"second".to_owned()));
        assert_eq!(subjects(&test, "v1.0.0"), (None, vec!["first".to_owned()]));
        test.commit("fourth");
        assert_eq!(subjects(&test, "main"), (Some("v1.1.0".to_owned()), vec!["fourth".to_owned()]));
        assert_eq!(subjects(&test, "v1.1.0-rc1").0.as_deref(), Some("v1.0.0"));
    }

    #[test]
    fn of_a_folder_only_what_changes_it_is_told() {
        let test = TestRepository::new();
        test.write("agent/a", b"1");
        test.commit("Begin the agent");
        test.git(["tag", "v1.0.0"]);
        test.write("other/b", b"1");
        test.commit("Begin another thing");
        test.write("agent/a", b"2");
        test.commit("Change the agent");
        let repository = test.open();
        let of = |folder: &str| {
            let changes = repository.changes(&repository.resolve("main").unwrap(), folder, "v").unwrap();
            changes.changes.into_iter().map(|change| change.subject).collect::<Vec<_>>()
        };
        assert_eq!(of("agent"), ["Change the agent"]);
        assert_eq!(of("other"), ["Begin another thing"]);
        assert_eq!(of("").len(), 2);
        assert!(of("none").is_empty());
    }

    #[test]
    fn what_a_message_or_a_name_holds_becomes_one_printable_line() {
        assert_eq!(subject(b"\n\n  a\x1b[2Jb\tc\x07 \xff\r\nbody"), "ab c^G \u{fffd}");
        assert_eq!(subject(b""), "(no subject)");
        assert_eq!(subject("x".repeat(400).as_bytes()).chars().count(), 301);
        let who = git2::Signature::new("A  B\u{202e}", "a b@c.invalid", &git2::Time::new(0, 0));
        let who = person(&who.unwrap());
        assert!(!who.name.contains(['<', '\u{202e}']) && who.email == "ab@c.invalid", "{who:?}");
    }

    #[test]
    fn no_more_than_two_hundred_are_told_of() {
        let test = TestRepository::new();
        let mut stream = String::new();
        for number in 0..205 {
            stream += &format!(
                "commit refs/heads/main\ncommitter T <t@b.invalid> {} +0000\ndata 3\n{number:03}\n",
                1_700_000_000 + number
            );
        }
        test.write("../stream", stream.as_bytes());
        let script = "git fast-import --quiet --force < ../stream";
        let output = std::process::Command::new("sh").args(["-c", script]).current_dir(test.path()).output();
        assert!(output.unwrap().status.success());
        let repository = test.open();
        let changes = repository.changes(&repository.resolve("main").unwrap(), "", "v").unwrap();
        assert_eq!((changes.changes.len(), changes.left_out), (200, 5));
        assert_eq!(changes.changes[0].subject, "204");
    }
}
