use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::ConfigError;

/// A TOML text that errors can point into.
pub(super) struct Document<'a> {
    pub file: &'a Path,
    pub text: &'a str,
}

impl Document<'_> {
    /// Reads the text as a `T`; what `T` does not know is an error.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(self.text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let message = error.message().trim().to_owned();
            match unknown_name(&message) {
                Some((name, known)) => {
                    let hint = match nearest(&name, known.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("known here: {}", known.join(", ")),
                    };
                    self.error(span, format!("unknown key `{name}`"), hint)
                }
                None => self.error(span, message, "see the pipeline file chapter of the README"),
            }
        })
    }

    /// An error at the place `span` (bytes).
    pub fn error(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> ConfigError {
        let before = &self.text[..self.text.floor_char_boundary(span.start.min(self.text.len()))];
        ConfigError::Invalid {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// The unknown name and the known ones from serde's message ``unknown field `x`, expected one of `a`, `b` ``.
fn unknown_name(message: &str) -> Option<(String, Vec<String>)> {
    let rest =
        message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("unknown variant `"))?;
    let (name, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((name.to_owned(), known))
}

/// The candidate that `name` was most probably meant to be.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("debian12", ["debian-12", "rocky-9"]), Some("debian-12"));
        assert_eq!(nearest("packging", ["env", "packaging", "prepare"]), Some("packaging"));
        assert_eq!(nearest("zzzz", ["debian-12", "rocky-9"]), None);
    }
}
