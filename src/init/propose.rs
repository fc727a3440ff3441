use std::fmt::Write;

use super::look::Found;
use super::spec::SpecFile;
use super::version::VersionChoice;
use crate::model::{Format, TargetName};
use crate::support::Hint;

/// A pipeline that fits what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The file's text, with comments.
    pub text: String,
    /// What a person has to look at, a sentence each.
    pub remarks: Vec<String>,
}

/// Why there is nothing to propose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Nothing there says how a package is made.
    #[error("there is neither Debian packaging nor a spec file")]
    NoPackaging,
    /// A target is asked for, and nothing says how its packages are made.
    #[error("there is no {} for the target {target}", packaging_of(target.format))]
    NoPackagingFor {
        /// The target.
        target: TargetName,
    },
}

impl Hint for ProposeError {
    fn hint(&self) -> String {
        match self {
            Self::NoPackaging => {
                "write a debian folder (dh_make makes a first one) or a spec file (rpmdev-newspec), then run it again".to_owned()
            }
            Self::NoPackagingFor { .. } => "ask for targets of the other format, or write the packaging first".to_owned(),
        }
    }
}

fn packaging_of(format: Format) -> &'static str {
    match format {
        Format::Deb => "Debian packaging",
        Format::Rpm => "spec file",
    }
}

/// What is built where nobody says it: what needs Debian's mirror alone.
const DEBS: [&str; 2] = ["debian-12/deb", "debian-13/deb"];
const RPMS: [&str; 1] = ["debian-rpm/rpm"];

/// Writes a pipeline. `wanted` are the targets; empty means those that need Debian's mirror alone.
pub fn propose(found: &Found, wanted: &[TargetName]) -> Result<Proposal, ProposeError> {
    if found.debian.is_empty() && found.specs.is_empty() {
        return Err(ProposeError::NoPackaging);
    }
    let names = |format: Format, usual: &[&str]| -> Vec<String> {
        match wanted {
            [] => usual.iter().map(|name| (*name).to_owned()).collect(),
            wanted => wanted.iter().filter(|name| name.format == format).map(ToString::to_string).collect(),
        }
    };
    for target in wanted {
        let lacks = match target.format {
            Format::Deb => found.debian.is_empty(),
            Format::Rpm => found.specs.is_empty(),
        };
        if lacks {
            return Err(ProposeError::NoPackagingFor { target: target.clone() });
        }
    }
    let mut writer = Writer { text: String::new(), remarks: Vec::new(), usual: wanted.is_empty() };
    writer.package(found);
    writer.debs(found, &names(Format::Deb, &DEBS));
    writer.rpms(found, &names(Format::Rpm, &RPMS));
    writer.verify(found);
    if let Some((file, command)) = found.fetched {
        writer.remark(&format!(
            "{file} names libraries that are not in the repository, and builds have no network: commit what `{command}` makes, or let \
             the packaging build with the distro's own packages of them"
        ));
    }
    Ok(Proposal { text: writer.text, remarks: writer.remarks })
}

struct Writer {
    text: String,
    remarks: Vec<String>,
    /// Whether nobody said which targets there are to be.
    usual: bool,
}

/// A string as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

impl Writer {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    fn remark(&mut self, sentence: &str) {
        self.remarks.push(sentence.to_owned());
    }

    fn package(&mut self, found: &Found) {
        self.line("# How packages are made of this repository: `packhold plan` says what a run would do, `packhold run` does it.");
        self.line("[package]");
        self.line(&format!("name = {}", quoted(&found.name)));
        if !found.subdir.is_empty() {
            self.line("\n[source]");
            self.line(&format!("subdir = {}", quoted(&found.subdir)));
        }
        match &found.version {
            VersionChoice::Tags { prefix } if prefix == "v" => {
                self.line("\n# Versions are those of the tags: v1.2.0, and 1.2.0+3.g… for the third commit after it.");
            }
            VersionChoice::Tags { prefix } => {
                let example = format!("{prefix}1.2.0");
                self.line(&format!("\n# Versions are those of the tags: {example}, and 1.2.0+3.g… for the third commit after it."));
                self.line(&format!("[version]\ntag-prefix = {}", quoted(prefix)));
            }
            VersionChoice::NoTags => {
                self.line("\n# Versions are those of tags, v1.2.0, of which there is none yet: until then they are 0~~N.g….");
            }
            VersionChoice::File { path, version } => {
                self.line(&format!("\n# The version, now {version}, is the one that this file names: every commit has it until the file names another."));
                self.line("# Without this section it is that of tags (v1.2.0), and every commit has one of its own.");
                self.line(&format!("[version]\nfrom = {}", quoted(path)));
                self.remark(&format!(
                    "there is no tag that is a version, so versions are those that {path} names"
                ));
            }
        }
    }

    fn debs(&mut self, found: &Found, targets: &[String]) {
        let Some(folder) = found.debian.first().filter(|_| !targets.is_empty()) else { return };
        self.line(&format!("\n# debs, by the Debian packaging in {}/.", folder.path));
        for (number, target) in targets.iter().enumerate() {
            let gap = if number == 0 { "" } else { "\n" };
            self.line(&format!("{gap}[target.{}]", quoted(target)));
            if folder.path != "debian" {
                self.line(&format!("packaging = {}", quoted(&folder.path)));
            }
        }
        if self.usual {
            self.line(
                "\n# Ubuntu's needs its registry image, or its mirror with the package ubuntu-keyring.",
            );
            self.line("# [target.\"ubuntu-24.04/deb\"]");
        }
        self.others(found.debian.iter().skip(1).map(|other| other.path.as_str()));
        if folder.uncommitted {
            self.remark(&format!(
                "{} is in no commit yet, and a run builds commits: add and commit it",
                folder.path
            ));
        }
    }

    fn rpms(&mut self, found: &Found, targets: &[String]) {
        let Some(spec) = found.specs.first().filter(|_| !targets.is_empty()) else { return };
        if self.usual {
            self.line("\n# rpms, by the spec file. debian-rpm is an rpm toolchain on Debian, for which Debian's mirror is enough: it shows that the spec");
            self.line("# file works. Packages for users are built on their distro: rocky-9, fedora-43 or opensuse-leap-15.6 in its place.");
            self.remark("rpms are built on debian-rpm, to try the spec file: for users, name their distro in its place (rocky-9, fedora-43 …)");
        } else {
            self.line("\n# rpms, by the spec file.");
        }
        for (number, target) in targets.iter().enumerate() {
            let gap = if number == 0 { "" } else { "\n" };
            self.line(&format!("{gap}[target.{}]", quoted(target)));
            self.line(&format!("packaging = {}", quoted(&spec.path)));
            let on_debian = target.starts_with("debian-rpm/");
            let missing = missing_tools(found, spec, on_debian);
            if !missing.is_empty() {
                self.line("# What the build needs and the spec file does not ask for.");
                let names: Vec<String> = missing.iter().map(|name| quoted(name)).collect();
                self.line(&format!("deps = [{}]", names.join(", ")));
            }
            if let Some((why, script)) = prepare(found, spec) {
                self.line(&format!("# {why}"));
                self.line(&format!("prepare = {}", quoted(script)));
            }
        }
        if spec.template {
            self.remark(&format!("{} has to be made of a template: check the command `prepare`, and add the tools that it needs to `deps`", spec.path));
        }
        self.others(found.specs.iter().skip(1).map(|other| other.path.as_str()));
        if spec.uncommitted {
            self.remark(&format!(
                "{} is in no commit yet, and a run builds commits: add and commit it",
                spec.path
            ));
        }
    }

    /// Packaging of the same format that is not taken.
    fn others<'p>(&mut self, paths: impl Iterator<Item = &'p str>) {
        let paths: Vec<&str> = paths.collect();
        if !paths.is_empty() {
            self.line(&format!("# Not taken: {}", paths.join(", ")));
            self.remark(&format!("there is more packaging, which is not taken: {}", paths.join(", ")));
        }
    }

    fn verify(&mut self, found: &Found) {
        let program = &found.program;
        self.line("\n# Commands that the installed package must answer. Everything else that is verified needs no word here.");
        self.line("# [[verify.smoke]]");
        self.line(&format!("# run = {}", quoted(&format!("{program} --version"))));
        self.line(&format!("# output = {}", quoted("[0-9]")));
        self.remark(&format!("say in [[verify.smoke]] which command shows that the package works; {program} --version is proposed"));
    }
}

/// What a build needs and the spec file does not name, in the builder's own package names. Where the spec file names nothing at all, what
/// Debian's packaging of the same names is a better guess, on a builder that has Debian's names.
fn missing_tools(found: &Found, spec: &SpecFile, on_debian: bool) -> Vec<String> {
    let mut missing: Vec<&str> = Vec::new();
    if found.compiles && !spec.requires_any(&["gcc", "gcc-c++", "clang"]) {
        missing.push("gcc");
        missing.extend(on_debian.then_some("libc6-dev"));
    }
    let uses_make = found.compiles && found.build.is_some_and(|(_, system)| system.uses_make());
    if uses_make && !spec.requires_any(&["make", "automake"]) {
        missing.push("make");
    }
    let autotools = ["autoconf", "automake"];
    if prepare(found, spec).is_some_and(|(_, script)| script.contains("autoreconf"))
        && !spec.requires_any(&autotools)
    {
        missing.extend(autotools);
    }
    if on_debian && spec.build_requires.is_empty() {
        missing.extend(
            found.debian.first().iter().flat_map(|folder| folder.build_depends.iter().map(String::as_str)),
        );
    }
    missing.sort_unstable();
    missing.dedup();
    missing.into_iter().map(str::to_owned).collect()
}

/// What has to run before the package tool, and why.
fn prepare(found: &Found, spec: &SpecFile) -> Option<(&'static str, &'static str)> {
    let configure = found.unconfigured && !spec.makes_configure;
    match (spec.template, configure) {
        (true, true) => Some((
            "What makes the spec file of its template; the network is off.",
            "autoreconf -fi && ./configure",
        )),
        (true, false) => {
            Some(("What makes the spec file of its template; the network is off.", "./configure"))
        }
        (false, true) => Some(("The spec file takes `configure` for granted.", "autoreconf -fi")),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Builders, Pipeline, PipelineFile, VersionSection};
    use crate::init::{Tree, look};

    const CONTROL: (&str, &str) = ("debian/control", "Source: agent\n");
    const RULES: (&str, &str) = ("debian/rules", "");
    const SPEC: (&str, &str) = ("packaging/rpm/agent.spec", "Name: agent\nVersion: 1.2\n%description\n");

    fn proposed(tree: &Tree, wanted: &[&str]) -> (Proposal, Pipeline) {
        let wanted: Vec<TargetName> = wanted.iter().map(|name| name.parse().unwrap()).collect();
        let proposal = propose(&look(tree), &wanted).unwrap();
        let file = PipelineFile { path: "p.toml".into(), folder: ".".into(), text: proposal.text.clone() };
        let pipeline = Pipeline::parse(&file, &Builders::shipped())
            .unwrap_or_else(|error| panic!("{error}\n{}", proposal.text));
        (proposal, pipeline)
    }

    fn targets(pipeline: &Pipeline) -> Vec<(String, &str)> {
        pipeline.targets.iter().map(|target| (target.name.to_string(), target.packaging.as_str())).collect()
    }

    #[test]
    fn each_packaging_has_targets_that_name_it() {
        let (_, pipeline) = proposed(&Tree::of(&[CONTROL, RULES, SPEC]), &[]);
        let expected = [
            ("debian-12/deb", "debian"),
            ("debian-13/deb", "debian"),
            ("debian-rpm/rpm", "packaging/rpm/agent.spec"),
        ];
        assert_eq!(targets(&pipeline), expected.map(|(name, path)| (name.to_owned(), path)));
        assert_eq!(
            (pipeline.name.as_str(), pipeline.version),
            ("agent", VersionSection::File("packaging/rpm/agent.spec".into()))
        );
        let elsewhere = [("pkg/deb/control", CONTROL.1), ("pkg/deb/rules", "")];
        let (proposal, pipeline) = proposed(&Tree::of(&elsewhere), &["debian-13/deb", "debian-12/deb/arm64"]);
        let expected = [("debian-13/deb", "pkg/deb"), ("debian-12/deb/arm64", "pkg/deb")];
        assert_eq!(targets(&pipeline), expected.map(|(name, path)| (name.to_owned(), path)));
        assert!(!proposal.text.contains("ubuntu"), "{}", proposal.text);
    }

    #[test]
    fn a_compiler_is_added_where_a_spec_file_names_none() {
        let c = [("Makefile", ""), ("agent.c", "")];
        let deps = |spec: &str, builder: &str| {
            let tree = Tree::of(&[c[0], c[1], ("agent.spec", spec)]);
            proposed(&tree, &[builder]).1.targets[0].deps.clone()
        };
        let bare = "Name: agent\n%description\n";
        assert_eq!(deps(bare, "debian-rpm/rpm"), ["gcc", "libc6-dev", "make"]);
        assert_eq!(deps(bare, "rocky-9/rpm"), ["gcc", "make"]);
        assert_eq!(deps("Name: agent\nBuildRequires: gcc make\n%description\n", "rocky-9/rpm"), [""; 0]);
        assert_eq!(proposed(&Tree::of(&[SPEC]), &[]).1.targets[0].deps, [""; 0]);
    }

    #[test]
    fn what_debian_needs_is_taken_where_a_spec_file_asks_for_nothing() {
        let control =
            ("debian/control", "Source: agent\nBuild-Depends: debhelper-compat (= 13), libmnl-dev\n");
        let files = [
            control,
            RULES,
            ("agent.spec", "Name: agent\n%description\n"),
            ("configure.ac", ""),
            ("agent.c", ""),
        ];
        let (_, pipeline) = proposed(&Tree::of(&files), &["debian-rpm/rpm", "rocky-9/rpm"]);
        let [own, foreign] = pipeline.targets.as_slice() else { panic!("{pipeline:?}") };
        assert_eq!(own.deps, ["autoconf", "automake", "gcc", "libc6-dev", "libmnl-dev", "make"]);
        assert_eq!(foreign.deps, ["autoconf", "automake", "gcc", "make"]);
        assert_eq!(own.prepare.as_deref(), Some("autoreconf -fi"));
        let configured = [&files[..], &[("configure", "")]].concat();
        assert_eq!(proposed(&Tree::of(&configured), &["rocky-9/rpm"]).1.targets[0].prepare, None);
    }

    #[test]
    fn versions_and_the_source_folder_are_said_where_they_are_not_the_usual_ones() {
        let mut tree =
            Tree::of(&[CONTROL, RULES, ("debian/changelog", "agent (1.0-1) unstable; urgency=low\n")]);
        assert_eq!(proposed(&tree, &[]).1.version, VersionSection::File("debian/changelog".into()));
        tree.tags = vec!["release-1.0".to_owned()];
        assert_eq!(proposed(&tree, &[]).1.version, VersionSection::Tags { prefix: "release-".into() });
        tree.tags = vec!["v1.0".to_owned()];
        assert_eq!(proposed(&tree, &[]).1.version, VersionSection::Tags { prefix: "v".into() });
        let inner = Tree::of(&[
            ("a\"b/debian/control", "Source: agent\n"),
            ("a\"b/debian/rules", ""),
            ("a\"b/go.mod", "module x\n"),
        ]);
        let (_, pipeline) = proposed(&inner, &[]);
        assert_eq!(
            (pipeline.source.subdir.as_deref(), pipeline.version),
            (Some("a\"b"), VersionSection::Tags { prefix: "v".into() })
        );
    }

    #[test]
    fn what_a_person_has_to_look_at_is_told() {
        let mut tree = Tree::of(&[
            CONTROL,
            RULES,
            SPEC,
            ("other.spec.in", "Name: other\n%description\n"),
            ("go.mod", "module x\nrequire example.org/y v1.0.0\n"),
        ]);
        tree.uncommitted.insert("debian/control".to_owned());
        let (proposal, _) = proposed(&tree, &[]);
        let told = |part: &str| proposal.remarks.iter().any(|remark| remark.contains(part));
        for part in ["debian is in no commit", "not taken: other.spec", "go mod vendor", "agent --version"] {
            assert!(told(part), "{part}: {:?}", proposal.remarks);
        }
        let template = Tree::of(&[("agent.spec.in", "Name: agent\nVersion: @V@\n%description\n")]);
        let (proposal, pipeline) = proposed(&template, &[]);
        assert_eq!(pipeline.targets[0].packaging, "agent.spec");
        assert!(
            pipeline.targets[0].prepare.is_some()
                && proposal.remarks.iter().any(|remark| remark.contains("template"))
        );
    }

    #[test]
    fn without_packaging_there_is_nothing_to_propose() {
        let found = look(&Tree::of(&[("Makefile", "")]));
        assert_eq!(propose(&found, &[]), Err(ProposeError::NoPackaging));
        let target: TargetName = "rocky-9/rpm".parse().unwrap();
        let error = propose(&look(&Tree::of(&[CONTROL, RULES])), std::slice::from_ref(&target)).unwrap_err();
        assert_eq!(error.to_string(), "there is no spec file for the target rocky-9/rpm");
    }
}
