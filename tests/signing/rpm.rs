//! Packages: rpm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use packhold::sign::Signer;

use crate::gpg::{Gpg, run, text};
use crate::open;

const SPEC: &str = "Name: signed\nVersion: 1.0\nRelease: 1\nSummary: signed\nLicense: MIT\nBuildArch: noarch\n\
    %description\nsigned\n%install\nmkdir -p %{buildroot}/opt\nseq 2000 > %{buildroot}/opt/signed\n%files\n/opt/signed\n";

fn build(folder: &Path) -> PathBuf {
    fs::write(folder.join("signed.spec"), SPEC).unwrap();
    let mut command = Command::new("rpmbuild");
    command.args(["-bb", "--quiet", "--define"]).arg(format!("_topdir {}", folder.display()));
    let output = run(command.arg(folder.join("signed.spec")), b"");
    assert!(output.status.success(), "{}", text(&output));
    folder.join("RPMS/noarch/signed-1.0-1.noarch.rpm")
}

/// A database of keys.
struct Known(tempfile::TempDir);

impl Known {
    fn with(certificate: &str) -> Self {
        let known = Self(tempfile::tempdir().unwrap());
        let path = known.0.path().join("key.asc");
        fs::write(&path, certificate).unwrap();
        let output = run(known.rpmkeys().arg("--import").arg(path), b"");
        assert!(output.status.success(), "{}", text(&output));
        known
    }

    fn rpmkeys(&self) -> Command {
        let mut command = Command::new("rpmkeys");
        command.arg("--dbpath").arg(self.0.path().join("db"));
        // Debian's rpm has no other place for keys than the database.
        command.args(["--define", "_keyring rpmdb"]);
        command
    }

    /// Whether every signature and digest is fine, and what was said.
    fn check(&self, path: &Path) -> (bool, String) {
        let output = run(self.rpmkeys().arg("-Kv").arg(path), b"");
        (output.status.success(), text(&output))
    }
}

/// Where the header begins, after lead and signature header.
fn header_at(bytes: &[u8]) -> usize {
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    (96 + 16 + number(104) * 16 + number(108)).next_multiple_of(8)
}

#[test]
fn rpm_accepts_a_signed_package_and_none_that_was_changed() {
    let gpg = Gpg::new();
    let package = build(gpg.folder.path());
    let before = fs::read(&package).unwrap();
    for algorithm in ["ed25519", "rsa2048"] {
        let fingerprint = gpg.key(&format!("rpm {algorithm}"), algorithm, "sign", "never", "");
        let keys = open(&gpg, &[&fingerprint]).unwrap();
        let known = Known::with(&keys.certificates().unwrap()[0].armored);
        let (_, said) = known.check(&package);
        assert!(!said.contains("Signature"), "it is not signed yet: {said}");
        let signed = gpg.path("signed.rpm");
        keys.sign_rpm(&package, &signed).unwrap();
        let (fine, said) = known.check(&signed);
        let id = fingerprint[32..].to_lowercase();
        assert!(fine && said.contains(&id) && said.contains("Header V4"), "{said}");
        let line = said.lines().find(|line| line.contains("Signature")).unwrap();
        assert!(line.ends_with(": OK"), "{said}");

        // Header and payload are those of before.
        let bytes = fs::read(&signed).unwrap();
        assert_eq!(bytes[header_at(&bytes)..], before[header_at(&before)..]);
        // rpm reads every field of the signature header as before, and can query it.
        let query =
            ["-qp", "--nosignature", "--qf", "%{SIGMD5} %{SHA1HEADER} %{SHA256HEADER} %{SIGSIZE} %{NAME}"];
        let asked = |path| text(&run(Command::new("rpm").args(query).arg(path), b""));
        assert_eq!(asked(&signed), asked(&package));

        // The header, and the payload, of another package.
        let mut changed = bytes.clone();
        let summary = bytes.windows(7).rposition(|window| window == b"signed\0").unwrap();
        changed[summary] = b'S';
        let mut other = bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        for wrong in [changed, other] {
            let path = gpg.path("wrong.rpm");
            fs::write(&path, wrong).unwrap();
            let (fine, said) = known.check(&path);
            assert!(!fine, "{said}");
        }
    }
}

#[test]
fn signing_again_replaces_the_signature_and_the_newest_key_signs() {
    let gpg = Gpg::new();
    let package = build(gpg.folder.path());
    let old = gpg.key_made_at("20240101T000000", "old", "never");
    let new = gpg.key("new", "rsa2048", "sign", "never", "");
    let (first, second) = (gpg.path("first.rpm"), gpg.path("second.rpm"));
    open(&gpg, &[&old]).unwrap().sign_rpm(&package, &first).unwrap();
    let both = open(&gpg, &[&new, &old]).unwrap();
    both.sign_rpm(&first, &second).unwrap();
    let certificates = both.certificates().unwrap();
    let (fine, said) = Known::with(&certificates[1].armored).check(&second);
    assert!(fine && said.contains(&new[32..].to_lowercase()), "{said}");
    assert!(!said.contains(&old[32..].to_lowercase()), "{said}");
    let (fine, said) = Known::with(&certificates[0].armored).check(&second);
    assert!(!fine && said.contains("NOKEY"), "{said}");
}

#[test]
fn a_file_that_is_no_whole_rpm_is_refused_and_nothing_is_written() {
    let gpg = Gpg::new();
    let package = build(gpg.folder.path());
    let fingerprint = gpg.key("key", "ed25519", "sign", "never", "");
    let keys = open(&gpg, &[&fingerprint]).unwrap();
    let bytes = fs::read(&package).unwrap();
    let mut endless = bytes.clone();
    endless[104..108].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
    let mut far = bytes.clone();
    // The offset of the second field.
    far[96 + 16 + 16 + 8..96 + 16 + 16 + 12].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
    for wrong in [&b""[..], b"!<arch>\n", &bytes[..50], &bytes[..120], &bytes[..3000], &endless, &far] {
        let (path, out) = (gpg.path("wrong.rpm"), gpg.path("out.rpm"));
        fs::write(&path, wrong).unwrap();
        let error = keys.sign_rpm(&path, &out).unwrap_err();
        assert!(error.to_string().contains("wrong.rpm"), "{error}");
        assert!(!out.exists());
    }
}
