use std::time::SystemTime;

use jiff::Timestamp;
use pgp::composed::{ArmorOptions, Deserializable, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::ser::Serialize;
use pgp::types::{EddsaLegacyPublicParams, KeyDetails, KeyVersion, PublicParams, Tag, VerifyingKey};

use super::{Result, SignError};

/// How long before its end a key is warned of.
const SOON: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

/// The public part of a key. Only what the key itself has signed counts: expiry, subkeys, user ids.
#[derive(Clone)]
pub struct Certificate {
    /// ASCII armor, as `gpg --import`, apt's `Signed-By` and `rpmkeys --import` read it.
    pub armored: String,
    /// Of the primary key, 40 hexadecimal digits in capitals.
    pub fingerprint: String,
    /// The newest user id; empty if there is none.
    pub user_id: String,
    /// When the key was made.
    pub created: Timestamp,
    /// When it ends; `None` for a key that does not.
    pub expires: Option<Timestamp>,
    /// Whether its owner has taken it back.
    pub revoked: bool,
    parts: Vec<Part>,
    key: SignedPublicKey,
}

/// A primary key or subkey that may sign.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub fingerprint: Vec<u8>,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    /// Why it cannot sign packages.
    pub unsuitable: Option<&'static str>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({} {:?})", self.fingerprint, self.user_id)
    }
}

impl Certificate {
    /// Reads certificates, armored or binary, from what `place` names in errors.
    pub fn parse(place: &str, bytes: &[u8]) -> Result<Vec<Self>> {
        let wrong =
            |reason: String| SignError::NoKey { place: place.to_owned(), kind: "certificate", reason };
        let (keys, _) = SignedPublicKey::from_reader_many(bytes).map_err(|e| wrong(e.to_string()))?;
        let mut certificates = Vec::new();
        for key in keys {
            certificates.push(Self::new(key.map_err(|e| wrong(e.to_string()))?)?);
        }
        match certificates.is_empty() {
            true => Err(wrong("it is empty".to_owned())),
            false => Ok(certificates),
        }
    }

    pub(super) fn new(key: SignedPublicKey) -> Result<Self> {
        let primary = &key.primary_key;
        let fingerprint = format!("{:X}", primary.fingerprint());
        let armored = key.to_armored_string(ArmorOptions::default()).map_err(|error| SignError::NoKey {
            place: format!("key {fingerprint}"),
            kind: "certificate",
            reason: error.to_string(),
        })?;
        let created = time(primary.created_at());
        let (user_id, own) = newest_self_signature(&key);
        let expires = own.and_then(|own| end(created, own));
        let revocations = key.details.revocation_signatures.iter();
        let revoked = revocations
            .filter(|signature| signature.typ() == Some(SignatureType::KeyRevocation))
            .any(|signature| signature.verify_key(primary).is_ok());
        let mut parts = signing_subkeys(&key, expires);
        // A key without flags may do everything (RFC 4880, section 5.2.3.21).
        let flags = own.map(Signature::key_flags);
        if flags.is_some_and(|flags| flags.sign() || !(flags.certify() || flags.encrypt_storage())) {
            parts.push(Part {
                fingerprint: primary.fingerprint().as_bytes().to_vec(),
                created,
                expires,
                unsuitable: unsuitable(primary),
            });
        }
        Ok(Self { armored, fingerprint, user_id, created, expires, revoked, parts, key })
    }

    /// The newest subkey that may sign at this time, else the primary key; otherwise why there is none.
    pub(super) fn signing_part(&self, now: Timestamp) -> Result<&Part> {
        let fingerprint = || self.fingerprint.clone();
        if self.revoked {
            return Err(SignError::Revoked { fingerprint: fingerprint() });
        }
        self.check_time(now)?;
        let refused = |reason: &str| {
            Err(SignError::Unsuitable { fingerprint: fingerprint(), reason: reason.to_owned() })
        };
        let is_primary = |part: &Part| part.fingerprint == self.key.primary_key.fingerprint().as_bytes();
        let usable =
            self.parts.iter().filter(|part| part.created <= now && part.expires.is_none_or(|end| end > now));
        match usable.max_by_key(|part| (!is_primary(part), part.created)) {
            None if self.parts.is_empty() => refused("it may not sign, and has no subkey that may"),
            None => refused("its subkeys that may sign are expired"),
            Some(Part { unsuitable: Some(reason), .. }) => refused(reason),
            Some(part) => Ok(part),
        }
    }

    fn check_time(&self, now: Timestamp) -> Result<()> {
        let out = |what, time: Timestamp| {
            Err(SignError::OutOfTime { fingerprint: self.fingerprint.clone(), what, time: time.to_string() })
        };
        match self.expires {
            Some(end) if end <= now => out("expired at", end),
            _ if self.created > now => out("does not exist before", self.created),
            _ => Ok(()),
        }
    }

    /// What its owner should know: that it, or the part of it that signs, ends within 30 days.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let ends = [self.expires, self.signing_part(now).ok().and_then(|part| part.expires)];
        let end = ends.into_iter().flatten().min()?;
        let left = end.duration_since(now);
        (left <= SOON).then(|| {
            let days = left.as_hours().max(0) / 24;
            format!("key {} expires in {days} days, at {end}", self.fingerprint)
        })
    }

    /// Checks one signature over `bytes`; otherwise says why it does not count.
    pub(super) fn check(&self, bytes: &[u8], signature: &Signature) -> Result<(), String> {
        if self.revoked {
            return Err(format!("key {} is revoked", self.fingerprint));
        }
        let hash = signature.hash_alg();
        if !matches!(hash, Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512)) {
            return Err("its digest is weaker than SHA-256".to_owned());
        }
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err("it is no signature over a document".to_owned());
        }
        let made = signature.created().map(time).ok_or("it does not say when it was made")?;
        let lifetime = signature.signature_expiration_time().map_or(0, pgp::types::Duration::as_secs);
        if lifetime > 0 && made + jiff::SignedDuration::from_secs(lifetime.into()) <= now() {
            return Err("it has expired".to_owned());
        }
        let mut reason = format!("it is not by key {}", self.fingerprint);
        for part in &self.parts {
            let fits = |fingerprint: &pgp::types::Fingerprint| fingerprint.as_bytes() == part.fingerprint;
            let primary = &self.key.primary_key;
            let result = if fits(&primary.fingerprint()) {
                if !names(signature, primary) {
                    continue;
                }
                signature.verify(primary, bytes)
            } else {
                let mut subkeys = self.key.public_subkeys.iter();
                let Some(subkey) = subkeys.find(|subkey| fits(&subkey.key.fingerprint())) else { continue };
                if !names(signature, &subkey.key) {
                    continue;
                }
                signature.verify(&subkey.key, bytes)
            };
            match result {
                Err(_) => reason = format!("it is not what key {} has signed", self.fingerprint),
                Ok(()) if made < part.created || part.expires.is_some_and(|end| end <= made) => {
                    reason = format!("key {} was not valid when it was made", self.fingerprint);
                }
                Ok(()) => return Ok(()),
            }
        }
        Err(reason)
    }
}

/// Whether a signature says that it is by this key.
fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_key_id().iter().any(|id| **id == key.legacy_key_id())
        || signature.issuer_fingerprint().iter().any(|id| **id == key.fingerprint())
}

pub(super) fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn time(time: pgp::types::Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_secs().into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// When a key ends by its own signature; an expiration time of 0 is none (RFC 4880, section 5.2.3.6).
fn end(created: Timestamp, own: &Signature) -> Option<Timestamp> {
    let seconds = own.key_expiration_time()?.as_secs();
    (seconds > 0).then(|| created + jiff::SignedDuration::from_secs(seconds.into()))
}

/// The newest user id that is not revoked, and the newest signature of the key over itself or a user id.
fn newest_self_signature(key: &SignedPublicKey) -> (String, Option<&Signature>) {
    let primary = &key.primary_key;
    let mut newest: Option<(&Signature, String)> = None;
    let mut user_id = None;
    for user in &key.details.users {
        let own = user.signatures.iter().filter(|signature| {
            names(signature, primary)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        });
        let Some(last) = own.max_by_key(|signature| signature.created()) else { continue };
        if last.typ() == Some(SignatureType::CertRevocation) {
            continue;
        }
        if newest.as_ref().is_none_or(|(other, _)| other.created() < last.created()) {
            let name = String::from_utf8_lossy(user.id.id()).into_owned();
            user_id = Some(name.clone());
            newest = Some((last, name));
        }
    }
    let direct = key.details.direct_signatures.iter().filter(|s| s.verify_key(primary).is_ok());
    let direct = direct.max_by_key(|signature| signature.created());
    let by_user = newest.map(|(signature, _)| signature);
    let own = [direct, by_user].into_iter().flatten().max_by_key(|signature| signature.created());
    (user_id.unwrap_or_default(), own)
}

fn signing_subkeys(key: &SignedPublicKey, primary_end: Option<Timestamp>) -> Vec<Part> {
    let primary = &key.primary_key;
    let mut parts = Vec::new();
    for subkey in &key.public_subkeys {
        let bound =
            || subkey.signatures.iter().filter(|s| s.verify_subkey_binding(primary, &subkey.key).is_ok());
        if bound().any(|s| s.typ() == Some(SignatureType::SubkeyRevocation)) {
            continue;
        }
        let binding = bound().filter(|s| s.typ() == Some(SignatureType::SubkeyBinding));
        let Some(binding) = binding.max_by_key(|s| s.created()) else { continue };
        let back = binding.embedded_signature();
        let back = back.is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok());
        if !binding.key_flags().sign() || !back {
            continue;
        }
        let created = time(subkey.key.created_at());
        parts.push(Part {
            fingerprint: subkey.key.fingerprint().as_bytes().to_vec(),
            created,
            expires: [end(created, binding), primary_end].into_iter().flatten().min(),
            unsuitable: unsuitable(&subkey.key),
        });
    }
    parts
}

/// What apt, rpm or zypper would say against a key.
fn unsuitable(key: &impl VerifyingKey) -> Option<&'static str> {
    if key.version() != KeyVersion::V4 {
        return Some("its version is not 4, which gpgv 2.2 and rpm 4.18 know alone");
    }
    match key.public_params() {
        // A number of 2048 bits with its length, and the shortest exponent.
        PublicParams::RSA(numbers) if numbers.write_len() < 2 + 256 + 2 + 1 => {
            Some("RSA of less than 2048 bits is too weak")
        }
        PublicParams::RSA(_) => None,
        PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { .. }) => None,
        _ => Some("it is neither RSA nor Ed25519 (as GnuPG makes it), which rpm 4.18 knows alone"),
    }
}
