use std::collections::BTreeSet;

use super::tree::{Tree, file_name};

/// A spec file, or a template of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecFile {
    /// Its path; of a template, that of the spec file which is made of it.
    pub path: String,
    /// Whether it is a template, `NAME.spec.in`, that something has to make a spec file of.
    pub template: bool,
    /// The package's name, if no macro makes it.
    pub name: Option<String>,
    /// The version, if no macro makes it.
    pub version: Option<String>,
    /// What its BuildRequires lines name, without versions.
    pub build_requires: Vec<String>,
    /// Whether it makes `configure` itself.
    pub makes_configure: bool,
    /// Whether it is in no commit yet.
    pub uncommitted: bool,
}

impl SpecFile {
    /// All of them, ready ones before templates, then the one nearest to the top first. PyInstaller's files of the same ending are none.
    pub(super) fn find(tree: &Tree) -> Vec<Self> {
        let of = |(path, text): (&str, &str)| {
            let made = path.strip_suffix(".in").unwrap_or(path);
            let is_spec =
                made.ends_with(".spec") && tag(text, "name").is_some() && text.contains("%description");
            is_spec.then_some(())?;
            let plain = |value: &str| {
                let fine = |c: char| c.is_ascii_alphanumeric() || "+-._~^".contains(c);
                (!value.is_empty() && value.chars().all(fine)).then(|| value.to_owned())
            };
            Some(Self {
                template: made != path || tag(text, "version").is_some_and(|version| version.contains('@')),
                name: tag(text, "name").and_then(plain),
                version: tag(text, "version").and_then(plain),
                build_requires: build_requires(text),
                makes_configure: ["autoreconf", "autogen", "bootstrap"]
                    .iter()
                    .any(|word| text.contains(word)),
                uncommitted: tree.uncommitted.contains(path),
                path: made.to_owned(),
            })
        };
        let mut found: Vec<Self> = tree.own_texts().into_iter().filter_map(of).collect();
        found.sort_by_key(|spec| spec.template);
        // Made of its template already, and committed.
        let mut seen = BTreeSet::new();
        found.retain(|spec| seen.insert(spec.path.clone()));
        found
    }

    /// The package's name, or that of the file.
    pub(super) fn name_or_stem(&self) -> String {
        let stem = file_name(&self.path).trim_end_matches(".spec");
        self.name.clone().unwrap_or_else(|| stem.to_owned())
    }

    /// Whether one of these is a build dependency.
    pub(super) fn requires_any(&self, names: &[&str]) -> bool {
        self.build_requires.iter().any(|required| names.contains(&required.as_str()))
    }
}

/// The value of a tag of the preamble; tags are read without regard to case (rpm's manual, "Spec file format").
fn tag<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut tags = text.lines().filter_map(|line| line.trim().split_once(':'));
    tags.find(|(tag, _)| tag.trim_end().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn build_requires(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.trim().split_once(':'));
    let lists = lines.filter(|(tag, _)| tag.trim_end().eq_ignore_ascii_case("buildrequires"));
    let words = lists.flat_map(|(_, list)| list.split(|c: char| c == ',' || c.is_whitespace()));
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic())).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_file_is_taken_before_its_template_and_before_what_only_ends_so() {
        let tree = Tree::of(&[
            ("agent.spec.in", "Name: agent\nVersion: @VERSION@\n%description\n"),
            ("packaging/rpm/agent.spec.in", "Name: agent\nVersion: @VERSION@\n%description\n"),
            (
                "packaging/rpm/agent.spec",
                "name : agent\nVersion: %{upstream}\nBuildRequires: gcc, zlib-devel >= 1.2\n%description\n",
            ),
            ("installer.spec", "a = Analysis(['x.py'])\n"),
            ("tests/other.spec", "Name: other\nVersion: 1\n%description\n"),
        ]);
        let found = SpecFile::find(&tree);
        let told: Vec<_> =
            found.iter().map(|spec| (spec.path.as_str(), spec.template, spec.version.as_deref())).collect();
        assert_eq!(told, [("packaging/rpm/agent.spec", false, None), ("agent.spec", true, None)]);
        assert_eq!(found[0].build_requires, ["gcc", "zlib-devel"]);
        assert!(found[0].requires_any(&["clang", "gcc"]) && !found[0].requires_any(&["make"]));
    }
}
