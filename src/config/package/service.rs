use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::super::ConfigError;
use super::super::checker::Checker;
use super::paths::file_name;

/// A unit of systemd (systemd.unit(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageUnit {
    /// The file in the source tree.
    pub source: String,
    /// Its name when it is installed: `hostpulse.service`.
    pub name: String,
    /// Whether it is enabled: always (deb), or as the distro's preset says (rpm).
    pub enable: bool,
    /// Whether it is started when the package is installed (deb; rpm distros start nothing).
    pub start: bool,
    /// Whether it is restarted when the package is upgraded.
    pub restart: bool,
}

/// A user of the system, with a group of the same name (sysusers.d(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageUser {
    /// Its name.
    pub name: String,
    /// What it is for, in letters that are plain to every program.
    pub description: String,
    /// Its home, which is not made.
    pub home: String,
    /// Its shell.
    pub shell: String,
    /// Further groups.
    pub groups: Vec<String>,
}

/// Paths in the commit of scripts that run as root when the package is installed or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scripts {
    /// Before the files are there (deb `preinst`, rpm `%pre`).
    pub preinst: Option<String>,
    /// After that (`postinst`, `%post`).
    pub postinst: Option<String>,
    /// Before they go (`prerm`, `%preun`).
    pub prerm: Option<String>,
    /// After that (`postrm`, `%postun`).
    pub postrm: Option<String>,
}

impl Scripts {
    /// Debian's name of each that there is, and its path.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("preinst", &self.preinst),
            ("postinst", &self.postinst),
            ("prerm", &self.prerm),
            ("postrm", &self.postrm),
        ]
        .into_iter()
        .filter_map(|(name, path)| Some((name, path.as_deref()?)))
    }

    /// The script of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all().find(|(known, _)| *known == name).map(|(_, path)| path)
    }
}

/// A `[[package.units]]` table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawUnit {
    /// The unit's file in the source tree, in the commit or made by `build`.
    #[schemars(with = "String")]
    source: Spanned<String>,
    /// Its name when it is installed; that of the file unless given.
    #[schemars(with = "Option<String>")]
    name: Option<Spanned<String>>,
    /// Whether it is enabled. An rpm distro's preset has the last word.
    #[serde(default = "yes")]
    enable: bool,
    /// Whether installing a deb starts it. rpm distros start nothing by themselves.
    #[serde(default = "yes")]
    start: bool,
    /// Whether an upgrade restarts it.
    #[serde(default = "yes")]
    restart: bool,
}

/// A `[[package.users]]` table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawUser {
    /// The name of the user and of its group.
    #[schemars(with = "String")]
    name: Spanned<String>,
    /// What the user is for.
    #[schemars(with = "String")]
    description: Spanned<String>,
    /// Its home, which is not made; /nonexistent unless given.
    #[schemars(with = "Option<String>")]
    home: Option<Spanned<String>>,
    /// Its shell, /usr/sbin/nologin unless given.
    #[schemars(with = "Option<String>")]
    shell: Option<Spanned<String>>,
    /// Further groups that it is a member of.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    groups: Vec<Spanned<String>>,
}

/// A `[package.scripts]` table: paths of shell scripts in the commit.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawScripts {
    /// Runs before the files are there.
    #[schemars(with = "Option<String>")]
    preinst: Option<Spanned<String>>,
    /// Runs after the files are there and users are made.
    #[schemars(with = "Option<String>")]
    postinst: Option<Spanned<String>>,
    /// Runs before the files go, after units are stopped.
    #[schemars(with = "Option<String>")]
    prerm: Option<Spanned<String>>,
    /// Runs after the files are gone.
    #[schemars(with = "Option<String>")]
    postrm: Option<Spanned<String>>,
}

fn yes() -> bool {
    true
}

/// Kinds of units that a package may have.
const KINDS: [&str; 6] = ["service", "socket", "timer", "path", "target", "mount"];

impl RawUnit {
    pub fn check(&self, checker: &Checker<'_>) -> Result<PackageUnit, ConfigError> {
        let source = checker.plain_path(&self.source)?;
        let name = self.name.as_ref().map_or(file_name(&source), |name| name.get_ref()).to_owned();
        let place = self.name.as_ref().unwrap_or(&self.source);
        let stem =
            name.rsplit_once('.').filter(|(_, kind)| KINDS.contains(kind)).map_or("", |(stem, _)| stem);
        // systemd.unit(5); of the letters that it has, a backslash means something to a shell.
        let good = |c: char| c.is_ascii_alphanumeric() || ":-_.@".contains(c);
        if !stem.starts_with(|c: char| c.is_ascii_alphanumeric()) || !stem.chars().all(good) {
            let message = format!("`{name}` is not the name of a unit");
            let hint = format!("write NAME.KIND with one of {}", KINDS.join(", "));
            return Err(checker.document.error(place.span(), message, hint));
        }
        let RawUnit { enable, start, restart, .. } = *self;
        // What is started is an instance, which the package does not know.
        let template = stem.ends_with('@');
        Ok(PackageUnit { source, enable: enable && !template, start: start && !template, restart, name })
    }
}

impl RawUser {
    pub fn check(&self, checker: &Checker<'_>) -> Result<PackageUser, ConfigError> {
        let name = checker.user_name(&self.name)?;
        let description = checker.line("a user", &self.description)?;
        // passwd(5) parts fields by colons; a quote would end sysusers.d(5)'s field.
        let plain = |c: char| c.is_ascii_alphanumeric() || " .,_/()+-".contains(c);
        if !description.chars().all(plain) {
            let message = format!("`{description}` cannot be a user's description");
            let hint = "use letters, digits, blanks and `.,_/()+-`";
            return Err(checker.document.error(self.description.span(), message, hint));
        }
        let path = |path: &Option<Spanned<String>>, usual: &str| match path {
            None => Ok(usual.to_owned()),
            Some(path) => checker.destination(path, false),
        };
        Ok(PackageUser {
            description,
            home: path(&self.home, "/nonexistent")?,
            shell: path(&self.shell, "/usr/sbin/nologin")?,
            groups: self.groups.iter().map(|group| checker.user_name(group)).collect::<Result<_, _>>()?,
            name,
        })
    }
}

impl RawScripts {
    pub fn check(&self, checker: &Checker<'_>) -> Result<Scripts, ConfigError> {
        let path =
            |path: &Option<Spanned<String>>| path.as_ref().map(|path| checker.plain_path(path)).transpose();
        Ok(Scripts {
            preinst: path(&self.preinst)?,
            postinst: path(&self.postinst)?,
            prerm: path(&self.prerm)?,
            postrm: path(&self.postrm)?,
        })
    }
}

impl Checker<'_> {
    /// The name of a user or group that every distro takes (adduser.conf(5), NAME_REGEX; sysusers.d(5)).
    fn user_name(&self, name: &Spanned<String>) -> Result<String, ConfigError> {
        let text = name.get_ref();
        let lower = |c: char| c.is_ascii_lowercase() || c == '_';
        let good = |c: char| lower(c) || c.is_ascii_digit() || c == '-';
        if text.starts_with(lower) && text.len() <= 31 && text.chars().all(good) && text != "root" {
            return Ok(text.clone());
        }
        let message = format!("`{}` cannot be the name of a user of the system", text.escape_default());
        let hint = "use at most 31 lower case letters, digits, `_` and `-`, beginning with a letter or `_`";
        Err(self.document.error(name.span(), message, hint))
    }
}
