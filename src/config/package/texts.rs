use toml::Spanned;

use super::super::ConfigError;
use super::super::changelog_section::person;
use super::super::checker::Checker;
use super::super::strict::nearest;
use crate::model::Person;
use crate::support::terminal_text::one_line;

/// How long a summary may be (Debian Policy 3.4.1; rpmlint, summary-too-long).
const SUMMARY: usize = 79;

/// The sections of Debian's archive (Policy 2.4) that hold programs for users.
const SECTIONS: [&str; 58] = [
    "admin",
    "cli-mono",
    "comm",
    "database",
    "debug",
    "devel",
    "doc",
    "editors",
    "education",
    "electronics",
    "embedded",
    "fonts",
    "games",
    "gnome",
    "gnu-r",
    "gnustep",
    "golang",
    "graphics",
    "hamradio",
    "haskell",
    "httpd",
    "interpreters",
    "introspection",
    "java",
    "javascript",
    "kde",
    "kernel",
    "libdevel",
    "libs",
    "lisp",
    "localization",
    "mail",
    "math",
    "metapackages",
    "misc",
    "net",
    "news",
    "ocaml",
    "oldlibs",
    "otherosfs",
    "perl",
    "php",
    "python",
    "raku",
    "ruby",
    "rust",
    "science",
    "shells",
    "sound",
    "tasks",
    "tex",
    "text",
    "utils",
    "vcs",
    "video",
    "web",
    "x11",
    "xfce",
];

/// Who answers for a package, written as `NAME <ADDRESS>`, if both are plain (Debian Policy 5.6.2).
pub fn maintainer(text: &str) -> Option<Person> {
    person(text).filter(|person| {
        let ascii = |c: char| c.is_ascii_graphic() && !"(),;:\"\\$".contains(c);
        let odd = |c: char| is_strange(c) || "\",\\()$".contains(c);
        !person.name.contains(odd) && person.email.contains('@') && person.email.chars().all(ascii)
    })
}

impl Checker<'_> {
    /// A name that is one for Debian and for rpm.
    pub(super) fn described_name(&self, name: &Spanned<String>) -> Result<String, ConfigError> {
        let text = name.get_ref();
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let first = text.starts_with(lower);
        if first && text.len() >= 2 && text.chars().all(|c| lower(c) || "+-.".contains(c)) {
            return Ok(text.clone());
        }
        let hint = "use two or more lower case letters, digits, `+`, `-` and `.`, beginning with a letter or digit \
                    (Debian Policy 5.6.7)";
        Err(self.document.error(name.span(), format!("packaging cannot be made for the name `{text}`"), hint))
    }

    /// One line of text.
    pub(super) fn line(&self, what: &str, text: &Spanned<String>) -> Result<String, ConfigError> {
        let line = text.get_ref();
        if !line.trim().is_empty() && line.trim() == line && !line.contains(is_strange) {
            return Ok(line.clone());
        }
        let message = format!("`{}` is no line of text for {what}", one_line(line.as_bytes()));
        Err(self.document.error(text.span(), message, "write one line, with nothing before and after it"))
    }

    pub(super) fn summary(&self, name: &str, text: &Spanned<String>) -> Result<String, ConfigError> {
        let summary = self.line("a summary", text)?;
        let wrong = |message: &str, hint: &str| Err(self.document.error(text.span(), message, hint));
        if summary.chars().count() > SUMMARY {
            return wrong(
                &format!("the summary has more than {SUMMARY} characters"),
                "tell the rest in `description`",
            );
        }
        if summary.ends_with('.') {
            return wrong("the summary ends with a full stop", "it is no sentence: leave the full stop out");
        }
        if summary.to_lowercase().split_whitespace().next() == Some(name) {
            return wrong(
                "the summary begins with the package's name",
                "say what it is: `small agent that …`",
            );
        }
        if summary.starts_with('%') {
            return wrong("the summary begins with a percent sign", "begin with a word");
        }
        Ok(summary)
    }

    /// Lines, of which an empty one parts paragraphs.
    pub(super) fn description(&self, text: &Spanned<String>) -> Result<Vec<String>, ConfigError> {
        let wrong = |message: &str, hint: &str| Err(self.document.error(text.span(), message, hint));
        let lines: Vec<&str> = text.get_ref().trim_matches('\n').lines().map(str::trim_end).collect();
        if lines.iter().all(|line| line.is_empty()) {
            return wrong("the description is empty", "say what the package does");
        }
        if lines.iter().any(|line| line.contains(is_strange)) {
            return wrong("the description has a control character", "write plain text; indent with spaces");
        }
        // rpm looks for %files and %if in what its macros became (rpm's manual, "Spec file format").
        if lines.iter().any(|line| line.trim_start().starts_with('%')) {
            return wrong("a line of the description begins with a percent sign", "begin with a word");
        }
        // deb822(5): a line with a full stop alone is an empty one, others that begin with it are reserved (Policy 5.6.13).
        if lines.iter().any(|line| line.starts_with('.')) {
            return wrong("a line of the description begins with a full stop", "begin with a word");
        }
        Ok(lines.into_iter().map(str::to_owned).collect())
    }

    /// An SPDX license expression, by its letters.
    pub(super) fn license(&self, text: &Spanned<String>) -> Result<String, ConfigError> {
        let license = self.line("a licence", text)?;
        let good = |c: char| c.is_ascii_alphanumeric() || ".+-() ".contains(c);
        if license.chars().all(good) && license.contains(|c: char| c.is_ascii_alphanumeric()) {
            return Ok(license);
        }
        let message = format!("`{license}` is no SPDX licence expression");
        Err(self.document.error(
            text.span(),
            message,
            "write it as MIT, or `MIT OR Apache-2.0` (spdx.org/licenses)",
        ))
    }

    pub(super) fn maintainer(&self, text: &Spanned<String>) -> Result<Person, ConfigError> {
        maintainer(text.get_ref()).ok_or_else(|| {
            let message = format!("`{}` is no name with an address", one_line(text.get_ref().as_bytes()));
            let hint = "write it as `NAME <ADDRESS>`, without commas and parentheses (Debian Policy 5.6.2)";
            self.document.error(text.span(), message, hint)
        })
    }

    pub(super) fn homepage(&self, text: &Spanned<String>) -> Result<String, ConfigError> {
        let url = text.get_ref();
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let good = |c: char| c.is_ascii_graphic() && !"<>\"\\^`{|}$".contains(c);
        match rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
            && url.chars().all(good)
        {
            true => Ok(url.clone()),
            false => {
                let message = format!("`{}` is no address of a web page", one_line(url.as_bytes()));
                Err(self.document.error(text.span(), message, "write it with https:// before it"))
            }
        }
    }

    pub(super) fn section(&self, text: &Spanned<String>) -> Result<String, ConfigError> {
        let section = text.get_ref();
        let inner = section.strip_prefix("contrib/").or_else(|| section.strip_prefix("non-free/"));
        let inner = inner.unwrap_or(section);
        if SECTIONS.contains(&inner) {
            return Ok(section.clone());
        }
        let hint = match nearest(inner, SECTIONS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "take one of Debian Policy 2.4, such as admin, net, utils or misc".to_owned(),
        };
        let message = format!("`{}` is not a section of Debian's archive", one_line(section.as_bytes()));
        Err(self.document.error(text.span(), message, hint))
    }
}

/// What must be in no text: it would end a line, or show another text than there is (Unicode UAX #9).
fn is_strange(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}
