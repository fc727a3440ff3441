//! Compares two packages of one name member by member: what is in them, and what their headers say. Signatures are told apart
//! from what they sign.

mod changes;
mod contents;
mod deb;
mod members;
mod rpm;
mod text;

use std::io;

pub use changes::{Change, changes};
pub use contents::{Contents, PackedFile, contents};
use serde::Serialize;
pub use text::line;

use members::{Member, Members};

/// The largest package that is looked into, bytes.
pub const MAX_PACKAGE: u64 = 1 << 30;

/// How many differences are told.
const MAX_DIFFERENCES: usize = 50;

/// How a package compares with the one it should equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Comparison {
    /// Every byte is the same.
    Identical,
    /// What is signed is the same; the signatures are not.
    SignatureDiffers,
    /// Something else differs.
    Differs {
        /// What, member by member.
        differences: Vec<Difference>,
        /// Differences beyond those that are told.
        more: usize,
        /// What it comes from, as far as that can be known.
        causes: Vec<Cause>,
    },
}

/// A member, or a field of a header, that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which: `data.tar/usr/bin/agent`, `header/BUILDTIME`.
    pub member: String,
    /// What of it: `only in the first`, `mode 644 → 755`, `bytes`, `line 3: … → …`.
    pub what: String,
}

/// Where a difference comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Nothing but times.
    Times,
    /// The same members in another order.
    Order,
    /// The same contents, compressed otherwise.
    Compression,
    /// Owners or modes: another user or umask.
    Owners,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Times => "times",
            Self::Order => "the order of members",
            Self::Compression => "compression",
            Self::Owners => "owners or modes",
        })
    }
}

/// Reads a file of the name `name`.
fn read(name: &str, bytes: &[u8]) -> io::Result<Members> {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "deb" | "ddeb" | "udeb" => deb::members(bytes),
        "rpm" => rpm::members(bytes),
        _ => Ok(members::whole(bytes)),
    }
}

/// Compares two files of the name `name`. What is neither a deb nor an rpm is compared as a whole.
pub fn compare(name: &str, first: &[u8], second: &[u8]) -> Comparison {
    if first == second {
        return Comparison::Identical;
    }
    match (read(name, first), read(name, second)) {
        (Ok(first), Ok(second)) => told(&first, &second),
        (first, second) => {
            let unreadable = [("first", first.err()), ("second", second.err())];
            let differences = unreadable.into_iter().filter_map(|(which, error)| {
                Some(Difference {
                    member: name.to_owned(),
                    what: format!("the {which} cannot be read: {}", error?),
                })
            });
            Comparison::Differs { differences: differences.collect(), more: 0, causes: Vec::new() }
        }
    }
}

fn told(first: &Members, second: &Members) -> Comparison {
    let (mut differences, kinds) = differences(first, second);
    if differences.is_empty() {
        if first.order == second.order && first.signatures != second.signatures {
            return Comparison::SignatureDiffers;
        }
        let cause = if first.order == second.order { Cause::Compression } else { Cause::Order };
        return Comparison::Differs { differences, more: 0, causes: vec![cause] };
    }
    let mut causes = Vec::new();
    if !kinds.content {
        causes.extend(kinds.times.then_some(Cause::Times));
        causes.extend(kinds.owners.then_some(Cause::Owners));
    }
    let more = differences.len().saturating_sub(MAX_DIFFERENCES);
    differences.truncate(MAX_DIFFERENCES);
    Comparison::Differs { differences, more, causes }
}

/// All differences.
fn differences(first: &Members, second: &Members) -> (Vec<Difference>, Kinds) {
    let mut differences = Vec::new();
    let mut kinds = Kinds::default();
    for (name, member) in &first.all {
        match second.all.get(name) {
            Some(other) => kinds.compare(name, member, other, &mut differences),
            None => {
                kinds.content = true;
                differences.push(Difference { member: name.clone(), what: "only in the first".to_owned() });
            }
        }
    }
    for name in second.all.keys().filter(|name| !first.all.contains_key(*name)) {
        kinds.content = true;
        differences.push(Difference { member: name.clone(), what: "only in the second".to_owned() });
    }
    (differences, kinds)
}

#[derive(Default)]
struct Kinds {
    times: bool,
    owners: bool,
    content: bool,
}

impl Kinds {
    fn compare(&mut self, name: &str, first: &Member, second: &Member, told: &mut Vec<Difference>) {
        let mut tell = |what: String| told.push(Difference { member: name.to_owned(), what });
        if first.digest != second.digest {
            let is_time = name.ends_with("TIME");
            self.times |= is_time;
            self.content |= !is_time;
            tell(members::text_difference(first, second));
        }
        if first.link != second.link {
            self.content = true;
            tell(format!("link to {} → {}", first.link, second.link));
        }
        if first.mode != second.mode {
            self.owners = true;
            tell(format!("mode {:o} → {:o}", first.mode, second.mode));
        }
        if first.owner != second.owner {
            self.owners = true;
            tell(format!("owner {} → {}", first.owner, second.owner));
        }
        if first.mtime != second.mtime {
            self.times = true;
            tell(format!("time {} → {}", first.mtime, second.mtime));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(files: &[(&str, &str, u32, u64)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content, mode, time) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_mtime(*time);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn ar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut ar = b"!<arch>\n".to_vec();
        for (name, bytes) in members {
            ar.extend(
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", bytes.len())
                    .into_bytes(),
            );
            ar.extend(*bytes);
            ar.extend(vec![b'\n'; bytes.len() % 2]);
        }
        ar
    }

    pub(super) fn deb(files: &[(&str, &str, u32, u64)], signature: &str) -> Vec<u8> {
        let xz = |bytes: &[u8]| {
            let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
            io::Write::write_all(&mut xz, bytes).unwrap();
            xz.finish().unwrap()
        };
        let control = tar_of(&[("./control", "Package: agent\nVersion: 1.0\n", 0o644, 1)]);
        ar_of(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", &xz(&control)),
            ("data.tar.xz", &xz(&tar_of(files))),
            ("_gpgorigin", signature.as_bytes()),
        ])
    }

    fn differences(comparison: Comparison) -> (Vec<String>, Vec<Cause>) {
        let Comparison::Differs { differences, causes, .. } = comparison else { panic!("{comparison:?}") };
        (differences.into_iter().map(|d| format!("{}: {}", d.member, d.what)).collect(), causes)
    }

    pub(super) const FILES: [(&str, &str, u32, u64); 2] =
        [("./usr/bin/agent", "#!/bin/sh\necho 1\n", 0o755, 5), ("./etc/agent.conf", "a\n", 0o644, 5)];

    #[test]
    fn packages_are_compared_member_by_member() {
        let one = deb(&FILES, "x");
        assert_eq!(compare("a.deb", &one, &one), Comparison::Identical);
        assert_eq!(compare("a.deb", &one, &deb(&FILES, "y")), Comparison::SignatureDiffers);
        let mut other = FILES;
        other[0].1 = "#!/bin/sh\necho 2\n";
        let (told, causes) = differences(compare("a.deb", &one, &deb(&other, "x")));
        assert_eq!(told, ["data.tar/usr/bin/agent: line 2: `echo 1` → `echo 2`"]);
        assert!(causes.is_empty());
        other = FILES;
        other[0].3 = 6;
        other[1].3 = 7;
        let (told, causes) = differences(compare("a.deb", &one, &deb(&other, "x")));
        assert_eq!(told, ["data.tar/etc/agent.conf: time 5 → 7", "data.tar/usr/bin/agent: time 5 → 6"]);
        assert_eq!(causes, [Cause::Times]);
        other = FILES;
        other[1].2 = 0o664;
        let (told, causes) = differences(compare("a.deb", &one, &deb(&other, "x")));
        assert_eq!(
            (told, causes),
            (vec!["data.tar/etc/agent.conf: mode 644 → 664".to_owned()], vec![Cause::Owners])
        );
        other = FILES;
        other.reverse();
        assert_eq!(differences(compare("a.deb", &one, &deb(&other, "x"))), (vec![], vec![Cause::Order]));
        let (told, _) = differences(compare("a.deb", &one, &deb(&FILES[..1], "x")));
        assert_eq!(told, ["data.tar/etc/agent.conf: only in the first"]);
    }

    #[test]
    fn the_contents_of_a_deb_are_told() {
        let told = contents("a.deb", &deb(&FILES, "x")).unwrap();
        let files: Vec<_> =
            told.files.iter().map(|file| (file.path.as_str(), file.mode, file.size)).collect();
        assert_eq!(files, [("/etc/agent.conf", 0o644, 2), ("/usr/bin/agent", 0o755, 17)]);
        assert!(contents("a.txt", b"x").is_err());
    }

    #[test]
    fn an_rpm_whose_fields_share_one_value_is_refused() {
        let header = |fields: u32, size: u32| {
            let mut header = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
            header.extend(fields.to_be_bytes());
            header.extend(size.to_be_bytes());
            header
        };
        let mut rpm = vec![0xed, 0xab, 0xee, 0xdb];
        rpm.resize(96, 0);
        rpm.extend(header(2, 8));
        for tag in [1000_u32, 1001] {
            rpm.extend([tag, 6, 0, 1].map(u32::to_be_bytes).concat());
        }
        rpm.extend([0; 8]);
        let told = differences(compare("a.rpm", &rpm, b"")).0;
        assert!(told[0].contains("two fields of a header have one value"), "{told:?}");
    }

    #[test]
    fn a_deb_with_a_name_that_no_file_has_is_refused() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        tar.append_data(&mut header, "d/".repeat(3000), &b""[..]).unwrap();
        let deb = ar_of(&[("data.tar", &tar.into_inner().unwrap())]);
        let told = differences(compare("a.deb", &deb, b"")).0;
        assert!(told[0].contains("a name of 6000 bytes"), "{told:?}");
    }

    #[test]
    fn damaged_packages_are_told_and_never_panic() {
        let one = deb(&FILES, "x");
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..2000 {
            let mut other = one.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..other.len());
                other[at] ^= 1 << random.u32(..8);
            }
            other.truncate(random.usize(1..=other.len()));
            let _ = compare("a.deb", &one, &other);
            let _ = compare("a.rpm", &one, &other);
            let _ = (contents("a.deb", &other), contents("a.rpm", &other));
        }
        assert!(matches!(compare("a.deb", &one, b"no package"), Comparison::Differs { .. }));
        assert!(matches!(compare("a.log", b"a\nb\n", b"a\nc\n"), Comparison::Differs { .. }));
    }
}
