use super::args::{Common, EngineArguments, EngineChoice};
use super::context;
use super::error::CliError;
use super::leftovers::{Asked, reap_everywhere};
use crate::run::sweep;
use crate::sandbox::{Reaped, reap};

/// `packhold clean`
pub(super) async fn clean(common: &Common, arguments: EngineArguments) -> Result<u8, CliError> {
    let asked = match arguments.engine {
        // A run of yesterday may have used another engine than one of today would.
        EngineChoice::Auto => reap_everywhere(None).await,
        choice => vec![("chosen", Asked::Reaped(reap(context::engine(choice).await?.as_ref()).await?))],
    };
    let mut all = Reaped::default();
    let mut code = 3;
    for (_, asked) in &asked {
        if let Asked::Reaped(reaped) = asked {
            all.containers += reaped.containers;
            all.snapshots += reaped.snapshots;
            code = 0;
        }
    }
    let swept = sweep(&context::folders(), &context::archive(common)?)?;
    println!(
        "removed {} containers, {} snapshots and {} temporary folders of dead runs",
        all.containers, all.snapshots, swept.folders
    );
    for (name, asked) in asked {
        match asked {
            Asked::Reaped(_) => {}
            Asked::NotHere(why) => println!("the {name} engine was not asked: {why}"),
            Asked::Failed(why) => println!("the {name} engine could not be asked: {why}"),
        }
    }
    Ok(code)
}
