//! Packaging that is made of a description, as files to be kept by hand.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use super::RunError;
use super::generated::generated;
use crate::config::{Pipeline, PipelineFile, package_lines};
use crate::model::{Format, TargetName};
use crate::plan::packaging::GeneratedFile;
use crate::source::Repository;
use crate::support::fs::{FsError, PathContext, open_no_link};

/// What was written, and what is left to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ejected {
    /// The folder of the source tree.
    pub folder: PathBuf,
    /// Paths in it that were written.
    pub written: Vec<String>,
    /// Lines of the pipeline that describe the package, in words: `lines 4 to 18`.
    pub delete: Vec<String>,
    /// Targets that need a `packaging`, and that.
    pub packaging: Vec<(TargetName, String)>,
}

/// Writes the packaging into a source tree: `to`, or the working directory of the repository that holds the pipeline. Nothing is replaced:
/// where a file is there already, none is written. It blocks.
pub fn eject(
    pipeline: &Pipeline,
    file: &PipelineFile,
    to: Option<&Path>,
    cache: &Path,
) -> Result<Ejected, RunError> {
    let nothing = || RunError::NoEject {
        what: format!("{} describes no package that packaging is made of", file.path.display()),
        hint: "the packaging of its targets is in the repository already".to_owned(),
    };
    let package =
        pipeline.package.as_ref().filter(|package| !package.made_for.is_empty()).ok_or_else(nothing)?;
    let folder = match to {
        Some(folder) => folder.to_owned(),
        None => working_directory(pipeline, file, cache)?,
    };
    let made = generated(package, |path| read(&folder, path))?;
    let packaging = made.iter().map(|file| folder.join(&file.path));
    let debian = package.made_for.iter().filter(|target| target.format == Format::Deb);
    let debian = debian.map(|target| folder.join(package.folder(target).trim_end_matches('/')));
    for path in debian.chain(packaging) {
        without_links(&folder, &path)?;
        if fs::symlink_metadata(&path).is_ok() {
            return Err(RunError::WouldOverwrite { path });
        }
    }
    let mut written = Written::default();
    for file in &made {
        written.file(&folder, file)?;
    }
    written.keep();
    let words = |(first, last): (usize, usize)| match first == last {
        true => format!("line {first}"),
        false => format!("lines {first} to {last}"),
    };
    // debian/ is where it is looked for.
    let named = pipeline.targets.iter().filter(|target| target.generated && target.packaging != "debian");
    Ok(Ejected {
        folder,
        written: made.into_iter().map(|file| file.path).collect(),
        delete: package_lines(&file.text).into_iter().map(words).collect(),
        packaging: named.map(|target| (target.name.clone(), target.packaging.clone())).collect(),
    })
}

/// The source folder of the repository that holds the pipeline.
fn working_directory(pipeline: &Pipeline, file: &PipelineFile, cache: &Path) -> Result<PathBuf, RunError> {
    let elsewhere = || RunError::NoEject {
        what: format!("the source of {} is not in the repository that holds it", file.path.display()),
        hint: "name a checkout of the source: --to DIR".to_owned(),
    };
    if pipeline.source.git.is_some() {
        return Err(elsewhere());
    }
    let repository = Repository::discover(&file.folder, cache)?;
    let top = repository.work_dir().ok_or_else(elsewhere)?;
    Ok(top.join(pipeline.source.subdir.as_deref().unwrap_or_default()))
}

/// A file of the source tree. No link is followed: a checkout may be a stranger's.
fn read(folder: &Path, path: &str) -> Result<Option<Vec<u8>>, RunError> {
    let whole = folder.join(path);
    without_links(folder, &whole)?;
    if fs::symlink_metadata(&whole).is_err() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let mut file = open_no_link(&whole).at("read", &whole)?;
    std::io::Read::read_to_end(&mut file, &mut bytes).at("read", &whole)?;
    Ok(Some(bytes))
}

/// Refuses a path below `folder` that leads through a link.
fn without_links(folder: &Path, path: &Path) -> Result<(), RunError> {
    let mut place = folder.to_owned();
    let inner = path.strip_prefix(folder).unwrap_or(path);
    for part in inner.parent().unwrap_or(inner).components() {
        if let Component::Normal(name) = part {
            place.push(name);
            if fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_symlink()) {
                return Err(RunError::NoEject {
                    what: format!("{} is a link, which may lead out of the source tree", place.display()),
                    hint: "put a folder into its place".to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// What was written so far; it is removed again unless all of it was.
#[derive(Default)]
struct Written {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Written {
    fn file(&mut self, folder: &Path, file: &GeneratedFile) -> Result<(), FsError> {
        let path = folder.join(&file.path);
        let above = Path::new(&file.path).ancestors().skip(1).filter(|path| *path != Path::new(""));
        let above: Vec<PathBuf> = above.map(|path| folder.join(path)).collect();
        for place in above.into_iter().rev() {
            match fs::create_dir(&place) {
                Ok(()) => self.folders.push(place),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).at("create", &place),
            }
        }
        let mode = if file.executable { 0o777 } else { 0o666 };
        let mut out =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).at("create", &path)?;
        self.files.push(path.clone());
        out.write_all(&file.content).at("write", &path)
    }

    fn keep(mut self) {
        self.files.clear();
        self.folders.clear();
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // What cannot be removed is told by the error that is on its way.
        self.files.iter().for_each(|path| drop(fs::remove_file(path)));
        self.folders.iter().rev().for_each(|path| drop(fs::remove_dir(path)));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Builders;

    const DESCRIPTION: &str = "[package]\nname = \"demo\"\nsummary = \"a demo\"\ndescription = \"It shows.\"\nlicense = \"MIT\"\n\
                               maintainer = \"A B <a@b.invalid>\"\n[target.\"debian-12/deb\"]\n[target.\"debian-rpm/rpm\"]\n";

    /// A checkout with a licence, and a description in it.
    fn checkout() -> (tempfile::TempDir, Pipeline, PipelineFile) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("LICENSE"), "Copyright 2025 A\n").unwrap();
        let file = PipelineFile {
            path: "packhold.toml".into(),
            folder: folder.path().to_owned(),
            text: DESCRIPTION.to_owned(),
        };
        let pipeline = Pipeline::parse(&file, &Builders::shipped()).unwrap();
        (folder, pipeline, file)
    }

    fn listed(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_eject_writes_the_packaging_and_says_what_to_edit() {
        let (folder, pipeline, file) = checkout();
        let ejected = eject(&pipeline, &file, Some(folder.path()), folder.path()).unwrap();
        assert_eq!(
            ejected.written,
            ["debian/control", "debian/copyright", "debian/rules", "debian/source/format", "rpm/demo.spec"]
        );
        assert_eq!(ejected.delete, ["lines 3 to 6"]);
        assert_eq!(ejected.packaging, [("debian-rpm/rpm".parse().unwrap(), "rpm/demo.spec".to_owned())]);
        let mode = fs::metadata(folder.path().join("debian/rules")).unwrap().permissions().mode();
        assert_eq!(mode & 0o100, 0o100);
        // What is to be done makes a pipeline of it that finds what was written.
        let text = DESCRIPTION.lines().enumerate().filter(|(n, _)| !(2..6).contains(n)).map(|(_, line)| line);
        let text = text.collect::<Vec<_>>().join("\n") + "\npackaging = \"rpm/demo.spec\"\n";
        let pipeline = Pipeline::parse(&PipelineFile { text, ..file }, &Builders::shipped()).unwrap();
        assert!(pipeline.package.is_none());
        assert!(pipeline.targets.iter().all(|target| folder.path().join(&target.packaging).exists()));
    }

    #[test]
    fn an_eject_replaces_nothing_and_then_writes_nothing() {
        for there in ["debian/patches/series", "rpm/demo.spec"] {
            let (folder, pipeline, file) = checkout();
            let path = folder.path().join(there);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "by hand").unwrap();
            let before = listed(folder.path());
            let error = eject(&pipeline, &file, Some(folder.path()), folder.path()).unwrap_err();
            assert!(matches!(error, RunError::WouldOverwrite { .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "by hand");
            assert_eq!(listed(folder.path()), before);
        }
    }

    #[test]
    fn an_eject_goes_through_no_link_and_leaves_nothing_of_half_a_try() {
        let (folder, pipeline, file) = checkout();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("rpm")).unwrap();
        let error = eject(&pipeline, &file, Some(folder.path()), folder.path()).unwrap_err();
        assert!(matches!(error, RunError::NoEject { .. }), "{error}");
        assert_eq!(listed(outside.path()), [""; 0]);
        let mut written = Written::default();
        for path in ["debian/source/format", "debian/rules"] {
            let file = GeneratedFile { path: path.to_owned(), content: Vec::new(), executable: false };
            written.file(folder.path(), &file).unwrap();
        }
        drop(written);
        assert_eq!(listed(folder.path()), ["LICENSE", "rpm"]);
        fs::remove_file(folder.path().join("LICENSE")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("LICENSE")).unwrap();
        fs::remove_file(folder.path().join("rpm")).unwrap();
        assert!(eject(&pipeline, &file, Some(folder.path()), folder.path()).is_err());
        assert_eq!(listed(folder.path()), ["LICENSE"]);
    }
}
