//! Keys as the command line names them.

use std::process::Command;

use crate::gpg::{Gpg, run, text};
use crate::keys::script;

/// What the README tells of, with gpg in the place of a module.
const SIGN: &str = r#"test "$1" = "slot 3"
case $PACKHOLD_SIGN_KIND in text) set -- --textmode ;; binary) set -- ;; esac
exec gpg --batch --quiet --armor --digest-algo SHA512 --local-user "$PACKHOLD_SIGN_FINGERPRINT" "$@" \
    ${SOURCE_DATE_EPOCH:+--faked-system-time "$SOURCE_DATE_EPOCH!"} --detach-sign
"#;

#[test]
fn a_doctor_names_the_programs_that_a_key_needs() {
    let gpg = Gpg::new();
    let fingerprint = gpg.key("of gpg", "ed25519", "sign", "never", "");
    let locked = gpg.key("locked", "ed25519", "sign", "never", "correct horse");
    let (locked, certificate) = (gpg.secret(&locked, "correct horse"), gpg.certificate(&fingerprint));
    let empty = gpg.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let doctor = |path: Option<&std::path::Path>, keys: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packhold"));
        command.args(["doctor", "--engine", "docker"]).args(arguments);
        command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock").env("GNUPGHOME", gpg.home());
        for folder in ["XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"] {
            command.env(folder, gpg.path(folder));
        }
        command.env_remove("PACKHOLD_SIGN_COMMAND").env_remove("PACKHOLD_SIGNING_KEY");
        if !keys.is_empty() {
            command.env("PACKHOLD_SIGNING_KEY", keys);
        }
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let told = text(&run(&mut command, b""));
        let lines = told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>()
    };
    let held = format!("gpg:{fingerprint}");
    let has = |told: &[String], start: &str| {
        assert!(told.iter().any(|line| line.starts_with(start)), "{start}: {told:#?}")
    };
    let told = doctor(None, &held, &[]);
    has(&told, "ok gpg /");
    has(&told, "ok gpg-agent /");
    has(&told, &format!("ok key {held} of gpg"));
    let told = doctor(Some(&empty), &held, &[]);
    for program in ["gpg", "gpg-agent"] {
        has(&told, &format!("BAD {program} not installed, and key {held} needs it: install {program}"));
    }
    // A file needs neither.
    let told = doctor(Some(&empty), locked.to_str().unwrap(), &[]);
    has(&told, &format!("ok key {} it is locked: --passphrase-fd", locked.display()));
    assert!(!told.iter().any(|line| line.contains("gpg-agent")), "{told:#?}");
    let command =
        ["--sign-command", "/nonexistent/sign", "--sign-certificate", certificate.to_str().unwrap()];
    let told = doctor(None, "", &command);
    has(&told, "BAD /nonexistent/sign not installed, and the key of ");
}

fn check(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhold"));
    command.args(["key", "check"]).args(arguments);
    for name in ["PACKHOLD_SIGNING_KEY", "PACKHOLD_SIGN_COMMAND", "PACKHOLD_SIGN_CERTIFICATE"] {
        command.env_remove(name);
    }
    let output = run(&mut command, b"");
    (output.status.code(), text(&output))
}

#[test]
fn a_key_check_signs_with_a_command_and_tells_its_key() {
    let gpg = Gpg::new();
    let fingerprint = gpg.key("behind a command", "ed25519", "sign", "never", "");
    let other = gpg.key("another", "ed25519", "sign", "never", "");
    let sign = format!("{} 'slot 3'", script(&gpg, "sign", &format!("set -e\n{SIGN}")).display());
    let path = |fingerprint: &str| gpg.certificate(fingerprint).display().to_string();
    let (certificate, stranger) = (path(&fingerprint), path(&other));
    let with = |certificate: &str| check(&["--sign-command", &sign, "--sign-certificate", certificate]);
    let (code, said) = with(&certificate);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("fingerprint  {fingerprint}\n")) && said.contains("it signs"), "{said}");

    // Beside a file, as while keys are rotated.
    let secret = gpg.secret(&other, "").display().to_string();
    let (code, said) = check(&[&secret, "--sign-command", &sign, "--sign-certificate", &certificate]);
    assert_eq!((code, said.matches("fingerprint  ").count()), (Some(0), 2), "{said}");

    // It signs with the key that it is told, so this is another certificate's; the module then has none of it.
    gpg.gpg(&["--yes", "--delete-secret-keys", &other]);
    let (code, said) = with(&stranger);
    assert!(code == Some(3) && said.contains("does not sign: it ends with exit status: 2"), "{said}");
    let (code, said) = check(&["--sign-command", &sign]);
    assert!(
        code == Some(2) && said.contains("there are 1 --sign-command and 0 --sign-certificate"),
        "{said}"
    );
    let (code, said) = check(&["--sign-command", "'sign", "--sign-certificate", &certificate]);
    assert!(code == Some(2) && said.contains("`\\'sign` is no command"), "{said}");
    let (code, said) = check(&["--sign-command", "/nonexistent/sign", "--sign-certificate", &certificate]);
    assert!(
        code == Some(3) && said.contains("/nonexistent/sign does not sign: it cannot be started"),
        "{said}"
    );
    let (code, said) = check(&[]);
    assert!(code == Some(2) && said.contains("<KEY>"), "{said}");
}
