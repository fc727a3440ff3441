use super::debian::DebianFolder;
use super::spec::SpecFile;
use crate::source::version::usual_prefix;

/// What a pipeline takes versions from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionChoice {
    /// Tags with this prefix; there are some.
    Tags {
        /// What stands before the digits.
        prefix: String,
    },
    /// No tag is a version yet, and no file names one.
    NoTags,
    /// A debian/changelog or a spec file.
    File {
        /// Its path.
        path: String,
        /// The version that it names.
        version: String,
    },
}

impl VersionChoice {
    /// Tags where there are any: they give every commit a version of its own. But where Debian's revisions are tagged (DEP 14,
    /// `debian/1.0-1`), the changelog has the version.
    pub(super) fn of(tags: &[String], debian: Option<&DebianFolder>, spec: Option<&SpecFile>) -> Self {
        let revisions = tags.iter().any(|tag| tag.starts_with("debian/") || tag.starts_with("ubuntu/"));
        let changelog = || {
            let folder = debian?;
            Some(Self::File { path: format!("{}/changelog", folder.path), version: folder.version.clone()? })
        };
        let preamble = || {
            let spec = spec.filter(|spec| !spec.template)?;
            Some(Self::File { path: spec.path.clone(), version: spec.version.clone()? })
        };
        let by_tags = || usual_prefix(tags.iter().map(String::as_str)).map(|prefix| Self::Tags { prefix });
        let first = if revisions { changelog().or_else(by_tags) } else { by_tags().or_else(changelog) };
        first.or_else(preamble).unwrap_or(Self::NoTags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Tree;

    #[test]
    fn a_version_comes_from_tags_then_from_the_packaging() {
        let tree = Tree::of(&[
            ("debian/control", "Source: agent\n"),
            ("debian/rules", ""),
            ("debian/changelog", "agent (1.0-1) unstable; urgency=low\n"),
            ("agent.spec", "Name: agent\nVersion: 1.1\n%description\n"),
        ]);
        let (debian, spec) = (DebianFolder::find(&tree), SpecFile::find(&tree));
        let (debian, spec) = (debian.first(), spec.first());
        let of = |tags: &[&str], debian, spec| {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            match VersionChoice::of(&tags, debian, spec) {
                VersionChoice::Tags { prefix } => format!("tags {prefix}"),
                VersionChoice::NoTags => "none".to_owned(),
                VersionChoice::File { path, version } => format!("{path} {version}"),
            }
        };
        assert_eq!(of(&["v1.0"], debian, spec), "tags v");
        assert_eq!(of(&["debian/1.0-1", "upstream/1.0"], debian, spec), "debian/changelog 1.0-1");
        assert_eq!(of(&["debian/1.0-1", "upstream/1.0"], None, spec), "tags upstream/");
        assert_eq!(of(&["nightly"], debian, spec), "debian/changelog 1.0-1");
        assert_eq!(of(&[], None, spec), "agent.spec 1.1");
        assert_eq!(of(&[], None, None), "none");
    }
}
