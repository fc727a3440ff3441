use regex::Regex;

use super::build_system::BuildSystem;
use super::tree::{Tree, folder_of};

/// How a project is built where no packaging says it, and which programs that leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recipe {
    /// Lines for a shell.
    pub commands: Vec<String>,
    /// Packages that it needs beyond a C compiler and make, in Debian's names.
    pub debs: Vec<&'static str>,
    /// All packages that it needs, in the names of rpm distros.
    pub rpms: Vec<&'static str>,
    /// Paths of programs in the source tree once it is built.
    pub programs: Vec<String>,
}

impl Recipe {
    /// The usual way of a build system; `None` where that leaves no program of which anything is known here.
    pub(super) fn of(tree: &Tree, system: BuildSystem, name: &str) -> Option<Self> {
        let recipe = match system {
            BuildSystem::Go => go(tree, name),
            BuildSystem::Cargo => cargo(tree, name),
            BuildSystem::Autotools => autotools(tree, name),
            BuildSystem::Cmake => Self {
                commands: lines(&[
                    "cmake -B build -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX=/usr",
                    "cmake --build build",
                ]),
                debs: vec!["cmake"],
                rpms: vec!["cmake", "gcc", "gcc-c++", "make"],
                programs: cmake_programs(tree),
            },
            BuildSystem::Meson => Self {
                commands: lines(&[
                    "meson setup build --prefix=/usr --buildtype=debugoptimized",
                    "meson compile -C build",
                ]),
                debs: vec!["meson"],
                rpms: vec!["gcc", "meson"],
                programs: named_in(tree, "meson.build", r"\bexecutable\s*\(\s*'([A-Za-z0-9_.+-]+)'", "build"),
            },
            BuildSystem::Make => Self {
                commands: lines(&["make"]),
                debs: Vec::new(),
                rpms: vec!["gcc", "make"],
                programs: vec![name.to_owned()],
            },
            BuildSystem::Python => Self::default(),
        };
        (!recipe.programs.is_empty()).then_some(recipe)
    }
}

fn lines(commands: &[&str]) -> Vec<String> {
    commands.iter().map(|line| (*line).to_owned()).collect()
}

fn go(tree: &Tree, name: &str) -> Recipe {
    let commands = tree.paths.iter().filter_map(|path| path.strip_prefix("cmd/")?.strip_suffix("/main.go"));
    let mut names: Vec<&str> = commands.filter(|command| !command.contains('/')).collect();
    let packages = if names.is_empty() { "." } else { "./cmd/..." };
    if names.is_empty() && tree.has("main.go") {
        names.push(name);
    }
    let target = if packages == "." { format!("build/{name}") } else { "build/".to_owned() };
    Recipe {
        commands: vec![
            "mkdir -p build".to_owned(),
            format!("go build -trimpath -buildvcs=false -o {target} {packages}"),
        ],
        debs: vec!["golang-go"],
        rpms: vec!["golang"],
        programs: names.into_iter().map(|program| format!("build/{program}")).collect(),
    }
}

fn cargo(tree: &Tree, name: &str) -> Recipe {
    let document: toml::Table = tree.text("Cargo.toml").parse().unwrap_or_default();
    let named = |table: &toml::Value| table.get("name")?.as_str().map(str::to_owned);
    let listed = document.get("bin").and_then(toml::Value::as_array).into_iter().flatten().filter_map(named);
    let mut names: Vec<String> = listed.collect();
    if names.is_empty() && tree.has("src/main.rs") {
        names.push(document.get("package").and_then(named).unwrap_or_else(|| name.to_owned()));
    }
    Recipe {
        commands: lines(&["cargo build --release --locked --offline"]),
        debs: vec!["cargo"],
        rpms: vec!["cargo", "gcc"],
        programs: names.into_iter().map(|program| format!("target/release/{program}")).collect(),
    }
}

fn autotools(tree: &Tree, name: &str) -> Recipe {
    let unconfigured = !tree.has("configure");
    let mut commands = lines(&["./configure --prefix=/usr --sysconfdir=/etc --localstatedir=/var", "make"]);
    if unconfigured {
        commands.insert(0, "autoreconf -fi".to_owned());
    }
    let lists = captured(tree, "Makefile.am", r"(?m)^s?bin_PROGRAMS\s*\+?=\s*([A-Za-z0-9_.+ \t-]+)$");
    let programs =
        lists.iter().flat_map(|(folder, list)| list.split_whitespace().map(|program| below(folder, program)));
    let mut programs: Vec<String> = programs.collect();
    if programs.is_empty() {
        programs.push(name.to_owned());
    }
    // Debian's debhelper brings autoconf, automake and libtool.
    let generators = if unconfigured {
        vec!["autoconf", "automake", "gcc", "libtool", "make"]
    } else {
        vec!["gcc", "make"]
    };
    Recipe { commands, debs: Vec::new(), rpms: generators, programs }
}

/// The targets that are installed and are programs; where nothing is installed, all programs.
fn cmake_programs(tree: &Tree) -> Vec<String> {
    let programs =
        named_in(tree, "CMakeLists.txt", r"(?i)\badd_executable\s*\(\s*([A-Za-z0-9_.+-]+)", "build");
    let lists = captured(tree, "CMakeLists.txt", r"(?i)\binstall\s*\(\s*TARGETS\s+([^)]*)");
    let installed: Vec<&str> = lists.iter().flat_map(|(_, list)| list.split_whitespace()).collect();
    let is_installed = |program: &str| installed.iter().any(|name| program.ends_with(&format!("/{name}")));
    let chosen: Vec<String> = programs.iter().filter(|program| is_installed(program)).cloned().collect();
    if chosen.is_empty() { programs } else { chosen }
}

/// Programs that files of this name tell of, in the folder of the build that stands for the file's own.
fn named_in(tree: &Tree, file: &str, pattern: &str, build: &str) -> Vec<String> {
    let found = captured(tree, file, pattern);
    found.iter().map(|(folder, program)| below(&below(build, folder), program)).collect()
}

/// Folder and first group of every match in the files of this name.
fn captured(tree: &Tree, file: &str, pattern: &str) -> Vec<(String, String)> {
    let Ok(pattern) = Regex::new(pattern) else { return Vec::new() };
    let texts =
        tree.own_texts().into_iter().filter(|(path, _)| *path == file || path.ends_with(&format!("/{file}")));
    texts
        .flat_map(|(path, text)| {
            pattern
                .captures_iter(text)
                .map(|found| (folder_of(path).to_owned(), found[1].trim().to_owned()))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn below(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(files: &[(&str, &str)]) -> Vec<String> {
        let tree = Tree::of(files);
        let (_, system) = BuildSystem::of(&tree).unwrap();
        Recipe::of(&tree, system, "agent").map(|recipe| recipe.programs).unwrap_or_default()
    }

    #[test]
    fn programs_are_where_each_build_system_leaves_them() {
        assert_eq!(
            programs(&[("go.mod", ""), ("cmd/a/main.go", ""), ("cmd/b/main.go", "")]),
            ["build/a", "build/b"]
        );
        assert_eq!(programs(&[("go.mod", ""), ("main.go", "")]), ["build/agent"]);
        assert_eq!(
            programs(&[("Cargo.toml", "[package]\nname = \"x\"\n"), ("src/main.rs", "")]),
            ["target/release/x"]
        );
        assert_eq!(programs(&[("Cargo.toml", "[[bin]]\nname = \"xd\"\n")]), ["target/release/xd"]);
        let am = "bin_PROGRAMS = a b\nsbin_PROGRAMS += c\ncheck_PROGRAMS = t\n";
        assert_eq!(programs(&[("configure.ac", ""), ("src/Makefile.am", am)]), ["src/a", "src/b", "src/c"]);
        assert_eq!(programs(&[("configure", "")]), ["agent"]);
        assert_eq!(programs(&[("Makefile", "")]), ["agent"]);
        let cmake = "add_executable(a a.c)\nadd_executable(t t.c)\ninstall(TARGETS a DESTINATION bin)\n";
        assert_eq!(programs(&[("CMakeLists.txt", ""), ("src/CMakeLists.txt", cmake)]), ["build/src/a"]);
        assert_eq!(programs(&[("meson.build", "executable('a', 'a.c')\n")]), ["build/a"]);
    }

    #[test]
    fn a_library_and_a_python_project_have_no_recipe() {
        assert_eq!(programs(&[("go.mod", ""), ("lib.go", "")]), [""; 0]);
        assert_eq!(programs(&[("Cargo.toml", "[package]\nname = \"x\"\n"), ("src/lib.rs", "")]), [""; 0]);
        assert_eq!(programs(&[("pyproject.toml", "")]), [""; 0]);
    }
}
