use std::io::IsTerminal;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use super::args::{ArchiveCommand, Common, OutputFormat, PruneArguments};
use super::context;
use super::error::CliError;
use super::{list, receipt, replay, restore, transfer};
use crate::archive::{KeepPolicy, PrunePlan, Repaired, Run, VerifyProgress};
use crate::report;

/// `packhold archive`
pub(super) async fn archive(common: &Common, command: ArchiveCommand) -> Result<u8, CliError> {
    match command {
        ArchiveCommand::List(arguments) => list::list(common, &context::existing_archive(common)?, arguments),
        ArchiveCommand::Show { run, receipt: true, dsse } => receipt::show(common, &run, dsse),
        ArchiveCommand::CheckReceipt { run, public_key } => {
            receipt::check(common, &run, public_key.as_deref())
        }
        ArchiveCommand::Show { run, receipt: false, .. } => {
            let archive = context::existing_archive(common)?;
            show(common, &archive.run(&run)?);
            Ok(0)
        }
        ArchiveCommand::Verify { repair_from } => verify(common, repair_from.as_deref()),
        ArchiveCommand::Prune(arguments) => prune(common, &arguments),
        ArchiveCommand::Push(arguments) => transfer::push(common, arguments).await,
        ArchiveCommand::Pull(arguments) => transfer::pull(common, arguments).await,
        ArchiveCommand::Copy(arguments) => transfer::copy(common, arguments).await,
        ArchiveCommand::Replay(arguments) => replay::replay(common, arguments).await,
        ArchiveCommand::Drill(arguments) => replay::drill(common, arguments).await,
        ArchiveCommand::Restore(arguments) => restore::restore(common, arguments).await,
    }
}

pub(super) fn json<T: serde::Serialize>(value: &T) {
    println!("{}", serde_json::to_string(value).unwrap_or_default());
}

fn show(common: &Common, run: &Run) {
    if common.format == OutputFormat::Json {
        json(&run.record);
        return;
    }
    let record = &run.record;
    println!("{}", report::summary(record, &report::Tails::new()).trim_end());
    println!(
        "\nsource  {} at {} (sha256:{})",
        record.source.repository,
        record.source.commit,
        record.source.tree.hex()
    );
    println!("built by packhold {} on {} {}", record.tool.version, record.engine.kind, record.engine.version);
    println!("\nimages");
    for image in &record.images {
        println!(
            "  {:<8} {:<20} {:<12} {}  {} packages, from: {}",
            image.role,
            image.builder,
            image.platform.as_deref().unwrap_or_default(),
            image.id,
            image.packages.len(),
            image.obtained
        );
    }
    println!("\nfiles");
    for file in &run.files {
        println!("  {:<9} {:>10}  {}", file.role, report::bytes(file.size), file.path());
    }
    println!("\nrestore files:  packhold archive restore {} --to DIR", record.id);
    if let Some(target) = record.targets.first().filter(|_| !run.images.is_empty()) {
        println!(
            "restore image:  packhold archive restore {} --target {} --image deps --as NAME:TAG   (or --image ID)",
            record.id, target.target
        );
    }
}

fn verify(common: &Common, repair_from: Option<&Path>) -> Result<u8, CliError> {
    let path = context::archive_path(common);
    let bar = if std::io::stderr().is_terminal() && common.format == OutputFormat::Auto {
        let style = ProgressStyle::with_template("{bar:30} {binary_bytes}/{binary_total_bytes} {eta}");
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    } else {
        ProgressBar::hidden()
    };
    let progress = |progress: VerifyProgress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let Repaired { repaired, report } = match repair_from {
        Some(other) => crate::archive::repair(&path, other, progress)?,
        None => Repaired { repaired: Vec::new(), report: crate::archive::verify(&path, progress)? },
    };
    bar.finish_and_clear();
    if common.format == OutputFormat::Json {
        match repair_from {
            Some(_) => json(&Repaired { repaired, report: report.clone() }),
            None => json(&report),
        }
    } else {
        for repaired in &repaired {
            println!("repaired: {repaired}");
        }
        for problem in &report.problems {
            println!("damaged: {}", problem.message);
            let runs: Vec<String> = problem.runs.iter().map(ToString::to_string).collect();
            if !runs.is_empty() {
                println!("  touches the runs {}", runs.join(", "));
            }
        }
        for stray in &report.strays {
            println!("stray: {stray} does not belong to the archive, and touches no run");
        }
        println!(
            "{}: {} runs, {} images, {} blobs, {} checked{}",
            if report.is_sound() { "sound" } else { "damaged" },
            report.runs,
            report.images,
            report.blobs,
            report::bytes(report.bytes),
            match report.unreferenced_blobs {
                0 => String::new(),
                n => format!("; {n} blobs ({}) belong to no run", report::bytes(report.unreferenced_bytes)),
            }
        );
    }
    Ok(if report.is_sound() { 0 } else { 3 })
}

fn prune(common: &Common, arguments: &PruneArguments) -> Result<u8, CliError> {
    let archive = context::existing_archive(common)?;
    let policy = KeepPolicy {
        all: arguments.keep_all,
        last: arguments.keep_last,
        within: arguments.keep_within,
        releases: arguments.keep_releases,
    };
    let now = jiff::Timestamp::now();
    let as_json = common.format == OutputFormat::Json;
    let plan = if arguments.dry_run {
        let plan = archive.plan_prune(&policy, now)?;
        if as_json {
            json(&plan);
        }
        plan
    } else {
        let pruned = archive.prune(&policy, now)?;
        if as_json {
            json(&pruned);
        }
        pruned.plan
    };
    if !as_json {
        print_prune(&plan, arguments.dry_run);
    }
    Ok(0)
}

fn print_prune(plan: &PrunePlan, dry_run: bool) {
    for pruned in &plan.runs {
        let run = &pruned.run;
        match pruned.kept {
            Some(why) => println!("keep    {}  {} {}  ({why})", run.id, run.package, run.version),
            None => {
                let bytes = report::bytes(pruned.bytes);
                println!("remove  {}  {} {}  frees {bytes}", run.id, run.package, run.version);
            }
        }
    }
    let removed = plan.runs.iter().filter(|run| run.kept.is_none()).count();
    println!(
        "{} {removed} of {} runs, {} images, {} blobs: {} ({} of it belong to no run)",
        if dry_run { "would remove" } else { "removed" },
        plan.runs.len(),
        plan.images.len(),
        plan.blobs,
        report::bytes(plan.bytes),
        report::bytes(plan.unreferenced_bytes)
    );
    if plan.silent_writers > 0 {
        println!(
            "a writer of an earlier version is at work: no blob goes before it has ended; prune again then"
        );
    } else if plan.held > 0 {
        println!("{} blobs stay because a run that is going on needs them", plan.held);
    }
}
