use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::unistd::chdir;

use super::{Stop, Trying};
use crate::engine::embedded::request::Overlay;

/// No device node works that an image brings or a container makes; nothing is written by one layer into another; and
/// nothing is forced onto the disk: a container does not outlive its machine.
const OPTIONS: &str = "index=off,redirect_dir=off,metacopy=off";

/// Mounts a container's file system at its place. To be called in a mount namespace of its own.
pub(super) fn mount_for_writing(overlay: &Overlay) -> Result<(), Stop> {
    let (folder, lower) = relative(&overlay.lower);
    let data = format!(
        "lowerdir={},upperdir={},workdir={},{OPTIONS},volatile",
        lower_option(&lower),
        escape(&overlay.upper),
        escape(&overlay.work)
    );
    mount_in(&folder, &overlay.merged, &data, MsFlags::MS_NODEV)
}

/// The same, to look at: for a container that has stopped.
pub(super) fn mount_for_reading(overlay: &Overlay) -> Result<(), Stop> {
    let mut lower = overlay.lower.clone();
    lower.push(overlay.upper.clone());
    let (folder, lower) = relative(&lower);
    let data = format!("lowerdir={},redirect_dir=off,metacopy=off", lower_option(&lower));
    mount_in(&folder, &overlay.merged, &data, MsFlags::MS_NODEV | MsFlags::MS_RDONLY)
}

fn mount_in(folder: &Path, place: &Path, data: &str, flags: MsFlags) -> Result<(), Stop> {
    chdir(folder).trying(format!("enter {}", folder.display()))?;
    let mounted = mount(Some("overlay"), place, Some("overlay"), flags, Some(data));
    chdir("/").trying("leave the folder of the layers")?;
    mounted.trying("mount the layers of the image with overlayfs")
}

/// The folder that all have in common, and their paths from there: the kernel takes one page of options.
fn relative(lower: &[PathBuf]) -> (PathBuf, Vec<PathBuf>) {
    let mut common = lower.first().and_then(|path| path.parent()).unwrap_or(Path::new("/")).to_owned();
    while !lower.iter().all(|path| path.starts_with(&common) && *path != common) {
        if !common.pop() {
            break;
        }
    }
    let paths = lower.iter().map(|path| path.strip_prefix(&common).unwrap_or(path).to_owned()).collect();
    (common, paths)
}

/// The lowest last, as overlayfs wants it.
fn lower_option(lower: &[PathBuf]) -> String {
    let paths: Vec<String> = lower.iter().rev().map(|path| escape(path)).collect();
    paths.join(":")
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
    fn layers_are_named_shortly_and_the_lowest_last() {
        let paths = ["/e/layers/a", "/e/layers/b", "/e/x/c"].map(PathBuf::from);
        let (folder, lower) = relative(&paths);
        assert_eq!((folder, lower_option(&lower).as_str()), (PathBuf::from("/e"), "x/c:layers/b:layers/a"));
        let (folder, lower) = relative(&paths[..1]);
        assert_eq!((folder, lower_option(&lower).as_str()), (PathBuf::from("/e/layers"), "a"));
    }

    #[test]
    fn a_path_cannot_add_options() {
        assert_eq!(escape(Path::new("/a,b:c\\d")), "/a\\,b\\:c\\\\d");
    }
}
