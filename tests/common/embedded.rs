//! An embedded engine in a folder of its own.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;

use crate::rootless::program;
use packhold::engine::embedded::{Embedded, Settings};
use packhold::engine::{
    ByteStream, Command, ContainerId, ContainerSpec, Engine, ExecStatus, ImageId, ImageSource, Limits,
    Network, Object,
};

/// What a package manager needs: the most that a container has that runs what others have written, without systemd.
pub const INSTALLER: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETUID",
    "SYS_CHROOT",
];

/// A folder for an engine. Its containers go with it, also when a test fails.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let place = self.path().to_owned();
        let clean = move || {
            let Ok(containers) = std::fs::read_dir(place.join("engine/containers")) else { return };
            let ids: Vec<_> =
                containers.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                for id in ids.into_iter().filter(|id| !id.starts_with('.')) {
                    _ = open(&place).remove(&Object::Container(ContainerId(id))).await;
                }
            });
        };
        // A runtime cannot be waited for within another.
        _ = std::thread::spawn(clean).join();
    }
}

pub fn open(place: &Path) -> Embedded {
    let settings = Settings {
        folder: place.join("engine"),
        helper: program(),
        upper: None,
        archive: None,
        registries: Default::default(),
    };
    Embedded::open(&settings).expect("this test needs root, overlayfs and control groups")
}

pub async fn load(engine: &Embedded, archive: Vec<u8>) -> ImageId {
    let archive: ByteStream = Box::pin(Cursor::new(archive));
    engine.load(ImageSource::Archive(archive), "test:image").await.expect("the tests' image loads").id
}

pub fn spec(image: ImageId, network: Network, label: &str) -> ContainerSpec {
    ContainerSpec {
        root: image.into(),
        name_hint: "test".to_owned(),
        labels: BTreeMap::from([(label.to_owned(), "1".to_owned())]),
        network,
        capabilities: INSTALLER.map(str::to_owned).to_vec(),
        limits: Limits { memory: 512 << 20, processes: 200, cpus: None },
        hostname: "test".to_owned(),
        init: false,
    }
}

pub fn command(argv: &[&str]) -> Command {
    Command {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]),
        user: "0:0".to_owned(),
        dir: "/".to_owned(),
    }
}

pub async fn run(engine: &Embedded, container: &ContainerId, command: &Command) -> (ExecStatus, String) {
    let mut printed = Vec::new();
    let mut sink = |bytes: &[u8]| {
        printed.extend_from_slice(bytes);
        ControlFlow::Continue(())
    };
    let status = engine.exec(container, command, &mut sink).await.expect("the engine runs commands");
    (status, String::from_utf8_lossy(&printed).into_owned())
}

pub async fn shell(engine: &Embedded, container: &ContainerId, script: &str) -> String {
    run(engine, container, &command(&["sh", "-c", script])).await.1
}

pub async fn remove(engine: &Embedded, container: ContainerId) {
    engine.remove(&Object::Container(container)).await.expect("the container goes");
}

/// What of containers of an engine in `place` is left on this machine: folders, mounts, control groups. The groups
/// are named by the containers' folders, so those have to be listed before.
pub fn left_behind(place: &Path, ids: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(place.join("engine/containers")).expect("the engine's folder") {
        left.push(entry.expect("an entry").path().display().to_string());
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let place = place.to_str().expect("a path");
    left.extend(mounts.lines().filter(|line| line.contains(place)).map(str::to_owned));
    for mount in mounts.lines().filter(|line| line.contains(" - cgroup")) {
        let root = mount.split(' ').nth(4).expect("a mount point");
        for id in ids {
            for name in [id.clone(), format!("{id}.helper")] {
                let group = Path::new(root).join("packhold").join(name);
                left.extend(group.exists().then(|| group.display().to_string()));
            }
        }
    }
    left
}
