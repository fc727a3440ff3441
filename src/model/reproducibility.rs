use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// What building a target again under other conditions gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reproducibility {
    /// How often it was built, the first build included.
    pub builds: usize,
    /// What was varied.
    pub varied: Vec<Condition>,
    /// What was not, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_varied: Vec<NotVaried>,
    /// What differs, by file and member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Unreproducible>,
    /// Differences beyond those that are told.
    #[serde(default)]
    pub more: usize,
}

/// A condition that could not be varied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotVaried {
    /// Which.
    pub condition: Condition,
    /// Why.
    pub why: String,
}

/// A part of a package that differs. File and member come from the package and are made safe to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unreproducible {
    /// The file; empty where there is none because the build failed.
    pub file: String,
    /// The member: `data.tar/usr/bin/agent`, `header/BUILDTIME`.
    pub member: String,
    /// How it differs from the first build: `line 3: … → …`.
    pub what: String,
    /// What brings it about.
    #[serde(flatten)]
    pub cause: DifferenceCause,
}

/// What brings a difference about, as far as builds can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum DifferenceCause {
    /// Each of these conditions, varied alone, changes it; the others do not.
    Conditions {
        /// Which.
        conditions: Vec<Condition>,
    },
    /// All conditions together change it, and none of them alone.
    Together,
    /// With a stopped clock it differs from build to build, and with one core it does not.
    ParallelOrder,
    /// It differs from build to build under the same conditions, the clock stopped.
    Chance,
    /// It differs from build to build under the same conditions; the clock could not be stopped to find out more.
    ChanceOrTime,
}

impl fmt::Display for DifferenceCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conditions { conditions } => {
                let names: Vec<String> = conditions.iter().map(ToString::to_string).collect();
                write!(f, "caused by {}", names.join(" and "))
            }
            Self::Together => f.write_str("caused by several conditions together, by none of them alone"),
            Self::ParallelOrder => {
                f.write_str("not deterministic: with one core it is the same each time, with more it is not")
            }
            Self::Chance => f.write_str("not deterministic: it differs under the same conditions"),
            Self::ChanceOrTime => {
                f.write_str("not deterministic, or taken from the clock, which could not be stopped")
            }
        }
    }
}
