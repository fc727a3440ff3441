//! The orders of dpkg and of rpm, compared with the tools themselves, and the versions of whole histories.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use packhold::model::{Digest, Format, PackageVersion};
use packhold::source::{Repository, VersionSource};
use packhold::versions::{Candidate, GuardError, Known, Place, check, compare};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// So many values of a strategy.
fn values<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::default();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn ordering(word: &str) -> Ordering {
    match word.trim() {
        "-1" => Ordering::Less,
        "0" => Ordering::Equal,
        "1" => Ordering::Greater,
        other => panic!("no order: {other}"),
    }
}

/// Pairs that are often close to each other: of few characters, or one a change of the other.
fn pairs(alphabet: &'static str, whole: &'static str) -> impl Strategy<Value = (String, String)> {
    let part = prop_oneof![alphabet, whole];
    (part.clone(), part, alphabet, any::<bool>()).prop_map(|(a, b, tail, near)| match near {
        true => (a.clone(), format!("{a}{tail}")),
        false => (a, b),
    })
}

#[test]
fn versions_of_debs_are_in_the_order_of_dpkg() {
    let version = pairs("[01a~+.]{0,5}", "[0-9a-zA-Z.+~]{0,12}");
    let strategy = (version, pairs("[01a~+.]{1,3}", "[0-9a-zA-Z.+~]{1,6}"), 0u8..8);
    let mut all: Vec<(String, String)> = values(&strategy, 400)
        .into_iter()
        .map(|((a, b), (r, s), how)| match how {
            0 => (format!("1:0{a}"), format!("0{b}")),
            1..4 => (format!("0{a}-{r}"), format!("0{b}-{s}")),
            4 => (format!("0{a}"), format!("0{b}-{s}")),
            5 => (format!("0{a}-1-{r}"), format!("0{a}-1-{s}")),
            _ => (format!("0{a}"), format!("0{b}")),
        })
        .collect();
    all.push(("1.0-0".into(), "1.0".into()));
    all.push(("00012345678901234567890".into(), "12345678901234567891".into()));
    let mut script = String::new();
    for (a, b) in &all {
        let _ = writeln!(
            script,
            "if dpkg --compare-versions '{a}' lt '{b}'; then echo -1; elif dpkg --compare-versions '{a}' eq '{b}'; then echo 0; else echo 1; fi"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script");
    fs::write(&path, script).unwrap();
    let output = Command::new("sh").arg(path).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), all.len());
    for ((a, b), word) in all.iter().zip(said.lines()) {
        assert_eq!(compare(Format::Deb, a, b).unwrap(), ordering(word), "{a} {b}");
        assert_eq!(compare(Format::Deb, b, a).unwrap(), ordering(word).reverse(), "{b} {a}");
    }
}

#[test]
fn versions_of_rpms_are_in_the_order_of_rpm() {
    let version = pairs("[01a~^._]{0,5}", "[0-9a-zA-Z._+~^]{1,12}");
    let mut all: Vec<(String, String)> =
        values(&version, 3000).into_iter().map(|(a, b)| (format!("1{a}"), format!("1{b}"))).collect();
    all.extend(values(&version, 1000).into_iter().map(|(a, b)| (format!("a{a}"), format!("1{b}"))));
    let mut script = String::new();
    for (a, b) in &all {
        let _ = write!(script, "print(rpm.vercmp('{a}','{b}')..'\\n') ");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.lua");
    fs::write(&path, script).unwrap();
    let run = format!("%{{lua:dofile('{}')}}", path.display());
    let output = Command::new("rpm").args(["--eval", &run]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let said: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(said.len(), all.len(), "{}", String::from_utf8_lossy(&output.stderr));
    for ((a, b), word) in all.iter().zip(said) {
        assert_eq!(compare(Format::Rpm, a, b).unwrap(), ordering(word), "{a} {b}");
        let (release_a, release_b) = (format!("1-{a}"), format!("1-{b}"));
        assert_eq!(compare(Format::Rpm, &release_a, &release_b).unwrap(), ordering(word), "{a} {b}");
    }
    assert_eq!(compare(Format::Rpm, "1:1-1", "2-1").unwrap(), Ordering::Greater);
}

#[test]
fn what_is_no_version_is_refused() {
    for (format, wrong) in [
        (Format::Deb, &["", "a1", "1-", "x:1", ":1", "1_2", "1 2", "99999999999:1", "1-1_2"][..]),
        (Format::Rpm, &["", "1-", "-1", "x:1", "1 2", "1-1-1", "99999999999:1"][..]),
    ] {
        for text in wrong {
            compare(format, text, "1").unwrap_err();
            compare(format, "1", text).unwrap_err();
        }
    }
}

/// A made-up history: each commit's parents are earlier ones, and tags only go up.
struct History {
    folder: tempfile::TempDir,
    parents: Vec<Vec<usize>>,
    /// Which commit has which of `TAGS`.
    tagged: Vec<(usize, &'static str)>,
}

/// In ascending order.
const TAGS: [&str; 9] = [
    "v0.1.0",
    "v1.0.0-alpha",
    "v1.0.0-rc1",
    "v1.0.0-rc2",
    "v1.0.0",
    "v1.0.1",
    "v1.1.0-beta",
    "v1.1.0",
    "v2.0.0",
];

impl History {
    /// `shape` says for each commit how far back its parents are, and whether the next tag stands on it. All commits are made within `seconds`.
    fn new(shape: &[(usize, Option<usize>, bool)], seconds: usize) -> Self {
        let mut history =
            Self { folder: tempfile::tempdir().unwrap(), parents: Vec::new(), tagged: Vec::new() };
        let mut stream = String::new();
        for (number, (first, second, tag)) in shape.iter().enumerate() {
            let back = |far: usize| number.checked_sub(1 + far % number.max(1));
            let mut parents: Vec<usize> = back(*first).into_iter().collect();
            parents.extend(second.and_then(back).filter(|other| !parents.contains(other)));
            let time = 1_740_787_200 + if seconds == 0 { 0 } else { number % seconds };
            let _ = write!(
                stream,
                "commit refs/heads/c{number}\nmark :{}\ncommitter T <t@b.invalid> {time} +0000\ndata {}\n{number}\n",
                number + 1,
                number.to_string().len()
            );
            for (index, parent) in parents.iter().enumerate() {
                let _ = writeln!(stream, "{} :{}", if index == 0 { "from" } else { "merge" }, parent + 1);
            }
            stream.push('\n');
            if *tag && history.tagged.len() < TAGS.len() {
                let name = TAGS[history.tagged.len()];
                let _ = write!(stream, "reset refs/tags/{name}\nfrom :{}\n\n", number + 1);
                history.tagged.push((number, name));
            }
            history.parents.push(parents);
        }
        fs::write(history.folder.path().join("stream"), stream).unwrap();
        history
            .shell("git init --quiet --initial-branch=main work && git -C work fast-import --quiet <stream");
        history
    }

    fn shell(&self, script: &str) {
        let output =
            Command::new("sh").args(["-c", script]).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn version(&self, rev: &str) -> PackageVersion {
        let repository =
            Repository::open("work", self.folder.path(), &self.folder.path().join("cache")).unwrap();
        let commit = repository.resolve(rev).unwrap();
        repository.version_of(&commit, "", &VersionSource::default()).unwrap()
    }

    /// Which tags are in the history of a commit, itself included.
    fn tags_before(&self, commit: usize) -> Vec<&'static str> {
        let (mut seen, mut queue) = (BTreeSet::new(), vec![commit]);
        while let Some(next) = queue.pop() {
            if seen.insert(next) {
                queue.extend(&self.parents[next]);
            }
        }
        self.tagged.iter().filter(|(at, _)| seen.contains(at)).map(|(_, name)| *name).collect()
    }
}

fn below(low: &PackageVersion, high: &PackageVersion, why: &str) {
    let order = compare(Format::Deb, &format!("{}-9", low.deb), &format!("{}-1", high.deb)).unwrap();
    assert!(order.is_lt(), "{why}: deb {} < {}", low.deb, high.deb);
    let order = compare(Format::Rpm, &low.rpm, &high.rpm).unwrap();
    assert!(order.is_lt(), "{why}: rpm {} < {}", low.rpm, high.rpm);
}

fn shapes() -> impl Strategy<Value = Vec<(usize, Option<usize>, bool)>> {
    let parent = prop_oneof![4 => Just(0usize), 1 => 1usize..6];
    let commit = (parent, proptest::option::weighted(0.2, 0usize..6), proptest::bool::weighted(0.3));
    proptest::collection::vec(commit, 4..18)
}

#[test]
fn in_any_history_snapshots_are_between_releases_and_go_up_along_every_line() {
    for (shape, seconds) in values(&(shapes(), prop_oneof![Just(0usize), Just(2), Just(1000)]), 12) {
        let history = History::new(&shape, seconds);
        let versions: Vec<_> =
            (0..shape.len()).map(|number| history.version(&format!("refs/heads/c{number}"))).collect();
        for (number, version) in versions.iter().enumerate() {
            for parent in &history.parents[number] {
                below(&versions[*parent], version, "a parent and its child");
            }
            let before = history.tags_before(number);
            let last = before.last().copied();
            if let Some(last) = last.filter(|_| !version.release) {
                below(&history.version(last), version, "a release and its snapshot");
            }
            // A branch that is behind stays below each release that it does not have.
            let later =
                history.tagged.iter().filter(|(_, name)| last.is_none_or(|last| tag(name) > tag(last)));
            for (at, _) in later {
                below(version, &versions[*at], "a snapshot and a later release");
            }
        }
    }
}

fn tag(name: &str) -> usize {
    TAGS.iter().position(|other| *other == name).unwrap()
}

#[test]
fn a_squashed_line_stays_between_its_releases_and_the_guard_refuses_what_is_lower() {
    let line = |commits: usize| vec![(0, None, false); commits];
    let history = History::new(&[&[(0, None, true)][..], &line(6)[..]].concat(), 0);
    let before = history.version("refs/heads/c6");
    history.shell("git -C work update-ref refs/heads/squashed $(git -C work -c user.name=T -c user.email=t@b.invalid commit-tree -p v0.1.0 -m squashed c6^{tree})");
    let after = history.version("squashed");
    below(&history.version("v0.1.0"), &after, "a release and what was squashed on it");
    history.shell("git -C work tag v0.2.0 c6");
    below(&after, &history.version("v0.2.0"), "what was squashed and the next release");

    // The count has gone down, and no scheme can know: whoever has the old snapshot would not get the new one.
    let candidate = |version: &PackageVersion| Candidate {
        format: Format::Deb,
        package: "agent".into(),
        architecture: "amd64".into(),
        version: format!("{}-1", version.deb),
        digest: Digest::of(&version.deb),
    };
    let known = [Known { package: candidate(&before), place: Place::Published("nightly".into()) }];
    let error = check(&candidate(&after), &known, &BTreeSet::new()).unwrap_err();
    assert!(matches!(error, GuardError::NoUpgrade { same: false, .. }), "{error}");
}

#[test]
fn a_tag_that_is_moved_or_taken_back_leaves_every_version_between_the_releases_that_there_are() {
    let history = History::new(&[&[(0, None, true)][..], &[(0, None, false); 6][..]].concat(), 0);
    history.shell("git -C work tag v0.2.0-rc1 c2 && git -C work tag v0.2.0 c4");
    let released = history.version("v0.2.0");
    below(&history.version("refs/heads/c3"), &released, "before the release");
    below(&released, &history.version("refs/heads/c5"), "after the release");
    history.shell("git -C work tag --force v0.2.0 c5 >/dev/null");
    let moved = history.version("refs/heads/c4");
    assert!(!moved.release && moved.deb.starts_with("0.2.0~rc1+2.g"), "{}", moved.deb);
    below(&moved, &history.version("refs/heads/c5"), "a commit that lost its tag, and the release");
    assert_eq!(history.version("refs/heads/c5").deb, released.deb);
    history.shell("git -C work tag --delete v0.2.0 >/dev/null");
    for pair in ["c2", "c3", "c4", "c5", "c6"].windows(2) {
        let version = |name: &str| history.version(&format!("refs/heads/{name}"));
        below(&version(pair[0]), &version(pair[1]), "without the tag");
        below(&version(pair[1]), &released, "and below what was released");
    }
}
