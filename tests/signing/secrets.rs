//! What must never be seen: passphrases and secret numbers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use base64::Engine as _;

use packhold::sign::{KeySource, Keys, Options, Signer};

use crate::gpg::{Gpg, dearmored, run, text};
use crate::passphrase;

const PASSPHRASE: &str = "canary-3f9a1c-passphrase";

/// The secret number of an Ed25519 key whose file is not locked: the last 32 bytes of its first packet, before a checksum.
fn secret_number(binary: &[u8]) -> Vec<u8> {
    let (start, length) = match binary[0] {
        0x94 => (2, usize::from(binary[1])),
        0x95 => (3, usize::from(u16::from_be_bytes([binary[1], binary[2]]))),
        other => panic!("no old packet: {other:x}"),
    };
    let body = &binary[start..start + length];
    body[length - 2 - 32..length - 2].to_vec()
}

/// The ways in which bytes may be written.
fn written(secret: &[u8]) -> Vec<Vec<u8>> {
    let list = |bytes: &[u8]| bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let mut forms = vec![secret[..8].to_vec(), list(&secret[..5]).into_bytes()];
    for hex in [hex::encode(&secret[..8]), hex::encode_upper(&secret[..8])] {
        forms.push(hex.into_bytes());
    }
    forms.push(base64::engine::general_purpose::STANDARD_NO_PAD.encode(&secret[..9]).into_bytes());
    forms
}

fn assert_absent(what: &str, haystack: &[u8], needles: &[Vec<u8>]) {
    for needle in needles {
        let found = haystack.windows(needle.len()).any(|window| window == needle);
        assert!(!found, "{what} holds {}", String::from_utf8_lossy(needle));
    }
}

#[test]
fn neither_passphrase_nor_secret_number_is_in_a_trace_log() {
    let gpg = Gpg::new();
    for locked in [PASSPHRASE, ""] {
        let name = format!("key {}", locked.len());
        let fingerprint = gpg.key(&name, "ed25519", "sign", "never", locked);
        let file = gpg.secret(&fingerprint, locked);
        let mut needles = vec![PASSPHRASE.as_bytes().to_vec()];
        needles.extend(written(PASSPHRASE.as_bytes()));
        let binary = dearmored(&file);
        if locked.is_empty() {
            let number = secret_number(&binary);
            // The search finds what is there.
            assert!(binary.windows(32).any(|window| window == number));
            needles.extend(written(&number));
            let armored = fs::read_to_string(&file).unwrap();
            needles
                .extend(armored.lines().filter(|line| line.len() == 64).map(|line| line.as_bytes().to_vec()));
        }
        fs::write(gpg.path("fd"), PASSPHRASE).unwrap();
        let mut command = Command::new("sh");
        let script = format!(
            "exec 3<{}; exec {} key check {} {}",
            gpg.path("fd").display(),
            env!("CARGO_BIN_EXE_packhold"),
            file.display(),
            if locked.is_empty() { "" } else { "--passphrase-fd 3" },
        );
        let output = run(command.args(["-c", &script]).env("PACKHOLD_LOG", "trace"), b"");
        assert!(output.status.success(), "{}", text(&output));
        let said = text(&output);
        assert!(said.contains(&fingerprint), "{said}");
        assert_absent("the log", said.as_bytes(), &needles);
    }
}

#[test]
fn neither_children_nor_repositories_nor_errors_hold_a_secret() {
    let gpg = Gpg::new();
    let locked = gpg.key("locked", "ed25519", "sign", "never", PASSPHRASE);
    let plain = gpg.key("plain", "ed25519", "sign", "never", "");
    let command = gpg.key("command", "ed25519", "sign", "never", "");
    let seen = gpg.path("seen");
    let signer = gpg.path("signer");
    // Everything that a child can see of itself and of its parent.
    let body = format!(
        "#!/bin/sh\nexport GNUPGHOME={}\nfor p in self $$ $PPID; do for f in cmdline environ; do cat /proc/$p/$f >>{seen}; done; done\n\
         grep '^CoreFileSize\\|^Max core' /proc/self/limits >>{seen}\n\
         exec gpg --batch --quiet --armor --local-user $PACKHOLD_SIGN_FINGERPRINT --detach-sign\n",
        gpg.home().display(),
        seen = seen.display(),
    );
    fs::write(&signer, body).unwrap();
    fs::set_permissions(&signer, fs::Permissions::from_mode(0o755)).unwrap();
    let file = gpg.secret(&plain, "");
    let number = secret_number(&dearmored(&file));
    let sources = [
        KeySource::File(gpg.secret(&locked, PASSPHRASE)),
        KeySource::File(file),
        KeySource::Command {
            argv: vec![signer.to_str().unwrap().to_owned()],
            certificate: gpg.certificate(&command),
        },
    ];
    let keys = Keys::open(&sources, Some(&passphrase(&gpg, PASSPHRASE)), Options::default()).unwrap();
    let detached = keys.detached(b"bytes").unwrap();
    let wrong = Keys::open(&sources, Some(&passphrase(&gpg, "wrong canary")), Options::default());
    let shown = format!("{keys:?} {detached} {:?}", wrong.unwrap_err());

    let mut needles = written(&number);
    needles.push(PASSPHRASE.as_bytes().to_vec());
    needles.push(b"wrong canary".to_vec());
    let seen = fs::read(seen).unwrap();
    let said = String::from_utf8_lossy(&seen);
    assert!(said.contains("PACKHOLD_SIGN_KIND=binary"), "{said}");
    assert!(said.contains("Max core file size        0 "), "{said}");
    assert_absent("a child's surroundings", &seen, &needles);
    assert_absent("what is shown", shown.as_bytes(), &needles);
}

#[test]
fn the_command_line_tells_of_keys_and_refuses_those_that_others_can_read() {
    let gpg = Gpg::new();
    let fingerprint = gpg.key("Release Agent <agent@b.invalid>", "ed25519", "sign", "20d", "");
    let file = gpg.secret(&fingerprint, "");
    let check = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packhold"));
        run(command.args(["key", "check"]).arg(&file).args(arguments), b"")
    };
    let output = check(&[]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for part in [&fingerprint, "Release Agent <agent@b.invalid>", "warning: key", "expires in 19 days"] {
        assert!(said.contains(part), "{said}");
    }
    let document: serde_json::Value = serde_json::from_slice(&check(&["--format", "json"]).stdout).unwrap();
    assert_eq!(document["keys"][0]["fingerprint"], fingerprint);
    let output = check(&["--passphrase-fd", "77"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("Error: cannot read a passphrase from file descriptor 77"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let output = check(&[]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("can be read by others (mode 644)\nHint: chmod 600"), "{said}");
}
