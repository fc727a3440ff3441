//! `Release` (DebianRepository/Format): what a suite offers, and the digests of its index files.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::control;
use crate::model::Digest;
use crate::publish::history::FileOf;
use crate::sign::split_clearsigned;

/// A `Release` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Release {
    /// Its fields but for the digests, in their order.
    pub(super) fields: Vec<(String, String)>,
    /// The index files, by their names below the suite's folder.
    pub(super) files: BTreeMap<String, FileOf>,
}

impl Release {
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.fields {
            control::write(&mut text, name, value);
        }
        text.push_str("SHA256:\n");
        for (name, file) in &self.files {
            text.push_str(&format!(" {} {:>16} {name}\n", file.digest.hex(), file.size));
        }
        text
    }

    /// Reads a `Release`, or an `InRelease` without what signs it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut release = Self::default();
        for (name, value) in control::paragraph(text)? {
            if !["MD5Sum", "SHA1", "SHA256", "SHA512"].iter().any(|sum| sum.eq_ignore_ascii_case(&name)) {
                release.fields.push((name, value));
                continue;
            }
            if !name.eq_ignore_ascii_case("SHA256") {
                continue;
            }
            for line in value.lines().map(str::trim).filter(|line| !line.is_empty()) {
                let mut words = line.split_whitespace();
                let digest = words.next().and_then(|hex| Digest::from_hex(hex).ok());
                let size = words.next().and_then(|size| size.parse().ok());
                let (Some(digest), Some(size), Some(file)) = (digest, size, words.next()) else {
                    return Err(format!("it has the line `{line}`"));
                };
                if crate::support::tar_reader::safe_relative(file).as_deref() != Some(file) {
                    return Err(format!("it names the file `{}`", file.escape_debug()));
                }
                release.files.insert(file.to_owned(), FileOf { digest, size });
            }
        }
        Ok(release)
    }

    /// The value of a field, empty where it has none.
    pub(super) fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }
}

impl Release {
    /// Until when clients rely on it.
    pub(super) fn until(&self) -> Option<Timestamp> {
        let parsed = jiff::fmt::strtime::parse(DATE, self.field("Valid-Until")).ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(parsed.to_datetime().ok()?).ok()
    }
}

/// The text that an `InRelease` signs (RFC 4880, section 7), or the text itself if it is no such message.
pub(super) fn signed_text(inrelease: &str) -> Result<String, String> {
    Ok(split_clearsigned(inrelease)?.map_or_else(|| inrelease.to_owned(), |(text, _)| text))
}

/// How `Release` has dates, for strftime(3).
const DATE: &str = "%a, %d %b %Y %H:%M:%S UTC";

/// A date as `Release` has it, in UTC.
pub(super) fn date(time: Timestamp) -> String {
    time.strftime(DATE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_as_it_was_written() {
        let file = FileOf { digest: Digest::of("packages"), size: 8 };
        let fields = vec![("Suite".to_owned(), "bookworm".to_owned())];
        let release = Release { fields, files: [("main/binary-amd64/Packages".to_owned(), file)].into() };
        assert_eq!(Release::parse(&release.text()).unwrap(), release);
        assert!(Release::parse("SHA256:\n 00 8 Packages\n").is_err());
        let escaping = release.text().replace("main/binary", "../../binary");
        assert!(Release::parse(&escaping).is_err());
    }

    #[test]
    fn dates_have_the_form_of_rfc_2822_in_utc() {
        assert_eq!(date(Timestamp::from_second(1_700_000_000).unwrap()), "Tue, 14 Nov 2023 22:13:20 UTC");
    }

    #[test]
    fn what_is_signed_is_taken_out_of_its_message() {
        let message = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nSuite: a\n- -dash\n-----BEGIN PGP SIGNATURE-----\n\nx\n";
        assert_eq!(signed_text(message).unwrap(), "Suite: a\n-dash\n");
        assert_eq!(signed_text("Suite: a\n").unwrap(), "Suite: a\n");
    }
}
