use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::subordinate::{Ids, Kind};
use super::{MARK, delegated};

/// The word that makes this program one that enters the namespace and becomes the program that follows.
const ENTER: &str = "engine-namespace";

/// The word that makes this program one that stays outside for a moment, to map the ids of who entered.
const MAP: &str = "engine-id-map";

/// This program, even if its file was replaced meanwhile.
const SELF: &str = "/proc/self/exe";

/// Where control groups are mounted inside.
const GROUPS: &str = "/sys/fs/cgroup";

/// The exit code of what could not be entered: that of infrastructure.
const FAILED: u8 = 3;

/// Starts this program again, with the same `arguments`, its name among them, in a namespace in which the user is root. Returns only if that fails: what
/// fails later says so itself and ends with the exit code of infrastructure.
pub fn enter_again(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let name = arguments.next().unwrap_or_default();
    Command::new(SELF).arg0(name).arg(ENTER).arg(SELF).args(arguments).exec()
}

/// Becomes this command in the same namespace, and where this process is root already, without one. Returns only if that fails.
pub fn run_inside(command: &[OsString]) -> io::Error {
    if let (false, Some((program, arguments))) = (super::is_outside(), command.split_first()) {
        return Command::new(program).args(arguments).exec();
    }
    Command::new(SELF).arg(ENTER).args(command).exec()
}

/// Does what a process has to do on its way inside, where the command line says so; otherwise nothing, at once. To be called
/// before anything has started a thread: a process with several cannot enter a user namespace.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let name = arguments.next()?;
    let word = arguments.next()?;
    let done = if word == ENTER {
        enter(&name, arguments)
    } else if word == MAP {
        map_ids(arguments)
    } else {
        return None;
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = "`packhold doctor` says what an ordinary user needs; or run as root";
            let text = format!(
                "Error: the embedded engine cannot work as an ordinary user: {error}\nHint: {hint}\n"
            );
            _ = io::stderr().write_all(text.as_bytes());
            ExitCode::from(FAILED)
        }
    })
}

/// Enters the namespace and becomes the program in it.
fn enter(name: &OsString, mut command: impl Iterator<Item = OsString>) -> io::Result<()> {
    let program = command.next().ok_or_else(|| io::Error::other("there is no program to run in it"))?;
    let offered = delegated::is_offered();
    // It has to be outside to be allowed to map ids, so it is started before, and waits.
    let mut mapper = Command::new(SELF)
        .arg(MAP)
        .arg(std::process::id().to_string())
        .stdin(Stdio::piped())
        .spawn()
        .map_err(because("start a process that maps ids"))?;
    let start = mapper.stdin.take();
    let spaces = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP;
    if let Err(errno) = unshare(spaces) {
        // There is nothing to map.
        _ = mapper.kill().and_then(|()| mapper.wait());
        return Err(because("make a user namespace")(errno.into()));
    }
    // The end of its input tells it to begin.
    drop(start);
    if !mapper.wait()?.success() {
        return Err(io::Error::other("the user's subordinate ids could not be mapped"));
    }
    let change = |source: Option<&str>, place: &str, kind: Option<&str>, flags| {
        mount(source, place, kind, flags, None::<&str>)
            .map_err(|errno| because(&format!("change mounts at {place}"))(errno.into()))
    };
    change(None, "/", None, MsFlags::MS_REC | MsFlags::MS_SLAVE)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // With cgroup v2 alone the same file system is there, and none is mounted on itself (mount(2), EBUSY).
    change(None, GROUPS, Some("tmpfs"), flags | MsFlags::MS_RDONLY)?;
    change(Some(MARK), GROUPS, Some("cgroup2"), flags)?;
    if !offered || delegated::take(Path::new(GROUPS)).is_err() {
        // The container library takes version 2 that it may not write to for control groups that others rule.
        let flags = flags | MsFlags::MS_RDONLY | MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
        change(None, GROUPS, None, flags)?;
    }
    let mut next = Command::new(&program);
    if program == SELF {
        next.arg0(name);
    }
    let error = next.args(command).exec();
    Err(because(&format!("run {}", program.display()))(error))
}

/// Maps the ids of a process that has just made its namespace: this process's parent.
fn map_ids(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let pid = arguments.next().unwrap_or_default();
    io::stdin().read_to_end(&mut Vec::new())?;
    for kind in Kind::ALL {
        let ids = Ids::of_this_user(kind).map_err(because(&format!("read {}", kind.file())))?;
        let map = ids.map(kind).iter().map(u32::to_string).collect::<Vec<_>>();
        let mapped = Command::new(kind.program()).arg(&pid).args(map).stdin(Stdio::null()).output();
        let mapped = mapped.map_err(because(&format!("run {}", kind.program())))?;
        if !mapped.status.success() {
            let words = String::from_utf8_lossy(&mapped.stderr);
            return Err(io::Error::other(format!("{}: {}", kind.program(), words.trim())));
        }
    }
    Ok(())
}

fn because(action: &str) -> impl Fn(io::Error) -> io::Error {
    let action = action.to_owned();
    move |error| io::Error::new(error.kind(), format!("cannot {action}: {error}"))
}

/// What keeps ordinary users of this machine from entering, in words.
pub(in crate::engine::embedded) fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    for kind in Kind::ALL {
        let enough = Ids::of_this_user(kind).is_ok_and(|ids| ids.are_enough());
        if !enough {
            let user = super::subordinate::this_user().swap_remove(0);
            let option = if matches!(kind, Kind::Users) { "--add-subuids" } else { "--add-subgids" };
            missing.push(format!(
                "65536 subordinate ids of the user {user} in {}: `usermod {option} FIRST-LAST {user}`, as root, gives them",
                kind.file()
            ));
        }
        // Without arguments it says how it is used.
        if Command::new(kind.program()).stdin(Stdio::null()).output().is_err() {
            missing.push(format!("the program {}, of the package uidmap or shadow-utils", kind.program()));
        }
    }
    let is = |file: &str, bad: &str| fs::read_to_string(file).is_ok_and(|value| value.trim() == bad);
    // The second is Debian's own; a kernel without it has nothing to say.
    for (file, bad) in
        [("/proc/sys/user/max_user_namespaces", "0"), ("/proc/sys/kernel/unprivileged_userns_clone", "0")]
    {
        if is(file, bad) {
            missing.push(format!("user namespaces for ordinary users: {file} is {bad}"));
        }
    }
    // Ubuntu's: a profile lifts it for one program, and the kernel does not say for which.
    if missing.is_empty() && is(APPARMOR, "1") && !can_enter() {
        let program = fs::read_link(SELF).unwrap_or_else(|_| "packhold".into());
        missing.push(apparmor(&program));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if let Some(masked) = masked_proc(&mounts) {
        missing.push(format!(
            "a whole /proc: something is mounted on {masked}, as in a container, and then the kernel lets no ordinary user mount another (with \
             Docker `--security-opt systempaths=unconfined`, with podman `--security-opt unmask=ALL`)"
        ));
    }
    if rustix::fs::statfs("/sys/fs/cgroup").is_err() {
        missing.push("the folder /sys/fs/cgroup".to_owned());
    }
    missing
}

/// Where Ubuntu's kernel says whether AppArmor keeps ordinary users from having privileges in user namespaces.
const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// Tries it.
fn can_enter() -> bool {
    let mut trial = Command::new(SELF);
    trial.args([ENTER, "/bin/true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    trial.status().is_ok_and(|status| status.success())
}

/// What is missing where AppArmor forbids it, and what an administrator does about it (apparmor.d(5), "User Namespace Rules").
fn apparmor(program: &Path) -> String {
    let program = program.display();
    format!(
        "user namespaces for ordinary users: {APPARMOR} is 1, and no profile of AppArmor allows them to {program}: put \
         `abi <abi/4.0>, include <tunables/global> profile packhold {program} flags=(unconfined) {{ userns, }}` into /etc/apparmor.d/packhold \
         and run `apparmor_parser --replace /etc/apparmor.d/packhold`, as root"
    )
}

/// What hides a part of every `/proc` that this process sees (proc_pid_mountinfo(5)). A file system for programs of other
/// architectures hides nothing.
fn masked_proc(mounts: &str) -> Option<&str> {
    let mounts = || {
        mounts.lines().filter_map(|line| {
            let (mount, fs) = line.split_once(" - ")?;
            let mut fields = mount.split(' ').skip(3);
            Some((fields.next()?, fields.next()?, fs.split(' ').next()?))
        })
    };
    let hides = |place: &str| {
        mounts().map(|(_, point, _)| point).find(|point| {
            let below = point.strip_prefix(place).and_then(|rest| rest.strip_prefix('/'));
            below.is_some_and(|below| below != "sys/fs/binfmt_misc")
        })
    };
    let mut first = None;
    for (_, point, _) in mounts().filter(|(root, _, kind)| *root == "/" && *kind == "proc") {
        // One that is whole is enough.
        first = first.or(Some(hides(point)?));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proc_is_masked_where_something_is_mounted_on_all_that_there_are() {
        let whole = "22 1 0:5 / /proc rw shared:5 - proc proc rw\n";
        let misc = "30 22 0:9 / /proc/sys/fs/binfmt_misc rw - binfmt_misc binfmt_misc rw\n";
        let mask = "31 22 0:7 /null /proc/kcore rw - tmpfs tmpfs rw\n";
        let other = "40 1 0:5 / /srv/proc rw - proc proc rw\n";
        assert_eq!(masked_proc(&[whole, misc].concat()), None);
        assert_eq!(masked_proc(&[whole, misc, mask].concat()), Some("/proc/kcore"));
        assert_eq!(masked_proc(&[whole, mask, other].concat()), None);
        assert_eq!(masked_proc(&[whole, "50 1 0:8 / /processes rw - tmpfs tmpfs rw\n"].concat()), None);
    }

    #[test]
    fn what_is_said_of_apparmor_is_a_profile_for_this_program() {
        let said = apparmor(Path::new("/opt/bin/packhold"));
        assert!(said.contains("profile packhold /opt/bin/packhold flags=(unconfined) { userns, }"), "{said}");
    }
}
