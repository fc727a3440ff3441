use std::fmt::Write;

use super::look::Found;
use super::quoted;
use super::spec::SpecFile;
use super::version::VersionChoice;
use crate::support::terminal_text::one_line;

const DEBIAN_RPM: &str = "rpms are built on debian-rpm, to try the packaging: for users, name their distro in its place (rocky-9, fedora-43 …)";

/// The text of a pipeline, part by part, and what is remarked on it.
pub(super) struct Writer {
    pub text: String,
    pub remarks: Vec<String>,
    /// Whether nobody said which targets there are to be.
    pub usual: bool,
}

impl Writer {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    pub(super) fn remark(&mut self, sentence: &str) {
        self.remarks.push(sentence.to_owned());
    }

    /// A comment. What the repository says in it stays on its line.
    fn comment(&mut self, text: &str) {
        self.line(&format!("# {}", one_line(text.as_bytes())));
    }

    pub(super) fn package(&mut self, found: &Found) {
        self.line("# How packages are made of this repository: `packhold plan` says what a run would do, `packhold run` does it.");
        self.line("[package]");
        self.line(&format!("name = {}", quoted(&found.name)));
        if let Some(described) = &found.described {
            self.text += &described.toml();
            self.remark("debian/ and the spec file are made of [package], which was read from the repository: look at every line of it");
            let unsaid = described.unsaid();
            if !unsaid.is_empty() {
                self.remark(&format!("the repository does not say what to write for {}", unsaid.join(", ")));
            }
        }
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
                self.line("");
                self.comment(&format!(
                    "Versions are those of the tags: {example}, and 1.2.0+3.g… for the third commit after it."
                ));
                self.line(&format!("[version]\ntag-prefix = {}", quoted(prefix)));
            }
            VersionChoice::NoTags => {
                self.line("\n# Versions are those of tags, v1.2.0, of which there is none yet: until then they are 0~~N.g….");
            }
            VersionChoice::File { path, version } => {
                self.line("");
                self.comment(&format!("The version, now {version}, is the one that this file names: every commit has it until the file names another."));
                self.line("# Without this section it is that of tags (v1.2.0), and every commit has one of its own.");
                self.line(&format!("[version]\nfrom = {}", quoted(path)));
                self.remark(&format!(
                    "there is no tag that is a version, so versions are those that {path} names"
                ));
            }
        }
    }

    /// The targets of a package that is described.
    pub(super) fn made(&mut self, debs: &[String], rpms: &[String]) {
        if self.usual {
            self.line("\n# debian-rpm is an rpm toolchain on Debian, for which Debian's mirror is enough. Packages for users are built on their distro:");
            self.line("# ubuntu-24.04/deb, rocky-9/rpm, fedora-43/rpm or opensuse-leap-15.6/rpm.");
            self.remark(DEBIAN_RPM);
        }
        for target in debs.iter().chain(rpms) {
            self.line(&format!("\n[target.{}]", quoted(target)));
        }
    }

    pub(super) fn debs(&mut self, found: &Found, targets: &[String]) {
        let Some(folder) = found.debian.first().filter(|_| !targets.is_empty()) else { return };
        self.line("");
        self.comment(&format!("debs, by the Debian packaging in {}/.", folder.path));
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

    pub(super) fn rpms(&mut self, found: &Found, targets: &[String]) {
        let Some(spec) = found.specs.first().filter(|_| !targets.is_empty()) else { return };
        if self.usual {
            self.line("\n# rpms, by the spec file. debian-rpm is an rpm toolchain on Debian, for which Debian's mirror is enough: it shows that the spec");
            self.line("# file works. Packages for users are built on their distro: rocky-9, fedora-43 or opensuse-leap-15.6 in its place.");
            self.remark(DEBIAN_RPM);
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
            self.comment(&format!("Not taken: {}", paths.join(", ")));
            self.remark(&format!("there is more packaging, which is not taken: {}", paths.join(", ")));
        }
    }

    pub(super) fn verify(&mut self, found: &Found) {
        let program = &found.program;
        self.line("\n# Commands that the installed package must answer. Everything else that is verified needs no word here.");
        self.line("# [[verify.smoke]]");
        self.line(&format!("# run = {}", quoted(&format!("{program} --version"))));
        self.line(&format!("# output = {}", quoted("[0-9]")));
        self.line("\n# What the distro's lint calls an error fails. Packaging that is to be taken as it is needs less:");
        self.line("# [verify.lint]");
        self.line("# require = \"none\"");
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
