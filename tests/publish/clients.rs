//! Machines of users, with package managers that know one repository and nothing of this machine.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A machine with apt.
pub struct Apt(tempfile::TempDir);

impl Apt {
    /// One that knows the suite at `url`, which is checked with the keys of `keyring`, or trusted.
    pub fn new(url: &str, suite: &str, keyring: Option<&Path>) -> Self {
        let own = tempfile::tempdir().unwrap();
        for folder in [
            "lists/partial",
            "cache/archives/partial",
            "etc/preferences.d",
            "etc/apt.conf.d",
            "etc/trusted.gpg.d",
        ] {
            fs::create_dir_all(own.path().join(folder)).unwrap();
        }
        fs::write(own.path().join("status"), "").unwrap();
        let option = match keyring {
            Some(keyring) => format!("signed-by={}", keyring.display()),
            None => "trusted=yes".to_owned(),
        };
        let line = format!("deb [{option} arch=amd64] {url} {suite} main\n");
        fs::write(own.path().join("sources.list"), line).unwrap();
        Self(own)
    }

    /// A program of apt's, in a folder of the machine.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = self.0.path().display();
        for option in [
            format!("Dir::State::Lists={path}/lists"),
            format!("Dir::State::status={path}/status"),
            format!("Dir::Cache={path}/cache"),
            format!("Dir::Etc={path}/etc"),
            format!("Dir::Etc::SourceList={path}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "APT::Get::List-Cleanup=0".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "APT::Update::Error-Mode=any".to_owned(),
            "Acquire::Retries=0".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.current_dir(self.0.path());
        command
    }
}

/// A machine with dnf.
pub struct Dnf {
    own: tempfile::TempDir,
    url: String,
}

impl Dnf {
    /// One that knows the tree at `url`, and trusts it.
    pub fn new(url: &str) -> Self {
        Self { own: tempfile::tempdir().unwrap(), url: url.to_owned() }
    }

    /// dnf, without a command.
    pub fn command(&self) -> Command {
        let own = self.own.path().display();
        let mut command = Command::new("dnf");
        command
            .args(["--quiet", "--disablerepo=*", "--forcearch=x86_64", "--releasever=9"])
            .arg(format!("--setopt=cachedir={own}"))
            .arg(format!("--setopt=reposdir={own}"))
            .arg(format!("--installroot={own}"))
            .arg(format!("--repofrompath=ours,{}", self.url))
            .arg("--enablerepo=ours");
        command
    }
}
