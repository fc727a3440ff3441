use super::args::{Common, RunArguments};
use super::context;
use super::error::CliError;
use crate::run::preview;

/// `packhold plan`
pub(super) async fn plan(common: &Common, arguments: RunArguments) -> Result<u8, CliError> {
    let cancel = context::cancelled_by_signals();
    let request = context::request(common, arguments).await?;
    let name = request.pipeline.name.clone();
    let prepare = request.pipeline.prepare.is_some();
    let preview = preview(request, cancel).await?;
    let source = &preview.source;
    println!("{name} {} ({:.12}) from {}", source.version.describe, source.commit, source.repository);
    if source.dirty {
        println!("warning: the working directory has changes, which will not be built");
    }
    if prepare {
        println!("shared prepare stage: runs if a target has to be built");
    }
    for shortcoming in &preview.shortcomings {
        println!("this engine: {}", shortcoming.why);
    }
    if !preview.without_init.is_empty() {
        let names: Vec<String> = preview.without_init.iter().map(ToString::to_string).collect();
        println!("services are not verified, for no systemd can run there: {}", names.join(", "));
    }
    let mut code = 0;
    for target in &preview.targets {
        println!("\n{}  {}  {}", target.target, target.version, target.platform);
        match &target.steps {
            Ok(foreseen) => {
                for (what, runs, why) in &foreseen.lines {
                    println!("  {:<6} {what:<14} {why}", if *runs { "run" } else { "reuse" });
                }
            }
            Err((message, hint)) => {
                println!("  broken: {message}\n  hint: {hint}");
                code = 2;
            }
        }
    }
    Ok(code)
}
