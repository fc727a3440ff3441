use clap::Args;

use super::archive::json;
use super::args::{Common, OutputFormat};
use super::context;
use super::error::CliError;
use crate::model::TargetName;
use crate::report;
use crate::run::Asked;

#[derive(Args, Debug)]
pub(super) struct WhyArguments {
    /// A target, such as debian-12/deb, for its last run; or a run's id, the beginning of one, or `latest`
    #[arg(default_value = "latest", value_name = "TARGET|RUN")]
    pub what: String,
}

/// `packhold why`
pub(super) fn why(common: &Common, arguments: &WhyArguments) -> Result<u8, CliError> {
    let archive = context::existing_archive(common)?;
    // No run's id has a slash, and every target has one.
    let asked = match arguments.what.contains('/') {
        false => Asked::Run(arguments.what.clone()),
        true => Asked::Target(target(&arguments.what)?),
    };
    let why = crate::run::why(&archive, &context::folders(), &asked)?;
    match common.format {
        OutputFormat::Json => json(&why),
        _ => print!("{}", report::why(&why)),
    }
    Ok(0)
}

fn target(text: &str) -> Result<TargetName, CliError> {
    text.parse().map_err(|error| CliError::Usage {
        message: format!("{error}"),
        hint: "write a target as BUILDER/FORMAT, such as debian-12/deb, or a run as its id".to_owned(),
    })
}
