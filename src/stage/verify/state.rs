//! What a system looks like, and what of it a package left behind. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{FailReason, Format};
use crate::support::terminal_text::neutralise;

/// A system as `verify.sh state` tells it (builders/README.md).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub files: BTreeMap<String, Entry>,
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
    packages: BTreeMap<String, String>,
    diversions: BTreeMap<String, String>,
    overrides: BTreeSet<String>,
    /// Process id → command.
    pub processes: BTreeMap<u32, String>,
}

/// A path of the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// find(1)'s %y: `f`, `d`, `l`, `b`, `c`, `p`, `s`.
    pub kind: char,
    pub mode: u32,
    owner: String,
    /// Of a link its target, of a file what tells its content.
    stamp: String,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub reason: FailReason,
    /// The path, user, group or process.
    pub object: String,
    pub evidence: String,
}

impl Finding {
    pub fn new(reason: FailReason, object: &str, evidence: impl Into<String>) -> Self {
        Self {
            reason,
            object: neutralise(object.as_bytes()),
            evidence: neutralise(evidence.into().as_bytes()),
        }
    }
}

impl State {
    /// Reads what the script printed. What is no record is an error that quotes it: the answer comes out of a container
    /// in which the package's own scripts ran.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut state = Self::default();
        for record in bytes.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
            let text = String::from_utf8_lossy(record);
            let bad = || format!("`{}` is no record of a state", clipped(&text));
            let (kind, rest) = text.split_once('\t').ok_or_else(bad)?;
            match kind {
                "file" => {
                    let mut fields = rest.splitn(5, '\t');
                    let mut field = || fields.next().ok_or_else(bad);
                    let (kind, mode, owner, stamp, path) = (field()?, field()?, field()?, field()?, field()?);
                    let entry = Entry {
                        kind: kind.chars().next().ok_or_else(bad)?,
                        mode: u32::from_str_radix(mode, 8).map_err(|_| bad())?,
                        owner: owner.to_owned(),
                        stamp: stamp.to_owned(),
                    };
                    state.files.insert(path.to_owned(), entry);
                }
                "user" => drop(state.users.insert(rest.to_owned())),
                "group" => drop(state.groups.insert(rest.to_owned())),
                "override" => drop(state.overrides.insert(rest.to_owned())),
                "package" => {
                    let (name, how) = rest.split_once('\t').ok_or_else(bad)?;
                    state.packages.insert(name.to_owned(), how.to_owned());
                }
                "diversion" => {
                    let (path, package) = rest.split_once('\t').ok_or_else(bad)?;
                    state.diversions.insert(path.to_owned(), package.to_owned());
                }
                "process" => {
                    let (pid, command) = rest.split_once('\t').ok_or_else(bad)?;
                    state.processes.insert(pid.parse().map_err(|_| bad())?, command.to_owned());
                }
                _ => return Err(bad()),
            }
        }
        if state.files.is_empty() {
            return Err("a state without files".to_owned());
        }
        Ok(state)
    }

    /// The processes that were not there before.
    pub fn new_processes(&self, before: &Self) -> Vec<Finding> {
        let new = self.processes.iter().filter(|(pid, _)| !before.processes.contains_key(pid));
        new.map(|(pid, command)| {
            Finding::new(FailReason::ProcessLeftBehind, command, format!("process {pid}: {command}"))
        })
        .collect()
    }

    /// What an installation made that is not safe (Debian Policy 9.1, 10.6, 10.9).
    pub fn unsafe_entries(&self, before: &Self) -> Vec<Finding> {
        let mut found = Vec::new();
        for (path, entry) in &self.files {
            if before.files.get(path).is_some_and(|old| {
                old.kind == entry.kind && old.mode == entry.mode && old.owner == entry.owner
            }) {
                continue;
            }
            let shown = format!("{} {:o} {} {path}", entry.kind, entry.mode, entry.owner);
            let mut tell = |reason| found.push(Finding::new(reason, path, shown.clone()));
            if matches!(entry.kind, 'b' | 'c') {
                tell(FailReason::DeviceFile);
            }
            if entry.kind == 'f' && entry.mode & 0o6000 != 0 {
                tell(FailReason::SetId);
            }
            let sticky_folder = entry.kind == 'd' && entry.mode & 0o1000 != 0;
            if entry.mode & 0o002 != 0 && !matches!(entry.kind, 'l' | 'c' | 's') && !sticky_folder {
                tell(FailReason::WorldWritable);
            }
            // What has no name is told as a number.
            if entry.owner.split(':').any(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
                tell(FailReason::UnknownOwner);
            }
            let is_new = !before.files.contains_key(path);
            if is_new && FORBIDDEN.iter().any(|folder| is_below(path, folder)) {
                tell(FailReason::ForbiddenPath);
            }
        }
        found
    }

    /// Files of others that a package has put its own in place of: `contents` are the package's paths. What is diverted
    /// is put aside and is no loss (dpkg-divert(1)).
    pub fn taken_over(&self, before: &Self, contents: &[String]) -> Vec<Finding> {
        let mut found = Vec::new();
        for path in contents {
            // Packages may still use the old names of merged folders (hier(7)).
            let merged = ["/bin/", "/sbin/", "/lib/", "/lib64/"].iter().any(|old| path.starts_with(old));
            let path = if merged { format!("/usr{path}") } else { path.clone() };
            let was_there = before.files.get(&path).is_some_and(|entry| entry.kind == 'f');
            if was_there && !self.diversions.contains_key(&path) {
                let evidence = format!("{path} was there before");
                found.push(Finding::new(FailReason::FileShared, &path, evidence));
            }
        }
        found
    }

    /// What is not as it was before, when the package is gone with its configuration.
    pub fn after_purge(&self, before: &Self, packages: &[&str], format: Format) -> Vec<Finding> {
        let mut found = self.new_paths(before, |path| format == Format::Rpm && is_saved_by_rpm(path));
        for (path, old) in &before.files {
            match self.files.get(path) {
                None => found.push(Finding::new(FailReason::FileLost, path, format!("{} is gone", path))),
                Some(new) if new == old => {}
                Some(new) => found.push(Finding::new(FailReason::FileAltered, path, difference(old, new))),
            }
        }
        // Fedora's guidelines: users and groups are never removed, since files of theirs may be left anywhere.
        if format == Format::Deb {
            let named = |reason, new: &BTreeSet<String>, old: &BTreeSet<String>, what| -> Vec<Finding> {
                new.difference(old).map(|name| Finding::new(reason, name, format!("{what} {name}"))).collect()
            };
            // A group of the same name goes and stays with its user.
            let groups = self.groups.difference(&self.users).cloned().collect();
            found.extend(named(FailReason::UserLeftBehind, &self.users, &before.users, "user"));
            found.extend(named(FailReason::GroupLeftBehind, &groups, &before.groups, "group"));
        }
        for path in self.overrides.difference(&before.overrides) {
            found.push(Finding::new(FailReason::OverrideLeftBehind, path, format!("override of {path}")));
        }
        for name in packages {
            if let Some(state) = self.packages.get(*name).filter(|_| !before.packages.contains_key(*name)) {
                found.push(Finding::new(FailReason::PackageLeftBehind, name, format!("{name} {state}")));
            }
        }
        found.extend(self.diversions_and_processes(before));
        found
    }

    /// What is not as it should be when a deb is removed, but not purged: `kept` are its configuration files, and what
    /// is below /etc and /var may wait for the purge (Debian Policy 6.8).
    pub fn after_remove(&self, before: &Self, kept: &BTreeSet<String>) -> Vec<Finding> {
        let mut found = self.new_paths(before, |path| {
            let waits = is_below(path, "/etc") || is_below(path, "/var");
            let is_kept = kept.iter().any(|file| file == path || is_below(file, path));
            is_kept || (waits && !is_alternative(path))
        });
        found.extend(self.diversions_and_processes(before));
        found
    }

    /// Configuration files that were there and must not be gone.
    pub fn lost(&self, before: &Self, kept: &BTreeSet<String>) -> Vec<Finding> {
        let gone =
            kept.iter().filter(|path| before.files.contains_key(*path) && !self.files.contains_key(*path));
        gone.map(|path| Finding::new(FailReason::ConfigLost, path, format!("{path} is gone"))).collect()
    }

    /// Configuration files that were changed before rpm erased their package, and are neither there nor saved.
    pub fn not_saved(&self, changed: &BTreeSet<String>) -> Vec<Finding> {
        let is_there = |path: &String| self.files.contains_key(&format!("{path}.rpmsave"));
        let gone = changed.iter().filter(|path| !self.files.contains_key(*path) && !is_there(path));
        gone.map(|path| {
            let evidence = format!("{path} was changed, and {path}.rpmsave is not there");
            Finding::new(FailReason::ConfigLost, path, evidence)
        })
        .collect()
    }

    /// Paths below /var and /srv that belong to no package and were there before; they are the user's data.
    pub fn data_lost(&self, before: &Self, owned: &BTreeSet<String>) -> Vec<Finding> {
        let data =
            |path: &str| ["/var/lib", "/var/log", "/var/spool", "/srv"].iter().any(|f| is_below(path, f));
        let gone = before.files.keys().filter(|path| {
            data(path) && !owned.contains(*path) && !is_alternative(path) && !self.files.contains_key(*path)
        });
        gone.map(|path| Finding::new(FailReason::DataLost, path, format!("{path} is gone"))).collect()
    }

    fn diversions_and_processes(&self, before: &Self) -> Vec<Finding> {
        let diversions = self.diversions.iter().filter(|(path, _)| !before.diversions.contains_key(*path));
        let mut found: Vec<Finding> = diversions
            .map(|(path, package)| {
                Finding::new(FailReason::DiversionLeftBehind, path, format!("{path} diverted by {package}"))
            })
            .collect();
        found.extend(self.new_processes(before));
        found
    }

    /// Paths that were not there before: leaves, and folders without any.
    fn new_paths(&self, before: &Self, accepted: impl Fn(&str) -> bool) -> Vec<Finding> {
        let new: Vec<(&String, &Entry)> = self
            .files
            .iter()
            .filter(|(path, _)| !before.files.contains_key(*path) && !accepted(path))
            .collect();
        let mut found = Vec::new();
        for (path, entry) in &new {
            let holds_new = entry.kind == 'd' && new.iter().any(|(other, _)| is_below(other, path));
            // A folder that holds only what is accepted is accepted with it.
            let holds_any = entry.kind == 'd' && self.files.keys().any(|other| is_below(other, path));
            if holds_new || holds_any {
                continue;
            }
            let mut shown = format!("{} {:o} {} {path}", entry.kind, entry.mode, entry.owner);
            if entry.kind == 'l' {
                shown = format!("{shown} -> {}", entry.stamp);
            }
            found.push(Finding::new(class_of(path, entry), path, shown));
        }
        found
    }
}

/// Where packages put no files (Debian Policy 9.1.2, 9.1.4, 10.1; Filesystem Hierarchy Standard 3.0).
const FORBIDDEN: [&str; 8] =
    ["/usr/local", "/home", "/tmp", "/run", "/var/run", "/var/tmp", "/mnt", "/media"];

/// True for a path inside the folder.
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn is_alternative(path: &str) -> bool {
    ["/etc/alternatives", "/var/lib/dpkg/alternatives", "/var/lib/alternatives"]
        .iter()
        .any(|folder| is_below(path, folder))
}

/// What rpm leaves of configuration files that were changed (rpm(8)).
fn is_saved_by_rpm(path: &str) -> bool {
    [".rpmsave", ".rpmnew", ".rpmorig"].iter().any(|suffix| path.ends_with(suffix))
}

/// What kind of thing was left.
fn class_of(path: &str, entry: &Entry) -> FailReason {
    let folders: Vec<&str> = path.split('/').collect();
    let in_folder = |name: &str| folders[..folders.len() - 1].contains(&name);
    if is_alternative(path) || (entry.kind == 'l' && entry.stamp.starts_with("/etc/alternatives/")) {
        FailReason::AlternativeLeftBehind
    } else if entry.kind == 'l' && in_folder("systemd") && (in_folder("system") || in_folder("user"))
        || path.starts_with("/var/lib/systemd/deb-systemd-helper-")
    {
        FailReason::UnitLinkLeftBehind
    } else if path.starts_with("/etc/cron") || is_below(path, "/var/spool/cron") {
        FailReason::CronLeftBehind
    } else if in_folder("sysctl.d") {
        FailReason::SysctlLeftBehind
    } else if in_folder("tmpfiles.d") {
        FailReason::TmpfilesLeftBehind
    } else if entry.kind == 'd' {
        FailReason::FolderLeftBehind
    } else {
        FailReason::FileLeftBehind
    }
}

fn difference(old: &Entry, new: &Entry) -> String {
    let mut parts = Vec::new();
    let mut part = |what: &str, old: String, new: String| {
        if old != new {
            parts.push(format!("{what} {old} became {new}"));
        }
    };
    part("kind", old.kind.to_string(), new.kind.to_string());
    part("mode", format!("{:o}", old.mode), format!("{:o}", new.mode));
    part("owner", old.owner.clone(), new.owner.clone());
    part("content", clipped(&old.stamp), clipped(&new.stamp));
    parts.join(", ")
}

fn clipped(text: &str) -> String {
    neutralise(text.chars().take(80).collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(records: &[&str]) -> State {
        let mut text = String::from("file\td\t755\troot:root\t\t/etc\0");
        records.iter().for_each(|record| text.push_str(&format!("{record}\0")));
        State::parse(text.as_bytes()).unwrap()
    }

    fn reasons(found: &[Finding]) -> Vec<(FailReason, &str)> {
        found.iter().map(|finding| (finding.reason, finding.object.as_str())).collect()
    }

    #[test]
    fn a_file_of_another_package_is_not_taken_over_unless_it_is_diverted() {
        let before = state(&["file\tf\t644\troot:root\tx\t/usr/bin/x", "file\td\t755\troot:root\t\t/etc"]);
        let contents = ["/bin/x", "/etc", "/etc/new"].map(str::to_owned);
        let now = state(&[]);
        assert_eq!(reasons(&now.taken_over(&before, &contents)), [(FailReason::FileShared, "/usr/bin/x")]);
        let now = state(&["diversion\t/usr/bin/x\tp"]);
        assert_eq!(now.taken_over(&before, &contents), []);
    }

    #[test]
    fn configuration_that_was_changed_is_saved_or_lost() {
        let changed = ["/etc/a", "/etc/b", "/etc/c"].map(str::to_owned).into();
        let now =
            state(&["file\tf\t644\troot:root\tx\t/etc/a", "file\tf\t644\troot:root\tx\t/etc/b.rpmsave"]);
        assert_eq!(reasons(&now.not_saved(&changed)), [(FailReason::ConfigLost, "/etc/c")]);
    }

    #[test]
    fn what_belongs_to_nobody_is_not_safe() {
        let now = state(&["file\tf\t644\t1234:root\tx\t/usr/bin/x", "file\tf\t644\ta:b\tx\t/usr/bin/y"]);
        let found = now.unsafe_entries(&state(&[]));
        assert_eq!(reasons(&found), [(FailReason::UnknownOwner, "/usr/bin/x")]);
    }

    #[test]
    fn every_kind_of_leftover_has_its_own_reason() {
        let before = state(&["user\troot", "group\troot"]);
        for (record, reason, object) in [
            ("file\tf\t644\troot:root\tx\t/var/lib/a/b", FailReason::FileLeftBehind, "/var/lib/a/b"),
            ("file\td\t755\troot:root\t\t/var/lib/a", FailReason::FolderLeftBehind, "/var/lib/a"),
            (
                "file\tl\t777\troot:root\t/lib/x.service\t/etc/systemd/system/multi-user.target.wants/x.service",
                FailReason::UnitLinkLeftBehind,
                "/etc/systemd/system/multi-user.target.wants/x.service",
            ),
            (
                "file\tl\t777\troot:root\t/usr/bin/x\t/etc/alternatives/x",
                FailReason::AlternativeLeftBehind,
                "/etc/alternatives/x",
            ),
            (
                "file\tf\t644\troot:root\tx\t/var/lib/systemd/deb-systemd-helper-enabled/x.service.dsh-also",
                FailReason::UnitLinkLeftBehind,
                "/var/lib/systemd/deb-systemd-helper-enabled/x.service.dsh-also",
            ),
            ("file\tf\t644\troot:root\tx\t/etc/cron.d/x", FailReason::CronLeftBehind, "/etc/cron.d/x"),
            ("file\tf\t644\troot:root\tx\t/etc/sysctl.d/x", FailReason::SysctlLeftBehind, "/etc/sysctl.d/x"),
            (
                "file\tf\t644\troot:root\tx\t/usr/lib/tmpfiles.d/x",
                FailReason::TmpfilesLeftBehind,
                "/usr/lib/tmpfiles.d/x",
            ),
            ("user\tx", FailReason::UserLeftBehind, "x"),
            ("group\tx", FailReason::GroupLeftBehind, "x"),
            ("override\t/usr/bin/x", FailReason::OverrideLeftBehind, "/usr/bin/x"),
            ("diversion\t/usr/bin/x\tp", FailReason::DiversionLeftBehind, "/usr/bin/x"),
            ("package\tp\tconfig-files", FailReason::PackageLeftBehind, "p"),
            ("process\t77\tx --daemon", FailReason::ProcessLeftBehind, "x --daemon"),
        ] {
            let after = state(&["user\troot", "group\troot", record]);
            assert_eq!(reasons(&after.after_purge(&before, &["p"], Format::Deb)), [(reason, object)]);
        }
        assert_eq!(before.after_purge(&before, &["p"], Format::Deb), []);
    }

    #[test]
    fn what_was_there_before_must_be_as_it_was() {
        let before =
            state(&["file\tf\t644\troot:root\ta\t/etc/profile", "file\tf\t644\troot:root\ta\t/etc/x"]);
        let after = state(&["file\tf\t644\troot:root\tb\t/etc/profile"]);
        assert_eq!(
            reasons(&after.after_purge(&before, &[], Format::Deb)),
            [(FailReason::FileAltered, "/etc/profile"), (FailReason::FileLost, "/etc/x")]
        );
    }

    #[test]
    fn rpm_keeps_users_and_changed_configuration() {
        let before = state(&[]);
        let after = state(&["user\tx", "group\tx", "file\tf\t644\troot:root\tx\t/etc/x.conf.rpmsave"]);
        assert_eq!(after.after_purge(&before, &[], Format::Rpm), []);
        assert_eq!(after.after_purge(&before, &[], Format::Deb).len(), 2);
    }

    #[test]
    fn removal_keeps_configuration_and_what_waits_for_the_purge() {
        let before = state(&[]);
        let after = state(&[
            "file\td\t755\troot:root\t\t/opt/x",
            "file\tf\t644\troot:root\tx\t/opt/x/x.conf",
            "file\tf\t644\troot:root\tx\t/var/log/x.log",
            "file\tf\t644\troot:root\tx\t/usr/bin/x",
            "file\tl\t777\troot:root\t/usr/bin/x\t/etc/alternatives/x",
        ]);
        let kept = BTreeSet::from(["/opt/x/x.conf".to_owned()]);
        assert_eq!(
            reasons(&after.after_remove(&before, &kept)),
            [
                (FailReason::AlternativeLeftBehind, "/etc/alternatives/x"),
                (FailReason::FileLeftBehind, "/usr/bin/x")
            ]
        );
        assert_eq!(reasons(&before.lost(&after, &kept)), [(FailReason::ConfigLost, "/opt/x/x.conf")]);
    }

    #[test]
    fn what_an_installation_makes_must_be_safe() {
        let before = state(&["file\tf\t4755\troot:root\tx\t/usr/bin/su"]);
        let after = state(&[
            "file\tf\t4755\troot:root\tx\t/usr/bin/su",
            "file\tf\t4755\troot:root\tx\t/usr/bin/a",
            "file\tf\t666\troot:root\tx\t/etc/b",
            "file\td\t1777\troot:root\t\t/var/c",
            "file\tc\t600\troot:root\t\t/etc/d",
            "file\tl\t777\troot:root\tx\t/etc/e",
            "file\tf\t644\troot:root\tx\t/usr/local/bin/f",
        ]);
        assert_eq!(
            reasons(&after.unsafe_entries(&before)),
            [
                (FailReason::WorldWritable, "/etc/b"),
                (FailReason::DeviceFile, "/etc/d"),
                (FailReason::SetId, "/usr/bin/a"),
                (FailReason::ForbiddenPath, "/usr/local/bin/f")
            ]
        );
    }

    #[test]
    fn what_a_user_has_below_var_survives() {
        let before =
            state(&["file\tf\t644\troot:root\tx\t/var/lib/a/mine", "file\tf\t644\tr:r\tx\t/var/lib/a/its"]);
        let owned = BTreeSet::from(["/var/lib/a/its".to_owned()]);
        assert_eq!(
            reasons(&state(&[]).data_lost(&before, &owned)),
            [(FailReason::DataLost, "/var/lib/a/mine")]
        );
    }

    #[test]
    fn what_is_no_state_is_quoted_and_names_may_hold_anything() {
        for text in ["", "file\tf", "file\tf\tzzz\tr:r\tx\t/a", "process\tx\ty", "nonsense", "user"] {
            assert!(State::parse(text.as_bytes()).is_err(), "{text}");
        }
        let strange = state(&["file\tf\t644\troot:root\tx\t/var/a\tb\n\x1b[31mc"]);
        let found = strange.after_purge(&state(&[]), &[], Format::Deb);
        assert!(found[0].object.contains("a") && !found[0].object.contains('\x1b'), "{found:?}");
    }
}
