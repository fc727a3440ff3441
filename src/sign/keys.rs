use std::collections::BTreeSet;
use std::path::Path;

use pgp::armor::{self, BlockType};
use pgp::packet::{PacketTrait, Signature};
use pgp::ser::Serialize;

use super::source::{Key, Kind};
use super::{Certificate, KeySource, Options, Passphrase, Result, SignError, Signer, clear_text, rpm_header};

/// Keys that are open: the [`Signer`] of this program.
pub struct Keys {
    /// Oldest first; at least one.
    keys: Vec<Key>,
    options: Options,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.certificate)).finish()
    }
}

impl Keys {
    /// Opens the keys and checks that each may sign. The passphrase opens every file that is locked.
    pub fn open(sources: &[KeySource], passphrase: Option<&Passphrase>, options: Options) -> Result<Self> {
        let open = sources.iter().map(|source| Key::open(source, passphrase, &options));
        let mut keys = open.collect::<Result<Vec<_>>>()?;
        keys.sort_by_key(|key| (key.certificate.created, key.certificate.fingerprint.clone()));
        keys.dedup_by_key(|key| key.certificate.fingerprint.clone());
        if keys.is_empty() {
            return Err(SignError::BadSource { text: String::new(), reason: "no key is given" });
        }
        Ok(Self { keys, options })
    }

    /// What their owner should know: which of them expire within 30 days.
    pub fn warnings(&self) -> Vec<String> {
        let now = super::certificate::now();
        self.keys.iter().filter_map(|key| key.certificate.warning(now)).collect()
    }

    fn all(&self, kind: Kind, bytes: &[u8]) -> Result<Vec<Signature>> {
        self.keys.iter().map(|key| key.sign(kind, bytes, &self.options)).collect()
    }
}

impl Signer for Keys {
    fn certificates(&self) -> Result<Vec<Certificate>> {
        Ok(self.keys.iter().map(|key| key.certificate.clone()).collect())
    }

    fn detached(&self, bytes: &[u8]) -> Result<String> {
        armored(&self.all(Kind::Binary, bytes)?)
    }

    fn clearsigned(&self, text: &str) -> Result<String> {
        let canonical = clear_text::canonical(text)?;
        let signatures = self.all(Kind::Text, canonical.as_bytes())?;
        let hashes = signatures.iter().filter_map(Signature::hash_alg).map(|hash| hash.to_string());
        let hashes = hashes.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(",");
        Ok(clear_text::framed(text, &hashes, &armored(&signatures)?))
    }

    fn sign_rpm(&self, path: &Path, out: &Path) -> Result<()> {
        let Some(key) = self.keys.last() else { return Ok(()) };
        rpm_header::sign(path, out, |header| key.sign(Kind::Binary, header, &self.options))
    }
}

/// Signature packets in one block.
struct Packets<'a>(&'a [Signature]);

impl Serialize for Packets<'_> {
    fn to_writer<W: std::io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        self.0.iter().try_for_each(|signature| signature.to_writer_with_header(writer))
    }

    fn write_len(&self) -> usize {
        self.0.iter().map(PacketTrait::write_len_with_header).sum()
    }
}

fn armored(signatures: &[Signature]) -> Result<String> {
    let mut text = Vec::new();
    armor::write(&Packets(signatures), BlockType::Signature, &mut text, None, true).map_err(|error| {
        SignError::BadSignature { signer: "the encoder".to_owned(), reason: error.to_string() }
    })?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
