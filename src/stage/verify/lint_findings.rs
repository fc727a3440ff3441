//! What `lint.sh check` prints, read and judged.

use crate::config::{LintSection, Waiver};
use crate::model::{LintLevel, TargetName};
use crate::support::terminal_text::neutralise;

/// More findings than a person reads; what goes on beyond that is hostile or a broken script.
const MAX_FINDINGS: usize = 100_000;

/// Characters of a detail that are kept.
const MAX_DETAIL: usize = 1000;

/// Bytes of a tag or of a package's name.
const MAX_NAME: usize = 256;

/// Characters of a line that an error shows.
const MAX_SHOWN: usize = 200;

/// Something that a distro's lint found in a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// How bad it is.
    pub level: LintLevel,
    /// The tool's name for it.
    pub tag: String,
    /// The package that has it.
    pub package: String,
    /// Where and what, in the tool's words; may be empty.
    pub detail: String,
}

/// Findings, by what follows from them. Those that are below all levels are in none of these.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    /// They fail the verification.
    pub failed: Vec<Finding>,
    /// They are worth a look.
    pub warned: Vec<Finding>,
    /// They would be one of these, but for the waiver that gives this reason.
    pub waived: Vec<(Finding, &'a str)>,
    /// Waivers for this target that covered no finding of any level.
    pub unused: Vec<&'a Waiver>,
}

/// Reads the output of `lint.sh check`. A line that is no finding is an error that shows it.
pub(super) fn parse(output: &str) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for (at, line) in output.split_terminator('\n').enumerate() {
        if at == MAX_FINDINGS {
            return Err(format!("lint.sh prints more than {MAX_FINDINGS} findings"));
        }
        findings.push(finding(line).ok_or_else(|| {
            format!("line {} of what lint.sh prints is no finding: `{}`", at + 1, shown(line, MAX_SHOWN))
        })?);
    }
    Ok(findings)
}

fn finding(line: &str) -> Option<Finding> {
    let mut fields = line.splitn(4, '\t');
    let level = match fields.next()? {
        "error" => LintLevel::Error,
        "warning" => LintLevel::Warning,
        "info" => LintLevel::Info,
        _ => return None,
    };
    let mut name = || {
        let text = fields.next()?;
        let plain = !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(|b| b.is_ascii_graphic());
        plain.then(|| text.to_owned())
    };
    Some(Finding { level, tag: name()?, package: name()?, detail: shown(fields.next()?, MAX_DETAIL) })
}

/// The beginning of `text`, safe to show.
fn shown(text: &str, characters: usize) -> String {
    // A carriage return, which hides what stands before it, is given away.
    let clean = |text: &str| neutralise(text.replace('\r', "^M").as_bytes());
    match text.char_indices().nth(characters) {
        None => clean(text),
        Some((end, _)) => format!("{}…", clean(&text[..end])),
    }
}

/// What follows from the findings in the packages of `target`.
pub(super) fn judge<'a>(findings: Vec<Finding>, lint: &'a LintSection, target: &TargetName) -> Judged<'a> {
    let mut waivers: Vec<(&Waiver, bool)> =
        lint.waive.iter().filter(|waiver| waiver.is_for(target)).map(|waiver| (waiver, false)).collect();
    let mut judged =
        Judged { failed: Vec::new(), warned: Vec::new(), waived: Vec::new(), unused: Vec::new() };
    for finding in findings {
        let mut reason = None;
        for (waiver, used) in &mut waivers {
            if waiver.covers(&finding.tag, &finding.package, &finding.detail) {
                *used = true;
                reason.get_or_insert(waiver.reason.as_str());
            }
        }
        let reaches = |level: Option<LintLevel>| level.is_some_and(|level| finding.level >= level);
        let (fails, warns) = (reaches(lint.require), reaches(lint.warn));
        match reason {
            Some(reason) if fails || warns => judged.waived.push((finding, reason)),
            None if fails => judged.failed.push(finding),
            None if warns => judged.warned.push(finding),
            _ => {}
        }
    }
    judged.unused = waivers.into_iter().filter(|(_, used)| !used).map(|(waiver, _)| waiver).collect();
    judged
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn waiver(tag: &str) -> Waiver {
        Waiver {
            tag: tag.to_owned(),
            package: None,
            pattern: None,
            only: Vec::new(),
            reason: format!("why {tag}"),
        }
    }

    fn target() -> TargetName {
        "debian-12/deb".parse().unwrap()
    }

    fn tags(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.tag.as_str()).collect()
    }

    const OUTPUT: &str = "error\tbad-thing\tdemo\t[usr/bin/demo]\nwarning\tno-manual-page\tdemo\t[usr/bin/a]\n\
                          warning\tno-manual-page\tdemo-x\t[usr/bin/b]\ninfo\tsmall-thing\tdemo\t\n";

    #[test]
    fn a_finding_has_a_level_a_tag_a_package_and_a_detail_that_may_be_empty() {
        let findings = parse(OUTPUT).unwrap();
        assert_eq!(findings.len(), 4);
        assert_eq!(
            findings[0],
            Finding {
                level: LintLevel::Error,
                tag: "bad-thing".into(),
                package: "demo".into(),
                detail: "[usr/bin/demo]".into()
            }
        );
        assert_eq!(findings[3].detail, "");
        assert_eq!(parse(""), Ok(Vec::new()));
        assert_eq!(parse("info\ta\tb\tc\td").unwrap()[0].detail, "c       d");
    }

    #[test]
    fn a_line_that_is_no_finding_is_named() {
        for line in [
            "",
            "\n",
            "error",
            "error\tx",
            "error\tx\ty",
            "error\t\ty\tz",
            "error\tx\t\tz",
            "error\tx y\tz\t",
            "error\tx\ty z\t",
            "error\tx\u{1b}[2J\ty\tz",
            "error\tx\u{202e}\ty\tz",
            "error\tx\ty\r\tz",
            "error\tx\0\ty\tz",
            " error\tx\ty\tz",
            "Error\tx\ty\tz",
            "fatal\tx\ty\tz",
            "E: demo: bad-thing",
            "Traceback (most recent call last):",
            "\u{feff}error\tx\ty\tz",
            "\t\t\t",
        ] {
            let text = format!("info\tok\tdemo\t\n{line}\n");
            let error = parse(&text).expect_err(line);
            assert!(error.starts_with("line 2 of what lint.sh prints is no finding"), "{error}");
            assert!(!error.chars().any(char::is_control), "{error:?}");
        }
        let long = format!("error\t{}\ty\tz", "x".repeat(MAX_NAME + 1));
        assert!(parse(&long).is_err());
    }

    #[test]
    fn hostile_text_is_neutralised_and_bounded() {
        for detail in
            ["\u{1b}]0;owned\u{7}", "a\rb", "\u{9b}2J", "\u{202e}txt.exe", "\u{7f}\u{8}\u{1}\0", "a\tb\tc"]
        {
            let findings = parse(&format!("error\tx\ty\t{detail}\n")).unwrap();
            let shown = &findings[0].detail;
            assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
        }
        assert_eq!(parse("error\tx\ty\thidden\rseen").unwrap()[0].detail, "hidden^Mseen");
        let long = format!("error\tx\ty\t{}", "ä".repeat(1 << 20));
        assert_eq!(parse(&long).unwrap()[0].detail.chars().count(), MAX_DETAIL + 1);
        let error = parse(&"\u{1}".repeat(1 << 20)).unwrap_err();
        assert!(error.len() < 1000, "{}", error.len());
        let error = parse(&"info\tx\ty\t\n".repeat(MAX_FINDINGS + 1)).unwrap_err();
        assert!(error.contains("more than"), "{error}");
    }

    #[test]
    fn errors_fail_warnings_warn_and_the_rest_is_silent() {
        let lint = LintSection::default();
        let judged = judge(parse(OUTPUT).unwrap(), &lint, &target());
        assert_eq!(tags(&judged.failed), ["bad-thing"]);
        assert_eq!(tags(&judged.warned), ["no-manual-page", "no-manual-page"]);
        assert!(judged.waived.is_empty() && judged.unused.is_empty());
    }

    #[test]
    fn the_pipeline_sets_the_levels() {
        for (require, warn, failed, warned) in [
            (None, None, 0, 0),
            (None, Some(LintLevel::Error), 0, 1),
            (None, Some(LintLevel::Info), 0, 4),
            (Some(LintLevel::Info), Some(LintLevel::Info), 4, 0),
            (Some(LintLevel::Warning), Some(LintLevel::Error), 3, 0),
            (Some(LintLevel::Warning), Some(LintLevel::Info), 3, 1),
        ] {
            let lint = LintSection { require, warn, waive: Vec::new() };
            let judged = judge(parse(OUTPUT).unwrap(), &lint, &target());
            assert_eq!((judged.failed.len(), judged.warned.len()), (failed, warned), "{require:?} {warn:?}");
        }
    }

    #[test]
    fn a_waived_finding_neither_fails_nor_warns_and_keeps_its_reason() {
        let waive =
            vec![waiver("bad-thing"), Waiver { package: Some("demo-x".into()), ..waiver("no-manual-page") }];
        let lint = LintSection { waive, ..LintSection::default() };
        let judged = judge(parse(OUTPUT).unwrap(), &lint, &target());
        assert!(judged.failed.is_empty());
        assert_eq!(judged.warned.len(), 1);
        assert_eq!(judged.warned[0].package, "demo");
        let reasons: Vec<&str> = judged.waived.iter().map(|(_, reason)| *reason).collect();
        assert_eq!(reasons, ["why bad-thing", "why no-manual-page"]);
        assert!(judged.unused.is_empty());
    }

    #[test]
    fn a_waiver_is_unused_if_it_is_for_this_target_and_covers_nothing() {
        let waive = vec![
            waiver("small-thing"),
            waiver("gone"),
            Waiver { only: vec!["rocky-9/rpm".parse().unwrap()], ..waiver("elsewhere") },
            Waiver { only: vec!["rocky-9/rpm".parse().unwrap()], ..waiver("bad-thing") },
            Waiver { pattern: Some(Regex::new("usr/bin/z").unwrap()), ..waiver("no-manual-page") },
        ];
        let lint = LintSection { waive, ..LintSection::default() };
        let judged = judge(parse(OUTPUT).unwrap(), &lint, &target());
        let unused: Vec<&str> = judged.unused.iter().map(|waiver| waiver.tag.as_str()).collect();
        assert_eq!(unused, ["gone", "no-manual-page"]);
        assert_eq!(tags(&judged.failed), ["bad-thing"]);
        assert!(judged.waived.is_empty(), "what is silent anyway is not listed");
    }
}
