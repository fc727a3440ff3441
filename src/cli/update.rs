use super::args::{Common, OutputFormat, UpdateArguments};
use super::error::CliError;
use super::{archive, context, output};
use crate::config::render_changes;
use crate::model::Outcome;

/// `packhold update`
pub(super) async fn update(common: &Common, arguments: UpdateArguments) -> Result<u8, CliError> {
    let cancel = context::cancelled_by_signals();
    let (request, partly) = context::update_request(common, arguments).await?;
    let (send, shown) = output::show(common.format, &cancel, None);
    let result = crate::run::update(request, partly, send, cancel).await;
    let _ = shown.await;
    let updated = result?;
    if common.format == OutputFormat::Json {
        archive::json(&updated);
        return Ok(Outcome::of_all(updated.failed.values()).exit_code());
    }
    println!();
    for (who, outcome) in &updated.failed {
        println!("{who}: {}", outcome.message().unwrap_or_default());
        outcome.hint().iter().for_each(|hint| println!("  hint: {hint}"));
    }
    print!("{}", render_changes(&updated.images));
    let lock = &updated.lock;
    match (updated.failed.is_empty(), updated.changed) {
        (false, _) => println!("{lock} was left as it was"),
        (true, true) => println!("{lock} is written; build in it with `packhold run --locked`"),
        (true, false) => println!("nothing has changed: {lock} is as it was"),
    }
    Ok(Outcome::of_all(updated.failed.values()).exit_code())
}
