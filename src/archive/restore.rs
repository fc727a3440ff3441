use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::blobs;
use super::error::{ArchiveError, Result};
use super::layout::{self, Layout};
use super::run::{FileRole, Run, RunFile};
use crate::model::TargetName;
use crate::support::fs::PathContext;

/// A file that stands outside of the archive now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredFile {
    /// Where.
    pub path: PathBuf,
    /// What it is in the run.
    pub file: RunFile,
    /// True when the same bytes stood there already.
    pub already_there: bool,
}

/// Writes a run's artifacts below `dest`. See [`Archive::restore_files`](super::Archive::restore_files).
pub(super) fn files(
    layout: &Layout,
    run: &Run,
    targets: &[TargetName],
    dest: &Path,
) -> Result<Vec<RestoredFile>> {
    let artifacts = || run.files.iter().filter(|file| file.role == FileRole::Artifact);
    for target in targets {
        if !artifacts().any(|file| file.target.as_ref() == Some(target)) {
            let mut known: Vec<String> =
                artifacts().filter_map(|file| Some(file.target.as_ref()?.to_string())).collect();
            known.dedup();
            return Err(ArchiveError::UnknownTarget {
                run: run.record.id.clone(),
                target: target.to_string(),
                known,
            });
        }
    }
    let wanted = |file: &&RunFile| {
        targets.is_empty() || file.target.as_ref().is_some_and(|target| targets.contains(target))
    };
    artifacts().filter(wanted).map(|file| restore(layout, file, dest)).collect()
}

fn restore(layout: &Layout, file: &RunFile, dest: &Path) -> Result<RestoredFile> {
    let path = dest.join(file.path());
    let restored = |already_there| RestoredFile { path: path.clone(), file: file.clone(), already_there };
    if is_there(&path, file)? {
        return Ok(restored(true));
    }
    let folder = path.parent().unwrap_or(dest);
    fs::create_dir_all(folder).at("create", folder)?;
    let mut temp = tempfile::Builder::new()
        .prefix(".packhold-")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .at("create a file in", folder)?;
    blobs::copy(layout, &file.digest, &file.path(), |bytes| Ok(temp.write_all(bytes).at("write", &path)?))?;
    temp.as_file().sync_all().at("write", &path)?;
    match temp.persist_noclobber(&path) {
        Ok(_) => {
            layout::sync_dir(folder)?;
            Ok(restored(false))
        }
        // Somebody else was faster.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => match is_there(&path, file)? {
            true => Ok(restored(true)),
            false => Err(ArchiveError::WouldOverwrite { path }),
        },
        Err(error) => Err(error.error).at("create", &path)?,
    }
}

/// True when the file stands at `path` already; an error when something else does.
fn is_there(path: &Path, file: &RunFile) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.len() == file.size => {
            let (digest, _) = blobs::digest_file(path)?;
            match digest == file.digest {
                true => Ok(true),
                false => Err(ArchiveError::WouldOverwrite { path: path.to_owned() }),
            }
        }
        Ok(_) => Err(ArchiveError::WouldOverwrite { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("read", path)?,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::*;

    #[test]
    fn artifacts_are_restored_below_their_target_and_a_second_time_nothing_changes() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let run = fixture.archive.run("latest").unwrap();
        let dest = fixture.dir.path().join("out");
        let restored = fixture.archive.restore_files(&run, &[], &dest).unwrap();
        let path = dest.join("debian-12_deb/hostpulse_1.0_amd64.deb");
        assert_eq!((restored.len(), &restored[0].path, restored[0].already_there), (1, &path, false));
        assert_eq!(fs::read(&path).unwrap(), b"package 1");
        let target = ["debian-12/deb".parse().unwrap()];
        assert!(fixture.archive.restore_files(&run, &target, &dest).unwrap()[0].already_there);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_file_or_link_in_the_way_is_never_touched() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let run = fixture.archive.run("latest").unwrap();
        let dest = fixture.dir.path().join("out");
        let path = dest.join(run.files[0].path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for content in ["other", "package 2"] {
            fs::write(&path, content).unwrap();
            let error = fixture.archive.restore_files(&run, &[], &dest).unwrap_err();
            assert!(matches!(error, ArchiveError::WouldOverwrite { .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        // Not even a link to a file with the right bytes, which may change behind it.
        let elsewhere = fixture.dir.path().join("elsewhere");
        fs::write(&elsewhere, "package 1").unwrap();
        for link in [Path::new("nowhere"), &elsewhere] {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(link, &path).unwrap();
            let error = fixture.archive.restore_files(&run, &[], &dest).unwrap_err();
            assert!(matches!(error, ArchiveError::WouldOverwrite { .. }), "{error}");
        }
        assert!(!path.parent().unwrap().join("nowhere").exists());
    }

    #[test]
    fn damaged_bytes_never_become_a_file() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let run = fixture.archive.run("latest").unwrap();
        let blob = fixture.blob(&run.files[0].digest);
        fs::remove_file(&blob).unwrap();
        fs::write(&blob, "package X").unwrap();
        let dest = fixture.dir.path().join("out");
        let error = fixture.archive.restore_files(&run, &[], &dest).unwrap_err();
        assert!(matches!(error, ArchiveError::WrongDigest { .. }), "{error}");
        assert_eq!(fs::read_dir(dest.join("debian-12_deb")).unwrap().count(), 0);
    }

    #[test]
    fn a_target_that_the_run_does_not_have_is_an_error_that_names_those_it_has() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let run = fixture.archive.run("latest").unwrap();
        let error = fixture
            .archive
            .restore_files(&run, &["rocky-9/rpm".parse().unwrap()], fixture.dir.path().join("out"))
            .unwrap_err();
        assert!(crate::support::Hint::hint(&error).contains("debian-12/deb"));
    }
}
