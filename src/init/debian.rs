use super::tree::{Tree, folder_of};

/// A folder with Debian packaging: the file `control`, and `rules` beside it (Debian Policy 4.9, 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebianFolder {
    /// Its path.
    pub path: String,
    /// The name of the source package.
    pub source: String,
    /// The version of the newest entry of its changelog.
    pub version: Option<String>,
    /// What it needs to be built, without versions and without what only serves the packaging.
    pub build_depends: Vec<String>,
    /// Whether it is in no commit yet.
    pub uncommitted: bool,
}

impl DebianFolder {
    /// All of them, the one nearest to the top first.
    pub(super) fn find(tree: &Tree) -> Vec<Self> {
        let of = |(path, text): (&str, &str)| {
            let folder = path.strip_suffix("/control")?;
            let source = field(text, "Source")?;
            tree.has(&format!("{folder}/rules")).then_some(())?;
            Some(Self {
                source,
                version: changelog_version(tree.text(&format!("{folder}/changelog"))),
                build_depends: build_depends(text),
                uncommitted: tree.uncommitted.contains(path),
                path: folder.to_owned(),
            })
        };
        tree.own_texts().into_iter().filter_map(of).collect()
    }

    /// Whether Debian's packages of libraries for Go or Rust are used, so that a build fetches nothing.
    pub(super) fn has_libraries(&self) -> bool {
        self.build_depends.iter().any(|name| name.starts_with("golang-") || name.starts_with("librust-"))
    }

    /// The folder that it is the packaging of, by custom: the one that holds it.
    pub(super) fn parent(&self) -> &str {
        folder_of(&self.path)
    }
}

/// The value of a field of the first paragraph, its lines joined (deb822(5)).
fn field(text: &str, name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in
        text.lines().skip_while(|line| line.trim().is_empty()).take_while(|line| !line.trim().is_empty())
    {
        match (&mut value, line.starts_with([' ', '\t'])) {
            (Some(value), true) => *value += line,
            (Some(_), false) if line.starts_with('#') => {}
            (Some(_), false) => break,
            (None, _) => {
                let named = line.split_once(':').filter(|(found, _)| found.eq_ignore_ascii_case(name));
                value = named.map(|(_, value)| value.to_owned());
            }
        }
    }
    value.map(|value| value.trim().to_owned())
}

/// The names of build dependencies (Debian Policy 7.7), of alternatives the first.
fn build_depends(text: &str) -> Vec<String> {
    let fields = ["Build-Depends", "Build-Depends-Arch", "Build-Depends-Indep"];
    let lists: Vec<String> = fields.iter().filter_map(|name| field(text, name)).collect();
    let names = lists.iter().flat_map(|list| list.split(',')).filter(|one| !one.contains('<'));
    let names =
        names.filter_map(|one| one.split([' ', '\t', '(', '[', '|', ':']).find(|word| !word.is_empty()));
    let serves_packaging = |name: &str| {
        ["debhelper", "debhelper-compat", "dpkg-dev", "quilt", "lintian"].contains(&name)
            || name.starts_with("dh-")
    };
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    names.filter(plain).filter(|name| !serves_packaging(name)).map(str::to_owned).collect()
}

/// The version in the first line of a changelog: `package (version) distributions; metadata` (deb-changelog(5)).
fn changelog_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    let (_, rest) = line.split_once(" (")?;
    Some(rest.split_once(')')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packaging_is_found_anywhere_but_in_what_is_somebody_elses() {
        let control = "Source: agent\nBuild-Depends: debhelper-compat (= 13),\n# a remark\n libmnl-dev (>= 1.0) [linux-any],\n \
                       mta | exim4, check <!nocheck>\nBuild-Depends-Arch: golang-any:native\n\nPackage: agent\nDepends: x\n";
        let tree = Tree::of(&[
            ("packaging/deb/control", control),
            ("packaging/deb/rules", ""),
            ("packaging/deb/changelog", "\nagent (1:2.0-1) unstable; urgency=low\n"),
            ("vendor/x/debian/control", control),
            ("vendor/x/debian/rules", ""),
            ("src/control", "no packaging"),
            ("src/rules", ""),
            ("templates/debian/control", control),
        ]);
        let found = DebianFolder::find(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].path.as_str(), found[0].source.as_str()), ("packaging/deb", "agent"));
        assert_eq!(found[0].version.as_deref(), Some("1:2.0-1"));
        assert_eq!(found[0].build_depends, ["libmnl-dev", "mta", "golang-any"]);
        assert!(found[0].has_libraries());
    }
}
