use super::args::{Common, DoctorArguments};
use super::context;
use super::error::CliError;
use crate::config::Builders;
use crate::run::{Health, Signing, examine};
use crate::support::Hint;

/// `packhold doctor`
pub(super) async fn doctor(common: &Common, arguments: DoctorArguments) -> Result<u8, CliError> {
    let engine =
        context::engine(arguments.engine.engine).await.map_err(|error| format!("{error}; {}", error.hint()));
    let archive = context::archive(common)?;
    let signing = Signing { keys: arguments.keys.sources()?, path: context::program_folders() };
    let (builders, folders, own) = (Builders::shipped(), context::folders(), context::engine_folder());
    let findings = examine(engine, &archive, &builders, &folders, &own, signing).await?;
    let mut code = 0;
    for finding in findings {
        let mark = match finding.state {
            Health::Good => "ok",
            Health::Unknown => "--",
            Health::Bad => {
                code = 3;
                "BAD"
            }
        };
        println!("{mark:<4} {:<28} {}", finding.what, finding.detail);
    }
    Ok(code)
}
