use std::collections::BTreeMap;
use std::io::{self, Read};

/// What a path is: a tar header of its kind, mode, owner and time, and a file's bytes.
#[derive(Clone)]
struct Entry {
    header: tar::Header,
    bytes: Vec<u8>,
}

/// A tree of files by absolute path.
#[derive(Clone, Default)]
pub(super) struct Files(BTreeMap<String, Entry>);

impl Files {
    pub(super) fn from_tar(tar: &[u8]) -> io::Result<Self> {
        let mut files = Self::default();
        for entry in tar::Archive::new(tar).entries()? {
            let mut entry = entry?;
            let path = format!("/{}", String::from_utf8_lossy(&entry.path_bytes()).trim_matches('/'));
            let header = entry.header().clone();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            files.insert(path, Entry { header, bytes });
        }
        Ok(files)
    }

    /// Everything at and below `top`, with names that begin with its last component.
    pub(super) fn to_tar(&self, top: &str) -> Vec<u8> {
        let top = top.trim_end_matches('/');
        let above = top.rfind('/').unwrap_or(0);
        let mut tar = tar::Builder::new(Vec::new());
        for (path, entry) in &self.0 {
            if path == top
                || path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
            {
                let name = path[above..].trim_start_matches('/');
                // Writing to memory does not fail.
                _ = tar.append_data(&mut entry.header.clone(), name, entry.bytes.as_slice());
            }
        }
        tar.into_inner().unwrap_or_default()
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn add_below(&mut self, path: &str, other: Self) {
        for (name, entry) in other.0 {
            self.insert(format!("{}{name}", path.trim_end_matches('/')), entry);
        }
    }

    pub(super) fn has(&self, path: &str) -> bool {
        path == "/" || self.0.contains_key(path.trim_end_matches('/'))
    }

    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.get(path).map(|entry| entry.bytes.clone())
    }

    /// Regular files.
    pub(super) fn regular(self) -> BTreeMap<String, Vec<u8>> {
        let regular = self.0.into_iter().filter(|(_, entry)| entry.header.entry_type().is_file());
        regular.map(|(path, entry)| (path, entry.bytes)).collect()
    }

    /// Makes a file and the folders above it; `owner` is `uid:gid`.
    pub(super) fn write(&mut self, path: &str, bytes: &[u8], owner: &str) {
        let (uid, gid) = owner.split_once(':').unwrap_or((owner, owner));
        let mut header = header(tar::EntryType::Regular, 0o644);
        header.set_uid(uid.parse().unwrap_or(0));
        header.set_gid(gid.parse().unwrap_or(0));
        header.set_size(bytes.len() as u64);
        self.insert(path.to_owned(), Entry { header, bytes: bytes.to_owned() });
    }

    pub(super) fn folder(&mut self, path: &str) {
        self.insert(
            path.to_owned(),
            Entry { header: header(tar::EntryType::Directory, 0o755), bytes: Vec::new() },
        );
    }

    fn insert(&mut self, path: String, entry: Entry) {
        if let Some((above, _)) = path.rsplit_once('/')
            && !above.is_empty()
            && !self.has(above)
        {
            self.folder(above);
        }
        self.0.insert(path, entry);
    }
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}
