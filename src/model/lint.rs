use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad a finding of a distro's lint is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LintLevel {
    /// Whatever the tool ranks below a warning.
    Info,
    /// Probably a mistake.
    Warning,
    /// Against the distro's rules.
    Error,
}

impl fmt::Display for LintLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_by_how_bad_they_are() {
        assert!(LintLevel::Info < LintLevel::Warning && LintLevel::Warning < LintLevel::Error);
    }
}
