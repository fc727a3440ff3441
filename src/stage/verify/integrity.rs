//! What is installed, file by file.

use std::collections::{BTreeMap, BTreeSet};

use super::Done;
use super::package::{Facts, Package};
use super::session::{Session, names};
use super::state::{Finding, State};
use crate::model::{FailReason, Scenario, Tier};

/// A path of a package as `verify.sh files` tells it (builders/README.md).
#[derive(Debug, PartialEq, Eq)]
struct Owned {
    kind: char,
    mode: u32,
    package: String,
    detail: String,
    dangling: bool,
    path: String,
}

impl Session<'_> {
    /// Files are what the package database says, are safe, lead somewhere and can be run.
    pub async fn integrity(
        &mut self,
        scenario: Scenario,
        packages: &[Package],
        before: &State,
        now: &State,
    ) -> Done {
        self.altered(scenario, packages).await?;
        let mut arguments = vec!["shared"];
        arguments.extend(names(packages));
        let shared = self.lines("verify.sh", &arguments).await?;
        let shared = pairs(&shared, FailReason::FileShared, "belongs to");
        self.judge(scenario, "no file belongs to another package as well", Tier::Require, shared);
        self.judge(
            scenario,
            "no set-id, world-writable or device file, none where packages put none",
            Tier::Require,
            now.unsafe_entries(before),
        );
        arguments[0] = "files";
        let files = self.ask("verify.sh", &arguments).await?;
        let owned = owned(&files);
        let arch = packages.first().map(|package| package.identity.arch.clone()).unwrap_or_default();
        self.judge(
            scenario,
            "links lead somewhere, programs are for this machine, find their libraries and interpreters",
            Tier::Require,
            unusable(&owned, machine_of(&arch)),
        );
        Ok(())
    }

    /// No file is another package's as well: one that was there before, or one of the packages that are installed
    /// together. Where a package replaces files of another, the database no longer knows that they were shared.
    pub async fn owned_alone(&mut self, facts: &Facts, before: &State, now: &State) -> Done {
        let mut found = now.taken_over(before, &facts.contents);
        if facts.new.len() > 1 {
            let mut owners: BTreeMap<String, &str> = BTreeMap::new();
            for package in &facts.new {
                for path in self.lines("verify.sh", &["contents", &package.path]).await? {
                    let is_file = !path.ends_with('/') && now.files.get(&path).is_some_and(|e| e.kind != 'd');
                    if !is_file {
                        continue;
                    }
                    let own: &str = &package.identity.name;
                    if let Some(other) = owners.insert(path.clone(), own) {
                        let evidence = format!("{path} is in {other} and {own}");
                        found.push(Finding::new(FailReason::FileShared, &path, evidence));
                    }
                }
            }
        }
        self.judge(Scenario::Integrity, "no file is taken from another package", Tier::Require, found);
        Ok(())
    }

    /// Files are what the package database says.
    pub async fn altered(&mut self, scenario: Scenario, packages: &[Package]) -> Done {
        let mut arguments = vec!["altered"];
        arguments.extend(names(packages));
        let altered = self.lines("verify.sh", &arguments).await?;
        let altered = pairs(&altered, FailReason::AlteredAfterInstall, "differs:");
        self.judge(scenario, "files are what the package database says", Tier::Require, altered);
        Ok(())
    }

    /// The configuration files of packages, with how they are seen from the package: `same`, `changed`, `missing`.
    pub async fn conffiles(&mut self, packages: &[Package]) -> Done<Vec<(String, String)>> {
        let mut arguments = vec!["conffiles"];
        arguments.extend(names(packages));
        let lines = self.lines("verify.sh", &arguments).await?;
        Ok(lines
            .iter()
            .map(|line| line.split_once('\t').unwrap_or((line, "")))
            .map(|(path, how)| (path.to_owned(), how.to_owned()))
            .collect())
    }
}

/// Lines of a path and something about it.
fn pairs(lines: &[String], reason: FailReason, word: &str) -> Vec<Finding> {
    lines
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (path, what) = line.split_once('\t').unwrap_or((line, ""));
            Finding::new(reason, path, format!("{path} {word} {what}"))
        })
        .collect()
}

/// The paths of one kind in an answer of `verify.sh files`.
pub(super) fn paths(answer: &[u8], kind: char) -> BTreeSet<String> {
    owned(answer).into_iter().filter(|file| file.kind == kind).map(|file| file.path).collect()
}

fn owned(answer: &[u8]) -> Vec<Owned> {
    let records = answer.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    records.filter_map(|record| parse_owned(&String::from_utf8_lossy(record))).collect()
}

fn parse_owned(record: &str) -> Option<Owned> {
    let (kind, rest) = record.split_once('\t')?;
    let (mode, rest) = rest.split_once('\t')?;
    let (_owner, rest) = rest.split_once('\t')?;
    let (package, rest) = rest.split_once('\t')?;
    let (detail, rest) = rest.split_once('\t')?;
    let kind = kind.chars().next()?;
    let (dangling, path) = match kind {
        'l' => rest.split_once('\t').map(|(state, path)| (state == "dangling", path))?,
        _ => (false, rest),
    };
    Some(Owned {
        kind,
        mode: u32::from_str_radix(mode, 8).ok()?,
        package: package.to_owned(),
        detail: detail.to_owned(),
        dangling,
        path: path.to_owned(),
    })
}

/// The ELF machine (elf(5), e_machine) of a package's architecture in the words of dpkg and rpm; `None` if it is not
/// known, or the package is for all.
fn machine_of(arch: &str) -> Option<u32> {
    Some(match arch {
        "amd64" | "x86_64" => 62,
        "i386" | "i586" | "i686" => 3,
        "arm64" | "aarch64" => 183,
        "armhf" | "armel" | "armv7hl" => 40,
        "ppc64el" | "ppc64le" => 21,
        "s390x" => 22,
        "riscv64" => 243,
        _ => return None,
    })
}

/// Links that lead nowhere and programs that cannot start.
fn unusable(files: &[Owned], machine: Option<u32>) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files {
        let mut tell = |reason, why: String| {
            found.push(Finding::new(reason, &file.path, format!("{} ({}): {why}", file.path, file.package)));
        };
        if file.dangling {
            tell(FailReason::DanglingSymlink, format!("leads to {}, which is not there", file.detail));
        }
        if let Some(elf) = file.detail.strip_prefix("elf:") {
            let (found, missing) = elf.split_once(':').unwrap_or((elf, ""));
            match (found.trim().parse::<u32>().ok(), machine) {
                (Some(found), Some(wanted)) if found != wanted => {
                    tell(FailReason::WrongArchitecture, format!("ELF machine {found} instead of {wanted}"));
                }
                _ if !missing.is_empty() => {
                    tell(FailReason::MissingLibrary, format!("needs {missing}, which is not there"));
                }
                _ => {}
            }
        }
        // Examples among the documentation need not run.
        let runs = file.mode & 0o111 != 0 && !file.path.starts_with("/usr/share/doc/");
        if let Some(interpreter) =
            file.detail.strip_prefix("script:").and_then(|d| d.strip_suffix(":missing"))
            && runs
        {
            tell(FailReason::BadInterpreter, format!("its interpreter {interpreter} is not there"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_found() {
        let answer = b"f\t755\troot:root\tp\telf:183:\t/usr/bin/arm\0\
            f\t755\troot:root\tp\telf:62:libgone.so.1\t/usr/bin/lib\0\
            f\t755\troot:root\tp\telf:62:\t/usr/bin/good\0\
            f\t755\troot:root\tp\tscript:/usr/bin/nosh:missing\t/usr/bin/script\0\
            f\t644\troot:root\tp\tscript:/usr/bin/nosh:missing\t/usr/share/x\0\
            l\t777\troot:root\tp\t/nowhere\tdangling\t/usr/lib/link\0\
            l\t777\troot:root\tp\tgood\tok\t/usr/lib/fine\0\
            nonsense\0";
        let found = unusable(&owned(answer), machine_of("amd64"));
        let found: Vec<_> = found.iter().map(|f| (f.reason, f.object.as_str())).collect();
        assert_eq!(
            found,
            [
                (FailReason::WrongArchitecture, "/usr/bin/arm"),
                (FailReason::MissingLibrary, "/usr/bin/lib"),
                (FailReason::BadInterpreter, "/usr/bin/script"),
                (FailReason::DanglingSymlink, "/usr/lib/link"),
            ]
        );
    }
}
