use std::fs;
use std::path::{Path, PathBuf};

use crate::model::Digest;
use crate::seal::{seal_documents, seal_sizes};

/// What separates the parts of an input, before the kind and a line feed.
const MARK: &[u8] = b"\n%% ";

/// What a part becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A blob under its digest.
    Blob,
    /// The bytes of a blob that is not stored: lists are about it.
    Ghost,
    /// A blob that holds the part as a Zstandard frame.
    Pack,
    /// A list of chunks for the ghost before it, sealed with its digest.
    List,
    /// The index.
    Index,
    /// What a remote says of a run.
    Bundle,
}

/// An archive that anyone may have written, taken from one input: parts that name each other by their numbers
/// so that digests and sizes fit however the parts are changed. Numbers from 80 (hexadecimal) on mean the digest of the bytes of
/// a list, and not of the blob that it is for.
pub struct Foreign {
    parts: Vec<(Kind, Digest, Vec<u8>)>,
}

impl Foreign {
    /// Reads an input; everything is one.
    pub fn new(input: &[u8]) -> Self {
        let mut foreign = Self { parts: Vec::new() };
        for part in split(input) {
            let line = part.iter().position(|byte| *byte == b'\n').unwrap_or(part.len());
            let (word, content) = part.split_at(line);
            let kind = match word {
                b"blob" => Kind::Blob,
                b"ghost" => Kind::Ghost,
                b"pack" => Kind::Pack,
                b"list" => Kind::List,
                b"bundle" => Kind::Bundle,
                _ => Kind::Index,
            };
            foreign.push(kind, content.get(1..).unwrap_or_default().to_vec());
        }
        foreign
    }

    fn push(&mut self, kind: Kind, mut content: Vec<u8>) {
        if kind == Kind::Pack {
            content = zstd::bulk::compress(&content, 1).unwrap_or_default();
        } else if kind != Kind::Ghost {
            seal_documents(&mut content, |number| {
                let (_, name, bytes) = self.parts.get(number & 0x7f)?;
                Some(if number < 0x80 { *name } else { Digest::of(bytes) })
            });
            seal_sizes(&mut content, |number| Some(self.parts.get(number)?.2.len()));
        }
        if kind == Kind::List {
            let digest = Digest::of(&content);
            content.extend(format!("end {}\n", digest.hex()).bytes());
            let ghost = self.parts.iter().rev().find(|(kind, ..)| *kind == Kind::Ghost);
            let name = ghost.map_or(digest, |(_, name, _)| *name);
            return self.parts.push((kind, name, content));
        }
        self.parts.push((kind, Digest::of(&content), content));
    }

    /// The last part of a kind.
    pub fn last(&self, kind: Kind) -> Option<&[u8]> {
        self.parts.iter().rev().find(|(of, ..)| *of == kind).map(|(.., bytes)| bytes.as_slice())
    }

    /// The files of the archive that would be written, as paths in it.
    pub fn files(&self) -> impl Iterator<Item = (PathBuf, &[u8])> {
        self.parts.iter().filter_map(|(kind, name, bytes)| {
            let path = match kind {
                Kind::Blob | Kind::Pack => format!("blobs/sha256/{}", name.hex()),
                Kind::List => format!("chunked/sha256/{}", name.hex()),
                Kind::Index => "index.json".to_owned(),
                Kind::Ghost | Kind::Bundle => return None,
            };
            Some((PathBuf::from(path), bytes.as_slice()))
        })
    }

    /// Writes it as an archive.
    pub fn write(&self, dir: &Path) {
        for folder in ["blobs/sha256", "chunked/sha256", "tmp"] {
            fs::create_dir_all(dir.join(folder)).expect("a new folder");
        }
        fs::write(dir.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).expect("a new file");
        fs::write(dir.join("index.json"), br#"{"schemaVersion":2,"manifests":[]}"#).expect("a new file");
        for (path, bytes) in self.files() {
            fs::write(dir.join(path), bytes).expect("a new file");
        }
    }
}

fn split(input: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = input.strip_prefix(&MARK[1..]).unwrap_or(input);
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        parts.push(&rest[..at]);
        rest = &rest[at + MARK.len()..];
    }
    parts.push(rest);
    parts
}
