//! The limits of a container as cgroup v1 takes them. With cgroup v2 the container library writes them.

use std::fs;
use std::io;

use super::Group;
use crate::engine::Limits;

/// Microseconds in which a container may use its share of the processors (cgroup-v1/cpu.rst; sched-bwc.rst), and the
/// shortest share that the kernel takes.
const PERIOD: u32 = 100_000;
const SHORTEST: u32 = 1_000;

/// What a container may do with devices (cgroup-v1/devices.rst): open null, zero, full, random, urandom, tty, console and its own
/// terminals, and make nodes of all others, as packages do. The first one takes everything away.
const DEVICES: [(&str, &str); 12] = [
    ("devices.deny", "a"),
    ("devices.allow", "c 1:3 rwm"),
    ("devices.allow", "c 1:5 rwm"),
    ("devices.allow", "c 1:7 rwm"),
    ("devices.allow", "c 1:8 rwm"),
    ("devices.allow", "c 1:9 rwm"),
    ("devices.allow", "c 5:0 rwm"),
    ("devices.allow", "c 5:1 rwm"),
    ("devices.allow", "c 5:2 rwm"),
    ("devices.allow", "c 136:* rwm"),
    ("devices.allow", "c *:* m"),
    ("devices.allow", "b *:* m"),
];

/// The controllers of every container.
const NEEDED: [&str; 3] = ["memory", "pids", "devices"];

/// A file of a group, and what is written into it.
type Setting = (&'static str, String);

/// What is written into the group of a controller, in this order. `swap` is whether the kernel counts swap.
fn settings(controller: &str, limits: &Limits, swap: bool) -> Vec<Setting> {
    match controller {
        "memory" => {
            let mut written = vec![("memory.limit_in_bytes", limits.memory.to_string())];
            // Swap included: none of its own.
            written.extend(swap.then(|| ("memory.memsw.limit_in_bytes", limits.memory.to_string())));
            written
        }
        "pids" => vec![("pids.max", limits.processes.to_string())],
        "cpu" => limits.cpus.map_or_else(Vec::new, |cpus| {
            let quota = ((cpus * f64::from(PERIOD)) as i64).max(SHORTEST.into());
            vec![("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())]
        }),
        "devices" => DEVICES.iter().map(|&(file, rule)| (file, rule.to_owned())).collect(),
        _ => Vec::new(),
    }
}

impl Group {
    /// Sets the limits of the container in the groups of cgroup v1. Fails where one would not be kept.
    pub(in crate::engine::embedded) fn limit(&self, limits: &Limits) -> io::Result<()> {
        let mut needed = NEEDED.into_iter().chain(limits.cpus.map(|_| "cpu"));
        let has =
            |name: &str| self.hierarchies.iter().any(|each| each.controllers.iter().any(|one| one == name));
        if let Some(name) = needed.find(|name| !has(name)) {
            let words =
                format!("no control group of version 1 has the controller {name}; mount one that has");
            return Err(io::Error::new(io::ErrorKind::Unsupported, words));
        }
        for each in self.hierarchies.iter().filter(|each| !each.unified) {
            let folder = each.root.join(&self.name);
            let swap = folder.join("memory.memsw.limit_in_bytes").exists();
            for (file, value) in each.controllers.iter().flat_map(|name| settings(name, limits, swap)) {
                fs::write(folder.join(file), &value)
                    .map_err(|error| io::Error::new(error.kind(), format!("{file} = {value}: {error}")))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_written_into_the_files_of_its_controller() {
        let limits = Limits { memory: 1 << 20, processes: 7, cpus: Some(0.5) };
        let told = |controller, swap| {
            let all = settings(controller, &limits, swap).into_iter();
            all.map(|(file, value)| format!("{file}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(told("memory", false), ["memory.limit_in_bytes=1048576"]);
        assert_eq!(
            told("memory", true),
            ["memory.limit_in_bytes=1048576", "memory.memsw.limit_in_bytes=1048576"]
        );
        assert_eq!(told("pids", true), ["pids.max=7"]);
        assert_eq!(told("cpu", true), ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"]);
        assert_eq!(told("devices", true)[0], "devices.deny=a");
        assert!(told("freezer", true).is_empty());
        let shares = |cpus| settings("cpu", &Limits { cpus, ..limits }, false);
        assert!(shares(None).is_empty());
        let without = Group { name: "packhold/none".to_owned(), hierarchies: Vec::new() };
        let refused = without.limit(&limits).expect_err("no limit is left out").to_string();
        assert!(refused.contains("controller memory"), "{refused}");
        assert_eq!(shares(Some(0.001))[1].1, "1000");
    }
}
