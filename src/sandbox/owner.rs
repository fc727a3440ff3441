use std::fmt;
use std::fs;
use std::str::FromStr;

/// The label that names an object's owner.
pub(super) const OWNER_LABEL: &str = "packhold.owner";

/// The label that names an object's run.
pub const RUN_LABEL: &str = "packhold.run";

/// The process that owns an object: host, boot, pid and the pid's start time, so that neither a reused pid nor a reboot
/// makes a dead owner look alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    host: String,
    boot: String,
    pid: u32,
    start: u64,
}

impl Owner {
    /// This process.
    pub fn this_process() -> Self {
        let pid = std::process::id();
        Self { host: host(), boot: boot(), pid, start: start_of(pid).unwrap_or(0) }
    }

    /// True when it is certain that the owner has ended. An owner on another host is never known to be dead.
    pub fn is_dead(&self) -> bool {
        self.host == host() && (self.boot != boot() || start_of(self.pid) != Some(self.start))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.host, self.boot, self.pid, self.start)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [host, boot, pid, start] = parts[..] else { return Err(()) };
        Ok(Self {
            host: host.to_owned(),
            boot: boot.to_owned(),
            pid: pid.parse().map_err(|_| ())?,
            start: start.parse().map_err(|_| ())?,
        })
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().replace(' ', "_")
}

fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().replace('-', "")
}

/// When the process started, in clock ticks since boot (field 22 of /proc/PID/stat, proc(5)); `None` if it has ended. A
/// zombie has ended.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_is_written_and_read() {
        let owner = Owner::this_process();
        assert!(!owner.is_dead());
        assert_eq!(owner.to_string().parse(), Ok(owner));
    }

    #[test]
    fn a_process_that_ended_is_dead_even_if_its_pid_lives_again() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let start = start_of(child.id()).unwrap();
        let owner = Owner { pid: child.id(), start, ..Owner::this_process() };
        assert!(!owner.is_dead());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(owner.is_dead());
        let reused = Owner { start: start_of(std::process::id()).unwrap() - 1, ..Owner::this_process() };
        assert!(reused.is_dead());
    }

    #[test]
    fn an_owner_of_before_the_boot_is_dead_and_one_on_another_host_is_not_known_to_be() {
        assert!(Owner { boot: "0".into(), ..Owner::this_process() }.is_dead());
        assert!(!Owner { host: "elsewhere".into(), pid: 1, start: 1, ..Owner::this_process() }.is_dead());
    }
}
