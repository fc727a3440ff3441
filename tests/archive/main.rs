//! The archive from outside: what the commands say, and processes that are killed at random moments.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod faults;
mod remote;
#[path = "../common/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use packhold::archive::{Archive, ArchiveError, FileRole, KeepPolicy, RootfsSpec, RunFile};
use packhold::model::{
    Artifact, ArtifactKind, Digest, EngineRecord, ImageRecord, ImageRole, Origin, Outcome, PackageVersion,
    RunId, RunRecord, SourceRecord, Stage, StageRecord, TargetRecord, ToolRecord,
};

const ROLE: &str = "PACKHOLD_TEST_ROLE";
const ARCHIVE: &str = "PACKHOLD_TEST_ARCHIVE";
const FROM: &str = "PACKHOLD_TEST_FROM";

/// How many processes are killed.
const KILLS: u32 = 200;

/// Not a test by itself: what the processes do that are killed.
#[test]
#[ignore = "a process of the test below"]
fn worker() {
    let (Ok(role), Ok(path)) = (std::env::var(ROLE), std::env::var(ARCHIVE)) else { return };
    match role.as_str() {
        "write" => loop {
            let archive = Archive::open_or_create(&path).unwrap();
            let id = add_run(&archive, fastrand::u32(..));
            println!("archived {id}");
        },
        // The newest stay: what was reported last must be there afterwards.
        "prune" => loop {
            let policy = KeepPolicy { last: Some(40), ..KeepPolicy::default() };
            Archive::open_or_create(&path).unwrap().prune(&policy, jiff::Timestamp::now()).unwrap();
        },
        // Begins anew each time, with what an earlier one left half.
        "pull" => {
            let from = std::env::var(FROM).unwrap();
            let runtime = tokio::runtime::Runtime::new().unwrap();
            loop {
                let source = packhold::remote::Directory(Archive::open(&from).unwrap());
                for run in Archive::open(&from).unwrap().runs().unwrap() {
                    let archive = Archive::open_or_create(&path).unwrap();
                    let pulled = runtime.block_on(packhold::remote::pull(&archive, &source, &run.id));
                    println!("archived {}", pulled.unwrap().run);
                }
            }
        }
        role => panic!("{role}"),
    }
}

#[test]
fn whoever_is_killed_the_archive_is_sound_and_what_was_reported_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    let elsewhere = Archive::open_or_create(dir.path().join("from")).unwrap();
    let future = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    for number in 0..20 {
        add_run_at(&elsewhere, number, future);
    }
    let (mut reported, mut problems) = (0, 0);
    let begun = Instant::now();
    for round in 0..KILLS / 4 {
        // A writer, a prune and a pull at once, and one more.
        let mut workers = vec![spawn("write", &path), spawn("prune", &path), spawn("pull", &path)];
        workers.push(spawn(["prune", "write", "pull"][round as usize % 3], &path));
        let mut lines = Vec::new();
        for mut worker in workers {
            std::thread::sleep(Duration::from_millis(fastrand::u64(10..100)));
            worker.kill().unwrap();
            let out = BufReader::new(worker.stdout.take().unwrap());
            lines.extend(out.lines().map_while(Result::ok));
            let status = worker.wait().unwrap();
            assert_eq!(status.code(), None, "it was killed and did not end by itself: {lines:?}");
        }
        let mut ids: Vec<RunId> =
            lines.iter().filter_map(|line| line.strip_prefix("archived ")?.parse().ok()).collect();
        ids.sort();
        reported += ids.len();
        if ids.is_empty() {
            continue;
        }
        let archive = Archive::open(&path).unwrap();
        // A prune keeps the newest forty; of these each must be whole.
        for id in ids.iter().rev().take(40).filter(|id| is_kept(&archive, id)) {
            let run = archive.run(id.as_str()).unwrap();
            for file in &run.files {
                archive.copy_blob(&file.digest, &mut std::io::sink()).unwrap();
            }
            for image in &run.record.images {
                archive.image(&image.id).unwrap();
            }
        }
        let newest = ids.last().unwrap();
        assert!(is_kept(&archive, newest), "the newest run is never pruned: {newest}");
        archive.sweep().unwrap();
        let report = packhold::archive::verify(&path, |_| ()).unwrap();
        assert!(report.is_sound(), "after {} kills: {:?}", (round + 1) * 4, report.problems);
        problems += report.problems.len();
    }
    let archive = Archive::open(&path).unwrap();
    let all = KeepPolicy { all: true, ..KeepPolicy::default() };
    archive.prune(&all, jiff::Timestamp::now()).unwrap();
    let report = packhold::archive::verify(&path, |_| ()).unwrap();
    assert_eq!((report.unreferenced_blobs, std::fs::read_dir(path.join("tmp")).unwrap().count()), (0, 1));
    assert!(reported >= 20, "{reported} runs");
    println!(
        "{KILLS} processes killed, {reported} runs reported, {} left, {problems} problems, {} s",
        report.runs,
        begun.elapsed().as_secs()
    );
}

/// The script of the format's specification, which needs no Packhold.
fn to_oci() -> String {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/archive/FORMAT.md")).unwrap();
    let (_, script) = text.split_once("```sh\n# sh to-oci.sh").unwrap();
    script.split_once("```").unwrap().0.to_owned()
}

fn must(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn skopeo_and_umoci_read_what_the_script_of_the_specification_takes_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    let archive = Archive::open_or_create(&path).unwrap();
    let id = add_run(&archive, 7);
    let run = archive.run(id.as_str()).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (archive_path, layout) = (text(&path), |name: &str| text(&dir.path().join(name)));
    let script = to_oci();
    assert!(script.lines().count() <= 24, "short enough to be typed");

    let image = &run.record.images[1];
    let name = format!("base-debian-12-{}", image.id.short());
    must("sh", &["-c", &script, "sh", &archive_path, &name, &layout("image")]);
    let from = format!("oci:{}:{name}", layout("image"));
    let config = must("skopeo", &["inspect", "--config", "--raw", &from]);
    assert_eq!(Digest::of(&config), image.id, "the identity survives");
    let tar = layout("image.tar");
    must("skopeo", &["copy", "--quiet", &from, &format!("docker-archive:{tar}:base:restored")]);
    let again = Archive::open_or_create(dir.path().join("again")).unwrap();
    let imported = again.import_docker_archive(std::fs::File::open(&tar).unwrap()).unwrap();
    assert_eq!(imported.id, image.id, "and the way through another tool");
    must("umoci", &["raw", "unpack", "--image", &format!("{}:{name}", layout("image")), &layout("rootfs")]);
    assert_eq!(std::fs::read_to_string(dir.path().join("rootfs/file")).unwrap(), "of run 7");

    let name = format!("run-{id}");
    must("sh", &["-c", &script, "sh", &archive_path, &name, &layout("run")]);
    for file in &run.files {
        assert!(dir.path().join("run/blobs/sha256").join(file.digest.hex()).exists(), "{}", file.name);
    }
    let list = dir.path().join("archive/chunked/sha256").join(image.layers[0].hex());
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::remove_file(&list).unwrap();
    std::fs::write(&list, text.replacen(" 0 ", " 1 ", 1)).unwrap();
    let broken = [
        "-c",
        &script,
        "sh",
        &archive_path,
        &format!("base-debian-12-{}", image.id.short()),
        &layout("broken"),
    ];
    let status = Command::new("sh").args(broken).stderr(Stdio::null()).status().unwrap();
    assert!(!status.success(), "wrong bytes do not pass");
}

/// What a command says, and its exit status.
fn packhold(path: &Path, words: &[&str]) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhold"));
    let out = command.arg("--archive").arg(path).arg("archive").args(words).output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    (String::from_utf8(said).unwrap(), out.status.code())
}

#[test]
fn a_prune_is_tried_before_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    let mut ids: Vec<RunId> = (0..3)
        .map(|number| {
            // Of different seconds, as ids are.
            std::thread::sleep(Duration::from_millis(1001));
            add_run(&Archive::open_or_create(&path).unwrap(), number)
        })
        .collect();
    let (said, status) = packhold(&path, &["prune"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("--keep-last <N>"), "{said}");

    let (said, status) = packhold(&path, &["prune", "--keep-last", "1", "--dry-run"]);
    assert_eq!(status, Some(0), "{said}");
    let newest = ids.pop().unwrap();
    assert!(said.contains(&format!("keep    {newest}  agent v1.0  (one of the newest)")), "{said}");
    for id in &ids {
        assert!(said.contains(&format!("remove  {id}  agent v1.0  frees ")), "{said}");
    }
    assert!(said.contains("would remove 2 of 3 runs, 2 images, "), "{said}");
    assert_eq!(Archive::open(&path).unwrap().runs().unwrap().len(), 3);

    let (said, status) = packhold(&path, &["--format", "json", "prune", "--keep-within", "1d"]);
    assert_eq!(status, Some(0), "{said}");
    let pruned: serde_json::Value = serde_json::from_str(&said).unwrap();
    let kept: Vec<&str> =
        pruned["plan"]["runs"].as_array().unwrap().iter().filter_map(|run| run["kept"].as_str()).collect();
    assert_eq!(kept, ["within"; 3]);

    let (said, status) = packhold(&path, &["prune", "--keep-last", "1"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("removed 2 of 3 runs, 2 images, "), "{said}");
    let left = Archive::open(&path).unwrap().runs().unwrap();
    assert_eq!(left.iter().map(|run| &run.id).collect::<Vec<_>>(), [&newest]);
    assert_eq!(packhold(&path, &["verify"]).1, Some(0));
}

fn is_kept(archive: &Archive, id: &RunId) -> bool {
    archive.runs().unwrap().iter().any(|run| run.id == *id)
}

fn spawn(role: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker", "--ignored", "--nocapture"])
        .env(ROLE, role)
        .env(ARCHIVE, path)
        .env(FROM, path.with_file_name("from"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Stores a run of one target and one package, with an image that all runs share and one of its own.
fn add_run(archive: &Archive, number: u32) -> RunId {
    add_run_at(archive, number, jiff::Timestamp::now())
}

fn add_run_at(archive: &Archive, number: u32, started: jiff::Timestamp) -> RunId {
    try_run(archive, number, started).unwrap()
}

fn try_run(archive: &Archive, number: u32, started: jiff::Timestamp) -> Result<RunId, ArchiveError> {
    let image = |content: &str, key: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, "file", content.as_bytes()).unwrap();
        let spec = RootfsSpec {
            arch: "amd64".to_owned(),
            created: 1_700_000_000,
            labels: BTreeMap::new(),
            comment: "a test".to_owned(),
        };
        let image = archive.image_from_rootfs(tar.into_inner().unwrap().as_slice(), &spec)?;
        Ok::<_, ArchiveError>(ImageRecord {
            id: image.id,
            role: ImageRole::Base,
            builder: "debian-12".to_owned(),
            platform: None,
            key: Digest::of(key),
            origin: Origin::Bootstrap { suite: "bookworm".to_owned(), mirror: None, tool: "test".to_owned() },
            obtained: "bootstrap".to_owned(),
            layers: image.layers.iter().map(|layer| layer.digest).collect(),
            packages: Vec::new(),
        })
    };
    let own = format!("of run {number}");
    let images = vec![image("shared by all", "shared")?, image(&own, &own)?];
    let target: packhold::model::TargetName = "debian-12/deb".parse().unwrap();
    let content = vec![u8::try_from(number % 251).unwrap(); 20_000 + usize::try_from(number % 1000).unwrap()];
    let (digest, size) = archive.put_stream(content.as_slice())?;
    let name = "agent_1.0_amd64.deb".to_owned();
    let file = RunFile {
        name: name.clone(),
        role: FileRole::Artifact,
        target: Some(target.clone()),
        media_type: "application/vnd.debian.binary-package".to_owned(),
        digest,
        size,
    };
    let record = RunRecord {
        schema: 1,
        id: RunId::new(started, number),
        package: "agent".to_owned(),
        pipeline: "packhold.toml".to_owned(),
        pipeline_digest: Digest::of("pipeline"),
        lock: None,
        source: SourceRecord {
            repository: ".".to_owned(),
            revision: "HEAD".to_owned(),
            commit: format!("{number:040x}"),
            epoch: 1_700_000_000,
            tree: Digest::of("tree"),
            size: 4,
            version: PackageVersion {
                describe: "v1.0".to_owned(),
                deb: "1.0".to_owned(),
                rpm: "1.0".to_owned(),
                release: false,
                deb_full: None,
            },
            dirty: false,
            changes: None,
        },
        tool: ToolRecord { name: "packhold".to_owned(), version: "0".to_owned() },
        engine: EngineRecord {
            kind: "fake".to_owned(),
            version: "0".to_owned(),
            arch: "amd64".to_owned(),
            kernel: None,
            cores: None,
        },
        started,
        duration_ms: 5,
        shared: Vec::new(),
        targets: vec![TargetRecord {
            stages: vec![StageRecord {
                stage: Stage::Build,
                outcome: Outcome::Passed,
                started,
                duration_ms: 1,
                reused: None,
                steps: Vec::new(),
                log: None,
            }],
            artifacts: vec![Artifact { name, kind: ArtifactKind::Package, size, digest, package: None }],
            images: images.iter().map(|image| image.id).collect(),
            ..TargetRecord::of(target)
        }],
        images: images.clone(),
        warnings: Vec::new(),
        outcome: Outcome::Passed,
    };
    archive.add_run(&record, &images, &[file])?;
    Ok(record.id)
}

#[test]
fn who_reads_only_the_beginning_of_a_list_sees_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open_or_create(dir.path()).unwrap();
    for runs in [0, 1] {
        (0..runs).for_each(|number| drop(add_run(&archive, number)));
        let mut child = Command::new(env!("CARGO_BIN_EXE_packhold"))
            .args(["archive", "list", "--archive", dir.path().to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), said.as_ref()), (Some(0), ""), "of {runs} runs");
    }
}
