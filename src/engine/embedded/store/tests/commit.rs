use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::{Bench, Tar, file_of, is_opaque, is_whiteout, names_of};
use crate::engine::{CommitSpec, EngineError};

fn spec(tag: &str) -> CommitSpec {
    let labels = BTreeMap::from([("role".to_owned(), "deps".to_owned())]);
    CommitSpec { tag: tag.to_owned(), labels, comment: "a change".to_owned() }
}

fn node(path: &Path, kind: FileType, device: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device).unwrap();
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// An upper folder that has all that overlays have.
fn upper(bench: &Bench) -> std::path::PathBuf {
    let upper = bench.path("upper");
    let long = "l".repeat(150);
    fs::create_dir_all(upper.join("opaque/inner")).unwrap();
    fs::create_dir_all(upper.join("etc")).unwrap();
    attribute(&upper.join("opaque"), "trusted.overlay.opaque", b"y");
    attribute(&upper.join("etc"), "trusted.overlay.origin", b"\0\x01");
    node(&upper.join("etc/gone"), FileType::CharacterDevice, 0);
    fs::write(upper.join("etc/one"), "one").unwrap();
    fs::hard_link(upper.join("etc/one"), upper.join("etc/two")).unwrap();
    fs::write(upper.join(&long), "long").unwrap();
    symlink(&long, upper.join("link")).unwrap();
    fs::write(upper.join("su"), "su").unwrap();
    chown(upper.join("su"), Some(3_000_000), Some(4)).unwrap();
    fs::set_permissions(upper.join("su"), fs::Permissions::from_mode(0o4755)).unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    fs::write(upper.join("ping"), "").unwrap();
    attribute(&upper.join("ping"), "security.capability", &capability);
    node(&upper.join("pipe"), FileType::Fifo, 0);
    node(&upper.join("socket"), FileType::Socket, 0);
    upper
}

#[tokio::test]
async fn a_change_becomes_a_layer_on_top_of_what_it_changes() {
    let bench = Bench::new();
    let lower = Tar::default().file("etc/gone", "x").end();
    let base = bench.load(&[&lower], "base:1").await;
    let holder = bench.holder("container");
    let lease = bench.store.lease(&base.id, &holder).unwrap();
    let upper = upper(&bench);
    let image = bench.store.commit(&lease, &upper, &spec("deps:1")).await.unwrap();
    assert_eq!(image.layers.len(), 2);
    assert_eq!(image.layers[0], base.layers[0]);
    assert_eq!((image.labels["role"].as_str(), image.labels["made-by"].as_str()), ("deps", "test"));
    assert_eq!(bench.store.named("deps:1").unwrap(), Some(image.clone()));

    let made = bench.store.lease(&image.id, &holder).unwrap();
    assert_eq!((&made.config.env, &made.config.cmd), (&lease.config.env, &lease.config.cmd));
    let tree = &made.lower[1];
    assert!(is_whiteout(&tree.join("etc/gone")));
    assert!(is_opaque(&tree.join("opaque")) && !is_opaque(&tree.join("etc")));
    assert_eq!(fs::read_to_string(tree.join("link")).unwrap(), "long");
    let same = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        let of = |root: &Path| {
            let found = root.join(path).symlink_metadata().unwrap();
            (found.mode(), found.uid(), found.gid(), found.mtime(), found.nlink())
        };
        assert_eq!(of(tree), of(&upper), "{path}");
    };
    for path in ["su", "etc", "etc/one", "etc/two", "opaque/inner", "pipe", "link", "ping"] {
        same(path);
    }
    let mut value = [0; 64];
    assert_eq!(rustix::fs::getxattr(tree.join("ping"), "security.capability", &mut value[..]), Ok(20));
    assert!(!tree.join("socket").exists());

    let saved = bench.save(&image.id).await;
    let layer = file_of(&saved, &format!("{}.tar", image.layers[1].hex()));
    let names = names_of(&layer);
    assert_eq!(names[..4], ["etc/", "etc/.wh.gone", "etc/one", "etc/two"]);
    assert!(names.contains(&"opaque/.wh..wh..opq".to_owned()));
    let other = Bench::new();
    assert_eq!(other.store.load(super::stream(saved), "deps:1").await.unwrap(), image);
}

#[tokio::test]
async fn the_same_change_gives_the_same_image_and_no_change_an_empty_layer() {
    let bench = Bench::new();
    let base = bench.load(&[&Tar::default().end()], "base:1").await;
    let lease = bench.store.lease(&base.id, &bench.holder("container")).unwrap();
    let upper = upper(&bench);
    let one = bench.store.commit(&lease, &upper, &spec("one:1")).await.unwrap();
    // A folder's entries come in another order when they were made in another.
    let moved = bench.path("moved");
    fs::rename(upper.join("etc/one"), &moved).unwrap();
    let times = upper.join("etc").metadata().unwrap();
    fs::write(upper.join("etc/temporary"), "").unwrap();
    fs::rename(&moved, upper.join("etc/one")).unwrap();
    fs::remove_file(upper.join("etc/temporary")).unwrap();
    fs::File::open(upper.join("etc")).unwrap().set_modified(times.modified().unwrap()).unwrap();
    let two = bench.store.commit(&lease, &upper, &spec("two:1")).await.unwrap();
    assert_eq!(one, two);

    let none = bench.path("none");
    fs::create_dir(&none).unwrap();
    let empty = bench.store.commit(&lease, &none, &spec("empty:1")).await.unwrap();
    assert_eq!(empty.layers.len(), 2);
    assert_ne!(empty.id, base.id);
}

#[tokio::test]
async fn what_a_layer_cannot_say_is_refused() {
    let bench = Bench::new();
    let base = bench.load(&[&Tar::default().end()], "base:1").await;
    let lease = bench.store.lease(&base.id, &bench.holder("container")).unwrap();
    type Make = fn(&Path);
    let cases: [(Make, &str); 6] = [
        (|path| fs::write(path.join(".wh.x"), "").unwrap(), "means something else"),
        (|path| fs::create_dir(path.join(".wh..wh..opq")).unwrap(), "means something else"),
        (|path| node(&path.join("disk"), FileType::BlockDevice, rustix::fs::makedev(8, 0)), "is a device"),
        (
            |path| node(&path.join("null"), FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
            "is a device",
        ),
        (
            |path| {
                fs::create_dir(path.join("moved")).unwrap();
                attribute(&path.join("moved"), "trusted.overlay.redirect", b"/other");
            },
            "redirect_dir",
        ),
        (
            |path| {
                fs::write(path.join("meta"), "").unwrap();
                attribute(&path.join("meta"), "trusted.overlay.metacopy", b"");
            },
            "metacopy",
        ),
    ];
    for (at, (make, why)) in cases.into_iter().enumerate() {
        let upper = bench.path(&format!("upper-{at}"));
        fs::create_dir(&upper).unwrap();
        make(&upper);
        match bench.store.commit(&lease, &upper, &spec("bad:1")).await {
            Err(EngineError::Refused { message, .. }) => assert!(message.contains(why), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.store.named("bad:1").unwrap(), None);
    assert_eq!(bench.layers(), 1);
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_makes_no_image() {
    let bench = Bench::new();
    let base = bench.load(&[&Tar::default().end()], "base:1").await;
    let lease = bench.store.lease(&base.id, &bench.holder("container")).unwrap();
    let upper = bench.path("upper");
    fs::create_dir(&upper).unwrap();
    for file in 0..20 {
        fs::write(upper.join(file.to_string()), vec![file; 1 << 20]).unwrap();
    }
    let spec = spec("late:1");
    let mut committing = Box::pin(bench.store.commit(&lease, &upper, &spec));
    let left = || fs::read_dir(bench.path("store/tmp")).unwrap().count();
    while left() == 0 {
        let some_time = tokio::time::sleep(std::time::Duration::from_millis(1));
        tokio::select! {
            made = &mut committing => panic!("{made:?}"),
            () = some_time => {}
        }
    }
    drop(committing);
    while left() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(bench.store.named("late:1").unwrap(), None);
    assert_eq!(bench.layers(), 1);
}
