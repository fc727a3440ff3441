//! `Contents-ARCH.gz` (DebianRepository/Format): which packages have which file.

use std::collections::{BTreeMap, BTreeSet};

/// Path → the qualified names of the packages that have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents(BTreeMap<String, BTreeSet<String>>);

impl Contents {
    /// Reads a file of that kind; what is no line of it is passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut paths = BTreeMap::new();
        for line in text.lines() {
            // Names of packages hold no spaces; paths may.
            if let Some((path, packages)) = line.rsplit_once([' ', '\t']) {
                let packages = packages.split(',').map(str::to_owned).collect();
                paths.insert(path.trim_end().to_owned(), packages);
            }
        }
        Self(paths)
    }

    pub(super) fn add(&mut self, paths: &[String], qualified: &str) {
        for path in paths {
            self.0.entry(path.clone()).or_default().insert(qualified.to_owned());
        }
    }

    /// Removes what `qualified` has no longer.
    pub(super) fn remove<'a>(&mut self, paths: impl IntoIterator<Item = &'a String>, qualified: &str) {
        for path in paths {
            if let Some(packages) = self.0.get_mut(path) {
                packages.remove(qualified);
                if packages.is_empty() {
                    self.0.remove(path);
                }
            }
        }
    }

    /// Each line with its path.
    pub(super) fn lines(&self) -> Vec<(&str, String)> {
        let line = |(path, packages): (&'_ String, &BTreeSet<String>)| {
            format!("{path:<55} {}\n", packages.iter().map(String::as_str).collect::<Vec<_>>().join(","))
        };
        self.0.iter().map(|(path, packages)| (path.as_str(), line((path, packages)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_with_the_last_package_that_has_it() {
        let paths = ["usr/bin/a".to_owned(), "usr/share/with space".to_owned()];
        let mut contents = Contents::default();
        contents.add(&paths, "admin/a");
        contents.add(&paths[..1], "b");
        let text: String = contents.lines().into_iter().map(|(_, line)| line).collect();
        assert_eq!(Contents::parse(&text), contents);
        contents.remove(&paths, "admin/a");
        let text: String = contents.lines().into_iter().map(|(_, line)| line).collect();
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["usr/bin/a", "b"]);
    }
}
