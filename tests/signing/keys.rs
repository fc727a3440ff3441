//! Keys that may not sign, and those that others hold.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use packhold::sign::{Certificate, KeySource, Keys, Options, Passphrase, SignError, Signer, verify_detached};
use packhold::support::Hint;

use crate::gpg::{Gpg, dearmored, gpgv, run};
use crate::{open, passphrase};

#[test]
fn a_locked_key_needs_its_passphrase_before_anything_is_signed() {
    let gpg = Gpg::new();
    let fingerprint = gpg.key("locked", "ed25519", "sign", "never", "correct horse");
    let source = [KeySource::File(gpg.secret(&fingerprint, "correct horse"))];
    let open = |passphrase: Option<&Passphrase>| Keys::open(&source, passphrase, Options::default());
    let error = open(None).unwrap_err();
    assert!(error.to_string().contains("no passphrase is given"), "{error}");
    assert!(error.hint().contains("--passphrase-fd"));
    let error = open(Some(&passphrase(&gpg, "wrong horse"))).unwrap_err();
    assert!(error.to_string().contains("the passphrase is another one"), "{error}");
    let keys = open(Some(&passphrase(&gpg, "correct horse\n"))).unwrap();
    let armored = &keys.certificates().unwrap()[0].armored;
    assert!(gpgv(&[armored], &keys.detached(b"bytes").unwrap(), Some(b"bytes")).0);
}

#[test]
fn an_expired_or_revoked_key_is_refused_and_one_that_ends_soon_is_warned_of() {
    let gpg = Gpg::new();
    let expired = gpg.key_made_at("20240101T000000", "expired", "1y");
    let error = open(&gpg, &[&expired]).unwrap_err();
    assert!(error.to_string().contains(&format!("key {expired} expired at 2024-12-31")), "{error}");

    let soon = gpg.key("soon", "ed25519", "sign", "20d", "");
    let later = gpg.key("later", "ed25519", "sign", "40d", "");
    let keys = open(&gpg, &[&soon, &later]).unwrap();
    let warnings = keys.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with(&format!("key {soon} expires in 19 days")), "{warnings:?}");

    // What an expired key signed in its time stays signed; what it signs later does not count.
    let certificates = Certificate::parse("gpg", &fs::read(gpg.certificate(&expired)).unwrap()).unwrap();
    for (time, counts) in [("20240601T000000", true), ("20250601T000000", false)] {
        let arguments = ["--faked-system-time", time, "--ignore-time-conflict", "--local-user", &expired];
        let mut command = gpg.command(&arguments);
        let signature = match counts {
            true => run(command.arg("--detach-sign"), b"bytes").stdout,
            // gpg would not; so the key is prolonged there, and not in our certificate.
            false => {
                gpg.gpg(&["--passphrase", "", "--quick-set-expire", &expired, "5y"]);
                run(command.arg("--detach-sign"), b"bytes").stdout
            }
        };
        assert!(!signature.is_empty());
        let result = verify_detached(&certificates, b"bytes", &signature);
        assert_eq!(result.is_ok(), counts, "{result:?}");
    }
    // And the newest signature over itself says how long a key lives.
    open(&gpg, &[&expired]).unwrap();

    let signature = keys.detached(b"bytes").unwrap();
    let revocation = fs::read_to_string(gpg.home().join(format!("openpgp-revocs.d/{soon}.rev"))).unwrap();
    let path = gpg.path("revocation");
    fs::write(&path, revocation.replace(":-----BEGIN", "-----BEGIN")).unwrap();
    gpg.gpg(&["--import", path.to_str().unwrap()]);
    let error = open(&gpg, &[&soon]).unwrap_err();
    assert!(error.to_string().contains(&format!("key {soon} is revoked")), "{error}");
    let certificates = Certificate::parse("gpg", &fs::read(gpg.certificate(&soon)).unwrap()).unwrap();
    assert!(verify_detached(&certificates, b"bytes", signature.as_bytes()).is_err());
}

#[test]
fn keys_that_some_reader_does_not_know_are_refused() {
    let gpg = Gpg::new();
    for (algorithm, usage, reason) in [
        ("nistp256", "sign", "neither RSA nor Ed25519"),
        ("rsa1024", "sign", "less than 2048 bits"),
        ("ed25519", "cert", "may not sign"),
    ] {
        let fingerprint = gpg.key(algorithm, algorithm, usage, "never", "");
        let error = open(&gpg, &[&fingerprint]).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let public = gpg.key("public", "rsa2048", "sign", "never", "");
    let path = gpg.certificate(&public);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let error = Keys::open(&[KeySource::File(path)], None, Options::default()).unwrap_err();
    assert!(matches!(error, SignError::NoKey { kind: "secret key", .. }), "{error}");
    let binary = gpg.path("binary");
    fs::write(&binary, dearmored(&gpg.secret(&public, ""))).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o600)).unwrap();
    Keys::open(&[KeySource::File(binary)], None, Options::default()).unwrap();
}

/// An executable script that signs, or does not.
pub fn script(gpg: &Gpg, name: &str, body: &str) -> PathBuf {
    let path = gpg.path(name);
    let home = gpg.home();
    fs::write(&path, format!("#!/bin/sh\nexport GNUPGHOME={}\n{body}", home.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

const HONEST: &str = "case $PACKHOLD_SIGN_KIND in text) mode=--textmode ;; binary) mode= ;; esac
exec gpg --batch --quiet --armor $mode --digest-algo SHA256 --local-user $PACKHOLD_SIGN_FINGERPRINT --detach-sign\n";

#[test]
fn a_command_signs_detached_in_the_clear_and_rpms() {
    let gpg = Gpg::new();
    let fingerprint = gpg.key("command", "rsa2048", "sign", "never", "");
    let argv = vec![script(&gpg, "sign", HONEST).to_str().unwrap().to_owned()];
    let source = KeySource::Command { argv, certificate: gpg.certificate(&fingerprint) };
    let keys = Keys::open(&[source], None, Options::default()).unwrap();
    let armored = &keys.certificates().unwrap()[0].armored;
    let (fine, said) = gpgv(&[armored], &keys.detached(b"bytes").unwrap(), Some(b"bytes"));
    assert!(fine, "{said}");
    for text in ["one\n- two\n\nthree\n", "no end of line"] {
        let signed = keys.clearsigned(text).unwrap();
        assert!(signed.contains("Hash: SHA256\n"), "{signed}");
        let (fine, said) = gpgv(&[armored], &signed, None);
        assert!(fine, "{said}");
    }
}

#[test]
fn what_a_command_gives_is_used_only_if_it_is_a_signature_of_its_key_over_these_bytes() {
    let gpg = Gpg::new();
    let fingerprint = gpg.key("command", "ed25519", "sign", "never", "");
    let other = gpg.key("other", "ed25519", "sign", "never", "");
    let certificate = gpg.certificate(&fingerprint);
    let sign = "gpg --batch --quiet --armor --detach-sign --local-user";
    let cases = [
        ("another key", format!("exec {sign} {other}"), "it is not by key"),
        ("other bytes", format!("echo else | {sign} {fingerprint}"), "it is not what key"),
        ("text", format!("exec {sign} {fingerprint} --textmode"), "its type is not"),
        ("weak", format!("exec {sign} {fingerprint} --digest-algo SHA1"), "weaker than SHA-256"),
        ("nothing", "cat >/dev/null".to_owned(), "no armored OpenPGP signature"),
        ("noise", "echo hello".to_owned(), "no armored OpenPGP signature"),
        ("failure", "echo no card in slot 0 >&2; exit 7".to_owned(), "no card in slot 0"),
        ("steering", "printf '\\033[2Jcleared' >&2; exit 7".to_owned(), "it says: cleared"),
        ("much", "yes | head -c 6000000".to_owned(), "it writes more than"),
    ];
    for (name, body, reason) in cases {
        let argv = vec![script(&gpg, "sign", &body).to_str().unwrap().to_owned()];
        let source = KeySource::Command { argv, certificate: certificate.clone() };
        let keys = Keys::open(&[source], None, Options::default()).unwrap();
        let error = keys.detached(b"bytes").unwrap_err();
        assert!(error.to_string().contains(reason), "{name}: {error}");
    }
    let source = KeySource::Command { argv: vec!["/nonexistent/sign".into()], certificate };
    let keys = Keys::open(&[source], None, Options::default()).unwrap();
    assert!(keys.detached(b"bytes").unwrap_err().to_string().contains("cannot be started"));
}

#[test]
fn a_command_that_hangs_is_ended_with_its_children() {
    let gpg = Gpg::new();
    let fingerprint = gpg.key("command", "ed25519", "sign", "never", "");
    let pid = gpg.path("pid");
    let body = format!("sleep 600 & echo $! > {}\necho waiting for a finger >&2\nwait\n", pid.display());
    let argv = vec![script(&gpg, "sign", &body).to_str().unwrap().to_owned()];
    let source = KeySource::Command { argv, certificate: gpg.certificate(&fingerprint) };
    let options = Options { time_out: Duration::from_secs(2), ..Options::default() };
    let keys = Keys::open(&[source], None, options).unwrap();
    let start = Instant::now();
    let error = keys.detached(&[b'x'; 1 << 20]).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(error.to_string().contains("not done after 2 seconds; it says: waiting for a finger"), "{error}");
    let child = fs::read_to_string(pid).unwrap();
    let state = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    let gone = || state().is_empty() || state().contains(") Z ");
    // A signal takes a moment to arrive.
    let end = Instant::now() + Duration::from_secs(10);
    while !gone() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(gone(), "{}", state());
}

/// Run by the test below, in an environment that names a gpg.
#[test]
#[ignore = "it signs with the key of PACKHOLD_TEST_KEY"]
fn sign_with_the_gpg_of_the_environment() {
    let source: KeySource = std::env::var("PACKHOLD_TEST_KEY").unwrap().parse().unwrap();
    let options = Options { time: Some("2025-01-01T00:00:00Z".parse().unwrap()), ..Options::default() };
    let keys = Keys::open(&[source], None, options).unwrap();
    let armored = &keys.certificates().unwrap()[0].armored;
    for (signed, bytes) in [
        (keys.detached(b"bytes").unwrap(), Some(&b"bytes"[..])),
        (keys.clearsigned("one\n- two\n\nthree\n").unwrap(), None),
    ] {
        let (fine, said) = gpgv(&[armored], &signed, bytes);
        assert!(fine && said.contains(" 2025-01-01 1735689600 "), "{said}");
    }
}

#[test]
fn gpg_signs_with_a_key_that_it_holds() {
    let gpg = Gpg::new();
    let fingerprint = gpg.key_made_at("20240101T000000", "held", "never");
    let again = |name: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "keys::sign_with_the_gpg_of_the_environment", "--ignored"]);
        command.env("GNUPGHOME", gpg.home()).env("PACKHOLD_TEST_KEY", name);
        run(&mut command, b"")
    };
    let output = again(&format!("gpg:{fingerprint}"));
    let said = crate::gpg::text(&output);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let output = again(&format!("gpg:{}", "0".repeat(40)));
    assert!(!output.status.success(), "{}", crate::gpg::text(&output));
    for wrong in ["gpg:", "gpg:0123", "gpg:someone@b.invalid", ""] {
        assert!(wrong.parse::<KeySource>().is_err(), "{wrong}");
    }
}
