use super::args::{Common, EngineArguments};
use super::context;
use super::error::CliError;
use crate::config::Builders;
use crate::run::{Health, examine};
use crate::support::Hint;

/// `packhold doctor`
pub(super) async fn doctor(common: &Common, arguments: EngineArguments) -> Result<u8, CliError> {
    let engine =
        context::engine(arguments.engine).await.map_err(|error| format!("{error}; {}", error.hint()));
    let archive = context::archive(common)?;
    let findings =
        examine(engine, &archive, &Builders::shipped(), &context::folders(), &context::engine_folder())
            .await?;
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
