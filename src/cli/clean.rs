use super::args::{Common, EngineArguments};
use super::context;
use super::error::CliError;
use crate::run::sweep;
use crate::sandbox::reap;

/// `packhold clean`
pub(super) async fn clean(common: &Common, arguments: EngineArguments) -> Result<u8, CliError> {
    let engine = context::engine(arguments.engine).await?;
    let reaped = reap(engine.as_ref()).await?;
    let swept = sweep(&context::folders(), &context::archive(common)?)?;
    println!("removed {} containers and {} temporary folders of dead runs", reaped.containers, swept.folders);
    Ok(0)
}
