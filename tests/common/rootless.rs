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
    let place = Place::new();
    let mut command = place.command(&place.path().join("packhold"));
    command.arg("unshare").arg(place.path().join("test")).args(arguments).arg("--nocapture");
    let output = command.output().expect("setpriv of util-linux");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}{}", said[0], said[1]);
    // A name that no test has is no failure of its own.
    assert!(said[0].contains("test result: ok.") && !said[0].contains(" 0 passed"), "{}{}", said[0], said[1]);
}

/// The program, wherever the test runs.
pub fn program() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| env!("CARGO_BIN_EXE_packhold").into(), PathBuf::from)
}
