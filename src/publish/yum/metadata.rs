//! Metadata files of a yum repository, written and taken apart: the `package` elements are kept as text.

use std::collections::BTreeMap;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::package::Evr;
use crate::model::{Digest, Format};
use crate::publish::blocks::Record;
use crate::publish::history::FileOf;
use crate::versions::Candidate;

/// Name, architecture, version: the order of packages in the metadata.
pub(super) type Key = (String, String, Evr);

/// A package file that the metadata names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::publish) struct Entry {
    pub(in crate::publish) name: String,
    pub(in crate::publish) arch: String,
    pub(super) evr: Evr,
    pub(in crate::publish) digest: Digest,
    /// Where its file is, below the tree.
    pub(in crate::publish) href: String,
    /// Its element in each of the files.
    pub(super) primary: String,
    pub(super) filelists: String,
    pub(super) other: String,
    /// The fingerprint of the key that has signed it, if that is known.
    pub(super) signer: Option<String>,
}

impl Entry {
    /// Version and release, with the epoch where it has one.
    pub(in crate::publish) fn version(&self) -> String {
        self.evr.to_string()
    }

    pub(super) fn key(&self) -> Key {
        (self.name.clone(), self.arch.clone(), self.evr.clone())
    }

    /// Its records in primary, filelists and other.
    pub(super) fn records(&self) -> [Record; 3] {
        let name = self.digest.hex();
        [&self.primary, &self.filelists, &self.other].map(|text| Record::new(&name, text.clone()))
    }

    /// What the guard has to know of it.
    pub(in crate::publish) fn candidate(&self) -> Candidate {
        Candidate {
            format: Format::Rpm,
            package: self.name.clone(),
            architecture: self.arch.clone(),
            version: self.version(),
            digest: self.digest,
        }
    }
}

/// One `data` element of `repomd.xml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) kind: String,
    pub(super) href: String,
    pub(super) file: FileOf,
    /// The whole element, for those that are passed on as they are.
    pub(super) text: String,
}

type Read<T> = Result<T, String>;

fn attribute(element: &BytesStart<'_>, name: &str) -> Read<String> {
    let found = element.try_get_attribute(name).map_err(|error| error.to_string())?;
    let found = found.ok_or_else(|| format!("an element has no attribute {name}"))?;
    let value = found.normalized_value(XmlVersion::Explicit1_0).map_err(|error| error.to_string())?;
    Ok(value.into_owned())
}

/// Each element `name` of the root, as text.
pub(super) fn elements(xml: &str, name: &str) -> Read<Vec<String>> {
    elements_in(xml, name, 1, usize::MAX)
}

/// At most so many elements `name` that are in `depth` others, as text.
fn elements_in(xml: &str, name: &str, depth: usize, most: usize) -> Read<Vec<String>> {
    let mut reader = Reader::from_str(xml);
    let (mut found, mut open) = (Vec::new(), 0_usize);
    while found.len() < most {
        let start = reader.buffer_position() as usize;
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(element) if open == depth && element.local_name().as_ref() == name.as_bytes() => {
                let end = element.to_end().into_owned();
                reader.read_to_end(end.name()).map_err(|error| error.to_string())?;
                let text = xml.get(start..reader.buffer_position() as usize);
                found.push(text.ok_or("an element ends nowhere")?.to_owned() + "\n");
            }
            Event::Start(_) => open += 1,
            Event::End(_) => open = open.saturating_sub(1),
            Event::DocType(_) => return Err("it has a document type".to_owned()),
            Event::Eof if open == 0 => break,
            Event::Eof => return Err("it ends early".to_owned()),
            _ => {}
        }
    }
    Ok(found)
}

/// The attributes and texts of an element's descendants: the first of each name.
struct Parts(BTreeMap<String, (BytesStart<'static>, String)>);

impl Parts {
    fn of(element: &str) -> Read<Self> {
        let mut reader = Reader::from_str(element);
        let (mut parts, mut last): (BTreeMap<String, (BytesStart<'static>, String)>, String) =
            (BTreeMap::new(), String::new());
        loop {
            match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(start) | Event::Empty(start) => {
                    last = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                    match parts.contains_key(&last) {
                        // A second one of that name: its text is not the first one's.
                        true => last.clear(),
                        false => drop(parts.insert(last.clone(), (start.into_owned(), String::new()))),
                    }
                }
                Event::Text(text) => {
                    if let Some((_, value)) = parts.get_mut(&last) {
                        value.push_str(&text.decode().map_err(|error| error.to_string())?);
                    }
                }
                Event::End(_) => last.clear(),
                Event::Eof => return Ok(Self(parts)),
                _ => {}
            }
        }
    }

    fn text(&self, name: &str) -> Read<String> {
        let found = self.0.get(name).ok_or_else(|| format!("an element has no {name}"))?;
        Ok(found.1.trim().to_owned())
    }

    fn attribute(&self, name: &str, of: &str) -> Read<String> {
        attribute(&self.0.get(name).ok_or_else(|| format!("an element has no {name}"))?.0, of)
    }
}

fn safe(href: String) -> Read<String> {
    let relative = crate::support::tar_reader::safe_relative(&href);
    match relative.as_deref() == Some(href.as_str()) {
        true => Ok(href),
        false => Err(format!("it names the file `{}`", href.escape_debug())),
    }
}

/// The package files of the three metadata files.
pub(super) fn entries(primary: &str, filelists: &str, other: &str) -> Read<Vec<Entry>> {
    let by_digest = |xml: &str| -> Read<BTreeMap<String, String>> {
        let all = elements(xml, "package")?.into_iter();
        all.map(|text| Ok((Parts::of(&text)?.attribute("package", "pkgid")?, text))).collect()
    };
    let (mut filelists, mut other) = (by_digest(filelists)?, by_digest(other)?);
    let all = elements(primary, "package")?.into_iter().map(|primary| {
        let entry = entry(primary)?;
        let hex = entry.digest.hex();
        let lost = || format!("it has no list of files or changes for package {hex}");
        let (filelists, other) =
            (filelists.remove(&hex).ok_or_else(lost)?, other.remove(&hex).ok_or_else(lost)?);
        Ok(Entry { filelists, other, ..entry })
    });
    all.collect()
}

/// The package of an element of `primary.xml`, without its lists of files and changes.
pub(super) fn entry(primary: String) -> Read<Entry> {
    let parts = Parts::of(&primary)?;
    if parts.attribute("checksum", "type")? != "sha256" {
        return Err("it names packages by other digests than sha256".to_owned());
    }
    let of = |part: &str| parts.attribute("version", part);
    Ok(Entry {
        name: parts.text("name")?,
        arch: parts.text("arch")?,
        evr: Evr(of("epoch")?, of("ver")?, of("rel")?),
        digest: Digest::from_hex(&parts.text("checksum")?).map_err(|error| error.to_string())?,
        href: safe(parts.attribute("location", "href")?)?,
        filelists: String::new(),
        other: String::new(),
        primary,
        signer: None,
    })
}

/// The records of a block of `primary.xml`, at most so many.
pub(super) fn split_primary(block: &str, most: usize) -> Read<Vec<(Key, Record)>> {
    let all = elements_in(block, "package", 0, most)?.into_iter();
    all.map(|text| {
        let entry = entry(text)?;
        Ok((entry.key(), Record::new(&entry.digest.hex(), entry.primary)))
    })
    .collect()
}

/// The records of a block of `filelists.xml` or `other.xml`, at most so many.
pub(super) fn split_list(block: &str, most: usize) -> Read<Vec<(Key, Record)>> {
    let all = elements_in(block, "package", 0, most)?.into_iter();
    all.map(|text| {
        let parts = Parts::of(&text)?;
        let (package, version) =
            (|of: &str| parts.attribute("package", of), |of: &str| parts.attribute("version", of));
        let evr = Evr(version("epoch")?, version("ver")?, version("rel")?);
        Ok(((package("name")?, package("arch")?, evr), Record::new(&package("pkgid")?, text)))
    })
    .collect()
}

/// How many packages a file says that it has, which begins as [`frame`] has it.
pub(super) fn packages(xml: &str) -> Option<usize> {
    xml.lines().nth(1)?.rsplit_once("packages=\"")?.1.strip_suffix("\">")?.parse().ok()
}

/// The `data` elements of a `repomd.xml`.
pub(super) fn data(repomd: &str) -> Read<Vec<Data>> {
    let all = elements(repomd, "data")?.into_iter();
    all.map(|text| {
        let parts = Parts::of(&text)?;
        let digest = Digest::from_hex(&parts.text("checksum")?).map_err(|error| error.to_string())?;
        let size = parts.text("size").ok().and_then(|size| size.parse().ok()).unwrap_or(0);
        Ok(Data {
            kind: parts.attribute("data", "type")?,
            href: safe(parts.attribute("location", "href")?)?,
            file: FileOf { digest, size },
            text,
        })
    })
    .collect()
}

/// The beginning and the end of a metadata file of so many packages; `root` is `metadata`, `filelists` or `otherdata`.
pub(super) fn frame(root: &str, packages: usize) -> (String, String) {
    let (space, more) = match root {
        "metadata" => ("common", " xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\""),
        "otherdata" => ("other", ""),
        other => (other, ""),
    };
    let start = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"http://linux.duke.edu/metadata/{space}\"{more} packages=\"{packages}\">\n"
    );
    (start, format!("</{root}>\n"))
}

/// A `data` element.
pub(super) fn data_element(kind: &str, href: &str, file: FileOf, open: FileOf, time: i64) -> String {
    format!(
        "<data type=\"{kind}\">\n  <checksum type=\"sha256\">{}</checksum>\n  <open-checksum type=\"sha256\">{}</open-checksum>\n  \
         <location href=\"{href}\"/>\n  <timestamp>{time}</timestamp>\n  <size>{}</size>\n  <open-size>{}</open-size>\n</data>\n",
        file.digest.hex(),
        open.digest.hex(),
        file.size,
        open.size
    )
}

/// A `repomd.xml` of these `data` elements.
pub(super) fn repomd(revision: u64, data: &[String]) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n<revision>{revision}</revision>\n{}</repomd>\n",
        data.concat()
    )
}
