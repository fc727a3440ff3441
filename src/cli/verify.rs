use super::args::{Common, OutputFormat, VerifyArguments};
use super::error::CliError;
use super::{context, output};
use crate::report;
use crate::run::tails;

/// `packhold verify`
pub(super) async fn verify(common: &Common, arguments: VerifyArguments) -> Result<u8, CliError> {
    let cancel = context::cancelled_by_signals();
    let request = context::verify_request(common, arguments).await?;
    let logs = request.folders.runs();
    let (send, shown) = output::show(common.format, &cancel, None);
    let result = crate::run::verify_files(request, send, cancel).await;
    let _ = shown.await;
    let (run, record) = result?;
    if common.format != OutputFormat::Json {
        let tails = tails(record.stages.iter(), &logs.join(run.as_str()));
        println!("\n{}", report::verified(&record, &tails).trim());
    }
    Ok(record.outcome.exit_code())
}
