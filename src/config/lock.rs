use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::strict::Document;
use super::{ConfigError, PipelineFile};
use crate::model::{Digest, InstalledPackage, TargetName};
use crate::support::fs::PathContext;

/// The version of the format that is written and read.
const VERSION: i64 = 1;

const HEADER: &str = "# The images that `packhold run --locked` builds in, and the packages in them. `packhold update` writes this file.\n";

const ANEW: &str = "`packhold update` writes the lock; do not edit it, and remove it if a merge broke it";

/// The images that a pipeline is built in, by identity: per builder base and builder image, and per target (and for the shared prepare
/// stage) the deps image.
///
/// Images of verify are not in it. They say what verify finds, not what is built: that packages install on the distro of today is what
/// is asked there. What they hold follows from the packages, which are not there yet when a lock is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// By name.
    pub builders: BTreeMap<String, LockedBuilder>,
    /// The shared prepare stage: its builder's name and its image.
    pub prepare: Option<(String, LockedDeps)>,
    /// By name.
    pub targets: BTreeMap<TargetName, LockedDeps>,
}

/// What is locked of a builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedBuilder {
    /// What `base.sh` starts from, where the builder has one.
    pub userland: Option<LockedImage>,
    /// The base image.
    pub base: LockedImage,
    /// The builder image.
    pub builder: LockedImage,
}

/// A deps image and what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedDeps {
    /// What the packaging declares: the lines that the image was made of.
    pub declared: Vec<String>,
    /// What the pipeline adds.
    pub deps: Vec<String>,
    /// The image.
    pub image: LockedImage,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedImage {
    /// The identity: the digest of its configuration.
    pub id: Digest,
    /// What it was made from, as a key ([`crate::plan`]'s, which are the same for the same scripts, dependencies and image below).
    pub key: Digest,
    /// The packages in it that the image below does not have in this version, sorted.
    pub packages: Vec<InstalledPackage>,
}

/// A lock and the file that it was read from.
#[derive(Clone, Debug)]
pub struct LockFile {
    /// The file, as it is named to people.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// What it says.
    pub lock: Lock,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLock {
    version: Spanned<i64>,
    #[serde(default)]
    builder: BTreeMap<Spanned<String>, RawBuilder>,
    prepare: Option<RawPrepare>,
    #[serde(default)]
    target: BTreeMap<Spanned<String>, RawDeps>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBuilder {
    userland: Option<RawImage>,
    base: RawImage,
    builder: RawImage,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawImage {
    id: Spanned<String>,
    key: Spanned<String>,
    packages: Vec<RawPackage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrepare {
    builder: String,
    declared: Vec<String>,
    deps: Vec<String>,
    id: Spanned<String>,
    key: Spanned<String>,
    packages: Vec<RawPackage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDeps {
    declared: Vec<String>,
    deps: Vec<String>,
    id: Spanned<String>,
    key: Spanned<String>,
    packages: Vec<RawPackage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPackage {
    name: Spanned<String>,
    version: Spanned<String>,
    arch: Spanned<String>,
    sha256: Option<Spanned<String>>,
    #[serde(rename = "header-sha256")]
    header_sha256: Option<Spanned<String>>,
}

impl LockFile {
    /// Reads the lock of a pipeline; `None` if it has none.
    pub fn read(pipeline: &PipelineFile) -> Result<Option<Self>, ConfigError> {
        let (shown, path) = (pipeline.lock_name(), pipeline.lock_path());
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).at("read", &path)?;
        let lock = Lock::parse(&shown, &text)?;
        Ok(Some(Self { path: shown, text, lock }))
    }
}

impl Lock {
    /// Reads and checks a lock.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = Document { file, text };
        let raw: RawLock = document.parse().map_err(|error| match error {
            ConfigError::Invalid { file, line, column, message, hint } => {
                let hint = if hint.starts_with("see ") { ANEW.to_owned() } else { hint };
                ConfigError::Invalid { file, line, column, message, hint }
            }
            other => other,
        })?;
        if *raw.version.get_ref() != VERSION {
            let message =
                format!("version {} of a lock; this Packhold knows {VERSION}", raw.version.get_ref());
            return Err(document.error(raw.version.span(), message, ANEW));
        }
        let reader = Reader { document };
        let mut lock = Self::default();
        for (name, raw) in raw.builder {
            reader.plain(&name, "name of a builder")?;
            let builder = LockedBuilder {
                userland: raw.userland.map(|image| reader.image(image)).transpose()?,
                base: reader.image(raw.base)?,
                builder: reader.image(raw.builder)?,
            };
            lock.builders.insert(name.into_inner(), builder);
        }
        if let Some(RawPrepare { builder, declared, deps, id, key, packages }) = raw.prepare {
            let image = reader.image(RawImage { id, key, packages })?;
            lock.prepare = Some((builder, LockedDeps { declared, deps, image }));
        }
        for (name, RawDeps { declared, deps, id, key, packages }) in raw.target {
            let target = name.get_ref().parse::<TargetName>();
            let target = target.map_err(|e| reader.document.error(name.span(), e.to_string(), ANEW))?;
            let image = reader.image(RawImage { id, key, packages })?;
            lock.targets.insert(target, LockedDeps { declared, deps, image });
        }
        Ok(lock)
    }

    /// The lock as a file: sorted, one package a line, the same bytes for the same lock.
    pub fn render(&self) -> String {
        let mut out = format!("{HEADER}version = {VERSION}\n");
        for (name, builder) in &self.builders {
            let images = [("userland", builder.userland.as_ref()), ("base", Some(&builder.base))];
            for (role, image) in images.into_iter().chain([("builder", Some(&builder.builder))]) {
                if let Some(image) = image {
                    let _ = write!(out, "\n[builder.{}.{role}]\n", quoted(name));
                    render_image(&mut out, image);
                }
            }
        }
        if let Some((builder, deps)) = &self.prepare {
            let _ = write!(out, "\n[prepare]\nbuilder = {}\n", quoted(builder));
            render_deps(&mut out, deps);
        }
        for (name, deps) in &self.targets {
            let _ = write!(out, "\n[target.{}]\n", quoted(&name.to_string()));
            render_deps(&mut out, deps);
        }
        out
    }
}

struct Reader<'a> {
    document: Document<'a>,
}

impl Reader<'_> {
    fn image(&self, raw: RawImage) -> Result<LockedImage, ConfigError> {
        let mut packages = Vec::new();
        let mut seen = BTreeSet::new();
        for raw in raw.packages {
            let place = raw.name.span();
            let digest = |hex: Spanned<String>| {
                Digest::from_hex(hex.get_ref()).map_err(|_| {
                    let message = format!("`{}` is no sha256 of 64 hexadecimal digits", hex.get_ref());
                    self.document.error(hex.span(), message, ANEW)
                })
            };
            let package = InstalledPackage {
                name: self.plain(&raw.name, "name of a package")?,
                version: self.plain(&raw.version, "version")?,
                arch: self.plain(&raw.arch, "architecture")?,
                sha256: raw.sha256.map(digest).transpose()?,
                header_sha256: raw.header_sha256.map(digest).transpose()?,
            };
            if !seen.insert((package.name.clone(), package.version.clone(), package.arch.clone())) {
                let message = format!("the package `{}` is there twice", package.name);
                return Err(self.document.error(place, message, ANEW));
            }
            packages.push(package);
        }
        packages.sort();
        Ok(LockedImage { id: self.digest(&raw.id)?, key: self.digest(&raw.key)?, packages })
    }

    fn digest(&self, text: &Spanned<String>) -> Result<Digest, ConfigError> {
        let parsed = text.get_ref().parse::<Digest>();
        parsed.map_err(|error| self.document.error(text.span(), error.to_string(), ANEW))
    }

    /// A word that cannot steer a terminal.
    fn plain(&self, text: &Spanned<String>, what: &str) -> Result<String, ConfigError> {
        if text.get_ref().chars().all(|c| c.is_ascii_graphic()) {
            return Ok(text.get_ref().clone());
        }
        let message = format!("{} is not the {what}", quoted(text.get_ref()));
        Err(self.document.error(text.span(), message, ANEW))
    }
}

fn quoted(text: &str) -> String {
    // JSON's strings are TOML's basic strings, but for DEL, which TOML wants escaped.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

fn list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
}

fn render_deps(out: &mut String, deps: &LockedDeps) {
    let _ = write!(out, "declared = {}\ndeps = {}\n", list(&deps.declared), list(&deps.deps));
    render_image(out, &deps.image);
}

fn render_image(out: &mut String, image: &LockedImage) {
    let _ = writeln!(out, "id = \"{}\"\nkey = \"{}\"\npackages = [", image.id, image.key);
    for package in &image.packages {
        let InstalledPackage { name, version, arch, sha256, header_sha256 } = package;
        let (name, version, arch) = (quoted(name), quoted(version), quoted(arch));
        let _ = write!(out, "    {{ name = {name}, version = {version}, arch = {arch}");
        for (key, digest) in [("sha256", sha256), ("header-sha256", header_sha256)] {
            if let Some(digest) = digest {
                let _ = write!(out, ", {key} = \"{}\"", digest.hex());
            }
        }
        out.push_str(" },\n");
    }
    out.push_str("]\n");
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::support::Hint;

    pub fn package(name: &str, version: &str) -> InstalledPackage {
        InstalledPackage {
            name: name.into(),
            version: version.into(),
            arch: "amd64".into(),
            sha256: Some(Digest::of(format!("{name} {version}"))),
            header_sha256: Some(Digest::of(format!("header of {name} {version}"))).filter(|_| name == "rpm"),
        }
    }

    pub fn image(name: &str, packages: &[(&str, &str)]) -> LockedImage {
        let packages = packages.iter().map(|(name, version)| package(name, version)).collect();
        LockedImage { id: Digest::of(name), key: Digest::of(format!("key of {name}")), packages }
    }

    pub fn lock() -> Lock {
        let deps = |name: &str| LockedDeps {
            declared: vec!["build-depends: debhelper-compat (= 13), \"odd\u{7f}\u{1b}".into()],
            deps: vec!["zlib1g-dev".into()],
            image: image(name, &[("zlib1g-dev", "1:1.2.13")]),
        };
        let builder = LockedBuilder {
            userland: Some(image("userland", &[])),
            base: image("base", &[("apt", "2.6.1"), ("libc6", "2.36-9")]),
            builder: image("builder", &[("gcc", "12.2"), ("rpm", "4.18")]),
        };
        Lock {
            builders: BTreeMap::from([("opensuse-leap-15.6".to_owned(), builder)]),
            prepare: Some(("opensuse-leap-15.6".to_owned(), deps("prepare"))),
            targets: BTreeMap::from([("opensuse-leap-15.6/rpm".parse().unwrap(), deps("deps"))]),
        }
    }

    #[test]
    fn a_lock_is_read_back_as_it_was_written_and_written_the_same() {
        let text = lock().render();
        let read = Lock::parse(Path::new("p.lock"), &text).unwrap();
        assert_eq!(read, lock());
        assert_eq!(read.render(), text);
        let line = format!(
            "    {{ name = \"apt\", version = \"2.6.1\", arch = \"amd64\", sha256 = \"{}\" }},\n",
            Digest::of("apt 2.6.1").hex()
        );
        assert!(text.contains(&line), "{text}");
        let header = format!(", header-sha256 = \"{}\" }},\n", Digest::of("header of rpm 4.18").hex());
        assert!(text.contains(&header), "{text}");
    }

    #[test]
    fn what_is_wrong_in_a_lock_is_told_with_its_line() {
        let text = lock().render();
        let apt = Digest::of("apt 2.6.1").hex();
        for (old, new, line, message, hint) in [
            ("version = 1", "version = 2", 2, "version 2 of a lock", "packhold update"),
            ("id = \"sha256:", "id = \"sha512:", 5, "is not a digest", "packhold update"),
            ("packages = [\n]", "packages = [\n]\npackges = []", 9, "unknown key `packges`", "`packages`"),
            (apt.as_str(), "ABC", 14, "`ABC` is no sha256", "packhold update"),
            ("\"2.6.1\"", "\"2\\u001b[31m\"", 14, "is not the version", "packhold update"),
            (
                "name = \"libc6\", version = \"2.36-9\"",
                "name = \"apt\", version = \"2.6.1\"",
                15,
                "twice",
                "",
            ),
            ("opensuse-leap-15.6/rpm", "../rpm", 36, "is not a target", "packhold update"),
            ("[prepare]", "<<<<<<<", 26, "", "packhold update"),
        ] {
            assert!(text.contains(old), "{old}");
            let error = Lock::parse(Path::new("p.lock"), &text.replacen(old, new, 1)).unwrap_err();
            let said = error.to_string();
            assert!(said.starts_with(&format!("p.lock:{line}:")) && said.contains(message), "{new}: {said}");
            assert!(error.hint().contains(hint), "{new}: {}", error.hint());
        }
    }
}
