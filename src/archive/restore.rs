use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use super::blobs;
use super::error::{ArchiveError, Result};
use super::layout::{self, Layout};
use super::run::{FileRole, Run, RunFile};
use crate::model::{Hasher, TargetName};
use crate::support::fs::{PathContext, open_no_link};

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
    let folder = Folder::make(dest, &file.path())?;
    let (inside, folder) = (folder.entry(&path), &folder.path());
    if is_there(&inside, &path, file)? {
        return Ok(restored(true));
    }
    let mut temp = tempfile::Builder::new()
        .prefix(".packhold-")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .at("create a file for", &path)?;
    let mut left = file.size;
    blobs::copy(layout, &file.digest, &file.path(), |bytes| {
        // A blob may go on for longer than a disk is large.
        left = left.checked_sub(bytes.len() as u64).ok_or_else(|| ArchiveError::Damaged {
            what: file.path(),
            reason: format!("it has more than the {} bytes that its run says", file.size),
        })?;
        Ok(temp.write_all(bytes).at("write", &path)?)
    })?;
    temp.as_file().sync_all().at("write", &path)?;
    match temp.persist_noclobber(&inside) {
        Ok(_) => {
            layout::sync_dir(folder)?;
            Ok(restored(false))
        }
        // Somebody else was faster.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            match is_there(&inside, &path, file)? {
                true => Ok(restored(true)),
                false => Err(ArchiveError::WouldOverwrite { path }),
            }
        }
        Err(error) => Err(error.error).at("create", &path)?,
    }
}

/// True when the file stands at `path` already; an error when something else does.
fn is_there(inside: &Path, path: &Path, file: &RunFile) -> Result<bool> {
    match fs::symlink_metadata(inside) {
        Ok(found) if found.is_file() && found.len() == file.size => {
            // Never through a link, even if one has taken its place meanwhile.
            let mut hasher = Hasher::new();
            open_no_link(inside).and_then(|mut there| io::copy(&mut there, &mut hasher)).at("read", path)?;
            match hasher.finish().0 == file.digest {
                true => Ok(true),
                false => Err(ArchiveError::WouldOverwrite { path: path.to_owned() }),
            }
        }
        Ok(_) => Err(ArchiveError::WouldOverwrite { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("read", path)?,
    }
}

/// A folder below the one that the user named, held open: whoever puts a link in its place meanwhile changes nothing.
struct Folder(OwnedFd);

impl Folder {
    /// The folder of the file `path` below `dest`, made where it is missing. No part of `path` may be a symbolic link.
    fn make(dest: &Path, path: &str) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::create_dir_all(dest).at("create", dest)?;
        let mut folder = openat(CWD, dest, flags, Mode::empty()).map_err(io::Error::from).at("open", dest)?;
        let mut so_far = dest.to_owned();
        for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
            // Whoever made the name has checked it; what is no plain component is nothing to go into.
            let Component::Normal(name) = part else {
                return Err(ArchiveError::WouldOverwrite { path: so_far.join(part) });
            };
            so_far.push(name);
            match mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(io::Error::from(error)).at("create", &so_far)?,
            }
            folder = match openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(folder) => folder,
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    return Err(ArchiveError::WouldOverwrite { path: so_far });
                }
                Err(error) => return Err(io::Error::from(error)).at("open", &so_far)?,
            };
        }
        Ok(Self(folder))
    }

    /// The open folder as a path (proc_pid_fd(5)).
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// The file in it that has the last name of `path`.
    fn entry(&self, path: &Path) -> PathBuf {
        self.path().join(path.file_name().unwrap_or_default())
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
    fn a_folder_that_is_a_link_is_never_gone_through() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let run = fixture.archive.run("latest").unwrap();
        let (dest, elsewhere) = (fixture.dir.path().join("out"), fixture.dir.path().join("elsewhere"));
        fs::create_dir_all(&dest).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dest.join("debian-12_deb")).unwrap();
        let error = fixture.archive.restore_files(&run, &[], &dest).unwrap_err();
        assert!(matches!(error, ArchiveError::WouldOverwrite { .. }), "{error}");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing is written through the link");
    }

    #[test]
    fn a_file_that_goes_on_beyond_its_size_is_refused_and_leaves_nothing() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let mut run = fixture.archive.run("latest").unwrap();
        run.files[0].size = 3;
        let dest = fixture.dir.path().join("out");
        let error = fixture.archive.restore_files(&run, &[], &dest).unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
        assert_eq!(fs::read_dir(dest.join("debian-12_deb")).unwrap().count(), 0);
    }

    #[test]
    fn a_blob_that_is_a_device_is_never_read() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let run = fixture.archive.run("latest").unwrap();
        let blob = fixture.blob(&run.files[0].digest);
        fs::remove_file(&blob).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &blob).unwrap();
        let error = fixture.archive.restore_files(&run, &[], fixture.dir.path().join("out")).unwrap_err();
        assert!(matches!(error, ArchiveError::Fs(_)), "{error}");
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
