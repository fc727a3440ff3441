//! Copies of remote repositories, kept by the `git` command.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::model::Digest;
use crate::support::fs::PathContext;

use super::location::{Location, password, without_password};
use super::{Result, SourceError};

/// Fetches all branches and tags of `location` into a bare repository in `cache_dir`, and returns its path.
///
/// Processes that fetch the same repository take turns (a lock file beside it); one that reads it meanwhile is not
/// disturbed, because git adds objects and swaps references one by one, and nothing is ever collected as garbage.
/// A first fetch that fails leaves nothing behind.
pub(super) fn mirror(location: &Location, cache_dir: &Path) -> Result<PathBuf> {
    let (path, _lock) = locked(location, cache_dir)?;
    let url = location.url();
    update(&path, &url, cache_dir, |repository| {
        fetch(repository, &url, &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"], true)?;
        follow_head(repository, &url)
    })?;
    Ok(path)
}

/// Fetches one commit, or one full reference name, of `location`, for a revision that no branch or tag reaches.
pub(super) fn mirror_one(location: &Location, cache_dir: &Path, wanted: &str) -> Result<PathBuf> {
    let (path, _lock) = locked(location, cache_dir)?;
    let url = location.url();
    // The reference keeps the commit from being collected by a person's `git gc`.
    let refspec = format!("+{wanted}:refs/packhold/{}", wanted.trim_start_matches("refs/"));
    update(&path, &url, cache_dir, |repository| fetch(repository, &url, &[&refspec], false))?;
    Ok(path)
}

/// The place of `location` in the cache, held for this process until the file is dropped.
fn locked(location: &Location, cache_dir: &Path) -> Result<(PathBuf, File)> {
    fs::create_dir_all(cache_dir).at("create", cache_dir)?;
    // Tokens change from job to job: the key is made of the address without its password.
    let shown = without_password(&location.url());
    let name: String = shown
        .trim_end_matches('/')
        .trim_end_matches(".git")
        .rsplit(['/', ':'])
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
        .take(40)
        .collect();
    let key = format!("{name}-{}", &Digest::of(&shown).hex()[..32]);
    let lock = cache_dir.join(format!("{key}.lock"));
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .at("lock", &lock)?;
    Ok((cache_dir.join(format!("{key}.git")), file))
}

/// Runs `work` on the repository at `path`, which is made first where it is missing.
fn update(path: &Path, url: &str, cache_dir: &Path, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if path.join("HEAD").exists() {
        return work(path);
    }
    let temporary = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(cache_dir)
        .at("create a folder in", cache_dir)?;
    let fresh = temporary.path().join("repository.git");
    git(url, "make a repository", |command| {
        command.args(["init", "--quiet", "--bare", "--template=", "--object-format=sha1", "--"]).arg(&fresh);
    })?;
    work(&fresh)?;
    fs::rename(&fresh, path).at("create", path)?;
    Ok(())
}

fn fetch(repository: &Path, url: &str, refspecs: &[&str], prune: bool) -> Result<()> {
    git(url, &format!("fetch {}", without_password(url)), |command| {
        command.arg("--git-dir").arg(repository);
        command.args(["fetch", "--quiet", "--force", "--no-tags", "--no-recurse-submodules"]);
        // Its file would name the address with its password.
        command.args(["--no-write-fetch-head", "--no-auto-maintenance"]);
        if prune {
            command.arg("--prune");
        }
        command.arg("--").arg(url).args(refspecs);
    })?;
    Ok(())
}

/// Lets the copy's HEAD name the branch that the remote's does.
fn follow_head(repository: &Path, url: &str) -> Result<()> {
    let answer = git(url, &format!("list {}", without_password(url)), |command| {
        command.args(["ls-remote", "--symref", "--", url, "HEAD"]);
    })?;
    let branch = answer
        .lines()
        .find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"))
        .filter(|name| name.starts_with("refs/heads/"));
    if let Some(branch) = branch {
        git(url, "set HEAD", |command| {
            command.arg("--git-dir").arg(repository).args(["symbolic-ref", "HEAD", branch]);
        })?;
    }
    Ok(())
}

/// Runs `git` where nobody can be asked anything, and returns what it printed.
fn git(url: &str, action: &str, arguments: impl FnOnce(&mut Command)) -> Result<String> {
    let mut command = Command::new("git");
    // A git hook that calls Packhold has these set for its own repository.
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_COMMON_DIR",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_NAMESPACE",
        "GIT_QUARANTINE_PATH",
    ] {
        command.env_remove(name);
    }
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        // ssh would ask for a passphrase, or whether to trust a host, on the terminal: this makes it ask `false`.
        .env("SSH_ASKPASS", "false")
        .env("SSH_ASKPASS_REQUIRE", "force")
        // Stronger than every `protocol.*.allow` setting; insteadOf rules pass through it too.
        .env("GIT_ALLOW_PROTOCOL", "https:http:ssh:file")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    arguments(&mut command);
    let output = command.output().map_err(SourceError::NoGitCommand)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let printed = String::from_utf8_lossy(&output.stderr);
    let mut message = printed
        .lines()
        .map(|line| line.trim_start_matches("fatal: ").trim())
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    if let Some(password) = password(url) {
        message = message.replace(password, "…");
    }
    if message.is_empty() {
        message = output.status.to_string();
    }
    Err(SourceError::GitCommand { action: action.to_owned(), message })
}
