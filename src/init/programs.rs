use super::build_system::BuildSystem;
use super::debian::DebianFolder;
use super::spec::SpecFile;
use super::tree::{Tree, file_name};

/// The name of a command that the package probably has, so that a smoke command can be proposed: what the packaging installs, what the
/// language's own file names, or else the package's name.
pub(super) fn likely_program(
    tree: &Tree,
    name: &str,
    debian: Option<&DebianFolder>,
    spec: Option<&SpecFile>,
) -> String {
    let of_debian = || {
        let folder = format!("{}/", debian?.path);
        let lists =
            tree.texts.iter().filter(|(path, _)| path.starts_with(&folder) && path.ends_with("install"));
        let words = lists.flat_map(|(_, text)| text.split_whitespace());
        words
            .filter_map(|word| in_bin(word.trim_start_matches("debian/tmp/")))
            .min_by_key(|found| *found != name)
    };
    let of_spec = || {
        let text = tree.text(&spec?.path);
        let words = text.lines().map(str::trim).filter_map(|line| line.split_whitespace().last());
        let macros = |word: &str| {
            let (_, program) = word.split_once("%{_bindir}/").or_else(|| word.split_once("%{_sbindir}/"))?;
            let program = program.replace("%{name}", name);
            is_plain(&program).then_some(program)
        };
        let lines: Vec<String> = words.filter_map(macros).collect();
        lines.into_iter().min_by_key(|found| *found != name)
    };
    let of_language = || match BuildSystem::of(tree)?.1 {
        BuildSystem::Go => {
            let commands =
                tree.paths.iter().filter_map(|path| path.strip_prefix("cmd/")?.strip_suffix("/main.go"));
            commands.min_by_key(|found| *found != name).map(str::to_owned)
        }
        BuildSystem::Cargo => table(tree, "Cargo.toml")?
            .get("bin")?
            .as_array()?
            .first()?
            .get("name")?
            .as_str()
            .map(str::to_owned),
        BuildSystem::Python => {
            let document = table(tree, "pyproject.toml")?;
            document.get("project")?.get("scripts")?.as_table()?.keys().next().cloned()
        }
        _ => None,
    };
    of_debian().map(str::to_owned).or_else(of_spec).or_else(of_language).unwrap_or_else(|| name.to_owned())
}

fn table(tree: &Tree, path: &str) -> Option<toml::Table> {
    tree.text(path).parse().ok()
}

/// The program of a path in a folder of programs.
fn in_bin(path: &str) -> Option<&str> {
    let path = path.trim_start_matches('/');
    let inside = ["usr/bin/", "usr/sbin/", "bin/", "sbin/"].iter().any(|folder| path.starts_with(folder));
    Some(file_name(path)).filter(|program| inside && is_plain(program))
}

fn is_plain(program: &str) -> bool {
    !program.is_empty() && program.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_what_the_packaging_or_the_language_names() {
        let program = |files: &[(&str, &str)]| {
            let tree = Tree::of(files);
            let (debian, spec) = (DebianFolder::find(&tree), SpecFile::find(&tree));
            likely_program(&tree, "agent", debian.first(), spec.first())
        };
        let debian = [("debian/control", "Source: agent\n"), ("debian/rules", "")];
        let listed =
            [debian[0], debian[1], ("debian/agent.install", "debian/tmp/usr/bin/agentctl\nusr/share/x\n")];
        assert_eq!(program(&listed), "agentctl");
        assert_eq!(program(&debian), "agent");
        let spec =
            "Name: agent\n%description\n%files\n%attr(755,root,root) %{_sbindir}/%{name}d\n%{_bindir}/*\n";
        assert_eq!(program(&[("agent.spec", spec)]), "agentd");
        assert_eq!(program(&[("go.mod", "module x/agents\n"), ("cmd/agentd/main.go", "")]), "agentd");
        assert_eq!(program(&[("Cargo.toml", "[package]\nname = \"x\"\n[[bin]]\nname = \"xd\"\n")]), "xd");
        assert_eq!(program(&[("pyproject.toml", "[project.scripts]\nxy = \"x:main\"\n")]), "xy");
        assert_eq!(program(&[]), "agent");
    }
}
