use super::args::{Common, OutputFormat, ReleaseArguments, RunArguments};
use super::ci::Told;
use super::error::CliError;
use super::run::execute;
use super::{context, publish};
use crate::publish::Channel;
use crate::run::{PublishRequest, guard, released, tag, untag};

/// `packhold release`: each step finds what an earlier try has done, and goes on from there.
pub(super) async fn release(common: &Common, arguments: ReleaseArguments) -> Result<u8, CliError> {
    let ReleaseArguments { tag: name, pipeline, commit, source, tag_keyring, channel, .. } = arguments;
    let to = arguments.destination;
    let is_json = common.format == OutputFormat::Json;
    let channel = Channel::new(&channel)?;
    // Before hours of work for nothing.
    let keys = publish::keys(&to.signing)?;
    let destination = publish::destination(&to.repository)?;
    let run = RunArguments {
        pipeline,
        commit: "HEAD".to_owned(),
        targets: Vec::new(),
        source,
        engine: to.engine,
        jobs: arguments.jobs,
        rebuild: true,
        check_reproducible: false,
        keep_build_path: false,
        locked: arguments.locked,
        no_systemd: arguments.no_systemd,
        receipt_key: arguments.receipt_key,
        told: Told::default(),
        userland: to.userland.clone(),
    };
    let mut request = context::request(common, run).await?;
    let found = tag(&mut request, &name, commit.as_deref(), tag_keyring.as_deref())?;
    if !is_json {
        let made = if found.made { "made on" } else { "is on" };
        let signed = found.signed_by.as_ref().map(|key| format!(", signed by {key}")).unwrap_or_default();
        println!("{name} {made} {:.12}{signed}", found.commit);
    }
    let allowed = to.allow_downgrade.iter().cloned().collect();
    let (archive, builders) = (request.archive.clone(), request.builders.clone());
    let id = match released(&archive, &request.pipeline, &found)? {
        Some(id) => {
            if !is_json {
                println!("built, verified and archived by run {id}");
            }
            id
        }
        None => {
            let cancel = context::cancelled_by_signals();
            if let Err(error) = guard(&request, &found, &destination, &channel, &allowed, cancel).await {
                untag(&request, &found)?;
                return Err(error.into());
            }
            let cancel = context::cancelled_by_signals();
            let record = execute(common, request, cancel, &arguments.told).await?;
            match record.outcome.exit_code() {
                0 => record.id,
                code => return Ok(code),
            }
        }
    };
    let asked = PublishRequest {
        archive,
        run: id.to_string(),
        targets: Vec::new(),
        channel,
        from: None,
        to: destination,
        url: publish::address(to.url.as_deref()),
        keys,
        adopt: to.adopt,
        sign_adopted: to.sign_adopted,
        allowed,
        builders,
        folders: context::folders(),
    };
    let published = crate::run::publish(asked).await?;
    publish::finish(common, to, published).await
}
