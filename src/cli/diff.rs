use clap::Args;

use super::archive::json;
use super::args::{Common, OutputFormat};
use super::context;
use super::error::CliError;
use crate::report;

#[derive(Args, Debug)]
pub(super) struct DiffArguments {
    /// The one run: its id, the beginning of one, or `latest`
    #[arg(value_name = "RUN")]
    pub old: String,
    /// The other
    #[arg(value_name = "RUN")]
    pub new: String,
}

/// `packhold diff`
pub(super) fn diff(common: &Common, arguments: &DiffArguments) -> Result<u8, CliError> {
    let archive = context::existing_archive(common)?;
    let diff = crate::run::diff(&archive, &context::folders(), &arguments.old, &arguments.new)?;
    match common.format {
        OutputFormat::Json => json(&diff),
        _ => print!("{}", report::diff(&diff)),
    }
    Ok(0)
}
