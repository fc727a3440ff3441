//! What an engine over a socket must bear: that nobody answers, that it dies, that a registry refuses.

#[path = "common/busybox.rs"]
mod busybox;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use packhold::engine::docker::Docker;
use packhold::engine::{
    Command, ContainerSpec, Engine, EngineError, Found, ImageSource, Limits, Network, Object, Query,
};
use packhold::sandbox::{self, Privileges, SandboxError, SandboxSpec, SmallFile, Watch};
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SOCKET: &str = "/var/run/docker.sock";

async fn docker() -> Docker {
    Docker::connect(None).await.expect("this test needs Docker at its default socket: start it")
}

/// A socket that passes everything on to Docker's, until it is aborted: then the engine behind it seems to have died.
fn stand_in(socket: &Path) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).expect("a socket in a temporary folder");
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut far = UnixStream::connect(SOCKET).await.expect("this test needs Docker");
                _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    })
}

fn command(argv: &[&str]) -> Command {
    Command {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]),
        user: "0:0".to_owned(),
        dir: "/".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_ends_commands_and_streams_with_an_error() {
    let docker = docker().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("engine.sock");
    let stand_in = stand_in(&socket);
    let engine = Docker::connect(socket.to_str()).await.expect("the stand-in answers");

    let tag = format!("packhold-dying:{}", std::process::id());
    let archive = Box::pin(Cursor::new(busybox::busybox_image()));
    let image = docker.load(ImageSource::Archive(archive), &tag).await.expect("the tests' image loads");
    let spec = ContainerSpec {
        root: image.id.into(),
        name_hint: "dying".to_owned(),
        labels: BTreeMap::new(),
        network: Network::None,
        capabilities: Vec::new(),
        limits: Limits { memory: 64 << 20, processes: 30, cpus: None },
        hostname: "bench".to_owned(),
        init: false,
    };
    let container = docker.create(&spec).await.expect("a container");

    // Its megabytes do not fit into the sockets' buffers.
    let mut stream = engine.save(&image.id).await.expect("a stream begins");
    let sleep = command(&["sh", "-c", "echo begun; sleep 60"]);
    let begun = tokio::sync::Notify::new();
    let mut sink = |_: &[u8]| {
        begun.notify_one();
        ControlFlow::Continue(())
    };
    let run = engine.exec(&container, &sleep, &mut sink);
    let kill = async {
        let seen = tokio::time::timeout(Duration::from_secs(30), begun.notified()).await;
        stand_in.abort();
        assert!(seen.is_ok(), "the command printed nothing");
        Instant::now()
    };
    let (run, killed) = tokio::join!(run, kill);
    let took = killed.elapsed();
    let broken = stream.read_to_end(&mut Vec::new()).await;
    let asked = engine.find(&Query::ImageWithId(image.id)).await;
    docker.remove(&Object::Container(container)).await.expect("the container goes");
    docker.remove(&Object::ImageTag(tag)).await.expect("the image goes");

    assert!(matches!(run, Err(EngineError::Unreachable { .. })), "{run:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(broken.is_err(), "{broken:?}");
    assert!(matches!(asked, Err(EngineError::Unreachable { .. })), "{asked:?}");
}

#[tokio::test]
async fn where_nobody_answers_the_address_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("none.sock");
    let address = format!("unix://{}", socket.display());
    let missing = Docker::connect(Some(&address)).await.err().expect("nobody answers");
    assert_eq!(missing.to_string(), format!("the docker engine does not answer at {address}"));

    // A socket whose server is gone.
    drop(UnixListener::bind(&socket).expect("a socket"));
    let refused = Docker::podman(Some(&address)).await.err().expect("nobody answers");
    assert_eq!(refused.to_string(), format!("the podman engine does not answer at {address}"));
    assert!(std::error::Error::source(&refused).is_some());
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused() {
    let error = Docker::connect(Some("ssh://host")).await.err().expect("not an address for us");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_registry_that_does_not_give_an_image_is_told_as_such() {
    let docker = docker().await;
    for reference in ["127.0.0.1:1/none", "127.0.0.1:1/none:1.0", "not a reference"] {
        let error = docker
            .load(
                ImageSource::Registry {
                    reference: reference.to_owned(),
                    architecture: None,
                    progress: Default::default(),
                },
                "packhold-none:1",
            )
            .await
            .err();
        assert!(matches!(error, Some(EngineError::Pull { .. })), "{reference}: {error:?}");
    }
}

/// A root file system with systemd as a tar, made once for all runs of the tests.
fn systemd_tar() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let tar = folder.join("systemd-bookworm.tar");
    let part = folder.join(format!("systemd-{}.part", std::process::id()));
    for _ in 0..3 {
        if tar.exists() {
            break;
        }
        let made = std::process::Command::new("mmdebstrap")
            .args(["--variant=minbase", "--include=systemd,systemd-sysv", "--format=tar", "bookworm"])
            .arg(&part)
            .status()
            .expect("this test needs mmdebstrap: install Debian's package of that name");
        if made.success() {
            std::fs::rename(&part, &tar).expect("a file below target/");
        }
    }
    _ = std::fs::remove_file(&part);
    assert!(tar.exists(), "mmdebstrap failed three times");
    tar
}

/// A service as packages ship them, hardened with what systemd needs its capabilities for.
const SERVICE: &str = "\
[Service]
Type=oneshot
RemainAfterExit=yes
DynamicUser=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome=yes
CapabilityBoundingSet=
StateDirectory=tried
ExecStart=/bin/sh -c 'touch /tmp/x && ! touch /usr/x && id -u > /var/lib/tried/uid'
";

#[tokio::test(flavor = "multi_thread")]
async fn systemd_runs_as_the_first_process_and_starts_services() {
    let docker: std::sync::Arc<dyn Engine> = std::sync::Arc::new(docker().await);
    if !docker.info().await.expect("the engine answers").init {
        eprintln!("skipped: this engine cannot run an init system");
        return;
    }
    let tar = tokio::task::spawn_blocking(systemd_tar).await.expect("a tar");
    let archive =
        tokio::task::spawn_blocking(move || busybox::archive(std::fs::read(tar).expect("the tar is there")));
    let archive = Box::pin(Cursor::new(archive.await.expect("an archive in memory")));
    let tag = format!("packhold-systemd:{}", std::process::id());
    let image = docker.load(ImageSource::Archive(archive), &tag).await.expect("the tests' image loads");
    let spec = SandboxSpec {
        root: image.id.into(),
        name: "systemd".to_owned(),
        privileges: Privileges::Init,
        limits: Limits { memory: 512 << 20, processes: 200, cpus: None },
        run: format!("systemd-{}", std::process::id()),
        hostname: None,
    };
    let script = "\
        for i in $(seq 100); do state=$(systemctl is-system-running 2>/dev/null); case $state in running|degraded) break; esac; sleep 0.3; done
        echo state: $state
        echo first: $(cat /proc/1/comm)
        systemctl daemon-reload && systemctl start tried && echo started: $(systemctl is-active tried)
        systemctl is-active systemd-journald
        [ $(cat /var/lib/tried/uid) -gt 1000 ] && echo ran as its own user
        echo network: $(tail -n +3 /proc/net/dev | cut -d: -f1)
        grep NoNewPrivs /proc/1/status | tr '\\t' ' '
        systemctl --failed --no-legend --plain";
    let cancel = CancellationToken::new();
    let run = sandbox::scope(&docker, spec, &cancel, |sandbox| async move {
        let name = "etc/systemd/system/tried.service".to_owned();
        let content = SERVICE.as_bytes();
        let unit = SmallFile { name, mode: 0o644, owner: 0, is_folder: false, content };
        sandbox.put_files("/", &[unit]).await?;
        let mut command = command(&["sh", "-c", script]);
        command.env.insert("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        let minute = Duration::from_secs(60);
        let watch = Watch { time: minute, silence: minute, output: 100_000 };
        let mut printed = Vec::new();
        let mut keep = |bytes: &[u8]| {
            printed.extend_from_slice(bytes);
            Ok(())
        };
        sandbox.run(&command, &watch, &mut keep).await?;
        Ok::<_, SandboxError>(String::from_utf8_lossy(&printed).into_owned())
    });
    let printed = run.await;
    let left = docker.find(&Query::ContainersLabelled(sandbox::RUN_LABEL.to_owned())).await;
    docker.remove(&Object::ImageTag(tag)).await.expect("the image goes");

    let printed = printed.expect("a sandbox").expect("a command");
    let lines: Vec<&str> = printed.lines().collect();
    assert!(matches!(lines[0], "state: running" | "state: degraded"), "{printed}");
    let wanted = [
        "first: systemd",
        "started: active",
        "active",
        "ran as its own user",
        "network: lo",
        "NoNewPrivs: 1",
    ];
    assert_eq!(lines[1..], wanted, "{printed}");
    let run = format!("systemd-{}", std::process::id());
    let ours = |found: &Found| matches!(found, Found::Container { labels, .. } if labels.values().any(|it| *it == run));
    assert!(!left.expect("containers").iter().any(ours), "the container is left");
}
