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
    /// Whether what Debian packages of libraries for Go or Rust is used, and so nothing is fetched.
    pub has_libraries: bool,
    /// Whether it is in no commit yet.
    pub uncommitted: bool,
}

impl DebianFolder {
    /// All of them, the one nearest to the top first.
    pub(super) fn find(tree: &Tree) -> Vec<Self> {
        let of = |(path, text): (&str, &str)| {
            let folder = path.strip_suffix("/control")?;
            let field = |name: &str| {
                let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
                line.split_once(':').map(|(_, value)| value.trim().to_owned())
            };
            let source = field("source:")?;
            tree.has(&format!("{folder}/rules")).then_some(())?;
            Some(Self {
                source,
                version: changelog_version(tree.text(&format!("{folder}/changelog"))),
                has_libraries: text.contains("golang-") || text.contains("librust-"),
                uncommitted: tree.uncommitted.contains(path),
                path: folder.to_owned(),
            })
        };
        tree.own_texts().into_iter().filter_map(of).collect()
    }

    /// The folder that it is the packaging of, by custom: the one that holds it.
    pub(super) fn parent(&self) -> &str {
        folder_of(&self.path)
    }
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
        let control = "Source: agent\nBuild-Depends: debhelper-compat (= 13), golang-any\n";
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
        assert!(found[0].has_libraries);
    }
}
