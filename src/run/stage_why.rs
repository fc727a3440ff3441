//! Why a stage ran, or why what it would have made was taken from before.

use crate::model::{ArtifactKind, Digest, Outcome, RunId, RunRecord, Stage, StageRecord, TargetRecord};
use crate::report::StageWhy;

/// Why a stage of a target ran, or did not. `earlier` are the target's earlier runs, newest first.
pub(super) fn stage_why(
    (record, target): (&RunRecord, &TargetRecord),
    stage: &StageRecord,
    earlier: &[(&RunRecord, &TargetRecord)],
) -> StageWhy {
    match stage.stage {
        Stage::Build => build_why(target, stage, earlier),
        Stage::Verify => verify_why(target, stage, earlier),
        Stage::Deps => deps_why(record, target, stage),
        _ => other_why(stage),
    }
}

fn reused(stage: &StageRecord) -> Option<StageWhy> {
    let why = stage.reused.clone()?;
    Some(StageWhy { stage: stage.stage, ran: !stage.steps.is_empty(), why, cache: None })
}

fn other_why(stage: &StageRecord) -> StageWhy {
    let why = "it was asked for".to_owned();
    reused(stage).unwrap_or(StageWhy { stage: stage.stage, ran: true, why, cache: None })
}

/// Which images were made, and which were there.
fn deps_why(record: &RunRecord, target: &TargetRecord, stage: &StageRecord) -> StageWhy {
    let made = record.images.iter().filter(|image| target.images.contains(&image.id)).filter_map(|image| {
        let how = match image.obtained.as_str() {
            "registry" => "pulled",
            "bootstrap" => "bootstrapped",
            "tar" => "taken from a tar",
            "built" => "made",
            _ => return None,
        };
        Some(format!("the {} image was {how}", image.role))
    });
    let mut said: Vec<String> = made.collect();
    let ran = !said.is_empty() || stage.reused.is_none();
    if said.is_empty() && ran {
        said.push("no image had these dependencies".to_owned());
    }
    said.extend(stage.reused.clone());
    StageWhy { stage: stage.stage, ran, why: said.join("; "), cache: None }
}

/// Why a stage ran that is looked up by a key, and why nothing was found under it.
struct Looked<'a> {
    stage: &'a StageRecord,
    key: Option<Digest>,
    /// The earlier runs, newest first, with the key and the outcome of the stage.
    earlier: Vec<(&'a RunId, Option<Digest>, Option<&'a Outcome>)>,
}

impl<'a> Looked<'a> {
    fn new(
        stage: &'a StageRecord,
        target: &TargetRecord,
        earlier: &[(&'a RunRecord, &'a TargetRecord)],
        key: impl Fn(&TargetRecord) -> Option<Digest>,
    ) -> Self {
        let of = |(run, then): &(&'a RunRecord, &'a TargetRecord)| {
            let done = then.stages.iter().find(|done| done.stage == stage.stage);
            (&run.id, key(then), done.map(|done| &done.outcome))
        };
        Self { stage, key: key(target), earlier: earlier.iter().map(of).collect() }
    }

    /// The newest run with the same key in which the stage passed.
    fn usable(&self) -> Option<&RunId> {
        let same = |(_, key, outcome): &&(_, Option<Digest>, Option<&Outcome>)| {
            key.is_some() && *key == self.key && outcome.is_some_and(Outcome::passed)
        };
        self.earlier.iter().find(same).map(|(run, ..)| *run)
    }

    fn why(&self, changed: &str) -> StageWhy {
        if let Some(why) = reused(self.stage) {
            return why;
        }
        let usable = self.usable();
        let why = match self.earlier.first() {
            _ if usable.is_some() => {
                "it was asked for (--rebuild), or what was made then is not in the archive any more"
                    .to_owned()
            }
            None => "no earlier run of this target is in the archive".to_owned(),
            Some((run, None, _) | (run, _, None)) => format!("run {run} did not come so far"),
            Some((run, key, Some(outcome))) if *key == self.key => {
                format!("run {run} had the same inputs, but {} there", outcome.summary())
            }
            Some((run, ..)) => format!("{changed} other than in run {run}"),
        };
        let cache = match (usable, self.key) {
            (Some(run), Some(key)) => format!("run {run} has passed with the key {}", key.short()),
            (_, Some(key)) => format!("no earlier run has passed with the key {}", key.short()),
            (_, None) => "it ended before there was a key".to_owned(),
        };
        StageWhy { stage: self.stage.stage, ran: true, why, cache: Some(cache) }
    }
}

fn build_why(
    target: &TargetRecord,
    stage: &StageRecord,
    earlier: &[(&RunRecord, &TargetRecord)],
) -> StageWhy {
    Looked::new(stage, target, earlier, |target| target.build_key).why("what it is built from is")
}

fn verify_why(
    target: &TargetRecord,
    stage: &StageRecord,
    earlier: &[(&RunRecord, &TargetRecord)],
) -> StageWhy {
    let packages = |target: &TargetRecord| -> Vec<Digest> {
        let packages = target.artifacts.iter().filter(|artifact| artifact.kind == ArtifactKind::Package);
        packages.map(|artifact| artifact.digest).collect()
    };
    let others = earlier.first().is_some_and(|(_, then)| packages(then) != packages(target));
    let changed = if others {
        "the packages are"
    } else {
        "the base image, the questions, the scripts or the release before are"
    };
    Looked::new(stage, target, earlier, |target| target.verify_key).why(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(outcome: Outcome) -> StageRecord {
        StageRecord {
            stage: Stage::Build,
            outcome,
            started: jiff::Timestamp::UNIX_EPOCH,
            duration_ms: 1,
            reused: None,
            steps: Vec::new(),
            log: None,
        }
    }

    #[test]
    fn a_stage_says_why_it_ran_and_why_nothing_was_taken_from_before() {
        let failed = Outcome::Infra {
            stage: Stage::Build,
            reason: crate::model::InfraReason::Io,
            message: String::new(),
            hint: String::new(),
        };
        let (one, two) = (Digest::of("one"), Digest::of("two"));
        let run = RunId::new(jiff::Timestamp::UNIX_EPOCH, 1);
        let now = stage(Outcome::Passed);
        let told = |earlier: Vec<(&RunId, Option<Digest>, Option<&Outcome>)>| {
            let why = Looked { stage: &now, key: Some(one), earlier: earlier.clone() }.why("the sources are");
            (why.why, why.cache.unwrap())
        };
        let none = format!("no earlier run has passed with the key {}", one.short());
        assert_eq!(
            told(Vec::new()),
            ("no earlier run of this target is in the archive".to_owned(), none.clone())
        );
        assert_eq!(
            told(vec![(&run, Some(two), Some(&Outcome::Passed))]),
            (format!("the sources are other than in run {run}"), none.clone())
        );
        assert_eq!(
            told(vec![(&run, Some(one), Some(&failed))]),
            (format!("run {run} had the same inputs, but infra(build, io) there"), none)
        );
        let (why, cache) =
            told(vec![(&run, Some(two), Some(&failed)), (&run, Some(one), Some(&Outcome::Passed))]);
        assert!(why.contains("--rebuild"), "{why}");
        assert_eq!(cache, format!("run {run} has passed with the key {}", one.short()));
        let reused = StageRecord { reused: Some("packages of run x".into()), ..stage(Outcome::Passed) };
        let why = Looked { stage: &reused, key: Some(one), earlier: Vec::new() }.why("");
        assert_eq!((why.ran, why.why.as_str()), (false, "packages of run x"));
    }
}
