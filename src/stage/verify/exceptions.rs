//! What the pipeline accepts although it is found. Pure.

use crate::config::Exception;
use crate::model::Check;

/// Marks what the exceptions are about as accepted. Gives a warning for each that is about nothing; where the
/// verification did not come to its end, an exception may be about what was not looked at.
pub(super) fn apply(exceptions: &[Exception], checks: &mut [Check], complete: bool) -> Vec<String> {
    let mut unused = Vec::new();
    for exception in exceptions {
        let mut used = false;
        for check in checks.iter_mut().filter(|check| is_about(exception, check)) {
            used = true;
            check.accepted.get_or_insert_with(|| exception.reason.clone());
        }
        if !used && complete {
            unused.push(format!(
                "the exception `{}` ({}) is about nothing that was found; remove it",
                exception.subject(),
                exception.reason
            ));
        }
    }
    unused
}

fn is_about(exception: &Exception, check: &Check) -> bool {
    let Some(reason) = check.reason() else { return false };
    let object = check.object.as_deref().unwrap_or_default();
    exception.rule.is_none_or(|rule| rule == reason)
        && exception.scenario.is_none_or(|scenario| scenario == check.scenario)
        && exception.object.as_ref().is_none_or(|pattern| pattern.is_match(object))
}

#[cfg(test)]
mod tests {
    use globset::Glob;

    use super::*;
    use crate::model::{FailReason, Outcome, Scenario, Stage};

    fn left(path: &str) -> Check {
        let outcome = Outcome::Failed {
            stage: Stage::Verify,
            reason: FailReason::FileLeftBehind,
            message: "m".into(),
            hint: "h".into(),
        };
        Check { object: Some(path.into()), ..Check::new(Scenario::Purge, "c", outcome) }
    }

    fn exception(path: &str) -> Exception {
        Exception {
            rule: Some(FailReason::FileLeftBehind),
            object: Some(Glob::new(path).unwrap().compile_matcher()),
            scenario: None,
            reason: "logs stay".into(),
            only: Vec::new(),
        }
    }

    #[test]
    fn an_exception_accepts_what_it_is_about_and_nothing_else() {
        let mut checks = [left("/var/log/a/b"), left("/var/lib/a")];
        assert_eq!(apply(&[exception("/var/log/a/**")], &mut checks, true), Vec::<String>::new());
        assert_eq!((checks[0].fails(), checks[1].fails()), (false, true));
        assert_eq!(checks[0].accepted.as_deref(), Some("logs stay"));
    }

    #[test]
    fn an_exception_that_is_about_nothing_is_a_warning() {
        let unused = [exception("/srv/**")];
        assert!(apply(&unused, &mut [left("/var/x")], true)[0].contains("/srv/**"));
        assert_eq!(apply(&unused, &mut [left("/var/x")], false), Vec::<String>::new());
    }
}
