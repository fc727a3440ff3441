//! What a build in the embedded engine must not be able to do to its host, as root in its container: known ways out, each of
//! which has to fail.

#[path = "common/busybox.rs"]
mod busybox;
#[expect(dead_code, reason = "each test binary uses some of it")]
#[path = "common/embedded.rs"]
mod embedded;
#[path = "common/rootless.rs"]
mod rootless;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use embedded::{Place, command, load, open, remove, run, shell, spec};
use packhold::engine::embedded::Embedded;
use packhold::engine::{
    ByteStream, Command, CommitSpec, ContainerId, Engine, EngineError, ExecStatus, Network,
};
use packhold::model::Digest;
use tokio::io::AsyncReadExt;

const EXITED: ExecStatus = ExecStatus::Exited { code: 0, oom: false, process_limit: false };

fn tar(entries: &[(&str, tar::EntryType, &[u8], Option<&str>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, bytes, link) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(bytes.len() as u64);
        match link {
            Some(target) => tar.append_link(&mut header, path, target).expect("a tar in memory"),
            None => tar.append_data(&mut header, path, *bytes).expect("a tar in memory"),
        }
    }
    tar.into_inner().expect("a tar in memory")
}

async fn put(
    engine: &Embedded,
    container: &ContainerId,
    path: &str,
    tar: Vec<u8>,
) -> Result<(), EngineError> {
    let tar: ByteStream = Box::pin(Cursor::new(tar));
    engine.put(container, path, tar).await
}

async fn get(engine: &Embedded, container: &ContainerId, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut tar) = engine.get(container, path).await {
        _ = tar.read_to_end(&mut bytes).await;
    }
    bytes
}

/// A program of `tests/fixtures/escapes`, for an image without libraries.
fn fixture(place: &Path, name: &str, flags: &[&str]) -> Vec<u8> {
    let program = place.join(name);
    // Here, since an ordinary user need not be able to read the sources of this test.
    let source = match name {
        "probe" => include_str!("fixtures/escapes/probe.c"),
        "loader" => include_str!("fixtures/escapes/loader.c"),
        _ => include_str!("fixtures/escapes/loaded.c"),
    };
    let mut compiler = process::Command::new("cc");
    compiler.args(["-static", "-O1"]).args(flags).arg("-o").arg(&program).args(["-x", "c", "-"]);
    let mut compiler = compiler.stdin(process::Stdio::piped()).spawn().expect("this test needs a C compiler");
    let mut input = compiler.stdin.take().expect("its input");
    std::io::Write::write_all(&mut input, source.as_bytes()).expect("it reads");
    drop(input);
    assert!(compiler.wait().expect("it ends").success());
    std::fs::read(program).expect("the program")
}

/// A program that tries many ways out, and tells those that are open.
fn probe(place: &Path) -> Vec<u8> {
    fixture(place, "probe", &[])
}

/// A folder of the host with a secret in it, at a path that no image has.
fn secret(place: &Path) -> PathBuf {
    let folder = place.join("host-only");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("secret"), "of the host").expect("a file");
    folder
}

fn is_untouched(secret: &Path) -> bool {
    let names: Vec<_> = std::fs::read_dir(secret)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names == ["secret"] && std::fs::read(secret.join("secret")).expect("the secret") == b"of the host"
}

#[test]
fn no_way_out_is_open_to_an_ordinary_user_either() {
    rootless::again_as_an_ordinary_user(&["--skip", "ordinary_user"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_known_way_out_is_open() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let disk = std::fs::metadata("/").expect("the root").dev();
    let (major, minor) = (rustix::fs::major(disk).to_string(), rustix::fs::minor(disk).to_string());
    for network in [Network::None, Network::Outside] {
        let container = engine.create(&spec(image, network, "escapes")).await.expect("a container");
        let program = tar(&[("probe", tar::EntryType::Regular, &probe(place.path()), None)]);
        put(&engine, &container, "/bin", program).await.expect("the program");
        for user in ["0:0", "1000:1000"] {
            let tries = Command { user: user.to_owned(), ..command(&["probe", &major, &minor]) };
            let (status, printed) = run(&engine, &container, &tries).await;
            assert_eq!((status, printed.as_str()), (EXITED, "tried\n"), "{network:?} {user}");
        }
        remove(&engine, container).await;
    }
    // The probe sees a way out where there is one: a container of an init system may mount.
    let mut open_to_some = spec(image, Network::None, "escapes");
    open_to_some.capabilities.push("SYS_ADMIN".to_owned());
    let container = engine.create(&open_to_some).await.expect("a container");
    let program = tar(&[("probe", tar::EntryType::Regular, &probe(place.path()), None)]);
    put(&engine, &container, "/bin", program).await.expect("the program");
    let (_, printed) = run(&engine, &container, &command(&["probe", &major, &minor])).await;
    assert!(printed.contains("could mount a file system"), "{printed}");
    remove(&engine, container).await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread")]
async fn the_program_of_the_engine_cannot_be_replaced_from_a_container() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let program = rootless::program();
    let before = Digest::of(std::fs::read(&program).expect("the program"));
    let container = engine.create(&spec(image, Network::None, "escapes")).await.expect("a container");
    // Whatever runs as this program, even a script whose interpreter is the process itself, is looked for and written to.
    let writer = "while :; do for p in /proc/[0-9]*; do \
                  [ \"$(readlink $p/exe)\" = /bin/busybox ] || { : 3<>$p/exe && echo $p >> /tmp/written; } 2>/dev/null; \
                  done; done & echo";
    shell(&engine, &container, writer).await;
    let own = b"#!/proc/self/exe\n".as_slice();
    let loader = fixture(place.path(), "loader", &["-nostdlib", "-fno-stack-protector"]);
    let kept = b"readlink /proc/$$/fd/9; echo x >> /proc/$$/fd/9 && echo written; true";
    let hostile = tar(&[
        ("bin/own", tar::EntryType::Regular, own, None),
        ("bin/kept", tar::EntryType::Regular, kept, None),
        ("lib64/ld-linux-x86-64.so.2", tar::EntryType::Regular, &loader, None),
    ]);
    put(&engine, &container, "/", hostile).await.expect("a script and a loader");
    for _ in 0..20 {
        let (_, printed) = run(&engine, &container, &command(&["own"])).await;
        // What runs is the copy, which is sealed, and not the program on disk.
        assert!(printed.starts_with("/memfd:packhold-helper (deleted)\n"), "{printed}");
        assert!(!printed.contains("written"), "{printed}");
    }
    let written = shell(&engine, &container, "cat /tmp/written").await;
    remove(&engine, container).await;
    assert!(written.contains("No such file"), "{written}");
    assert_eq!(Digest::of(std::fs::read(program).expect("the program")), before);
}

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread")]
async fn the_engine_loads_no_library_of_an_image() {
    let place = Place::new();
    let engine = open(place.path());
    let base = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(base, Network::None, "escapes")).await.expect("a container");
    let library =
        fixture(place.path(), "loaded", &["-nostdlib", "-shared", "-fPIC", "-Wl,-soname,libnss_own.so.2"]);
    let mut hostile =
        vec![("etc/nsswitch.conf", tar::EntryType::Regular, b"passwd: own\ngroup: own\n".as_slice(), None)];
    for folder in ["lib/libnss_own.so.2", "lib64/libnss_own.so.2", "lib/x86_64-linux-gnu/libnss_own.so.2"] {
        hostile.push((folder, tar::EntryType::Regular, &library, None));
    }
    put(&engine, &container, "/", tar(&hostile)).await.expect("a library that is asked for users");
    for user in ["0:0", "1000:1000"] {
        let (_, printed) =
            run(&engine, &container, &Command { user: user.to_owned(), ..command(&["true"]) }).await;
        assert_eq!(printed, "");
    }
    // And by whatever makes the first process of a container.
    let with = CommitSpec { tag: "test:hostile".to_owned(), labels: BTreeMap::new(), comment: String::new() };
    let image = engine.commit(&container, &with).await.expect("an image").id;
    let next = engine.create(&spec(image, Network::None, "escapes")).await.expect("a container");
    for container in [container, next] {
        let told = shell(&engine, &container, "ls /tmp").await;
        remove(&engine, container).await;
        assert_eq!(told, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_and_processes_of_the_host_are_not_seen() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, "escapes")).await.expect("a container");
    let mounts = shell(&engine, &container, "cat /proc/self/mountinfo").await;
    assert!(mounts.lines().count() > 5, "{mounts}");
    // With version 2 alone a container sees its own control group, which it cannot write to.
    let own_group = |line: &&str| line.contains(" / /sys/fs/cgroup ro,") && line.contains(" - cgroup2 ");
    for word in ["shared:", "master:", " - ext4 ", " - cgroup"] {
        let found: Vec<_> = mounts
            .lines()
            .filter(|line| line.contains(word) && !line.contains(" /etc/") && !own_group(line))
            .collect();
        assert!(found.is_empty(), "{word}: {found:?}");
    }
    let groups =
        shell(&engine, &container, "find /sys/fs/cgroup -mindepth 1 -type d; cat /proc/self/cgroup").await;
    assert!(groups.lines().all(|line| line.ends_with(":/")), "{groups}");
    assert!(!mounts.contains("rw,relatime - overlay") && mounts.contains(" / / "), "{mounts}");
    let root = mounts.lines().find(|line| line.contains(" / / ")).expect("a root");
    assert!(root.contains("nodev"), "{root}");
    let processes = shell(&engine, &container, "ls -d /proc/[0-9]* | wc -l").await;
    assert!(processes.trim().parse::<u32>().expect("a number") < 6, "{processes}");
    let environment = shell(&engine, &container, "cat /proc/1/environ | tr '\\0' '\\n'").await;
    assert!(!environment.contains("CARGO"), "{environment}");
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_input_of_a_command_is_no_file_of_the_host() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, "escapes")).await.expect("a container");
    let mode = || std::fs::metadata("/dev/null").expect("the host's /dev/null").permissions();
    let before = mode();
    let user =
        Command { user: "1234:1234".to_owned(), ..command(&["sh", "-c", "cat /dev/stdin && echo read"]) };
    assert_eq!(run(&engine, &container, &user).await, (EXITED, "read\n".to_owned()));
    shell(&engine, &container, "chmod 600 /proc/self/fd/0; echo x > /proc/self/fd/0").await;
    let after = mode();
    if after != before {
        std::fs::set_permissions("/dev/null", before.clone()).expect("what this test has broken is mended");
    }
    assert_eq!(after, before);
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_directory_leads_to_no_open_file_of_the_engine() {
    let place = Place::new();
    let engine = open(place.path());
    let secret = secret(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, "escapes")).await.expect("a container");
    for file in 0..24 {
        let script = format!("cat ../../../../../../..{}/secret", secret.display());
        let dir = format!("/proc/self/fd/{file}");
        let (status, printed) =
            run(&engine, &container, &Command { dir, ..command(&["sh", "-c", &script]) }).await;
        assert_ne!(status, EXITED, "{file}");
        assert!(!printed.contains("of the host"), "{file}: {printed}");
    }
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_change_lead_put_and_get_nowhere_else() {
    let place = Place::new();
    let engine = open(place.path());
    let secret = secret(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, "escapes")).await.expect("a container");
    let host = secret.display();
    // A folder that is now itself and now a link to the host's, by an absolute path and by a climbing one.
    let swap = format!(
        "mkdir -p /tmp/work/real /tmp/race; ln -s {host} /tmp/work/absolute; \
         ln -s ../../../../../../..{host} /tmp/work/climbing; \
         while :; do for which in real absolute climbing; do \
         ln -sfn /tmp/work/$which /tmp/race/now; \
         mv -T /tmp/work/real /tmp/race/folder 2>/dev/null; mv -T /tmp/race/folder /tmp/work/real 2>/dev/null; \
         ln -sfn {host} /tmp/race/folder 2>/dev/null; rm -f /tmp/race/folder; done; done >/dev/null 2>&1 & echo"
    );
    shell(&engine, &container, &swap).await;
    let end = Instant::now() + Duration::from_secs(5);
    let file = tar(&[
        ("planted", tar::EntryType::Regular, b"x", None),
        ("secret", tar::EntryType::Regular, b"x", None),
    ]);
    let (mut tries, mut done) = (0, 0);
    let late = end + Duration::from_secs(60);
    while Instant::now() < end || Instant::now() < late && (done == 0 || done == tries) {
        for path in ["/tmp/race/now", "/tmp/race/folder"] {
            done += u32::from(put(&engine, &container, path, file.clone()).await.is_ok());
            let got = get(&engine, &container, path).await;
            assert!(!String::from_utf8_lossy(&got).contains("of the host"), "{path}");
            tries += 1;
        }
        let got = get(&engine, &container, "/tmp/work/absolute/secret").await;
        assert!(!String::from_utf8_lossy(&got).contains("of the host"));
    }
    assert!(is_untouched(&secret), "after {tries} tries");
    // Some hit the folder, and some a link.
    assert!(0 < done && done < tries, "{done} of {tries} were done");
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tar_with_links_writes_into_the_container_only() {
    use tar::EntryType::{Link, Regular, Symlink};
    let place = Place::new();
    let engine = open(place.path());
    let secret = secret(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, "escapes")).await.expect("a container");
    let host = secret.to_str().expect("a path");
    let inside = format!("{host}/secret");
    for hostile in [
        tar(&[("out", Symlink, b"", Some(host)), ("out/planted", Regular, b"x", None)]),
        tar(&[("hard", Link, b"", Some(&inside)), ("hard", Regular, b"x", None)]),
        tar(&[("up", Symlink, b"", Some("../../../../../../../..")), ("up/planted", Regular, b"x", None)]),
    ] {
        _ = put(&engine, &container, "/tmp", hostile).await;
    }
    for path in [host, "/proc/1/root", "/proc/self/root", "/proc/self/cwd", "/proc/thread-self/root"] {
        let got = get(&engine, &container, &format!("{path}/../../../../../../{host}/secret")).await;
        assert!(!String::from_utf8_lossy(&got).contains("of the host"), "{path}");
    }
    assert!(is_untouched(&secret) && !Path::new("/planted").exists());
    // A device is told of, not read; a pipe does not hold up anybody.
    shell(&engine, &container, "mkdir /tmp/odd; mkfifo /tmp/odd/pipe; mknod /tmp/odd/zero c 1 5").await;
    let got = tokio::time::timeout(Duration::from_secs(20), get(&engine, &container, "/tmp/odd")).await;
    assert!(got.expect("it ends").len() < 10_000);
    remove(&engine, container).await;
}

/// A busybox whose `path` is a link to `target`.
fn image_with_link(path: &str, target: &str) -> Vec<u8> {
    let base = busybox::busybox_image();
    let mut layer = Vec::new();
    for entry in tar::Archive::new(base.as_slice()).entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        if entry.path().expect("a path").to_str() == Some("layer.tar") {
            std::io::Read::read_to_end(&mut entry, &mut layer).expect("a layer");
        }
    }
    let mut changed = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(layer.as_slice()).entries().expect("a layer") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").into_owned();
        if name == Path::new(path) {
            continue;
        }
        let mut header = entry.header().clone();
        match entry.link_name().expect("a link").map(|link| link.into_owned()) {
            Some(link) => changed.append_link(&mut header, &name, link).expect("a tar in memory"),
            None => changed.append_data(&mut header, &name, &mut entry).expect("a tar in memory"),
        }
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    changed.append_link(&mut header, path, target).expect("a tar in memory");
    busybox::archive(changed.into_inner().expect("a tar in memory"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_whose_folders_are_links_changes_nothing_of_the_host() {
    let place = Place::new();
    let engine = open(place.path());
    let secret = secret(place.path());
    let inside = secret.join("secret");
    let climbing = format!("../../../../../../../../..{}", inside.display());
    for (path, target) in [
        ("etc/resolv.conf", inside.to_str().expect("a path")),
        ("etc/hosts", climbing.as_str()),
        ("proc", secret.to_str().expect("a path")),
        ("sys", secret.to_str().expect("a path")),
        ("dev", secret.to_str().expect("a path")),
        ("proc", "tmp"),
    ] {
        let image = load(&engine, image_with_link(path, target)).await;
        match engine.create(&spec(image, Network::None, "escapes")).await {
            Ok(container) => {
                // Masks must lie over the real thing.
                let leaks = shell(
                    &engine,
                    &container,
                    "head -c 1 /proc/kcore | wc -c; : > /proc/sysrq-trigger && echo W",
                )
                .await;
                assert!(!leaks.contains('1') && !leaks.contains('W'), "{path}: {leaks}");
                assert_ne!(path, "proc", "a file system of the kernel at another place");
                remove(&engine, container).await;
            }
            Err(error) => assert!(matches!(error, EngineError::Refused { .. }), "{path}: {error}"),
        }
        assert!(is_untouched(&secret), "{path}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains("host-only"), "{path}");
    }
}
