use std::path::PathBuf;

use crate::support::Hint;
use crate::support::fs::FsError;

/// What the functions of this module return.
pub type Result<T, E = SignError> = std::result::Result<T, E>;

/// Why something cannot be signed, or a signature is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Others can read the secret key.
    #[error("the secret key {} can be read by others (mode {mode:o})", path.display())]
    Exposed {
        /// The key's file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The secret key belongs to somebody else, who can change it.
    #[error("the secret key {} belongs to user {owner}, and not to the user of this process ({user})", path.display())]
    Foreign {
        /// The key's file.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// The effective user id of this process.
        user: u32,
    },
    /// A text that should name a key does not.
    #[error("`{text}` names no key: {reason}")]
    BadSource {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No OpenPGP key is where one should be.
    #[error("{place} holds no OpenPGP {kind}: {reason}")]
    NoKey {
        /// A path, or the name of a key.
        place: String,
        /// `secret key` or `certificate`.
        kind: &'static str,
        /// What was found instead.
        reason: String,
    },
    /// apt, rpm or zypper would not accept what it signs.
    #[error("key {fingerprint} cannot sign packages: {reason}")]
    Unsuitable {
        /// Of the primary key, hexadecimal.
        fingerprint: String,
        /// What is missing.
        reason: String,
    },
    /// Its time is over, or has not come yet.
    #[error("key {fingerprint} {what} {time}")]
    OutOfTime {
        /// Of the primary key, hexadecimal.
        fingerprint: String,
        /// `expired at` or `does not exist before`.
        what: &'static str,
        /// RFC 3339.
        time: String,
    },
    /// Its owner has taken it back.
    #[error("key {fingerprint} is revoked")]
    Revoked {
        /// Of the primary key, hexadecimal.
        fingerprint: String,
    },
    /// The passphrase does not open it, or none was given.
    #[error("the secret key {fingerprint} is locked and {what}")]
    Locked {
        /// Of the primary key, hexadecimal.
        fingerprint: String,
        /// `no passphrase is given` or `the passphrase is another one`.
        what: &'static str,
    },
    /// A passphrase cannot be read.
    #[error("cannot read a passphrase from file descriptor {fd}")]
    Passphrase {
        /// The descriptor's number.
        fd: u32,
        /// Why.
        source: std::io::Error,
    },
    /// A program that signs does not do so. Its standard error is part of the message.
    #[error("{program} does not sign: {reason}{}", said(stderr))]
    Program {
        /// Its name.
        program: String,
        /// What it did instead.
        reason: String,
        /// The end of what it wrote to standard error, made safe for a terminal.
        stderr: String,
    },
    /// What came back is no signature of this key over these bytes.
    #[error("what {signer} gave is not used: {reason}")]
    BadSignature {
        /// A program or a key.
        signer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A text that cannot be signed in the clear.
    #[error("the text cannot be signed in the clear: {reason}")]
    BadText {
        /// What is in its way.
        reason: &'static str,
    },
    /// The file is no rpm, or one that nobody should sign.
    #[error("{} is no rpm that can be signed: {reason}", path.display())]
    BadRpm {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A signature is not by any of the certificates, or not over these bytes.
    #[error("no acceptable signature by a known key: {reason}")]
    NotVerified {
        /// For each signature, why it does not count.
        reason: String,
    },
    /// The process cannot be kept from leaving its memory behind.
    #[error("cannot keep the secret key out of core dumps")]
    CoreDumps {
        /// Why.
        source: std::io::Error,
    },
}

impl SignError {
    /// The exit code of a command that ends with it: 1 for a signature that does not count, 3 where a program or the machine fails, else 2.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotVerified { .. } => 1,
            Self::Program { .. } | Self::CoreDumps { .. } => 3,
            _ => 2,
        }
    }
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; it says: {stderr}") }
}

impl Hint for SignError {
    fn hint(&self) -> String {
        match self {
            Self::Fs(error) => error.hint(),
            Self::Exposed { path, .. } => format!("chmod 600 {}", path.display()),
            Self::Foreign { path, user, .. } => format!("chown {user} {}", path.display()),
            Self::BadSource { .. } => {
                "name a file with a secret key, gpg: and the 40 digits of a fingerprint, or a command with --sign-command".to_owned()
            }
            Self::NoKey { kind: "certificate", .. } => {
                "write one with `gpg --export --armor FINGERPRINT`".to_owned()
            }
            Self::NoKey { .. } => "write one with `gpg --export-secret-keys --armor FINGERPRINT`".to_owned(),
            Self::Unsuitable { .. } => {
                "make one with `gpg --quick-generate-key NAME rsa4096 sign 2y` (or ed25519)".to_owned()
            }
            Self::OutOfTime { .. } => {
                "check the clock; `gpg --quick-set-expire` prolongs a key, which must be exported again then"
                    .to_owned()
            }
            Self::Revoked { .. } => "sign with another key, and tell users to remove this one".to_owned(),
            Self::Locked { .. } => {
                "give its passphrase in a file descriptor: `--passphrase-fd 3 3<FILE`".to_owned()
            }
            Self::Passphrase { .. } => "open the descriptor in the shell: `--passphrase-fd 3 3<FILE`".to_owned(),
            Self::Program { .. } => "run it by hand, with some bytes on its standard input".to_owned(),
            Self::BadSignature { .. } => {
                "check that it signs with the key of the certificate, detached, armored, and of the kind that it is told"
                    .to_owned()
            }
            Self::BadText { .. } => "sign it detached instead".to_owned(),
            Self::BadRpm { .. } => "`rpm -K --nosignature FILE` tells whether it is whole".to_owned(),
            Self::NotVerified { .. } => {
                "check who signed it, and whether the keyring has this key as it is today".to_owned()
            }
            Self::CoreDumps { .. } => "check what confines the process: seccomp, or a container's profile".to_owned(),
        }
    }
}
