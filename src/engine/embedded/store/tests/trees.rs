use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::{Bench, FILE, HARDLINK, SYMLINK, Tar, is_opaque, is_whiteout};

#[tokio::test]
async fn owners_modes_times_and_links_are_what_the_layer_says() {
    let bench = Bench::new();
    let layer = Tar::default()
        .with("./", super::FOLDER, "", b"", |header| header.set_mode(0o711))
        .with("tmp/", super::FOLDER, "", b"", |header| header.set_mode(0o1777))
        .with("bin/su", FILE, "", b"program", |header| {
            header.set_mode(0o4755);
            header.set_uid(3);
            header.set_gid(70_000);
        })
        .entry("bin/link", SYMLINK, "../../../etc/passwd", b"")
        .entry("bin/other", HARDLINK, "/bin/su", b"")
        .with("pipe", tar::EntryType::Fifo, "", b"", |header| header.set_mode(0o622))
        .file("empty", "")
        .end();
    let tree = bench.tree(&layer).await;
    let of = |path: &str| tree.join(path).symlink_metadata().unwrap();
    assert_eq!(tree.metadata().unwrap().mode() & 0o7777, 0o711);
    assert_eq!((of("tmp").mode() & 0o7777, of("tmp").mtime()), (0o1777, 1_000_000_000));
    assert_eq!((of("bin").mode() & 0o7777, of("bin").mtime()), (0o755, 0), "nobody describes it");
    let su = of("bin/su");
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.mtime()), (0o4755, 3, 70_000, 1_000_000_000));
    assert_eq!(of("bin/other").ino(), su.ino());
    assert_eq!(fs::read_link(tree.join("bin/link")).unwrap().to_str(), Some("../../../etc/passwd"));
    assert_eq!(of("bin/link").mtime(), 1_000_000_000);
    assert!(of("pipe").file_type().is_fifo());
    assert_eq!(of("pipe").mode() & 0o7777, 0o622);
    assert_eq!(of("empty").len(), 0);
}

#[tokio::test]
async fn whiteouts_and_opaque_folders_become_those_of_overlayfs() {
    let bench = Bench::new();
    let layer = Tar::default()
        .file("a/.wh.gone", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "x")
        // A whiteout hides what lower layers have, and nothing of its own, whichever comes first.
        .file(".wh.before", "")
        .file("before/file", "x")
        .folder("after/")
        .file(".wh.after", "")
        .file("file", "x")
        .file(".wh.file", "")
        .file(".wh.file2", "")
        .file("file2", "x")
        .folder("plain/")
        // As aufs wrote them.
        .file(".wh..wh.aufs", "")
        .file(".wh..wh.plnk/1.2", "content")
        .entry("a/.wh.linked", HARDLINK, "a/.wh.gone", b"")
        .end();
    let tree = bench.tree(&layer).await;
    for path in ["a/gone", "a/linked"] {
        assert!(is_whiteout(&tree.join(path)), "{path}");
    }
    for (path, opaque) in
        [("opaque", true), ("before", true), ("after", true), ("plain", false), ("a", false)]
    {
        assert_eq!(is_opaque(&tree.join(path)), opaque, "{path}");
    }
    for path in ["opaque/new", "before/file", "file", "file2"] {
        assert_eq!(fs::read_to_string(tree.join(path)).unwrap(), "x", "{path}");
    }
    let names: Vec<_> = fs::read_dir(&tree).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with(".wh.")), "{names:?}");
}

#[tokio::test]
async fn what_pax_and_gnu_headers_say_counts() {
    let bench = Bench::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let target = "t".repeat(300);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = Tar::default()
        .entry("pax_global", tar::EntryType::XGlobalHeader, "", b"14 comment=xx\n")
        .pax(&[("path", long.as_bytes()), ("uid", b"3000000"), ("mtime", b"1.25"), ("size", b"3")])
        .with("short", FILE, "", b"abc", |header| header.set_size(0))
        .pax(&[("mtime", b"-1.25")])
        .file("old", "")
        .pax(&[("linkpath", target.as_bytes())])
        .entry("link", SYMLINK, "x", b"")
        .entry("././@LongLink", tar::EntryType::GNULongName, "", format!("gnu/{long}\0").as_bytes())
        .file("short", "gnu")
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.note", b"kept"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
        ])
        .file("ping", "x")
        .end();
    let tree = bench.tree(&layer).await;
    let found = fs::metadata(tree.join(&long)).unwrap();
    assert_eq!((found.uid(), found.mtime(), found.mtime_nsec(), found.len()), (3_000_000, 1, 250_000_000, 3));
    let old = fs::metadata(tree.join("old")).unwrap();
    assert_eq!((old.mtime(), old.mtime_nsec()), (-2, 750_000_000));
    assert_eq!(fs::read_link(tree.join("link")).unwrap().to_str(), Some(target.as_str()));
    assert_eq!(fs::read_to_string(tree.join("gnu").join(&long)).unwrap(), "gnu");
    let mut list = [0; 1024];
    let length = rustix::fs::listxattr(tree.join("ping"), &mut list[..]).unwrap();
    let mut names: Vec<_> = list[..length].split(|b| *b == 0).filter(|name| !name.is_empty()).collect();
    names.sort();
    assert_eq!(names, [&b"security.capability"[..], b"user.note"]);
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(tree.join("ping"), "security.capability", &mut value[..]).unwrap();
    assert_eq!(value[..length], capability);
}

#[tokio::test]
async fn a_name_that_comes_twice_counts_as_it_came_last_and_the_layer_stays_the_same() {
    let bench = Bench::new();
    let layer = Tar::default()
        .file("a", "first")
        .file("a", "second one")
        .file("a", "")
        .file("a", "last")
        .file("b", "was a file")
        .entry("b", SYMLINK, "a", b"")
        .entry("c", SYMLINK, "a", b"")
        .file("c", "is a file")
        .folder("d/")
        .with("d/", super::FOLDER, "", b"", |header| header.set_mode(0o700))
        .end();
    let tree = bench.tree(&layer).await;
    assert_eq!(fs::read_to_string(tree.join("a")).unwrap(), "last");
    assert_eq!(fs::read_link(tree.join("b")).unwrap().to_str(), Some("a"));
    assert_eq!(fs::read_to_string(tree.join("c")).unwrap(), "is a file");
    assert_eq!(fs::metadata(tree.join("d")).unwrap().mode() & 0o7777, 0o700);
}

#[tokio::test]
async fn devices_of_dev_come_back_and_are_not_in_the_tree() {
    let bench = Bench::new();
    let device = |major, minor| {
        move |header: &mut tar::Header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        }
    };
    let layer = Tar::default()
        .with("dev/null", tar::EntryType::Char, "", b"", device(1, 3))
        .with("dev/console", tar::EntryType::Char, "", b"", device(0, 0))
        .folder("dev/pts/")
        .end();
    let tree = bench.tree(&layer).await;
    let names: Vec<_> = fs::read_dir(tree.join("dev")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["pts"]);
}

#[tokio::test]
async fn what_follows_the_end_marker_and_tars_without_one_come_back() {
    let bench = Bench::new();
    let mut padded = Tar::default().file("a", "x").end();
    padded.resize(20 << 10, 0);
    bench.tree(&padded).await;
    padded.extend(b"and something else");
    bench.tree(&padded).await;
    let whole = Tar::default().file("a", "x").end();
    bench.tree(&whole[..1024]).await;
    bench.tree(&vec![0; 1024]).await;
}
