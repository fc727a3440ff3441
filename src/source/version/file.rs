//! The version that the packaging itself names.

use crate::model::PackageVersion;
use crate::source::{Result, SourceError};

/// Reads a spec file where the name ends in `.spec` or `.spec.in`, and a Debian changelog otherwise.
pub(super) fn version(path: &str, content: &[u8], commit: &str) -> Result<PackageVersion> {
    let text = String::from_utf8_lossy(content);
    let name = path.rsplit('/').next().unwrap_or(path);
    let found =
        if name.ends_with(".spec") || name.contains(".spec.") { spec(&text) } else { changelog(&text) };
    let (deb, rpm, deb_full) = found.map_err(|(line, reason)| SourceError::BadVersionFile {
        path: path.to_owned(),
        line,
        reason,
    })?;
    Ok(PackageVersion { describe: commit.to_owned(), deb, rpm, release: true, deb_full })
}

/// deb, rpm, the whole Debian version; or the line and what is wrong with it.
type Found = std::result::Result<(String, String, Option<String>), (usize, String)>;

/// deb-changelog(5): the first line that is not empty is `package (version) distributions; metadata`.
fn changelog(text: &str) -> Found {
    let Some((index, line)) = text.lines().enumerate().find(|(_, line)| !line.trim().is_empty()) else {
        return Err((1, "the changelog is empty".into()));
    };
    let fail = |reason: String| Err((index + 1, reason));
    let Some((_, rest)) = line.split_once(" (") else {
        return fail("no `package (version) distribution; …` line comes first".into());
    };
    let Some((full, _)) = rest.split_once(')') else {
        return fail("the version's bracket is not closed".into());
    };
    let (epoch, rest) = match full.split_once(':') {
        Some((epoch, rest)) => (Some(epoch), rest),
        None => (None, full),
    };
    let (upstream, revision) = match rest.rsplit_once('-') {
        Some((upstream, revision)) => (upstream, Some(revision)),
        None => (rest, None),
    };
    let fine = epoch.is_none_or(|e| !e.is_empty() && e.bytes().all(|b| b.is_ascii_digit()))
        && upstream.starts_with(|c: char| c.is_ascii_digit())
        && upstream.bytes().all(|b| b.is_ascii_alphanumeric() || b".+~-".contains(&b))
        && revision.is_none_or(|r| {
            !r.is_empty() && r.bytes().all(|b| b.is_ascii_alphanumeric() || b".+~".contains(&b))
        });
    if !fine {
        return fail(format!("`{full}` is not a Debian version (deb-version(7))"));
    }
    Ok((upstream.to_owned(), rpm_of_deb(upstream), Some(full.to_owned())))
}

/// The `Version:` line of a spec file's preamble; tags are read without regard to case.
fn spec(text: &str) -> Found {
    let mut found: Option<(usize, &str)> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let section = line.split_whitespace().next().unwrap_or_default();
        if matches!(section, "%package" | "%description" | "%prep" | "%build" | "%files" | "%changelog") {
            break;
        }
        let Some((tag, value)) = line.split_once(':') else { continue };
        if !tag.trim_end().eq_ignore_ascii_case("version") {
            continue;
        }
        let value = value.trim();
        match found {
            Some((first, other)) if other != value => {
                return Err((index + 1, format!("a second version, `{value}`: line {first} says `{other}`")));
            }
            _ => found = Some((index + 1, value)),
        }
    }
    let Some((line, version)) = found else { return Err((1, "no `Version:` line".into())) };
    if version.contains('%') {
        return Err((line, format!("`{version}` holds a macro, which only rpm could expand")));
    }
    let fine = version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+~^".contains(&b))
        && !version.contains("..");
    if !fine {
        return Err((
            line,
            format!("`{version}` is not a version that starts with a digit (rpm-version(7))"),
        ));
    }
    Ok((deb_of_rpm(version), version.to_owned(), None))
}

/// rpm's spelling of a Debian upstream version. To rpm a `+` is one of many separators; to dpkg it is below `.`, as `^`
/// is to rpm. Two dots in a row rpm refuses.
fn rpm_of_deb(upstream: &str) -> String {
    let mut rpm = String::with_capacity(upstream.len());
    for c in upstream.chars() {
        let c = match c {
            '+' => '^',
            '-' => '.',
            c => c,
        };
        if !(c == '.' && rpm.ends_with('.')) {
            rpm.push(c);
        }
    }
    rpm
}

fn deb_of_rpm(version: &str) -> String {
    version.replace('^', "+").replace('_', ".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Hint;

    fn read(path: &str, content: &str) -> Result<PackageVersion> {
        version(path, content.as_bytes(), "0123456789ab")
    }

    #[test]
    fn a_changelog_names_the_version_in_its_first_entry() {
        for (full, deb, rpm) in [
            ("0.9.0-1", "0.9.0", "0.9.0"),
            ("2:1.2.0~rc1-3ubuntu1", "1.2.0~rc1", "1.2.0~rc1"),
            ("1.2.0", "1.2.0", "1.2.0"),
            ("1.2+git5-1", "1.2+git5", "1.2^git5"),
            ("1.2-beta.-3-1", "1.2-beta.-3", "1.2.beta.3"),
        ] {
            let text =
                format!("\nagent ({full}) unstable; urgency=medium\n\n  * x\n\nagent (0.1-1) unstable;\n");
            let version = read("debian/changelog", &text).unwrap();
            assert_eq!((version.deb.as_str(), version.rpm.as_str()), (deb, rpm));
            assert_eq!(version.deb_full.as_deref(), Some(full));
            assert!(version.release);
        }
    }

    #[test]
    fn a_changelog_that_names_no_version_is_an_error_with_its_line() {
        for text in [
            "",
            "hello\n",
            "a (1.0 unstable\n",
            "a (x1) u;\n",
            "a (1.0-) u;\n",
            "a (1_0) u;\n",
            "a (:1) u;\n",
        ] {
            let error = read("debian/changelog", text).unwrap_err();
            assert!(error.to_string().starts_with("debian/changelog:1: "), "{error}");
        }
    }

    #[test]
    fn a_spec_file_names_the_version_in_plain_text() {
        let text = "Name: x\nversion :  1.2_3^4\n%description\nVersion: 9\n";
        let version = read("packaging/x.spec", text).unwrap();
        assert_eq!((version.deb.as_str(), version.rpm.as_str()), ("1.2.3+4", "1.2_3^4"));
        assert_eq!(version.deb_full, None);
        assert!(read("x.spec.in", "Version: 1.0\n").is_ok());
    }

    #[test]
    fn a_spec_file_with_macros_or_two_versions_is_an_error_with_its_line() {
        for (text, line, word) in [
            ("Name: x\nVersion: %{v}\n", 2, "macro"),
            ("Name: x\nVersion: @VERSION@\n", 2, "@VERSION@"),
            ("Version: 1\n%if 0\nVersion: 2\n%endif\n", 3, "second"),
            ("Name: x\n", 1, "no `Version:`"),
            ("Version: 1-2\n", 1, "1-2"),
        ] {
            let error = read("x.spec", text).unwrap_err();
            let message = error.to_string();
            assert!(message.starts_with(&format!("x.spec:{line}: ")) && message.contains(word), "{message}");
            assert!(!error.hint().is_empty());
        }
    }
}
