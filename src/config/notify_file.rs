use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::ConfigError;
use super::strict::{Document, nearest};
use crate::support::fs::PathContext;

/// Who is told when a run is over. It is a file of whoever runs Packhold, and no part of a pipeline: a pipeline is in the repository, where a
/// proposed change could send what happens, or a commit status, elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifyFile {
    /// Addresses that get a signed message.
    pub webhooks: Vec<Webhook>,
    /// Programs that get the message.
    pub commands: Vec<NotifyCommand>,
    /// Forges that show the outcome beside the commit.
    pub statuses: Vec<CommitStatus>,
}

/// An address that gets a message as Standard Webhooks (standardwebhooks.com) has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// `https`, or `http` on this machine.
    pub url: Url,
    /// The file with the secret that signs.
    pub secret_file: PathBuf,
    /// The outcomes that it is told; empty means all.
    pub on: Vec<String>,
}

/// A program that gets the message on its standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyCommand {
    /// It and its arguments.
    pub run: Vec<String>,
    /// The outcomes that it is told; empty means all.
    pub on: Vec<String>,
}

/// A commit's status at a forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitStatus {
    /// Whose interface it has.
    pub forge: Forge,
    /// The address of the interface, without a slash at its end.
    pub api: Url,
    /// The repository: `OWNER/NAME`; of GitLab, the path or number of the project.
    pub project: String,
    /// The file with the token.
    pub token_file: PathBuf,
    /// What the status is called.
    pub context: String,
}

/// The interface of a forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forge {
    /// GitHub, and GitHub Enterprise.
    Github,
    /// GitLab.
    Gitlab,
    /// Forgejo and Gitea.
    Forgejo,
}

/// The outcomes that can be told of.
const STATES: [&str; 5] = ["passed", "failed", "broken", "skipped", "infra"];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawNotify {
    /// Addresses that get a signed message.
    webhook: Vec<RawWebhook>,
    /// Programs that get the message on standard input.
    command: Vec<RawCommand>,
    /// Forges that show the outcome.
    commit_status: Vec<RawStatus>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawWebhook {
    /// The address.
    url: Spanned<String>,
    /// A file with `whsec_` and the secret in base64, which only its owner may read; a relative path starts at this file.
    secret_file: PathBuf,
    /// Which outcomes are told; all, unless given.
    #[serde(default)]
    on: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawCommand {
    /// The program and its arguments; no shell.
    run: Spanned<Vec<String>>,
    /// Which outcomes are told; all, unless given.
    #[serde(default)]
    on: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawStatus {
    /// `github`, `gitlab` or `forgejo`.
    forge: Spanned<Forge>,
    /// The address of its interface; that of github.com or gitlab.com unless given.
    api: Option<Spanned<String>>,
    /// `OWNER/NAME`.
    project: Spanned<String>,
    /// A file with a token that may write commit statuses, which only its owner may read.
    token_file: PathBuf,
    /// What the status is called; `packhold` unless given.
    context: Option<Spanned<String>>,
}

impl NotifyFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).at("read", path)?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = Document { file: path, text };
        let raw: RawNotify = document.parse()?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let webhook = |raw: RawWebhook| -> Result<Webhook, ConfigError> {
            Ok(Webhook {
                url: address(&document, &raw.url)?,
                secret_file: folder.join(raw.secret_file),
                on: outcomes(&document, raw.on)?,
            })
        };
        let command =
            |raw: RawCommand| match raw.run.get_ref().first().is_some_and(|program| !program.is_empty()) {
                true => Ok(NotifyCommand { on: outcomes(&document, raw.on)?, run: raw.run.into_inner() }),
                false => Err(document.error(
                    raw.run.span(),
                    "there is no program",
                    "write [\"PROGRAM\", \"ARGUMENT\"]",
                )),
            };
        let status = |raw: RawStatus| -> Result<CommitStatus, ConfigError> {
            let forge = *raw.forge.get_ref();
            let usual = match forge {
                Forge::Github => Some("https://api.github.com"),
                Forge::Gitlab => Some("https://gitlab.com/api/v4"),
                Forge::Forgejo => None,
            };
            let api = match (&raw.api, usual) {
                (Some(api), _) => address(&document, api)?,
                (None, Some(usual)) => address(&document, &Spanned::new(raw.forge.span(), usual.to_owned()))?,
                (None, None) => {
                    let hint = "add api = \"https://HOST/api/v1\"";
                    return Err(document.error(raw.forge.span(), "the forge has no address", hint));
                }
            };
            let project = raw.project.get_ref();
            let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
            let inside = !project.split('/').any(|part| matches!(part, "" | "." | ".."));
            if !inside || !project.chars().all(plain) {
                let message = format!("`{}` is not the name of a project", project.escape_default());
                return Err(document.error(raw.project.span(), message, "write it as OWNER/NAME"));
            }
            let context = raw.context.map_or("packhold".to_owned(), Spanned::into_inner);
            Ok(CommitStatus {
                forge,
                api,
                project: project.clone(),
                token_file: folder.join(raw.token_file),
                context,
            })
        };
        Ok(Self {
            webhooks: raw.webhook.into_iter().map(webhook).collect::<Result<_, _>>()?,
            commands: raw.command.into_iter().map(command).collect::<Result<_, _>>()?,
            statuses: raw.commit_status.into_iter().map(status).collect::<Result<_, _>>()?,
        })
    }
}

/// An address to which messages go. Nobody on the way may read them or answer for it.
fn address(document: &Document<'_>, text: &Spanned<String>) -> Result<Url, ConfigError> {
    let wrong = |message: String, hint: &str| Err(document.error(text.span(), message, hint));
    let url = match Url::parse(text.get_ref()) {
        Ok(url) => url,
        Err(error) => return wrong(format!("it is no address: {error}"), "write it with https:// before it"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("the address has a user or a password in it".to_owned(), "keep secrets in a file");
    }
    let here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match (url.scheme(), here) {
        ("https", _) | ("http", true) => Ok(url),
        _ => wrong(format!("`{url}` is not an address by https"), "write it with https:// before it"),
    }
}

fn outcomes(document: &Document<'_>, words: Vec<Spanned<String>>) -> Result<Vec<String>, ConfigError> {
    let known = |word: Spanned<String>| match STATES.contains(&word.get_ref().as_str()) {
        true => Ok(word.into_inner()),
        false => {
            let hint = match nearest(word.get_ref(), STATES) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write some of {}", STATES.join(", ")),
            };
            let message = format!("`{}` is no outcome of a run", word.get_ref().escape_default());
            Err(document.error(word.span(), message, hint))
        }
    };
    words.into_iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Hint;

    fn parse(text: &str) -> Result<NotifyFile, ConfigError> {
        NotifyFile::parse(Path::new("/etc/packhold/notify.toml"), text)
    }

    #[test]
    fn a_file_names_whom_to_tell_and_where_the_secrets_are() {
        let file = parse(
            "[[webhook]]\nurl = \"https://ci.example.org/hook\"\nsecret-file = \"hook.secret\"\non = [\"failed\"]\n\
             [[command]]\nrun = [\"tell\", \"ops\"]\n\
             [[commit-status]]\nforge = \"github\"\nproject = \"example/agent\"\ntoken-file = \"/run/token\"\n",
        )
        .unwrap();
        assert_eq!(file.webhooks[0].secret_file, Path::new("/etc/packhold/hook.secret"));
        assert_eq!(file.webhooks[0].on, ["failed"]);
        assert_eq!(file.commands[0].run, ["tell", "ops"]);
        let status = &file.statuses[0];
        assert_eq!((status.api.as_str(), &*status.context), ("https://api.github.com/", "packhold"));
        assert_eq!(status.token_file, Path::new("/run/token"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let hook = "[[webhook]]\nsecret-file = \"s\"\n";
        let status = "[[commit-status]]\ntoken-file = \"t\"\n";
        for (text, told) in [
            (
                format!("{hook}url = \"http://ci.example.org/\"\n"),
                ":3:7: `http://ci.example.org/` is not an address by https",
            ),
            (format!("{hook}url = \"https://a:b@c/\"\n"), ":3:7: the address has a user"),
            (format!("{hook}url = \"file:///etc/passwd\"\n"), ":3:7: `file:///etc/passwd` is not"),
            (format!("{hook}url = \"https://a/\"\non = [\"fail\"]\n"), ":4:7: `fail` is no outcome"),
            ("[[command]]\nrun = []\n".to_owned(), ":2:7: there is no program"),
            (format!("{status}forge = \"forgejo\"\nproject = \"a/b\"\n"), ":3:9: the forge has no address"),
            (
                format!("{status}forge = \"github\"\nproject = \"a/../b\"\n"),
                ":4:11: `a/../b` is not the name",
            ),
            (format!("{status}forge = \"github\"\nproject = \"a/b?x\"\n"), ":4:11: `a/b?x` is not the name"),
            ("secret = \"x\"\n".to_owned(), ":1:1: unknown key `secret`"),
        ] {
            let error = parse(&text).expect_err(&text);
            let message = error.to_string();
            assert!(message.starts_with(&format!("/etc/packhold/notify.toml{told}")), "{message}");
            assert!(!error.hint().is_empty());
        }
    }
}
