//! What an index says of a Debian binary package (deb(5)). The file is a stranger's: what is read of it is bounded.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::super::name::is_word;
use super::control::{self, Field};
use crate::model::{Digest, Hasher};
use crate::publish::{PublishError, Result};
use crate::support::decompress::{self, Packing};
use crate::support::fs::{PathContext, open_regular};
use crate::support::tar_reader::TarReader;

/// The largest control file, bytes.
const MAX_CONTROL: u64 = 1 << 20;
/// The most members of an archive.
const MAX_MEMBERS: usize = 1 << 20;
/// Bytes of all names together.
const MAX_NAMES: usize = 128 << 20;
/// The most bytes that the members of an archive may have when unpacked.
const MAX_UNPACKED: u64 = 64 << 30;

/// Fields of an index that a package may not bring itself.
const OF_THE_INDEX: [&str; 8] =
    ["Filename", "Size", "MD5sum", "SHA1", "SHA256", "SHA512", "Description-md5", "Status"];

/// A package that may be published.
#[derive(Clone, Debug)]
pub(super) struct Deb {
    /// Its control file.
    pub(super) fields: Vec<Field>,
    /// Its files and links, without a slash in front, sorted.
    pub(super) paths: Vec<String>,
    pub(super) digest: Digest,
    /// Bytes.
    pub(super) size: u64,
}

impl Deb {
    /// Reads a package and checks what an index repeats of it.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut file = open_regular(path).at("read", path)?;
        let mut hasher = Hasher::around(io::sink());
        io::copy(&mut file, &mut hasher).at("read", path)?;
        let (digest, size, _) = hasher.finish();
        let broken =
            |error: io::Error| PublishError::Package { file: name.clone(), reason: error.to_string() };
        let (control, paths) = members(&mut file, size).map_err(broken)?;
        let fields = control::paragraph(&control).and_then(check).map_err(|reason| broken(bad(&reason)))?;
        Ok(Self { fields, paths, digest, size })
    }

    /// The value of a field, empty where it has none.
    pub(super) fn field(&self, name: &str) -> &str {
        control::value(&self.fields, name).unwrap_or_default()
    }

    /// The name of the source package (deb-control(5), Source).
    pub(super) fn source(&self) -> &str {
        match self.field("Source").split([' ', '(']).next() {
            Some(source) if !source.is_empty() => source,
            _ => self.field("Package"),
        }
    }
}

/// Control files whose fields can stand in an index and whose names can stand in paths.
fn check(fields: Vec<Field>) -> std::result::Result<Vec<Field>, String> {
    for (name, value) in &fields {
        if OF_THE_INDEX.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            return Err(format!("its control file has the field {name}, which belongs to the index"));
        }
        let first = value.lines().next().unwrap_or_default();
        let word = |fine: bool| match fine {
            true => Ok(()),
            false => Err(format!("its field {name} is `{}`", first.escape_debug())),
        };
        match name.to_ascii_lowercase().as_str() {
            "package" => {
                word(is_word(value) && value.chars().all(|c| !matches!(c, '~' | '^' | '_' | 'A'..='Z')))?
            }
            "source" => word(is_word(value.split([' ', '(']).next().unwrap_or_default()))?,
            "architecture" => word(is_word(value) && value != "source" && !value.contains(['_', '.']))?,
            "version" => word(is_word(&value.replacen(':', "", 1)) && !value.contains(['_', '^']))?,
            "section" => word(value.split('/').all(is_word))?,
            _ => {}
        }
    }
    for needed in ["Package", "Version", "Architecture", "Maintainer", "Description"] {
        if control::value(&fields, needed).is_none_or(str::is_empty) {
            return Err(format!("its control file has no field {needed}"));
        }
    }
    Ok(fields)
}

/// The control file and the names in the data.
fn members(file: &mut File, size: u64) -> io::Result<(String, Vec<String>)> {
    file.rewind()?;
    let mut magic = [0; 8];
    file.read_exact(&mut magic)?;
    if &magic != b"!<arch>\n" {
        return Err(bad("it is no ar archive"));
    }
    let (mut control, mut at) = (None, 8);
    loop {
        let mut header = [0; 60];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut header).map_err(|_| bad("it ends before its data.tar"))?;
        let text = |from: usize, to: usize| String::from_utf8_lossy(&header[from..to]).trim_end().to_owned();
        let name = text(0, 16).trim_end_matches('/').to_owned();
        let length: u64 = text(48, 58).parse().map_err(|_| bad("the size of a member is no number"))?;
        let end = (at + 60).checked_add(length).filter(|end| *end <= size);
        let end = end.ok_or_else(|| bad("it ends in a member"))?;
        let content = file.by_ref().take(length);
        if name.starts_with("control.tar") && control.is_none() {
            control = Some(control_file(content)?);
        } else if name.starts_with("data.tar") {
            let control = control.ok_or_else(|| bad("its control.tar does not come first"))?;
            return Ok((control, names(content)?));
        }
        at = end + length % 2;
    }
}

fn tar<'a>(packed: impl Read + 'a) -> io::Result<TarReader<io::Take<Box<dyn Read + 'a>>>> {
    let (start, packed) = decompress::peek(packed, 6)?;
    Ok(TarReader::new(decompress::unpack(packed, Packing::of(&start))?.take(MAX_UNPACKED)))
}

fn control_file(packed: impl Read) -> io::Result<String> {
    let mut reader = tar(packed)?;
    for _ in 0..MAX_MEMBERS {
        let entry = reader.next_raw().map_err(|error| bad(&error.to_string()))?;
        let entry = entry.ok_or_else(|| bad("its control.tar holds no control file"))?;
        if entry.path == b"./control" || entry.path == b"control" {
            if entry.size > MAX_CONTROL {
                return Err(bad("its control file is too large"));
            }
            let mut text = String::new();
            reader.by_ref().take(MAX_CONTROL).read_to_string(&mut text)?;
            return Ok(text);
        }
    }
    Err(bad("its control.tar has too many members"))
}

fn names(packed: impl Read) -> io::Result<Vec<String>> {
    let (mut reader, mut names, mut bytes) = (tar(packed)?, Vec::new(), 0);
    while let Some(entry) = reader.next_raw().map_err(|error| bad(&error.to_string()))? {
        if entry.header.entry_type().is_dir() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        let name = name.trim_start_matches("./").trim_start_matches('/');
        bytes += name.len();
        if names.len() >= MAX_MEMBERS || bytes > MAX_NAMES {
            return Err(bad("its data.tar has too many members"));
        }
        // A line of Contents cannot hold it.
        if !name.is_empty() && !name.chars().any(char::is_control) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

fn bad(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}
