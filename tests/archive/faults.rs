//! A full disk, a folder that cannot be written, and several writers at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use packhold::archive::{Archive, KeepPolicy};
use packhold::model::RunId;

use super::{add_run, must, packhold, try_run};

/// Mounted until it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(words: &[&str], at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        must("mount", &[words, &[at.to_str().unwrap()]].concat());
        Self(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn is_whole(archive: &Archive, id: &RunId) {
    let run = archive.run(id.as_str()).unwrap();
    for file in &run.files {
        archive.copy_blob(&file.digest, &mut std::io::sink()).unwrap();
    }
    for image in &run.record.images {
        archive.export_docker_archive(&image.id, None, std::io::sink()).unwrap();
    }
}

#[test]
fn on_a_full_disk_what_was_reported_is_whole_and_there_is_no_other_run() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Mount::new(&["-t", "tmpfs", "-o", "size=3m", "tmpfs"], &dir.path().join("disk"));
    let path = disk.0.join("archive");
    let mut reported = Vec::new();
    let error = loop {
        let archive = Archive::open_or_create(&path).unwrap();
        match try_run(&archive, u32::try_from(reported.len()).unwrap(), jiff::Timestamp::now()) {
            Ok(id) => reported.push(id),
            Err(error) => break error,
        }
        assert!(reported.len() < 1000, "the disk is never full");
    };
    assert!(error.is_full(), "{error}");
    let report = packhold::archive::verify(&path, |_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    let archive = Archive::open(&path).unwrap();
    assert_eq!(archive.runs().unwrap().len(), reported.len());
    reported.iter().for_each(|id| is_whole(&archive, id));
    // A prune needs room for the new index only, and gives room.
    archive.prune(&KeepPolicy { last: Some(2), ..KeepPolicy::default() }, jiff::Timestamp::now()).unwrap();
    add_run(&archive, 5000);
    assert!(packhold::archive::verify(&path, |_| ()).unwrap().is_sound());
    println!("{} runs before the disk was full", reported.len());
}

#[test]
fn an_archive_that_cannot_be_written_is_read_and_says_why_it_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    let id = add_run(&Archive::open_or_create(&path).unwrap(), 1);
    let media = Mount::new(&["--bind", path.to_str().unwrap()], &dir.path().join("media"));
    must("mount", &["-o", "remount,bind,ro", media.0.to_str().unwrap()]);
    let out = dir.path().join("out");
    for words in [
        &["list"][..],
        &["show", "latest"],
        &["verify"],
        &["restore", "latest", "--to", out.to_str().unwrap()],
    ] {
        let (said, status) = packhold(&media.0, words);
        assert_eq!(status, Some(0), "{words:?}: {said}");
    }
    let archive = Archive::open(&media.0).unwrap();
    is_whole(&archive, &id);
    assert!(archive.keep_image(&archive.run("latest").unwrap().record.images[0].id).unwrap());
    let (said, status) = packhold(&media.0, &["prune", "--keep-last", "1"]);
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("Read-only file system") && said.contains("Hint: "), "{said}");
    let copy = dir.path().join("copy");
    let (said, status) = packhold(&media.0, &["copy", "latest", "--to", copy.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{said}");
    is_whole(&Archive::open(&copy).unwrap(), &id);
}

#[test]
fn four_writers_at_once_lose_nothing_in_fifty_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    let reported: Vec<RunId> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u32)
            .map(|writer| {
                let path = &path;
                let write =
                    move |number| add_run(&Archive::open_or_create(path).unwrap(), number * 4 + writer);
                scope.spawn(move || (0..13_u32).map(write).collect::<Vec<_>>())
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    let archive = Archive::open(&path).unwrap();
    assert_eq!((reported.len(), archive.runs().unwrap().len()), (52, 52));
    reported.iter().for_each(|id| is_whole(&archive, id));
    let report = packhold::archive::verify(&path, |_| ()).unwrap();
    assert!(report.is_sound() && report.unreferenced_blobs == 0, "{report:?}");
    println!("4 writers, {} runs, all whole", reported.len());
}
