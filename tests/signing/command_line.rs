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
    assert!(code == Some(2) && said.contains("there are 1 --sign-command and 0 --sign-certificate"), "{said}");
    let (code, said) = check(&["--sign-command", "'sign", "--sign-certificate", &certificate]);
    assert!(code == Some(2) && said.contains("`\\'sign` is no command"), "{said}");
    let (code, said) = check(&["--sign-command", "/nonexistent/sign", "--sign-certificate", &certificate]);
    assert!(code == Some(3) && said.contains("/nonexistent/sign does not sign: it cannot be started"), "{said}");
    let (code, said) = check(&[]);
    assert!(code == Some(2) && said.contains("<KEY>"), "{said}");
}
