//! Repositories to test with, made by the `git` command.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Repository;

/// A repository in a temporary folder, untouched by the configuration of the machine.
pub(super) struct TestRepository {
    pub folder: tempfile::TempDir,
}

impl TestRepository {
    /// An empty repository with the branch `main`.
    pub fn new() -> Self {
        let test = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(test.path()).unwrap();
        test.git(["init", "--quiet", "--template=", "--initial-branch=main", "."]);
        test
    }

    /// The working directory.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// A folder for fetched copies.
    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub fn open(&self) -> Repository {
        Repository::open(".", &self.path(), &self.cache()).unwrap()
    }

    /// Runs git in the working directory and returns what it printed.
    pub fn git<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        git(&self.path(), arguments)
    }

    pub fn write(&self, path: impl AsRef<Path>, content: &[u8]) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn symlink(&self, target: &str, path: &str) {
        std::os::unix::fs::symlink(target, self.path().join(path)).unwrap();
    }

    pub fn executable(&self, path: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.write(path, b"#!/bin/sh\n");
        fs::set_permissions(self.path().join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Commits everything and returns the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(["rev-parse", "HEAD"])
    }

    /// Commits nothing `count` times.
    pub fn commits(&self, count: usize) {
        for number in 0..count {
            self.commit(&format!("change {number}"));
        }
    }
}

/// Runs git in `folder` with a fixed identity and time.
pub(super) fn git<S: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> String {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(["-c", "protocol.file.allow=always"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    for (role, hour) in [("AUTHOR", 1), ("COMMITTER", 2)] {
        command
            .env(format!("GIT_{role}_NAME"), "Tester")
            .env(format!("GIT_{role}_EMAIL"), "tester@packhold.invalid")
            .env(format!("GIT_{role}_DATE"), format!("2025-03-01T0{hour}:00:00+0000"));
    }
    let output = command.output().expect("these tests need the command `git`");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
