//! Telling others that a run is over: webhooks, programs, commit statuses.
//!
//! Whom to tell is in a file of whoever runs Packhold ([`NotifyFile`]), never in a pipeline, which comes from a repository. Secrets are read
//! from files before the run begins and are in no message, log or error. A message that does not arrive is a warning: what became of the
//! packages does not depend on it.
//!
//! # The message
//!
//! ```json
//! {"type": "run.finished", "timestamp": "2026-11-28T09:00:00Z", "data": {"run": "…", "package": "…", "version": "v1.2.0",
//!  "commit": "…", "repository": "…", "summary": "failed(build, oom)", "outcome": {"state": "failed", …}, "duration_ms": 1,
//!  "targets": [{"target": "debian-12/deb", "version": "1.2.0-1", "summary": "…", "outcome": {…}, "artifacts": [{"name", "digest", "size"}]}]}}
//! ```
//!
//! Its texts are of builds and packages: whoever shows them must take them for hostile.

mod command;
mod error;
mod message;
mod secret;
mod status;
mod webhook;

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use reqwest::Client;

pub use error::NotifyError;
pub use message::Message;
pub use secret::Secret;

use crate::config::{CommitStatus, NotifyCommand, NotifyFile, Webhook};
use crate::model::RunRecord;
use crate::registry::install_tls;

/// How long to try.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one attempt.
    pub attempt: Duration,
    /// How often an address is tried.
    pub attempts: u32,
    /// The pause after the first attempt; each further one is twice as long.
    pub pause: Duration,
    /// For all of it.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(10),
            attempts: 4,
            pause: Duration::from_secs(1),
            whole: Duration::from_secs(30),
        }
    }
}

/// Everybody who is told, with the secrets.
#[derive(Debug)]
pub struct Notifier {
    webhooks: Vec<(Webhook, Secret)>,
    commands: Vec<NotifyCommand>,
    statuses: Vec<(CommitStatus, Secret)>,
    client: Client,
    patience: Patience,
}

impl Notifier {
    /// Reads the secrets.
    pub fn open(file: NotifyFile, patience: Patience) -> Result<Self, NotifyError> {
        install_tls();
        let client = Client::builder()
            .timeout(patience.attempt)
            // Where else it leads is not what was configured.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("packhold/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(NotifyError::Client)?;
        let webhook = |hook: Webhook| -> Result<_, NotifyError> {
            let secret = Secret::of_webhook(&hook.secret_file)?;
            Ok((hook, secret))
        };
        let status = |status: CommitStatus| -> Result<_, NotifyError> {
            let token = Secret::token(&status.token_file)?;
            Ok((status, token))
        };
        Ok(Self {
            webhooks: file.webhooks.into_iter().map(webhook).collect::<Result<_, _>>()?,
            statuses: file.statuses.into_iter().map(status).collect::<Result<_, _>>()?,
            commands: file.commands,
            client,
            patience,
        })
    }

    /// Tells everybody who wants to know of such an outcome, side by side. Gives a warning for each message that did not arrive.
    pub async fn tell(&self, record: &RunRecord, now: Timestamp) -> Vec<String> {
        let message = Message::of(record, now);
        let wants = |on: &[String]| on.is_empty() || on.contains(&message.state);
        let hooks = self.webhooks.iter().filter(|(hook, _)| wants(&hook.on));
        let hooks =
            join_all(hooks.map(|(hook, secret)| self.within(webhook::send(self, hook, secret, &message))));
        let commands = self.commands.iter().filter(|command| wants(&command.on));
        let commands = join_all(commands.map(|command| command::run(command, &message, self.patience.whole)));
        let statuses = self.statuses.iter();
        let statuses =
            join_all(statuses.map(|(status, token)| self.within(status::send(self, status, token, record))));
        let (hooks, commands, statuses) = tokio::join!(hooks, commands, statuses);
        let named =
            |what: String, result: Result<(), String>| result.err().map(|why| format!("{what}: {why}"));
        let hooks = self.webhooks.iter().filter(|(hook, _)| wants(&hook.on)).zip(hooks);
        let hooks =
            hooks.filter_map(|((hook, _), result)| named(format!("webhook {}", host(&hook.url)), result));
        let commands = self.commands.iter().filter(|command| wants(&command.on)).zip(commands);
        let commands =
            commands.filter_map(|(command, result)| named(format!("command {}", command.run[0]), result));
        let statuses = self.statuses.iter().zip(statuses);
        let statuses = statuses.filter_map(|((status, _), result)| {
            named(format!("commit status at {}", host(&status.api)), result)
        });
        hooks.chain(commands).chain(statuses).collect()
    }

    async fn within(&self, work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
        match tokio::time::timeout(self.patience.whole, work).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {}", humantime::format_duration(self.patience.whole))),
        }
    }

    /// Sends a request until somebody takes it. What is refused is not tried again, but for what a server says of itself.
    async fn post(&self, request: impl Fn(&Client) -> reqwest::RequestBuilder) -> Result<(), String> {
        let mut pause = self.patience.pause;
        let mut attempt = 1;
        loop {
            let why = match request(&self.client).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => {
                    let status = answer.status();
                    // RFC 9110, 15.5.9 and 15.6; RFC 6585, 4
                    let again = status.is_server_error() || [408, 429].contains(&status.as_u16());
                    let why = format!("it answers {status}");
                    if !again {
                        return Err(why);
                    }
                    why
                }
                Err(error) => because(&error.without_url()),
            };
            if attempt == self.patience.attempts {
                return Err(format!("{why}; it was tried {attempt} times"));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            attempt += 1;
        }
    }
}

/// An error with its causes.
fn because(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// What a warning says of an address: its path may be as good as a secret.
fn host(url: &reqwest::Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}
