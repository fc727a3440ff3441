//! Repositories: gpgv and apt.

use std::fs;
use std::path::Path;
use std::process::Command;

use packhold::sign::{Certificate, KeySource, Keys, Options, Signer, verify_detached};

use crate::gpg::{Gpg, gpgv, run, text};
use crate::open;

const RELEASE: &str = "Origin: agents\nSuite: stable\n- a line with a hyphen\nSHA256:\n 0123 4 main\n";

#[test]
fn gpgv_accepts_what_rsa_and_ed25519_keys_sign_and_nothing_else() {
    let gpg = Gpg::new();
    for algorithm in ["rsa2048", "ed25519"] {
        let fingerprint = gpg.key(&format!("{algorithm} <a@b.invalid>"), algorithm, "sign", "1y", "");
        let keys = open(&gpg, &[&fingerprint]).unwrap();
        let certificate = &keys.certificates().unwrap()[0];
        assert_eq!(certificate.fingerprint, fingerprint);
        assert_eq!(certificate.user_id, format!("{algorithm} <a@b.invalid>"));
        let end = certificate.expires.unwrap() - certificate.created;
        assert_eq!(end.as_hours(), 365 * 24);

        let detached = keys.detached(RELEASE.as_bytes()).unwrap();
        let (fine, said) = gpgv(&[&certificate.armored], &detached, Some(RELEASE.as_bytes()));
        assert!(fine && said.contains(&format!("VALIDSIG {fingerprint}")), "{said}");
        let (fine, said) = gpgv(&[&certificate.armored], &detached, Some(b"Origin: others\n"));
        assert!(!fine && said.contains("BADSIG"), "{said}");

        let in_release = keys.clearsigned(RELEASE).unwrap();
        assert!(in_release.contains("\n- - a line with a hyphen\n"), "{in_release}");
        let (fine, said) = gpgv(&[&certificate.armored], &in_release, None);
        assert!(fine && said.contains(&format!("VALIDSIG {fingerprint}")), "{said}");
        let (fine, said) = gpgv(&[&certificate.armored], &in_release.replace("stable", "staple"), None);
        assert!(!fine && said.contains("BADSIG"), "{said}");

        // And so does this program, of its own and of gpg's.
        let certificates = [certificate.clone()];
        verify_detached(&certificates, RELEASE.as_bytes(), detached.as_bytes()).unwrap();
        verify_detached(&certificates, b"Origin: others\n", detached.as_bytes()).unwrap_err();
        let by_gpg =
            run(&mut gpg.command(&["--local-user", &fingerprint, "--detach-sign"]), RELEASE.as_bytes());
        verify_detached(&certificates, RELEASE.as_bytes(), &by_gpg.stdout).unwrap();
        let weak = run(
            &mut gpg.command(&["--local-user", &fingerprint, "--digest-algo", "SHA1", "--detach-sign"]),
            RELEASE.as_bytes(),
        );
        let error = verify_detached(&certificates, RELEASE.as_bytes(), &weak.stdout).unwrap_err();
        assert!(error.to_string().contains("weaker than SHA-256"), "{error}");
    }
}

#[test]
fn a_subkey_signs_where_the_primary_key_only_certifies() {
    let gpg = Gpg::new();
    let fingerprint = gpg.key("with subkeys", "ed25519", "cert", "never", "");
    gpg.gpg(&["--passphrase", "", "--quick-add-key", &fingerprint, "rsa2048", "sign", "1y"]);
    let keys = open(&gpg, &[&fingerprint]).unwrap();
    let certificate = &keys.certificates().unwrap()[0];
    let detached = keys.detached(b"bytes").unwrap();
    let (fine, said) = gpgv(&[&certificate.armored], &detached, Some(b"bytes"));
    let line = said.lines().find(|line| line.contains("VALIDSIG")).unwrap();
    // The last word is the primary key, the first the subkey.
    assert!(
        fine && line.ends_with(&fingerprint) && !line.contains(&format!("VALIDSIG {fingerprint}")),
        "{said}"
    );
    verify_detached(std::slice::from_ref(certificate), b"bytes", detached.as_bytes()).unwrap();
}

#[test]
fn a_fixed_time_gives_the_same_bytes_whoever_holds_the_key() {
    let gpg = Gpg::new();
    let fingerprint = gpg.key_made_at("20240101T000000", "fixed", "never");
    let options = Options { time: Some("2025-01-01T00:00:00Z".parse().unwrap()), ..Options::default() };
    let sign = || {
        let source = KeySource::File(gpg.secret(&fingerprint, ""));
        let keys = Keys::open(&[source], None, options.clone()).unwrap();
        (keys.detached(b"bytes").unwrap(), keys.clearsigned(RELEASE).unwrap(), keys.certificates().unwrap())
    };
    let (one, two) = (sign(), sign());
    assert_eq!((&one.0, &one.1), (&two.0, &two.1));
    let (fine, said) = gpgv(&[&one.2[0].armored], &one.1, None);
    assert!(fine && said.contains(&format!("VALIDSIG {fingerprint} 2025-01-01 1735689600")), "{said}");
    // Before the key was made there can be no signature of it.
    let early = Options { time: Some("2023-01-01T00:00:00Z".parse().unwrap()), ..Options::default() };
    let error = Keys::open(&[KeySource::File(gpg.secret(&fingerprint, ""))], None, early).unwrap_err();
    assert!(error.to_string().contains("does not exist before 2024-01-01"), "{error}");
}

/// What apt says of a repository whose `InRelease` is this, if it trusts these certificates.
fn apt(in_release: &str, certificates: &[Certificate]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // apt gives up root, and its helper has to come here.
    let open = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    open(folder.path());
    for name in ["repository", "etc", "lists/partial", "cache/archives/partial", "parts"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    fs::write(at("repository/InRelease"), in_release).unwrap();
    fs::write(at("repository/Packages"), "").unwrap();
    let armored: String = certificates.iter().map(|certificate| certificate.armored.as_str()).collect();
    fs::write(at("key.asc"), armored).unwrap();
    let (key, repository) = (at("key.asc"), at("repository"));
    let line = format!("deb [signed-by={}] file:{} ./\n", key.display(), repository.display());
    fs::write(at("etc/sources.list"), line).unwrap();
    let mut command = Command::new("apt-get");
    for (name, value) in [
        ("Dir::Etc", at("etc")),
        ("Dir::Etc::sourceparts", at("parts")),
        ("Dir::State::lists", at("lists")),
        ("Dir::Cache", at("cache")),
    ] {
        command.arg("-o").arg(format!("{name}={}", value.display()));
    }
    command.args(["-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Languages=none", "update"]);
    let output = run(&mut command, b"");
    (output.status.success(), text(&output))
}

#[test]
fn apt_accepts_either_key_while_keys_are_rotated() {
    let gpg = Gpg::new();
    let old = gpg.key_made_at("20240101T000000", "old key", "never");
    let new = gpg.key("new key", "rsa2048", "sign", "never", "");
    let stranger = gpg.key("stranger", "ed25519", "sign", "never", "");
    let keys = open(&gpg, &[&new, &old]).unwrap();
    let certificates = keys.certificates().unwrap();
    assert_eq!([&certificates[0].fingerprint, &certificates[1].fingerprint], [&old, &new]);
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let release =
        format!("Date: Sat, 01 Jan 2022 00:00:00 UTC\nOrigin: agents\nSHA256:\n {empty} 0 Packages\n");
    let in_release = keys.clearsigned(&release).unwrap();
    let other = open(&gpg, &[&stranger]).unwrap().certificates().unwrap();
    for (trusted, accepted) in [
        (&certificates[..1], true),
        (&certificates[1..], true),
        (&certificates[..], true),
        (&other[..], false),
    ] {
        let (fine, said) = apt(&in_release, trusted);
        assert_eq!(fine, accepted, "{trusted:?}: {said}");
    }
    let (fine, said) = apt(&in_release.replace("agents", "others"), &certificates);
    assert!(!fine && said.contains("InRelease"), "{said}");

    // Readers of detached signatures count those that they know.
    let detached = keys.detached(b"bytes").unwrap();
    for (certificate, fingerprint) in certificates.iter().zip([&old, &new]) {
        let (_, said) = gpgv(&[&certificate.armored], &detached, Some(b"bytes"));
        assert!(said.contains(&format!("VALIDSIG {fingerprint}")) && !said.contains("BADSIG"), "{said}");
        let found = verify_detached(std::slice::from_ref(certificate), b"bytes", detached.as_bytes());
        assert_eq!(&found.unwrap().fingerprint, fingerprint);
    }
    verify_detached(&other, b"bytes", detached.as_bytes()).unwrap_err();
}
