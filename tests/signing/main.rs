//! What is signed, by the tools that have to accept it: gpgv, apt, rpmkeys.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod command_line;
mod gpg;
mod keys;
mod readers;
mod rpm;
mod secrets;
mod tags;

use packhold::sign::{KeySource, Keys, Options, Passphrase, Result};

use gpg::Gpg;

/// The key of a file without a passphrase.
pub fn open(gpg: &Gpg, fingerprints: &[&str]) -> Result<Keys> {
    let files: Vec<_> =
        fingerprints.iter().map(|fingerprint| KeySource::File(gpg.secret(fingerprint, ""))).collect();
    Keys::open(&files, None, Options::default())
}

/// A passphrase, as it comes from the shell.
pub fn passphrase(gpg: &Gpg, content: &str) -> Passphrase {
    let path = gpg.path("passphrase");
    std::fs::write(&path, content).unwrap();
    let file = std::fs::File::open(path).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    Passphrase::from_descriptor(u32::try_from(fd).unwrap()).unwrap()
}
