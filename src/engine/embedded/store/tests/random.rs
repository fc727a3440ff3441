//! Layers that nobody would write: whatever is accepted comes back byte for byte, and nothing leaves its folder.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tar::EntryType as T;

use super::super::layout::TREE;
use super::super::{save, unpack};
use super::Tar;
use crate::model::Digest;

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    kind: T,
    link: String,
    content: Vec<u8>,
    long: bool,
}

fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        30 => prop::sample::select(vec!["a", "b", "c", "d", "e"]).prop_map(str::to_owned),
        6 => prop::sample::select(vec![".wh.a", ".wh.b", ".wh..wh..opq", ".wh..wh.plnk", ".", "dev", ""])
            .prop_map(str::to_owned),
        1 => prop::sample::select(vec![".wh..", ".."]).prop_map(str::to_owned),
    ];
    (prop::collection::vec(part, 1..4), any::<bool>())
        .prop_map(|(parts, slash)| parts.join("/") + if slash { "/" } else { "" })
}

fn entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![
        6 => Just(T::Regular), 3 => Just(T::Directory), 2 => Just(T::Symlink), 2 => Just(T::Link),
        1 => Just(T::Fifo), 1 => Just(T::Char), 1 => Just(T::Continuous), 1 => Just(T::XGlobalHeader),
    ];
    let content = prop::collection::vec(any::<u8>(), 0..700);
    (name(), kind, name(), content, any::<bool>(), 0..20_u8).prop_map(
        |(mut name, kind, link, content, long, odd)| {
            let has_content = matches!(kind, T::Regular | T::Continuous);
            let content = if has_content { content } else { Vec::new() };
            // What every layer with such an entry would be refused for is seldom.
            if odd > 0 && kind == T::Char {
                name = format!("dev/{name}");
            }
            if odd > 0 && has_content {
                name.truncate(name.trim_end_matches('/').len());
            }
            Entry { name, kind, link, content, long }
        },
    )
}

/// Most hard links are to what is there.
fn layer() -> impl Strategy<Value = Vec<Entry>> {
    (prop::collection::vec(entry(), 1..8), any::<prop::sample::Index>()).prop_map(|(mut entries, any)| {
        for at in 1..entries.len() {
            if entries[at].kind == T::Link && any.index(4) > 0 {
                let files = entries[..at].iter().filter(|entry| entry.kind == T::Regular);
                let files: Vec<String> = files.map(|entry| entry.name.clone()).collect();
                if !files.is_empty() {
                    entries[at].link.clone_from(&files[any.index(files.len())]);
                }
            }
        }
        entries
    })
}

fn tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut tar = Tar::default();
    for entry in entries {
        let name = match entry.long {
            true => {
                tar = tar.pax(&[("path", entry.name.as_bytes())]);
                "short"
            }
            false => &entry.name,
        };
        tar = tar.entry(name, entry.kind, &entry.link, &entry.content);
    }
    tar.end()
}

fn names(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        if path.symlink_metadata().unwrap().is_dir() {
            names(&path, found);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_comes_back_and_nothing_leaves_its_folder(entries in layer()) {
        let tar = tar_of(&entries);
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("layer");
        fs::create_dir(&dir).unwrap();
        if unpack::unpack(tar.as_slice(), &dir, 1 << 20).is_ok() {
            let mut back = Vec::new();
            let saved = save::write_layer(&dir, &Digest::of(&tar), tar.len() as u64, &mut back);
            prop_assert!(saved.is_ok(), "{saved:?}");
            prop_assert!(back == tar);
        }
        prop_assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
        let mut found = Vec::new();
        names(&dir.join(TREE), &mut found);
        prop_assert!(found.iter().all(|name| !name.starts_with(".wh.")), "{found:?}");
    }
}
