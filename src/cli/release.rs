use super::args::{Common, OutputFormat, ReleaseArguments, RunArguments};
use super::error::CliError;
use super::tails::tails;
use super::{context, output, publish};
use crate::model::RunId;
use crate::publish::Channel;
use crate::report;
use crate::run::{PublishRequest, Request, guard, released, tag, untag};

/// `packhold release`: each step finds what an earlier try has done, and goes on from there.
pub(super) async fn release(common: &Common, arguments: ReleaseArguments) -> Result<u8, CliError> {
    let ReleaseArguments { tag: name, pipeline, commit, source, tag_keyring, channel, .. } = arguments;
    let to = arguments.destination;
    let is_json = common.format == OutputFormat::Json;
    let channel = Channel::new(&channel)?;
    // Before hours of work for nothing.
    let keys = publish::keys(&to.signing)?;
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
            if let Err(error) = guard(&request, &found, to.to.clone(), &channel, &allowed, cancel).await {
                untag(&request, &found)?;
                return Err(error.into());
            }
            match build(common, request).await? {
                Ok(id) => id,
                Err(code) => return Ok(code),
            }
        }
    };
    let asked = PublishRequest {
        archive,
        run: id.to_string(),
        targets: Vec::new(),
        channel,
        from: None,
        folder: to.to.clone(),
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

/// A clean build of every target: the id of the run, or the exit code if a target failed.
async fn build(common: &Common, request: Request) -> Result<Result<RunId, u8>, CliError> {
    let logs = request.folders.runs();
    let (send, shown) = output::show(common.format);
    let result = crate::run::execute(request, send, context::cancelled_by_signals()).await;
    let _ = shown.await;
    let record = result?;
    if common.format != OutputFormat::Json {
        let stages = record.shared.iter().chain(record.targets.iter().flat_map(|target| &target.stages));
        let tails = tails(stages, &logs.join(record.id.as_str()));
        println!("\n{}\n", report::summary(&record, &tails).trim_end());
    }
    Ok(match record.outcome.exit_code() {
        0 => Ok(record.id),
        code => Err(code),
    })
}
