//! The same packages elsewhere: without documentation, and on further builders.

use super::package::Facts;
use super::session::{Session, Start, session};
use super::{Bench, Done, images};
use crate::config::Builder;
use crate::model::{Check, Digest, FailReason, Scenario};
use crate::sandbox::Privileges;
use crate::stage::Recorder;
use crate::stage::userland::base;

/// Installs the packages where documentation is left out.
pub(super) async fn without_docs<'a>(
    bench: &'a Bench<'a>,
    facts: &'a Facts,
    image: Digest,
    recorder: &'a mut Recorder,
    checks: &'a mut Vec<Check>,
) -> Done {
    let start = Start {
        builder: bench.request.builder,
        root: image.into(),
        privileges: Privileges::Offline,
        name: "no-docs",
    };
    session(bench, start, recorder, checks, async |session| {
        let paths = Session::paths(&facts.new);
        let title = "install the packages without documentation";
        let command = "install-without-docs";
        session.change(Scenario::NoDocs, command, title, &paths, FailReason::NeedsDocs).await?;
        session.smoke(Scenario::NoDocs).await?;
        Ok(())
    })
    .await
}

/// Installs the packages on another builder.
pub(super) async fn on_another<'a>(
    bench: &'a Bench<'a>,
    facts: &'a Facts,
    builder: &'a Builder,
    recorder: &'a mut Recorder,
    checks: &'a mut Vec<Check>,
) -> Done {
    let mut own = Vec::new();
    let done = async {
        let from = base(bench.shop, recorder, builder).await?;
        let facts_here = Facts { old: Vec::new(), ..facts.clone() };
        let scenario = Scenario::Image;
        let image =
            images::provided(bench, recorder, &mut own, builder, &from, &facts_here, scenario).await?;
        let start =
            Start { builder, root: image.into(), privileges: Privileges::Offline, name: &builder.name };
        session(bench, start, recorder, &mut own, async |session| {
            let paths = Session::paths(&facts_here.new);
            let title = "install the packages";
            session.change(scenario, "install", title, &paths, FailReason::InstallFailed).await?;
            session.installed(scenario, &facts_here.new).await?;
            session.smoke(scenario).await?;
            Ok(())
        })
        .await
    }
    .await;
    for check in &mut own {
        check.check = format!("{}: {}", builder.name, check.check);
    }
    checks.append(&mut own);
    done
}
