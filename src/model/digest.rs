use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::schema::text_schema;

/// A sha256 digest, written `sha256:` and 64 lower-case hexadecimal digits (OCI image specification, "Digests").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text that is not a sha256 digest.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a digest of the form sha256:<64 hexadecimal digits>")]
pub struct DigestParseError(String);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// The 64 hexadecimal digits without the algorithm: the name of a blob's file.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first 12 hexadecimal digits, for people and for image tags.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest whose hexadecimal digits are `hex`.
    pub fn from_hex(hex: &str) -> Result<Self, DigestParseError> {
        let mut bytes = [0; 32];
        let lower = !hex.bytes().any(|b| b.is_ascii_uppercase());
        match hex::decode_to_slice(hex, &mut bytes) {
            Ok(()) if lower => Ok(Self(bytes)),
            _ => Err(DigestParseError(hex.to_owned())),
        }
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Digest {
    /// Hands over the whole text: lists have very many of them.
    fn with_text<T>(&self, use_it: impl FnOnce(&str) -> T) -> T {
        const PREFIX: &[u8] = b"sha256:";
        let mut text = [0; PREFIX.len() + 64];
        let (prefix, digits) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        // There are twice as many digits as bytes.
        let _ = hex::encode_to_slice(self.0, digits);
        use_it(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix("sha256:").ok_or_else(|| DigestParseError(text.to_owned()))?;
        Self::from_hex(hex).map_err(|_| DigestParseError(text.to_owned()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

text_schema!(
    Digest,
    "^sha256:[0-9a-f]{64}$",
    "A sha256 digest: `sha256:` and 64 lower-case hexadecimal digits."
);

/// A writer that passes bytes on to `inner` and digests and counts them on the way.
pub struct Hasher<W = io::Sink> {
    inner: W,
    state: Sha256,
    bytes: u64,
}

impl Hasher {
    /// A hasher that keeps no bytes.
    pub fn new() -> Self {
        Self::around(io::sink())
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> Hasher<W> {
    /// A hasher in front of `inner`.
    pub fn around(inner: W) -> Self {
        Self { inner, state: Sha256::new(), bytes: 0 }
    }

    /// The digest and the number of bytes that were written, and the inner writer.
    pub fn finish(self) -> (Digest, u64, W) {
        (Digest(self.state.finalize().into()), self.bytes, self.inner)
    }

    /// The number of bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl<W: Write> Hasher<W> {
    /// Adds a field to a key: its name, its length and its bytes, so that two different lists of fields never give
    /// the same input to the digest.
    pub fn field(&mut self, name: &str, value: impl AsRef<[u8]>) -> io::Result<()> {
        let value = value.as_ref();
        write!(self, "{}:{name}={}:", name.len(), value.len())?;
        self.write_all(value)
    }
}

impl<W: Write> Write for Hasher<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.state.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_and_read_in_the_oci_form() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), Digest::of(b""));
    }

    #[test]
    fn what_is_not_a_lower_case_sha256_digest_is_refused() {
        for text in
            ["", "sha256:", "sha512:00", "e3b0c442", &format!("sha256:{}", "A".repeat(64)), "sha256:../x"]
        {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_hasher_digests_what_it_passes_on() {
        let mut hasher = Hasher::around(Vec::new());
        hasher.write_all(b"ab").unwrap();
        hasher.write_all(b"c").unwrap();
        assert_eq!(hasher.finish(), (Digest::of(b"abc"), 3, b"abc".to_vec()));
    }

    #[test]
    fn fields_that_join_to_the_same_text_give_different_keys() {
        let key = |fields: &[(&str, &str)]| {
            let mut hasher = Hasher::new();
            for (name, value) in fields {
                hasher.field(name, value).unwrap();
            }
            hasher.finish().0
        };
        assert_ne!(key(&[("a", "b=c")]), key(&[("a=b", "c")]));
        assert_ne!(key(&[("a", "xy"), ("b", "")]), key(&[("a", "x"), ("b", "y")]));
    }
}
