//! What differs between two runs, as text and as data.

use std::fmt::Write;

use serde::Serialize;

use super::changes::{FieldChange, FileChange, ImagePackages, NameChanges, Side, TargetChanges};
use super::text::{bytes, counted, duration};
use crate::compare::Comparison;
use crate::config::PackageChange;
use crate::model::{Stage, short_commit};
use crate::support::terminal_text::{clip, neutralise};

/// So many names, packages or members of one list are shown; the data have all.
const SHOWN: usize = 12;

/// So many characters of a value are shown.
const LONGEST: usize = 160;

/// What differs between two runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The one run.
    pub old: Side,
    /// The other.
    pub new: Side,
    /// What of the runs themselves: package, pipeline, program, engine, kernel.
    pub fields: Vec<FieldChange>,
    /// The files of the source trees; `None` where the archive does not have both.
    pub source: Option<NameChanges>,
    /// The targets, in the new run's order, and then those that only the old one has.
    pub targets: Vec<TargetDiff>,
}

/// What differs for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetDiff {
    /// Its outcome in the old run, in a word or two; `None` if that did not have it.
    pub old: Option<String>,
    /// Its outcome in the new one.
    pub new: Option<String>,
    /// What its packages were built from: the fields of the build key that differ.
    pub inputs: Vec<FieldChange>,
    /// Why that cannot be said.
    pub inputs_unknown: Option<String>,
    /// How long its stages took.
    pub stages: Vec<StageTimes>,
    /// Its packages, and those of its images.
    #[serde(flatten)]
    pub made: TargetChanges,
}

/// How long a stage took in both runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageTimes {
    /// The stage.
    pub stage: Stage,
    /// Then; `None` if it did not begin.
    pub old: Option<StageTime>,
    /// Now.
    pub new: Option<StageTime>,
}

/// How long a stage took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StageTime {
    /// Milliseconds.
    pub duration_ms: u64,
    /// Whether something was taken from before instead of made.
    pub reused: bool,
}

/// What differs, for people: what is the same is left out.
pub fn diff(diff: &Diff) -> String {
    let mut out = String::new();
    let (old, new) = (&diff.old, &diff.new);
    let _ = writeln!(out, "run {} → run {}", old.run, new.run);
    for (what, old, new) in [
        ("version", old.version.clone(), new.version.clone()),
        ("commit", short_commit(&old.commit).to_owned(), short_commit(&new.commit).to_owned()),
        ("outcome", old.outcome.clone(), new.outcome.clone()),
        ("duration", duration(old.duration_ms), duration(new.duration_ms)),
    ] {
        let same = old == new;
        let both = if same { safe(&old) } else { format!("{} → {}", safe(&old), safe(&new)) };
        let _ = writeln!(out, "  {what:<9} {both}");
    }
    fields(&mut out, "  ", &diff.fields);
    match &diff.source {
        Some(names) if names.is_empty() => out.push_str("source: the same files\n"),
        Some(names) => {
            let _ = writeln!(out, "source: {}", counted(names.count(), "file"));
            names_changed(&mut out, "  ", names);
        }
        None => out.push_str("source: the archive does not have both trees\n"),
    }
    for target in &diff.targets {
        target_diff(&mut out, target);
    }
    out
}

fn target_diff(out: &mut String, target: &TargetDiff) {
    let outcomes = match (&target.old, &target.new) {
        (Some(old), Some(new)) if old == new => old.clone(),
        (Some(old), Some(new)) => format!("{old} → {new}"),
        (Some(old), None) => format!("{old} → not in the run"),
        (None, new) => format!("not in the run → {}", new.as_deref().unwrap_or("not in the run")),
    };
    let _ = writeln!(out, "\n{}  {outcomes}", target.made.target);
    if let Some(why) = &target.inputs_unknown {
        let _ = writeln!(out, "  built from: unknown: {}", safe(why));
    } else if target.old.is_some() && target.new.is_some() {
        match target.inputs.is_empty() {
            true => out.push_str("  built from: the same\n"),
            false => out.push_str("  built from\n"),
        }
        fields(out, "    ", &target.inputs);
    }
    for image in &target.made.images {
        let _ = writeln!(out, "  {} image: {}", image.role, counted(image.packages.len(), "package"));
        image_packages(out, "    ", image);
    }
    for file in &target.made.files {
        package(out, file);
    }
    for StageTimes { stage, old, new } in &target.stages {
        let time = |time: &Option<StageTime>| match time {
            Some(StageTime { duration_ms, reused: true }) => format!("{} (reused)", duration(*duration_ms)),
            Some(StageTime { duration_ms, reused: false }) => duration(*duration_ms),
            None => "–".to_owned(),
        };
        let _ = writeln!(out, "  {stage:<9} {} → {}", time(old), time(new));
    }
}

fn package(out: &mut String, file: &FileChange) {
    let size = |size: Option<u64>| size.map_or_else(|| "–".to_owned(), bytes);
    let _ = writeln!(
        out,
        "  package {}: {} → {} ({}), {}",
        safe(&file.package),
        size(file.old),
        size(file.new),
        file.growth(),
        file.verdict()
    );
    for change in &file.relations {
        let came = change.added.iter().map(|one| format!("+ {}", safe(one)));
        let went = change.removed.iter().map(|one| format!("− {}", safe(one)));
        let _ =
            writeln!(out, "    {}: {}", safe(&change.kind), came.chain(went).collect::<Vec<_>>().join(", "));
    }
    if let Some(Comparison::Differs { differences, more, .. }) = &file.comparison {
        for difference in differences.iter().take(SHOWN) {
            let _ = writeln!(out, "    {}: {}", safe(&difference.member), safe(&difference.what));
        }
        and_more(out, "    ", (differences.len() + more).saturating_sub(SHOWN));
    }
}

/// Lines for fields that differ.
pub(super) fn fields(out: &mut String, indent: &str, changes: &[FieldChange]) {
    for FieldChange { what, old, new } in changes {
        let value = |value: &str| if value.is_empty() { "none".to_owned() } else { safe(value) };
        let _ = match (old, new) {
            (Some(old), Some(new)) => {
                writeln!(out, "{indent}{}: {} → {}", safe(what), value(old), value(new))
            }
            (Some(old), None) => writeln!(out, "{indent}{}: − {}", safe(what), value(old)),
            (None, Some(new)) => writeln!(out, "{indent}{}: + {}", safe(what), value(new)),
            (None, None) => writeln!(out, "{indent}{}", safe(what)),
        };
    }
}

/// Lines for files that differ.
pub(super) fn names_changed(out: &mut String, indent: &str, names: &NameChanges) {
    let marked = |mark, names: &[String]| -> Vec<String> {
        names.iter().map(|name| format!("{mark} {}", safe(name))).collect()
    };
    let all = [marked("~", &names.changed), marked("+", &names.added), marked("−", &names.removed)].concat();
    for line in all.iter().take(SHOWN) {
        let _ = writeln!(out, "{indent}{line}");
    }
    and_more(out, indent, all.len().saturating_sub(SHOWN));
}

/// Lines for packages of an image that differ.
pub(super) fn image_packages(out: &mut String, indent: &str, image: &ImagePackages) {
    for PackageChange { name, old, new, files, .. } in image.packages.iter().take(SHOWN) {
        let name = safe(name);
        let version = |version: &Option<String>| version.as_deref().map(safe).unwrap_or_default();
        let _ = match (old, new, files) {
            (Some(_), Some(new), Some(_)) => writeln!(out, "{indent}{name} {}: another file", safe(new)),
            (Some(_), Some(_), None) => {
                writeln!(out, "{indent}{name} {} → {}", version(old), version(new))
            }
            (Some(_), None, _) => writeln!(out, "{indent}− {name} {}", version(old)),
            _ => writeln!(out, "{indent}+ {name} {}", version(new)),
        };
    }
    and_more(out, indent, image.packages.len().saturating_sub(SHOWN));
}

fn and_more(out: &mut String, indent: &str, more: usize) {
    if more > 0 {
        let _ = writeln!(out, "{indent}and {more} more (all of them with --format json)");
    }
}

/// A value of strangers on one line of a screen.
pub(super) fn safe(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let more = if text.trim_end().contains('\n') { " …" } else { "" };
    clip(&neutralise(line.as_bytes()), LONGEST) + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_is_one_line_that_steers_no_terminal() {
        assert_eq!(safe("a\x1b[2Jb\nc"), "ab …");
        assert_eq!(safe("make\n"), "make");
        assert!(safe(&"x".repeat(1000)).chars().count() < 200);
    }

    #[test]
    fn long_lists_are_cut_and_say_by_how_much() {
        let names = NameChanges {
            changed: (0..20).map(|number| number.to_string()).collect(),
            ..NameChanges::default()
        };
        let mut out = String::new();
        names_changed(&mut out, "", &names);
        assert_eq!(out.lines().count(), SHOWN + 1);
        assert!(out.ends_with("and 8 more (all of them with --format json)\n"), "{out}");
    }
}
