use serde_json::json;

use super::args::{Common, ImportArguments, OutputFormat};
use super::error::CliError;
use super::publish;
use crate::publish::{Channel, ImportOptions};
use crate::run::{ImportRequest, ImportedRepository};
use crate::support::terminal_text::neutralise;

/// `packhold import`
pub(super) async fn import(common: &Common, arguments: ImportArguments) -> Result<u8, CliError> {
    let to = arguments.repository;
    let request = ImportRequest {
        from: arguments.from,
        options: ImportOptions {
            suite: arguments.suite,
            distro: arguments.distro,
            architectures: arguments.architectures,
        },
        channel: Channel::new(&arguments.channel)?,
        to: publish::destination(&to)?,
        url: publish::address(arguments.url.as_deref()),
        keys: publish::keys(&arguments.signing)?,
        adopt: arguments.adopt,
    };
    let ImportedRepository { packages, published, warnings } = crate::run::import(request).await?;
    if common.format == OutputFormat::Json {
        super::archive::json(&json!({
            "packages": packages, "added": published.added, "indexes": published.indexes, "warnings": warnings,
        }));
        return Ok(0);
    }
    warnings.iter().for_each(|warning| println!("warning: {}", neutralise(warning.as_bytes())));
    for index in &published.indexes {
        println!("{}{index} has the packages", publish::folder(&to.to));
    }
    published.added.iter().for_each(|key| println!("  + {}", neutralise(key.as_bytes())));
    println!("{packages} packages: {} are new, all are there", published.added.len());
    Ok(0)
}
