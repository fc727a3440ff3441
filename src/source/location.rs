use std::fmt;
use std::path::{Path, PathBuf};

use super::{Result, SourceError};

/// Where a repository is.
///
/// Only transports that cannot run a program of the address's choosing are accepted: `https`, `http`, `ssh`, `file`
/// and ssh's short form `user@host:path`. git's remote helpers (`ext::`, gitremote-helpers(7)) and anything that could
/// be read as an option are refused.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A path on this machine.
    Local(PathBuf),
    /// An address that `git` fetches from. It may hold a password: show it with [`fmt::Display`], which leaves it out.
    Remote(String),
}

const SCHEMES: [&str; 4] = ["https", "http", "ssh", "file"];

impl Location {
    /// Reads a location; a relative path starts at `base_dir`.
    pub fn parse(text: &str, base_dir: &Path) -> Result<Self> {
        let refuse = |reason| Err(SourceError::BadLocation { location: without_password(text), reason });
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.starts_with('-') {
            return refuse("it starts with `-`, as an option does");
        }
        if text.chars().any(char::is_control) {
            return refuse("it holds control characters");
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            if !SCHEMES.contains(&scheme) {
                return refuse("Packhold fetches by https, http, ssh and file only");
            }
            let authority = rest.split('/').next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            if host.starts_with('-') || authority.starts_with('-') {
                return refuse("its host starts with `-`, as an option does");
            }
            if host.is_empty() && scheme != "file" {
                return refuse("it names no host");
            }
            return Ok(Self::Remote(text.to_owned()));
        }
        // git's rule (git-fetch(1), "GIT URLS"): a colon before the first slash makes it host:path.
        let first = text.split('/').next().unwrap_or_default();
        let Some((host, path)) = first.split_once(':') else {
            return Ok(Self::Local(base_dir.join(text)));
        };
        if path.starts_with(':') {
            return refuse("remote helpers (`name::`) can run any program");
        }
        if host.rsplit('@').next().is_none_or(|h| h.is_empty() || h.starts_with('-')) {
            return refuse("its host is empty or starts with `-`, as an option does");
        }
        Ok(Self::Remote(text.to_owned()))
    }

    /// True when it is on this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Remote(url) => url.starts_with("file://"),
        }
    }

    /// The location that `url` of a `.gitmodules` file names, seen from this one (gitmodules(5), `submodule.NAME.url`).
    ///
    /// What came from another machine must not name repositories of this one: only a local location leads to a local
    /// one.
    pub(super) fn submodule(&self, url: &str) -> Result<Self> {
        let found = if url.starts_with("./") || url.starts_with("../") {
            match self {
                Self::Local(path) => match join(&path.to_string_lossy(), url) {
                    Some(path) => Self::Local(path.into()),
                    None => return Err(outside(url)),
                },
                Self::Remote(base) => {
                    Self::parse(&join(base, url).ok_or_else(|| outside(url))?, Path::new("/"))?
                }
            }
        } else {
            Self::parse(url, Path::new("/"))?
        };
        if found.is_local() && !self.is_local() {
            return Err(SourceError::BadLocation {
                location: url.to_owned(),
                reason: "a repository from elsewhere must not name one of this machine",
            });
        }
        Ok(found)
    }

    /// What is given to `git fetch`.
    pub(super) fn url(&self) -> String {
        match self {
            // A plain path: in a `file://` address git would decode `%`.
            Self::Local(path) => {
                std::path::absolute(path).unwrap_or_else(|_| path.clone()).to_string_lossy().into_owned()
            }
            Self::Remote(url) => url.clone(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Remote(url) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

fn outside(url: &str) -> SourceError {
    SourceError::BadLocation {
        location: url.to_owned(),
        reason: "it leads above the repository's own address",
    }
}

/// `base` with the steps `./` and `../` of `relative` taken; `None` where there is no folder left to leave.
fn join(base: &str, relative: &str) -> Option<String> {
    let mut base = base.trim_end_matches('/').to_owned();
    let mut rest = relative;
    let mut separator = '/';
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            let floor = base.find("://").map_or(0, |at| at + 3);
            let cut = base[floor..].rfind(['/', ':'])? + floor;
            separator = if base[cut..].starts_with(':') { ':' } else { '/' };
            base.truncate(cut);
            rest = after;
        } else {
            return Some(format!("{base}{separator}{rest}"));
        }
    }
}

/// `text` without the password of an address `scheme://user:password@host`.
pub(super) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}{}{host}{path}", if user.is_empty() { "" } else { "@" })
        }
        None => text.to_owned(),
    }
}

/// The password of an address, where it has one.
pub(super) fn password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password).filter(|password| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_addresses_are_told_apart_as_git_does() {
        let base = Path::new("/base");
        let local = |text: &str, path: &str| {
            assert_eq!(Location::parse(text, base).unwrap(), Location::Local(path.into()));
        };
        local(".", "/base/.");
        local("../agent", "/base/../agent");
        local("/srv/agent.git", "/srv/agent.git");
        local("./odd:name", "/base/./odd:name");
        for url in ["https://h/a.git", "ssh://git@h:22/a", "git@h:a/b.git", "host:a", "file:///srv/a"] {
            assert_eq!(Location::parse(url, base).unwrap(), Location::Remote(url.into()));
        }
    }

    #[test]
    fn what_could_run_a_program_or_be_read_as_an_option_is_refused() {
        for text in [
            "",
            "-u",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c touch% /tmp/x",
            "fd::7",
            "ssh://-oProxyCommand=x/a",
            "ssh://git@-oProxyCommand=x/a",
            "git@-oProxyCommand=x:a",
            "-oProxyCommand=x:a",
            "https:///a",
            "git://host/a",
            "ext://x",
            "https://h/a\nb",
        ] {
            let error = Location::parse(text, Path::new("/")).unwrap_err();
            assert!(matches!(error, SourceError::BadLocation { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let location = Location::parse("https://ci:s3cret@host/a.git", Path::new("/")).unwrap();
        assert_eq!(location.to_string(), "https://ci@host/a.git");
        assert!(!format!("{location:?}").contains("s3cret"));
        assert_eq!(password(&location.url()), Some("s3cret"));
        let error = Location::parse("gopher://ci:s3cret@host/a", Path::new("/")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn a_relative_submodule_address_starts_at_the_repository() {
        let at = |base: &str, url: &str| {
            Location::parse(base, Path::new("/")).unwrap().submodule(url).map(|l| l.url())
        };
        assert_eq!(at("https://h/o/a.git", "../lib.git").unwrap(), "https://h/o/lib.git");
        assert_eq!(at("https://h/o/a.git/", "../../p/lib.git").unwrap(), "https://h/p/lib.git");
        assert_eq!(at("https://h/o/a.git", "./lib").unwrap(), "https://h/o/a.git/lib");
        assert_eq!(at("git@h:a.git", "../lib.git").unwrap(), "git@h:lib.git");
        assert_eq!(at("/srv/a", "../lib").unwrap(), "/srv/lib");
        assert!(at("https://h/a", "../../../x").is_err());
    }

    #[test]
    fn a_remote_repository_cannot_name_a_local_submodule() {
        let remote = Location::Remote("https://h/a.git".into());
        for url in ["/etc/secret", "file:///etc/secret", "ext::sh -c x", "-x"] {
            assert!(remote.submodule(url).is_err(), "{url}");
        }
        assert!(Location::Local("/srv/a".into()).submodule("/srv/lib").is_ok());
    }
}
