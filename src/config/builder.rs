use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use schemars::JsonSchema;
use serde::Deserialize;

use super::strict::{Document, nearest};
use super::{ConfigError, StageLimits};
use crate::model::{Architecture, Digest, Format, Hasher};
use crate::support::fs::PathContext;

static SHIPPED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/builders");

const MANIFEST: &str = "builder.toml";

/// The files with a part of their own in the contract; every other file is data that any script may read.
const REQUIRED: [&str; 5] = ["prepare.sh", "deps.sh", "build.sh", "verify.sh", "packages.sh"];

/// Those that a builder may lack.
const OPTIONAL: [&str; 20] = [
    "buildrequires.sh",
    "changelog.sh",
    "tidy.sh",
    "base.sh",
    "look.sh",
    "dpkg.sh",
    "family.sh",
    "provide.sh",
    "install.sh",
    "churn",
    "init.sh",
    "service.sh",
    "lint.sh",
    "lint.toml",
    "lists.sh",
    "doctor.sh",
    "kit.sh",
    "vary.sh",
    "order.c",
    "filetimes.c",
];

/// One distro release as a place to build and to verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    /// The folder's name.
    pub name: String,
    /// What `build.sh` makes.
    pub format: Format,
    /// How its userland is obtained.
    pub base: Base,
    /// All files by name, those of the extended builders included.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The architecture of its images; `None` where nobody has told the engine's.
    pub architecture: Option<Architecture>,
    /// Whether that is another one than the engine's own, so that everything in its containers runs in an emulator.
    pub emulated: bool,
}

/// How a builder's userland is obtained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Base {
    /// An image reference: `docker.io/library/debian:bookworm`.
    pub registry: Option<String>,
    /// The digest of the manifest to pull, whatever the tag says by now.
    pub digest: Option<Digest>,
    /// How to bootstrap it from a mirror.
    pub bootstrap: Option<Bootstrap>,
}

/// What mmdebstrap is asked for (mmdebstrap(1)).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bootstrap {
    /// `bookworm`.
    pub suite: String,
    /// `minbase` unless said otherwise.
    #[serde(default = "minbase")]
    pub variant: String,
    /// `main` unless said otherwise.
    #[serde(default = "main")]
    pub components: Vec<String>,
    /// Packages beside the variant's own.
    #[serde(default)]
    pub include: Vec<String>,
    /// The file of keys that the mirror's Release must be signed with.
    pub keyring: Option<PathBuf>,
    /// The mirror; mmdebstrap's own default otherwise.
    pub mirror: Option<String>,
}

fn minbase() -> String {
    "minbase".to_owned()
}

fn main() -> Vec<String> {
    vec!["main".to_owned()]
}

/// A builder of Packhold: one distro release as a place to build and to verify packages (builder.toml).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Manifest {
    /// The builder whose files fill the gaps of this one.
    extends: Option<String>,
    /// The package format that build.sh makes; without it, that of the builder that it extends.
    format: Option<Format>,
    base: Option<Base>,
}

impl Builder {
    /// The builder as people, a lock and `--base-tar` tell it from the same one on another architecture: `debian-12`, where its programs are
    /// emulated `debian-12/arm64`.
    pub fn place(&self) -> String {
        match self.architecture.filter(|_| self.emulated) {
            Some(architecture) => place(&self.name, architecture, self.format),
            None => self.name.clone(),
        }
    }

    /// The builder with its architecture, also where that is the engine's own: `debian-12/amd64`. `None` if no engine was asked.
    pub fn full_place(&self) -> Option<String> {
        self.architecture.map(|architecture| place(&self.name, architecture, self.format))
    }

    /// The same as one path component: `debian-12_arm64`.
    pub fn file_stem(&self) -> String {
        self.place().replace('/', "_")
    }

    /// The key of the userland: builders that ask for the same, on the same architecture, share it.
    pub fn userland_key(&self) -> Digest {
        self.base.key(self.architecture)
    }

    /// What its own scripts may use.
    pub fn limits(&self) -> StageLimits {
        let limits = StageLimits::default();
        if self.emulated { limits.emulated() } else { limits }
    }

    /// The script `name`, if the builder has it.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// A digest over the named scripts and all data files: what can change the result of running those scripts.
    pub fn digest_of(&self, scripts: &[&str]) -> Digest {
        let mut hasher = Hasher::new();
        for (name, content) in &self.files {
            let has_a_part = REQUIRED.iter().chain(&OPTIONAL).any(|part| part == name);
            let is_data = !has_a_part && name != MANIFEST;
            if is_data || scripts.contains(&name.as_str()) {
                hasher.field(name, content).expect("a sink takes every byte");
            }
        }
        hasher.finish().0
    }
}

/// A builder on an architecture that is named.
pub(super) fn place(builder: &str, architecture: Architecture, format: Format) -> String {
    format!("{builder}/{}", architecture.name(format))
}

impl Base {
    fn key(&self, architecture: Option<Architecture>) -> Digest {
        let mut hasher = Hasher::new();
        let mut field = |name: &str, value: &str| hasher.field(name, value).expect("a sink takes every byte");
        field("registry", self.registry.as_deref().unwrap_or(""));
        field("digest", &self.digest.map(|d| d.to_string()).unwrap_or_default());
        if let Some(bootstrap) = &self.bootstrap {
            field("suite", &bootstrap.suite);
            field("variant", &bootstrap.variant);
            field("components", &bootstrap.components.join(" "));
            field("include", &bootstrap.include.join(" "));
        }
        // Keys from when everything was for amd64 stay what they were.
        if let Some(architecture) = architecture.filter(|own| *own != Architecture::Amd64) {
            field("architecture", architecture.oci());
        }
        hasher.finish().0
    }
}

/// All builders that can be named, the user's own in front of those that are compiled in.
#[derive(Clone, Debug)]
pub struct Builders {
    folder: Option<PathBuf>,
    /// Those of an archived run, and nothing beside them.
    kept: Option<BTreeMap<String, Builder>>,
    /// What the engine's containers run without an emulator.
    native: Option<Architecture>,
}

impl Builders {
    /// Those that are compiled in.
    pub fn shipped() -> Self {
        Self { folder: None, kept: None, native: None }
    }

    /// The builders in `folder`, in front of those that are compiled in.
    pub fn with_folder(folder: &Path) -> Result<Self, ConfigError> {
        std::fs::read_dir(folder).at("read the builders in", folder)?;
        Ok(Self { folder: Some(folder.to_owned()), kept: None, native: None })
    }

    /// The builders of an archived run and no others: name → format, and all files that it had, those of what it extended
    /// included. One that the run did not use is known by name, and has no files.
    pub fn kept(all: BTreeMap<String, (Format, BTreeMap<String, Vec<u8>>)>) -> Self {
        // How a userland was obtained is of no use: the images are kept, too.
        let builder = |(name, (format, files)): (String, (Format, BTreeMap<String, Vec<u8>>))| {
            (
                name.clone(),
                Builder { name, format, base: Base::default(), files, architecture: None, emulated: false },
            )
        };
        Self { folder: None, kept: Some(all.into_iter().map(builder).collect()), native: None }
    }

    /// The same builders on an engine of that architecture, in OCI's word.
    pub fn on(self, architecture: &str) -> Self {
        Self { native: Architecture::of_oci(architecture), ..self }
    }

    /// Reads the builder `name` with all that it extends, for an architecture; `None` is the engine's own.
    pub fn load_for(&self, name: &str, architecture: Option<Architecture>) -> Result<Builder, ConfigError> {
        let emulated = architecture.is_some() && architecture != self.native;
        let architecture = architecture.or(self.native);
        Ok(Builder { architecture, emulated, ..self.load(name)? })
    }

    /// The names of all builders, sorted; families that others extend are not among them.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.folder_names();
        names.retain(|name| self.load(name).is_ok());
        names
    }

    /// The names of all folders that may hold a builder, sorted, each once.
    fn folder_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            SHIPPED.dirs().filter_map(|dir| Some(dir.path().to_str()?.to_owned())).collect();
        if let Some(folder) = &self.folder {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            names.extend(entries.filter_map(|entry| entry.file_name().into_string().ok()));
        }
        names.sort();
        names.dedup();
        names
    }

    /// Says whether there is a builder `name`.
    pub fn check_name(&self, name: &str) -> Result<(), ConfigError> {
        self.load(name).map(|_| ())
    }

    /// The format that the builder `name` makes.
    /// `None` where an archived run did not use it and nobody knows any more.
    pub fn format_of(&self, name: &str) -> Result<Option<Format>, ConfigError> {
        match &self.kept {
            Some(kept) => Ok(kept.get(name).map(|builder| builder.format)),
            None => self.load(name).map(|builder| Some(builder.format)),
        }
    }

    /// Reads the builder `name` with all that it extends, for the engine's own architecture.
    pub fn load(&self, name: &str) -> Result<Builder, ConfigError> {
        if let Some(kept) = &self.kept {
            let unused = || Builder {
                name: name.to_owned(),
                format: Format::Deb,
                base: Base::default(),
                files: BTreeMap::new(),
                architecture: None,
                emulated: false,
            };
            let known = kept.get(name).cloned().unwrap_or_else(unused);
            return Ok(Builder { architecture: self.native, ..known });
        }
        let bad = |message: String, hint: &str| ConfigError::BadBuilder {
            builder: name.to_owned(),
            message,
            hint: hint.to_owned(),
        };
        let mut files = BTreeMap::new();
        let mut base = None;
        let mut format = None;
        let mut next = Some(name.to_owned());
        let mut seen = Vec::new();
        while let Some(current) = next {
            if seen.contains(&current) {
                return Err(bad(
                    format!("it extends itself through `{current}`"),
                    "break the circle of `extends`",
                ));
            }
            let Some(found) = self.files_of(&current)? else {
                return Err(if seen.is_empty() {
                    self.unknown(name)
                } else {
                    bad(
                        format!("it extends `{current}`, which does not exist"),
                        "check the spelling of `extends`",
                    )
                });
            };
            let path = PathBuf::from(format!("{current}/{MANIFEST}"));
            let text = found.get(MANIFEST).cloned().unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let manifest: Manifest = Document { file: &path, text: &text }.parse()?;
            if seen.is_empty() {
                base = manifest.base;
            }
            format = format.or(manifest.format);
            for (file, content) in found {
                files.entry(file).or_insert(content);
            }
            seen.push(current);
            next = manifest.extends;
        }
        // A family has no base: it is there to be extended.
        let Some(base) = base else { return Err(self.unknown(name)) };
        let Some(format) = format else {
            return Err(bad(
                "it does not say its format".to_owned(),
                "add format = \"deb\" or format = \"rpm\"",
            ));
        };
        if base == Base::default() {
            return Err(bad(
                "its [base] names no source".to_owned(),
                "add `registry` or a [base.bootstrap] table",
            ));
        }
        for script in REQUIRED {
            if !files.contains_key(script) {
                return Err(bad(
                    format!("it lacks {script}"),
                    "add the script, or `extends` a builder that has it",
                ));
            }
        }
        Ok(Builder { name: name.to_owned(), format, base, files, architecture: self.native, emulated: false })
    }

    fn unknown(&self, name: &str) -> ConfigError {
        // Names of folders, not only of good builders: a hint must not depend on reading them all.
        let mut names = self.folder_names();
        names.retain(|candidate| candidate != name && candidate.contains('-'));
        let hint = match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the builders are {}; --builders DIR adds your own", names.join(", ")),
        };
        ConfigError::UnknownBuilder { name: name.to_owned(), hint }
    }

    /// The files of the folder `name`, without what it extends.
    fn files_of(&self, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, ConfigError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Ok(None);
        }
        if let Some(folder) = self.folder.as_ref().map(|folder| folder.join(name))
            && folder.is_dir()
        {
            let mut files = BTreeMap::new();
            for entry in std::fs::read_dir(&folder).at("read", &folder)? {
                let path = entry.at("read", &folder)?.path();
                if let Some(file) = path.file_name().and_then(|n| n.to_str())
                    && path.is_file()
                {
                    files.insert(file.to_owned(), std::fs::read(&path).at("read", &path)?);
                }
            }
            return Ok(Some(files));
        }
        Ok(SHIPPED.get_dir(name).map(|dir| {
            let name_of = |file: &include_dir::File<'_>| Some(file.path().file_name()?.to_str()?.to_owned());
            dir.files().filter_map(|file| Some((name_of(file)?, file.contents().to_vec()))).collect()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Hint;

    #[test]
    fn every_shipped_builder_is_complete() {
        let names = Builders::shipped().names();
        for name in [
            "debian-12",
            "debian-13",
            "debian-rpm",
            "fedora-43",
            "opensuse-leap-15.6",
            "rocky-9",
            "ubuntu-24.04",
        ] {
            assert!(names.iter().any(|n| n == name), "{name} is not among {names:?}");
        }
        assert!(!names.iter().any(|name| name == "deb" || name == "rpm"), "families are not builders");
    }

    #[test]
    fn a_builder_has_the_files_of_what_it_extends() {
        let builder = Builders::shipped().load("debian-13").unwrap();
        assert!(builder.has("build.sh") && builder.format == Format::Deb);
    }

    #[test]
    fn builders_with_the_same_userland_share_its_key() {
        let key = |name| Builders::shipped().load(name).unwrap().userland_key();
        assert_eq!(key("debian-12"), key("debian-rpm"));
        assert_ne!(key("debian-12"), key("debian-13"));
    }

    #[test]
    fn another_architecture_is_another_userland() {
        let builders = Builders::shipped().on("amd64");
        let load = |architecture| builders.load_for("debian-12", architecture).unwrap();
        let (own, named) = (load(None), load(Some(Architecture::Amd64)));
        let (arm64, s390x) = (load(Some(Architecture::Arm64)), load(Some(Architecture::S390x)));
        assert_eq!(own, named);
        assert_eq!((own.place().as_str(), own.emulated), ("debian-12", false));
        assert_eq!(own.full_place().as_deref(), Some("debian-12/amd64"));
        assert_eq!((arm64.place().as_str(), arm64.emulated), ("debian-12/arm64", true));
        let keys = [own.userland_key(), arm64.userland_key(), s390x.userland_key()];
        assert_eq!(std::collections::BTreeSet::from(keys).len(), 3);
        // On a machine of that architecture it is the same userland, and nothing is emulated.
        let there = Builders::shipped().on("arm64").load("debian-12").unwrap();
        assert_eq!((there.userland_key(), there.emulated), (arm64.userland_key(), false));
    }

    #[test]
    fn a_changed_script_changes_only_what_it_can_change() {
        let mut builder = Builders::shipped().load("debian-12").unwrap();
        let before = (builder.digest_of(&["prepare.sh"]), builder.digest_of(&["build.sh"]));
        builder.files.insert("build.sh".into(), b"exit 1".to_vec());
        let after = (builder.digest_of(&["prepare.sh"]), builder.digest_of(&["build.sh"]));
        assert_eq!(before.0, after.0);
        assert_ne!(before.1, after.1);
        for name in ["lint.sh", "init.sh", "service.sh", "churn"] {
            builder.files.insert(name.into(), b"exit 1".to_vec());
        }
        assert_eq!(after, (builder.digest_of(&["prepare.sh"]), builder.digest_of(&["build.sh"])));
    }

    #[test]
    fn a_folder_of_ones_own_goes_in_front_and_may_extend_a_shipped_builder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("mine-1")).unwrap();
        std::fs::write(
            folder.path().join("mine-1/builder.toml"),
            "extends = \"debian-12\"\n[base]\nregistry = \"r.example/x:1\"\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("mine-1/build.sh"), "exit 7\n").unwrap();
        let builder = Builders::with_folder(folder.path()).unwrap().load("mine-1").unwrap();
        assert_eq!(builder.files["build.sh"], b"exit 7\n");
        assert!(builder.has("deps.sh"));
    }

    #[test]
    fn a_circle_of_builders_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for (name, other) in [("a-1", "b-1"), ("b-1", "a-1")] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            let text = format!("extends = \"{other}\"\n[base]\nregistry = \"x\"\n");
            std::fs::write(folder.path().join(name).join("builder.toml"), text).unwrap();
        }
        let error = Builders::with_folder(folder.path()).unwrap().load("a-1").unwrap_err();
        assert!(error.to_string().contains("extends itself"), "{error}");
        assert!(!error.hint().is_empty());
    }
}
