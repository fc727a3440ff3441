use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::checker::Checker;
use super::{ConfigError, VersionSection};
use crate::model::{Change, Person, short_commit};
use crate::support::terminal_text::one_line;

/// Which entries of changelogs are made of commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangelogSection {
    /// For which versions.
    pub entries: ChangelogEntries,
    /// How a commit is told.
    pub template: Template,
    /// Who signs the entries with a name; `None`: whoever wrote the commit that is packaged.
    pub author: Option<Person>,
    /// Whether the pipeline asks for entries by itself, so that a clone without the history is an error.
    pub is_asked: bool,
}

/// The versions that get an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChangelogEntries {
    /// Releases alone.
    Releases,
    /// Snapshots too.
    All,
    /// No version.
    None,
}

/// Which entries of changelogs are made of commits.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawChangelog {
    /// The versions that get an entry: releases, where versions are those of tags, unless this says otherwise.
    entries: Option<ChangelogEntries>,
    /// How a commit is told: a line with {subject}, {author}, {email}, {commit} and {date}; {{ and }} are braces.
    #[schemars(with = "Option<String>")]
    template: Option<Spanned<String>>,
    /// Who signs the entries: `NAME <ADDRESS>`; without it, the author of the commit that is packaged.
    #[schemars(with = "Option<String>", regex(pattern = r"^[^<>]+ <[^<> ]+>$"))]
    author: Option<Spanned<String>>,
}

impl ChangelogSection {
    /// Whether a version gets an entry.
    pub fn wants(&self, release: bool) -> bool {
        match self.entries {
            ChangelogEntries::Releases => release,
            ChangelogEntries::All => true,
            ChangelogEntries::None => false,
        }
    }

    /// What a section says, or what is so without one: releases have entries where tags tell what came since the last.
    pub(super) fn check(
        raw: Option<Spanned<RawChangelog>>,
        version: &VersionSection,
        checker: &Checker<'_>,
    ) -> Result<Self, ConfigError> {
        let by_tags = matches!(version, VersionSection::Tags { .. });
        let usual = if by_tags { ChangelogEntries::Releases } else { ChangelogEntries::None };
        let Some(raw) = raw else {
            return Ok(Self { entries: usual, template: Template::default(), author: None, is_asked: false });
        };
        let span = raw.span();
        let RawChangelog { entries, template, author } = raw.into_inner();
        let entries = entries.unwrap_or(usual);
        if !by_tags && entries != ChangelogEntries::None {
            return Err(checker.document.error(
                span,
                "there is no tag to tell what is new: the version is that of a file",
                "keep the changelog in that file by hand, or take the version from tags",
            ));
        }
        let template = match &template {
            None => Template::default(),
            Some(text) => text.get_ref().parse().map_err(|error| {
                let message =
                    format!("`{}` is no line of a changelog: {error}", one_line(text.get_ref().as_bytes()));
                let hint = "use {subject}, {author}, {email}, {commit} and {date}; {{ and }} are braces";
                checker.document.error(text.span(), message, hint)
            })?,
        };
        let author = match &author {
            None => None,
            Some(text) => Some(person(text.get_ref()).ok_or_else(|| {
                let message = format!("`{}` is no name with an address", one_line(text.get_ref().as_bytes()));
                checker.document.error(text.span(), message, "write it as `NAME <ADDRESS>`")
            })?),
        };
        let is_asked = entries != ChangelogEntries::None;
        Ok(Self { entries, template, author, is_asked })
    }
}

/// `NAME <ADDRESS>`, as deb-changelog(5) and rpm's changelogs have it.
pub(super) fn person(text: &str) -> Option<Person> {
    let (name, email) = text.strip_suffix('>')?.split_once(" <")?;
    let strange = |part: &str| part.is_empty() || part.trim() != part || part.contains(['<', '>']);
    let fine = !strange(name) && !strange(email) && !email.contains(' ') && !text.contains(char::is_control);
    fine.then(|| Person { name: name.to_owned(), email: email.to_owned() })
}

/// How a change is told: one line, `{subject}` without a word of the pipeline, with these placeholders; `{{` and `}}` are braces.
///
/// | placeholder | value |
/// |---|---|
/// | `{subject}` | the first line of the message, at most 300 characters |
/// | `{author}` | the author's name |
/// | `{email}` | the author's address |
/// | `{commit}` | the first 12 digits of the commit's id |
/// | `{date}` | the author's day, UTC: `2025-03-01` |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Subject,
    Author,
    Email,
    Commit,
    Date,
}

impl Default for Template {
    fn default() -> Self {
        Self(vec![Piece::Subject])
    }
}

/// What is wrong with the line of a [`Template`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has {0}")]
pub struct BadTemplate(&'static str);

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, BadTemplate> {
        if text.contains(char::is_control) {
            return Err(BadTemplate("a control character"));
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            pieces.push(Piece::Text(rest[..at].to_owned()));
            let brace = &rest[at..];
            if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
                pieces.push(Piece::Text(brace[..1].to_owned()));
                rest = after;
                continue;
            }
            let inner = brace.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (name, after) = inner.ok_or(BadTemplate("a brace alone"))?;
            pieces.push(match name {
                "subject" => Piece::Subject,
                "author" => Piece::Author,
                "email" => Piece::Email,
                "commit" => Piece::Commit,
                "date" => Piece::Date,
                _ => return Err(BadTemplate("an unknown placeholder")),
            });
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        match pieces.iter().all(|piece| matches!(piece, Piece::Text(text) if text.trim().is_empty())) {
            true => Err(BadTemplate("nothing in it")),
            false => Ok(Self(pieces)),
        }
    }
}

impl Template {
    /// The line of a change. What it holds is not looked at for placeholders again.
    pub fn line(&self, change: &Change) -> String {
        let mut line = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Subject => line.push_str(&change.subject),
                Piece::Author => line.push_str(&change.author.name),
                Piece::Email => line.push_str(&change.author.email),
                Piece::Commit => line.push_str(short_commit(&change.commit)),
                Piece::Date => {
                    let time = Timestamp::from_second(change.time).unwrap_or(Timestamp::UNIX_EPOCH);
                    line.push_str(&time.strftime("%Y-%m-%d").to_string());
                }
            }
        }
        one_line(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Builders, Pipeline, PipelineFile};
    use crate::support::Hint;

    fn parse(section: &str) -> Result<ChangelogSection, ConfigError> {
        let text = format!("[package]\nname = \"agent\"\n[target.\"debian-12/deb\"]\n{section}");
        let file = PipelineFile { path: "p.toml".into(), folder: "".into(), text };
        Ok(Pipeline::parse(&file, &Builders::shipped())?.changelog)
    }

    #[test]
    fn releases_have_entries_unless_the_pipeline_says_otherwise() {
        let usual = parse("").unwrap();
        assert!(usual.wants(true) && !usual.wants(false) && !usual.is_asked);
        let all = parse("[changelog]\nentries = \"all\"\nauthor = \"A B <a@b.invalid>\"\n").unwrap();
        assert!(all.wants(true) && all.wants(false) && all.is_asked);
        let author = Person { name: "A B".into(), email: "a@b.invalid".into() };
        assert_eq!(all.author, Some(author));
        assert!(!parse("[changelog]\nentries = \"none\"\n").unwrap().wants(true));
        assert!(!parse("[version]\nfrom = \"debian/changelog\"\n").unwrap().wants(true));
    }

    #[test]
    fn what_is_wrong_in_a_section_is_told_with_its_line() {
        for (section, message) in [
            ("[changelog]\nline = \"x\"\n", "p.toml:5:1: unknown key `line`"),
            ("[changelog]\nentries = \"some\"\n", "p.toml:5:11: unknown"),
            (
                "[changelog]\ntemplate = \"{body}\"\n",
                "p.toml:5:12: `{body}` is no line of a changelog: it has an unknown",
            ),
            ("[changelog]\nauthor = \"me\"\n", "p.toml:5:10: `me` is no name with an address"),
            ("[changelog]\nauthor = \"A <a@b>\\n <x>\"\n", "p.toml:5:10: "),
            ("[version]\nfrom = \"a.spec\"\n[changelog]\nentries = \"all\"\n", "p.toml:6:"),
        ] {
            let error = parse(section).unwrap_err();
            assert!(error.to_string().starts_with(message), "{error}");
            assert!(!error.hint().is_empty());
        }
    }

    #[test]
    fn placeholders_are_filled_once_and_unknown_ones_refused() {
        let change = Change {
            commit: "0123456789abcdef".into(),
            subject: "say {author} 100%".into(),
            author: Person { name: "Ann".into(), email: "a@b.invalid".into() },
            time: 1_740_787_200,
        };
        let line = |text: &str| text.parse::<Template>().map(|template| template.line(&change));
        assert_eq!(Template::default().line(&change), "say {author} 100%");
        assert_eq!(
            line("{{x}} {subject} [{author} <{email}>, {commit}, {date}]").unwrap(),
            "{x} say {author} 100% [Ann <a@b.invalid>, 0123456789ab, 2025-03-01]"
        );
        for wrong in ["", "  ", "{body}", "{subject", "a}", "{", "{subject}\n* x"] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
    }
}
