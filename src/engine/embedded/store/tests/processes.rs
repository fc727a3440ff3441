//! Several processes and one store: they work at once, and they die.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::Store;
use super::{Bench, FILE, Tar, archive_of, file_of, stream};
use crate::engine::CommitSpec;
use crate::model::Digest;

/// The folder of a store, for [`another_process`], the tag that it gives, and how often.
const DIR: &str = "PACKHOLD_TEST_STORE";
const TAG: &str = "PACKHOLD_TEST_TAG";
const ROUNDS: &str = "PACKHOLD_TEST_ROUNDS";

/// Large enough that a kill may meet any point of a load.
fn layers() -> [Vec<u8>; 3] {
    [0, 1, 2].map(|layer| {
        let mut tar = Tar::default();
        for file in 0..150 {
            tar = tar.entry(&format!("{layer}/{}/{file}", file % 7), FILE, "", &vec![layer; 100 * file]);
        }
        tar.file(".wh.gone", "").end()
    })
}

fn archive() -> Vec<u8> {
    let layers = layers();
    archive_of(&[&layers[0], &layers[1], &layers[2]])
}

fn start(bench: &Bench, tag: &str, rounds: u32) -> Child {
    let this = std::env::current_exe().unwrap();
    let name = concat!(module_path!(), "::another_process").split_once("::").unwrap().1;
    Command::new(this)
        .args([name, "--exact", "--ignored"])
        .env(DIR, bench.path("store"))
        .env(TAG, tag)
        .env(ROUNDS, rounds.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
#[ignore = "it is a part of the others, as a process of its own"]
async fn another_process() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let (tag, rounds) = (std::env::var(TAG).unwrap(), std::env::var(ROUNDS).unwrap().parse().unwrap());
    let (dir, archive) = (Path::new(&dir), archive());
    let upper = dir.join(format!("../upper-{tag}"));
    fs::create_dir_all(upper.join("new")).unwrap();
    fs::write(upper.join("new/file"), vec![7; 300_000]).unwrap();
    for _ in 0..rounds {
        let store = Store::open(dir).unwrap();
        store.sweep().unwrap();
        let image = store.load(stream(archive.clone()), &tag).await.unwrap();
        let holder = dir.join(format!("../holder-{tag}"));
        fs::create_dir_all(&holder).unwrap();
        let lease = store.lease(&image.id, &holder).unwrap();
        let spec = CommitSpec { tag: format!("{tag}-2"), labels: Default::default(), comment: String::new() };
        store.commit(&lease, &upper, &spec).await.unwrap();
        fs::remove_dir(&holder).unwrap();
        if rounds > 1 {
            store.remove_tag(&tag).unwrap();
            store.remove_tag(&spec.tag).unwrap();
        }
    }
}

/// Whatever has a tag is whole; tells how many have one.
async fn check(bench: &Bench, tags: &[&str]) -> usize {
    let layers = layers();
    let mut found = 0;
    for tag in tags {
        let Some(image) = bench.store.named(tag).unwrap() else { continue };
        found += 1;
        // Saving proves all digests.
        let saved = bench.save(&image.id).await;
        for layer in &layers {
            assert!(file_of(&saved, &format!("{}.tar", Digest::of(layer).hex())) == *layer);
        }
    }
    found
}

#[tokio::test]
async fn whenever_a_process_is_killed_what_is_seen_is_whole_and_the_rest_goes() {
    let bench = Bench::new();
    let mut seen = Vec::new();
    let begun = Instant::now();
    assert!(start(&bench, "first:1", 1).wait().unwrap().success());
    let once = begun.elapsed();
    for tag in ["first:1", "first:1-2"] {
        bench.store.remove_tag(tag).unwrap();
    }
    for round in 0..30 {
        let mut child = start(&bench, "a:b", 1000);
        // Half of the kills wait for an image, and half of these no longer, so that some find one however slow the machine is.
        let tags = bench.path("store/tags");
        while round % 2 == 1 && fs::read_dir(&tags).unwrap().count() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if round % 4 != 1 {
            tokio::time::sleep(once * round / 40).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let found = check(&bench, &["a:b", "a:b-2"]).await;
        seen.push(found);
        let _ = fs::remove_dir(bench.path("holder-a:b"));
        bench.store.sweep().unwrap();
        assert_eq!(check(&bench, &["a:b", "a:b-2"]).await, found);
        assert_eq!(fs::read_dir(bench.path("store/tmp")).unwrap().count(), 0);
        if found == 0 {
            for folder in ["layers/sha256", "images", "tags", "leases"] {
                assert_eq!(fs::read_dir(bench.path("store").join(folder)).unwrap().count(), 0, "{folder}");
            }
        }
        for tag in ["a:b", "a:b-2"] {
            bench.store.remove_tag(tag).unwrap();
        }
    }
    assert!(seen.contains(&0) && seen.iter().any(|found| *found > 0), "kills at one point only: {seen:?}");
}

#[tokio::test]
async fn processes_that_bring_the_same_image_at_once_all_get_it() {
    let bench = Bench::new();
    for round in 0..3 {
        let tags = ["one:1", "two:1", "three:1"];
        let children = tags.map(|tag| start(&bench, tag, 1));
        for mut child in children {
            assert!(child.wait().unwrap().success(), "round {round}");
        }
        let committed = tags.map(|tag| format!("{tag}-2"));
        let all: Vec<&str> = tags.into_iter().chain(committed.iter().map(String::as_str)).collect();
        assert_eq!(check(&bench, &all).await, 6);
        // Three layers, and the change, whose folder has another time in each process.
        assert!((4..=6).contains(&bench.layers()), "{}", bench.layers());
        assert_eq!(fs::read_dir(bench.path("store/tmp")).unwrap().count(), 0);
        for tag in all {
            bench.store.remove_tag(tag).unwrap();
        }
    }
}

#[tokio::test]
async fn processes_that_make_and_remove_the_same_layers_do_not_spoil_each_other() {
    let bench = Bench::new();
    let children = ["one:1", "two:1"].map(|tag| start(&bench, tag, 12));
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    bench.store.sweep().unwrap();
    assert_eq!(bench.layers(), 0);
}
