use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use zeroize::Zeroizing;

use super::NotifyError;
use crate::sign::read_secret_file;

/// What signs a message, or says who sends it. It is never printed, and overwritten when it is dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// The secret of a webhook: `whsec_` and 24 to 64 bytes in base64 (Standard Webhooks, "Signature scheme").
    pub fn of_webhook(path: &Path) -> Result<Self, NotifyError> {
        let text = read_secret_file(path)?;
        let encoded = text.trim_ascii().strip_prefix(b"whsec_");
        let bytes = encoded.and_then(|encoded| STANDARD.decode(encoded).ok()).map(Zeroizing::new);
        match bytes.filter(|bytes| (24..=64).contains(&bytes.len())) {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(NotifyError::NoSecret {
                path: path.to_owned(),
                what: "secret of a webhook",
                hint: "make one: (umask 077; echo whsec_$(openssl rand -base64 32) >FILE), and give it to who receives",
            }),
        }
    }

    /// A token: one line of printable characters.
    pub fn token(path: &Path) -> Result<Self, NotifyError> {
        let text = read_secret_file(path)?;
        let token = text.trim_ascii();
        match !token.is_empty() && token.iter().all(u8::is_ascii_graphic) {
            true => Ok(Self(Zeroizing::new(token.to_vec()))),
            false => Err(NotifyError::NoSecret {
                path: path.to_owned(),
                what: "token",
                hint: "write the forge's token into it, in one line",
            }),
        }
    }

    /// HMAC-SHA256 over the parts, in base64.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        parts.iter().for_each(|part| context.update(part));
        STANDARD.encode(context.sign())
    }

    /// The token as the value of a header that is not shown.
    pub(super) fn header(&self, prefix: &str) -> Option<reqwest::header::HeaderValue> {
        let value = Zeroizing::new([prefix.as_bytes(), &self.0].concat());
        let mut value = reqwest::header::HeaderValue::from_bytes(&value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_the_specification_has_it() {
        // The example of github.com/standard-webhooks, "Verifying signatures".
        let secret = Secret(Zeroizing::new(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()));
        let parts: [&[u8]; 5] =
            [b"msg_p5jXN8AQM9LWM0D4loKWxJek", b".", b"1614265330", b".", br#"{"test": 2432232314}"#];
        assert_eq!(secret.sign(&parts), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
