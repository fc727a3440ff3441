//! OpenPGP signatures over repositories and packages, and checks of those of others.
//!
//! What is signed is read by apt 2.6 (gpgv), by dnf with rpm 4.16 to 4.18 and by zypper. So keys have version 4 (RFC 4880) and
//! are RSA of at least 2048 bits or Ed25519 (public-key algorithms 1 and 22); signatures have version 4 and SHA-512.
//! ECDSA, DSA, Ed25519 as RFC 9580 numbers it and keys of version 6 are refused: one of those readers knows them not.
//!
//! # Keys
//!
//! | source | who signs |
//! |---|---|
//! | [`KeySource::File`] | this program, with a secret key from a file |
//! | [`KeySource::Gpg`] | gpg and its agent, also with a smart card |
//! | [`KeySource::Command`] | a command: a hardware module or a key service ([`KeySource::Command`] says what it is given) |
//!
//! Whatever signed, the signature is checked against the certificate before it is used. The newest subkey that may sign
//! signs, else the primary key, as gpg has it. An expired, revoked or not yet valid key is refused.
//!
//! # Rotation
//!
//! With two keys, both sign: `InRelease`, `Release.gpg`, `repomd.xml.asc` and other detached signatures hold two packets, that of
//! the older key first, since some readers look at the first alone. Users who know either key accept them. The header of an rpm
//! has place for one signature only: the newest key makes it, so a key has to be known to users before it is added.
//!
//! # Secrets
//!
//! Passphrases come from a file descriptor, never from arguments or the environment. Key files must belong to the user and
//! be readable by nobody else. While a key of a file is open the process makes no core dump and cannot be traced by other processes of
//! the user (`PR_SET_DUMPABLE`, prctl(2)). Secret numbers and passphrases are overwritten when they are dropped; of a key
//! file without a passphrase, the parser's own buffers are not. The OpenPGP library logs secret numbers at the level `debug` (crate `log`, target `pgp`):
//! the command line drops all that it logs, and so must any other program with a logger.

mod certificate;
mod clear_text;
mod error;
mod keys;
mod program;
mod rpm_header;
mod secret;
mod source;
mod verify;

use std::path::Path;

pub use certificate::Certificate;
pub use clear_text::split as split_clearsigned;
pub use error::{Result, SignError};
pub use keys::Keys;
pub(crate) use program::run as run_program;
pub use rpm_header::rpm_signer;
pub use secret::Passphrase;
pub(crate) use secret::read_key_file as read_secret_file;
pub use source::{KeySource, Options};
pub use verify::{verify_clearsigned, verify_detached};

/// One or more keys that sign.
pub trait Signer: Send + Sync {
    /// The public parts, oldest key first: what users have to import.
    fn certificates(&self) -> Result<Vec<Certificate>>;

    /// An armored detached signature over the bytes, by every key: `Release.gpg`, `repomd.xml.asc`, the `.asc` of an artifact.
    fn detached(&self, bytes: &[u8]) -> Result<String>;

    /// The text with its signatures by every key (RFC 4880, section 7): `InRelease`. Spaces and tabs at the ends of lines would not be signed,
    /// so a text that has some is an error.
    fn clearsigned(&self, text: &str) -> Result<String>;

    /// Writes a copy of the rpm at `path` to `out`, with a signature of the newest key over its header; signatures that it has are
    /// removed. Header and payload stay as they are, byte for byte.
    fn sign_rpm(&self, path: &Path, out: &Path) -> Result<()>;
}
