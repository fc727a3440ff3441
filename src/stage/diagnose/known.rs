//! Failures that are known by what the tools print.
//!
//! They are data, `known.toml`, and each has a log that such a tool printed, `samples/NAME.log`. What a log says is a guess that helps to
//! read it, never more: a build may print whatever it wants.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::bytes::Regex;
use serde::Deserialize;

use crate::model::FailReason;
use crate::support::terminal_text::{clip, one_line};

static FAILURES: LazyLock<Vec<Failure>> = LazyLock::new(|| {
    let file: File = toml::from_str(include_str!("known.toml")).expect("the table is a constant");
    file.failure.into_iter().map(Failure::from).collect()
});

/// An item that a message quotes is cut after so many characters.
const LONGEST_ITEM: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    failure: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    pattern: String,
    #[serde(default = "five")]
    most: usize,
    says: String,
    hint: String,
    #[serde(default = "step_exit")]
    reason: FailReason,
}

fn five() -> usize {
    5
}

fn step_exit() -> FailReason {
    FailReason::StepExit
}

struct Failure {
    entry: Entry,
    pattern: Regex,
}

impl From<Entry> for Failure {
    fn from(entry: Entry) -> Self {
        let pattern = Regex::new(&entry.pattern).expect("the table is a constant");
        Self { entry, pattern }
    }
}

/// What is known of a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its name in the table.
    pub name: &'static str,
    /// The stable word for it.
    pub reason: FailReason,
    /// What is wrong, in one line.
    pub says: String,
    /// What to do about it.
    pub hint: String,
}

/// What the end of a log tells of why a step failed; the first entry of the table that is found in it.
pub(super) fn recognise(tail: &[u8]) -> Option<Known> {
    FAILURES.iter().find_map(|failure| failure.in_log(tail))
}

impl Failure {
    fn in_log(&'static self, tail: &[u8]) -> Option<Known> {
        let mut seen = BTreeSet::new();
        let mut items = Vec::new();
        for found in self.pattern.captures_iter(tail) {
            let Some(what) = found.name("what") else { continue };
            for line in what.as_bytes().split(|byte| *byte == b'\n') {
                let line = one_line(line);
                if !line.is_empty() && seen.insert(line.clone()) {
                    items.push(line);
                }
            }
        }
        let first = clip(items.first()?, LONGEST_ITEM);
        let entry = &self.entry;
        let mut what =
            items.iter().take(entry.most).map(|item| clip(item, LONGEST_ITEM)).collect::<Vec<_>>().join(", ");
        if items.len() > entry.most && entry.most > 1 {
            what = format!("{what} and {} more", items.len() - entry.most);
        }
        Some(Known {
            name: &entry.name,
            reason: entry.reason,
            says: entry.says.replace("{what}", &what),
            // A command in a hint is for one of them.
            hint: entry.hint.replace("{what}", &first),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sample(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stage/diagnose/samples");
        let path = folder.join(format!("{name}.log"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What is told of each sample, in the table's order.
    const TOLD: &[(&str, &str)] = &[
        (
            "apt-hash-sum-mismatch",
            "a file is not what its index says (hash sum mismatch): http://127.0.0.1:8099/./tool_1_all.deb",
        ),
        (
            "apt-expired",
            "the mirror is out of date, or this machine's clock is wrong: http://127.0.0.1:8099/./Release is not valid today",
        ),
        (
            "apt-not-found",
            "the mirror does not have what its index names: http://127.0.0.1:8099/./other_1_all.deb",
        ),
        ("apt-unsigned", "apt takes no unsigned repository: http://127.0.0.1:8099 ./ Release"),
        ("dnf-no-repository", "dnf cannot read the metadata of the repository x"),
        (
            "apt-unmet-version",
            "what apt has does not fit: agent : Depends: libagent (>= 2) but it is not going to be installed",
        ),
        ("apt-no-such-package", "there is no package nope-dev in this distro release"),
        (
            "deb-unmet-build-dependencies",
            "build dependencies are not installed: libnope-dev (>= 2) zlib1g-dev (>= 1:99)",
        ),
        (
            "rpm-unmet-build-dependencies",
            "build dependencies are not installed: gcc-nope is needed by agent-1.0-1.noarch, libnope-devel >= 2 is needed by agent-1.0-1.noarch",
        ),
        (
            "dh-install-missing",
            "debian/*.install (or its like) names files that the build did not make: usr/sbin/agentd",
        ),
        ("dh-missing", "the build installs files that no package has: usr/share/agent/data"),
        ("dh-unknown-addon", "debhelper has no addon nope here"),
        (
            "bad-changelog",
            "debian/changelog cannot be read: debian/changelog(l1): found blank line where expected first heading",
        ),
        (
            "no-upstream-tarball",
            "the source format wants an upstream tarball: ../agent_1.0.orig.tar.{bz2,gz,lzma,xz}",
        ),
        (
            "patch-fails",
            "a patch does not apply: 1 out of 1 hunk FAILED -- saving rejects to file Makefile.rej",
        ),
        ("rpm-unpackaged-files", "files are installed that no %files names: /usr/share/agent/data"),
        (
            "rpm-file-not-found",
            "%files names what %install did not make: /build/rpm/BUILDROOT/agent-1.0-1.x86_64/usr/share/doc/agent/README.md, /build/rpm/BUILDROOT/agent-1.0-1.x86_64/etc/agent.conf",
        ),
        (
            "rpm-undefined-macro",
            "a path in %files is none, perhaps because a macro is not defined: %{nope_dir}/x",
        ),
        ("rpm-unknown-tag", "the spec file cannot be read: Unknown tag: Colour: red"),
        ("missing-header", "a header is missing: zlib.h"),
        ("missing-library", "the linker does not find the library netsnmp"),
        ("missing-pkg-config", "pkg-config does not know libmackerel"),
        ("missing-perl-module", "a module of Perl is missing: Mackerel::Agent"),
        ("missing-python-module", "a module of Python is missing: mackerel"),
        ("missing-command-shell", "a command is missing: frobnicate"),
        ("missing-command", "a command is missing: go-bindata-nope"),
        ("undefined-reference", "nothing that is linked defines collect"),
        (
            "compile-error",
            "it does not compile: probe.c:1:11: error: expected declaration specifiers or ‘...’ before ‘{’ token",
        ),
        ("dh-auto-test", "the package's own tests fail: make -j2 test returned exit code 2"),
        ("no-rule", "make has no rule for generated.h"),
        ("rules-separator", "a makefile cannot be read: debian/rules:3 has no tab before its command"),
        ("rpm-bad-exit", "the section %build of the spec file failed"),
    ];

    #[test]
    fn each_failure_of_the_table_is_recognised_in_a_real_log() {
        let names: Vec<&str> = FAILURES.iter().map(|failure| failure.entry.name.as_str()).collect();
        let told: Vec<(&str, String)> = names
            .iter()
            .map(|name| {
                let known = recognise(&sample(name)).unwrap_or_else(|| panic!("{name} is not recognised"));
                assert_eq!(known.name, *name, "{known:?}");
                assert!(!known.hint.is_empty() && !known.hint.contains("{what}"), "{known:?}");
                (*name, known.says)
            })
            .collect();
        let expected: Vec<(&str, String)> =
            TOLD.iter().map(|(name, says)| (*name, (*says).to_owned())).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn there_is_a_failure_for_each_sample() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stage/diagnose/samples");
        let names: BTreeSet<&str> = FAILURES.iter().map(|failure| failure.entry.name.as_str()).collect();
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name.strip_suffix(".log").is_some_and(|name| names.contains(name)), "{name}");
        }
    }

    #[test]
    fn what_a_log_quotes_is_short_and_cannot_move_the_cursor() {
        let mut log = b"error: Installed (but unpackaged) file(s) found:\n".to_vec();
        for number in 0..8 {
            log.extend_from_slice(format!("   /usr/bin/\x1b[2J{number}\n").as_bytes());
        }
        let known = recognise(&log).unwrap();
        assert!(known.says.ends_with("and 3 more"), "{known:?}");
        assert!(!known.says.contains('\x1b'), "{known:?}");
        let long = [b"a.c:1:1: error: ".as_slice(), &[b'x'; 10_000], b"\n"].concat();
        assert!(recognise(&long).unwrap().says.chars().count() < 300);
        assert_eq!(recognise(b"make: Nothing to be done for 'all'.\n"), None);
    }
}
