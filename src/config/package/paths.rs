use std::path::Path;

use toml::Spanned;

use super::super::ConfigError;
use super::super::checker::{Checker, INNER_PATH, is_inner_path};
use crate::model::Format;

/// Where packages may put files (FHS 3.0, Debian Policy 9.1): what else there is belongs to the administrator, to users or to the kernel.
const TOPS: [&str; 4] = ["/usr/", "/etc/", "/var/", "/opt/"];

/// What is below one of them and not a package's all the same.
const NOT_OURS: [&str; 4] = ["/usr/local/", "/var/run/", "/var/lock/", "/var/tmp/"];

/// Letters that mean nothing to a shell, to make, to rpm's macros and file lists, or to debhelper's.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "._+@:=/-".contains(c))
}

/// A path in the source tree of such letters, which no program takes for an option.
fn is_plain_path(text: &str) -> bool {
    is_inner_path(text) && is_plain(text) && !text.starts_with('-')
}

/// The folder that holds the packaging that is made for a target, with a slash at the end. `builder` is one of which something is said.
pub(super) fn generated_folder(builder: Option<&str>, format: Format) -> String {
    let root = builder.map(|builder| format!("packhold/{builder}/")).unwrap_or_default();
    match format {
        Format::Deb => format!("{root}debian/"),
        Format::Rpm => format!("{root}rpm/"),
    }
}

/// What a target's `packaging` is where it is made of `[package]`.
pub(in super::super) fn generated_path(package: &str, builder: Option<&str>, format: Format) -> String {
    let folder = generated_folder(builder, format);
    match format {
        Format::Deb => folder.trim_end_matches('/').to_owned(),
        Format::Rpm => format!("{folder}{package}.spec"),
    }
}

impl Checker<'_> {
    /// A path in the source tree of plain letters.
    pub(super) fn plain_path(&self, path: &Spanned<String>) -> Result<String, ConfigError> {
        if is_plain_path(path.get_ref()) {
            return Ok(path.get_ref().trim_end_matches('/').to_owned());
        }
        Err(self.strange_path(path))
    }

    /// A path in the source tree of plain letters, in which `*`, `?` and `[…]` stand for others.
    pub(super) fn glob(&self, path: &Spanned<String>) -> Result<String, ConfigError> {
        let text = path.get_ref();
        let plain = text.replace(['*', '?', '[', ']'], "x");
        let whole = globset::Glob::new(text).is_ok();
        match whole && is_plain_path(&plain) && !text.contains("**") {
            true => Ok(text.clone()),
            false => Err(self.strange_path(path)),
        }
    }

    fn strange_path(&self, path: &Spanned<String>) -> ConfigError {
        let message = format!("`{}` is not a path inside the source tree", path.get_ref());
        let hint = format!("{INNER_PATH}, of letters, digits and `._+@:=-`");
        self.document.error(path.span(), message, hint)
    }

    /// An absolute path on the machine where the package is installed; with `folder` it may end in `/`.
    pub(super) fn destination(&self, path: &Spanned<String>, folder: bool) -> Result<String, ConfigError> {
        let text = path.get_ref();
        let wrong = |hint: &str| {
            let message = format!("`{text}` is no place for a package's file");
            Err(self.document.error(path.span(), message, hint))
        };
        let inner = if folder { text.trim_end_matches('/') } else { text };
        let Some(below) = inner.strip_prefix('/') else {
            return wrong("write the absolute path that it has when the package is installed");
        };
        if !is_plain(text) || below.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return wrong("use letters, digits and `._+@:=-`, single slashes and no `..`");
        }
        let slashed = format!("{inner}/");
        if ["/bin/", "/sbin/", "/lib/", "/lib64/"].iter().any(|top| slashed.starts_with(top)) {
            return wrong("write /usr before it: every distro has moved these folders there");
        }
        if !TOPS.iter().any(|top| slashed.starts_with(top) && slashed != *top)
            || NOT_OURS.iter().any(|top| slashed.starts_with(top))
        {
            return wrong("packages put files below /usr (not /usr/local), /etc, /var and /opt (FHS 3.0)");
        }
        Ok(text.clone())
    }

    /// What a symbolic link leads to: an absolute path, or one from where the link is.
    pub(super) fn link_target(&self, path: &str, target: &Spanned<String>) -> Result<String, ConfigError> {
        let text = target.get_ref();
        let absolute = match text.strip_prefix('/') {
            Some(_) => Some(text.clone()),
            None => resolve(path, text),
        };
        let plain = !text.is_empty() && is_plain(text) && !text.starts_with('-');
        match absolute.filter(|_| plain) {
            Some(absolute) => Ok(as_policy_wants(path, &absolute)),
            None => {
                let message = format!("`{text}` is nothing that a link can lead to");
                let hint =
                    "write an absolute path, or one from where the link is; letters, digits and `._+@:=-`";
                Err(self.document.error(target.span(), message, hint))
            }
        }
    }
}

/// The absolute path of `target` as it is seen from the link at `path`.
fn resolve(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// Links within one folder of the root are relative, others absolute (Debian Policy 10.5), so that dh_link leaves them as they are.
fn as_policy_wants(path: &str, target: &str) -> String {
    let parts = |path: &str| -> Vec<String> {
        path.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect()
    };
    let (mut from, to) = (parts(path), parts(target));
    from.pop();
    if from.first() != to.first() || to.iter().any(|part| part == "..") {
        return target.to_owned();
    }
    let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n("..".to_owned(), from.len() - common);
    let path: Vec<String> = up.chain(to[common..].iter().cloned()).collect();
    match path.is_empty() {
        true => ".".to_owned(),
        false => path.join("/"),
    }
}

/// The last name of a path.
pub(super) fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_within_a_folder_of_the_root_and_absolute_elsewhere() {
        for (path, target, wanted) in [
            ("/usr/bin/hp", "hostpulse", "hostpulse"),
            ("/usr/bin/hp", "/usr/bin/hostpulse", "hostpulse"),
            ("/usr/bin/hp", "/usr/lib/hp/run", "../lib/hp/run"),
            ("/usr/bin/hp", "../lib/hp/run", "../lib/hp/run"),
            ("/usr/lib/hp/state", "/var/lib/hp", "/var/lib/hp"),
            ("/usr/lib/hp/state", "../../../var/lib/hp", "/var/lib/hp"),
        ] {
            let absolute =
                if target.starts_with('/') { target.to_owned() } else { resolve(path, target).unwrap() };
            assert_eq!(as_policy_wants(path, &absolute), wanted, "{path} → {target}");
        }
        assert_eq!(resolve("/usr/x", "../../../etc/x"), None);
    }
}
