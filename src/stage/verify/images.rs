//! The images that scenarios start from, each made once and found again by what it is made of.

use super::package::Facts;
use super::session::{PACKAGES, Session};
use super::{Bench, Done, Halt};
use crate::config::Builder;
use crate::model::{Check, Digest, FailReason, ImageRecord, ImageRole, Outcome, Scenario};
use crate::plan::{init_key, lint_key, provided_key};
use crate::stage::image_store::{Wanted, derive, ensure_loaded, look_up};
use crate::stage::userland::scripted;
use crate::stage::{Recorder, StageResult};

/// How often an image is tried when the mirror cannot be reached.
const TRIES: u32 = 2;

/// The base image with everything that the packages need of others, and nothing of themselves.
pub(super) async fn provided(
    bench: &Bench<'_>,
    recorder: &mut Recorder,
    checks: &mut Vec<Check>,
    builder: &Builder,
    from: &ImageRecord,
    facts: &Facts,
    scenario: Scenario,
) -> Done<Digest> {
    let shop = bench.shop;
    let wanted =
        Wanted { builder, role: ImageRole::Verify, key: provided_key(builder, from.id, &facts.needs) };
    let _held = shop.images.lock(wanted.key).await;
    if let Some(record) = look_up(shop, recorder, wanted).await? {
        ensure_loaded(shop, recorder, wanted, &record).await?;
        return Ok(record.id);
    }
    let from_wanted = Wanted { builder, role: from.role, key: from.key };
    ensure_loaded(shop, recorder, from_wanted, from).await?;
    let mut tries = 1;
    loop {
        let mut own = Vec::new();
        let told = &mut own;
        let made = derive(shop, recorder, wanted, from, |recorder, sandbox| async move {
            let mut session = Session { bench, builder, recorder, sandbox, checks: told };
            let result = session.provide(facts, scenario).await;
            (session.recorder, result)
        })
        .await;
        match made {
            Err(Outcome::Infra { reason: crate::model::InfraReason::MirrorUnreachable, .. })
                if tries < TRIES =>
            {
                tries += 1;
                recorder.write_line("packhold: the mirror cannot be reached; trying once more")?;
            }
            Err(outcome) if own.iter().any(Check::fails) => {
                checks.append(&mut own);
                return Err(if matches!(outcome, Outcome::Infra { .. }) {
                    Halt::Stage(outcome)
                } else {
                    Halt::Told
                });
            }
            Err(outcome) => return Err(Halt::Stage(outcome)),
            Ok(record) => {
                ensure_loaded(shop, recorder, wanted, &record).await?;
                return Ok(record.id);
            }
        }
    }
}

impl Session<'_> {
    async fn provide(&mut self, facts: &Facts, scenario: Scenario) -> StageResult<()> {
        let told = |halt: Halt, session: &Self| match halt {
            Halt::Stage(outcome) => outcome,
            Halt::Told => session.checks.last().map_or(Outcome::Passed, |check| check.outcome.clone()),
        };
        self.put().await.map_err(|halt| told(halt, self))?;
        for (packages, title) in [
            (&facts.new, "install what the packages need"),
            (&facts.old, "install what the release before needs"),
        ] {
            if packages.is_empty() {
                continue;
            }
            let paths = Session::paths(packages);
            let done = self.change(scenario, "provide", title, &paths, FailReason::InstallFailed).await;
            done.map_err(|halt| told(halt, self))?;
        }
        let tidy = self.command(&["rm", "-rf", PACKAGES]);
        let watch = crate::stage::environment::watch(self.bench.limits());
        self.recorder.must(&self.sandbox, "tidy up", &tidy, &watch).await
    }
}

/// The base image with the distro's init system; `None` where the builder has no script for it.
pub(super) async fn with_init(
    bench: &Bench<'_>,
    recorder: &mut Recorder,
    builder: &Builder,
    base: &ImageRecord,
) -> StageResult<Option<ImageRecord>> {
    if !builder.has("init.sh") {
        return Ok(None);
    }
    let key = init_key(builder, base.id);
    let title = "install the init system";
    made_of_base(bench, recorder, builder, base, key, "init.sh", &[], title).await.map(Some)
}

/// The base image with the distro's lint; `None` where the builder has no script for it.
pub(super) async fn with_lint(
    bench: &Bench<'_>,
    recorder: &mut Recorder,
    builder: &Builder,
    base: &ImageRecord,
) -> StageResult<Option<ImageRecord>> {
    if !builder.has("lint.sh") {
        return Ok(None);
    }
    let key = lint_key(builder, base.id);
    let title = "install the distro's lint";
    made_of_base(bench, recorder, builder, base, key, "lint.sh", &["prepare"], title).await.map(Some)
}

#[expect(clippy::too_many_arguments, reason = "two callers, and every one of them says something else")]
async fn made_of_base(
    bench: &Bench<'_>,
    recorder: &mut Recorder,
    builder: &Builder,
    base: &ImageRecord,
    key: Digest,
    name: &str,
    arguments: &[&str],
    title: &str,
) -> StageResult<ImageRecord> {
    let wanted = Wanted { builder, role: ImageRole::Verify, key };
    let from = Wanted { builder, role: ImageRole::Base, key: base.key };
    let record = scripted(bench.shop, recorder, wanted, from, base, name, arguments, title).await?;
    ensure_loaded(bench.shop, recorder, wanted, &record).await?;
    Ok(record)
}
