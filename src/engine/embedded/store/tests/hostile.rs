use std::fs;

use tar::EntryType as T;

use super::super::unpack;
use super::{Bench, FILE, HARDLINK, SYMLINK, Tar};

#[tokio::test]
async fn names_and_links_that_leave_the_tree_are_refused() {
    let bench = Bench::new();
    let outside = bench.path("outside");
    fs::write(&outside, "untouched").unwrap();
    let dir = bench.dir.path().to_str().unwrap();
    for (layer, why) in [
        (Tar::default().file("../../../../outside", "x"), "leaves the root"),
        (Tar::default().file(outside.to_str().unwrap(), "x"), "leaves the root"),
        (Tar::default().file("a/../../outside", "x"), "leaves the root"),
        (Tar::default().entry("a", SYMLINK, dir, b"").file("a/outside", "x"), "through a symbolic link"),
        (Tar::default().entry("a", SYMLINK, dir, b"").file("a/.wh.outside", ""), "through a symbolic link"),
        (Tar::default().entry("a", SYMLINK, dir, b"").file("a/.wh..wh..opq", ""), "through a symbolic link"),
        (Tar::default().entry("a", SYMLINK, dir, b"").entry("b", HARDLINK, "a/outside", b""), "leads out"),
        (Tar::default().entry("b", HARDLINK, "../../outside", b""), "leads out"),
        (Tar::default().entry("b", HARDLINK, outside.to_str().unwrap(), b""), "does not hold"),
        (Tar::default().entry("b", HARDLINK, "nowhere", b""), "does not hold"),
        (Tar::default().entry("b", HARDLINK, "", b""), "hard link to a folder"),
        (Tar::default().file("a", "x").entry("a", HARDLINK, "a", b""), "to itself"),
        (Tar::default().folder("a/").entry("b", HARDLINK, "a", b""), "to a folder"),
        (Tar::default().file(".wh.a", "").entry("b", HARDLINK, "a", b""), "does not hold"),
        (Tar::default().file("a/.wh..", ""), "hides nothing"),
        (Tar::default().file("a/.wh...", ""), "hides nothing"),
        (Tar::default().file("a/.wh.", ""), "hides nothing"),
        (Tar::default().file(".wh.a/x", "x"), "lies in a whiteout"),
        (Tar::default().folder(".wh.a/"), "is a folder"),
        (Tar::default().file("a", "x").file("a/b", "x"), "no folder"),
        (Tar::default().folder("a/b/").file("a", "x"), "place of a folder"),
        (Tar::default().folder("a/b/").entry("a", SYMLINK, dir, b""), "place of a folder"),
        (Tar::default().file("a", "x").entry("b", HARDLINK, "a", b"").file("a", "y"), "several names"),
        (Tar::default().entry("a", SYMLINK, "", b""), "to nothing"),
        (Tar::default().file("./", "x"), "root folder"),
        (Tar::default().entry("./", SYMLINK, dir, b""), "root folder"),
    ] {
        let refused = bench.refused(&layer.end()).await;
        assert!(refused.contains(why), "{why}: {refused}");
    }
    assert_eq!(fs::read_to_string(outside).unwrap(), "untouched");
}

#[tokio::test]
async fn devices_and_unknown_kinds_are_refused() {
    let bench = Bench::new();
    for (name, kind, why) in [
        ("sda", T::Block, "block device"),
        ("dev/sda", T::Block, "block device"),
        ("etc/null", T::Char, "outside of /dev"),
        ("a", T::GNUSparse, "sparse"),
        ("a", T::new(b'Z'), "unknown type 'Z'"),
    ] {
        let refused = bench.refused(&Tar::default().entry(name, kind, "", b"").end()).await;
        assert!(refused.contains(why), "{why}: {refused}");
    }
    let sparse = Tar::default().pax(&[("GNU.sparse.major", b"1")]).file("a", "x").end();
    assert!(bench.refused(&sparse).await.contains("sparse"));
    for kind in [T::Directory, T::Symlink, T::Link, T::Fifo, T::Char] {
        let layer = Tar::default().file("x", "").entry("dev/x", kind, "x", b"content").end();
        let refused = bench.refused(&layer).await;
        assert!(refused.contains("is no file"), "{kind:?}: {refused}");
    }
}

#[tokio::test]
async fn numbers_that_are_none_and_depths_without_end_are_refused() {
    let bench = Bench::new();
    for (records, why) in [
        (&[("uid", &b"-1"[..])], "an owner"),
        (&[("gid", b"4294967295")], "an owner"),
        (&[("mtime", b"soon")], "a time"),
        (&[("mtime", b"1.x")], "a time"),
    ] {
        let refused = bench.refused(&Tar::default().pax(records).file("a", "x").end()).await;
        assert!(refused.contains(why), "{why}: {refused}");
    }
    let deep = "d/".repeat(300);
    let refused = bench.refused(&Tar::default().pax(&[("path", deep.as_bytes())]).folder("x").end()).await;
    assert!(refused.contains("deeper"), "{refused}");
    let mut cut = Tar::default().entry("a", FILE, "", &[7; 10_000]).end();
    cut.truncate(5000);
    assert!(bench.store.load(super::stream(super::archive_of(&[&cut])), "a:b").await.is_err());
}

#[tokio::test]
async fn a_layer_that_expands_without_end_is_refused() {
    let bench = Bench::new();
    let zeros = Tar::default().entry("zeros", FILE, "", &vec![0; 64 << 20]).end();
    let bomb = zstd::encode_all(&zeros[..], 3).unwrap();
    let archive = super::archive_with(&super::config_of(&[&zeros]), &[&bomb]);
    let refused = bench.refused_archive(archive).await;
    assert!(refused.contains("expands"), "{refused}");
}

#[test]
fn a_layer_has_a_largest_size_in_files_as_in_headers() {
    let files = Tar::default().entry("a", FILE, "", &[7; 5000]).end();
    let mut headers = Tar::default().folder("a/").end();
    headers.resize(8 << 10, 0);
    for (tar, most) in [(files, 5000), (headers, 8000)] {
        let dir = tempfile::tempdir().unwrap();
        let error = unpack::unpack(tar.as_slice(), &dir.path().join("."), most).unwrap_err();
        assert!(error.to_string().contains(&format!("more than {most} bytes")), "{error}");
        let dir = tempfile::tempdir().unwrap();
        unpack::unpack(tar.as_slice(), dir.path(), tar.len() as u64).unwrap();
    }
}
