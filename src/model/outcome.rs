use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FailReason, InfraReason, Stage};

/// What became of a stage, a target or a run. Data, not an error: a failing package is a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything that was asked for is true.
    Passed,
    /// The package is at fault.
    Failed {
        /// Where it failed.
        stage: Stage,
        /// Why, as a stable word.
        reason: FailReason,
        /// What happened, naming the object.
        message: String,
        /// What a person can do next.
        hint: String,
    },
    /// The input is at fault: the pipeline names something that the commit does not have.
    Broken {
        /// What is wrong, naming the object.
        message: String,
        /// What a person can do next.
        hint: String,
    },
    /// It was not tried.
    Skipped {
        /// Why it was not tried.
        why: String,
    },
    /// Packhold or what it stands on could not do its work; trying again may help.
    Infra {
        /// Where it stopped.
        stage: Stage,
        /// Why, as a stable word.
        reason: InfraReason,
        /// What happened, naming the object.
        message: String,
        /// What a person can do next.
        hint: String,
    },
}

impl Outcome {
    /// True for [`Outcome::Passed`].
    pub fn passed(&self) -> bool {
        matches!(self, Self::Passed)
    }

    /// The process's exit code for a run that ended so: 0 done, 1 a package failed, 2 bad input, 3 infrastructure,
    /// 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Passed | Self::Skipped { .. } => 0,
            Self::Failed { .. } => 1,
            Self::Broken { .. } => 2,
            Self::Infra { reason: InfraReason::Interrupted, .. } => 130,
            Self::Infra { .. } => 3,
        }
    }

    /// The outcome of the whole from those of its parts: the one with the highest exit code, the first of equals.
    /// An infrastructure failure outweighs a failed package, because the result is then incomplete. Parts that were
    /// skipped because another failed do not count; nothing but skipped parts is itself skipped.
    pub fn of_all<'a>(parts: impl IntoIterator<Item = &'a Outcome>) -> Outcome {
        let mut whole: Option<&Outcome> = None;
        for part in parts {
            let heavier = |w: &Outcome| (part.exit_code(), part.passed()) > (w.exit_code(), w.passed());
            if whole.is_none_or(heavier) {
                whole = Some(part);
            }
        }
        whole.cloned().unwrap_or(Self::Passed)
    }

    /// The state and its reason as one stable word or two: `passed`, `failed(build, oom)`.
    pub fn summary(&self) -> String {
        match self {
            Self::Passed => "passed".to_owned(),
            Self::Failed { stage, reason, .. } => format!("failed({stage}, {reason})"),
            Self::Broken { .. } => "broken".to_owned(),
            Self::Skipped { .. } => "skipped".to_owned(),
            Self::Infra { stage, reason, .. } => format!("infra({stage}, {reason})"),
        }
    }

    /// The sentence that says what happened, if there is more to say than the state.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Skipped { why } => Some(why),
            Self::Failed { message, .. } | Self::Broken { message, .. } | Self::Infra { message, .. } => {
                Some(message)
            }
        }
    }

    /// What a person can do next.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Passed | Self::Skipped { .. } => None,
            Self::Failed { hint, .. } | Self::Broken { hint, .. } | Self::Infra { hint, .. } => Some(hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Outcome {
        Outcome::Failed {
            stage: Stage::Build,
            reason: FailReason::Oom,
            message: "m".into(),
            hint: "h".into(),
        }
    }

    fn infra(reason: InfraReason) -> Outcome {
        Outcome::Infra { stage: Stage::Deps, reason, message: "m".into(), hint: "h".into() }
    }

    #[test]
    fn the_whole_is_as_bad_as_its_worst_part() {
        let skipped = Outcome::Skipped { why: "x".into() };
        let interrupted = infra(InfraReason::Interrupted);
        assert_eq!(Outcome::of_all([&Outcome::Passed, &failed()]).exit_code(), 1);
        assert_eq!(Outcome::of_all([&failed(), &infra(InfraReason::Io)]).exit_code(), 3);
        assert_eq!(Outcome::of_all([&infra(InfraReason::Io), &interrupted]).exit_code(), 130);
        assert_eq!(Outcome::of_all([&skipped, &Outcome::Passed]), Outcome::Passed);
        assert_eq!(Outcome::of_all([&skipped]), skipped);
    }

    #[test]
    fn states_and_reasons_have_stable_words() {
        assert_eq!(failed().summary(), "failed(build, oom)");
        let json = serde_json::to_value(failed()).unwrap();
        assert_eq!((json["state"].as_str(), json["reason"].as_str()), (Some("failed"), Some("oom")));
    }
}
