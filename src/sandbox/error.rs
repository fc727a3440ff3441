use crate::engine::EngineError;
use crate::support::Hint;

/// What a sandbox could not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The run was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// What a command printed could not be stored.
    #[error("cannot write the log")]
    Log(#[source] std::io::Error),
    /// A tar for the container could not be made.
    #[error("cannot make a tar for the container")]
    Tar(#[source] std::io::Error),
}

impl Hint for SandboxError {
    fn hint(&self) -> String {
        match self {
            Self::Engine(error) => error.hint(),
            Self::Interrupted => "run it again; what was finished is reused".to_owned(),
            Self::Log(_) => {
                "free space in the folder that holds the logs (see README, \"Where things are kept\")"
                    .to_owned()
            }
            Self::Tar(_) => "shorten the name of the file that is named above".to_owned(),
        }
    }
}
