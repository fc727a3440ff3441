use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use pgp::composed::{Deserializable, DetachedSignature, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{KeyDetails, Password, SigningKey};

use super::secret::{NoCoreDumps, read_key_file};
use super::{Certificate, Passphrase, Result, SignError, program};
use crate::support::fs::{PathContext, read_up_to};

/// Where a key that signs is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file with one secret key, armored or binary, of `gpg --export-secret-keys`. A passphrase opens it if it is locked.
    File(PathBuf),
    /// A key of the user's gpg, by the fingerprint of its primary key: `gpg:` and 40 digits on the command line. Its agent asks for the
    /// passphrase or the card. The environment decides where the keys are (`GNUPGHOME`).
    Gpg(String),
    /// A command that signs.
    ///
    /// It gets the bytes on standard input and writes one armored detached OpenPGP signature (RFC 4880) to standard output; what it says on
    /// standard error is shown if it fails. Its environment tells it more:
    ///
    /// | variable | value |
    /// |---|---|
    /// | `PACKHOLD_SIGN_KIND` | `binary`: a signature of type 0x00, for detached ones and headers of rpms. `text`: of type 0x01, for a clearsigned text, whose lines end in CR LF already, the last one in nothing: `gpg --detach-sign --textmode` |
    /// | `PACKHOLD_SIGN_FINGERPRINT` | of the certificate's primary key |
    /// | `SOURCE_DATE_EPOCH` | the time that the signature must have, in seconds since 1970, if one is fixed |
    ///
    /// It has as long as [`Options::time_out`]; then it and its children are ended.
    Command {
        /// Program and arguments. They are visible to other users of the machine, so they must hold no secret.
        argv: Vec<String>,
        /// A file with its certificate, against which each signature is checked.
        certificate: PathBuf,
    },
}

impl KeySource {
    /// The programs that it needs, with the names of Debian's packages that have them where these are known.
    pub fn programs(&self) -> Vec<(&str, Option<&'static str>)> {
        match self {
            Self::File(_) => Vec::new(),
            Self::Gpg(_) => vec![("gpg", Some("gpg")), ("gpg-agent", Some("gpg-agent"))],
            Self::Command { argv, .. } => {
                argv.first().map(|program| (program.as_str(), None)).into_iter().collect()
            }
        }
    }
}

impl fmt::Display for KeySource {
    /// As the command line names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "key {}", path.display()),
            Self::Gpg(fingerprint) => write!(f, "key gpg:{fingerprint}"),
            Self::Command { certificate, .. } => write!(f, "the key of {}", certificate.display()),
        }
    }
}

impl FromStr for KeySource {
    type Err = SignError;

    /// `gpg:` and a fingerprint, or else a path.
    fn from_str(text: &str) -> Result<Self> {
        let bad = |reason| Err(SignError::BadSource { text: text.to_owned(), reason });
        match text.strip_prefix("gpg:") {
            None if text.is_empty() => bad("it is empty"),
            None => Ok(Self::File(text.into())),
            Some(hex) => {
                let hex = hex.replace(' ', "").to_ascii_uppercase();
                let fine = hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_hexdigit());
                if fine { Ok(Self::Gpg(hex)) } else { bad("a fingerprint has 40 hexadecimal digits") }
            }
        }
    }
}

/// How keys sign.
#[derive(Clone, Debug)]
pub struct Options {
    /// The time of all signatures, for the same bytes from the same input; now if there is none. Keys must be valid at it and today.
    pub time: Option<Timestamp>,
    /// How long gpg or a command may take for one signature.
    pub time_out: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { time: None, time_out: Duration::from_secs(120) }
    }
}

/// What a signature is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes as they are (type 0x00).
    Binary,
    /// Lines that end in CR LF (type 0x01).
    Text,
}

impl Kind {
    fn packet_type(self) -> SignatureType {
        match self {
            Self::Binary => SignatureType::Binary,
            Self::Text => SignatureType::Text,
        }
    }
}

/// A key that is ready to sign.
pub(super) struct Key {
    pub certificate: Certificate,
    hand: Hand,
}

/// Who holds the secret.
enum Hand {
    Own { key: Box<SignedSecretKey>, password: Password, _guard: NoCoreDumps },
    Gpg,
    Command(Vec<String>),
}

impl Key {
    /// Finds the key, opens it, and checks that it may sign at this time.
    pub fn open(source: &KeySource, passphrase: Option<&Passphrase>, options: &Options) -> Result<Self> {
        let key = match source {
            KeySource::File(path) => Self::from_file(path, passphrase)?,
            KeySource::Gpg(fingerprint) => {
                let mut export = Command::new("gpg");
                export.args(["--batch", "--no-tty", "--armor", "--export", fingerprint]);
                let bytes = program::run("gpg", export, b"", options.time_out)?;
                let place = format!("gpg, as {fingerprint},");
                let certificate = only(&place, Certificate::parse(&place, &bytes)?)?;
                if certificate.fingerprint != *fingerprint {
                    let reason = format!("it is of a subkey of {}", certificate.fingerprint);
                    return Err(SignError::NoKey { place, kind: "certificate", reason });
                }
                Self { certificate, hand: Hand::Gpg }
            }
            KeySource::Command { argv, certificate: path } => {
                if argv.is_empty() {
                    let reason = "the command is empty";
                    return Err(SignError::BadSource { text: String::new(), reason });
                }
                let bytes = read_up_to(path, 1 << 20).at("read", path)?;
                let place = path.display().to_string();
                let certificate = only(&place, Certificate::parse(&place, &bytes)?)?;
                Self { certificate, hand: Hand::Command(argv.clone()) }
            }
        };
        key.certificate.signing_part(super::certificate::now())?;
        if let Some(time) = options.time {
            key.certificate.signing_part(time)?;
        }
        Ok(key)
    }

    fn from_file(path: &std::path::Path, passphrase: Option<&Passphrase>) -> Result<Self> {
        let guard = NoCoreDumps::begin()?;
        let bytes = read_key_file(path)?;
        let place = path.display().to_string();
        let wrong = |reason: String| SignError::NoKey { place: place.clone(), kind: "secret key", reason };
        let (keys, _) =
            SignedSecretKey::from_reader_many(bytes.as_slice()).map_err(|e| wrong(e.to_string()))?;
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|e| wrong(e.to_string()))?;
        let key = match <[_; 1]>::try_from(keys) {
            Ok([key]) => key,
            Err(keys) if keys.is_empty() => return Err(wrong("it is empty".to_owned())),
            Err(_) => return Err(wrong("there are several: put each into a file of its own".to_owned())),
        };
        let certificate = Certificate::new(key.to_public_key())?;
        let password = passphrase.map_or_else(Password::empty, Passphrase::password);
        let hand = Hand::Own { key: Box::new(key), password, _guard: guard };
        let key = Self { certificate, hand };
        key.unlock(passphrase.is_some())?;
        Ok(key)
    }

    /// Whether the passphrase opens what signs; it is asked for before hours of work, not after.
    fn unlock(&self, given: bool) -> Result<()> {
        let Hand::Own { key, password, .. } = &self.hand else { return Ok(()) };
        let locked = || SignError::Locked {
            fingerprint: self.certificate.fingerprint.clone(),
            what: if given { "the passphrase is another one" } else { "no passphrase is given" },
        };
        let part = &self.certificate.signing_part(super::certificate::now())?.fingerprint;
        let primary = &key.primary_key;
        let opened = if primary.fingerprint().as_bytes() == part {
            primary.unlock(password, |_, _| Ok(())).and_then(|inner| inner)
        } else {
            let mut subkeys = key.secret_subkeys.iter();
            let subkey = subkeys.find(|subkey| subkey.key.fingerprint().as_bytes() == part);
            let subkey = subkey.ok_or_else(|| self.no_secret())?;
            subkey.key.unlock(password, |_, _| Ok(())).and_then(|inner| inner)
        };
        opened.map_err(|_| locked())
    }

    fn no_secret(&self) -> SignError {
        SignError::NoKey {
            place: format!("the file of key {}", self.certificate.fingerprint),
            kind: "secret key",
            reason: "the subkey that signs is there as a public key only".to_owned(),
        }
    }

    /// One checked signature packet over the bytes.
    pub fn sign(&self, kind: Kind, bytes: &[u8], options: &Options) -> Result<Signature> {
        let (signer, signature) = match &self.hand {
            Hand::Own { key, password, .. } => {
                let signature = self.sign_here(key, password, kind, bytes, options)?;
                (format!("key {}", self.certificate.fingerprint), signature)
            }
            Hand::Gpg => ("gpg".to_owned(), self.by_gpg(kind, bytes, options)?),
            Hand::Command(argv) => (argv[0].clone(), self.by_command(argv, kind, bytes, options)?),
        };
        let bad = |reason: String| SignError::BadSignature { signer: signer.clone(), reason };
        if signature.version() != pgp::packet::SignatureVersion::V4 {
            return Err(bad("its version is not 4".to_owned()));
        }
        if signature.typ() != Some(kind.packet_type()) {
            return Err(bad(format!("its type is not the one of a {kind:?} signature").to_lowercase()));
        }
        let made = signature.created().map(pgp::types::Timestamp::as_secs).map(i64::from);
        if options.time.is_some_and(|time| made != Some(time.as_second())) {
            return Err(bad("it has another time than the one that is fixed".to_owned()));
        }
        self.certificate.check(bytes, &signature).map_err(bad)?;
        Ok(signature)
    }

    fn sign_here(
        &self,
        key: &SignedSecretKey,
        password: &Password,
        kind: Kind,
        bytes: &[u8],
        options: &Options,
    ) -> Result<Signature> {
        let time = options.time.unwrap_or_else(super::certificate::now);
        let part = &self.certificate.signing_part(time)?.fingerprint;
        let made = if key.primary_key.fingerprint().as_bytes() == part {
            packet(&key.primary_key, password, kind, bytes, time)
        } else {
            let mut subkeys = key.secret_subkeys.iter();
            let subkey = subkeys.find(|subkey| subkey.key.fingerprint().as_bytes() == part);
            packet(&subkey.ok_or_else(|| self.no_secret())?.key, password, kind, bytes, time)
        };
        made.map_err(|error| SignError::BadSignature {
            signer: format!("key {}", self.certificate.fingerprint),
            reason: error.to_string(),
        })
    }

    fn by_gpg(&self, kind: Kind, bytes: &[u8], options: &Options) -> Result<Signature> {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--no-tty", "--armor", "--digest-algo", "SHA512", "--detach-sign"]);
        gpg.args(["--local-user", &self.certificate.fingerprint]);
        if kind == Kind::Text {
            gpg.arg("--textmode");
        }
        if let Some(time) = options.time {
            gpg.args(["--faked-system-time", &format!("{}!", time.as_second())]);
        }
        one_signature("gpg", &program::run("gpg", gpg, bytes, options.time_out)?)
    }

    fn by_command(&self, argv: &[String], kind: Kind, bytes: &[u8], options: &Options) -> Result<Signature> {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        command.env("PACKHOLD_SIGN_KIND", format!("{kind:?}").to_lowercase());
        command.env("PACKHOLD_SIGN_FINGERPRINT", &self.certificate.fingerprint);
        if let Some(time) = options.time {
            command.env("SOURCE_DATE_EPOCH", time.as_second().to_string());
        }
        one_signature(&argv[0], &program::run(&argv[0], command, bytes, options.time_out)?)
    }
}

fn packet(
    key: &impl SigningKey,
    password: &Password,
    kind: Kind,
    bytes: &[u8],
    time: Timestamp,
) -> pgp::errors::Result<Signature> {
    let seconds = u32::try_from(time.as_second()).unwrap_or_default();
    let mut config = SignatureConfig::v4(kind.packet_type(), key.algorithm(), HashAlgorithm::Sha512);
    let created = SubpacketData::SignatureCreationTime(pgp::types::Timestamp::from_secs(seconds));
    config.hashed_subpackets = vec![
        Subpacket::regular(created)?,
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    config.sign(key, password, bytes)
}

fn one_signature(signer: &str, bytes: &[u8]) -> Result<Signature> {
    let bad = |reason: &str| SignError::BadSignature { signer: signer.to_owned(), reason: reason.to_owned() };
    let (found, _) = DetachedSignature::from_reader_many(bytes)
        .map_err(|_| bad("its output is no armored OpenPGP signature"))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| bad(&error.to_string()))?;
    match <[_; 1]>::try_from(found) {
        Ok([one]) => Ok(one.signature),
        Err(_) => Err(bad("its output is not one signature")),
    }
}

fn only(place: &str, certificates: Vec<Certificate>) -> Result<Certificate> {
    match <[_; 1]>::try_from(certificates) {
        Ok([one]) => Ok(one),
        Err(_) => Err(SignError::NoKey {
            place: place.to_owned(),
            kind: "certificate",
            reason: "there are several: put each into a file of its own".to_owned(),
        }),
    }
}
