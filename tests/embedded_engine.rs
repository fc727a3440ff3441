//! What the embedded engine promises beyond what every engine does: that nothing stays after a crash, and that a container
//! is to its programs what Docker's is.

#[path = "common/busybox.rs"]
mod busybox;
#[path = "common/embedded.rs"]
mod embedded;
#[path = "common/rootless.rs"]
mod rootless;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process;
use std::time::{Duration, Instant};

use embedded::{INSTALLER, Place, command, left_behind, load, open, remove, run, shell, spec};
use packhold::engine::embedded::{Embedded, Settings};
use packhold::engine::{
    Command, CommitSpec, ContainerId, ContainerSpec, Engine, ExecStatus, Found, Limits, Network, Object,
    Query, Root, SnapshotId,
};
use tokio::io::AsyncReadExt;

const LABEL: &str = "packhold.test";

const EXITED: ExecStatus = ExecStatus::Exited { code: 0, oom: false, process_limit: false };

async fn ids(engine: &Embedded) -> Vec<String> {
    let found =
        engine.find(&Query::ContainersLabelled(LABEL.to_owned())).await.expect("containers are listed");
    let id = |found| match found {
        Found::Container { id, .. } => id.0,
        other => unreachable!("{other:?} among containers"),
    };
    found.into_iter().map(id).collect()
}

async fn snapshots(engine: &Embedded) -> Vec<SnapshotId> {
    let found = engine.find(&Query::SnapshotsLabelled(LABEL.to_owned())).await.expect("snapshots are listed");
    let id = |found| match found {
        Found::Snapshot { id, .. } => id,
        other => unreachable!("{other:?} among snapshots"),
    };
    found.into_iter().map(id).collect()
}

#[test]
fn all_of_this_is_so_for_an_ordinary_user_too() {
    rootless::again_as_an_ordinary_user(&["--skip", "ordinary_user", "--skip", ALONE, "--skip", LIMITS]);
    // It changes the whole process, and there the tests share one.
    rootless::again_as_an_ordinary_user(&["--exact", ALONE]);
}

const ALONE: &str = "what_a_user_has_set_for_processes_is_not_a_containers";
const LIMITS: &str = "the_kernel_keeps_a_container_to_its_limits";

#[test]
#[ignore = "needs control groups of version 2 alone: make cgroup-v2"]
fn all_of_this_is_so_for_an_ordinary_user_with_a_delegated_group_too() {
    rootless::again_in_a_delegated_group(&["--skip", "ordinary_user", "--skip", ALONE]);
}

/// The files in which the kernel has the limits of a container: memory, processes, microseconds of a period; and what it did for the last
/// (cgroup-v1/memory.rst, cgroup-v1/pids.rst, scheduler/sched-bwc.rst, cgroup-v2.rst).
fn limit_files(container: &ContainerId) -> [std::path::PathBuf; 4] {
    let root = Path::new("/sys/fs/cgroup");
    let group = Path::new("packhold").join(&container.0);
    if root.join("cgroup.controllers").exists() {
        return ["memory.max", "pids.max", "cpu.max", "cpu.stat"].map(|file| root.join(&group).join(file));
    }
    [
        ("memory", "memory.limit_in_bytes"),
        ("pids", "pids.max"),
        ("cpu", "cpu.cfs_quota_us"),
        ("cpu", "cpu.stat"),
    ]
    .map(|(controller, file)| root.join(controller).join(&group).join(file))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_keeps_a_container_to_its_limits() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let limits = Limits { memory: 64 << 20, processes: 50, cpus: Some(0.2) };
    let limited = ContainerSpec { limits, ..spec(image, Network::None, LABEL) };
    let container = engine.create(&limited).await.expect("a container");
    let [memory, processes, processors, done] = limit_files(&container);
    let read =
        |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    assert_eq!(read(&memory).trim(), (64 << 20).to_string());
    assert_eq!(read(&processes).trim(), "50");
    assert_eq!(read(&processors).split_ascii_whitespace().next(), Some("20000"));
    let swap = memory.with_file_name("memory.swap.max");
    if swap.exists() {
        assert_eq!(read(&swap).trim(), "0");
    }
    // What it did: a fifth of a processor was all there was, less than what is left by others on a busy machine with one.
    let busy = "timeout 2 sh -c 'while :; do :; done'";
    shell(&engine, &container, busy).await;
    let throttled = read(&done).lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok());
    assert!(throttled.unwrap_or(0) > 5, "{}", read(&done));
    let hog = "head -c 300000000 /dev/zero | tail -c 200000000 > /dev/null";
    let (status, printed) = run(&engine, &container, &command(&["sh", "-c", hog])).await;
    assert!(matches!(status, ExecStatus::Exited { oom: true, .. }), "{status:?}: {printed}");
    remove(&engine, container).await;
}

/// A root file system in which systemd is `/sbin/init`, as a tar: of the machine that `make cgroup-v2` starts.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a root file system with systemd, as a tar in $PACKHOLD_TEST_SYSTEMD: make cgroup-v2"]
async fn systemd_starts_and_stops_services_in_a_container() {
    let tar = std::env::var_os("PACKHOLD_TEST_SYSTEMD").expect("the path of a tar in $PACKHOLD_TEST_SYSTEMD");
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::archive(std::fs::read(tar).expect("the tar"))).await;
    let mut booted = ContainerSpec { init: true, ..spec(image, Network::None, LABEL) };
    booted.capabilities.extend(["SYS_ADMIN", "SETPCAP"].map(str::to_owned));
    booted.limits = Limits { memory: 256 << 20, processes: 200, cpus: Some(2.0) };
    let container = engine.create(&booted).await.expect("a container");
    let tell = async |script: &str| {
        let shell = ["/bin/sh", "-c", script];
        let env = BTreeMap::from([("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())]);
        run(&engine, &container, &Command { env, ..command(&shell) }).await
    };
    let (_, said) = tell(
        "for i in $(seq 300); do s=$(systemctl is-system-running 2>&1); \
         case $s in running|degraded) break ;; esac; sleep 0.2; done; echo $s",
    )
    .await;
    assert!(said == "running\n" || said == "degraded\n", "{said}");
    // What it sees of control groups is its own and what is below. With version 2 it rules there, but not over its own limits.
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let (_, said) =
            tell("cd /sys/fs/cgroup; (echo max > memory.max) 2>/dev/null; cat memory.max; ls -d */").await;
        let told: Vec<_> = said.lines().collect();
        assert_eq!(told[0], "268435456", "{said}");
        assert!(
            told.contains(&"init.scope/") && !told.iter().any(|name| name.starts_with("packhold/")),
            "{said}"
        );
    }
    let unit = r"[Service]\nExecStart=/bin/sleep 1000\n";
    let (_, said) = tell(&format!(
        "printf '{unit}' > /run/systemd/system/nap.service; systemctl daemon-reload; systemctl start nap; systemctl is-active nap; \
         sed -n s/^0:://p /proc/$(systemctl show --value -p MainPID nap)/cgroup; systemctl stop nap; systemctl is-active nap"
    ))
    .await;
    let lines: Vec<_> = said.lines().collect();
    let [active, group, inactive] = lines[..] else { panic!("{said}") };
    assert_eq!((active, inactive), ("active", "inactive"), "{said}");
    assert!(group.ends_with("/system.slice/nap.service"), "{said}");
    // What is beside systemd, and what systemd starts, counts for the container.
    let (status, said) = tell("head -c 600000000 /dev/zero | tail -c 500000000 >/dev/null").await;
    assert!(matches!(status, ExecStatus::Exited { oom: true, .. }), "{status:?}: {said}");
    let (_, said) = tell("systemctl start nap; systemctl is-active nap").await;
    assert_eq!(said, "active\n");
    let ids = [container.0.clone()];
    remove(&engine, container).await;
    assert_eq!(left_behind(place.path(), &ids), [""; 0]);
}

/// What the processes do that must not be left; the same test of another user does something else.
fn nap() -> &'static str {
    if std::env::var_os(rootless::PROGRAM).is_some() { "sleep 1001" } else { "sleep 1000" }
}

/// Not a test of its own: the process that the next test kills. It makes containers and snapshots, works in them and removes
/// them, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn victim() {
    let Some(place) = std::env::var_os("PACKHOLD_TEST_VICTIM") else { return };
    let engine = open(Path::new(&place));
    let image = load(&engine, busybox::busybox_image()).await;
    loop {
        let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
        let nap = nap();
        let script =
            format!("mkdir -p /tmp/a/b; head -c 1000000 /dev/zero > /tmp/a/b/c; {nap} & {nap} & sleep 0.03");
        shell(&engine, &container, &script).await;
        let snapshot = engine.snapshot(&container).await.expect("a snapshot");
        let above =
            ContainerSpec { root: Root::Snapshot(snapshot.clone()), ..spec(image, Network::None, LABEL) };
        let container = engine.create(&above).await.expect("a container");
        shell(&engine, &container, "cat /tmp/a/b/c > /tmp/d").await;
        remove(&engine, container).await;
        engine.remove(&Object::Snapshot(snapshot)).await.expect("the snapshot goes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_of_a_process_that_was_killed_at_any_point() {
    let place = Place::new();
    let engine = open(place.path());
    load(&engine, busybox::busybox_image()).await;
    let program = std::env::current_exe().expect("this program");
    let (mut found, mut kept) = (0, 0);
    for round in 0..40 {
        let mut victim = process::Command::new(&program)
            .args(["victim", "--exact", "--nocapture"])
            .env("PACKHOLD_TEST_VICTIM", place.path())
            .stdout(process::Stdio::null())
            .stderr(process::Stdio::null())
            .spawn()
            .expect("this program runs");
        // Some are killed as soon as there is something to be found, however slow the machine is.
        let late = Instant::now() + Duration::from_secs(30);
        while round % 4 > 1 && Instant::now() < late {
            let is_there = match round % 4 {
                2 => !ids(&engine).await.is_empty(),
                _ => !snapshots(&engine).await.is_empty(),
            };
            if is_there {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if round % 4 < 2 {
            tokio::time::sleep(Duration::from_millis(250 + round * 17)).await;
        }
        victim.kill().expect("it is killed");
        victim.wait().expect("it has ended");
        let ids = ids(&engine).await;
        found += ids.len();
        for id in &ids {
            engine.remove(&Object::Container(ContainerId(id.clone()))).await.expect("it goes");
        }
        let snapshots = snapshots(&engine).await;
        kept += snapshots.len();
        for id in &snapshots {
            engine.remove(&Object::Snapshot(id.clone())).await.expect("it goes");
        }
        // What was being removed has no label any more; the next process to open the engine finishes that.
        let engine = open(place.path());
        let mut left = left_behind(place.path(), &ids);
        // A folder that is no container yet, and nothing but a file.
        left.retain(|path| !path.contains("/.new-"));
        assert_eq!(left, [""; 0], "round {round}");
        assert_eq!(self::ids(&engine).await, [""; 0]);
        assert_eq!(self::snapshots(&engine).await, []);
    }
    assert!(found > 10, "only {found} containers were there to be found");
    assert!(kept > 0, "no snapshot was there to be found");
    let processes = process::Command::new("ps").args(["-eo", "args"]).output().expect("ps");
    let processes = String::from_utf8_lossy(&processes.stdout);
    assert!(!processes.contains(nap()), "{processes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_can_be_removed_while_it_is_made() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let mut seen = Vec::new();
    for round in 0..20 {
        let (maker, spec) = (engine.clone(), spec(image, Network::None, LABEL));
        let making = tokio::spawn(async move { maker.create(&spec).await });
        tokio::time::sleep(Duration::from_millis(round * 5)).await;
        let now = ids(&engine).await;
        for id in &now {
            engine.remove(&Object::Container(ContainerId(id.clone()))).await.expect("it goes");
        }
        seen.extend(now);
        if let Ok(made) = making.await.expect("no panic") {
            engine.remove(&Object::Container(made)).await.expect("it goes");
        }
    }
    assert!(!seen.is_empty());
    assert_eq!(left_behind(place.path(), &seen), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_deeper_than_any_path_do_not_keep_a_container_from_going() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    let name = "d".repeat(200);
    let script = format!(
        "cd /tmp; i=0; while [ $i -lt 150 ]; do mkdir {name} && cd -P {name} || exit 1; i=$((i+1)); done; echo made"
    );
    assert!(shell(&engine, &container, &script).await.contains("made"));
    let ids = ids(&engine).await;
    remove(&engine, container).await;
    assert_eq!(left_behind(place.path(), &ids), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_to_its_programs_what_dockers_is() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    let told = async |script: &str| shell(&engine, &container, script).await.trim().to_owned();

    // Where the kernel has a /proc/kcore, libcontainer links to it, and calls that otherwise than runc does; what is there is masked.
    assert_eq!(
        told("ls /dev | tr '\\n' ' '").await.replace("kcore ", ""),
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    );
    let limits = "umask; sed -nE 's/^Max (core file size|open files) +([0-9]+) +([0-9]+) .*/\\2 \\3/p' /proc/self/limits";
    assert_eq!(told(limits).await, "0022\n0 0\n1024 4096");
    assert_eq!(
        told("cat /etc/hostname; grep -c localhost /etc/hosts; wc -c < /etc/resolv.conf").await,
        "test\n2\n0"
    );
    // Rust's runtime ignores SIGPIPE, the 13th, and a program inherits what is ignored.
    let ignored = told("sed -n 's/^SigIgn:.//p' /proc/self/status").await;
    assert_eq!(u64::from_str_radix(&ignored, 16).expect("a number") & 1 << 12, 0, "{ignored}");
    assert_eq!(told("sed -n 's/^SigBlk:.//p' /proc/self/status").await, "0000000000000000");
    assert_eq!(told("echo x > /dev/null; head -c 3 /dev/zero | wc -c; stat -c %a /dev/shm").await, "3\n1777");
    assert_eq!(
        told("grep -E 'Cap(Inh|Amb)' /proc/self/status | cut -f2 | sort -u").await,
        "0000000000000000"
    );
    assert_eq!(told("grep Seccomp: /proc/self/status").await, "Seccomp:\t2");
    let of = async |user: &str| {
        let command = Command { user: user.to_owned(), ..command(&["id", "-G"]) };
        run(&engine, &container, &command).await.1
    };
    assert_eq!((of("0:0").await.as_str(), of("1000:1001").await.as_str()), ("0\n", "1001\n"));
    assert_eq!(told("cat /proc/sys/net/ipv4/ip_unprivileged_port_start").await, "0");
    let missing = Command { dir: "/no/such".to_owned(), ..command(&["true"]) };
    let (status, printed) = run(&engine, &container, &missing).await;
    assert_eq!(status, ExecStatus::Exited { code: 126, oom: false, process_limit: false }, "{printed}");
    let script = command(&["/bin/script"]);
    shell(&engine, &container, "printf 'echo by the shell' > /bin/script; chmod 755 /bin/script").await;
    assert_eq!(run(&engine, &container, &script).await.1, "by the shell\n");
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_in_the_groups_of_its_container_and_has_no_file_that_it_was_not_given() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    // A file that whoever started this program has left open to all that it starts.
    let open = std::fs::File::open("/etc").expect("a folder");
    rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty()).expect("it stays open");
    // The fourth is the folder that `ls` lists.
    assert_eq!(shell(&engine, &container, "ls /proc/self/fd").await, "0\n1\n2\n3\n");
    drop(open);
    // Each is a session of its own: process, group and session have one number.
    let told = shell(&engine, &container, "cut -d' ' -f1,5,6 /proc/$$/stat").await;
    let numbers: Vec<_> = told.split_ascii_whitespace().collect();
    assert!(numbers.len() == 3 && numbers.iter().all(|number| *number == numbers[0]), "{told}");
    let ids = ids(&engine).await;
    // No other test looks for these.
    let ordinary = std::env::var_os(rootless::PROGRAM).is_some();
    let nap = if ordinary { "sleep 3001" } else { "sleep 3000" };
    for user in ["0:0", "1000:1000"] {
        let sleep = Command { user: user.to_owned(), ..command(&["sh", "-c", &format!("{nap} & {nap} &")]) };
        assert_eq!(run(&engine, &container, &sleep).await.0, EXITED);
    }
    // A shell's child is for a moment the shell itself.
    let naps = || -> Vec<std::path::PathBuf> {
        let all = std::fs::read_dir("/proc").expect("processes").flatten().map(|entry| entry.path());
        let naps = |path: &std::path::PathBuf| {
            let told = std::fs::read_to_string(path.join("cmdline")).unwrap_or_default();
            told.replace('\0', " ").trim_end() == nap
        };
        all.filter(naps).collect()
    };
    for _ in 0..100 {
        if naps().len() == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let naps = naps();
    for nap in &naps {
        let groups = std::fs::read_to_string(nap.join("cgroup")).expect("its groups");
        let limited = groups.lines().filter(|line| {
            ["cpu", "devices", "freezer", "memory", "pids"]
                .iter()
                .any(|name| line.split(':').nth(1).is_some_and(|all| all.split(',').any(|one| one == *name)))
        });
        for line in limited.filter(|_| !ordinary) {
            assert!(line.ends_with(&format!(":/packhold/{}", ids[0])), "{line}");
        }
    }
    assert_eq!(naps.len(), 4);
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_network_comes_with_a_copy_of_its_name_servers() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::Outside, LABEL)).await.expect("a container");
    let before = std::fs::read_to_string("/etc/resolv.conf").expect("this machine's name servers");
    assert_eq!(shell(&engine, &container, "cat /etc/resolv.conf").await, before);
    assert_eq!(
        shell(&engine, &container, "echo changed > /etc/resolv.conf; cat /etc/resolv.conf").await,
        "changed\n"
    );
    assert_eq!(std::fs::read_to_string("/etc/resolv.conf").expect("it is there"), before);
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_container_has_written_can_be_had() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    shell(&engine, &container, "echo kept > /tmp/file; rm /etc/group; kill 1; sleep 5").await;
    let mut bytes = Vec::new();
    let mut tar = engine.get(&container, "/tmp/file").await.expect("the file");
    tar.read_to_end(&mut bytes).await.expect("a tar");
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut text = String::new();
    archive
        .entries()
        .expect("a tar")
        .next()
        .expect("an entry")
        .expect("an entry")
        .read_to_string(&mut text)
        .expect("text");
    assert_eq!(text, "kept\n");
    assert!(engine.get(&container, "/etc/group").await.is_err());
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_containers_write_can_be_kept_in_memory() {
    let place = Place::new();
    let memory = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    std::fs::set_permissions(memory.path(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let engine = Embedded::open(&Settings {
        folder: place.path().join("engine"),
        helper: rootless::program(),
        upper: Some(memory.path().to_owned()),
        archive: None,
        registries: Default::default(),
    })
    .expect("the engine opens");
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    shell(&engine, &container, "echo x > /tmp/file").await;
    let files = || walk(memory.path()).into_iter().filter(|path| path.ends_with("tmp/file")).count();
    assert_eq!(files(), 1);
    remove(&engine, container).await;
    assert_eq!(std::fs::read_dir(memory.path()).expect("the folder").count(), 0);
    std::fs::set_permissions(memory.path(), std::fs::Permissions::from_mode(0o711)).expect("a new mode");
    let opened = Embedded::open(&Settings {
        folder: place.path().join("engine"),
        helper: rootless::program(),
        upper: Some(memory.path().to_owned()),
        archive: None,
        registries: Default::default(),
    });
    assert!(opened.is_err(), "others may enter it");
    let mode = std::fs::metadata(memory.path()).expect("the folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o711, "it is left as it is");
}

#[test]
fn the_folder_of_another_user_is_left_alone() {
    let place = Place::new();
    let folder = place.path().join("engine");
    std::fs::create_dir(&folder).expect("a folder");
    std::os::unix::fs::chown(&folder, Some(1), None).expect("it becomes another's; this test needs root");
    let settings = Settings {
        folder: folder.clone(),
        helper: rootless::program(),
        upper: None,
        archive: None,
        registries: Default::default(),
    };
    let refused = Embedded::open(&settings).err().expect("it is another's").to_string();
    assert!(refused.contains("is not a folder of the user who runs this"), "{refused}");
    assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 0);
}

fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a kind").is_dir() {
            found.extend(walk(&entry.path()));
        }
        found.push(entry.path().display().to_string());
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_although_what_it_started_prints_for_ever() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    let mut printed = 0_u64;
    let mut sink = |bytes: &[u8]| {
        printed += bytes.len() as u64;
        std::ops::ControlFlow::Continue(())
    };
    let yes =
        command(&["sh", "-c", "(while :; do echo yes yes yes yes yes yes yes yes; done) & sleep 1; exit 3"]);
    let ended = engine.exec(&container, &yes, &mut sink);
    let status =
        tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it ends").expect("it runs");
    assert_eq!(status, ExecStatus::Exited { code: 3, oom: false, process_limit: false });
    assert!(printed > 0);
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_nobody_reads_stops_the_command() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let labels = BTreeMap::from([(LABEL.to_owned(), String::new())]);
    let spec = ContainerSpec { labels, ..spec(image, Network::None, LABEL) };
    let container = engine.create(&spec).await.expect("a container");
    let script = "x=$(printf %4000s); (while :; do echo \"$x\"; done) & p=$!; sleep 0.5; a=$(cut -d' ' -f14 /proc/$p/stat); sleep 0.5; \
                  b=$(cut -d' ' -f14 /proc/$p/stat); echo $a $b > /tmp/told; kill $p";
    let mut slow = |_: &[u8]| {
        std::thread::sleep(Duration::from_secs(3));
        std::ops::ControlFlow::Break(())
    };
    let status = engine.exec(&container, &command(&["sh", "-c", script]), &mut slow).await.expect("it runs");
    assert_eq!(status, ExecStatus::Abandoned);
    let told = shell(&engine, &container, "cat /tmp/told").await;
    let (a, b) = told.trim().split_once(' ').expect("two numbers");
    assert_eq!(a, b, "it went on printing");
    assert_eq!(INSTALLER.len(), spec.capabilities.len());
    remove(&engine, container).await;
}

/// A small file system in memory, until it is dropped.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(place: &Path) -> Self {
        std::fs::create_dir(place).expect("a folder");
        let options = "size=40m,nr_inodes=4000,mode=700";
        let mount =
            process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(place).status();
        assert!(mount.expect("mount(8)").success(), "this test needs root");
        Self(place.to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        _ = process::Command::new("umount").arg("-l").arg(&self.0).status();
        _ = self.0.parent().map(std::fs::remove_dir_all);
    }
}

/// Takes all bytes and all inodes; gives the folder that holds them.
fn fill(place: &Path) -> std::path::PathBuf {
    let folder = place.join("fill");
    std::fs::create_dir(&folder).expect("a folder");
    _ = std::fs::write(folder.join("bytes"), vec![0; 41 << 20]);
    let full = |number| std::fs::create_dir(folder.join(format!("{number}"))).is_err();
    assert!((0..5000).any(full), "it is not full");
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_nothing_from_being_removed() {
    let place = Place::new();
    let small = Small::mount(&place.path().join("engine"));
    // Unmounted last.
    let (_small, place) = (small, place);
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    let ids = ids(&engine).await;
    let script = ": > /tmp/big; mkdir /tmp/x; cat /dev/zero > /tmp/big; cd /tmp/x; seq 1 5000 | xargs mkdir";
    let printed = shell(&engine, &container, script).await;
    assert!(printed.contains("No space left"), "{printed}");
    assert!(std::fs::create_dir(place.path().join("engine/x")).is_err(), "the disk is not full");
    // Another process comes later and cleans up.
    let later = open(place.path());
    remove(&later, container).await;
    let mut left = left_behind(place.path(), &ids);
    // The small disk itself.
    left.retain(|line| !line.contains("nr_inodes=4000"));
    assert_eq!(left, [""; 0]);

    let filling = fill(&place.path().join("engine"));
    later.remove(&Object::ImageTag("test:image".to_owned())).await.expect("the tag goes");
    let layers =
        || std::fs::read_dir(place.path().join("engine/images/layers/sha256")).expect("layers").count();
    assert_eq!(layers(), 0, "the layers of the image stay");
    let waiting = std::fs::read_dir(place.path().join("engine/images/tmp")).expect("a folder").count();
    assert_eq!(waiting, 0);
    std::fs::remove_dir_all(filling).expect("space");
    let image = load(&later, busybox::busybox_image()).await;
    let container = later.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    remove(&later, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_has_lost_its_record_goes() {
    let place = Place::new();
    let memory = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    std::fs::set_permissions(memory.path(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let settings = Settings {
        folder: place.path().join("engine"),
        helper: rootless::program(),
        upper: Some(memory.path().to_owned()),
        archive: None,
        registries: Default::default(),
    };
    let engine = Embedded::open(&settings).expect("the engine opens");
    let image = load(&engine, busybox::busybox_image()).await;
    for content in ["", "{\"image\": ", "[]"] {
        let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
        let ids = ids(&engine).await;
        let record = place.path().join("engine/containers").join(&container.0).join("container.json");
        std::fs::write(&record, content).expect("the record is lost");
        Embedded::open(&settings).expect("the engine opens");
        assert_eq!(left_behind(place.path(), &ids), [""; 0], "{content:?}");
        assert_eq!(std::fs::read_dir(memory.path()).expect("a folder").count(), 0, "{content:?}");
        // Whoever made it finds no more than that it is gone.
        remove(&engine, container).await;
    }
}

/// Soft and hard limits by the names that proc_pid_limits(5) gives them.
fn limits(text: &str) -> BTreeMap<String, (u64, u64)> {
    let number = |word: &str| word.parse().unwrap_or(u64::MAX);
    // Columns of 26, 21 and 21 characters.
    let line = |line: &str| {
        let numbers = (number(line.get(26..47)?.trim()), number(line.get(47..68)?.trim()));
        Some((line.get(..26)?.trim().to_owned(), numbers))
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// Whether this process may raise its hard limits (capabilities(7), CAP_SYS_RESOURCE).
fn has_cap_sys_resource() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("capabilities");
    u64::from_str_radix(line.trim(), 16).expect("a mask") >> 24 & 1 == 1
        && std::env::var_os(rootless::PROGRAM).is_none()
}

/// Gives every thread of this process a nice value.
fn nice(value: i32) {
    for thread in std::fs::read_dir("/proc/self/task").expect("threads") {
        let name = thread.expect("a thread").file_name();
        let number =
            name.to_str().and_then(|name| name.parse().ok()).and_then(rustix::process::Pid::from_raw);
        rustix::process::setpriority_process(number, value).expect("a nice value");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_has_set_for_processes_is_not_a_containers() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    // The soft ones: without a privilege no process gets its hard limit back.
    for (resource, value) in [
        (Resource::Nproc, 5000),
        (Resource::Stack, 1 << 20),
        (Resource::Fsize, 1 << 30),
        (Resource::Nofile, 512),
    ] {
        let Rlimit { maximum, .. } = getrlimit(resource);
        setrlimit(resource, Rlimit { current: Some(value), maximum }).expect("a limit");
    }
    std::fs::write("/proc/self/oom_score_adj", "321").expect("a score");
    if std::env::var_os(rootless::PROGRAM).is_none() {
        nice(-3);
    }
    let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    let told = limits(&shell(&engine, &container, "cat /proc/self/limits").await);
    let own = limits(&std::fs::read_to_string("/proc/self/limits").expect("limits"));
    let all = u64::MAX;
    let may_raise = has_cap_sys_resource();
    for (name, soft, hard) in [
        ("Max cpu time", all, all),
        ("Max file size", all, all),
        ("Max data size", all, all),
        ("Max stack size", 8 << 20, all),
        ("Max core file size", 0, 0),
        ("Max resident set", all, all),
        ("Max processes", all, all),
        ("Max open files", 1024, 4096),
        ("Max locked memory", 8 << 20, 8 << 20),
        ("Max address space", all, all),
        ("Max file locks", all, all),
        ("Max pending signals", 16_384, 16_384),
        ("Max msgqueue size", 819_200, 819_200),
        ("Max nice priority", 0, 0),
        ("Max realtime priority", 0, 0),
        ("Max realtime timeout", all, all),
    ] {
        let most = if may_raise { all } else { own[name].1 };
        assert_eq!(told[name], (soft.min(most), hard.min(most)), "{name}");
    }
    assert_eq!(told.len(), 16, "{told:?}");
    let others = "cat /proc/self/oom_score_adj /proc/1/oom_score_adj; cut -d' ' -f19 /proc/self/stat";
    assert_eq!(shell(&engine, &container, others).await, "0\n0\n0\n");
    // What makes room for others stays.
    nice(4);
    // The next helper may have been started before.
    shell(&engine, &container, "true").await;
    assert_eq!(shell(&engine, &container, "cut -d' ' -f19 /proc/self/stat").await, "4\n");
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_hundred_and_twenty_layers_runs() {
    let place = Place::new();
    let engine = open(place.path());
    let mut layers = vec![busybox::busybox_layer()];
    for number in 1..120 {
        let mut layer = tar::Builder::new(Vec::new());
        let kind = tar::EntryType::Regular;
        busybox::append(&mut layer, &format!("tmp/of-{number}"), kind, 0o644, b"x", None);
        busybox::append(&mut layer, "tmp/last", kind, 0o644, number.to_string().as_bytes(), None);
        layers.push(layer.into_inner().expect("a tar in memory"));
    }
    let image = load(&engine, busybox::archive_of(&layers)).await;
    let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    assert_eq!(shell(&engine, &container, "ls /tmp/of-* | wc -l; cat /tmp/last").await, "119\n119");
    shell(&engine, &container, "rm /tmp/last; kill 1; sleep 5").await;
    assert!(engine.get(&container, "/tmp/last").await.is_err());
    assert!(engine.get(&container, "/tmp/of-7").await.is_ok());
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cleaning_looks_at_every_engine_and_says_which_cannot_be_asked() {
    let place = Place::new();
    // Where the program has its engine; the test's own way to it is a link.
    let data = place.path().join("data/packhold");
    std::fs::create_dir_all(data.join("engine")).expect("a folder");
    std::os::unix::fs::symlink(data.join("engine"), place.path().join("engine")).expect("a link");
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("this boot");
    let owner = |start: &str| format!("{host} {} {} {start}", boot.trim().replace('-', ""), process::id());
    // Nobody started with the machine.
    let dead = BTreeMap::from([("packhold.owner".to_owned(), owner("0")), (LABEL.to_owned(), String::new())]);
    let made = async || {
        let spec = ContainerSpec { labels: dead.clone(), ..spec(image, Network::None, LABEL) };
        engine.create(&spec).await.expect("a container")
    };
    made().await;
    engine.snapshot(&made().await).await.expect("a snapshot");
    let clean = |socket: &Path| {
        let mut clean = process::Command::new(rootless::program());
        clean.arg("clean").env("XDG_DATA_HOME", place.path().join("data")).env("HOME", place.path());
        clean.env("DOCKER_HOST", format!("unix://{}", socket.display())).env_remove("CONTAINER_HOST");
        let done = clean.output().expect("the program runs");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    // A daemon that is started and does not answer.
    let socket = place.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let told = clean(&socket);
    assert!(told.starts_with("removed 1 containers, 1 snapshots and"), "{told}");
    assert!(told.contains("the docker engine could not be asked: "), "{told}");
    assert_eq!((ids(&engine).await, snapshots(&engine).await), (vec![], vec![]));
    let told = clean(Path::new("/no/such.sock"));
    assert!(told.contains("the docker engine was not asked: there is no /no/such.sock"), "{told}");
}

fn image_spec(tag: &str) -> CommitSpec {
    CommitSpec { tag: tag.to_owned(), labels: BTreeMap::new(), comment: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_in_a_container_stands_still_while_an_image_is_made_of_it() {
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    // Names come and go, and a file grows and shrinks: whoever reads meanwhile finds one that is not there any more.
    let restless = "mkdir /tmp/d; for p in 1 2 3 4; do (while :; do for i in 1 2 3 4 5 6 7 8 9; do : > /tmp/d/$p-$i; done; \
                    rm /tmp/d/$p-*; done) & done; (while :; do echo x >> /tmp/told; done) & echo";
    shell(&engine, &container, restless).await;
    for round in 0..5 {
        engine
            .commit(&container, &image_spec("test:still"))
            .await
            .unwrap_or_else(|error| panic!("{round}: {error}"));
    }
    let size =
        async || shell(&engine, &container, "wc -c < /tmp/told").await.trim().parse::<u64>().expect("a size");
    let before = size().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(before < size().await, "it does not go on");
    remove(&engine, container).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_capabilities_of_a_file_are_in_an_image_as_they_were_put() {
    // CAP_NET_RAW, permitted and effective: struct vfs_cap_data of version 2, linux/capability.h.
    const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const KEY: &str = "SCHILY.xattr.security.capability";
    let place = Place::new();
    let engine = open(place.path());
    let image = load(&engine, busybox::busybox_image()).await;
    let container = engine.create(&spec(image, Network::None, LABEL)).await.expect("a container");
    let mut put = tar::Builder::new(Vec::new());
    put.append_pax_extensions([(KEY, CAPABILITY.as_slice())]).expect("a tar in memory");
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(1);
    put.append_data(&mut header, "able", b"x".as_slice()).expect("a tar in memory");
    let put = Box::pin(std::io::Cursor::new(put.into_inner().expect("a tar in memory")));
    engine.put(&container, "/bin", put).await.expect("it is put");
    let made = engine.commit(&container, &image_spec("test:able")).await.expect("an image");
    remove(&engine, container).await;

    let mut archive = Vec::new();
    engine.save(&made.id).await.expect("an archive").read_to_end(&mut archive).await.expect("an archive");
    let mut found = Vec::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().expect("an archive") {
        let mut layer = Vec::new();
        entry.expect("an entry").read_to_end(&mut layer).expect("an entry");
        let mut layer = tar::Archive::new(layer.as_slice());
        for mut entry in layer.entries().expect("a tar").map_while(Result::ok) {
            let is_it = entry.path().is_ok_and(|path| path.ends_with("bin/able"));
            let Ok(Some(records)) = entry.pax_extensions() else { continue };
            let values = records.flatten().filter(|record| is_it && record.key() == Ok(KEY));
            found.extend(values.map(|record| record.value_bytes().to_vec()));
        }
    }
    assert_eq!(found, [CAPABILITY]);
}
