//! Removing folders that a stranger has filled.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

/// How deep folders are followed. What is deeper is moved up first: a container can make folders deeper than any stack,
/// any path and any number of open files.
const DEPTH: usize = 64;

/// Removes a folder and what is in it, and follows no link. One that is not there is no error.
pub(super) fn discard(path: &Path) -> io::Result<()> {
    let top = match openat(rustix::fs::CWD, path, folder(), Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut moved = 0_u64;
    loop {
        let before = moved;
        empty(top.try_clone()?, 0, &top, &mut moved)?;
        if moved == before {
            break;
        }
    }
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn folder() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn empty(here: OwnedFd, depth: usize, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    for (name, kind) in entries(here.as_fd())? {
        let name = name.as_c_str();
        if kind != FileType::Directory {
            ignore_missing(unlinkat(&here, name, AtFlags::empty()))?;
        } else if depth == DEPTH {
            rename_up(&here, name, top, moved)?;
        } else {
            match openat(&here, name, folder(), Mode::empty()) {
                Err(Errno::NOENT) => continue,
                opened => empty(opened?, depth + 1, top, moved)?,
            }
            ignore_missing(unlinkat(&here, name, AtFlags::REMOVEDIR))?;
        }
    }
    Ok(())
}

fn rename_up(here: &OwnedFd, name: &std::ffi::CStr, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        match renameat(here, name, top, format!(".packhold-removed-{moved}")) {
            // A name that the container has used.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            done => return ignore_missing(done),
        }
    }
}

fn entries(here: impl AsFd) -> io::Result<Vec<(CString, FileType)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(&here)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                FileType::from_raw_mode(statat(&here, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            kind => kind,
        };
        found.push((name.to_owned(), kind));
    }
    Ok(found)
}

fn ignore_missing(done: rustix::io::Result<()>) -> io::Result<()> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        done => Ok(done?),
    }
}

/// Opens a folder, to lock it.
pub(super) fn open_folder(path: &Path) -> io::Result<File> {
    Ok(File::from(openat(rustix::fs::CWD, path, folder(), Mode::empty())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_deeper_than_any_path_are_removed_and_links_are_not_followed() {
        let place = tempfile::tempdir().expect("a folder");
        let kept = place.path().join("kept");
        std::fs::write(&kept, "x").expect("a file");
        let top = place.path().join("top");
        std::fs::create_dir(&top).expect("a folder");
        std::os::unix::fs::symlink(place.path(), top.join("link")).expect("a link");
        std::fs::write(top.join(".packhold-removed-1"), "x").expect("a file");
        let mut here = openat(rustix::fs::CWD, &top, folder(), Mode::empty()).expect("the folder");
        // 30 kB of path.
        let name = "d".repeat(200);
        for _ in 0..150 {
            rustix::fs::mkdirat(&here, &name, Mode::RWXU).expect("a folder");
            rustix::fs::symlinkat("..", &here, "up").expect("a link");
            here = openat(&here, &name, folder(), Mode::empty()).expect("the folder");
        }
        discard(&top).expect("removed");
        assert!(!top.exists() && kept.exists());
        discard(&top).expect("removing what is gone is no error");
    }
}
