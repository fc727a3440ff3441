use std::sync::PoisonError;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::StreamExt;

use super::Docker;
use crate::engine::ContainerId;

/// The files in which the kernel counts what the limits of a control group did, first cgroup v1's (Linux
/// Documentation/admin-guide/cgroup-v1/memory.rst and pids.rst), then v2's (cgroup-v2.rst), as a container sees its own.
const FILES: [&str; 4] = [
    "/sys/fs/cgroup/memory/memory.oom_control",
    "/sys/fs/cgroup/pids/pids.events",
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/pids.events",
];

/// How often a container's limits were reached since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Processes that the kernel killed for memory.
    oom_kills: u64,
    /// Processes and threads that could not be made.
    refused_processes: u64,
}

/// Which limits a container has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) oom: bool,
    pub(super) process_limit: bool,
}

impl Docker {
    /// Which limits the container has reached since this was asked last. It is asked when a command has failed, so
    /// what an earlier command that succeeded ran into counts too.
    ///
    /// The kernel's counters are read by a command in the container: `State.OOMKilled` tells of the first process
    /// only, and the engine's events are few and get lost. `None` where nothing could be started to read them.
    pub(super) async fn reached_limits(&self, container: &ContainerId) -> Option<Reached> {
        let now = self.read_counters(container).await?;
        let mut known = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(container.clone(), now).unwrap_or_default();
        Some(Reached {
            oom: now.oom_kills > before.oom_kills,
            process_limit: now.refused_processes > before.refused_processes,
        })
    }

    pub(super) fn forget_counters(&self, container: &ContainerId) {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).remove(container);
    }

    async fn read_counters(&self, container: &ContainerId) -> Option<Counters> {
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(["head", "-n", "40"].into_iter().chain(FILES).collect()),
            env: Some(vec!["PATH=/usr/bin:/bin", "LC_ALL=C"]),
            user: Some("0:0"),
            working_dir: Some("/"),
            ..Default::default()
        };
        let exec = self.quick.create_exec(&container.0, options).await.ok()?;
        let StartExecResults::Attached { mut output, .. } =
            self.quick.start_exec(&exec.id, None).await.ok()?
        else {
            return None;
        };
        let mut text = Vec::new();
        let read = async {
            while let Some(Ok(chunk)) = output.next().await {
                // What replaced `head` in a hostile image may print for ever.
                if let LogOutput::StdOut { message } = chunk
                    && text.len() < 64 * 1024
                {
                    text.extend_from_slice(&message);
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), read).await.ok()?;
        parse(&String::from_utf8_lossy(&text))
    }

    /// Whether the container has as many processes as it may, as the engine counts them.
    pub(super) async fn is_full_of_processes(&self, container: &ContainerId) -> bool {
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let mut stats = self.quick.stats(&container.0, Some(options));
        let Some(Ok(stats)) = stats.next().await else { return false };
        stats.pids_stats.is_some_and(|pids| {
            pids.current.zip(pids.limit).is_some_and(|(current, limit)| limit > 0 && current >= limit)
        })
    }
}

/// Reads what `head` prints of several files: each file's lines after a line `==> name <==`.
fn parse(text: &str) -> Option<Counters> {
    let mut counters = None;
    let mut file = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("==> ").and_then(|rest| rest.strip_suffix(" <==")) {
            file = name;
        } else if let Some((key, count)) = line.split_once(' ')
            && let Ok(count) = count.trim().parse::<u64>()
        {
            let counters = counters.get_or_insert_with(Counters::default);
            match key {
                "oom_kill" if file.contains("/memory") => counters.oom_kills += count,
                "max" if file.ends_with("/pids.events") => counters.refused_processes += count,
                _ => {}
            }
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_both_cgroup_versions_are_understood() {
        let v1 = "==> /sys/fs/cgroup/memory/memory.oom_control <==\noom_kill_disable 0\nunder_oom 0\noom_kill 2\n\n\
                  ==> /sys/fs/cgroup/pids/pids.events <==\nmax 7\n";
        assert_eq!(parse(v1), Some(Counters { oom_kills: 2, refused_processes: 7 }));
        let v2 = "==> /sys/fs/cgroup/memory.events <==\nlow 0\nhigh 0\nmax 31\noom 3\noom_kill 1\noom_group_kill 0\n\n\
                  ==> /sys/fs/cgroup/pids.events <==\nmax 0\n";
        assert_eq!(parse(v2), Some(Counters { oom_kills: 1, refused_processes: 0 }));
        assert_eq!(parse("OCI runtime exec failed: no\n"), None);
    }
}
