use std::fmt::Write;

use super::about::About;
use super::build_system::BuildSystem;
use super::quoted;
use super::recipe::Recipe;
use super::tree::{FOREIGN, Tree, file_name};

/// A package of which the repository has no packaging, as `[package]` of a pipeline describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    about: About,
    recipe: Recipe,
    /// Who answers for it: whoever git says is here.
    maintainer: Option<String>,
    /// Paths of manual pages.
    manuals: Vec<String>,
    /// Paths of units of systemd.
    units: Vec<String>,
}

impl Described {
    /// What can be told of a project; `None` where it is not known how it is built.
    pub(super) fn of(tree: &Tree, system: BuildSystem, name: &str) -> Option<Self> {
        let own = tree.paths.iter().filter(|path| !path.split('/').any(|part| FOREIGN.contains(&part)));
        let own: Vec<&String> = own
            .filter(|path| path.chars().all(|c| c.is_ascii_alphanumeric() || "._+@:=/-".contains(c)))
            .collect();
        let ending = |endings: &[&str]| -> Vec<String> {
            own.iter()
                .filter(|path| endings.iter().any(|ending| path.ends_with(ending)))
                .map(|path| (*path).clone())
                .collect()
        };
        let is_page = |path: &&String| {
            let section =
                path.rsplit_once('.').is_some_and(|(_, section)| matches!(section.as_bytes(), [b'1'..=b'8']));
            section && file_name(path).starts_with(|c: char| c.is_ascii_lowercase())
        };
        Some(Self {
            recipe: Recipe::of(tree, system, name)?,
            about: About::of(tree, system, name),
            maintainer: tree.maintainer.clone(),
            manuals: own.iter().copied().filter(is_page).cloned().collect(),
            units: ending(&[".service", ".timer", ".socket"]),
        })
    }

    /// The keys of `[package]` beside its name, and the tables below it.
    pub(super) fn toml(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            let _ = writeln!(text, "{line}");
        };
        let or = |said: &Option<String>, unsaid: &str| quoted(said.as_deref().unwrap_or(unsaid));
        line("# debian/ and the spec file are made of this. It was read from the repository: look at every line.".to_owned());
        line(format!("summary = {}", or(&self.about.summary, SUMMARY)));
        let description = self.about.description.as_deref().unwrap_or(DESCRIPTION);
        let description = description.replace('\\', "\\\\").replace('"', "\\\"");
        line(format!("description = \"\"\"\n{description}\n\"\"\""));
        line(format!("license = {}", or(&self.about.license, LICENSE)));
        line(format!("maintainer = {}", or(&self.maintainer, MAINTAINER)));
        if let Some(homepage) = &self.about.homepage {
            line(format!("homepage = {}", quoted(homepage)));
        }
        line("build = [".to_owned());
        self.recipe.commands.iter().for_each(|command| line(format!("    {},", quoted(command))));
        line("]".to_owned());
        let programs = self.recipe.programs.iter().map(|program| (program, "/usr/bin/".to_owned()));
        let section = |page: &str| page.rsplit('.').next().unwrap_or_default().to_owned();
        let manuals = self.manuals.iter().map(|page| (page, format!("/usr/share/man/man{}/", section(page))));
        for (source, to) in programs.chain(manuals) {
            line(format!("\n[[package.files]]\nsource = {}\nto = {}", quoted(source), quoted(&to)));
        }
        for unit in &self.units {
            line(format!("\n[[package.units]]\nsource = {}", quoted(unit)));
        }
        for (format, names) in [("deb", &self.recipe.debs), ("rpm", &self.recipe.rpms)] {
            if !names.is_empty() {
                let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
                line(format!("\n[package.{format}]\nbuild-depends = [{}]", names.join(", ")));
            }
        }
        text
    }

    /// The keys of which the repository says nothing, so that something else stands in their place.
    pub(super) fn unsaid(&self) -> Vec<&'static str> {
        let keys = [
            ("summary", self.about.summary.is_none()),
            ("description", self.about.description.is_none()),
            ("license", self.about.license.is_none()),
            ("maintainer", self.maintainer.is_none()),
        ];
        keys.into_iter().filter(|(_, unsaid)| *unsaid).map(|(key, _)| key).collect()
    }
}

// What stands where the repository says nothing: good enough to build, and plain to see.
const SUMMARY: &str = "program of which nobody has said yet what it is";
const DESCRIPTION: &str = "Say here in some sentences what the program does.";
const LICENSE: &str = "LicenseRef-unknown";
const MAINTAINER: &str = "Nobody Yet <nobody@example.org>";
