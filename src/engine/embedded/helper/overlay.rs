use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::chdir;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use super::{Stop, Trying};
use crate::engine::embedded::request::{Overlay, Report};
use crate::engine::embedded::rootless::is_inside;

/// Nothing is written by one layer into another, and no layer is more than it seems.
const OPTIONS: [(&str, &str); 3] = [("index", "off"), ("redirect_dir", "off"), ("metacopy", "off")];

/// The same for an overlay that an ordinary user mounts, which follows no redirection at all, and keeps its marks in attributes of
/// users.
const ROOTLESS: [(&str, &str); 3] = [("index", "off"), ("redirect_dir", "nofollow"), ("metacopy", "off")];

fn options() -> [(&'static str, &'static str); 3] {
    if is_inside() { ROOTLESS } else { OPTIONS }
}

/// Mounts a container's file system at its place. No device node works that an image brings or a container makes. Nothing is
/// forced onto the disk: a container does not outlive its machine. To be called in a mount namespace of its own.
pub(super) fn mount_for_writing(overlay: &Overlay) -> Result<(), Stop> {
    let mut layers = overlay.lower.clone();
    layers.reverse();
    mount_layers(&layers, Some((&overlay.upper, &overlay.work)), &overlay.merged)
}

/// The same, to look at: for a container that has stopped.
pub(super) fn mount_for_reading(overlay: &Overlay) -> Result<(), Stop> {
    let mut layers = overlay.lower.clone();
    layers.push(overlay.upper.clone());
    layers.reverse();
    mount_layers(&layers, None, &overlay.merged)
}

/// Mounts folders below `place` over each other, writes, and reads what was written. In a thread with mounts of its own, which
/// go with it.
pub(in crate::engine::embedded) fn try_overlay(place: &Path) -> Result<(), String> {
    let place = place.to_owned();
    let work = move || -> Result<(), Stop> {
        unshare(CloneFlags::CLONE_NEWNS).trying("make a mount namespace")?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .trying("keep mounts to this process")?;
        let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(|name| place.join(name));
        for folder in [&lower, &upper, &work, &merged] {
            fs::create_dir(folder).trying("make a folder")?;
        }
        fs::write(lower.join("file"), "lower").trying("write a file")?;
        let overlay = Overlay { lower: vec![lower], upper: upper.clone(), work, merged: merged.clone() };
        mount_for_writing(&overlay)?;
        fs::write(merged.join("file"), "upper").trying("write into the mounted folder")?;
        match fs::read_to_string(upper.join("file")).trying("read what was written")?.as_str() {
            "upper" => Ok(()),
            _ => Err(Stop::refused("what was written is not where it should be")),
        }
    };
    match std::thread::spawn(work).join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Stop(Report::Refused(message) | Report::NoSpace(message)))) => Err(message),
        Ok(Err(Stop(report))) => Err(format!("{report:?}")),
        Err(_) => Err("the trial ended in the middle".to_owned()),
    }
}

/// Mounts layers, the uppermost first, for writing into the first folder of `writable`, or for reading. A mount table of one page
/// takes some fifty of them; so they are named one by one, where the kernel can do that (Linux 6.8), or by short links.
fn mount_layers(layers: &[PathBuf], writable: Option<(&Path, &Path)>, place: &Path) -> Result<(), Stop> {
    let mounted = match mount_one_by_one(layers, writable, place) {
        // It knows no such option, or not even such calls, or a filter of system calls forbids them.
        Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => mount_by_links(layers, writable, place),
        mounted => mounted.map_err(io::Error::from),
    };
    mounted.trying("mount the layers of the image with overlayfs")
}

fn mount_one_by_one(
    layers: &[PathBuf],
    writable: Option<(&Path, &Path)>,
    place: &Path,
) -> rustix::io::Result<()> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&overlay, "source", "overlay")?;
    for layer in layers {
        fsconfig_set_string(&overlay, "lowerdir+", layer)?;
    }
    for (name, value) in options() {
        if writable.is_some() || name != "index" {
            fsconfig_set_string(&overlay, name, value)?;
        }
    }
    if is_inside() {
        fsconfig_set_flag(&overlay, "userxattr")?;
    }
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    match writable {
        Some((upper, work)) => {
            // These two are unescaped by the kernel, other than layers that are named one by one.
            fsconfig_set_string(&overlay, "upperdir", escape(upper))?;
            fsconfig_set_string(&overlay, "workdir", escape(work))?;
            fsconfig_set_flag(&overlay, "volatile")?;
        }
        None => attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
    }
    fsconfig_create(&overlay)?;
    let mounted = fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    move_mount(&mounted, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// With links of a few bytes to the layers, in a folder that is gone when the layers are mounted.
fn mount_by_links(layers: &[PathBuf], writable: Option<(&Path, &Path)>, place: &Path) -> io::Result<()> {
    // In the place itself, which is covered as soon as it is mounted on; a file system of its own leaves nothing there.
    mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some("mode=700"))?;
    chdir(place)?;
    let mut names = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        symlink(layer, number.to_string())?;
        names.push(number.to_string());
    }
    let mut data = format!("lowerdir={}", names.join(":"));
    for (name, value) in options() {
        if writable.is_some() || name != "index" {
            data.push_str(&format!(",{name}={value}"));
        }
    }
    if is_inside() {
        data.push_str(",userxattr");
    }
    let mut flags = MsFlags::MS_NODEV;
    match writable {
        Some((upper, work)) => {
            data.push_str(&format!(",upperdir={},workdir={},volatile", escape(upper), escape(work)));
        }
        None => flags |= MsFlags::MS_RDONLY,
    }
    let mounted = mount(Some("overlay"), ".", Some("overlay"), flags, Some(data.as_str()));
    chdir("/")?;
    Ok(mounted?)
}

/// Escapes what means something in options of overlayfs.
fn escape(path: &Path) -> String {
    let mut escaped = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, '\\' | ',' | ':') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_mounts_and_leaves_no_mount() {
        let place = tempfile::tempdir().expect("a folder");
        assert_eq!(try_overlay(place.path()), Ok(()));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains(place.path().to_str().expect("a path")), "{mounts}");
        // Where nothing can be written, no folder can be the upper one.
        let refused = try_overlay(Path::new("/proc/self")).expect_err("it is mounted");
        assert!(refused.contains("make a folder"), "{refused}");
    }

    type MountLayers = fn(&[PathBuf], Option<(&Path, &Path)>, &Path) -> Result<(), String>;

    /// Mounts 120 layers in a mount namespace of its own, and tells what is seen, and what was written.
    fn seen(mount_layers: MountLayers) -> (usize, String, bool) {
        let place = tempfile::tempdir().expect("a folder");
        let top = place.path().to_owned();
        let work = move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
                .expect("a namespace; this test needs root");
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
                .expect("mounts of its own");
            let folder = |name: &str| {
                let path = top.join(name);
                std::fs::create_dir_all(&path).expect("a folder");
                path
            };
            let long = "l".repeat(60);
            let layer = |number: usize| {
                let path = folder(&format!("{long}-{number:03}"));
                std::fs::write(path.join(format!("of-{number}")), "x").expect("a file");
                std::fs::write(path.join("all"), number.to_string()).expect("a file");
                path
            };
            let layers: Vec<PathBuf> = (0..120).map(layer).collect();
            let (upper, work, merged) = (folder("upper, 1:2"), folder("work"), folder("merged"));
            mount_layers(&layers, Some((&upper, &work)), &merged).expect("they are mounted");
            let all = std::fs::read_to_string(merged.join("all")).expect("a file");
            let names = std::fs::read_dir(&merged).expect("the layers").count();
            std::fs::write(merged.join("new"), "x").expect("it can be written to");
            let new = upper.join("new").exists();
            let again = folder("again");
            mount_layers(&layers, None, &again).expect("they are mounted to be read");
            assert!(std::fs::write(again.join("new"), "x").is_err(), "it can be written to");
            (names, all, new)
        };
        std::thread::spawn(work).join().expect("a thread")
    }

    #[test]
    fn a_hundred_and_twenty_layers_are_mounted_the_first_on_top() {
        // Where this kernel can: both ways to the same end.
        let seen_by_mount = seen(|layers, writable, place| {
            mount_layers(layers, writable, place).map_err(|_| "not mounted".to_owned())
        });
        let seen_by_links = seen(|layers, writable, place| {
            mount_by_links(layers, writable, place).map_err(|error| error.to_string())
        });
        assert_eq!(seen_by_mount, (121, "0".to_owned(), true));
        assert_eq!(seen_by_links, seen_by_mount);
    }

    #[test]
    fn a_path_cannot_add_options() {
        assert_eq!(escape(Path::new("/a,b:c\\d")), "/a\\,b\\:c\\\\d");
    }
}
