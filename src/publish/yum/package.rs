//! What the metadata says of one rpm, as createrepo_c says it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use quick_xml::escape::escape;
use rpm::{Dependency, DependencyFlags, IndexTag, PackageMetadata};

use super::header::{self, Headers, bad};
use crate::model::{Digest, Format, Hasher};
use crate::publish::name::is_word;
use crate::publish::{PublishError, Result};
use crate::support::fs::{PathContext, open_regular};
use crate::versions::Candidate;

/// How many entries of a changelog are told, as with createrepo_c.
const CHANGES: usize = 10;

/// Epoch, version, release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Evr(pub(super) String, pub(super) String, pub(super) String);

impl Evr {
    /// In the order of rpm's own comparison.
    pub(super) fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let text = |Self(epoch, version, release): &Self| format!("{epoch}:{version}-{release}");
        crate::versions::compare(Format::Rpm, &text(self), &text(other)).unwrap_or(std::cmp::Ordering::Equal)
    }
}

impl std::fmt::Display for Evr {
    /// Version and release, with the epoch where it has one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(epoch, version, release) = self;
        match epoch.as_str() {
            "0" => write!(f, "{version}-{release}"),
            epoch => write!(f, "{epoch}:{version}-{release}"),
        }
    }
}

/// An rpm that may be published.
#[derive(Clone, Debug)]
pub(in crate::publish) struct Package {
    pub(super) name: String,
    pub(in crate::publish) arch: String,
    pub(super) evr: Evr,
    pub(in crate::publish) digest: Digest,
    /// Of its header and payload: of everything that a signature is over.
    pub(super) content: Digest,
    /// Bytes.
    pub(super) size: u64,
    /// Seconds since 1970 UTC.
    built: u64,
    range: (u64, u64),
    metadata: PackageMetadata,
    files: Vec<(String, &'static str)>,
}

impl Package {
    pub(in crate::publish) fn read(path: &Path) -> Result<Self> {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut file = open_regular(path).at("read", path)?;
        let mut hasher = Hasher::around(io::sink());
        io::copy(&mut file, &mut hasher).at("read", path)?;
        let (digest, size, _) = hasher.finish();
        let read = |file: &mut File| -> io::Result<Self> {
            let headers = header::read(file)?;
            file.seek(SeekFrom::Start(headers.start))?;
            let mut hasher = Hasher::around(io::sink());
            io::copy(file, &mut hasher)?;
            Self::of(headers, digest, hasher.finish().0, size)
        };
        read(&mut file).map_err(|error| PublishError::Package { file: file_name, reason: error.to_string() })
    }

    fn of(
        Headers { metadata, start, end }: Headers,
        digest: Digest,
        content: Digest,
        size: u64,
    ) -> io::Result<Self> {
        let word = |what: &str, tag: IndexTag| -> io::Result<String> {
            let value =
                metadata.header.get_entry_data_as_string(tag).map_err(|error| bad(&error.to_string()))?;
            match is_word(value) {
                true => Ok(value.to_owned()),
                false => Err(bad(&format!("its {what} is `{}`", value.escape_debug()))),
            }
        };
        let name = word("name", IndexTag::RPMTAG_NAME)?;
        let epoch = metadata.header.get_entry_data_as_u32(IndexTag::RPMTAG_EPOCH).unwrap_or(0).to_string();
        let evr = Evr(
            epoch,
            word("version", IndexTag::RPMTAG_VERSION)?,
            word("release", IndexTag::RPMTAG_RELEASE)?,
        );
        let arch = match metadata.is_source_package() {
            true => "src".to_owned(),
            false => word("architecture", IndexTag::RPMTAG_ARCH)?,
        };
        if [&evr.1, &evr.2].iter().any(|part| part.contains('-')) || arch.contains(['-', '.']) {
            return Err(bad("its version, release or architecture has a hyphen"));
        }
        let files = files(&metadata)?;
        let built = metadata.get_build_time().unwrap_or(0);
        Ok(Self { name, arch, evr, digest, content, size, built, range: (start, end), metadata, files })
    }

    /// What the guard has to know of it.
    pub(in crate::publish) fn candidate(&self) -> Candidate {
        Candidate {
            format: Format::Rpm,
            package: self.name.clone(),
            architecture: self.arch.clone(),
            version: self.evr.to_string(),
            digest: self.digest,
        }
    }

    /// The name of its file.
    pub(super) fn file_name(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name, self.evr.1, self.evr.2, self.arch)
    }

    fn string(&self, tag: IndexTag) -> String {
        let header = &self.metadata.header;
        let value =
            header.get_entry_data_as_string(tag).or_else(|_| header.get_entry_data_as_i18n_string(tag));
        text(value.unwrap_or_default())
    }

    fn number(&self, tags: [IndexTag; 2]) -> u64 {
        let header = &self.metadata.header;
        let number = |tag| {
            header.get_entry_data_as_u64(tag).or_else(|_| header.get_entry_data_as_u32(tag).map(u64::from))
        };
        number(tags[0]).or_else(|_| number(tags[1])).unwrap_or(0)
    }

    fn version(&self) -> String {
        let Evr(epoch, version, release) = &self.evr;
        format!("<version epoch=\"{epoch}\" ver=\"{}\" rel=\"{}\"/>", escape(version), escape(release))
    }

    /// Its `package` element of `primary.xml`; `modified` is the time of its file, seconds since 1970 UTC.
    pub(super) fn primary(&self, href: &str, modified: i64) -> io::Result<String> {
        let mut out = String::from("<package type=\"rpm\">\n");
        let head = element(&mut out, "  ", "name", &self.name)
            .and_then(|()| element(&mut out, "  ", "arch", &self.arch))
            .and_then(|()| self.body(&mut out, href, modified));
        head.map_err(io::Error::other)?;
        self.dependencies(&mut out)?;
        for (path, kind) in self.files.iter().filter(|(path, _)| is_primary(path)) {
            file(&mut out, "    ", path, kind);
        }
        out.push_str("  </format>\n</package>\n");
        Ok(out)
    }

    fn body(&self, out: &mut String, href: &str, modified: i64) -> std::fmt::Result {
        use IndexTag as Tag;
        writeln!(out, "  {}", self.version())?;
        writeln!(out, "  <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum>", self.digest.hex())?;
        for (name, tag) in [
            ("summary", Tag::RPMTAG_SUMMARY),
            ("description", Tag::RPMTAG_DESCRIPTION),
            ("packager", Tag::RPMTAG_PACKAGER),
            ("url", Tag::RPMTAG_URL),
        ] {
            element(out, "  ", name, &self.string(tag))?;
        }
        writeln!(out, "  <time file=\"{modified}\" build=\"{}\"/>", self.built)?;
        let installed = self.number([Tag::RPMTAG_LONGSIZE, Tag::RPMTAG_SIZE]);
        let archive =
            self.metadata.signature.get_entry_data_as_u32(rpm::IndexSignatureTag::RPMSIGTAG_PAYLOADSIZE);
        let archive = archive
            .map_or_else(|_| self.number([Tag::RPMTAG_LONGARCHIVESIZE, Tag::RPMTAG_ARCHIVESIZE]), u64::from);
        writeln!(out, "  <size package=\"{}\" installed=\"{installed}\" archive=\"{archive}\"/>", self.size)?;
        writeln!(out, "  <location href=\"{}\"/>\n  <format>", escape(href))?;
        for (name, tag) in [
            ("rpm:license", Tag::RPMTAG_LICENSE),
            ("rpm:vendor", Tag::RPMTAG_VENDOR),
            ("rpm:group", Tag::RPMTAG_GROUP),
            ("rpm:buildhost", Tag::RPMTAG_BUILDHOST),
            ("rpm:sourcerpm", Tag::RPMTAG_SOURCERPM),
        ] {
            element(out, "    ", name, &self.string(tag))?;
        }
        writeln!(out, "    <rpm:header-range start=\"{}\" end=\"{}\"/>", self.range.0, self.range.1)
    }

    fn dependencies(&self, out: &mut String) -> io::Result<()> {
        let broken = |error: rpm::Error| bad(&error.to_string());
        let provides = self.metadata.get_provides().map_err(broken)?;
        let provided: BTreeSet<_> = provides.iter().map(whole).collect();
        let requires = self.requires(self.metadata.get_requires().map_err(broken)?, &provided);
        let plain =
            |all: Vec<Dependency>| all.into_iter().map(|dependency| (dependency, false)).collect::<Vec<_>>();
        let lists = [
            ("provides", plain(provides.clone())),
            ("requires", requires),
            ("conflicts", plain(self.metadata.get_conflicts().map_err(broken)?)),
            ("obsoletes", plain(self.metadata.get_obsoletes().map_err(broken)?)),
            ("suggests", plain(self.metadata.get_suggests().map_err(broken)?)),
            ("enhances", plain(self.metadata.get_enhances().map_err(broken)?)),
            ("recommends", plain(self.metadata.get_recommends().map_err(broken)?)),
            ("supplements", plain(self.metadata.get_supplements().map_err(broken)?)),
        ];
        for (name, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
            let _ = writeln!(out, "    <rpm:{name}>");
            for (dependency, before) in list {
                entry(out, dependency, *before)?;
            }
            let _ = writeln!(out, "    </rpm:{name}>");
        }
        Ok(())
    }

    /// What it needs that it does not provide itself, in the same words and with the same version, each once, with whether it is needed before it is installed. Of the versions of the C library's
    /// symbols only the highest is told (createrepo_c, parsehdr.c).
    fn requires(&self, all: Vec<Dependency>, provided: &BTreeSet<Whole<'_>>) -> Vec<(Dependency, bool)> {
        let own: BTreeSet<&str> =
            self.files.iter().map(|(path, _)| path.as_str()).filter(|path| is_primary(path)).collect();
        let before = DependencyFlags::from_bits_retain(64 | 512 | 1024);
        let (mut kept, mut seen) = (Vec::new(), BTreeMap::new());
        let mut libc: Option<(Dependency, bool)> = None;
        for needed in all {
            let name = needed.name.as_str();
            if name.starts_with("rpmlib(") || own.contains(name) || provided.contains(&whole(&needed)) {
                continue;
            }
            let is_before = needed.flags.intersects(before);
            let same = (relation(needed.flags), needed.version.clone(), is_before);
            if seen.get(name) == Some(&same) {
                continue;
            }
            if name.starts_with("libc.so.6") {
                if libc.as_ref().is_none_or(|(known, _)| symbols(&needed.name) > symbols(&known.name)) {
                    libc = Some((needed, is_before));
                }
                continue;
            }
            seen.insert(name.to_owned(), same);
            kept.push((needed, is_before));
        }
        kept.extend(libc);
        kept
    }

    fn open(&self) -> String {
        format!(
            "<package pkgid=\"{}\" name=\"{}\" arch=\"{}\">\n  {}\n",
            self.digest.hex(),
            escape(&self.name),
            escape(&self.arch),
            self.version()
        )
    }

    /// Its `package` element of `filelists.xml`.
    pub(super) fn filelists(&self) -> String {
        let mut out = self.open();
        for (path, kind) in &self.files {
            file(&mut out, "  ", path, kind);
        }
        out + "</package>\n"
    }

    /// Its `package` element of `other.xml`.
    pub(super) fn other(&self) -> io::Result<String> {
        let mut out = self.open();
        let all = self.metadata.iter_changelog_entries().map_err(|error| bad(&error.to_string()))?;
        let mut entries: Vec<rpm::ChangelogEntry> = Vec::new();
        for entry in all.take(CHANGES) {
            // Readers sort by time: entries of one time keep their order by seconds.
            let mut time = entry.timestamp;
            for newer in entries.iter_mut().rev() {
                if newer.timestamp != time {
                    break;
                }
                newer.timestamp += 1;
                time = newer.timestamp;
            }
            entries.push(entry);
        }
        for entry in entries.iter().rev() {
            let author = text(entry.name.trim_end()).replace(['\n', '\t'], " ");
            let _ = writeln!(
                out,
                "  <changelog author=\"{}\" date=\"{}\">{}</changelog>",
                escape(&author),
                entry.timestamp,
                escape(text(&entry.description))
            );
        }
        Ok(out + "</package>\n")
    }
}

/// The paths of a package, and `dir` or `ghost` where they are not files.
fn files(metadata: &PackageMetadata) -> io::Result<Vec<(String, &'static str)>> {
    let header = &metadata.header;
    if header.get_entry_data_as_string_array(IndexTag::RPMTAG_BASENAMES).is_err() {
        return Ok(Vec::new());
    }
    let broken = |error: rpm::Error| bad(&error.to_string());
    let names = header.get_entry_data_as_string_array(IndexTag::RPMTAG_BASENAMES).map_err(broken)?;
    let folders = header.get_entry_data_as_string_array(IndexTag::RPMTAG_DIRNAMES).map_err(broken)?;
    let indexes = header.get_entry_data_as_u32_array(IndexTag::RPMTAG_DIRINDEXES).map_err(broken)?;
    let modes = header.get_entry_data_as_u16_array(IndexTag::RPMTAG_FILEMODES).map_err(broken)?;
    let flags = header.get_entry_data_as_u32_array(IndexTag::RPMTAG_FILEFLAGS).map_err(broken)?;
    if [indexes.len(), modes.len(), flags.len()].iter().any(|count| *count != names.len()) {
        return Err(bad("its lists of files have different lengths"));
    }
    let (mut files, mut bytes) = (Vec::new(), 0);
    for (at, name) in names.iter().enumerate() {
        let folder = folders.get(indexes[at] as usize).ok_or_else(|| bad("a file is in no folder"))?;
        let path = format!("{folder}{name}");
        bytes += path.len();
        if path.chars().any(|c| c.is_control() || !allowed(c)) || bytes > 128 << 20 {
            return Err(bad(&format!("it has the file `{}`", path.escape_debug())));
        }
        let kind = match (modes[at] & 0o170_000, flags[at] & 64) {
            (0o040_000, _) => "dir",
            (_, 64) => "ghost",
            _ => "",
        };
        files.push((path, kind));
    }
    Ok(files)
}

/// Files that are in `primary.xml` (createrepo_c, misc.h, cr_is_primary).
fn is_primary(path: &str) -> bool {
    path.starts_with("/etc/") || path == "/usr/lib/sendmail" || path.contains("bin/")
}

/// A dependency's name, relation and version.
type Whole<'a> = (&'a str, Option<&'static str>, &'a str);

fn whole(dependency: &Dependency) -> Whole<'_> {
    (&dependency.name, relation(dependency.flags), &dependency.version)
}

fn relation(flags: DependencyFlags) -> Option<&'static str> {
    match flags.bits() & 14 {
        2 => Some("LT"),
        4 => Some("GT"),
        8 => Some("EQ"),
        10 => Some("LE"),
        12 => Some("GE"),
        _ => None,
    }
}

fn entry(out: &mut String, dependency: &Dependency, before: bool) -> io::Result<()> {
    for part in [&dependency.name, &dependency.version] {
        if part.chars().any(|c| c.is_control() || !allowed(c)) {
            return Err(bad(&format!("it depends on `{}`", part.escape_debug())));
        }
    }
    let _ = write!(out, "      <rpm:entry name=\"{}\"", escape(&dependency.name));
    if let Some(relation) = relation(dependency.flags) {
        let _ = write!(out, " flags=\"{relation}\"");
    }
    if !dependency.version.is_empty() {
        let (epoch, rest) = dependency.version.split_once(':').unwrap_or(("0", &dependency.version));
        let (version, release) = rest.split_once('-').unwrap_or((rest, ""));
        for (name, value) in [("epoch", epoch), ("ver", version), ("rel", release)] {
            if !value.is_empty() {
                let _ = write!(out, " {name}=\"{}\"", escape(value));
            }
        }
    }
    out.push_str(if before { " pre=\"1\"/>\n" } else { "/>\n" });
    Ok(())
}

/// The version of symbols of the C library that `libc.so.6(GLIBC_2.34)(64bit)` names, by its numbers.
fn symbols(name: &str) -> Vec<u64> {
    let inner = name.split_once('(').and_then(|(_, rest)| Some(rest.split_once(')')?.0)).unwrap_or_default();
    let numbers = inner.trim_start_matches(|c: char| !c.is_ascii_digit());
    numbers.split('.').filter_map(|number| number.parse().ok()).collect()
}

fn element(out: &mut String, indent: &str, name: &str, value: &str) -> std::fmt::Result {
    match value.is_empty() {
        true => writeln!(out, "{indent}<{name}/>"),
        false => writeln!(out, "{indent}<{name}>{}</{name}>", escape(value)),
    }
}

fn file(out: &mut String, indent: &str, path: &str, kind: &str) {
    let _ = match kind {
        "" => writeln!(out, "{indent}<file>{}</file>", escape(path)),
        kind => writeln!(out, "{indent}<file type=\"{kind}\">{}</file>", escape(path)),
    };
}

/// Whether XML 1.0 can hold a character (section 2.2, Char).
fn allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Text for people, without what XML cannot hold.
fn text(value: &str) -> String {
    value.chars().map(|c| if allowed(c) && c != '\r' { c } else { '?' }).collect()
}
