use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::model::Digest;
use crate::support::Hint;
use crate::support::fs::{FsError, PathContext};

/// The type of what is signed: an in-toto Statement.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A signed statement (DSSE v1, "Envelope").
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The statement, base64.
    payload: String,
    /// What it is.
    payload_type: String,
    /// Its signatures; none where no key is configured.
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EnvelopeSignature {
    /// The sha256 of the public key's SubjectPublicKeyInfo, hexadecimal.
    keyid: String,
    sig: String,
}

/// Why an envelope or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// A file cannot be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Others can read the private key.
    #[error("the key {} can be read by others", path.display())]
    Exposed {
        /// The key's file.
        path: PathBuf,
    },
    /// The file holds no ed25519 key.
    #[error("{} holds no {kind} ed25519 key in PEM", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// `private` or `public`.
        kind: &'static str,
    },
    /// Nobody has signed it.
    #[error("the receipt is not signed")]
    Unsigned,
    /// No signature is by this key.
    #[error("no signature of the receipt is by this key")]
    WrongKey,
    /// It is not what was signed, or no envelope at all.
    #[error("the receipt is damaged: {0}")]
    Damaged(String),
}

impl Hint for EnvelopeError {
    fn hint(&self) -> String {
        match self {
            Self::Fs(error) => error.hint(),
            Self::Exposed { path } => format!("chmod 600 {}", path.display()),
            Self::BadKey { kind: "public", .. } => "write it with `openssl pkey -in KEY -pubout`".to_owned(),
            Self::BadKey { .. } => "make one with `openssl genpkey -algorithm ed25519 -out KEY`".to_owned(),
            Self::Unsigned => "configure a key with --receipt-key for later runs".to_owned(),
            Self::WrongKey => "check which key signed it: keyid is the sha256 of the public key".to_owned(),
            Self::Damaged(_) => "`packhold archive verify` tells what else is damaged".to_owned(),
        }
    }
}

/// The private key that signs receipts. It is never printed, and forgotten when it is dropped.
pub struct ReceiptKey(SigningKey);

impl std::fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReceiptKey(…)")
    }
}

impl ReceiptKey {
    /// Reads a key (PKCS #8 in PEM, RFC 8410) that only its owner may read.
    pub fn read(path: &Path) -> Result<Self, EnvelopeError> {
        let mode = fs::metadata(path).at("read", path)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(EnvelopeError::Exposed { path: path.to_owned() });
        }
        let text = fs::read_to_string(path).at("read", path)?;
        let key = SigningKey::from_pkcs8_pem(&text);
        key.map(Self).map_err(|_| EnvelopeError::BadKey { path: path.to_owned(), kind: "private" })
    }
}

/// Reads a public key (SubjectPublicKeyInfo in PEM, RFC 8410).
pub fn public_key(path: &Path) -> Result<VerifyingKey, EnvelopeError> {
    let text = fs::read_to_string(path).at("read", path)?;
    VerifyingKey::from_public_key_pem(&text)
        .map_err(|_| EnvelopeError::BadKey { path: path.to_owned(), kind: "public" })
}

fn key_id(key: &VerifyingKey) -> String {
    let pem = key.to_public_key_pem(LineEnding::LF).unwrap_or_default();
    let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    Digest::of(STANDARD.decode(lines).unwrap_or_default()).hex()
}

/// What is signed (DSSE v1, "PAE").
fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
    let mut encoded = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

impl Envelope {
    /// Puts a statement into an envelope, signed if there is a key.
    pub fn seal(statement: &serde_json::Value, key: Option<&ReceiptKey>) -> Self {
        let payload = statement.to_string().into_bytes();
        let signature = key.map(|ReceiptKey(key)| EnvelopeSignature {
            keyid: key_id(&key.verifying_key()),
            sig: STANDARD.encode(key.sign(&pre_authentication_encoding(&payload)).to_bytes()),
        });
        Self {
            payload: STANDARD.encode(payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: signature.into_iter().collect(),
        }
    }

    /// Puts an envelope together that is kept as a statement and the signatures over it: base64 would take seven times the
    /// space. `signatures` is what [`Envelope::signatures`] gave.
    pub fn of_parts(statement: &[u8], signatures: Option<&[u8]>) -> Result<Self, EnvelopeError> {
        let parse =
            |bytes| serde_json::from_slice(bytes).map_err(|error| EnvelopeError::Damaged(error.to_string()));
        let signatures = signatures.map_or_else(|| Ok(Vec::new()), parse)?;
        Ok(Self { payload: STANDARD.encode(statement), payload_type: PAYLOAD_TYPE.to_owned(), signatures })
    }

    /// The signatures, a JSON array as DSSE has it; `None` if there are none.
    pub fn signatures(&self) -> Option<Vec<u8>> {
        self.is_signed().then(|| serde_json::to_vec(&self.signatures).unwrap_or_default())
    }

    /// The statement's bytes; its signatures are not looked at.
    pub fn bytes(&self) -> Result<Vec<u8>, EnvelopeError> {
        STANDARD.decode(&self.payload).map_err(|error| EnvelopeError::Damaged(error.to_string()))
    }

    /// The statement; its signatures are not looked at.
    pub fn statement(&self) -> Result<serde_json::Value, EnvelopeError> {
        serde_json::from_slice(&self.bytes()?).map_err(|error| EnvelopeError::Damaged(error.to_string()))
    }

    /// Whether anybody has signed it.
    pub fn is_signed(&self) -> bool {
        !self.signatures.is_empty()
    }

    /// Checks that `key` has signed what it holds.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), EnvelopeError> {
        if self.signatures.is_empty() {
            return Err(EnvelopeError::Unsigned);
        }
        let id = key_id(key);
        let signature = self.signatures.iter().find(|signature| signature.keyid == id);
        let signature = signature.ok_or(EnvelopeError::WrongKey)?;
        let damaged = |reason: &str| EnvelopeError::Damaged(reason.to_owned());
        let bytes = STANDARD.decode(&signature.sig).map_err(|_| damaged("its signature is no base64"))?;
        let signature =
            Signature::from_slice(&bytes).map_err(|_| damaged("its signature has another length"))?;
        key.verify_strict(&pre_authentication_encoding(&self.bytes()?), &signature)
            .map_err(|_| damaged("it is not what was signed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key pair of RFC 8410, section 10.3.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    fn files() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (dir.path().join("key.pem"), dir.path().join("public.pem"));
        fs::write(&private, PRIVATE).unwrap();
        fs::write(&public, PUBLIC).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
        (dir, private, public)
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else_does() {
        let (_dir, private, public) = files();
        let (private, public) = (ReceiptKey::read(&private).unwrap(), public_key(&public).unwrap());
        let envelope = Envelope::seal(&serde_json::json!({ "a": 1 }), Some(&private));
        envelope.verify(&public).unwrap();
        let (bytes, signatures) = (envelope.bytes().unwrap(), envelope.signatures());
        assert_eq!(Envelope::of_parts(&bytes, signatures.as_deref()).unwrap(), envelope);
        assert!(matches!(Envelope::of_parts(&bytes, Some(b"{")), Err(EnvelopeError::Damaged(_))));
        let other = Envelope { payload: STANDARD.encode("{\"a\":2}"), ..envelope.clone() };
        assert!(matches!(other.verify(&public), Err(EnvelopeError::Damaged(_))));
        let stranger = SigningKey::from_bytes(&[7; 32]).verifying_key();
        assert!(matches!(envelope.verify(&stranger), Err(EnvelopeError::WrongKey)));
        let unsigned = Envelope::seal(&serde_json::json!({}), None);
        assert!(matches!(unsigned.verify(&public), Err(EnvelopeError::Unsigned)));
        assert!(!format!("{private:?}").contains("1NTuctv5"));
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let (_dir, private, public) = files();
        assert!(matches!(ReceiptKey::read(&public), Err(EnvelopeError::Exposed { .. })));
        fs::set_permissions(&public, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(ReceiptKey::read(&public), Err(EnvelopeError::BadKey { kind: "private", .. })));
        assert!(matches!(public_key(&private), Err(EnvelopeError::BadKey { kind: "public", .. })));
        fs::set_permissions(&private, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(ReceiptKey::read(&private), Err(EnvelopeError::Exposed { .. })));
    }
}
