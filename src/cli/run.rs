use super::args::{Common, OutputFormat, RunArguments};
use super::error::CliError;
use super::tails::tails;
use super::{context, output};
use crate::model::Outcome;
use crate::report;

/// `packhold run`
pub(super) async fn run(common: &Common, arguments: RunArguments) -> Result<u8, CliError> {
    let cancel = context::cancelled_by_signals();
    let request = context::request(common, arguments).await?;
    let (logs, archive) = (request.folders.runs(), request.archive.path().display().to_string());
    let (send, shown) = output::show(common.format);
    let result = crate::run::execute(request, send, cancel).await;
    let _ = shown.await;
    let record = result?;
    if common.format != OutputFormat::Json {
        let stages = record.shared.iter().chain(record.targets.iter().flat_map(|target| &target.stages));
        let tails = tails(stages, &logs.join(record.id.as_str()));
        println!("\n{}", report::summary(&record, &tails).trim_end());
        if !matches!(record.outcome, Outcome::Infra { .. }) {
            println!("{}", report::archived_hint(&record, &archive));
        }
    }
    Ok(record.outcome.exit_code())
}
