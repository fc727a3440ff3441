use std::path::Path;

use super::args::InitArguments;
use super::context;
use super::error::CliError;
use crate::config::{Builders, ConfigError, PIPELINE_FILE, Pipeline, PipelineFile};
use crate::init::{Found, Proposal, Tree, VersionChoice, look, propose};
use crate::run::{RunError, create_text};
use crate::source::Repository;
use crate::support::Hint;
use crate::support::fs::PathContext;
use crate::support::terminal_text::one_line;

/// `packhold init`
pub(super) fn init(arguments: &InitArguments) -> Result<u8, CliError> {
    let folder = arguments.folder.canonicalize().at("find", &arguments.folder)?;
    let builders = match &arguments.builders {
        Some(own) => Builders::with_folder(own)?,
        None => Builders::shipped(),
    };
    let repository =
        Repository::discover(&folder, &context::folders().repositories()).map_err(RunError::from)?;
    let subdir = subdir(&repository, &folder)?;
    let found = look(&Tree::read(&repository, &subdir).map_err(RunError::from)?);
    let proposal = propose(&found, &arguments.targets).map_err(|error| CliError::Usage {
        message: format!("{}: {error}", folder.display()),
        hint: error.hint(),
    })?;
    let path = folder.join(PIPELINE_FILE);
    check(&proposal, &path, &builders)?;
    if arguments.print {
        print!("{}", proposal.text);
        eprint!("{}", report(&found, &proposal, None));
        return Ok(0);
    }
    if !create_text(&path, &proposal.text)? {
        return Err(CliError::Usage {
            message: format!("{} is there already, and stays as it is", path.display()),
            hint: "--print shows what would be written".to_owned(),
        });
    }
    print!("{}", report(&found, &proposal, Some(&path)));
    Ok(0)
}

/// The path of a folder within the repository that holds it; empty for its top.
fn subdir(repository: &Repository, folder: &Path) -> Result<String, CliError> {
    let Some(top) = repository.work_dir() else {
        return Err(CliError::Usage {
            message: format!("{} is a bare repository: it has no folder for a pipeline", folder.display()),
            hint: "clone it, and run this in the clone".to_owned(),
        });
    };
    let top = top.canonicalize().at("find", top)?;
    let inner = folder.strip_prefix(&top).unwrap_or(Path::new(""));
    Ok(inner.to_string_lossy().into_owned())
}

/// What is written is read again by the parser: a wrong target is found now.
fn check(proposal: &Proposal, path: &Path, builders: &Builders) -> Result<Pipeline, ConfigError> {
    let folder = path.parent().unwrap_or(path).to_owned();
    Pipeline::parse(
        &PipelineFile { path: PIPELINE_FILE.into(), folder, text: proposal.text.clone() },
        builders,
    )
}

/// What was found, where it went, and what to do next.
fn report(found: &Found, proposal: &Proposal, path: Option<&Path>) -> String {
    let mut lines = vec![format!("{}:", found.name)];
    let mut tell =
        |what: &str, text: String| lines.push(format!("  {what:<16} {}", one_line(text.as_bytes())));
    if !found.subdir.is_empty() {
        tell("source folder", found.subdir.clone());
    }
    if let Some((file, system)) = found.build {
        tell("build system", format!("{system} ({file})"));
    }
    if found.described.is_some() {
        tell(
            "packaging",
            "none: the package is described in the pipeline, and it is made of that".to_owned(),
        );
    }
    for folder in &found.debian {
        tell("Debian packaging", format!("{}/ ({})", folder.path, folder.source));
    }
    for spec in &found.specs {
        tell(
            "spec file",
            if spec.template {
                format!("{}, to be made of its template", spec.path)
            } else {
                spec.path.clone()
            },
        );
    }
    tell(
        "versions",
        match &found.version {
            VersionChoice::Tags { prefix } => format!("of tags, {prefix}1.2.0"),
            VersionChoice::NoTags => "of tags, v1.2.0; there is none yet".to_owned(),
            VersionChoice::File { path, version } => format!("of {path}, now {version}"),
        },
    );
    if let Some(path) = path {
        lines.push(format!("written: {}", path.display()));
    }
    lines.extend(proposal.remarks.iter().map(|remark| format!("look: {}", one_line(remark.as_bytes()))));
    if path.is_some() {
        lines.push("next: packhold plan, then packhold run".to_owned());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// A repository with these files, which no commit has yet.
    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let git = Command::new("git").args(["init", "--quiet", "--template="]).arg(folder.path()).status();
        assert!(git.unwrap().success());
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn arguments(folder: &Path, print: bool) -> InitArguments {
        InitArguments { folder: folder.to_owned(), print, targets: Vec::new(), builders: None }
    }

    const FILES: [(&str, &str); 3] = [
        ("agent/debian/control", "Source: agent\n"),
        ("agent/debian/rules", "#!/usr/bin/make -f\n"),
        ("agent/debian/changelog", "agent (1.0-1) unstable; urgency=low\n"),
    ];

    #[test]
    fn a_pipeline_is_written_once_and_never_over_another() {
        let folder = repository(&FILES);
        let agent = folder.path().join("agent");
        assert_eq!(init(&arguments(&agent, false)).unwrap(), 0);
        let path = agent.join(PIPELINE_FILE);
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("subdir = \"agent\"") && text.contains("from = \"debian/changelog\""),
            "{text}"
        );
        fs::write(&path, "mine").unwrap();
        let error = init(&arguments(&agent, false)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.render().contains("is there already"), "{}", error.render());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let left = fs::read_dir(&agent).unwrap().count();
        assert_eq!(left, 2, "a temporary file is left");
    }

    #[test]
    fn printing_writes_nothing() {
        let folder = repository(&FILES);
        init(&arguments(&folder.path().join("agent"), true)).unwrap();
        assert!(!folder.path().join("agent").join(PIPELINE_FILE).exists());
    }

    #[test]
    fn what_is_no_repository_or_has_no_packaging_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = init(&arguments(folder.path(), false)).unwrap_err();
        assert!(error.render().contains("not in a git repository"), "{}", error.render());
        let folder = repository(&[("pyproject.toml", "")]);
        let error = init(&arguments(folder.path(), false)).unwrap_err();
        assert!(error.render().contains("neither Debian packaging nor a spec file"), "{}", error.render());
        assert_eq!(error.exit_code(), 2);
        let wanted = vec!["debian-21/deb".parse().unwrap()];
        let folder = repository(&FILES);
        let error = init(&InitArguments { targets: wanted, ..arguments(folder.path(), false) }).unwrap_err();
        assert!(error.render().contains("there is no builder `debian-21`"), "{}", error.render());
    }

    #[test]
    fn the_report_says_what_was_found_and_what_comes_next() {
        let folder = repository(&FILES);
        let repository = Repository::discover(folder.path(), folder.path()).unwrap();
        let found = look(&Tree::read(&repository, "").unwrap());
        let proposal = propose(&found, &[]).unwrap();
        let text = report(&found, &proposal, Some(Path::new("/x/packhold.toml")));
        for part in [
            "agent:\n",
            "Debian packaging agent/debian/ (agent)",
            "of agent/debian/changelog, now 1.0-1",
            "written: /x/packhold.toml",
            "is in no commit yet",
            "next: packhold plan",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
