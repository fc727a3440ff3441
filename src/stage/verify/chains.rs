//! Which scenarios share a container, and how many containers run at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::package::Facts;
use super::service::service;
use super::upgrade::upgrade;
use super::{Bench, Done, Halt, images, lifecycle, lint, others};
use crate::config::Builder;
use crate::engine::Capability;
use crate::model::{Check, Digest, Outcome, Scenario};
use crate::stage::{Recorder, infrastructure};

/// Scenarios that share a container.
#[derive(Clone)]
enum Chain {
    /// From installation to purge.
    Lifecycle,
    /// Under an init system.
    Service,
    /// From the release before.
    Upgrade,
    /// Without documentation.
    NoDocs,
    /// On another builder.
    Image(Arc<Builder>),
    /// The distro's lint.
    Lint,
}

impl Chain {
    /// A word for its log.
    fn name(&self) -> String {
        match self {
            Self::Lifecycle => "lifecycle".to_owned(),
            Self::Service => "service".to_owned(),
            Self::Upgrade => "upgrade".to_owned(),
            Self::NoDocs => "no-docs".to_owned(),
            Self::Image(builder) => builder.name.clone(),
            Self::Lint => "lint".to_owned(),
        }
    }
}

/// What one chain left.
struct Ended {
    recorder: Recorder,
    checks: Vec<Check>,
    done: Done,
}

/// Runs every chain that is asked for. Where one ends early, the others go on: each tells its own part.
pub(super) async fn run(
    bench: &Bench<'_>,
    facts: &Facts,
    recorder: &mut Recorder,
    permits: &Semaphore,
    checks: &mut Vec<Check>,
) -> Done {
    let request = bench.request;
    let chains = wanted(bench);
    let needs_base =
        |chain: &Chain| matches!(chain, Chain::Lifecycle | Chain::NoDocs | Chain::Upgrade | Chain::Service);
    // What cannot be installed at all is told once, and nothing else is tried.
    let mut image = request.base.id;
    if chains.iter().any(needs_base) {
        let scenario = Scenario::Install;
        image =
            images::provided(bench, recorder, checks, request.builder, request.base, facts, scenario).await?;
    }

    let count = chains.len();
    let queue: Mutex<VecDeque<(usize, Chain, Recorder)>> = Mutex::new(
        chains
            .into_iter()
            .enumerate()
            .map(|(at, chain)| {
                let branch = recorder.branch(&chain.name());
                (at, chain, branch)
            })
            .collect(),
    );
    let ended: Mutex<Vec<Option<Ended>>> = Mutex::new((0..count).map(|_| None).collect());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = async || {
        while let Some((at, chain, mut recorder)) = next() {
            let mut checks = Vec::new();
            let done = run_one(bench, facts, image, &chain, &mut recorder, &mut checks).await;
            ended.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(Ended { recorder, checks, done });
        }
    };
    // The target's own permit is for the first worker; the others wait until permits are free or nothing is left to do.
    let nothing_left = tokio_util::sync::CancellationToken::new();
    let own = async {
        work().await;
        nothing_left.cancel();
    };
    let helpers = (1..count).map(|_| async {
        let permit = tokio::select! {
            permit = permits.acquire() => permit,
            () = nothing_left.cancelled() => return,
        };
        work().await;
        drop(permit);
    });
    tokio::join!(own, futures_util::future::join_all(helpers));

    let mut result = Ok(());
    for ended in ended.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten() {
        recorder.join(ended.recorder).await?;
        checks.extend(ended.checks);
        // What ended the stage outweighs what a check says.
        if let Err(halt) = ended.done
            && !matches!(result, Err(Halt::Stage(_)))
        {
            result = Err(halt);
        }
    }
    result
}

/// The chains that the pipeline asks for.
fn wanted(bench: &Bench<'_>) -> Vec<Chain> {
    let scenarios = &bench.request.section.scenarios;
    let any = |wanted: &[Scenario]| wanted.iter().any(|scenario| scenarios.contains(scenario));
    let mut chains = Vec::new();
    use Scenario as S;
    if any(&[S::Install, S::Integrity, S::Smoke, S::Reinstall, S::Remove, S::Purge]) {
        chains.push(Chain::Lifecycle);
    }
    // Those that wait for a service come early: they take longest and need the processor least.
    if any(&[S::Service]) {
        chains.push(Chain::Service);
    }
    if any(&[S::Upgrade, S::Rollback]) {
        chains.push(Chain::Upgrade);
    }
    if any(&[S::NoDocs]) {
        chains.push(Chain::NoDocs);
    }
    if any(&[S::Image]) {
        chains.extend(bench.request.others.iter().cloned().map(Chain::Image));
    }
    if any(&[S::Lint]) {
        chains.push(Chain::Lint);
    }
    chains
}

async fn run_one(
    bench: &Bench<'_>,
    facts: &Facts,
    image: Digest,
    chain: &Chain,
    recorder: &mut Recorder,
    checks: &mut Vec<Check>,
) -> Done {
    match chain {
        Chain::Lifecycle => lifecycle::lifecycle(bench, facts, image, recorder, checks).await,
        Chain::NoDocs => others::without_docs(bench, facts, image, recorder, checks).await,
        Chain::Image(builder) => others::on_another(bench, facts, builder, recorder, checks).await,
        Chain::Lint => lint::lint(bench, facts, recorder, checks).await,
        Chain::Service => match init_image(bench, facts, recorder, checks, Scenario::Service).await? {
            Init::Image(image) => service(bench, facts, image, recorder, checks).await,
            Init::Skipped(why) => {
                skip(checks, Scenario::Service, "services", why);
                Ok(())
            }
            Init::NoUnits => {
                skip(checks, Scenario::Service, "services", "the packages have no systemd units".to_owned());
                Ok(())
            }
        },
        Chain::Upgrade => {
            if facts.old.is_empty() {
                let why = match bench.request.previous {
                    Some(previous) => format!("{} has none of these packages", previous.what),
                    None => "no earlier release of this target is archived".to_owned(),
                };
                skip(checks, Scenario::Upgrade, "upgrade from the release before", why);
                return Ok(());
            }
            let (image, with_init) =
                match init_image(bench, facts, recorder, checks, Scenario::Upgrade).await? {
                    Init::Image(image) => (image, true),
                    Init::NoUnits => (image, false),
                    Init::Skipped(why) => {
                        skip(checks, Scenario::Upgrade, "services run the new program", why);
                        (image, false)
                    }
                };
            upgrade(bench, facts, image, with_init, recorder, checks).await
        }
    }
}

fn skip(checks: &mut Vec<Check>, scenario: Scenario, check: &str, why: String) {
    checks.push(Check::new(scenario, check, Outcome::Skipped { why }));
}

/// Where units can be tried.
enum Init {
    Image(Digest),
    /// The packages have none.
    NoUnits,
    /// Nowhere here, for the reason that is given.
    Skipped(String),
}

async fn init_image(
    bench: &Bench<'_>,
    facts: &Facts,
    recorder: &mut Recorder,
    checks: &mut Vec<Check>,
    scenario: Scenario,
) -> Done<Init> {
    if !facts.contents.iter().any(|path| is_unit(path)) {
        return Ok(Init::NoUnits);
    }
    if !bench.shop.init {
        return Ok(Init::Skipped("systemd: running it is not allowed (--no-systemd)".to_owned()));
    }
    let stage = recorder.stage();
    let info = bench.shop.engine.info().await.map_err(|e| Halt::Stage(infrastructure(stage, &e)))?;
    if bench.request.builder.emulated {
        let why = "systemd: an init system does not run in an emulator".to_owned();
        return Ok(Init::Skipped(why));
    }
    if !info.init {
        let known = info.shortcomings.into_iter().find(|each| each.what == Capability::Init);
        let why = match known {
            Some(shortcoming) => shortcoming.why,
            None => format!("systemd: the {} engine cannot run an init system in a container", info.kind),
        };
        return Ok(Init::Skipped(why));
    }
    let (builder, base) = (bench.request.builder, bench.request.base);
    let Some(init) = images::with_init(bench, recorder, builder, base).await? else {
        return Ok(Init::Skipped(format!("systemd: builder `{}` has no init.sh", builder.name)));
    };
    images::provided(bench, recorder, checks, builder, &init, facts, scenario).await.map(Init::Image)
}

/// Whether a path is that of a unit of the system's manager (systemd.unit(5)).
fn is_unit(path: &str) -> bool {
    let folder = ["/lib/systemd/system/", "/usr/lib/systemd/system/", "/etc/systemd/system/"]
        .iter()
        .find_map(|folder| path.strip_prefix(folder));
    let kinds = [".service", ".socket", ".timer", ".path", ".mount", ".target"];
    folder.is_some_and(|name| !name.contains('/') && kinds.iter().any(|kind| name.ends_with(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_known_by_their_folder_and_suffix() {
        assert!(is_unit("/lib/systemd/system/a.service") && is_unit("/usr/lib/systemd/system/a@.service"));
        assert!(!is_unit("/usr/lib/systemd/system/a.service.d/x.conf") && !is_unit("/usr/bin/a.service"));
    }
}
