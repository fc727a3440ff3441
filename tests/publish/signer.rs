use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use packhold::sign::{KeySource, Keys, Options, Signer};

use crate::packages::run;

/// A key that gpg made, with which the program signs and of which tools get the public part.
pub struct Key {
    home: tempfile::TempDir,
    secret: PathBuf,
    keys: Keys,
}

impl Key {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let gpg = || {
            let mut command = Command::new("gpg");
            command.arg("--homedir").arg(home.path()).args(["--batch", "--no-tty", "--quiet"]);
            command
        };
        run(gpg().args([
            "--passphrase",
            "",
            "--quick-gen-key",
            "Tests <tests@example.org>",
            "ed25519",
            "sign",
            "never",
        ]));
        let secret = home.path().join("secret.asc");
        run(gpg().arg("--output").arg(&secret).args(["--armor", "--export-secret-keys"]));
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        run(gpg().arg("--output").arg(home.path().join("public.gpg")).arg("--export"));
        run(gpg().arg("--output").arg(home.path().join("public.asc")).args(["--armor", "--export"]));
        let keys = Keys::open(&[KeySource::File(secret.clone())], None, Options::default()).unwrap();
        let _ = Command::new("gpgconf").arg("--homedir").arg(home.path()).args(["--kill", "all"]).status();
        Self { home, secret, keys }
    }

    pub fn signer(&self) -> Option<&dyn Signer> {
        Some(&self.keys)
    }

    /// This key and another one, both of which sign.
    pub fn beside(&self, other: &Self) -> Keys {
        let files = [&self.secret, &other.secret].map(|file| KeySource::File(file.clone()));
        Keys::open(&files, None, Options::default()).unwrap()
    }

    /// A file with the public key.
    pub fn keyring(&self) -> PathBuf {
        self.home.path().join("public.gpg")
    }

    /// The same, armored.
    pub fn armored(&self) -> PathBuf {
        self.home.path().join("public.asc")
    }
}
