//! Reading a tar stream that nobody vouches for: one pass, bounded memory, no name that leaves its folder.

use std::io::{self, Read};

/// Bytes of one tar block (POSIX.1-2017 pax, "ustar Interchange Format").
const BLOCK: usize = 512;

/// The most that an extension header (a long name, pax records) may hold. Linux paths end at 4 KiB.
const MAX_EXTENSION: u64 = 1 << 20;

/// The longest name or link, bytes (PATH_MAX of Linux). Whoever remembers names of strangers needs a bound.
const MAX_NAME: usize = 4096;

/// What is wrong with a tar stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// The stream ended inside an entry, or without the end marker.
    #[error("the tar ends early")]
    Truncated,
    /// A block is no tar header.
    #[error("the tar is damaged: {0}")]
    Damaged(String),
    /// A name is absolute, has a `..` component, or is no UTF-8.
    #[error("the tar holds the unsafe name `{0}`")]
    UnsafeName(String),
    /// Reading the stream failed.
    #[error("cannot read the tar")]
    Io(#[from] io::Error),
}

/// What an entry of a tar is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TarKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link; its target as it stands in the header.
    Symlink(String),
    /// A hard link; the name of an earlier entry as it stands in the header.
    Hardlink(String),
    /// Anything else (a device, a pipe, a sparse file): in words.
    Special(&'static str),
}

/// The header of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarEntry {
    /// Its name: relative, without `.` and `..` components and without a slash at the end.
    pub path: String,
    /// What it is.
    pub kind: TarKind,
    /// Bytes of its content.
    pub size: u64,
}

/// The header of one entry as it stands in the tar, its names not checked but for their length.
#[derive(Clone, Debug)]
pub struct RawEntry {
    /// Its name.
    pub path: Vec<u8>,
    /// Where it leads, if it is a link; else empty.
    pub link: Vec<u8>,
    /// Mode, owner, times and kind. Names and size may stand in extension headers instead.
    pub header: tar::Header,
    /// Bytes of its content.
    pub size: u64,
    /// True for a sparse file, of GNU's or of pax's kind: what follows is a map of it and not its content.
    pub sparse: bool,
    /// The records of its pax header, in their order: what they say of name, link and size is in those fields already.
    pub pax: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads a tar (ustar, GNU or pax) entry by entry. Between two calls of [`TarReader::next_entry`], reading from it gives
/// the content of the last entry; what is not read is skipped.
pub struct TarReader<R> {
    inner: R,
    left: u64,
    padding: u64,
    ended: bool,
}

/// What extension headers say of the entry that follows them.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
    pax: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> TarReader<R> {
    /// A reader of the tar that `inner` gives.
    pub fn new(inner: R) -> Self {
        Self { inner, left: 0, padding: 0, ended: false }
    }

    /// What gives the tar: what comes after the end marker can still be read from it.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry, or `None` at the end marker. A tar without an end marker is [`TarError::Truncated`].
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>, TarError> {
        self.next_raw()?.map(entry).transpose()
    }

    /// As [`TarReader::next_entry`], for who judges names and kinds otherwise.
    pub fn next_raw(&mut self) -> Result<Option<RawEntry>, TarError> {
        let mut extension = Extension::default();
        // Where readers of tars differ in what counts, what is judged here is not what another unpacks.
        let several = || TarError::Damaged("an entry with several extension headers".to_owned());
        let (mut gnu, mut pax) = (false, false);
        while let Some(header) = self.next_header()? {
            let size = extension.size.take().map_or_else(|| header.entry_size(), Ok);
            let size = size.map_err(|_| TarError::Damaged("a size that is no number".to_owned()))?;
            let padded = size.checked_next_multiple_of(BLOCK as u64);
            let padded = padded.ok_or_else(|| TarError::Damaged(format!("an entry of {size} bytes")))?;
            self.left = size;
            self.padding = padded - size;
            let kind = header.entry_type();
            let (is_gnu, is_pax) =
                (kind.is_gnu_longname() || kind.is_gnu_longlink(), kind.is_pax_local_extensions());
            if (is_gnu && pax)
                || (is_pax && (gnu || pax))
                || (kind.is_pax_global_extensions() && (gnu || pax))
            {
                return Err(several());
            }
            (gnu, pax) = (gnu || is_gnu, pax || is_pax);
            if kind.is_gnu_longname() {
                if extension.path.is_some() {
                    return Err(several());
                }
                extension.path = Some(without_nul(self.read_extension()?));
            } else if kind.is_gnu_longlink() {
                if extension.link.is_some() {
                    return Err(several());
                }
                extension.link = Some(without_nul(self.read_extension()?));
            } else if is_pax {
                read_pax(&self.read_extension()?, &mut extension)?;
            } else if kind.is_pax_global_extensions() {
                self.read_extension()?;
            } else {
                return raw(header, size, extension).map(Some);
            }
        }
        Ok(None)
    }

    /// Skips the rest of the current entry and reads one header; `None` at the end marker.
    fn next_header(&mut self) -> Result<Option<tar::Header>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let rest = self.left + self.padding;
        if io::copy(&mut (&mut self.inner).take(rest), &mut io::sink())? < rest {
            return Err(TarError::Truncated);
        }
        (self.left, self.padding) = (0, 0);
        let mut block = [0; BLOCK];
        self.inner.read_exact(&mut block).map_err(early)?;
        if block.iter().all(|b| *b == 0) {
            self.ended = true;
            return Ok(None);
        }
        if !is_header(&block) {
            return Err(TarError::Damaged("a header's checksum is wrong".to_owned()));
        }
        Ok(Some(tar::Header::from_byte_slice(&block).clone()))
    }

    fn read_extension(&mut self) -> Result<Vec<u8>, TarError> {
        if self.left > MAX_EXTENSION {
            return Err(TarError::Damaged(format!("an extension header of {} bytes", self.left)));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(early)?;
        Ok(bytes)
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, TarError::Truncated));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// True when `block` (512 bytes) is a tar header: its checksum fits.
pub fn is_header(block: &[u8]) -> bool {
    if block.len() != BLOCK {
        return false;
    }
    let checksum = 148..156;
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(if checksum.contains(&at) { b' ' } else { *byte }))
        .sum();
    tar::Header::from_byte_slice(block).cksum().is_ok_and(|stored| stored == sum)
}

/// `name` as a relative path without `.` components, or `None` if it is absolute, empty or has a `..` component.
pub fn safe_relative(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let safe = !name.starts_with('/') && !name.contains('\0') && !parts.contains(&"..");
    (safe && !name.is_empty()).then(|| parts.join("/"))
}

fn raw(header: tar::Header, size: u64, extension: Extension) -> Result<RawEntry, TarError> {
    let path = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let link = extension.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
    let link = link.unwrap_or_default();
    let longest = path.len().max(link.len());
    if longest > MAX_NAME {
        return Err(TarError::Damaged(format!("a name of {longest} bytes")));
    }
    let sparse = extension.sparse || header.entry_type() == tar::EntryType::GNUSparse;
    Ok(RawEntry { path, link, header, size, sparse, pax: extension.pax })
}

fn entry(RawEntry { path, link, header, size, sparse, .. }: RawEntry) -> Result<TarEntry, TarError> {
    let name = text(path)?;
    let path = safe_relative(&name).ok_or_else(|| TarError::UnsafeName(name.clone()))?;
    let link = text(link)?;
    let kind = match header.entry_type() {
        _ if sparse => TarKind::Special("a sparse file"),
        tar::EntryType::Regular | tar::EntryType::Continuous if name.ends_with('/') => TarKind::Directory,
        tar::EntryType::Regular | tar::EntryType::Continuous => TarKind::File,
        tar::EntryType::Directory => TarKind::Directory,
        tar::EntryType::Symlink => TarKind::Symlink(link),
        tar::EntryType::Link => TarKind::Hardlink(link),
        tar::EntryType::Char | tar::EntryType::Block => TarKind::Special("a device"),
        tar::EntryType::Fifo => TarKind::Special("a pipe"),
        _ => TarKind::Special("an entry of unknown type"),
    };
    Ok(TarEntry { path, kind, size })
}

/// Reads pax records (`LENGTH KEY=VALUE\n`; POSIX.1-2017 pax, "pax Extended Header").
fn read_pax(mut records: &[u8], extension: &mut Extension) -> Result<(), TarError> {
    let damaged = || TarError::Damaged("a pax record that cannot be read".to_owned());
    while !records.is_empty() {
        let space = records.iter().position(|b| *b == b' ').ok_or_else(damaged)?;
        let length: usize =
            std::str::from_utf8(&records[..space]).ok().and_then(|n| n.parse().ok()).ok_or_else(damaged)?;
        let record = records.get(space + 1..length).ok_or_else(damaged)?;
        let record = record.strip_suffix(b"\n").ok_or_else(damaged)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(damaged)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            key if key.starts_with(b"GNU.sparse.") => extension.sparse = true,
            // An empty value takes back what an earlier header has said (POSIX.1-2017 pax): nothing, here.
            _ if value.is_empty() => {}
            b"path" => extension.path = Some(value.to_vec()),
            b"linkpath" => extension.link = Some(value.to_vec()),
            b"size" => {
                let size = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok());
                extension.size = Some(size.ok_or_else(damaged)?);
            }
            _ => {}
        }
        extension.pax.push((key.to_vec(), value.to_vec()));
        records = &records[length..];
    }
    Ok(())
}

fn text(bytes: Vec<u8>) -> Result<String, TarError> {
    String::from_utf8(bytes)
        .map_err(|e| TarError::UnsafeName(String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

fn early(error: io::Error) -> TarError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => TarError::Truncated,
        _ => TarError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &[u8], kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header
    }

    fn tar_of(entries: &[(&[u8], tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, kind, content) in entries {
            bytes.extend(header(name, *kind, content.len() as u64).as_bytes());
            bytes.extend(*content);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }

    fn names(tar: &[u8]) -> Result<Vec<String>, TarError> {
        let mut reader = TarReader::new(tar);
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            names.push(entry.path);
        }
        Ok(names)
    }

    #[test]
    fn entries_are_read_in_order_and_unread_content_is_skipped() {
        let tar = tar_of(&[
            (b"./a/", tar::EntryType::Directory, b""),
            (b"./a/skipped", tar::EntryType::Regular, &[7; 1000]),
            (b"a/read", tar::EntryType::Regular, b"content"),
        ]);
        let mut reader = TarReader::new(tar.as_slice());
        assert_eq!(reader.next_entry().unwrap().unwrap().kind, TarKind::Directory);
        assert_eq!(reader.next_entry().unwrap().unwrap().size, 1000);
        assert_eq!(reader.next_entry().unwrap().unwrap().path, "a/read");
        let mut content = String::new();
        reader.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        assert_eq!(reader.next_entry().unwrap(), None);
        assert_eq!(reader.next_entry().unwrap(), None);
    }

    #[test]
    fn long_names_of_gnu_and_pax_tars_are_read() {
        let long = format!("{}/file", "d".repeat(200));
        let gnu = tar_of(&[
            (b"././@LongLink", tar::EntryType::GNULongName, format!("{long}\0").as_bytes()),
            (b"short", tar::EntryType::Regular, b"x"),
        ]);
        assert_eq!(names(&gnu).unwrap(), [long.as_str()]);
        let record = format!("{} path={long}\n", 10 + long.len());
        let pax = tar_of(&[
            (b"pax", tar::EntryType::XHeader, record.as_bytes()),
            (b"short", tar::EntryType::Regular, b"x"),
        ]);
        assert_eq!(names(&pax).unwrap(), [long.as_str()]);
    }

    #[test]
    fn a_size_in_a_pax_record_replaces_that_of_the_header() {
        let mut tar = tar_of(&[(b"pax", tar::EntryType::XHeader, b"9 size=3\n")]);
        tar.truncate(tar.len() - 2 * BLOCK);
        let mut entry = header(b"big", tar::EntryType::Regular, 0).as_bytes().to_vec();
        entry.extend(b"abc");
        entry.resize(2 * BLOCK, 0);
        tar.extend(entry);
        tar.resize(tar.len() + 2 * BLOCK, 0);
        assert_eq!(names(&tar).unwrap(), ["big"]);
    }

    #[test]
    fn a_name_that_leaves_its_folder_is_refused() {
        for name in [&b"../x"[..], b"/etc/passwd", b"a/../../x", b"\xff"] {
            let tar = tar_of(&[(name, tar::EntryType::Regular, b"")]);
            assert!(matches!(names(&tar), Err(TarError::UnsafeName(_))), "{name:?}");
        }
        let record = b"18 path=../escape\n";
        let tar =
            tar_of(&[(b"pax", tar::EntryType::XHeader, record), (b"fine", tar::EntryType::Regular, b"")]);
        assert!(matches!(names(&tar), Err(TarError::UnsafeName(_))));
    }

    #[test]
    fn a_tar_that_ends_early_is_told_from_one_that_ends() {
        let whole = tar_of(&[(b"a", tar::EntryType::Regular, &[1; 600])]);
        assert!(names(&whole).is_ok());
        for length in [0, 100, BLOCK, BLOCK + 600, 3 * BLOCK - 1, 3 * BLOCK] {
            assert!(matches!(names(&whole[..length]), Err(TarError::Truncated)), "{length}");
        }
        let mut reader = TarReader::new(&whole[..BLOCK + 10]);
        reader.next_entry().unwrap();
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    /// A pax record, with its own length in front.
    fn record(key: &str, value: &str) -> String {
        let rest = format!(" {key}={value}\n");
        let length = (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length).unwrap();
        format!("{length}{rest}")
    }

    #[test]
    fn what_other_readers_would_read_otherwise_is_refused_or_read_as_they_do() {
        let (pax, long, global) =
            (tar::EntryType::XHeader, tar::EntryType::GNULongName, tar::EntryType::XGlobalHeader);
        let path = record("path", "other");
        let file: (&[u8], tar::EntryType, &[u8]) = (b"../named", tar::EntryType::Regular, b"");
        let empty = record("path", "");
        let tar = tar_of(&[(b"x", pax, empty.as_bytes()), file]);
        assert!(matches!(names(&tar), Err(TarError::UnsafeName(name)) if name == "../named"));
        for headers in [
            [(&b"x"[..], pax, path.as_bytes()), (&b"x"[..], pax, path.as_bytes())],
            [(b"x", long, b"long\0"), (b"x", pax, path.as_bytes())],
            [(b"x", pax, path.as_bytes()), (b"x", long, b"long\0")],
            [(b"x", long, b"long\0"), (b"x", long, b"longer\0")],
            [(b"x", pax, path.as_bytes()), (b"x", global, path.as_bytes())],
        ] {
            let tar = tar_of(&[headers[0], headers[1], file]);
            assert!(matches!(names(&tar), Err(TarError::Damaged(_))), "{headers:?}");
        }
    }

    #[test]
    fn damage_and_huge_extension_headers_are_refused() {
        let mut tar = tar_of(&[(b"a", tar::EntryType::Regular, b"")]);
        tar[0] ^= 1;
        assert!(matches!(names(&tar), Err(TarError::Damaged(_))));
        let huge = header(b"pax", tar::EntryType::XHeader, 1 << 40).as_bytes().to_vec();
        assert!(matches!(names(&huge), Err(TarError::Damaged(_))));
        for record in [&b"5 a=b"[..], b"999 a=b\n", b"x", b"0 a=b\n", b"3 \n"] {
            let tar = tar_of(&[(b"pax", tar::EntryType::XHeader, record)]);
            assert!(matches!(names(&tar), Err(TarError::Damaged(_))), "{record:?}");
        }
    }

    #[test]
    fn a_size_that_no_stream_can_hold_is_refused() {
        for size in [u64::MAX, u64::MAX - 600] {
            let record = format!("30 size={size:021}\n");
            let tar = tar_of(&[
                (b"pax", tar::EntryType::XHeader, record.as_bytes()),
                (b"a", tar::EntryType::Regular, b""),
            ]);
            assert!(matches!(names(&tar), Err(TarError::Damaged(_) | TarError::Truncated)), "{size}");
        }
    }

    #[test]
    fn what_is_neither_file_folder_nor_link_is_told() {
        for kind in
            [tar::EntryType::Char, tar::EntryType::Block, tar::EntryType::Fifo, tar::EntryType::GNUSparse]
        {
            let tar = tar_of(&[(b"a", kind, b"")]);
            let entry = TarReader::new(tar.as_slice()).next_entry().unwrap().unwrap();
            assert!(matches!(entry.kind, TarKind::Special(_)), "{kind:?}");
        }
    }
}
