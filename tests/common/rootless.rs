//! Tests as an ordinary user, in the user namespace of the embedded engine.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user that `.ci/setup.sh test` makes, with subordinate ids.
pub const USER: &str = "packhold-test";

/// Says where the program is, in a test that runs as [`USER`].
pub const PROGRAM: &str = "PACKHOLD_TEST_PROGRAM";

/// A folder that [`USER`] may read, with the program and this test in it.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let place = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
        for (from, name) in [
            (PathBuf::from(env!("CARGO_BIN_EXE_packhold")), "packhold"),
            (std::env::current_exe().expect("this test"), "test"),
        ] {
            std::fs::copy(from, place.path().join(name)).expect("a copy of a program");
        }
        let home = place.path().join("home");
        std::fs::create_dir(&home).expect("a folder");
        let given = Command::new("chown").arg(format!("{USER}:")).arg(&home).status();
        assert!(given.is_ok_and(|status| status.success()), "`.ci/setup.sh test` makes the user {USER}");
        Self(place)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A program, to be run as [`USER`] in this folder, with a home in it.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
        command.args([
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            &format!("HOME={}", self.path().join("home").display()),
        ]);
        command.arg(format!("{PROGRAM}={}", self.path().join("packhold").display())).arg(program);
        command.current_dir(self.path());
        command
    }
}

/// Runs tests of this program as [`USER`], in the namespace: those that its command line says.
pub fn again_as_an_ordinary_user(arguments: &[&str]) {
    again(&Place::new(), arguments, |command| command);
}

/// The same, by a process alone in a control group that was delegated to [`USER`].
#[allow(dead_code, reason = "not all tests have limits")]
pub fn again_in_a_delegated_group(arguments: &[&str]) {
    let group = Delegated::make();
    again(&Place::new(), arguments, |command| group.enters(&command));
}

fn again(place: &Place, arguments: &[&str], started: impl FnOnce(Command) -> Command) {
    let mut command = place.command(&place.path().join("packhold"));
    command.arg("unshare").arg(place.path().join("test")).args(arguments).arg("--nocapture");
    let output = started(command).output().expect("setpriv of util-linux");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}{}", said[0], said[1]);
    // A name that no test has is no failure of its own.
    assert!(said[0].contains("test result: ok.") && !said[0].contains(" 0 passed"), "{}{}", said[0], said[1]);
}

/// A control group that belongs to [`USER`], as "Delegation" of cgroup-v2.rst says. It goes with this.
struct Delegated(PathBuf);

impl Delegated {
    fn make() -> Self {
        let root = Path::new("/sys/fs/cgroup");
        std::fs::write(root.join("cgroup.subtree_control"), "+memory +pids +cpu")
            .expect("this test needs control groups of version 2 alone: make cgroup-v2");
        let group = root.join(format!("delegated-{}", std::process::id()));
        std::fs::create_dir(&group).expect("a group");
        let made = Self(group);
        let files = ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
        let given = Command::new("chown").arg(USER).args(files.map(|file| made.0.join(file))).status();
        assert!(given.is_ok_and(|status| status.success()), "the group is given to {USER}");
        made
    }

    /// The command, started in the group.
    fn enters(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo 0 > \"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs"));
        shell.arg(command.get_program()).args(command.get_args());
        shell.current_dir(command.get_current_dir().expect("a folder that the user may read"));
        shell
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        // A container that was left behind has a group that keeps these.
        for group in ["packhold/program", "packhold", ""] {
            let remove = || std::fs::remove_dir(self.0.join(group));
            let mut removed = remove();
            // The kernel lets go of a group a little later than of its last process.
            for _ in 0..50 {
                if removed.is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(100));
                removed = remove();
            }
            assert!(std::thread::panicking() || removed.is_ok(), "{group}: {removed:?}");
        }
    }
}

/// The program, wherever the test runs.
pub fn program() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| env!("CARGO_BIN_EXE_packhold").into(), PathBuf::from)
}
