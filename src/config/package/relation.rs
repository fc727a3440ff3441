use std::fmt;

use toml::Spanned;

use super::super::ConfigError;
use super::super::checker::Checker;
use crate::model::Format;

/// A dependency, or one of several that will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation(pub Vec<Dependency>);

/// A package, or what one provides, perhaps of some versions only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Which versions.
    pub version: Option<Version>,
}

/// Versions, by comparing with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `<`, `<=`, `=`, `>=` or `>`.
    pub operator: &'static str,
    /// The version.
    pub number: String,
}

/// How operators are written: rpm's, and those of Debian (Policy 7.1).
const OPERATORS: [(&str, &str); 8] =
    [("<<", "<"), ("<=", "<="), (">>", ">"), (">=", ">="), ("==", "="), ("<", "<"), (">", ">"), ("=", "=")];

impl Relation {
    /// Reads `NAME`, `NAME >= VERSION` or `NAME (>= VERSION)`, and several of them with `|` between.
    fn parse(text: &str) -> Option<Self> {
        text.split('|').map(Dependency::parse).collect::<Option<Vec<_>>>().map(Self)
    }

    fn is_for(&self, format: Format) -> bool {
        (format == Format::Deb || self.0.len() == 1) && self.0.iter().all(|one| one.is_for(format))
    }

    /// As it is written in the packaging of a format.
    pub fn text(&self, format: Format) -> String {
        self.0.iter().map(|one| one.text(format)).collect::<Vec<_>>().join(" | ")
    }
}

impl Dependency {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // Names of rpm may have parentheses themselves: pkgconfig(zlib).
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (name, rest) = (&text[..end], text[end..].trim());
        let version = match rest {
            "" => None,
            rest => {
                let inner = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(rest);
                let (written, operator) = OPERATORS.iter().find(|(written, _)| inner.starts_with(written))?;
                Some(Version { operator, number: inner[written.len()..].trim().to_owned() })
            }
        };
        (!name.is_empty()).then(|| Self { name: name.to_owned(), version })
    }

    fn is_for(&self, format: Format) -> bool {
        let name = match format {
            // Policy 5.6.7, and the qualifiers of deb-control(5).
            Format::Deb => {
                let bare = self.name.split_once(':').map_or(&*self.name, |(bare, _)| bare);
                let qualifier = self.name.split_once(':').map(|(_, qualifier)| qualifier);
                let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                bare.starts_with(lower)
                    && bare.len() >= 2
                    && bare.chars().all(|c| lower(c) || "+-.".contains(c))
                    && qualifier
                        .is_none_or(|word| !word.is_empty() && word.chars().all(|c| lower(c) || c == '-'))
            }
            Format::Rpm => {
                self.name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_')
                    && self.name.chars().all(|c| c.is_ascii_alphanumeric() || "._+:/()=@-".contains(c))
                    && self.name.matches('(').count() == self.name.matches(')').count()
            }
        };
        let number = |c: char| match format {
            Format::Deb => c.is_ascii_alphanumeric() || ".+~:-".contains(c),
            Format::Rpm => c.is_ascii_alphanumeric() || "._+~^:-".contains(c),
        };
        let starts = |number: &str| number.starts_with(|c: char| c.is_ascii_alphanumeric());
        let version = |version: &Version| starts(&version.number) && version.number.chars().all(number);
        name && self.version.as_ref().is_none_or(version)
    }

    fn text(&self, format: Format) -> String {
        let Some(Version { operator, number }) = &self.version else { return self.name.clone() };
        match (format, *operator) {
            (Format::Rpm, operator) => format!("{} {operator} {number}", self.name),
            (Format::Deb, "<") => format!("{} (<< {number})", self.name),
            (Format::Deb, ">") => format!("{} (>> {number})", self.name),
            (Format::Deb, operator) => format!("{} ({operator} {number})", self.name),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Format::Deb))
    }
}

impl Checker<'_> {
    /// Relations that are well formed in all of these formats.
    pub(super) fn relations(
        &self,
        list: &[Spanned<String>],
        formats: &[Format],
    ) -> Result<Vec<Relation>, ConfigError> {
        let one = |text: &Spanned<String>| {
            let relation = Relation::parse(text.get_ref());
            let wrong = formats.iter().find(|format| !relation.as_ref().is_some_and(|r| r.is_for(**format)));
            match (relation, wrong) {
                (Some(relation), None) => Ok(relation),
                (_, format) => {
                    let format = format.copied().unwrap_or(Format::Deb);
                    let shown = crate::support::terminal_text::one_line(text.get_ref().as_bytes());
                    let message = format!("`{shown}` is not a relation of {format} packages");
                    let hint = match format {
                        Format::Deb => {
                            "write NAME or `NAME >= VERSION`, with `|` between such as do alike; what only rpms need \
                             belongs into [package.rpm]"
                        }
                        Format::Rpm => {
                            "write NAME or `NAME >= VERSION`, one in each string; what only debs need belongs into \
                             [package.deb]"
                        }
                    };
                    Err(self.document.error(text.span(), message, hint))
                }
            }
        };
        list.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_is_written_as_each_format_wants_it() {
        for (text, deb, rpm) in [
            ("curl", "curl", "curl"),
            ("curl>=7", "", ""),
            ("curl >= 7.1~rc1-2", "curl (>= 7.1~rc1-2)", "curl >= 7.1~rc1-2"),
            ("curl (<< 8)", "curl (<< 8)", "curl < 8"),
            ("curl > 8", "curl (>> 8)", "curl > 8"),
            ("python3:any", "python3:any", "python3:any"),
            ("exim4 | mail-transport-agent", "exim4 | mail-transport-agent", ""),
            ("pkgconfig(zlib) >= 1", "", "pkgconfig(zlib) >= 1"),
            ("/usr/bin/getent", "", "/usr/bin/getent"),
            ("a", "", "a"),
        ] {
            let relation = Relation::parse(text).unwrap();
            for (format, wanted) in [(Format::Deb, deb), (Format::Rpm, rpm)] {
                let written = relation.is_for(format).then(|| relation.text(format)).unwrap_or_default();
                assert_eq!(written, wanted, "{text} {format}");
            }
        }
    }

    #[test]
    fn nothing_that_is_more_than_a_relation_is_one() {
        for text in [
            "a, b",
            "a\nEvil: x",
            "%(id)",
            "%{x}",
            "${shlibs:Depends}",
            "a >= $(id)",
            "a >=",
            "-o",
            "a [amd64]",
            "",
            "a >= 1, b",
            "a(b",
            "|",
        ] {
            for format in [Format::Deb, Format::Rpm] {
                let good = Relation::parse(text).is_some_and(|relation| relation.is_for(format));
                assert!(!good, "{text:?} {format}");
            }
        }
    }
}
