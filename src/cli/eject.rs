use super::args::{Common, EjectArguments, OutputFormat};
use super::error::CliError;
use super::{archive, context};
use crate::config::Builders;

/// `packhold eject`
pub(super) fn eject(common: &Common, arguments: &EjectArguments) -> Result<u8, CliError> {
    let builders = match &arguments.builders {
        Some(folder) => Builders::with_folder(folder)?,
        None => Builders::shipped(),
    };
    let (file, pipeline) = context::pipeline(arguments.pipeline.as_deref(), &builders)?;
    let ejected =
        crate::run::eject(&pipeline, &file, arguments.to.as_deref(), &context::folders().repositories())?;
    if common.format == OutputFormat::Json {
        archive::json(&ejected);
        return Ok(0);
    }
    println!("written to {}:", ejected.folder.display());
    ejected.written.iter().for_each(|path| println!("  {path}"));
    println!("Now edit {}, and commit all of it:", file.path.display());
    println!("  delete {}: of [package] its name stays", ejected.delete.join(", "));
    for (target, packaging) in &ejected.packaging {
        println!("  add packaging = \"{packaging}\" to [target.\"{target}\"]");
    }
    Ok(0)
}
