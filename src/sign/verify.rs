use pgp::composed::{Deserializable, DetachedSignature};

use super::{Certificate, Result, SignError, clear_text};

/// No signature is longer, in bytes.
const MOST_SIGNATURE: usize = 1 << 20;

/// Checks that a text was signed in the clear (RFC 4880, section 7) by one of the certificates, as [`verify_detached`] does.
pub fn verify_clearsigned<'a>(certificates: &'a [Certificate], document: &str) -> Result<&'a Certificate> {
    let (text, signature) = clear_text::split(document)
        .map_err(|reason| SignError::NotVerified { reason: reason.to_owned() })?
        .ok_or_else(|| SignError::NotVerified {
            reason: "it is no text that was signed in the clear".to_owned(),
        })?;
    verify_detached(certificates, clear_text::canonical(&text)?.as_bytes(), signature.as_bytes())
}

/// Checks that a detached signature, armored or binary, over `bytes` is by one of the certificates, and gives that. Of several signatures one must
/// count. A signature counts if its digest is SHA-256 or better, its key may sign, is not revoked, and had not expired when it
/// was made.
pub fn verify_detached<'a>(
    certificates: &'a [Certificate],
    bytes: &[u8],
    signature: &[u8],
) -> Result<&'a Certificate> {
    let fail = |reason: String| SignError::NotVerified { reason };
    if signature.len() > MOST_SIGNATURE {
        return Err(fail("the signature is too long".to_owned()));
    }
    let (found, _) = DetachedSignature::from_reader_many(signature)
        .map_err(|_| fail("it is not signed with OpenPGP".to_owned()))?;
    let mut reasons = Vec::new();
    for found in found {
        let found = found.map_err(|error| fail(error.to_string()))?.signature;
        for certificate in certificates {
            match certificate.check(bytes, &found) {
                Ok(()) => return Ok(certificate),
                Err(reason) if !reasons.contains(&reason) => reasons.push(reason),
                Err(_) => {}
            }
        }
    }
    Err(fail(match reasons.is_empty() {
        true => "there is no signature, or no key to check it with".to_owned(),
        false => reasons.join("; "),
    }))
}
