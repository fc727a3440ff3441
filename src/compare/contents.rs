//! What a package says of itself: its files, and how it relates to other packages.

use std::collections::BTreeSet;
use std::io;

use super::members::{Member, Members, bad};
use super::{deb, rpm};

/// What is in a package. Names and values are the package's own words: they have to be made safe before they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Fields that say what it is, in the format's words: `Section`, `License`.
    pub fields: Vec<(String, String)>,
    /// Its relations to other packages, by their kinds in the format's words: `Depends`, `Requires`.
    pub relations: Vec<(String, Vec<String>)>,
    /// Scripts that it brings for its installation and removal: `postinst`, `POSTIN`.
    pub scripts: Vec<String>,
    /// Files, links and empty folders, sorted by path.
    pub files: Vec<PackedFile>,
}

/// A file in a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedFile {
    /// Where it is installed: an absolute path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// User and group, in the format's own way.
    pub owner: String,
    /// Where it leads, if it is a link.
    pub link: Option<String>,
}

/// The most relations of a kind that are told of an rpm, whose header may have as many as it has bytes.
const MOST_RELATIONS: usize = 10_000;

/// Fields of a control file that say what the package is (deb-control(5)).
const DEB_FIELDS: [&str; 6] =
    ["Architecture", "Section", "Installed-Size", "Essential", "Multi-Arch", "Description"];

/// Fields of a control file that name other packages (Debian Policy 7).
const DEB_RELATIONS: [&str; 9] = [
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Suggests",
    "Enhances",
    "Breaks",
    "Conflicts",
    "Replaces",
    "Provides",
];

/// Members of control.tar that are run (Debian Policy 6).
const DEB_SCRIPTS: [&str; 5] = ["config", "preinst", "postinst", "prerm", "postrm"];

/// Tags of strings that say what the package is (lib/rpmtag.h).
const RPM_FIELDS: [(u32, &str); 4] =
    [(1022, "Architecture"), (1014, "License"), (1020, "Url"), (1004, "Summary")];

/// Tags of relations: names, versions, flags.
const RPM_RELATIONS: [([u32; 3], &str); 8] = [
    ([1049, 1050, 1048], "Requires"),
    ([5046, 5047, 5048], "Recommends"),
    ([5049, 5050, 5051], "Suggests"),
    ([5052, 5053, 5054], "Supplements"),
    ([5055, 5056, 5057], "Enhances"),
    ([1054, 1055, 1053], "Conflicts"),
    ([1090, 1115, 1114], "Obsoletes"),
    ([1047, 1113, 1112], "Provides"),
];

/// Tags of scriptlets.
const RPM_SCRIPTS: [(u32, &str); 8] = [
    (1151, "PRETRANS"),
    (1023, "PREIN"),
    (1024, "POSTIN"),
    (1025, "PREUN"),
    (1026, "POSTUN"),
    (1152, "POSTTRANS"),
    (1065, "TRIGGERSCRIPTS"),
    (5066, "FILETRIGGERSCRIPTS"),
];

/// Looks into the package `name`, which somebody else has made.
pub fn contents(name: &str, bytes: &[u8]) -> io::Result<Contents> {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "deb" | "ddeb" | "udeb" => of_deb(&deb::members(bytes)?),
        "rpm" => of_rpm(bytes),
        _ => Err(bad("it is neither a deb nor an rpm")),
    }
}

fn of_deb(members: &Members) -> io::Result<Contents> {
    let control = members.all.get("control.tar/control").and_then(|member| member.text.as_deref());
    let control = paragraph(control.ok_or_else(|| bad("it has no control file"))?);
    let value = |wanted: &str| {
        let found = control.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_str())
    };
    let fields = DEB_FIELDS.iter().filter_map(|name| {
        let first = value(name)?.lines().next().unwrap_or_default();
        Some(((*name).to_owned(), first.to_owned()))
    });
    let relations = DEB_RELATIONS.iter().filter_map(|name| {
        let all = value(name)?.split(',').map(|one| one.split_whitespace().collect::<Vec<_>>().join(" "));
        Some(((*name).to_owned(), all.filter(|one| !one.is_empty()).collect()))
    });
    let scripts = DEB_SCRIPTS.iter().filter(|name| members.all.contains_key(&format!("control.tar/{name}")));
    Ok(Contents {
        fields: fields.collect(),
        relations: relations.collect(),
        scripts: scripts.map(|name| (*name).to_owned()).collect(),
        files: files(members, "data.tar/"),
    })
}

/// The fields of a control file (deb-control(5)): a line that begins with a blank belongs to the field above.
fn paragraph(text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix([' ', '\t']), line.split_once(':'), fields.last_mut()) {
            (Some(more), _, Some((_, value))) => {
                value.push('\n');
                value.push_str(more);
            }
            (None, Some((name, value)), _) => fields.push((name.to_owned(), value.trim().to_owned())),
            _ => {}
        }
    }
    fields
}

fn of_rpm(bytes: &[u8]) -> io::Result<Contents> {
    let members = rpm::members(bytes)?;
    let (tags, _) = rpm::header(rpm::headers(bytes)?.1)?;
    let value = |wanted: u32| tags.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
    let fields = RPM_FIELDS.iter().filter_map(|(tag, name)| {
        let text = strings(value(*tag)?).next()?;
        Some(((*name).to_owned(), text))
    });
    let relations = RPM_RELATIONS.iter().filter_map(|([names, versions, flags], kind)| {
        let (names, versions) = (strings(value(*names)?), strings(value(*versions).unwrap_or_default()));
        let flags = value(*flags).unwrap_or_default().chunks_exact(4);
        let flags = flags.map(|four| four.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)));
        let all = names.zip(versions.chain(std::iter::repeat(String::new())));
        let all = all.zip(flags.chain(std::iter::repeat(0))).map(|((name, version), flags)| {
            match version.as_str() {
                "" => name,
                version => format!("{name} {} {version}", sense(flags)),
            }
        });
        // What a package asks of rpm itself is no relation to another.
        let all = all.filter(|one| !one.is_empty() && !one.starts_with("rpmlib("));
        let all: Vec<String> = all.take(MOST_RELATIONS).collect();
        (!all.is_empty()).then(|| ((*kind).to_owned(), all))
    });
    let scripts = RPM_SCRIPTS.iter().filter(|(tag, _)| value(*tag).is_some());
    Ok(Contents {
        fields: fields.collect(),
        relations: relations.collect(),
        scripts: scripts.map(|(_, name)| (*name).to_owned()).collect(),
        files: files(&members, "payload/"),
    })
}

/// How two versions have to compare (lib/rpmds.h, RPMSENSE_LESS, GREATER and EQUAL).
fn sense(flags: u32) -> &'static str {
    match (flags & 2 != 0, flags & 4 != 0, flags & 8 != 0) {
        (true, _, true) => "<=",
        (true, _, false) => "<",
        (_, true, true) => ">=",
        (_, true, false) => ">",
        _ => "=",
    }
}

/// The strings of a header's value, each of which ends with a zero byte.
fn strings(value: &[u8]) -> impl Iterator<Item = String> + '_ {
    let end = value.iter().rposition(|byte| *byte == 0).unwrap_or(value.len());
    value[..end].split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// The members whose names begin with `place`, without folders that hold others.
fn files(members: &Members, place: &str) -> Vec<PackedFile> {
    let inside = || members.all.iter().filter_map(|(name, member)| Some((name.strip_prefix(place)?, member)));
    let mut folders = BTreeSet::new();
    for (path, _) in inside() {
        let mut rest = path;
        while let Some((folder, _)) = rest.rsplit_once('/') {
            if !folders.insert(folder) {
                break;
            }
            rest = folder;
        }
    }
    let shown = inside().filter(|(path, _)| !path.is_empty() && *path != "." && !folders.contains(path));
    shown.map(|(path, member)| file(path, member)).collect()
}

fn file(path: &str, member: &Member) -> PackedFile {
    const KIND: u32 = 0o170_000;
    const LINK: u32 = 0o120_000;
    // A tar says where a link leads; in a cpio archive that is the link's content.
    let link = match (member.link.as_str(), &member.text) {
        ("", Some(text)) if member.mode & KIND == LINK => Some(text.clone()),
        ("", _) => None,
        (link, _) => Some(link.to_owned()),
    };
    PackedFile {
        path: format!("/{path}"),
        size: member.size,
        mode: member.mode & 0o7777,
        owner: member.owner.clone(),
        link,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_file_is_taken_apart() {
        let fields = paragraph("Package: a\nDepends: b (>= 1),\n c\nDescription: short\n long\n");
        assert_eq!(fields[1], ("Depends".to_owned(), "b (>= 1),\nc".to_owned()));
        assert_eq!(fields.len(), 3);
    }

    #[test]
    fn strings_of_a_header_end_with_a_zero_byte() {
        assert_eq!(strings(b"a\0\0c\0").collect::<Vec<_>>(), ["a", "", "c"]);
        assert_eq!(strings(b"a\0\0c\0\0\0").count(), 5, "what fills up to the next value");
        assert_eq!(sense(0x100_000c), ">=");
    }
}
