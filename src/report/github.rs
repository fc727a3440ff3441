//! What GitHub's runner understands: workflow commands, which are lines on standard output ("Workflow commands for GitHub
//! Actions").

use std::fmt::Write;

use super::finding::{Finding, Severity, findings};
use crate::model::RunRecord;

/// So many annotations of a kind are shown of one step; what is beyond them is only told in the log.
const MOST: usize = 10;

/// A run's findings as annotations of `pipeline`, the pipeline file's path in the repository: errors and warnings, one a line.
pub fn github_commands(record: &RunRecord, pipeline: &str) -> String {
    let all = findings(record);
    let mut out = String::new();
    for (severity, word) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
        for finding in all.iter().filter(|finding| finding.severity == severity).take(MOST) {
            let Finding { subject, place, .. } = finding;
            let title = format!("{} {subject} {place}", record.package);
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "::{word} file={},line=1,title={}::{}",
                property(pipeline),
                property(&title),
                data(&text(finding))
            );
        }
    }
    for warning in record.warnings.iter().take(MOST) {
        let _ = writeln!(out, "::warning title={}::{}", property(&record.package), data(warning));
    }
    out
}

fn text(finding: &Finding<'_>) -> String {
    let mut text = finding.message.clone();
    for line in finding.evidence.iter().take(5).filter(|line| !finding.message.contains(**line)) {
        text += &format!("\n{line}");
    }
    if let Some(hint) = finding.hint {
        text += &format!("\nHint: {hint}");
    }
    text
}

/// A command's message as the runner takes it apart again: percent sign and ends of lines are escaped.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A command's property, which ends at a comma or a colon as well.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_message_ends_the_command_or_begins_another() {
        assert_eq!(data("50%\r\n::error::x"), "50%25%0D%0A::error::x");
        assert_eq!(property("a,b: c\n"), "a%2Cb%3A c%0A");
    }
}
