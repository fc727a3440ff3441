use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FailReason, Outcome};

macro_rules! scenarios {
    ($($(#[$meta:meta])* $variant:ident = $word:literal,)*) => {
        /// What verify puts a package through. The words are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[non_exhaustive]
        pub enum Scenario {
            $($(#[$meta])* #[serde(rename = $word)] $variant,)*
        }

        impl Scenario {
            /// All of them, in the order in which they are told.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

scenarios! {
    /// The distro's resolver installs what was built, and nothing else in its place.
    Install = "install",
    /// Files are what the package database says, belong to one package and have safe modes and places.
    Integrity = "integrity",
    /// The installed package answers the pipeline's commands and has the files that it must have.
    Smoke = "smoke",
    /// It installs twice, and again after it was removed.
    Reinstall = "reinstall",
    /// It is removed, and nothing that is left runs or fails.
    Remove = "remove",
    /// It is removed with its configuration, and the system is as it was before.
    Purge = "purge",
    /// Its units run under a real init system, and stop when it is removed.
    Service = "service",
    /// It replaces the release before it, and what belongs to the user survives.
    Upgrade = "upgrade",
    /// It is replaced by the release before it, and replaces it again.
    Rollback = "rollback",
    /// It works where documentation is not installed.
    NoDocs = "no-docs",
    /// It installs on further builders.
    Image = "image",
    /// The distro's lint has nothing against it.
    Lint = "lint",
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|scenario| scenario.word() == text).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|scenario| scenario.word()).collect();
            format!("`{text}` is no scenario; there are {}", words.join(", "))
        })
    }
}

/// How much a check counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The package does not pass without it.
    #[default]
    Require,
    /// Somebody should look at it.
    Warn,
}

/// One thing that verify looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// The scenario that it belongs to.
    pub scenario: Scenario,
    /// What was looked at, naming the object.
    pub check: String,
    /// What was found.
    pub outcome: Outcome,
    /// How much it counts.
    #[serde(default)]
    pub tier: Tier,
    /// The path, unit, user or tag that it is about, where there is one: what an exception names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Why the pipeline accepts what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// What shows it, line by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

impl Check {
    /// A check of which nothing more is to be said.
    pub fn new(scenario: Scenario, check: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            scenario,
            check: check.into(),
            outcome,
            tier: Tier::Require,
            object: None,
            accepted: None,
            evidence: Vec::new(),
        }
    }

    /// True if the package does not pass because of it.
    pub fn fails(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. } | Outcome::Broken { .. })
            && self.tier == Tier::Require
            && self.accepted.is_none()
    }

    /// True if somebody should look at it although the package passes.
    pub fn warns(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. }) && self.tier == Tier::Warn && self.accepted.is_none()
    }

    /// Why it did not pass.
    pub fn reason(&self) -> Option<FailReason> {
        match self.outcome {
            Outcome::Failed { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_read_as_they_are_written() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.word().parse(), Ok(*scenario));
            assert_eq!(serde_json::to_value(scenario).unwrap(), scenario.word());
        }
        assert!("instal".parse::<Scenario>().is_err());
    }
}
