//! The store of the embedded engine and archives share the chunks of layers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use packhold::archive::{Archive, ProblemKind, repair, verify};
use packhold::engine::embedded::store::Store;
use packhold::engine::{ByteStream, ImageInfo};
use packhold::model::{Digest, ImageRecord, ImageRole, Origin};
use tokio::io::AsyncReadExt;

const MIB: usize = 1 << 20;

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// The tar of a layer with these files.
fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, name, *content).expect("a tar in memory");
    }
    tar.into_inner().expect("a tar in memory")
}

/// A `docker save` archive.
fn image_of(layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<Digest> = layers.iter().map(Digest::of).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let names: Vec<String> = (0..layers.len()).map(|at| format!("{at}/layer.tar")).collect();
    let manifest = serde_json::json!([{ "Config": "c.json", "RepoTags": ["x:y"], "Layers": names }]);
    let (config, manifest) = (config.to_string(), manifest.to_string());
    let mut files: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(layers.iter().copied()).collect();
    files.push(("c.json", config.as_bytes()));
    files.push(("manifest.json", manifest.as_bytes()));
    layer(&files)
}

/// A store and archives in one folder, which is of one file system.
struct Bench {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        Self::in_folder(&std::env::temp_dir())
    }

    fn in_folder(folder: &Path) -> Self {
        let dir = tempfile::tempdir_in(folder).expect("a temporary folder");
        let store = open_store(dir.path());
        Self { dir, store }
    }

    fn archive(&self, name: &str) -> Archive {
        Archive::open_or_create(self.dir.path().join(name)).expect("an archive")
    }

    async fn load(&self, layers: &[&[u8]], tag: &str) -> ImageInfo {
        self.store.load(stream(image_of(layers)), tag).await.expect("the image loads")
    }

    async fn adopt(&self, image: &ImageInfo, archive: &Archive) -> bool {
        let chunks =
            self.store.in_chunks(&image.id).await.expect("the image is there").expect("it has chunks");
        match archive.adopt(&chunks).expect("the archive can be written") {
            None => false,
            Some(adopted) => {
                assert_eq!(adopted.id, image.id);
                let layers: Vec<Digest> = adopted.layers.iter().map(|layer| layer.digest).collect();
                assert_eq!(layers, image.layers);
                archive.add_image(&record_of(image)).expect("the image is whole");
                true
            }
        }
    }

    /// The packs of the store.
    fn packs(&self) -> Vec<PathBuf> {
        files(&self.dir.path().join("store/packs/sha256"))
    }
}

fn open_store(dir: &Path) -> Store {
    Store::open(&dir.join("store")).expect("this test needs root").sharing_with(&dir.join("archive"))
}

fn stream(bytes: Vec<u8>) -> ByteStream {
    Box::pin(Cursor::new(bytes))
}

fn record_of(image: &ImageInfo) -> ImageRecord {
    ImageRecord {
        id: image.id,
        role: ImageRole::Base,
        builder: "debian-12".to_owned(),
        platform: None,
        key: Digest::of(image.id.hex()),
        origin: Origin::Bootstrap { suite: "bookworm".to_owned(), mirror: None, tool: "test".to_owned() },
        obtained: "bootstrap".to_owned(),
        layers: image.layers.clone(),
        packages: Vec::new(),
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn links(path: &Path) -> u64 {
    fs::metadata(path).expect("the file is there").nlink()
}

/// Bytes below a folder; what has several names counts once.
fn bytes_below(folder: &Path) -> u64 {
    fn walk(folder: &Path, seen: &mut BTreeMap<u64, u64>) {
        for path in files(folder) {
            let found = path.symlink_metadata().expect("the file is there");
            if found.is_dir() {
                walk(&path, seen);
            } else {
                seen.insert(found.ino(), found.len());
            }
        }
    }
    let mut seen = BTreeMap::new();
    walk(folder, &mut seen);
    seen.values().sum()
}

/// That an archive is sound, and that it has these very layers.
fn assert_whole(archive: &Archive, layers: &[&[u8]]) {
    let report = verify(archive.path(), |_| ()).expect("the archive can be read");
    assert!(report.is_sound(), "{:?}", report.problems);
    for layer in layers {
        let mut bytes = Vec::new();
        archive
            .open_blob(&Digest::of(layer))
            .expect("the layer is there")
            .read_to_end(&mut bytes)
            .expect("it can be read");
        assert!(bytes == *layer, "the layer is another");
    }
}

fn flip_a_bit(path: &Path, at: u64) {
    let mode = fs::metadata(path).expect("the file is there").permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("its mode can be changed");
    let mut file = fs::File::options().read(true).write(true).open(path).expect("it can be written");
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut byte)).expect("it is long enough");
    byte[0] ^= 1;
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&byte)).expect("it can be written");
    fs::set_permissions(path, mode).expect("its mode can be changed");
}

#[tokio::test]
async fn archiving_an_image_that_the_store_holds_links_its_packs_and_writes_nothing_else() {
    let bench = Bench::new();
    let layers = [1, 2, 3].map(|seed| layer(&[("file", &noise(seed, 6 * MIB)), ("text", &vec![7; MIB])]));
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let image = bench.load(&layers, "image:1").await;
    let archive = bench.archive("archive");
    let before = bytes_below(bench.dir.path());
    assert!(bench.adopt(&image, &archive).await);
    let grown = bytes_below(bench.dir.path()) - before;
    assert!(grown * 100 < before, "{grown} bytes more than {before}");
    let packs = bench.packs();
    assert!(!packs.is_empty());
    for pack in &packs {
        assert_eq!(links(pack), 2, "{}", pack.display());
        assert_eq!(fs::metadata(pack).expect("it is there").mode() & 0o222, 0);
    }
    assert_whole(&archive, &layers);
    // Each removes only its own name.
    bench.store.remove_tag("image:1").expect("the tag goes");
    assert_eq!(bench.packs().len(), 0);
    assert_whole(&archive, &layers);
    let mut tar = Vec::new();
    archive.export_docker_archive(&image.id, None, &mut tar).expect("the image is whole");
    assert_eq!(bench.load(&layers, "image:2").await.id, image.id);
}

#[tokio::test]
async fn on_another_file_system_packs_are_copied_and_without_an_archive_there_are_none() {
    let memory = Path::new("/dev/shm");
    let bench = Bench::in_folder(memory);
    let disk = tempfile::tempdir().expect("a temporary folder");
    let device = |path: &Path| fs::metadata(path).expect("it is there").dev();
    assert_ne!(device(memory), device(disk.path()), "this test needs two file systems");
    let layer = layer(&[("file", &noise(1, 3 * MIB))]);
    let image = bench.load(&[&layer], "image:1").await;
    let archive = Archive::open_or_create(disk.path().join("archive")).expect("an archive");
    assert!(bench.adopt(&image, &archive).await);
    assert!(bench.packs().iter().all(|pack| links(pack) == 1));
    assert_whole(&archive, &[&layer]);
    let apart = Store::open(&bench.dir.path().join("apart")).expect("a store");
    let apart = apart.sharing_with(archive.path());
    let image = apart.load(stream(image_of(&[&layer])), "image:1").await.expect("the image loads");
    assert!(apart.in_chunks(&image.id).await.expect("the image is there").is_none());
    assert_eq!(files(&bench.dir.path().join("apart/packs/sha256")).len(), 0);
}

/// Where the table at the end of a pack begins (`FORMAT.md`, "Pack").
fn table_of(pack: &Path) -> u64 {
    let bytes = fs::read(pack).expect("it can be read");
    let rows = u32::from_le_bytes(bytes[bytes.len() - 12..][..4].try_into().expect("four bytes"));
    bytes.len() as u64 - 20 - u64::from(rows) * 40 - 8
}

#[tokio::test]
async fn a_rotten_pack_is_refused_and_the_image_comes_from_its_tree() {
    let layer = layer(&[("file", &noise(1, 3 * MIB))]);
    for in_the_table in [false, true] {
        let bench = Bench::new();
        let image = bench.load(&[&layer], "image:1").await;
        let pack = bench.packs().remove(0);
        flip_a_bit(&pack, if in_the_table { table_of(&pack) } else { 1000 });
        let archive = bench.archive("archive");
        assert!(!bench.adopt(&image, &archive).await);
        assert_eq!(files(&archive.path().join("blobs/sha256")).len(), 0);
        let (mut tar, mut stream) = (Vec::new(), bench.store.save(&image.id).await.expect("it is there"));
        stream.read_to_end(&mut tar).await.expect("it is whole");
        assert_eq!(archive.import_docker_archive(tar.as_slice()).expect("it is sound").id, image.id);
        archive.add_image(&record_of(&image)).expect("the image is whole");
        assert_whole(&archive, &[&layer]);
    }
}

#[tokio::test]
async fn a_list_that_gives_another_layer_is_refused() {
    let bench = Bench::new();
    let layers = [1, 2].map(|seed| layer(&[("file", &noise(seed, MIB))]));
    let image = bench.load(&[&layers[0], &layers[1]], "image:1").await;
    let list = |layer: &[u8]| {
        bench.dir.path().join("store/layers/sha256").join(Digest::of(layer).hex()).join("chunks")
    };
    fs::copy(list(&layers[0]), list(&layers[1])).expect("the store is root's");
    let archive = bench.archive("archive");
    assert!(!bench.adopt(&image, &archive).await);
    assert_eq!(files(&archive.path().join("blobs/sha256")).len(), 0);
}

#[tokio::test]
async fn of_a_pack_that_the_archive_has_mostly_only_the_missing_frames_are_copied() {
    let bench = Bench::new();
    let archive = bench.archive("archive");
    let (old, new) = (noise(1, 16 * MIB), noise(2, MIB));
    let before = layer(&[("old", &old)]);
    archive.import_docker_archive(image_of(&[&before]).as_slice()).expect("it is sound");
    let known = BTreeSet::from_iter(files(&archive.path().join("blobs/sha256")));
    let after = layer(&[("old", &old), ("new", &new)]);
    let image = bench.load(&[&after], "image:1").await;
    let size = bytes_below(archive.path());
    assert!(bench.adopt(&image, &archive).await);
    let grown = bytes_below(archive.path()) - size;
    assert!(grown < 4 * MIB as u64, "{grown} bytes of {} are new", new.len());
    assert!(bench.packs().iter().all(|pack| links(pack) == 1));
    assert!(files(&archive.path().join("blobs/sha256")).len() > known.len());
    assert_whole(&archive, &[&after]);
}

#[tokio::test]
async fn an_image_from_an_archive_goes_into_another_one_without_a_copy() {
    let bench = Bench::new();
    let layers = [1, 2].map(|seed| layer(&[("file", &noise(seed, 4 * MIB))]));
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let (first, second) = (bench.archive("archive"), bench.archive("other"));
    let id = first.import_docker_archive(image_of(&layers).as_slice()).expect("it is sound").id;
    let mut tar = Vec::new();
    first.export_docker_archive(&id, None, &mut tar).expect("it is whole");
    let chunks = first.chunked(&id).expect("it can be read");
    let image = bench.store.load_chunked(stream(tar), chunks, "image:1").await.expect("it loads");
    assert!(!bench.packs().is_empty() && bench.packs().iter().all(|pack| links(pack) == 2));
    let before = bytes_below(bench.dir.path());
    assert!(bench.adopt(&image, &second).await);
    let grown = bytes_below(bench.dir.path()) - before;
    assert!(grown * 100 < before, "{grown} bytes more than {before}");
    assert!(bench.packs().iter().all(|pack| links(pack) == 3));
    assert_whole(&second, &layers);
}

#[tokio::test]
async fn layers_of_a_store_share_chunks_which_go_with_the_last_of_them() {
    let bench = Bench::new();
    let old = noise(1, 8 * MIB);
    let layers = [layer(&[("old", &old)]), layer(&[("old", &old), ("new", b"little")])];
    bench.load(&[&layers[0]], "image:1").await;
    let once: u64 = bytes_below(&bench.dir.path().join("store/packs"));
    let image = bench.load(&[&layers[1]], "image:2").await;
    let twice = bytes_below(&bench.dir.path().join("store/packs"));
    assert!(twice < once + once / 3, "{once} and then {twice} bytes");
    bench.store.remove_tag("image:1").expect("the tag goes");
    assert!(bench.adopt(&image, &bench.archive("archive")).await);
    assert_whole(&bench.archive("archive"), &[&layers[1]]);
    bench.store.remove_tag("image:2").expect("the tag goes");
    assert_eq!(bench.packs().len(), 0);
}

#[tokio::test]
async fn a_repair_replaces_a_pack_and_does_not_write_through_its_other_name() {
    let bench = Bench::new();
    let layer = layer(&[("file", &noise(1, 3 * MIB))]);
    let image = bench.load(&[&layer], "image:1").await;
    let archive = bench.archive("archive");
    assert!(bench.adopt(&image, &archive).await);
    // A copy, of which nothing is linked.
    let copy = bench.dir.path().join("copy");
    let copied = Command::new("cp").args(["-r"]).arg(archive.path()).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    let pack = bench.packs().remove(0);
    flip_a_bit(&pack, 1000);
    let rotten = fs::read(&pack).expect("it can be read");
    let report = verify(archive.path(), |_| ()).expect("the archive can be read");
    assert!(
        report.problems.iter().any(|problem| problem.kind == ProblemKind::Digest),
        "{:?}",
        report.problems
    );
    let repaired = repair(archive.path(), &copy, |_| ()).expect("the archive can be written");
    assert!(repaired.report.is_sound(), "{:?}", repaired.report.problems);
    assert_whole(&archive, &[&layer]);
    assert!(fs::read(&pack).expect("it is there") == rotten, "the store's own name has other bytes");
    assert_eq!(links(&pack), 1);
}

/// The folder of a bench, for [`another_process`].
const DIR: &str = "PACKHOLD_TEST_SHARED";

fn layers_to_kill_for() -> [Vec<u8>; 2] {
    [11, 12].map(|seed| layer(&[("file", &noise(seed, MIB)), ("more", &noise(13, MIB / 2))]))
}

#[tokio::test]
#[ignore = "it is a part of another, as a process of its own"]
async fn another_process() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let layers = layers_to_kill_for();
    loop {
        let store = open_store(dir);
        store.sweep().expect("the store can be swept");
        let archive = Archive::open_or_create(dir.join("archive")).expect("an archive");
        let image = store.load(stream(image_of(&[&layers[0], &layers[1]])), "a:b").await.expect("it loads");
        let chunks = store.in_chunks(&image.id).await.expect("it is there").expect("it has chunks");
        assert!(archive.adopt(&chunks).expect("the archive can be written").is_some());
        archive.add_image(&record_of(&image)).expect("the image is whole");
        drop((archive, chunks));
        store.remove_tag("a:b").expect("the tag goes");
        // The next round links again.
        if std::env::var_os("PACKHOLD_TEST_ONCE").is_some() {
            return;
        }
        fs::rename(
            dir.join("archive"),
            dir.join(format!("done-{}", Digest::of(format!("{:?}", Instant::now())).short())),
        )
        .expect("the archive is ours");
    }
}

fn start(dir: &Path, once: bool) -> Child {
    let this = std::env::current_exe().expect("this program");
    let mut command = Command::new(this);
    command.args(["another_process", "--exact", "--ignored"]).env(DIR, dir).stdout(Stdio::null());
    if once {
        command.env("PACKHOLD_TEST_ONCE", "1");
    }
    command.spawn().expect("a process")
}

#[tokio::test]
async fn whenever_a_process_is_killed_store_and_archive_are_sound() {
    let bench = Bench::new();
    let layers = layers_to_kill_for();
    let begun = Instant::now();
    assert!(start(bench.dir.path(), true).wait().expect("a process").success());
    let once = begun.elapsed();
    fs::remove_dir_all(bench.dir.path().join("archive")).expect("the archive is ours");
    let mut listed = BTreeSet::new();
    for round in 0..16 {
        let mut child = start(bench.dir.path(), false);
        tokio::time::sleep(once * round / 8 + Duration::from_millis(5)).await;
        child.kill().expect("it lives or is gone");
        child.wait().expect("it ends");
        bench.store.sweep().expect("the store can be swept");
        let mut images = 0;
        for path in files(bench.dir.path()).iter().filter(|path| !path.ends_with("store")) {
            // One that is not complete yet is made so.
            let archive = Archive::open_or_create(path).expect("an archive");
            let listed = archive.images().expect("the archive can be read").len();
            let whole: Vec<&[u8]> = layers.iter().map(Vec::as_slice).take(listed * 2).collect();
            assert_whole(&archive, &whole);
            images += listed;
        }
        listed.insert(images.min(1));
        let archive = bench.archive("archive");
        if let Some(image) = bench.store.named("a:b").expect("the store can be read") {
            assert!(bench.adopt(&image, &archive).await, "what is killed for is there, and not whole");
            assert_whole(&archive, &[&layers[0], &layers[1]]);
        }
        bench.store.remove_tag("a:b").expect("the tag goes");
        assert_eq!(bench.packs().len(), 0);
        drop(archive);
        for path in files(bench.dir.path()) {
            if !path.ends_with("store") {
                fs::remove_dir_all(&path).expect("the archive is ours");
            }
        }
    }
    assert!(listed.len() > 1, "kills at one point only: {listed:?}");
}
