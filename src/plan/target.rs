use std::collections::BTreeMap;
use std::sync::Arc;

use super::changelog::entry;
use super::{BadDependencies, Declared, Dependencies, SpecFile};
use crate::config::{Builder, Pipeline, TargetSection};
use crate::model::{Changes, Digest, Format, PackageVersion};

/// The commit that is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The full commit id.
    pub id: String,
    /// Committer time, seconds since 1970 UTC.
    pub epoch: i64,
    /// The digest of the source tree's tar.
    pub tree: Digest,
    /// Its version.
    pub version: PackageVersion,
    /// What is new in it, where its changelogs are to tell.
    pub changes: Option<Changes>,
}

/// The packaging files of a commit that a plan looks at: path in the source tree → bytes.
#[derive(Clone, Debug, Default)]
pub struct Packaging {
    /// Files that exist.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Packaging {
    /// The paths that a plan for `section` wants to see, if they exist.
    pub fn wanted(section: &TargetSection) -> Vec<String> {
        let at = &section.packaging;
        match section.name.format {
            Format::Deb => {
                ["control", "changelog", "source/format"].iter().map(|file| format!("{at}/{file}")).collect()
            }
            Format::Rpm => vec![at.clone(), format!("{at}.in")],
        }
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        self.files.get(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// A target's version in its format's spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetVersion {
    /// Upstream version.
    pub upstream: String,
    /// deb revision (empty for a native package) or rpm release without dist tag.
    pub revision: String,
    /// deb: `[epoch:]upstream[-revision]`; rpm: `version-release` without dist tag.
    pub full: String,
}

/// What is going to be built for one target.
#[derive(Clone, Debug)]
pub struct TargetPlan {
    /// The pipeline's package name.
    pub package: String,
    /// What the pipeline says of the target.
    pub section: TargetSection,
    /// The builder.
    pub builder: Arc<Builder>,
    /// The version that its packages will carry.
    pub version: TargetVersion,
    /// The build dependencies that the packaging declares.
    pub declared: Declared,
    /// The entry of the version for the packages' changelog.
    pub changelog: Option<String>,
}

/// A target that the commit cannot be built for, because it lacks what the pipeline names or has what nobody can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PlanError {
    /// What is missing or wrong, naming the object.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Plans one target of a commit; `section` is one of the pipeline's.
pub fn plan_target(
    pipeline: &Pipeline,
    section: &TargetSection,
    builder: Arc<Builder>,
    commit: &Commit,
    packaging: &Packaging,
) -> Result<TargetPlan, PlanError> {
    let at = &section.packaging;
    let missing = |what: &str, file: &str| PlanError {
        message: format!("{}: the commit {:.12} has no {what} `{file}`", section.name, commit.id),
        hint: format!("commit it, or set `packaging` of [target.\"{}\"] to where it is", section.name),
    };
    let declared = match section.name.format {
        Format::Deb => {
            let control = format!("{at}/control");
            let text = packaging.text(&control).ok_or_else(|| missing("Debian packaging", &control))?;
            let wrong = |BadDependencies { message, hint }| PlanError {
                message: format!("{}: `{control}`: {message}", section.name),
                hint,
            };
            Declared::Listed(Dependencies::of_control(&text).map_err(wrong)?)
        }
        Format::Rpm => {
            let template = format!("{at}.in");
            let present = [at, &template].into_iter().find(|path| packaging.files.contains_key(*path));
            if present.is_none() && section.prepare.is_none() {
                return Err(missing("spec file", at));
            }
            if !packaging.files.contains_key(at) && section.prepare.is_none() {
                return Err(PlanError {
                    message: format!(
                        "{}: `{template}` is a template and nothing makes `{at}` of it",
                        section.name
                    ),
                    hint: "add a `prepare` script to the target that makes the spec file".to_owned(),
                });
            }
            // A prepare script may make the spec file out of nothing that could be read now.
            present.map_or(Declared::Listed(Dependencies::default()), |path| {
                let name = path.rsplit('/').next().unwrap_or(path).to_owned();
                Declared::SpecFile(SpecFile { name, bytes: packaging.files[path].clone() })
            })
        }
    };
    let version = version_of(section, commit, packaging);
    Ok(TargetPlan {
        package: pipeline.name.clone(),
        changelog: entry(&pipeline.changelog, section, commit, packaging, &version),
        version,
        declared,
        section: section.clone(),
        builder,
    })
}

fn version_of(section: &TargetSection, commit: &Commit, packaging: &Packaging) -> TargetVersion {
    let version = &commit.version;
    match section.name.format {
        Format::Rpm => TargetVersion {
            upstream: version.rpm.clone(),
            revision: section.revision.clone(),
            full: format!("{}-{}", version.rpm, section.revision),
        },
        Format::Deb => {
            if let Some(full) = &version.deb_full {
                let revision = full.rsplit_once('-').map_or("", |(_, revision)| revision);
                return TargetVersion {
                    upstream: version.deb.clone(),
                    revision: revision.to_owned(),
                    full: full.clone(),
                };
            }
            // deb-version(7): the epoch has to stay, or the package would sort below all that were released.
            let newest = packaging.text(&format!("{}/changelog", section.packaging));
            let newest = newest.as_deref().and_then(changelog_version).unwrap_or_default();
            let format = packaging.text(&format!("{}/source/format", section.packaging));
            let native = match format.as_deref().map(str::trim) {
                Some(format) if format.contains("native") => true,
                Some(format) if format.contains("quilt") => false,
                _ => !newest.is_empty() && !newest.contains('-'),
            };
            let epoch = newest.split_once(':').map(|(epoch, _)| format!("{epoch}:")).unwrap_or_default();
            let revision = if native { String::new() } else { section.revision.clone() };
            let suffix = if native { String::new() } else { format!("-{revision}") };
            TargetVersion {
                upstream: version.deb.clone(),
                full: format!("{epoch}{}{suffix}", version.deb),
                revision,
            }
        }
    }
}

/// The version of a changelog's newest entry (deb-changelog(5)).
fn changelog_version(text: &str) -> Option<String> {
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    Some(first.split_once('(')?.1.split_once(')')?.0.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Builders, PipelineFile};
    use crate::model::{Change, Person};

    fn pipeline(text: &str) -> Pipeline {
        let text = format!("[package]\nname = \"demo\"\n{text}");
        let file = PipelineFile { path: "p.toml".into(), folder: ".".into(), text };
        Pipeline::parse(&file, &Builders::shipped()).unwrap()
    }

    fn section(text: &str) -> TargetSection {
        pipeline(text).targets.remove(0)
    }

    fn commit() -> Commit {
        Commit {
            id: "0123456789abcdef0123".into(),
            epoch: 1_700_000_000,
            tree: Digest::of(b"tree"),
            version: PackageVersion {
                describe: "v1.1.0-3-g0123456789ab".into(),
                deb: "1.1.0+3.g0123456789ab".into(),
                rpm: "1.1.0^3.g0123456789ab".into(),
                release: false,
                deb_full: None,
            },
            changes: None,
        }
    }

    fn plan(section: &TargetSection, files: &[(&str, &str)]) -> Result<TargetPlan, PlanError> {
        let files = files.iter().map(|(path, text)| (path.to_string(), text.as_bytes().to_vec())).collect();
        let builder = Arc::new(Builders::shipped().load(&section.name.builder).unwrap());
        let pipeline = pipeline("[target.\"debian-12/deb\"]\n");
        plan_target(&pipeline, section, builder, &commit(), &Packaging { files })
    }

    const CONTROL: (&str, &str) = ("debian/control", "Source: demo\nBuild-Depends: zlib1g-dev\n");

    #[test]
    fn a_commit_without_packaging_is_told_with_the_path() {
        let deb =
            plan(&section("[target.\"debian-12/deb\"]\npackaging = \"ship/debian\"\n"), &[]).unwrap_err();
        assert!(deb.message.contains("`ship/debian/control`"), "{deb}");
        let rpm = plan(&section("[target.\"debian-rpm/rpm\"]\npackaging = \"a.spec\"\n"), &[]).unwrap_err();
        assert!(rpm.message.contains("no spec file `a.spec`"), "{rpm}");
    }

    #[test]
    fn a_template_needs_a_script_that_makes_the_spec_file() {
        let files = [("a.spec.in", "BuildRequires: gcc\n")];
        let without =
            plan(&section("[target.\"debian-rpm/rpm\"]\npackaging = \"a.spec\"\n"), &files).unwrap_err();
        assert!(without.message.contains("template"), "{without}");
        let text = "[target.\"debian-rpm/rpm\"]\npackaging = \"a.spec\"\nprepare = \"./configure\"\n";
        let declared = plan(&section(text), &files).unwrap().declared;
        let template = SpecFile { name: "a.spec.in".into(), bytes: b"BuildRequires: gcc\n".to_vec() };
        assert_eq!(declared, Declared::SpecFile(template));
        assert_eq!(plan(&section(text), &[]).unwrap().declared, Declared::Listed(Dependencies::default()));
    }

    #[test]
    fn a_control_file_with_more_than_dependencies_is_refused_with_its_name() {
        let control = ("debian/control", "Source: demo\nBuild-Depends: a; id\n");
        let error = plan(&section("[target.\"debian-12/deb\"]\n"), &[control]).unwrap_err();
        let told = "debian-12/deb: `debian/control`: `build-depends: a; id` is not a build dependency";
        assert_eq!(error.message, told);
    }

    #[test]
    fn a_debian_version_keeps_its_epoch_and_a_native_package_has_no_revision() {
        let section = section("[target.\"debian-12/deb\"]\nrevision = \"2\"\n");
        let full = |changelog: &str, format: &str| {
            let files = [CONTROL, ("debian/changelog", changelog), ("debian/source/format", format)];
            plan(&section, &files).unwrap().version.full
        };
        assert_eq!(
            full("demo (1:0.9-1) unstable; urgency=low\n", "3.0 (quilt)\n"),
            "1:1.1.0+3.g0123456789ab-2"
        );
        assert_eq!(full("demo (0.9) unstable; urgency=low\n", "3.0 (native)\n"), "1.1.0+3.g0123456789ab");
        assert_eq!(full("demo (0.9) unstable; urgency=low\n", "1.0\n"), "1.1.0+3.g0123456789ab");
        assert_eq!(full("", ""), "1.1.0+3.g0123456789ab-2");
    }

    #[test]
    fn an_rpm_gets_version_and_release() {
        let section = section("[target.\"debian-rpm/rpm\"]\npackaging = \"a.spec\"\n");
        let plan = plan(&section, &[("a.spec", "")]).unwrap();
        assert_eq!(
            (plan.version.full.as_str(), plan.version.revision.as_str()),
            ("1.1.0^3.g0123456789ab-1", "1")
        );
    }

    #[test]
    fn where_the_changes_are_known_a_plan_has_the_entry_of_its_version() {
        let author = Person { name: "Ann".into(), email: "ann@b.invalid".into() };
        let change =
            Change { commit: "0".into(), subject: "Say 100%".into(), author: author.clone(), time: 0 };
        let changes =
            Changes { since: None, changes: vec![change], left_out: 0, author, time: 1_700_000_000 };
        let commit = Commit { changes: Some(changes), ..commit() };
        let entry = |text: &str, files: &[(&str, &str)]| {
            let pipeline = pipeline(text);
            let section = &pipeline.targets[0];
            let files =
                files.iter().map(|(path, text)| (path.to_string(), text.as_bytes().to_vec())).collect();
            let builder = Arc::new(Builders::shipped().load(&section.name.builder).unwrap());
            plan_target(&pipeline, section, builder, &commit, &Packaging { files })
                .unwrap()
                .changelog
                .unwrap()
        };
        let changelog = ("debian/changelog", "demo (1:0.9-1) stable; urgency=low\n");
        assert_eq!(
            entry("[target.\"debian-12/deb\"]\n", &[CONTROL, changelog]),
            "demo (1:1.1.0+3.g0123456789ab-1) stable; urgency=medium\n\n  * Say 100%\n\n \
             -- Ann <ann@b.invalid>  Tue, 14 Nov 2023 22:13:20 +0000\n\n"
        );
        let text = "[target.\"debian-rpm/rpm\"]\npackaging = \"a.spec\"\nrevision = \"2\"\n\
                    [changelog]\ntemplate = \"{subject} ({author})\"\nauthor = \"Team <team@b.invalid>\"\n";
        assert_eq!(
            entry(text, &[("a.spec", "")]),
            "* Tue Nov 14 2023 Team <team@b.invalid> - 1.1.0^3.g0123456789ab-2\n- Say 100%% (Ann)\n\n"
        );
    }

    #[test]
    fn everything_that_can_change_a_build_changes_its_key() {
        use super::super::{BuildInputs, build_key};
        let base = plan(&section("[target.\"debian-12/deb\"]\n"), &[CONTROL]).unwrap();
        let (image, commit) = (Digest::of(b"image"), commit());
        let key = |plan: &TargetPlan, commit: &Commit, image, prepared| {
            build_key(BuildInputs { plan, commit, image, prepared })
        };
        let mut keys = vec![
            key(&base, &commit, image, None),
            key(&base, &commit, Digest::of(b"other image"), None),
            key(&base, &commit, image, Some(Digest::of(b"prepared"))),
            key(&base, &Commit { tree: Digest::of(b"other tree"), ..commit.clone() }, image, None),
            key(&base, &Commit { epoch: 1, ..commit.clone() }, image, None),
        ];
        for line in ["env = { A = \"1\" }", "env = { A = \"2\" }", "prepare = \"true\"", "revision = \"2\""] {
            let other = section(&format!("[target.\"debian-12/deb\"]\n{line}\n"));
            keys.push(key(&plan(&other, &[CONTROL]).unwrap(), &commit, image, None));
        }
        let mut script = base.clone();
        let mut builder = Builder::clone(&script.builder);
        builder.files.insert("build.sh".into(), b"exit 0".to_vec());
        script.builder = Arc::new(builder);
        keys.push(key(&script, &commit, image, None));
        for entry in ["demo (1) a", "demo (1) b"] {
            let plan = TargetPlan { changelog: Some(entry.into()), ..base.clone() };
            keys.push(key(&plan, &commit, image, None));
        }
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
