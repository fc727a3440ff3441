use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::super::ConfigError;
use super::super::checker::Checker;
use super::paths::file_name;
use super::service::PackageUser;
use crate::model::Format;

/// Files that a package has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageFile {
    /// Where they are when the package is built, in the source tree.
    pub source: FileSource,
    /// The absolute path; of several files, of the folder that gets them, without a slash at its end.
    pub to: String,
    /// Permission bits; `None` is 0644, or 0755 for what is below a folder of programs. Trees keep who may execute.
    pub mode: Option<u32>,
    /// Who owns them.
    pub owner: Owner,
    /// Whether what the administrator changed stays when the package is upgraded.
    pub config: bool,
    /// The only format that has them.
    pub only: Option<Format>,
}

/// What becomes a package's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// One file.
    File(String),
    /// The files that match a pattern.
    Glob(String),
    /// All that is in a folder.
    Tree(String),
}

/// A folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageDirectory {
    /// The absolute path.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Who owns it.
    pub owner: Owner,
    /// Whether a purge of the deb removes it with all that is in it.
    pub purge: bool,
    /// The only format that has it.
    pub only: Option<Format>,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSymlink {
    /// The absolute path of the link.
    pub path: String,
    /// What it leads to, relative within a folder of the root and absolute elsewhere (Debian Policy 10.5).
    pub target: String,
    /// The only format that has it.
    pub only: Option<Format>,
}

/// A file that the program makes: it goes with the package (rpm) or with its configuration (deb).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageGhost {
    /// The absolute path.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Who owns it.
    pub owner: Owner,
    /// The only format that has it.
    pub only: Option<Format>,
}

/// A user and a group, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: String,
    /// The group.
    pub group: String,
}

impl Owner {
    fn root() -> Self {
        Self { user: "root".to_owned(), group: "root".to_owned() }
    }

    /// Whether it is what every file has by itself.
    pub fn is_root(&self) -> bool {
        self.user == "root" && self.group == "root"
    }
}

/// Groups that every distro has and whose members may read what others may not.
const GROUPS: [&str; 2] = ["root", "adm"];

/// Folders of which a file is a program.
const PROGRAMS: [&str; 6] =
    ["/usr/bin/", "/usr/sbin/", "/usr/libexec/", "/etc/init.d/", "/etc/cron.daily/", "/etc/cron.hourly/"];

impl PackageFile {
    /// The permission bits of its files.
    pub fn mode(&self) -> u32 {
        let folder = match self.source {
            FileSource::File(_) => self.to.clone(),
            FileSource::Glob(_) | FileSource::Tree(_) => format!("{}/x", self.to),
        };
        let is_program = PROGRAMS.iter().any(|programs| folder.starts_with(programs));
        self.mode.unwrap_or(if is_program { 0o755 } else { 0o644 })
    }

    /// The path of what is installed; of several files a pattern.
    pub fn installed(&self) -> String {
        match &self.source {
            FileSource::File(_) | FileSource::Tree(_) => self.to.clone(),
            FileSource::Glob(glob) => format!("{}/{}", self.to, file_name(glob)),
        }
    }
}

/// A `[[package.files]]` table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawFile {
    /// What `build` left or the commit has: a file, a pattern (`conf/*.conf`), or a folder that ends in `/`, of which everything is taken.
    #[schemars(with = "String")]
    source: Spanned<String>,
    /// The path that it is installed at; one that ends in `/` is a folder.
    #[schemars(with = "String")]
    to: Spanned<String>,
    /// Permission bits in octal digits: `"0640"`.
    #[schemars(with = "Option<String>")]
    mode: Option<Spanned<String>>,
    /// `USER` or `USER:GROUP`, of `[[package.users]]`.
    #[schemars(with = "Option<String>")]
    owner: Option<Spanned<String>>,
    /// Whether it is configuration: what the administrator changed stays. True below /etc.
    #[schemars(with = "Option<bool>")]
    config: Option<Spanned<bool>>,
    /// `deb` or `rpm`: only packages of this format have it.
    only: Option<Format>,
}

/// A `[[package.directories]]` table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawDirectory {
    /// Its absolute path.
    #[schemars(with = "String")]
    path: Spanned<String>,
    /// Permission bits in octal digits, 0755 unless given.
    #[schemars(with = "Option<String>")]
    mode: Option<Spanned<String>>,
    /// `USER` or `USER:GROUP`, of `[[package.users]]`.
    #[schemars(with = "Option<String>")]
    owner: Option<Spanned<String>>,
    /// Whether purging a deb removes it with what is in it. True below /var/log and /var/cache (Debian Policy 10.8).
    purge: Option<bool>,
    /// `deb` or `rpm`: only packages of this format have it.
    only: Option<Format>,
}

/// A `[[package.symlinks]]` table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSymlink {
    /// The absolute path of the link.
    #[schemars(with = "String")]
    path: Spanned<String>,
    /// What it leads to.
    #[schemars(with = "String")]
    target: Spanned<String>,
    /// `deb` or `rpm`: only packages of this format have it.
    only: Option<Format>,
}

/// A `[[package.ghosts]]` table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawGhost {
    /// The absolute path of a file that the program makes, such as its log.
    #[schemars(with = "String")]
    path: Spanned<String>,
    /// Permission bits in octal digits, 0644 unless given.
    #[schemars(with = "Option<String>")]
    mode: Option<Spanned<String>>,
    /// `USER` or `USER:GROUP`, of `[[package.users]]`.
    #[schemars(with = "Option<String>")]
    owner: Option<Spanned<String>>,
    /// `deb` or `rpm`: only packages of this format know of it.
    only: Option<Format>,
}

impl RawFile {
    pub fn check(&self, checker: &Checker<'_>, users: &[PackageUser]) -> Result<PackageFile, ConfigError> {
        let wrong = |span, message: &str, hint: &str| Err(checker.document.error(span, message, hint));
        let written = self.source.get_ref();
        let source = if written.contains(['*', '?', '[', ']']) {
            FileSource::Glob(checker.glob(&self.source)?)
        } else if written.ends_with('/') {
            FileSource::Tree(checker.plain_path(&self.source)?)
        } else {
            FileSource::File(checker.plain_path(&self.source)?)
        };
        let to = checker.destination(&self.to, true)?;
        let (into, to) = (to.ends_with('/'), to.trim_end_matches('/').to_owned());
        let to = match &source {
            FileSource::File(path) if into => format!("{to}/{}", file_name(path)),
            FileSource::File(_) => to,
            _ if into => to,
            _ => {
                return wrong(
                    self.to.span(),
                    "several files cannot become one",
                    "end the folder's path in `/`",
                );
            }
        };
        let below_etc = to.starts_with("/etc/") || to == "/etc";
        let config = self.config.as_ref().map(|config| *config.get_ref());
        if let (true, Some(false), Some(said)) = (below_etc, config, &self.config) {
            return wrong(
                said.span(),
                "what is below /etc is configuration",
                "install it elsewhere, or leave `config` out (Debian Policy 10.7.2)",
            );
        }
        let file = PackageFile {
            source,
            to,
            mode: self.mode.as_ref().map(|mode| checker.mode(mode)).transpose()?,
            owner: checker.owner(self.owner.as_ref(), users)?,
            config: config.unwrap_or(below_etc),
            only: self.only,
        };
        let bits = self
            .mode
            .as_ref()
            .or(self.owner.as_ref())
            .filter(|_| file.mode.is_some() || !file.owner.is_root());
        match (&file.source, bits) {
            (FileSource::Tree(_), Some(bits)) => {
                wrong(bits.span(), "a whole tree has no mode and no owner of its own", "name its files")
            }
            (FileSource::Tree(_), None) if file.config => wrong(
                self.source.span(),
                "a whole tree cannot be configuration",
                "name its files, or use a pattern",
            ),
            // Where it is installed the pattern could match files of others.
            (FileSource::Glob(_), _) if !file.owner.is_root() || (file.config && !below_etc) => {
                wrong(self.source.span(), "a pattern is not enough for this", "name the files one by one")
            }
            _ => Ok(file),
        }
    }
}

impl RawDirectory {
    pub fn check(
        &self,
        checker: &Checker<'_>,
        users: &[PackageUser],
    ) -> Result<PackageDirectory, ConfigError> {
        let path = checker.destination(&self.path, true)?.trim_end_matches('/').to_owned();
        let below = |tops: &[&str]| tops.iter().any(|top| path.starts_with(top));
        let logs = below(&["/var/log/", "/var/cache/"]);
        if self.purge == Some(true) && !logs && !below(&["/var/lib/", "/var/spool/", "/etc/", "/opt/"]) {
            let message = format!("a purge must not remove all of `{path}`");
            let hint =
                "let it remove folders below /var/lib, /var/log, /var/cache, /var/spool, /etc and /opt";
            return Err(checker.document.error(self.path.span(), message, hint));
        }
        Ok(PackageDirectory {
            mode: self.mode.as_ref().map_or(Ok(0o755), |mode| checker.mode(mode))?,
            owner: checker.owner(self.owner.as_ref(), users)?,
            purge: self.purge.unwrap_or(logs),
            only: self.only,
            path,
        })
    }
}

impl RawSymlink {
    pub fn check(&self, checker: &Checker<'_>) -> Result<PackageSymlink, ConfigError> {
        let path = checker.destination(&self.path, false)?;
        Ok(PackageSymlink { target: checker.link_target(&path, &self.target)?, path, only: self.only })
    }
}

impl RawGhost {
    pub fn check(&self, checker: &Checker<'_>, users: &[PackageUser]) -> Result<PackageGhost, ConfigError> {
        Ok(PackageGhost {
            path: checker.destination(&self.path, false)?,
            mode: self.mode.as_ref().map_or(Ok(0o644), |mode| checker.mode(mode))?,
            owner: checker.owner(self.owner.as_ref(), users)?,
            only: self.only,
        })
    }
}

/// The first path that two of a package's things have in one format, with where it is written the second time.
pub(super) fn twice(file: &PackageFile, seen: &mut Vec<(String, Option<Format>)>) -> bool {
    let key = (file.installed(), file.only);
    let both = |one: Option<Format>, other: Option<Format>| one.is_none() || other.is_none() || one == other;
    let again = seen.iter().any(|(path, only)| *path == key.0 && both(*only, key.1));
    seen.push(key);
    again
}

impl RawFile {
    pub fn place(&self) -> &Spanned<String> {
        &self.to
    }
}

impl Checker<'_> {
    fn mode(&self, text: &Spanned<String>) -> Result<u32, ConfigError> {
        let digits = text.get_ref();
        let octal = (3..=4).contains(&digits.len()) && digits.chars().all(|c| ('0'..='7').contains(&c));
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if octal => Ok(mode),
            _ => {
                let message = format!("`{}` is not a mode", digits.escape_default());
                Err(self.document.error(text.span(), message, "write three or four octal digits: \"0640\""))
            }
        }
    }

    fn owner(&self, text: Option<&Spanned<String>>, users: &[PackageUser]) -> Result<Owner, ConfigError> {
        let Some(text) = text else { return Ok(Owner::root()) };
        let (user, group) = match text.get_ref().split_once(':') {
            Some((user, group)) => (user, group),
            None => (&**text.get_ref(), &**text.get_ref()),
        };
        let ours = |name: &str| users.iter().any(|user| user.name == name);
        let joined = |name: &str| users.iter().any(|user| user.groups.iter().any(|group| group == name));
        if (user == "root" || ours(user)) && (GROUPS.contains(&group) || ours(group) || joined(group)) {
            return Ok(Owner { user: user.to_owned(), group: group.to_owned() });
        }
        let message = format!("`{}` is no owner that every distro has", text.get_ref().escape_default());
        let hint = "write root, root:adm, or USER:GROUP of a user in [[package.users]]";
        Err(self.document.error(text.span(), message, hint))
    }
}
