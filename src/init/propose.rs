use super::look::Found;
use super::writer::Writer;
use crate::model::{Format, TargetName};
use crate::support::Hint;

/// A pipeline that fits what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The file's text, with comments.
    pub text: String,
    /// What a person has to look at, a sentence each.
    pub remarks: Vec<String>,
}

/// Why there is nothing to propose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Nothing there says how a package is made.
    #[error("there is neither Debian packaging nor a spec file, and it is not plain how a program is built")]
    NoPackaging,
    /// A target is asked for, and nothing says how its packages are made.
    #[error("there is no {} for the target {target}", packaging_of(target.format))]
    NoPackagingFor {
        /// The target.
        target: TargetName,
    },
}

impl Hint for ProposeError {
    fn hint(&self) -> String {
        match self {
            Self::NoPackaging => {
                "write a debian folder (dh_make makes a first one) or a spec file (rpmdev-newspec), then run it again".to_owned()
            }
            Self::NoPackagingFor { .. } => "ask for targets of the other format, or write the packaging first".to_owned(),
        }
    }
}

fn packaging_of(format: Format) -> &'static str {
    match format {
        Format::Deb => "Debian packaging",
        Format::Rpm => "spec file",
    }
}

/// What is built where nobody says it: what needs Debian's mirror alone.
const DEBS: [&str; 2] = ["debian-12/deb", "debian-13/deb"];
const RPMS: [&str; 1] = ["debian-rpm/rpm"];

/// Writes a pipeline. `wanted` are the targets; empty means those that need Debian's mirror alone.
pub fn propose(found: &Found, wanted: &[TargetName]) -> Result<Proposal, ProposeError> {
    if found.debian.is_empty() && found.specs.is_empty() && found.described.is_none() {
        return Err(ProposeError::NoPackaging);
    }
    let names = |format: Format, usual: &[&str]| -> Vec<String> {
        match wanted {
            [] => usual.iter().map(|name| (*name).to_owned()).collect(),
            wanted => wanted.iter().filter(|name| name.format == format).map(ToString::to_string).collect(),
        }
    };
    for target in wanted {
        let lacks = match target.format {
            Format::Deb => found.debian.is_empty(),
            Format::Rpm => found.specs.is_empty(),
        };
        if lacks && found.described.is_none() {
            return Err(ProposeError::NoPackagingFor { target: target.clone() });
        }
    }
    let mut writer = Writer { text: String::new(), remarks: Vec::new(), usual: wanted.is_empty() };
    writer.package(found);
    let (debs, rpms) = (names(Format::Deb, &DEBS), names(Format::Rpm, &RPMS));
    if found.described.is_some() {
        writer.made(&debs, &rpms);
    }
    writer.debs(found, &debs);
    writer.rpms(found, &rpms);
    writer.verify(found);
    if let Some((file, command)) = found.fetched {
        writer.remark(&format!(
            "{file} names libraries that are not in the repository, and builds have no network: commit what `{command}` makes, or let \
             the packaging build with the distro's own packages of them"
        ));
    }
    Ok(Proposal { text: writer.text, remarks: writer.remarks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Builders, Pipeline, PipelineFile, VersionSection};
    use crate::init::{Tree, look};

    const CONTROL: (&str, &str) = ("debian/control", "Source: agent\n");
    const RULES: (&str, &str) = ("debian/rules", "");
    const SPEC: (&str, &str) = ("packaging/rpm/agent.spec", "Name: agent\nVersion: 1.2\n%description\n");

    fn proposed(tree: &Tree, wanted: &[&str]) -> (Proposal, Pipeline) {
        let wanted: Vec<TargetName> = wanted.iter().map(|name| name.parse().unwrap()).collect();
        let proposal = propose(&look(tree), &wanted).unwrap();
        let file = PipelineFile { path: "p.toml".into(), folder: ".".into(), text: proposal.text.clone() };
        let pipeline = Pipeline::parse(&file, &Builders::shipped())
            .unwrap_or_else(|error| panic!("{error}\n{}", proposal.text));
        (proposal, pipeline)
    }

    fn targets(pipeline: &Pipeline) -> Vec<(String, &str)> {
        pipeline.targets.iter().map(|target| (target.name.to_string(), target.packaging.as_str())).collect()
    }

    #[test]
    fn each_packaging_has_targets_that_name_it() {
        let (_, pipeline) = proposed(&Tree::of(&[CONTROL, RULES, SPEC]), &[]);
        let expected = [
            ("debian-12/deb", "debian"),
            ("debian-13/deb", "debian"),
            ("debian-rpm/rpm", "packaging/rpm/agent.spec"),
        ];
        assert_eq!(targets(&pipeline), expected.map(|(name, path)| (name.to_owned(), path)));
        assert_eq!(
            (pipeline.name.as_str(), pipeline.version),
            ("agent", VersionSection::File("packaging/rpm/agent.spec".into()))
        );
        let elsewhere = [("pkg/deb/control", CONTROL.1), ("pkg/deb/rules", "")];
        let (proposal, pipeline) = proposed(&Tree::of(&elsewhere), &["debian-13/deb", "debian-12/deb/arm64"]);
        let expected = [("debian-13/deb", "pkg/deb"), ("debian-12/deb/arm64", "pkg/deb")];
        assert_eq!(targets(&pipeline), expected.map(|(name, path)| (name.to_owned(), path)));
        assert!(!proposal.text.contains("ubuntu"), "{}", proposal.text);
    }

    #[test]
    fn a_compiler_is_added_where_a_spec_file_names_none() {
        let c = [("Makefile", ""), ("agent.c", "")];
        let deps = |spec: &str, builder: &str| {
            let tree = Tree::of(&[c[0], c[1], ("agent.spec", spec)]);
            proposed(&tree, &[builder]).1.targets[0].deps.clone()
        };
        let bare = "Name: agent\n%description\n";
        assert_eq!(deps(bare, "debian-rpm/rpm"), ["gcc", "libc6-dev", "make"]);
        assert_eq!(deps(bare, "rocky-9/rpm"), ["gcc", "make"]);
        assert_eq!(deps("Name: agent\nBuildRequires: gcc make\n%description\n", "rocky-9/rpm"), [""; 0]);
        assert_eq!(proposed(&Tree::of(&[SPEC]), &[]).1.targets[0].deps, [""; 0]);
    }

    #[test]
    fn what_debian_needs_is_taken_where_a_spec_file_asks_for_nothing() {
        let control =
            ("debian/control", "Source: agent\nBuild-Depends: debhelper-compat (= 13), libmnl-dev\n");
        let files = [
            control,
            RULES,
            ("agent.spec", "Name: agent\n%description\n"),
            ("configure.ac", ""),
            ("agent.c", ""),
        ];
        let (_, pipeline) = proposed(&Tree::of(&files), &["debian-rpm/rpm", "rocky-9/rpm"]);
        let [own, foreign] = pipeline.targets.as_slice() else { panic!("{pipeline:?}") };
        assert_eq!(own.deps, ["autoconf", "automake", "gcc", "libc6-dev", "libmnl-dev", "make"]);
        assert_eq!(foreign.deps, ["autoconf", "automake", "gcc", "make"]);
        assert_eq!(own.prepare.as_deref(), Some("autoreconf -fi"));
        let configured = [&files[..], &[("configure", "")]].concat();
        assert_eq!(proposed(&Tree::of(&configured), &["rocky-9/rpm"]).1.targets[0].prepare, None);
    }

    #[test]
    fn versions_and_the_source_folder_are_said_where_they_are_not_the_usual_ones() {
        let mut tree =
            Tree::of(&[CONTROL, RULES, ("debian/changelog", "agent (1.0-1) unstable; urgency=low\n")]);
        assert_eq!(proposed(&tree, &[]).1.version, VersionSection::File("debian/changelog".into()));
        tree.tags = vec!["release-1.0".to_owned()];
        assert_eq!(proposed(&tree, &[]).1.version, VersionSection::Tags { prefix: "release-".into() });
        tree.tags = vec!["v1.0".to_owned()];
        assert_eq!(proposed(&tree, &[]).1.version, VersionSection::Tags { prefix: "v".into() });
        let inner = Tree::of(&[
            ("a\"b/debian/control", "Source: agent\n"),
            ("a\"b/debian/rules", ""),
            ("a\"b/go.mod", "module x\n"),
        ]);
        let (_, pipeline) = proposed(&inner, &[]);
        assert_eq!(
            (pipeline.source.subdir.as_deref(), pipeline.version),
            (Some("a\"b"), VersionSection::Tags { prefix: "v".into() })
        );
    }

    #[test]
    fn what_a_person_has_to_look_at_is_told() {
        let mut tree = Tree::of(&[
            CONTROL,
            RULES,
            SPEC,
            ("other.spec.in", "Name: other\n%description\n"),
            ("go.mod", "module x\nrequire example.org/y v1.0.0\n"),
        ]);
        tree.uncommitted.insert("debian/control".to_owned());
        let (proposal, _) = proposed(&tree, &[]);
        let told = |part: &str| proposal.remarks.iter().any(|remark| remark.contains(part));
        for part in ["debian is in no commit", "not taken: other.spec", "go mod vendor", "agent --version"] {
            assert!(told(part), "{part}: {:?}", proposal.remarks);
        }
        let template = Tree::of(&[("agent.spec.in", "Name: agent\nVersion: @V@\n%description\n")]);
        let (proposal, pipeline) = proposed(&template, &[]);
        assert_eq!(pipeline.targets[0].packaging, "agent.spec");
        assert!(
            pipeline.targets[0].prepare.is_some()
                && proposal.remarks.iter().any(|remark| remark.contains("template"))
        );
    }

    #[test]
    fn without_packaging_a_package_is_described() {
        let go = [
            ("go.mod", "module example.org/My_Agent\n"),
            ("cmd/agentd/main.go", ""),
            ("README.md", "# x\n\nIt reads \"counters\" of the kernel \\o/ and sends them.\n"),
            ("LICENSE", "Permission is hereby granted, free of charge, to any person"),
            ("man/agentd.8", ""),
            ("systemd/agentd.service", ""),
            ("testdata/other.service", ""),
        ];
        let mut tree = Tree::of(&go);
        tree.maintainer = Some("Ann Example <ann@example.org>".to_owned());
        let (proposal, pipeline) = proposed(&tree, &["rocky-9/rpm", "debian-12/deb"]);
        let package = pipeline.package.unwrap_or_else(|| panic!("{}", proposal.text));
        assert_eq!((package.name.as_str(), package.license.as_str()), ("my-agent", "MIT"));
        assert_eq!(package.summary, "It reads \"counters\" of the kernel \\o/ and sends them");
        assert_eq!(package.maintainer.email, "ann@example.org");
        assert!(package.build.is_some_and(|build| build.contains("go build")));
        let installed: Vec<String> = package.files.iter().map(|file| file.installed()).collect();
        assert_eq!(installed, ["/usr/bin/agentd", "/usr/share/man/man8/agentd.8"]);
        assert_eq!(package.units.len(), 1);
        assert!(
            !proposal.remarks.iter().any(|remark| remark.contains("does not say")),
            "{:?}",
            proposal.remarks
        );
        let bare = proposed(&Tree::of(&[("Makefile", "")]), &[]).0;
        assert!(
            bare.remarks.iter().any(|remark| remark.contains("summary, description, license, maintainer")),
            "{:?}",
            bare.remarks
        );
    }

    #[test]
    fn what_a_repository_says_cannot_add_to_the_pipeline() {
        let folder = "x\n[archive]\nimages = false\n#";
        let (control, rules) = (format!("{folder}/control"), format!("{folder}/rules"));
        let changelog = format!("{folder}/changelog");
        let tree = Tree::of(&[
            (&control, CONTROL.1),
            (&rules, ""),
            (&changelog, "a (1\u{2028}0) x; y\n"),
            ("a.spec", "Name: a\n%description\n"),
        ]);
        let (_, pipeline) = proposed(&tree, &[]);
        assert!(pipeline.archive_images);
        assert_eq!(pipeline.targets[0].packaging, folder);
    }

    #[test]
    fn without_packaging_and_without_a_program_there_is_nothing_to_propose() {
        let found = look(&Tree::of(&[("pyproject.toml", "")]));
        assert_eq!(propose(&found, &[]), Err(ProposeError::NoPackaging));
        let target: TargetName = "rocky-9/rpm".parse().unwrap();
        let error = propose(&look(&Tree::of(&[CONTROL, RULES])), std::slice::from_ref(&target)).unwrap_err();
        assert_eq!(error.to_string(), "there is no spec file for the target rocky-9/rpm");
    }
}
