use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use super::archive::json;
use super::args::{Common, DrillArguments, EngineChoice, OutputFormat, ReplayArguments};
use super::error::CliError;
use super::{context, output};
use crate::archive::{Archive, RunSummary};
use crate::compare;
use crate::model::Outcome;
use crate::report::junit::{self, Case, Verdict};
use crate::run::{Replay, ReplayRequest};

/// `packhold archive replay`
pub(super) async fn replay(common: &Common, arguments: ReplayArguments) -> Result<u8, CliError> {
    let archive = context::existing_archive(common)?;
    let request = ReplayRequest {
        archive,
        run: arguments.run,
        targets: arguments.targets,
        engine: context::engine(arguments.engine.engine).await?,
        folders: context::folders(),
        keep: arguments.keep,
    };
    let cancel = context::cancelled_by_signals();
    let (send, shown) = output::show(common.format, &cancel, None);
    let result = crate::run::replay(request, send, cancel).await;
    let _ = shown.await;
    let replay = result?;
    match common.format {
        OutputFormat::Json => json(&replay),
        _ => print!("\n{}", rendered(&replay)),
    }
    Ok(exit_code(&replay))
}

fn exit_code(replay: &Replay) -> u8 {
    match (replay.is_infrastructure(), replay.is_same()) {
        (true, _) => 3,
        (false, true) => 0,
        (false, false) => 1,
    }
}

fn rendered(replay: &Replay) -> String {
    let mut text = String::new();
    for target in &replay.targets {
        let _ = writeln!(text, "{}", target.target);
        if !target.outcome.passed() {
            let _ = writeln!(text, "  {}", target.outcome.summary());
            if let Outcome::Infra { message, hint, .. } | Outcome::Broken { message, hint } = &target.outcome
            {
                let _ = writeln!(text, "  {message}\n  Hint: {hint}");
            }
        }
        for file in &target.artifacts {
            text += &compare::line(&file.name, file.archived, file.built, file.comparison.as_ref());
        }
        let packages = target.packages.as_deref();
        for difference in packages.unwrap_or_default() {
            let _ = writeln!(text, "  package    {}: {}", difference.member, difference.what);
        }
        if packages.is_some_and(<[_]>::is_empty) {
            let _ = writeln!(text, "  packages   in its deps image are those that were recorded");
        }
    }
    for difference in &replay.environment {
        let _ = writeln!(text, "environment: {} {}", difference.member, difference.what);
    }
    let verdict =
        if replay.is_same() { "every package is what it was" } else { "not everything is what it was" };
    let _ = writeln!(text, "run {}: {verdict}", replay.run);
    text
}

/// `packhold archive drill`: one line a run.
pub(super) async fn drill(common: &Common, arguments: DrillArguments) -> Result<u8, CliError> {
    let archive = context::existing_archive(common)?;
    let cancel = context::cancelled_by_signals();
    let mut cases = Vec::new();
    let mut worst = 0;
    for run in sample(&archive, &arguments)? {
        let (outcome, lines) = match tried(&archive, &run, arguments.engine.engine, &cancel).await {
            Ok(Tried::Skipped(why)) => (None, why),
            Ok(Tried::Replayed(replay)) => (Some(exit_code(&replay)), rendered(&replay)),
            Err(error) => (Some(3), error.render()),
        };
        if cancel.is_cancelled() {
            return Ok(130);
        }
        worst = worst.max(outcome.unwrap_or(0));
        let word = match outcome {
            None => "skipped",
            Some(0) => "identical",
            Some(1) => "differs",
            Some(_) => "failed",
        };
        let (kind, message, text) = (word.to_owned(), word.to_owned(), lines.clone());
        let verdict = match outcome {
            Some(0) => Verdict::Passed,
            None => Verdict::Skipped { why: lines.clone() },
            Some(1) => Verdict::Failed { kind, message, text },
            Some(_) => Verdict::Error { kind, message, text },
        };
        let (class, name) = (run.package.clone(), run.id.to_string());
        cases.push(Case { class, name, time: None, verdict, output: None });
        match common.format {
            OutputFormat::Json => {
                json(
                    &serde_json::json!({ "run": run.id, "package": run.package, "result": word, "text": lines }),
                );
            }
            _ => {
                println!("{}  {} {}  {word}", run.id, run.package, run.version);
                if outcome.is_some_and(|code| code > 0) {
                    eprint!("{lines}");
                }
            }
        }
    }
    if let Some(path) = &arguments.junit {
        let suites = [("packhold archive drill".to_owned(), cases)];
        crate::run::write_text(path, &junit::document("packhold", suites))?;
    }
    Ok(worst)
}

enum Tried {
    Skipped(String),
    Replayed(Replay),
}

/// Restores everything of a run, and builds it again.
async fn tried(
    archive: &Archive,
    run: &RunSummary,
    choice: EngineChoice,
    cancel: &tokio_util::sync::CancellationToken,
) -> Result<Tried, CliError> {
    let found = archive.run(run.id.as_str())?;
    for file in &found.files {
        archive.copy_blob(&file.digest, &mut std::io::sink())?;
    }
    if found.images.is_empty() {
        return Ok(Tried::Skipped("it was archived without its images; its files are whole".to_owned()));
    }
    for image in &found.record.images {
        // Earlier versions archived no images of verify; no build needs them.
        if let Ok(image) = archive.image(&image.id) {
            archive.export_docker_archive(&image.id, None, std::io::sink())?;
        }
    }
    let request = ReplayRequest {
        archive: archive.clone(),
        run: run.id.to_string(),
        targets: Vec::new(),
        engine: context::engine(choice).await?,
        folders: context::folders(),
        keep: None,
    };
    let (events, _nobody) = tokio::sync::mpsc::unbounded_channel();
    Ok(Tried::Replayed(crate::run::replay(request, events, cancel.clone()).await?))
}

/// Some runs that have packages, chosen at random.
fn sample(archive: &Archive, arguments: &DrillArguments) -> Result<Vec<RunSummary>, CliError> {
    let now = Timestamp::now();
    let is_old = |run: &RunSummary| {
        let age =
            run.started.map(|started| Duration::try_from(now.duration_since(started)).unwrap_or_default());
        arguments.older_than.is_none_or(|older| age.is_none_or(|age| age > older))
    };
    let built = |run: &RunSummary| run.targets.iter().any(|target| target.outcome == "passed");
    let mut runs: Vec<RunSummary> =
        archive.runs()?.into_iter().filter(|run| is_old(run) && built(run)).collect();
    let mut random = arguments.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    random.shuffle(&mut runs);
    runs.truncate(arguments.sample);
    runs.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(runs)
}
