//! What is wrong around a run: the engine, the network, the disk, and those who stop it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    Expected, Finished, Workplace, containers_of, expected, fixture, git, mounts_below, send, succeed,
};

/// How long a run may take to stop and to remove what it started.
const STOPPING: Duration = Duration::from_secs(30);

#[test]
fn without_an_engine_no_run_begins() {
    let mut place = Workplace::new("tinyagent");
    let seed = place.seed();
    for name in ["DOCKER_HOST", "CONTAINER_HOST"] {
        place.env.push((name.to_owned(), "unix:///nonexistent/engine.sock".to_owned()));
    }
    let finished = place.run(&[]);
    finished.assert_is(&Expected {
        exit: 3,
        error: vec!["the docker engine does not answer at unix:///nonexistent/engine.sock".to_owned()],
        hint: "start the engine".to_owned(),
        state: None,
        stage: None,
        reason: None,
        message: Vec::new(),
        log: String::new(),
    });
    place.assert_clean(&finished, &[&seed]);
}

#[test]
fn an_engine_that_dies_in_mid_run_is_lost_and_cleaned_up_when_it_is_back() {
    let mut place = Workplace::new("engine-dies");
    let seed = place.seed();
    let root = place.path("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in ["env", "head", "rm", "sh", "sleep"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    let tar = place.path("root.tar");
    let pack = Command::new("tar")
        .args(["--owner=0", "--group=0", "-cf"])
        .arg(&tar)
        .arg("-C")
        .arg(&root)
        .arg(".")
        .output();
    succeed("tar", pack.unwrap());

    let mut engine = OwnEngine::start(&place.path("engine"));
    place.env.push(("DOCKER_HOST".to_owned(), engine.address()));
    let base = format!("tiny-1={}", tar.display());
    let mut running = place.start(&["--builders", "builders", "--base-tar", &base]);
    running.wait_for_output("the build goes on");
    engine.signal("KILL");
    engine.daemon.wait().unwrap();
    let finished = running.finish();
    finished.assert_is(&expected("engine-dies"));
    place.assert_clean_host(&[&seed, finished.record()["id"].as_str().unwrap()]);

    // The container could not be removed without an engine; it goes as soon as there is one.
    engine.restart();
    assert_eq!(engine.containers().len(), 1, "the engine forgot its container");
    let clean = place.command(&["clean"]).output().unwrap();
    assert!(succeed("clean", clean).starts_with("removed 1 containers"));
    assert_eq!(engine.containers(), [""; 0]);
}

#[test]
fn a_base_image_that_nobody_gives_names_all_that_was_tried() {
    let fault = "no-registry-and-no-mirror";
    let place = Workplace::new(fault);
    let seed = place.seed();
    let finished = place.run(&["--builders", "builders", "--mirror", "http://127.0.0.1:1/debian"]);
    finished.assert_is(&expected(fault));
    place.assert_clean(&finished, &[&seed, finished.record()["id"].as_str().unwrap()]);
}

#[test]
fn a_full_disk_loses_nothing_that_was_archived() {
    let fault = "archive-disk-full";
    let place = Workplace::new(fault);
    fs::create_dir(&place.archive).unwrap();
    let mount = Mount::small(&place.archive);
    let seed = place.seed();
    let finished = place.run(&[]);
    finished.assert_is(&expected(fault));
    assert_eq!(finished.record()["targets"][0]["outcome"]["state"], "passed");
    place.assert_clean(&finished, &[&seed]);
    assert_eq!(place.archived(), [seed], "half of a run is archived");
    drop(mount);
}

/// Starts a build that never ends, and stops the program in the middle of it.
fn stopped_by(signal: &str) -> (Workplace, String, Finished) {
    let place = Workplace::new("endless-build");
    let seed = place.seed();
    let mut running = place.start(&[]);
    running.wait_for_output("the build goes on");
    assert_eq!(containers_of(running.pid()).len(), 1);
    running.signal(signal);
    let asked = Instant::now();
    let finished = running.finish();
    assert!(asked.elapsed() < STOPPING, "it took {:?} to stop", asked.elapsed());
    (place, seed, finished)
}

fn interrupted_by(signal: &str) {
    let (place, seed, finished) = stopped_by(signal);
    finished.assert_is(&expected("endless-build"));
    assert!(finished.errors.contains("stopping: removing containers"), "{}", finished.errors);
    place.assert_clean(&finished, &[&seed]);
    assert_eq!(place.archived(), [seed], "an interrupted run is archived");
}

#[test]
fn ctrl_c_stops_a_run_and_removes_its_container() {
    interrupted_by("INT");
}

#[test]
fn sigterm_stops_a_run_and_removes_its_container() {
    interrupted_by("TERM");
}

/// The folders that a killed run left.
fn left_by_a_killed_run(place: &Workplace, finished: &Finished) -> usize {
    assert_eq!(finished.exit, 128 + 9);
    fs::read_dir(place.path("cache/packhold/work")).unwrap().count()
}

#[test]
fn what_a_killed_run_left_goes_with_the_next_run() {
    let (place, seed, killed) = stopped_by("KILL");
    assert_eq!(left_by_a_killed_run(&place, &killed), 1);
    fs::copy(fixture("tinyagent").join("Makefile"), place.repository.join("Makefile")).unwrap();
    git(&place.repository, &["commit", "--quiet", "--all", "--message", "End the build"]);
    let next = place.run(&[]);
    next.assert_is(&expected("tinyagent"));
    let said = next.lines.iter().filter(|event| event["event"] == "warning");
    let said: Vec<_> = said.filter_map(|event| event["message"].as_str()).collect();
    assert!(said.iter().any(|text| text.contains("removed what dead runs left")), "{said:?}");
    place.assert_clean(&killed, &[&seed, next.record()["id"].as_str().unwrap()]);
    place.assert_clean(&next, &[]);
}

#[test]
fn what_a_killed_run_left_goes_with_clean() {
    let (place, seed, killed) = stopped_by("KILL");
    assert_eq!(left_by_a_killed_run(&place, &killed), 1);
    let clean = place.command(&["clean"]).output().unwrap();
    // Another program's run may have removed the container by now.
    assert!(succeed("clean", clean).contains("1 temporary folders"));
    place.assert_clean(&killed, &[&seed]);
}

/// A small file system in memory, unmounted when it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn small(at: &Path) -> Self {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(at).output();
        succeed("mount (as root)", mount.unwrap());
        Self(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A Docker engine of a test's own, without a network.
pub struct OwnEngine {
    folder: PathBuf,
    daemon: Child,
}

impl OwnEngine {
    pub fn start(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let engine = Self { folder: folder.to_owned(), daemon: Self::spawn(folder) };
        engine.wait_until_it_answers();
        engine
    }

    fn spawn(folder: &Path) -> Child {
        let path = |name: &str| folder.join(name).display().to_string();
        let log = fs::File::options().create(true).append(true).open(path("log")).unwrap();
        // In a network namespace of its own: a daemon without a bridge removes the bridge of another one.
        Command::new("unshare")
            .args(["--net", "dockerd"])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["--host", &format!("unix://{}", path("sock"))])
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn restart(&mut self) {
        // Its containerd ends with it, but looks alive for as long as nobody collects it.
        for file in ["pid", "exec/containerd/containerd.pid"] {
            let _ = fs::remove_file(self.folder.join(file));
        }
        self.daemon = Self::spawn(&self.folder);
        self.wait_until_it_answers();
    }

    pub fn address(&self) -> String {
        format!("unix://{}", self.folder.join("sock").display())
    }

    fn docker(&self, arguments: &[&str]) -> std::process::Output {
        Command::new("docker").args(["--host", &self.address()]).args(arguments).output().unwrap()
    }

    fn containers(&self) -> Vec<String> {
        let all = succeed("docker ps", self.docker(&["ps", "--all", "--quiet"]));
        all.lines().map(str::to_owned).collect()
    }

    fn wait_until_it_answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.docker(&["version"]).status.success() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "dockerd does not answer: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn signal(&self, name: &str) {
        send(name, self.daemon.id());
    }

    /// Processes whose command line names the engine's folder: its daemons and the shims of its containers.
    fn processes(&self) -> Vec<u32> {
        let name = self.folder.display().to_string();
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let ours = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains(&name) && (line.contains("dockerd") || line.contains("containerd"))
        };
        pids.filter(ours).collect()
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if let Ok(None) = self.daemon.try_wait() {
            for container in self.containers() {
                let _ = self.docker(&["rm", "--force", &container]);
            }
            self.signal("TERM");
            let _ = self.daemon.wait();
        }
        // A shim that is killed takes no container along, but a container's first process is the shim's child.
        for pid in self.processes() {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            for pid in children.split_whitespace().chain([pid.to_string().as_str()]) {
                let _ = Command::new("kill").args(["-s", "KILL", pid]).stderr(Stdio::null()).status();
            }
        }
        for point in mounts_below(&self.folder).iter().rev() {
            let _ = Command::new("umount").args(["--lazy", point]).status();
        }
    }
}
