use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::schema::text_schema;

/// The id of a run: UTC start time and a random part, `20261123-204501-3fa9c2`. Ids sort by time; cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct RunId(Arc<str>);

/// A text that is not a run's id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a run id of the form 20261123-204501-3fa9c2")]
pub struct RunIdParseError(String);

impl RunId {
    /// A new id for a run that starts at `now`; `random` tells runs of the same second apart.
    pub fn new(now: Timestamp, random: u32) -> Self {
        Self(format!("{}-{:06x}", now.strftime("%Y%m%d-%H%M%S"), random & 0xff_ffff).into())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RunId {
    type Err = RunIdParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
        let mut parts = text.splitn(3, '-');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(date), Some(time), Some(random))
                if digits(date, 8)
                    && digits(time, 6)
                    && random.len() == 6
                    && random.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) =>
            {
                Ok(Self(text.into()))
            }
            _ => Err(RunIdParseError(text.to_owned())),
        }
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl TryFrom<String> for RunId {
    type Error = RunIdParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

text_schema!(
    RunId,
    "^[0-9]{8}-[0-9]{6}-[0-9a-f]{6}$",
    "The id of a run: its start in UTC, and a random part."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time_and_are_read_back() {
        let early = RunId::new("2026-11-23T20:45:01Z".parse().unwrap(), 0xffff_ffff);
        let late = RunId::new("2026-11-23T20:45:02Z".parse().unwrap(), 0);
        assert!(early < late);
        assert_eq!(early.to_string().parse::<RunId>().unwrap(), early);
        assert!("../../etc".parse::<RunId>().is_err());
    }
}
