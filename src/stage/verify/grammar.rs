//! What a package says of itself, before any script takes it for a name: a package that means harm says what it likes.

use crate::model::{Format, PackageIdentity};

/// Whether a text is what it should be.
type Rule = fn(&str) -> bool;

/// What is no name, version or architecture in a package's own description, in words.
pub(super) fn wrong_identity(format: Format, identity: &PackageIdentity) -> Option<String> {
    let PackageIdentity { name, version, arch } = identity;
    let (is_name, is_version): (Rule, Rule) = match format {
        Format::Deb => (is_deb_name, is_deb_version),
        Format::Rpm => (is_rpm_name, is_rpm_version),
    };
    let parts = [
        ("name", name, is_name(name)),
        ("version", version, is_version(version)),
        ("architecture", arch, is_architecture(arch)),
    ];
    let (what, found, _) = parts.into_iter().find(|(_, _, good)| !good)?;
    Some(format!("`{}` is no {what} of {} {format}", found.escape_debug(), article(format)))
}

/// The first of a package's relations to others that is none, as its builder's `needs` tells them: `Depends: libc6 (>= 2.36)`, `requires: /bin/sh`.
pub(super) fn wrong_relation(format: Format, needs: &[String]) -> Option<String> {
    let good = |line: &&String| {
        let Some((field, relation)) = line.split_once(": ") else { return false };
        match (format, field) {
            (_, "Files" | "files") => relation == "/etc/logrotate.d",
            (Format::Deb, _) => is_deb_relation(relation),
            (Format::Rpm, "name") => is_rpm_name(relation),
            (Format::Rpm, _) => is_rpm_relation(relation),
        }
    };
    let wrong = needs.iter().find(|line| !good(line))?;
    Some(format!("`{}` is no relation of {} {format}", wrong.escape_debug(), article(format)))
}

fn article(format: Format) -> &'static str {
    match format {
        Format::Deb => "a",
        Format::Rpm => "an",
    }
}

fn all(text: &str, others: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.as_bytes().contains(&byte))
}

fn begins(text: &str, good: impl Fn(&u8) -> bool) -> bool {
    text.as_bytes().first().is_some_and(good)
}

/// Debian Policy 5.6.1; dpkg takes capitals as well.
fn is_deb_name(name: &str) -> bool {
    name.len() >= 2 && all(name, "+-.") && begins(name, u8::is_ascii_alphanumeric)
}

/// Debian Policy 5.6.12; dpkg takes one that begins with a letter as well.
fn is_deb_version(version: &str) -> bool {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    !epoch.is_empty()
        && epoch.bytes().all(|byte| byte.is_ascii_digit())
        && begins(rest, u8::is_ascii_alphanumeric)
        && all(rest, ".+-~:")
}

/// Debian Policy 11.1, rpm's `arch_canon`: the words for architectures of both.
fn is_architecture(arch: &str) -> bool {
    all(arch, "-_") && begins(arch, u8::is_ascii_alphanumeric)
}

/// Debian Policy 7.1: alternatives, each a name with, perhaps, an architecture and a version. `@` stands for a version of the packages
/// themselves.
fn is_deb_relation(relation: &str) -> bool {
    relation.split(" | ").all(|alternative| {
        let (name, rest) = alternative.split_once(' ').unwrap_or((alternative, ""));
        let (name, arch) = name.split_once(':').unwrap_or((name, "any"));
        let version = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let is_version = version.is_some_and(|version| {
            let (sign, number) =
                version.split_at(version.find(|c| !matches!(c, '<' | '=' | '>')).unwrap_or(0));
            let number = number.trim_start();
            ["<<", "<=", "=", ">=", ">>", "<", ">"].contains(&sign)
                && (number == "@" || is_deb_version(number))
        });
        is_deb_name(name) && is_architecture(arch) && (rest.is_empty() || is_version)
    })
}

/// rpm-spec(5), `Name`.
fn is_rpm_name(name: &str) -> bool {
    all(name, "._+-") && begins(name, |byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// rpm-version(7): an epoch, a version and a release.
fn is_rpm_version(version: &str) -> bool {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    !epoch.is_empty()
        && epoch.bytes().all(|byte| byte.is_ascii_digit())
        && all(rest, "._+~^-")
        && begins(rest, u8::is_ascii_alphanumeric)
}

/// rpm-dependencies(7). A capability may be almost anything (`pkgconfig(x)`, `font(:lang=en)`, a path), but has no character by which a shell, awk,
/// a pattern or a macro does something else than to name it, and is no option.
fn is_rpm_relation(relation: &str) -> bool {
    relation.split(' ').all(|word| {
        all(word, "._+~^-/:()[]=@,<>#!")
            && begins(word, |byte| byte.is_ascii_alphanumeric() || b"_/(.@<>=~^".contains(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, version: &str, arch: &str) -> PackageIdentity {
        PackageIdentity { name: name.to_owned(), version: version.to_owned(), arch: arch.to_owned() }
    }

    #[test]
    fn names_and_versions_of_real_packages_are_taken() {
        for (name, version, arch) in [
            ("libstdc++6", "12.2.0-14+deb12u1", "amd64"),
            ("g++", "4:12.2.0-3", "amd64"),
            ("0ad", "0.0.26-3~bpo12+1", "all"),
            ("hostpulse", "0~~10.g0123456789ab", "kfreebsd-amd64"),
        ] {
            assert_eq!(wrong_identity(Format::Deb, &identity(name, version, arch)), None);
        }
        for (name, version, arch) in [
            ("libstdc++", "14.2.1-3.el10", "x86_64"),
            ("python3.11", "2:1.0^3.gabc-1.fc43", "noarch"),
            ("perl-DBD_x", "1.0~rc1-1", "armv7hl"),
        ] {
            assert_eq!(wrong_identity(Format::Rpm, &identity(name, version, arch)), None);
        }
    }

    #[test]
    fn what_a_shell_or_a_macro_would_run_is_no_name_and_no_version() {
        for bad in [
            "",
            "-y",
            "a b",
            "a;b",
            "$(id)",
            "`id`",
            "a/../b",
            "a\nb",
            "*",
            "a'b",
            "\u{e4}b",
            "%(id)",
            "%{lua:os.exit()}",
        ] {
            for format in [Format::Deb, Format::Rpm] {
                assert!(wrong_identity(format, &identity(bad, "1.0-1", "all")).is_some(), "name {bad:?}");
                assert!(wrong_identity(format, &identity("good", bad, "all")).is_some(), "version {bad:?}");
                assert!(
                    wrong_identity(format, &identity("good", "1", bad)).is_some(),
                    "architecture {bad:?}"
                );
            }
        }
        let told = wrong_identity(Format::Rpm, &identity("x", "1%(id)\n-1", "noarch"));
        assert_eq!(told.as_deref(), Some("`1%(id)\\n-1` is no version of an rpm"));
    }

    #[test]
    fn relations_of_real_packages_are_taken() {
        let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
        let deb = lines(&[
            "Package: hostpulse",
            "Pre-Depends: init-system-helpers (>= 1.54~)",
            "Depends: default-mta | mail-transport-agent",
            "Depends: python3:any (>= 3.9)",
            "Depends: hostpulse-common (= @)",
            "Breaks: old (<<2:1.0-1)",
            "Provides: virtual (= 1.0)",
            "Files: /etc/logrotate.d",
        ]);
        assert_eq!(wrong_relation(Format::Deb, &deb), None);
        let rpm = lines(&[
            "name: hostpulse",
            "requires: /bin/sh",
            "requires: libc.so.6(GLIBC_2.34)(64bit)",
            "requires: config(hostpulse) = @",
            "requires: rpmlib(PayloadIsZstd) <= 5.4.18-1",
            "requires: (systemd-sysusers if systemd < 255~rc1)",
            "requires: pkgconfig(glib-2.0) >= 2.56",
            "requires: perl(Foo::Bar)",
            "requires: python3.13dist(requests[socks])",
            "requires: user(hostpulse) = dSBob3N0cHVsc2UgLSAtIC0gLQAA",
            "provides: font(:lang=en)",
            "files: /etc/logrotate.d",
        ]);
        assert_eq!(wrong_relation(Format::Rpm, &rpm), None);
    }

    #[test]
    fn a_relation_that_a_script_would_take_for_something_else_is_none() {
        for relation in [
            "$(id)",
            "-y",
            "a; b",
            "a\tb",
            "a | -y",
            "a (>= $(id))",
            "*",
            "`id`",
            "a (>= 1) x",
            "",
            "a%n",
            "a\\b",
            "a&b",
            "{a,b}",
            "a\"b",
        ] {
            let deb = [format!("Depends: {relation}")];
            assert!(wrong_relation(Format::Deb, &deb).is_some(), "{relation:?}");
        }
        for relation in [
            "$(id)",
            "-y",
            "a; b",
            "a\tb",
            "*",
            "`id`",
            "",
            "pkgconfig(a%n)",
            "a\\b",
            "a&b",
            "{a,b}",
            "a\"b",
            "a  b",
            "a --b",
        ] {
            let rpm = [format!("requires: {relation}")];
            assert!(wrong_relation(Format::Rpm, &rpm).is_some(), "{relation:?}");
        }
        assert!(wrong_relation(Format::Deb, &["no field".to_owned()]).is_some());
    }
}
