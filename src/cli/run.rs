use tokio_util::sync::CancellationToken;

use super::args::{Common, OutputFormat, RunArguments};
use super::ci::{Ci, Told};
use super::error::CliError;
use super::tails::tails;
use super::{context, notify, output, reports};
use crate::model::{Outcome, RunRecord};
use crate::report;
use crate::run::Request;

/// `packhold run`
pub(super) async fn run(common: &Common, mut arguments: RunArguments) -> Result<u8, CliError> {
    let cancel = context::cancelled_by_signals();
    let told = std::mem::take(&mut arguments.told);
    let request = context::request(common, arguments).await?;
    Ok(execute(common, request, cancel, &told).await?.outcome.exit_code())
}

/// Does what is asked for, and tells whoever wants to know: the user, the CI server, the files of reports.
pub(super) async fn execute(
    common: &Common,
    request: Request,
    cancel: CancellationToken,
    told: &Told,
) -> Result<RunRecord, CliError> {
    let ci = Ci::of(told.ci);
    let others = told.others.open(&request.file.folder, request.source.as_deref())?;
    let (logs, archive) = (request.folders.runs(), request.archive.clone());
    let quoted = ci.quote(common.format);
    let (send, shown) = output::show(common.format);
    let result = crate::run::execute(request, send, cancel).await;
    let _ = shown.await;
    let record = result?;
    let tails = tails(record.stages(), &logs.join(record.id.as_str()));
    if common.format != OutputFormat::Json {
        println!("\n{}", report::summary(&record, &tails).trim_end());
        if !matches!(record.outcome, Outcome::Infra { .. }) {
            println!("{}", report::archived_hint(&record, &archive.path().display().to_string()));
        }
    }
    drop(quoted);
    let views = reports::Views { record: &record, tails: &tails, pipeline: ci.pipeline(&record) };
    ci.tell(&views, common.format)?;
    reports::write(&views, &archive, &told.files.reports)?;
    notify::tell(others.as_ref(), &record).await;
    Ok(record)
}
