//! What comes out of a container as a tar, which is hostile: nothing in it reaches a path that was not asked for.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tar::EntryType;

use crate::model::{Artifact, ArtifactKind, Format, Hasher};
use crate::support::fs::{FsError, PathContext};
use crate::support::tar_reader::{TarError, TarReader};
use crate::support::terminal_text::neutralise;

/// Artifacts that are more than this many are no packages.
const MOST_FILES: usize = 10_000;

/// What an entry of outputs counts at least, bytes: its header.
const ENTRY: u64 = 512;

/// Why what a build left is not accepted, or could not be taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// An entry that no artifact may be.
    Bad(String),
    /// More bytes than the limit allows.
    TooLarge,
    /// The stream broke, or is no tar.
    Stream(io::Error),
    /// This host could not store it.
    Disk(FsError),
}

impl From<TarError> for Refusal {
    fn from(error: TarError) -> Self {
        Self::Stream(match error {
            TarError::Io(error) => error,
            damaged => io::Error::new(io::ErrorKind::InvalidData, damaged),
        })
    }
}

/// Reads the tar of the folder of artifacts. Names that are no artifacts of `format` are told apart.
pub(super) fn take(
    stream: &mut dyn Read,
    format: Format,
    limit: u64,
    dest: &Path,
) -> Result<(Vec<Artifact>, Vec<String>), Refusal> {
    let mut artifacts: Vec<Artifact> = Vec::new();
    let mut ignored = Vec::new();
    let mut room = limit;
    let mut count = 0;
    let mut tar = TarReader::new(stream);
    while let Some(entry) = tar.next_raw()? {
        count += 1;
        if count > MOST_FILES {
            return Err(Refusal::Bad(format!("more than {MOST_FILES} files")));
        }
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path);
        let inside = path.split_once('/').map_or("", |(_, inside)| inside);
        let kind = entry.header.entry_type();
        if inside.is_empty() && kind == EntryType::Directory {
            continue;
        }
        let shown = neutralise(inside.as_bytes());
        let what = match kind {
            EntryType::Regular if entry.sparse => Some("a sparse file"),
            EntryType::Regular => None,
            EntryType::Directory => Some("a folder"),
            EntryType::Symlink => Some("a symbolic link"),
            EntryType::Link => Some("a hard link"),
            EntryType::Char | EntryType::Block => Some("a device"),
            EntryType::Fifo => Some("a named pipe"),
            _ => Some("a special file"),
        };
        if let Some(what) = what {
            return Err(Refusal::Bad(format!("{what} `{shown}`")));
        }
        if !is_plain(inside) {
            return Err(Refusal::Bad(format!("a file with the unsafe name `{shown}`")));
        }
        if artifacts.iter().any(|artifact| artifact.name == inside) {
            return Err(Refusal::Bad(format!("`{shown}` twice")));
        }
        room = room.checked_sub(entry.size).ok_or(Refusal::TooLarge)?;
        let Some(kind) = ArtifactKind::of(inside, format) else {
            ignored.push(inside.to_owned());
            continue;
        };
        let path: PathBuf = dest.join(inside);
        let file = File::create_new(&path).at("create", &path).map_err(Refusal::Disk)?;
        let mut hasher = Hasher::around(file);
        copy(&mut tar, &mut hasher, &path)?;
        let (digest, size, _) = hasher.finish();
        artifacts.push(Artifact { name: inside.to_owned(), kind, size, digest, package: None });
    }
    artifacts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((artifacts, ignored))
}

/// Copies and tells apart which side failed.
fn copy(from: &mut dyn Read, to: &mut dyn io::Write, path: &Path) -> Result<(), Refusal> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count]).at("write", path).map_err(Refusal::Disk)?,
            Err(error) => return Err(Refusal::Stream(error)),
        }
    }
}

/// A name that is one path component, hides nothing and says nothing to a shell.
fn is_plain(name: &str) -> bool {
    name.len() <= 255
        && !name.contains("..")
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._~^:%=".contains(c))
}

/// Headers, names and contents of files and folders.
type Entries = Vec<(tar::Header, String, Vec<u8>)>;

/// Reads hostile outputs of the prepare stage, which become those of `user`: regular files and folders, with plain
/// relative names and at most `limit` bytes, each below `parent`. What is wrong is told in words.
pub(super) fn repack(stream: &mut dyn Read, parent: &str, user: u64, limit: u64) -> Result<Entries, String> {
    let mut room = limit;
    let mut entries = Vec::new();
    let mut tar = TarReader::new(stream);
    while let Some(entry) = tar.next_raw().map_err(|error| error.to_string())? {
        let path = String::from_utf8_lossy(&entry.path).trim_end_matches('/').to_owned();
        let shown = neutralise(path.as_bytes());
        let kind = entry.header.entry_type();
        if !matches!(kind, EntryType::Regular | EntryType::Directory) || entry.sparse {
            return Err(format!("holds `{shown}`, which is neither a file nor a folder"));
        }
        if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(format!("holds the unsafe name `{shown}`"));
        }
        // An entry costs memory even if it is empty.
        room = room
            .checked_sub(entry.size.saturating_add(ENTRY))
            .ok_or_else(|| "is larger than `artifacts` in [limits]".to_owned())?;
        let mut content = Vec::new();
        tar.read_to_end(&mut content).map_err(|error| error.to_string())?;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(entry.header.mode().unwrap_or(0o644) & 0o755);
        header.set_uid(user);
        header.set_gid(user);
        header.set_mtime(0);
        entries.push((header, format!("{parent}{path}"), content));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o4755);
            // Past the builder's own checks: what a hostile engine or container would send.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            if *kind == EntryType::Symlink {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn take_from(
        entries: &[(&str, EntryType, &[u8])],
        limit: u64,
    ) -> (Result<Vec<Artifact>, String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let dest = folder.path().join("in");
        std::fs::create_dir(&dest).unwrap();
        let result = take(&mut &tar_of(entries)[..], Format::Deb, limit, &dest);
        let result = result.map(|(artifacts, _)| artifacts).map_err(|refusal| format!("{refusal:?}"));
        let escaped = std::fs::read_dir(folder.path()).unwrap().flatten();
        let escaped = escaped
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| name != "in")
            .collect();
        (result, escaped)
    }

    #[test]
    fn packages_are_taken_with_size_and_digest() {
        let entries = [
            ("out/", EntryType::Directory, &b""[..]),
            ("out/a_1_amd64.deb", EntryType::Regular, b"x"),
            ("out/notes", EntryType::Regular, b"y"),
        ];
        let (artifacts, _) = take_from(&entries, 10);
        let artifacts = artifacts.unwrap();
        assert_eq!((artifacts.len(), artifacts[0].size), (1, 1));
        assert_eq!(artifacts[0].digest, crate::model::Digest::of(b"x"));
    }

    #[test]
    fn nothing_but_regular_files_with_plain_names_is_taken() {
        for (path, kind) in [
            ("out/a.deb", EntryType::Symlink),
            ("out/a.deb", EntryType::Link),
            ("out/a.deb", EntryType::Char),
            ("out/a.deb", EntryType::Block),
            ("out/a.deb", EntryType::Fifo),
            ("out/sub", EntryType::Directory),
            ("out/../../escaped.deb", EntryType::Regular),
            ("out/..a.deb", EntryType::Regular),
            ("out/.hidden.deb", EntryType::Regular),
            ("out/sub/a.deb", EntryType::Regular),
            ("out/a b.deb", EntryType::Regular),
            ("out/-o.deb", EntryType::Regular),
            ("out//etc/cron.d/x.deb", EntryType::Regular),
        ] {
            let (result, escaped) = take_from(&[(path, kind, b"")], 10);
            assert!(result.unwrap_err().starts_with("Bad("), "{path} {kind:?}");
            assert!(escaped.is_empty(), "{path} wrote {escaped:?}");
        }
    }

    #[test]
    fn the_same_name_twice_and_too_many_bytes_are_refused() {
        let twice = [("out/a.deb", EntryType::Regular, &b"1"[..]), ("out/a.deb", EntryType::Regular, b"2")];
        assert!(take_from(&twice, 10).0.unwrap_err().contains("twice"));
        assert!(take_from(&twice[..1], 0).0.unwrap_err().contains("TooLarge"));
    }
}
