use std::ffi::OsStr;
use std::path::Path;

use serde_json::json;

use super::args::{Common, DestinationArguments, OutputFormat, PublishArguments, RepositoryArguments};
use super::error::CliError;
use super::signing_args::SigningArguments;
use super::{context, output, transfer};
use crate::model::{Outcome, TargetRecord};
use crate::publish::{Access, Channel, Location};
use crate::run::{
    CheckPublished, Destination, PublishRequest, PublishedRun, SigningKeys, check_published, tails,
};
use crate::sign::Passphrase;
use crate::support::terminal_text::neutralise;

/// `packhold publish`
pub(super) async fn publish(common: &Common, arguments: PublishArguments) -> Result<u8, CliError> {
    let channel = Channel::new(&arguments.channel)?;
    let to = arguments.destination;
    let keys = keys(&to.signing)?;
    let url = address(to.url.as_deref());
    if arguments.rollback {
        let indexes = crate::run::roll_back(&destination(&to.repository)?, url, &channel, &keys).await?;
        match common.format {
            OutputFormat::Json => super::archive::json(&json!({ "channel": channel, "indexes": indexes })),
            _ => indexes.iter().for_each(|index| println!("{index} is what it was before")),
        }
        return Ok(0);
    }
    let (builders, _) = context::userland(to.userland.clone())?;
    let request = PublishRequest {
        builders,
        archive: context::existing_archive(common)?,
        run: arguments.run.unwrap_or_else(|| "latest".to_owned()),
        targets: arguments.targets,
        channel,
        from: arguments.promote.as_deref().map(Channel::new).transpose()?,
        to: destination(&to.repository)?,
        url,
        keys,
        adopt: to.adopt,
        sign_adopted: to.sign_adopted,
        allowed: to.allow_downgrade.iter().cloned().collect(),
        folders: context::folders(),
    };
    let published = crate::run::publish(request).await?;
    finish(common, to, published).await
}

/// Shows what was published and tries it in fresh images.
pub(super) async fn finish(
    common: &Common,
    to: DestinationArguments,
    published: PublishedRun,
) -> Result<u8, CliError> {
    let PublishedRun { run, published, repositories, warnings } = published;
    let is_json = common.format == OutputFormat::Json;
    if !is_json {
        warnings.iter().for_each(|warning| println!("warning: {}", neutralise(warning.as_bytes())));
        for index in &published.indexes {
            println!("{}{index} has the packages of run {run}", folder(&to.repository.to));
        }
        if published.added.is_empty() {
            println!("everything was published already");
        }
        published.added.iter().for_each(|key| println!("  + {}", neutralise(key.as_bytes())));
    }
    let mut records = Vec::new();
    if !to.no_check {
        let (builders, base) = context::userland(to.userland)?;
        let request = CheckPublished {
            repositories,
            builders,
            engine: context::engine(to.engine.engine).await?,
            archive: context::existing_archive(common)?,
            base,
            folders: context::folders(),
        };
        let logs = request.folders.runs();
        let cancel = context::cancelled_by_signals();
        let (send, shown) = output::show(common.format, &cancel, None);
        let checked = check_published(request, send, cancel).await;
        let _ = shown.await;
        let (id, checked) = checked?;
        records = checked;
        if !is_json {
            told(&records, &logs.join(id.as_str()));
        }
    }
    if is_json {
        super::archive::json(&json!({
            "run": run, "added": published.added, "indexes": published.indexes, "warnings": warnings, "checked": records,
        }));
    }
    Ok(Outcome::of_all(records.iter().map(|record| &record.outcome)).exit_code())
}

fn told(records: &[TargetRecord], logs: &Path) {
    for record in records {
        match &record.outcome {
            Outcome::Passed => println!("{}: its packages install from the repository", record.target),
            Outcome::Skipped { why } => println!("{}: not tried: {why}", record.target),
            _ => {
                let tails = tails(record.stages.iter(), logs);
                println!("{}", crate::report::verified(record, &tails).trim());
            }
        }
    }
}

/// The keys that the command line names.
pub(super) fn keys(signing: &SigningArguments) -> Result<SigningKeys, CliError> {
    let sources = signing.keys.sources()?;
    if sources.is_empty() && !signing.unsigned {
        return Err(CliError::Usage {
            message: "nothing says what signs the repository".to_owned(),
            hint: "name a key with --key or --sign-command, or say --unsigned: whoever can change the place or the connection to it can then change \
                   what users install"
                .to_owned(),
        });
    }
    let passphrase = signing.passphrase_fd.map(Passphrase::from_descriptor).transpose()?;
    Ok(SigningKeys { sources, passphrase })
}

/// An address with a slash at its end.
pub(super) fn address(url: Option<&str>) -> Option<String> {
    url.map(|url| format!("{}/", url.trim_end_matches('/')))
}

/// Where the command line says that the repository is.
pub(super) fn destination(arguments: &RepositoryArguments) -> Result<Destination, CliError> {
    let access = Access {
        bucket: transfer::bucket_settings(&arguments.place)?,
        copies: context::folders().published(),
    };
    Ok(Destination { location: Location::of(&arguments.to)?, access })
}

/// What the keys of a place are shown below.
pub(super) fn folder(place: &OsStr) -> String {
    format!("{}/", place.to_string_lossy().trim_end_matches('/'))
}
