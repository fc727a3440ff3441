use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::super::checker::Checker;
use super::super::{ConfigError, TargetSection};
use super::commands::RawCommands;
use super::contents::{RawDirectory, RawFile, RawGhost, RawSymlink, twice};
use super::service::{RawScripts, RawUnit, RawUser};
use super::{PackageSection, Parts, RelationKind};
use crate::model::{Format, TargetName};

/// A table with lists of packages and scripts, which what is said for a format or a builder has in the place of the package's. serde can
/// flatten no structure into one that refuses unknown keys and knows where each is written.
macro_rules! table_with_parts {
    ($(#[$about:meta])* $visibility:vis struct $name:ident { $($fields:tt)* }) => {
        $(#[$about])*
        $visibility struct $name {
            $($fields)*
            /// Packages that it does not work without.
            #[schemars(with = "Option<Vec<String>>")]
            depends: Option<Vec<Spanned<String>>>,
            /// Packages that are installed along.
            #[schemars(with = "Option<Vec<String>>")]
            recommends: Option<Vec<Spanned<String>>>,
            /// Packages that are of use beside it.
            #[schemars(with = "Option<Vec<String>>")]
            suggests: Option<Vec<Spanned<String>>>,
            /// Packages that it cannot be installed beside.
            #[schemars(with = "Option<Vec<String>>")]
            conflicts: Option<Vec<Spanned<String>>>,
            /// Packages whose files it takes over.
            #[schemars(with = "Option<Vec<String>>")]
            replaces: Option<Vec<Spanned<String>>>,
            /// What it can be depended on as.
            #[schemars(with = "Option<Vec<String>>")]
            provides: Option<Vec<Spanned<String>>>,
            /// Packages that are needed to build it.
            #[schemars(with = "Option<Vec<String>>")]
            build_depends: Option<Vec<Spanned<String>>>,
            /// Shell scripts that run when it is installed or removed.
            scripts: Option<RawScripts>,
        }

        impl $name {
            fn list(&self, kind: RelationKind) -> &List {
                match kind {
                    RelationKind::Depends => &self.depends,
                    RelationKind::Recommends => &self.recommends,
                    RelationKind::Suggests => &self.suggests,
                    RelationKind::Conflicts => &self.conflicts,
                    RelationKind::Replaces => &self.replaces,
                    RelationKind::Provides => &self.provides,
                    RelationKind::BuildDepends => &self.build_depends,
                }
            }
        }
    };
}

table_with_parts! {
    /// What is packaged. With its name alone the packaging is in the repository; with more, debian/ and the spec file
    /// are made of it.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    pub(in super::super) struct RawPackage {
        /// The package's name.
        #[schemars(with = "String", regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9+._-]+$"))]
        pub name: Spanned<String>,
        /// What it is, in at most 79 characters without a full stop.
        #[schemars(with = "Option<String>")]
        summary: Option<Spanned<String>>,
        /// What it does, in paragraphs; indented lines stay as they are.
        #[schemars(with = "Option<String>")]
        description: Option<Spanned<String>>,
        /// The licence, an SPDX expression: `MIT OR Apache-2.0`.
        #[schemars(with = "Option<String>")]
        license: Option<Spanned<String>>,
        /// The files with the licence's text; LICENSE, COPYING and the like, where they are in the commit, unless given.
        #[schemars(with = "Option<Vec<String>>")]
        license_files: Option<Vec<Spanned<String>>>,
        /// Who holds the copyright, a line each: `2025 The authors`. Found in the licence's text unless given.
        #[serde(default)]
        #[schemars(with = "Vec<String>")]
        copyright: Vec<Spanned<String>>,
        /// Who answers for the package: `NAME <ADDRESS>`.
        #[schemars(with = "Option<String>")]
        maintainer: Option<Spanned<String>>,
        /// The address of a page for people.
        #[schemars(with = "Option<String>")]
        homepage: Option<Spanned<String>>,
        /// The section of Debian's archive (Policy 2.4); `misc` unless given.
        #[schemars(with = "Option<String>")]
        section: Option<Spanned<String>>,
        /// `any`: it is compiled; `all`: it is the same for every architecture. `any` unless given.
        architecture: Option<RawArchitecture>,
        /// Commands that build in the unpacked source, with no network: a shell script, or a list of lines and of lists of words. $VERSION is
        /// the version, CFLAGS and the like are the distro's.
        #[schemars(with = "Option<RawCommands>")]
        build: Option<Spanned<RawCommands>>,
        /// Commands that test what was built.
        #[schemars(with = "Option<RawCommands>")]
        check: Option<Spanned<RawCommands>>,
        /// Files of the source tree for users to read, below /usr/share/doc.
        #[serde(default)]
        #[schemars(with = "Vec<String>")]
        docs: Vec<Spanned<String>>,
        /// Files of the package.
        #[serde(default)]
        files: Vec<RawFile>,
        /// Folders of the package.
        #[serde(default)]
        directories: Vec<RawDirectory>,
        /// Symbolic links of the package.
        #[serde(default)]
        symlinks: Vec<RawSymlink>,
        /// Files that the program makes itself.
        #[serde(default)]
        ghosts: Vec<RawGhost>,
        /// Units of systemd.
        #[serde(default)]
        units: Vec<RawUnit>,
        /// Users of the system.
        #[serde(default)]
        users: Vec<RawUser>,
        /// What debs have in the place of the above.
        deb: Option<RawParts>,
        /// What rpms have in the place of the above.
        rpm: Option<RawParts>,
        /// What packages of one builder have in the place of all that.
        #[serde(default)]
        #[schemars(with = "BTreeMap<String, RawParts>")]
        builder: BTreeMap<Spanned<String>, RawParts>,
    }
}

table_with_parts! {
    /// A `[package.deb]`, `[package.rpm]` or `[package.builder.NAME]` table. A list stands in the place of the package's, also an empty one.
    #[derive(Debug, Default, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
    struct RawParts {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum RawArchitecture {
    Any,
    All,
}

type List = Option<Vec<Spanned<String>>>;

impl RawParts {
    fn check(&self, checker: &Checker<'_>, format: Format) -> Result<Parts, ConfigError> {
        let mut parts = Parts { scripts: scripts(self.scripts.as_ref(), checker)?, ..Parts::default() };
        for kind in RelationKind::ALL {
            if let Some(list) = self.list(kind) {
                parts.relations.insert(kind, checker.relations(list, &[format])?);
            }
        }
        Ok(parts)
    }
}

fn scripts(raw: Option<&RawScripts>, checker: &Checker<'_>) -> Result<Option<super::Scripts>, ConfigError> {
    raw.map(|raw| raw.check(checker)).transpose()
}

impl RawPackage {
    /// Whether it says what packaging can be made of: how it is built, or what is in it.
    pub fn is_described(&self) -> bool {
        let texts = [
            &self.summary,
            &self.description,
            &self.license,
            &self.maintainer,
            &self.homepage,
            &self.section,
        ];
        texts.iter().any(|text| text.is_some())
            || self.build.is_some()
            || self.check.is_some()
            || self.architecture.is_some()
            || self.license_files.is_some()
            || !self.copyright.is_empty()
            || !self.docs.is_empty()
            || !self.files.is_empty()
            || !self.directories.is_empty()
            || !self.symlinks.is_empty()
            || !self.ghosts.is_empty()
            || !self.units.is_empty()
            || !self.users.is_empty()
            || self.scripts.is_some()
            || self.deb.is_some()
            || self.rpm.is_some()
            || !self.builder.is_empty()
            || RelationKind::ALL.iter().any(|kind| self.list(*kind).is_some())
    }

    /// The builder, if something is said of it, by the name that its folder has in the source tree.
    pub fn builder_said<'a>(&self, builder: &'a str) -> Option<&'a str> {
        self.builder.keys().any(|name| name.get_ref() == builder).then_some(builder)
    }

    /// The description, checked; `None` where there is the name alone. `targets` are those of the pipeline.
    pub fn check(
        &self,
        checker: &Checker<'_>,
        targets: &[TargetSection],
    ) -> Result<Option<PackageSection>, ConfigError> {
        if !self.is_described() {
            return Ok(None);
        }
        let name = checker.described_name(&self.name)?;
        let said = |what: &str, text: &Option<Spanned<String>>| {
            text.clone().ok_or_else(|| {
                let hint = format!(
                    "add `{what} = …`, or leave [package] at its name and keep the packaging in the repository"
                );
                let message = format!("[package] describes a package and does not say its `{what}`");
                checker.document.error(self.name.span(), message, hint)
            })
        };
        let summary = checker.summary(&name, &said("summary", &self.summary)?)?;
        let description = checker.description(&said("description", &self.description)?)?;
        let license = checker.license(&said("license", &self.license)?)?;
        let maintainer = checker.maintainer(&said("maintainer", &self.maintainer)?)?;
        let paths = |paths: &[Spanned<String>]| -> Result<Vec<String>, ConfigError> {
            paths.iter().map(|path| checker.plain_path(path)).collect()
        };
        let users: Vec<_> = self.users.iter().map(|user| user.check(checker)).collect::<Result<_, _>>()?;
        let mut files = Vec::new();
        let mut seen = Vec::new();
        for raw in &self.files {
            let file = raw.check(checker, &users)?;
            if twice(&file, &mut seen) {
                let message = format!("`{}` is installed twice", file.installed());
                return Err(checker.document.error(raw.place().span(), message, "leave one of them out"));
            }
            files.push(file);
        }
        let section = PackageSection {
            license_files: self.license_files.as_deref().map(paths).transpose()?,
            copyright: self
                .copyright
                .iter()
                .map(|line| checker.line("a copyright", line))
                .collect::<Result<_, _>>()?,
            homepage: self.homepage.as_ref().map(|url| checker.homepage(url)).transpose()?,
            section: self
                .section
                .as_ref()
                .map_or(Ok("misc".to_owned()), |section| checker.section(section))?,
            independent: self.architecture == Some(RawArchitecture::All),
            build: self.build.as_ref().map(|commands| checker.commands(commands)).transpose()?,
            check: self.check.as_ref().map(|commands| checker.commands(commands)).transpose()?,
            docs: paths(&self.docs)?,
            files,
            directories: self
                .directories
                .iter()
                .map(|raw| raw.check(checker, &users))
                .collect::<Result<_, _>>()?,
            symlinks: self.symlinks.iter().map(|raw| raw.check(checker)).collect::<Result<_, _>>()?,
            ghosts: self.ghosts.iter().map(|raw| raw.check(checker, &users)).collect::<Result<_, _>>()?,
            units: self.units.iter().map(|raw| raw.check(checker)).collect::<Result<_, _>>()?,
            users,
            made_for: self.made_for(targets),
            common: self.common(checker, targets)?,
            formats: self.formats(checker)?,
            builders: self.builders(checker, targets)?,
            name,
            summary,
            description,
            license,
            maintainer,
        };
        Ok(Some(section))
    }

    /// One target for each packaging.
    fn made_for(&self, targets: &[TargetSection]) -> Vec<TargetName> {
        let mut made: Vec<&TargetSection> = Vec::new();
        for target in targets.iter().filter(|target| target.generated) {
            if !made.iter().any(|other| other.packaging == target.packaging) {
                made.push(target);
            }
        }
        made.into_iter().map(|target| target.name.clone()).collect()
    }

    /// What is said for both formats has to be right for each that is made of it and has nothing else to say.
    fn common(&self, checker: &Checker<'_>, targets: &[TargetSection]) -> Result<Parts, ConfigError> {
        let mut parts = Parts { scripts: scripts(self.scripts.as_ref(), checker)?, ..Parts::default() };
        for kind in RelationKind::ALL {
            let Some(list) = self.list(kind) else { continue };
            let of = |format| if format == Format::Deb { &self.deb } else { &self.rpm };
            let otherwise = |format| of(format).as_ref().is_some_and(|parts| parts.list(kind).is_some());
            let made = |format: &Format| targets.iter().any(|t| t.generated && t.name.format == *format);
            let formats: Vec<Format> = [Format::Deb, Format::Rpm]
                .into_iter()
                .filter(made)
                .filter(|format| !otherwise(*format))
                .collect();
            parts.relations.insert(kind, checker.relations(list, &formats)?);
        }
        Ok(parts)
    }

    fn formats(&self, checker: &Checker<'_>) -> Result<BTreeMap<Format, Parts>, ConfigError> {
        let said = [(Format::Deb, &self.deb), (Format::Rpm, &self.rpm)].into_iter();
        said.filter_map(|(format, raw)| Some((format, raw.as_ref()?)))
            .map(|(format, raw)| Ok((format, raw.check(checker, format)?)))
            .collect()
    }

    fn builders(
        &self,
        checker: &Checker<'_>,
        targets: &[TargetSection],
    ) -> Result<BTreeMap<String, Parts>, ConfigError> {
        let mut builders = BTreeMap::new();
        for (name, raw) in &self.builder {
            let target =
                targets.iter().find(|target| target.generated && target.name.builder == *name.get_ref());
            let Some(target) = target else {
                let message = format!("no target is made of [package] on builder `{}`", name.get_ref());
                let hint = "name the builder of a target that has no `packaging` of its own";
                return Err(checker.document.error(name.span(), message, hint));
            };
            builders.insert(name.get_ref().clone(), raw.check(checker, target.name.format)?);
        }
        Ok(builders)
    }
}
