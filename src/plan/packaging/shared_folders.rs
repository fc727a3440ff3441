//! Which folders belong to a package: in an rpm, every folder that no package owns stays behind.

use std::collections::BTreeSet;

/// Folders of rpm's package `filesystem` (FHS 3.0) and those into which many packages put files.
const SHARED: &[&str] = &[
    "/etc",
    "/etc/X11",
    "/etc/alternatives",
    "/etc/bash_completion.d",
    "/etc/cron.daily",
    "/etc/cron.hourly",
    "/etc/cron.monthly",
    "/etc/cron.weekly",
    "/etc/default",
    "/etc/init.d",
    "/etc/opt",
    "/etc/pki",
    "/etc/skel",
    "/etc/ssl",
    "/etc/sysconfig",
    "/etc/systemd",
    "/etc/systemd/system",
    "/etc/systemd/user",
    "/etc/udev",
    "/etc/xdg",
    "/opt",
    "/usr",
    "/usr/bin",
    "/usr/include",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/systemd",
    "/usr/lib/systemd/system",
    "/usr/lib/systemd/user",
    "/usr/lib/systemd/system-preset",
    "/usr/lib/systemd/user-preset",
    "/usr/lib/udev",
    "/usr/lib/firewalld",
    "/usr/lib/firewalld/services",
    "/usr/lib/pkgconfig",
    "/usr/lib64/pkgconfig",
    "/usr/libexec",
    "/usr/sbin",
    "/usr/share",
    "/usr/share/applications",
    "/usr/share/bash-completion",
    "/usr/share/bash-completion/completions",
    "/usr/share/doc",
    "/usr/share/fish",
    "/usr/share/fish/vendor_completions.d",
    "/usr/share/icons",
    "/usr/share/info",
    "/usr/share/licenses",
    "/usr/share/locale",
    "/usr/share/man",
    "/usr/share/pixmaps",
    "/usr/share/pkgconfig",
    "/usr/share/polkit-1",
    "/usr/share/polkit-1/actions",
    "/usr/share/polkit-1/rules.d",
    "/usr/share/zsh",
    "/usr/share/zsh/site-functions",
    "/usr/share/zsh/vendor-completions",
    "/usr/src",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/mail",
    "/var/opt",
    "/var/spool",
    "/var/spool/cron",
];

/// Whether a folder is one of others.
fn is_shared(folder: &str) -> bool {
    // /etc/logrotate.d, /usr/lib/sysctl.d: folders for pieces of a whole that is not the package's.
    let for_pieces = || {
        let (above, name) = folder.rsplit_once('/').unwrap_or_default();
        name.ends_with(".d") && is_shared(above)
    };
    SHARED.contains(&folder)
        || ["/usr/share/man/", "/usr/share/locale/", "/usr/share/icons/"]
            .iter()
            .any(|top| folder.starts_with(top))
        || for_pieces()
}

/// The folders above these paths that a package has to own, from the top down.
pub(super) fn owned_folders<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut owned = BTreeSet::new();
    for path in paths {
        let mut folder = path;
        while let Some((above, _)) = folder.rsplit_once('/') {
            folder = above;
            if folder.is_empty() {
                break;
            }
            if !is_shared(folder) {
                owned.insert(folder.to_owned());
            }
        }
    }
    owned.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_owns_its_own_folders_and_no_others() {
        let paths = [
            "/usr/bin/x",
            "/etc/logrotate.d/x",
            "/etc/x/conf.d/a.conf",
            "/usr/share/man/man8/x.8",
            "/usr/share/x/data/file",
            "/usr/lib/sysusers.d/x.conf",
            "/usr/lib/udev/rules.d/x.rules",
            "/opt/x/bin/run",
        ];
        let wanted = ["/etc/x", "/etc/x/conf.d", "/opt/x", "/opt/x/bin", "/usr/share/x", "/usr/share/x/data"];
        assert_eq!(owned_folders(paths), wanted);
    }
}
