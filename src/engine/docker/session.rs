use std::pin::Pin;
use std::time::Duration;

use bollard::query_parameters::ResizeExecOptionsBuilder;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::AbortHandle;

use super::Docker;
use crate::engine::Session;

/// How often a size is told, and how long is waited in between: engines say that a command runs before it has its terminal.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Tasks that end when this is dropped.
pub(super) struct Passing(Vec<AbortHandle>);

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Docker {
    /// Passes the input and the size of the terminal on to a command that has begun.
    pub(super) fn pass_on(
        &self,
        exec: &str,
        session: Session,
        mut to: Pin<Box<dyn AsyncWrite + Send>>,
    ) -> Passing {
        let Session { mut input, terminal } = session;
        let mut tasks = vec![
            tokio::spawn(async move {
                // Whoever does not read it any more has ended, which the engine tells.
                let _ = tokio::io::copy(&mut input, &mut to).await;
                let _ = to.shutdown().await;
            })
            .abort_handle(),
        ];
        if let Some(mut size) = terminal {
            let (engine, exec) = (self.quick.clone(), exec.to_owned());
            let resize = async move {
                loop {
                    let now = *size.borrow_and_update();
                    let options =
                        ResizeExecOptionsBuilder::new().h(now.rows.into()).w(now.columns.into()).build();
                    // Before it has begun it has none yet, and when it has ended none any more.
                    for _ in 0..TRIES {
                        if engine.resize_exec(&exec, options.clone()).await.is_ok() {
                            break;
                        }
                        tokio::time::sleep(PAUSE).await;
                    }
                    if size.changed().await.is_err() {
                        break;
                    }
                }
            };
            tasks.push(tokio::spawn(resize).abort_handle());
        }
        Passing(tasks)
    }
}
