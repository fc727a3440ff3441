//! Percent-encoding (RFC 3986, 2.1).

/// A text in which every byte is encoded that is no letter, no digit and not one of `fine`.
pub fn encoded(text: &str, fine: &[u8]) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte.is_ascii_alphanumeric() || fine.contains(&byte) {
            true => encoded.push(char::from(byte)),
            false => encoded += &format!("%{byte:02X}"),
        }
        encoded
    })
}

/// A text as one segment of a path: only what is unreserved stays (RFC 3986, 2.3).
pub fn segment(text: &str) -> String {
    encoded(text, b"-._~")
}
