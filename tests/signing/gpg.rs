//! Keys and checks by GnuPG, in folders of the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub fn run(command: &mut Command, input: &[u8]) -> Output {
    use std::io::Write;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feed = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = feed.join().unwrap();
    output
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A gpg with keys of its own.
pub struct Gpg {
    pub folder: tempfile::TempDir,
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.home()).status();
    }
}

impl Gpg {
    pub fn new() -> Self {
        let gpg = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(gpg.home()).unwrap();
        fs::set_permissions(gpg.home(), fs::Permissions::from_mode(0o700)).unwrap();
        gpg
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("gnupg")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--pinentry-mode", "loopback"]);
        command.args(arguments).env("GNUPGHOME", self.home());
        command
    }

    pub fn gpg(&self, arguments: &[&str]) -> String {
        let output = run(&mut self.command(arguments), b"");
        assert!(output.status.success(), "gpg {arguments:?}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Makes a key and gives its fingerprint.
    pub fn key(&self, name: &str, algorithm: &str, usage: &str, expiry: &str, passphrase: &str) -> String {
        self.gpg(&["--passphrase", passphrase, "--quick-generate-key", name, algorithm, usage, expiry]);
        self.fingerprint(name)
    }

    /// As [`Gpg::key`], made at another time: `20200101T000000`.
    pub fn key_made_at(&self, time: &str, name: &str, expiry: &str) -> String {
        let made = ["--quick-generate-key", name, "ed25519", "sign", expiry];
        let arguments = [&["--faked-system-time", time, "--passphrase", ""][..], &made[..]].concat();
        self.gpg(&arguments);
        self.fingerprint(name)
    }

    fn fingerprint(&self, name: &str) -> String {
        let list = self.gpg(&["--with-colons", "--list-keys", &format!("={name}")]);
        let line = list.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// A file with the secret key, which only its owner can read.
    pub fn secret(&self, fingerprint: &str, passphrase: &str) -> PathBuf {
        let path = self.path(&format!("{fingerprint}.secret"));
        let armored = self.gpg(&["--passphrase", passphrase, "--armor", "--export-secret-keys", fingerprint]);
        fs::write(&path, armored).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn certificate(&self, fingerprint: &str) -> PathBuf {
        let path = self.path(&format!("{fingerprint}.asc"));
        fs::write(&path, self.gpg(&["--armor", "--export", fingerprint])).unwrap();
        path
    }
}

/// What gpgv says of a detached signature, or of a clearsigned document where there is no `bytes`, with these certificates alone: whether
/// all is well, and its status lines.
pub fn gpgv(certificates: &[&str], signed: &str, bytes: Option<&[u8]>) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let (keyring, document) = (folder.path().join("keyring.gpg"), folder.path().join("signed"));
    let mut dearmored = Vec::new();
    for certificate in certificates {
        let output = run(Command::new("gpg").args(["--batch", "--dearmor"]), certificate.as_bytes());
        dearmored.extend(output.stdout);
    }
    fs::write(&keyring, dearmored).unwrap();
    fs::write(&document, signed).unwrap();
    let mut command = Command::new("gpgv");
    command.args(["--status-fd", "1", "--keyring"]).arg(&keyring).arg(&document);
    if let Some(bytes) = bytes {
        let path = folder.path().join("bytes");
        fs::write(&path, bytes).unwrap();
        command.arg(path);
    }
    let output = run(&mut command, b"");
    (output.status.success(), text(&output))
}

/// The bytes of an armored block.
pub fn dearmored(path: &Path) -> Vec<u8> {
    run(Command::new("gpg").args(["--batch", "--dearmor"]), &fs::read(path).unwrap()).stdout
}
