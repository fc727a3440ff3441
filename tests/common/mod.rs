//! A workplace for one test: a git repository made of fixtures, folders of its own for the program, and the checks
//! that nothing is left when it is done.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

/// What a fixture's `expected.json` says. A line is looked for by its parts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Exit code.
    pub exit: i32,
    /// Where no run begins: parts of the line that starts with `Error:`.
    #[serde(default)]
    pub error: Vec<String>,
    /// Otherwise the outcome's state, stage, reason and parts of its message.
    pub state: Option<String>,
    pub stage: Option<String>,
    pub reason: Option<String>,
    #[serde(default)]
    pub message: Vec<String>,
    /// A part of the hint.
    #[serde(default)]
    pub hint: String,
    /// A part of what a container printed.
    #[serde(default)]
    pub log: String,
}

/// A program that has ended.
pub struct Finished {
    /// Its process id.
    pub pid: u32,
    /// Its exit code; 128 + signal for a signal.
    pub exit: i32,
    /// What it printed, without what containers printed.
    pub lines: Vec<Value>,
    /// The last lines that containers printed.
    pub output: Vec<String>,
    /// Its standard error.
    pub errors: String,
}

/// How many lines that containers printed are kept.
const KEPT_OUTPUT: usize = 1000;

/// Folders for one test, a repository among them, gone when it ends.
pub struct Workplace {
    root: TempDir,
    /// The repository, in which the program is started.
    pub repository: PathBuf,
    /// The archive.
    pub archive: PathBuf,
    /// Variables for the program beyond its folders.
    pub env: Vec<(String, String)>,
    before: BTreeSet<String>,
}

/// The folder of the fixture `name`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/faults").join(name)
}

/// What the fixture `name` must give.
pub fn expected(name: &str) -> Expected {
    let path = fixture(name).join("expected.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn copy_over(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let dest = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_over(&entry.path(), &dest);
        } else if entry.file_name() != "expected.json" {
            fs::copy(entry.path(), dest).unwrap();
        }
    }
}

/// Runs git with an identity and a configuration of its own, so that commits have the same ids everywhere.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let date = "2025-01-01T12:00:00+0000";
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "init.defaultBranch=main", "-c", "safe.directory=*"])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([("HOME", "/nonexistent"), ("LC_ALL", "C"), ("TZ", "UTC")])
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .envs([("GIT_AUTHOR_NAME", "Packhold Test"), ("GIT_AUTHOR_EMAIL", "test@packhold.invalid")])
        .envs([("GIT_COMMITTER_NAME", "Packhold Test"), ("GIT_COMMITTER_EMAIL", "test@packhold.invalid")])
        .envs([("GIT_AUTHOR_DATE", date), ("GIT_COMMITTER_DATE", date)])
        .output()
        .unwrap();
    succeed("git", output)
}

/// The standard output of a command that has to succeed.
pub fn succeed(what: &str, output: Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what} failed: {out}{err}");
    out.into_owned()
}

/// The standard output of the engine's own command.
pub fn docker(arguments: &[&str]) -> String {
    succeed("docker", Command::new("docker").args(arguments).output().unwrap())
}

/// Networks and volumes of the engine.
fn networks_and_volumes() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for kind in ["network", "volume"] {
        all.extend(docker(&[kind, "ls", "--quiet"]).lines().map(|line| format!("{kind} {line}")));
    }
    all
}

/// The ids of the containers that the process `pid` made.
pub fn containers_of(pid: u32) -> Vec<String> {
    let format = "{{.ID}}\t{{.Label \"packhold.owner\"}}";
    let all = docker(&["ps", "--all", "--filter", "label=packhold.owner", "--format", format]);
    let owned = all.lines().filter_map(|line| line.split_once('\t'));
    let pid = pid.to_string();
    owned.filter(|(_, owner)| owner.split(' ').nth(2) == Some(&pid)).map(|(id, _)| id.to_owned()).collect()
}

/// Mount points below a folder.
pub fn mounts_below(folder: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| Path::new(point).starts_with(folder)).map(str::to_owned).collect()
}

impl Workplace {
    /// A repository with the commit of the tiny agent, and in its place the files of `fault` that it has.
    pub fn new(fault: &str) -> Self {
        let place = Self::without_repository();
        copy_over(&fixture("tinyagent"), &place.repository);
        copy_over(&fixture(fault), &place.repository);
        place.commit();
        place
    }

    /// An empty folder in the repository's place.
    pub fn without_repository() -> Self {
        // Short, because a socket's path may have 107 bytes only.
        let root = TempDir::with_prefix("packhold-").unwrap();
        let (repository, archive) = (root.path().join("tinyagent"), root.path().join("archive"));
        fs::create_dir(&repository).unwrap();
        Self { root, repository, archive, env: Vec::new(), before: networks_and_volumes() }
    }

    /// A path below the workplace.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn commit(&self) {
        git(&self.repository, &["init", "--quiet", "--template="]);
        git(&self.repository, &["add", "--all"]);
        git(&self.repository, &["commit", "--quiet", "--message", "The tiny agent"]);
        git(&self.repository, &["tag", "--annotate", "--message", "tinyagent 1.0.0", "v1.0.0"]);
    }

    /// The program, to be started in the repository.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packhold"));
        command
            .args(arguments)
            .current_dir(&self.repository)
            .env("HOME", self.root.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("PACKHOLD_ARCHIVE", &self.archive)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Starts `packhold run --format json` with these arguments.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let errors = fs::File::create(self.path("stderr")).unwrap();
        let mut command = self.command(&["run", "--format", "json"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Running { child, out, errors: self.path("stderr"), lines: Vec::new(), output: VecDeque::new() }
    }

    /// Runs `packhold run --format json` with these arguments to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).finish()
    }

    /// Puts a run into the archive that must not get lost: of a commit without packaging, which takes no container.
    pub fn seed(&self) -> String {
        let seed = Self::new("no-debian-folder");
        let finished = Self { archive: self.archive.clone(), env: self.env.clone(), ..seed }.run(&[]);
        finished.record()["id"].as_str().unwrap().to_owned()
    }

    /// The ids of the archived runs.
    pub fn archived(&self) -> Vec<String> {
        let list = self.command(&["archive", "list", "--format", "json"]).output().unwrap();
        let list = succeed("archive list", list);
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
        list.lines().map(id).collect()
    }

    /// Checks that the program left no container, network, volume, mount or temporary folder, and a sound archive that
    /// still has the runs in `kept`.
    pub fn assert_clean(&self, finished: &Finished, kept: &[&str]) {
        assert_eq!(containers_of(finished.pid), [""; 0], "containers are left");
        self.assert_clean_host(kept);
    }

    /// The same without the containers, for an engine that is no more.
    pub fn assert_clean_host(&self, kept: &[&str]) {
        let new: Vec<_> = networks_and_volumes().difference(&self.before).cloned().collect();
        assert_eq!(new, [""; 0], "networks or volumes are left");
        let work = fs::read_dir(self.path("cache/packhold/work")).into_iter().flatten();
        let work: Vec<PathBuf> = work.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(work, [""; 0].map(PathBuf::from), "temporary folders are left");
        let mounts = mounts_below(&self.path("cache"));
        assert_eq!(mounts, [""; 0], "mounts are left");
        let verify = self.command(&["archive", "verify"]).output().unwrap();
        succeed("archive verify", verify);
        let archived = self.archived();
        for run in kept {
            assert!(archived.iter().any(|id| id == run), "run {run} is lost; the archive has {archived:?}");
        }
    }
}

/// A program that runs.
pub struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    errors: PathBuf,
    lines: Vec<Value>,
    output: VecDeque<String>,
}

impl Running {
    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads events until one is as wanted.
    pub fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) {
        let mut line = String::new();
        loop {
            line.clear();
            let more = self.out.read_line(&mut line).unwrap();
            assert!(more > 0, "it ended too early: {:?} {}", self.lines, self.read_errors());
            let event: Value = serde_json::from_str(&line).unwrap();
            let found = wanted(&event);
            self.keep(event);
            if found {
                return;
            }
        }
    }

    /// Waits until the build has printed a line that contains `text`.
    pub fn wait_for_output(&mut self, text: &str) {
        self.wait_for(|event| {
            event["event"] == "output" && event["line"].as_str().is_some_and(|line| line.contains(text))
        });
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        send(name, self.pid());
    }

    /// The most memory that it has held so far, in KiB (proc(5), VmHWM).
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Keeps an event; of what containers print, only the end.
    fn keep(&mut self, event: Value) {
        if event["event"] == "output" {
            if self.output.len() == KEPT_OUTPUT {
                self.output.pop_front();
            }
            self.output.push_back(event["line"].as_str().unwrap().to_owned());
        } else {
            self.lines.push(event);
        }
    }

    fn read_errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap()
    }

    /// Reads what it still says, and how it ended.
    pub fn finish(mut self) -> Finished {
        let mut line = String::new();
        while self.out.read_line(&mut line).unwrap() > 0 {
            self.keep(serde_json::from_str(&line).unwrap());
            line.clear();
        }
        let status = self.child.wait().unwrap();
        let exit = status.code().or_else(|| Some(128 + status.signal()?)).unwrap();
        Finished {
            pid: self.child.id(),
            exit,
            errors: self.read_errors(),
            lines: std::mem::take(&mut self.lines),
            output: std::mem::take(&mut self.output).into(),
        }
    }
}

impl Drop for Running {
    // A test that fails half-way must not leave its program behind.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal("INT");
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal, by its name without SIG.
pub fn send(signal: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "no signal could be sent to {pid}");
}

impl Finished {
    /// The run record, which is the last line.
    pub fn record(&self) -> &Value {
        let last = self.lines.last().unwrap_or_else(|| panic!("it printed nothing: {}", self.errors));
        assert!(last["schema"].is_number(), "the last line is no run record: {last}; {}", self.errors);
        last
    }

    /// Checks exit code, outcome, message, hint and log.
    pub fn assert_is(&self, expected: &Expected) {
        let tail = self.output[self.output.len().saturating_sub(12)..].join("\n");
        if let Some(state) = &expected.state {
            let outcome = &self.record()["outcome"];
            let said = format!("{outcome}\n{tail}\n{}", self.errors);
            assert_eq!(outcome["state"], **state, "{said}");
            assert_eq!(outcome["stage"].as_str(), expected.stage.as_deref(), "{said}");
            assert_eq!(outcome["reason"].as_str(), expected.reason.as_deref(), "{said}");
            has(outcome["message"].as_str().unwrap_or_default(), &expected.message);
            has(outcome["hint"].as_str().unwrap_or_default(), std::slice::from_ref(&expected.hint));
            assert_eq!(expected.state.as_deref() == Some("passed"), outcome["hint"].is_null(), "{said}");
        } else {
            let lines: Vec<&str> = self.errors.lines().collect();
            has(
                lines.first().and_then(|line| line.strip_prefix("Error: ")).unwrap_or_default(),
                &expected.error,
            );
            let hint = lines.last().and_then(|line| line.strip_prefix("Hint: "));
            let hint = hint.unwrap_or_else(|| panic!("no hint: {}", self.errors));
            assert!(!hint.is_empty(), "an empty hint: {}", self.errors);
            has(hint, std::slice::from_ref(&expected.hint));
            assert!(
                !self.lines.iter().any(|line| line["schema"].is_number()),
                "a run record: {:?}",
                self.lines
            );
        }
        has(&self.output.join("\n"), std::slice::from_ref(&expected.log));
        assert_eq!(self.exit, expected.exit, "{tail}\n{}", self.errors);
    }
}

fn has(text: &str, parts: &[String]) {
    for part in parts {
        assert!(text.contains(part.as_str()), "`{part}` is not in: {text}");
    }
}
