use std::fmt;

use regex::Regex;

use super::tree::{Tree, file_name};

/// What builds a project, as far as the files at its top tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BuildSystem {
    /// `go.mod`
    Go,
    /// `Cargo.toml`
    Cargo,
    /// `configure.ac`, or a `configure` that is there already
    Autotools,
    /// `CMakeLists.txt`
    Cmake,
    /// `meson.build`
    Meson,
    /// `pyproject.toml`, `setup.py`, `setup.cfg`
    Python,
    /// `Makefile`
    Make,
}

/// File at the top → what it is of, the more telling first.
const FILES: [(&str, BuildSystem); 13] = [
    ("go.mod", BuildSystem::Go),
    ("Cargo.toml", BuildSystem::Cargo),
    ("meson.build", BuildSystem::Meson),
    ("CMakeLists.txt", BuildSystem::Cmake),
    ("configure.ac", BuildSystem::Autotools),
    ("configure.in", BuildSystem::Autotools),
    ("configure", BuildSystem::Autotools),
    ("pyproject.toml", BuildSystem::Python),
    ("setup.py", BuildSystem::Python),
    ("setup.cfg", BuildSystem::Python),
    ("Makefile", BuildSystem::Make),
    ("GNUmakefile", BuildSystem::Make),
    ("makefile", BuildSystem::Make),
];

impl fmt::Display for BuildSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Go => "Go",
            Self::Cargo => "Rust",
            Self::Autotools => "autotools",
            Self::Cmake => "CMake",
            Self::Meson => "Meson",
            Self::Python => "Python",
            Self::Make => "make",
        })
    }
}

impl BuildSystem {
    /// The file at the top of a tree that tells the build system, and which it is.
    pub(super) fn of(tree: &Tree) -> Option<(&'static str, Self)> {
        FILES.into_iter().find(|(file, _)| tree.has(file))
    }

    /// Whether its build calls `make`.
    pub(super) fn uses_make(self) -> bool {
        matches!(self, Self::Autotools | Self::Make)
    }

    /// The project's name in the file that tells the build system.
    pub(super) fn project_name(self, tree: &Tree) -> Option<String> {
        let captured = |files: &[&str], pattern: &str| {
            let pattern = Regex::new(pattern).ok()?;
            let found = files.iter().find_map(|file| pattern.captures(tree.text(file)))?;
            Some(found.get(1)?.as_str().to_owned())
        };
        match self {
            Self::Go => {
                let module = captured(&["go.mod"], r"(?m)^module\s+(\S+)")?;
                let bare = Regex::new("/v[0-9]+$").ok()?.replace(&module, "").into_owned();
                Some(file_name(&bare).to_owned())
            }
            Self::Cargo => toml_name(tree.text("Cargo.toml"), "package"),
            Self::Python => toml_name(tree.text("pyproject.toml"), "project")
                .or_else(|| captured(&["setup.cfg"], r"(?m)^name\s*=\s*(\S+)"))
                .or_else(|| captured(&["setup.py"], r#"\bname\s*=\s*["']([^"']+)["']"#)),
            Self::Meson => captured(&["meson.build"], r"\bproject\s*\(\s*'([^']+)'"),
            Self::Cmake => captured(&["CMakeLists.txt"], r"(?i)\bproject\s*\(\s*([A-Za-z0-9_.+-]+)"),
            Self::Autotools => {
                // With one argument it is of before autoconf 2.50, and names a source file.
                captured(&["configure.ac", "configure.in"], r"\bAC_INIT\s*\(\s*\[?([A-Za-z0-9_.+-]+)\]?\s*,")
            }
            Self::Make => None,
        }
    }
}

/// Whether a C or C++ compiler is needed.
pub(super) fn has_c(tree: &Tree) -> bool {
    let endings = [".c", ".cc", ".cpp", ".cxx"];
    tree.paths.iter().any(|path| endings.iter().any(|ending| path.ends_with(ending)))
}

/// What a build fetches from the network, where nothing of it is in the repository: the file that says so, and the command that vendors it.
pub(super) fn fetched(tree: &Tree) -> Option<(&'static str, &'static str)> {
    let has_folder = |folder: &str| {
        tree.paths.range(folder.to_owned()..).next().is_some_and(|path| path.starts_with(folder))
    };
    if has_folder("vendor/") {
        return None;
    }
    let crates = tree.text("Cargo.lock").contains("source = \"registry+")
        && !tree.text(".cargo/config.toml").contains("[source");
    let modules = tree.text("go.mod").lines().any(|line| line.trim_start().starts_with("require"));
    if modules {
        return Some(("go.mod", "go mod vendor"));
    }
    crates.then_some(("Cargo.lock", "cargo vendor"))
}

fn toml_name(text: &str, table: &str) -> Option<String> {
    let document: toml::Table = text.parse().ok()?;
    Some(document.get(table)?.get("name")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_system_is_known_by_its_file_and_names_the_project() {
        for (file, text, system, name) in [
            ("go.mod", "module example.org/team/agent/v2\n\ngo 1.22\n", BuildSystem::Go, Some("agent")),
            ("Cargo.toml", "[package]\nname = \"agent\"\n", BuildSystem::Cargo, Some("agent")),
            ("Cargo.toml", "[workspace]\nmembers = []\n", BuildSystem::Cargo, None),
            ("pyproject.toml", "[project]\nname = \"agent\"\n", BuildSystem::Python, Some("agent")),
            ("setup.cfg", "[metadata]\nname = agent\n", BuildSystem::Python, Some("agent")),
            ("setup.py", "setup(\n  name='agent',\n)\n", BuildSystem::Python, Some("agent")),
            ("meson.build", "project('agent', 'c')\n", BuildSystem::Meson, Some("agent")),
            ("CMakeLists.txt", "PROJECT(agent C)\n", BuildSystem::Cmake, Some("agent")),
            ("configure.ac", "AC_INIT([agent], [1.0])\n", BuildSystem::Autotools, Some("agent")),
            ("configure.ac", "AC_INIT(agent.c)\n", BuildSystem::Autotools, None),
            ("Makefile", "all:\n", BuildSystem::Make, None),
        ] {
            let tree = Tree::of(&[(file, text)]);
            assert_eq!(BuildSystem::of(&tree), Some((file, system)));
            assert_eq!(system.project_name(&tree).as_deref(), name, "{file}");
        }
        // Made by another: the file that people write tells more.
        assert_eq!(
            BuildSystem::of(&Tree::of(&[("Makefile", ""), ("meson.build", "")])).unwrap().1,
            BuildSystem::Meson
        );
        assert_eq!(BuildSystem::of(&Tree::of(&[("src/Makefile", "")])), None);
    }

    #[test]
    fn what_a_build_would_fetch_is_told_unless_it_is_vendored() {
        let go = ("go.mod", "module x\nrequire (\n\texample.org/y v1.0.0\n)\n");
        assert_eq!(fetched(&Tree::of(&[go])), Some(("go.mod", "go mod vendor")));
        assert_eq!(fetched(&Tree::of(&[go, ("vendor/modules.txt", "")])), None);
        let lock = (
            "Cargo.lock",
            "[[package]]\nname = \"y\"\nsource = \"registry+https://registry.example/index\"\n",
        );
        assert_eq!(fetched(&Tree::of(&[lock])), Some(("Cargo.lock", "cargo vendor")));
        assert_eq!(fetched(&Tree::of(&[("Cargo.lock", "[[package]]\nname = \"own\"\n")])), None);
        assert_eq!(fetched(&Tree::of(&[("go.mod", "module x\n")])), None);
    }
}
