//! The cleartext signature framework (RFC 4880, section 7).

use super::{Result, SignError};

/// What is signed of a text: its lines, joined by CR LF. The end of the last line is not part of it.
pub(super) fn canonical(text: &str) -> Result<String> {
    let bad = |reason| Err(SignError::BadText { reason });
    if text.contains('\r') {
        return bad("it holds a carriage return");
    }
    if text.split('\n').any(|line| line.ends_with([' ', '\t'])) {
        return bad("spaces or tabs at the end of a line would not be signed");
    }
    let body = body(text);
    if body.is_empty() || body.ends_with('\n') {
        return bad("it is empty, or ends in an empty line");
    }
    Ok(body.replace('\n', "\r\n"))
}

fn body(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// The text of a document that was signed in the clear, which nobody has checked, and its signature; `None` if it does not begin as one. Errors say
/// what it lacks.
pub fn split(document: &str) -> std::result::Result<Option<(String, &str)>, &'static str> {
    let Some(message) = document.trim_start().strip_prefix(BEGIN) else { return Ok(None) };
    let body = message.split_once("\n\n").ok_or("its signed message has no text")?.1;
    let end = body.find(&format!("\n{SIGNATURE}")).ok_or("its signed message has no signature")?;
    let lines: Vec<&str> = body[..end].lines().map(|line| line.strip_prefix("- ").unwrap_or(line)).collect();
    Ok(Some((lines.join("\n") + "\n", &body[end + 1..])))
}

/// The text with what was signed of it, as one document.
pub(super) fn framed(text: &str, hash: &str, signatures: &str) -> String {
    let mut out = format!("{BEGIN}\nHash: {hash}\n\n");
    for line in body(text).split('\n') {
        if line.starts_with('-') {
            out.push_str("- ");
        }
        out.push_str(line);
        out.push('\n');
    }
    out.push_str(signatures);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_for_the_digest_and_hyphens_escaped_in_the_document() {
        assert_eq!(canonical("a\n-b\n\nc\n").unwrap(), "a\r\n-b\r\n\r\nc");
        assert_eq!(canonical("a").unwrap(), "a");
        let document = framed("a\n-b\n", "SHA512", "-----BEGIN PGP SIGNATURE-----\n");
        assert!(document.ends_with("Hash: SHA512\n\na\n- -b\n-----BEGIN PGP SIGNATURE-----\n"), "{document}");
    }

    #[test]
    fn what_a_reader_would_see_otherwise_than_it_was_signed_is_refused() {
        for text in ["", "\n", "a\n\n", "a \nb\n", "a\t", "a\r\nb\n"] {
            assert!(canonical(text).is_err(), "{text:?}");
        }
    }
}
