use std::str::FromStr;

use jiff::Timestamp;

use super::Change;
use super::changes::one_line;
use crate::source::{Result, SourceError};

/// How a change is told: see [`super`].
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

impl FromStr for Template {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |reason| SourceError::BadTemplate { template: one_line(text.as_bytes()), reason };
        if text.contains(char::is_control) {
            return Err(bad("a control character"));
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
            let (name, after) = inner.ok_or_else(|| bad("a brace alone"))?;
            pieces.push(match name {
                "subject" => Piece::Subject,
                "author" => Piece::Author,
                "email" => Piece::Email,
                "commit" => Piece::Commit,
                "date" => Piece::Date,
                _ => return Err(bad("an unknown placeholder")),
            });
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        match pieces.iter().all(|piece| matches!(piece, Piece::Text(text) if text.trim().is_empty())) {
            true => Err(bad("nothing in it")),
            false => Ok(Self(pieces)),
        }
    }
}

impl Template {
    /// The line of a change. What it holds is not looked at for placeholders again.
    pub(super) fn line(&self, change: &Change) -> String {
        let mut line = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Subject => line.push_str(&change.subject),
                Piece::Author => line.push_str(&change.author.name),
                Piece::Email => line.push_str(&change.author.email),
                Piece::Commit => line.push_str(change.commit.get(..12).unwrap_or(&change.commit)),
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
    use crate::source::changelog::Person;

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
            let error = line(wrong).unwrap_err();
            assert!(matches!(error, SourceError::BadTemplate { .. }), "{wrong}: {error}");
        }
    }
}
