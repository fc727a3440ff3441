use super::build_system::{BuildSystem, fetched, has_c};
use super::debian::DebianFolder;
use super::described::Described;
use super::programs::likely_program;
use super::spec::SpecFile;
use super::tree::{Tree, folder_of};
use super::version::VersionChoice;

/// What a repository holds, as far as a pipeline has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The package's name.
    pub name: String,
    /// The folder of the repository that is the source tree; empty for its top.
    pub subdir: String,
    /// The file that tells the build system, and which it is.
    pub build: Option<(&'static str, BuildSystem)>,
    /// Debian packaging, the one to take first.
    pub debian: Vec<DebianFolder>,
    /// Spec files, the one to take first.
    pub specs: Vec<SpecFile>,
    /// What can be told of the package where there is no packaging.
    pub described: Option<Described>,
    /// What versions come from.
    pub version: VersionChoice,
    /// A command that the package probably has.
    pub program: String,
    /// Whether a compiler is needed for C or C++.
    pub compiles: bool,
    /// Whether `configure` has to be made of `configure.ac` first.
    pub unconfigured: bool,
    /// The file that says what a build would fetch from the network, and the command that puts it into the repository instead.
    pub fetched: Option<(&'static str, &'static str)>,
}

/// Looks at a repository. Where all that is built is in one folder, that folder is the source tree.
pub fn look(tree: &Tree) -> Found {
    match project_folder(tree) {
        Some(folder) => look_in(&tree.below(&folder)),
        None => look_in(tree),
    }
}

fn look_in(tree: &Tree) -> Found {
    let build = BuildSystem::of(tree);
    let debian = DebianFolder::find(tree);
    let specs = SpecFile::find(tree);
    let named = debian.first().map(|folder| folder.source.clone());
    let named = named.or_else(|| specs.first().map(SpecFile::name_or_stem));
    let named = named.or_else(|| build.and_then(|(_, system)| system.project_name(tree)));
    let name = package_name(&named.unwrap_or_else(|| tree.name.clone()));
    let packaged = !debian.is_empty() || !specs.is_empty();
    let system = build.filter(|_| !packaged).map(|(_, system)| system);
    let name = if packaged { name } else { name.to_lowercase().replace('_', "-") };
    let vendored = debian.first().is_some_and(|folder| folder.has_libraries());
    Found {
        described: system.and_then(|system| Described::of(tree, system, &name)),
        program: likely_program(tree, &name, debian.first(), specs.first()),
        version: VersionChoice::of(&tree.tags, debian.first(), specs.first()),
        compiles: has_c(tree),
        unconfigured: build.is_some_and(|(_, system)| system == BuildSystem::Autotools)
            && !tree.has("configure"),
        fetched: fetched(tree).filter(|_| !vendored),
        subdir: tree.subdir.clone(),
        name,
        build,
        debian,
        specs,
    }
}

/// The folder below the top that has both a build system and packaging, where the top has neither.
fn project_folder(tree: &Tree) -> Option<String> {
    let debian = DebianFolder::find(tree);
    let packaged_here = debian.iter().any(|folder| folder.parent().is_empty());
    if BuildSystem::of(tree).is_some() || packaged_here {
        return None;
    }
    let parents = debian.iter().map(|folder| folder.parent().to_owned());
    let specs = SpecFile::find(tree);
    let mut folders: Vec<String> =
        parents.chain(specs.iter().flat_map(|spec| above(folder_of(&spec.path)))).collect();
    folders.sort();
    folders.dedup();
    folders.retain(|folder| !folder.is_empty() && BuildSystem::of(&tree.below(folder)).is_some());
    match folders.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    }
}

/// A folder and all that hold it: `a/b/c`, `a/b`, `a`.
fn above(folder: &str) -> Vec<String> {
    std::iter::successors(Some(folder), |folder| Some(folder_of(folder)).filter(|above| !above.is_empty()))
        .map(str::to_owned)
        .collect()
}

/// What a pipeline takes for the name of a package: letters, digits, `+`, `-`, `.` and `_`.
fn package_name(text: &str) -> String {
    let fine = |c: char| if c.is_ascii_alphanumeric() || "+-._".contains(c) { c } else { '-' };
    let name: String = text.chars().map(fine).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    if name.len() >= 2 { name } else { "package".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_folder_that_is_built_and_packaged_is_the_source_tree() {
        let files = [
            ("README", ""),
            ("agent/go.mod", "module x/y\n"),
            ("agent/debian/control", "Source: agent\n"),
            ("agent/debian/rules", ""),
            ("agent/packaging/rpm/agent.spec", "Name: agent\nVersion: 1\n%description\n"),
        ];
        let found = look(&Tree::of(&files));
        assert_eq!((found.subdir.as_str(), found.name.as_str()), ("agent", "agent"));
        assert_eq!(found.debian[0].path, "debian");
        assert_eq!(found.specs[0].path, "packaging/rpm/agent.spec");
        let mut two = files.to_vec();
        two.extend([
            ("other/Makefile", ""),
            ("other/debian/control", "Source: other\n"),
            ("other/debian/rules", ""),
        ]);
        assert_eq!(look(&Tree::of(&two)).subdir, "");
        let mut top = files.to_vec();
        top.push(("Makefile", ""));
        assert_eq!(look(&Tree::of(&top)).subdir, "");
    }

    #[test]
    fn the_packaging_names_the_package_before_the_folder_does() {
        let name = |files: &[(&str, &str)]| look(&Tree::of(files)).name;
        assert_eq!(name(&[]), "folder");
        assert_eq!(name(&[("meson.build", "project('my agent', 'c')")]), "my-agent");
        assert_eq!(
            name(&[("meson.build", "project('x', 'c')"), ("y/agent.spec", "Name: %{n}\n%description\n")]),
            "agent"
        );
    }
}
