//! What the container library is told: an OCI runtime configuration (runtime-spec, `config.md` and `config-linux.md`).

use std::path::Path;

use serde_json::{Value, json};

use super::cgroup::Group;
use crate::engine::{ContainerSpec, Limits};

/// What a container must not see, and what it must not change: the paths of Docker's documentation ("Default masked
/// paths"), each of which has told something of the host or changed it.
const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/kernel/debug",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The folders that systemd wants to find mounted and empty, as it would mount them itself. Packages may run scripts
/// from `/tmp`.
const INIT_TMPFS: [(&str, &str, bool); 3] =
    [("/run", "mode=755", false), ("/run/lock", "mode=1777", false), ("/tmp", "mode=1777", true)];

/// The files of `/etc` that are a container's own and no part of what is committed: as with Docker.
pub(super) const ETC: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// In the folder of a container of an ordinary user with the host's network: a sysfs of no network, mounted before the others.
pub(super) const SYS: &str = "sys";

/// Without it the library would look up the user's home, and with that load what the image says is to be asked for users:
/// code of the image in a process that still has files of the host. No command sees it.
const NO_LOOKUP: &str = "HOME=/";

/// What differs from machine to machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    /// Control groups of version 2 and no others.
    pub(super) unified: bool,
    /// Swap can be limited, with cgroup v2.
    pub(super) swap: bool,
    /// The engine is an ordinary user's.
    pub(super) rootless: bool,
    /// Containers have control groups.
    pub(super) limits: bool,
    /// Those of processors are among them.
    pub(super) processors: bool,
}

/// The configuration of a container with this folder.
pub(super) fn runtime_config(spec: &ContainerSpec, id: &str, folder: &Path, machine: Machine) -> Value {
    let capabilities: Vec<String> = spec.capabilities.iter().map(|name| format!("CAP_{name}")).collect();
    // The first process has joined its network already, with loopback up. On the host's there is no own.
    let mut namespaces: Vec<Value> =
        ["pid", "ipc", "uts", "mount", "cgroup"].into_iter().map(|kind| json!({ "type": kind })).collect();
    if own_network(spec) {
        namespaces.push(json!({ "type": "network", "path": "/proc/self/ns/net" }));
    }
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/sbin/init"],
            "cwd": "/",
            "env": [NO_LOOKUP],
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                "inheritable": [], "ambient": [],
            },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": spec.hostname,
        "mounts": mounts(spec, folder, machine),
        "linux": {
            "cgroupsPath": Group::path(id),
            "namespaces": namespaces,
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            "rootfsPropagation": "private",
        },
    });
    // Groups of version 1 are not the library's: see `Group::limit`.
    if machine.rootless || machine.unified {
        config["linux"]["resources"] =
            if machine.limits { resources(&spec.limits, machine) } else { json!({}) };
    }
    config
}

/// Whether the container has a network namespace of its own.
pub(super) fn own_network(spec: &ContainerSpec) -> bool {
    spec.network == crate::engine::Network::None
}

fn mounts(spec: &ContainerSpec, folder: &Path, machine: Machine) -> Vec<Value> {
    let mount = |place: &str, kind: &str, options: &[&str]| json!({ "destination": place, "type": kind, "source": kind, "options": options });
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    let mut sysfs = mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
    if machine.rootless && !own_network(spec) {
        // Nobody but the machine's root may mount one that shows the host's network.
        sysfs["type"] = json!("bind");
        sysfs["source"] = json!(folder.join(SYS));
        sysfs["options"] = json!(["bind", "rprivate", "nosuid", "noexec", "nodev", "ro"]);
    }
    mounts.push(sysfs);
    if machine.unified && (spec.init || !machine.rootless) {
        // With version 1 there is nothing to see; systemd mounts its own. The namespace has the container's own group as the root of all.
        let access = if spec.init { "rw" } else { "ro" };
        mounts.push(mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]));
    }
    for (place, mode, executes) in INIT_TMPFS.into_iter().filter(|_| spec.init) {
        let mut options = vec!["nosuid", "nodev", mode];
        options.extend((!executes).then_some("noexec"));
        mounts.push(mount(place, "tmpfs", &options));
    }
    for name in ETC {
        let own = folder.join("etc").join(name);
        mounts.push(json!({
            "destination": format!("/etc/{name}"), "type": "bind", "source": own,
            "options": ["bind", "rprivate", "nosuid", "noexec", "nodev"],
        }));
    }
    mounts
}

fn resources(limits: &Limits, machine: Machine) -> Value {
    let memory = i64::try_from(limits.memory).unwrap_or(i64::MAX);
    let mut resources = json!({
        "memory": { "limit": memory },
        "pids": { "limit": limits.processes },
        "devices": [
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 7, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 8, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 9, "access": "rwm" },
            { "allow": true, "type": "c", "major": 5, "minor": 0, "access": "rwm" },
        ],
    });
    if machine.swap {
        // Swap included: none of its own.
        resources["memory"]["swap"] = json!(memory);
    }
    if let Some(cpus) = limits.cpus.filter(|_| machine.processors) {
        // Microseconds of a period (config-linux.md, "CPU"); the kernel takes none below 1000.
        resources["cpu"] = json!({ "period": 100_000, "quota": ((cpus * 100_000.0) as i64).max(1000) });
    }
    resources
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::{ImageId, Network};

    fn spec(init: bool, network: Network) -> ContainerSpec {
        ContainerSpec {
            root: ImageId::of("x").into(),
            name_hint: String::new(),
            labels: BTreeMap::new(),
            network,
            capabilities: vec!["CHOWN".to_owned()],
            limits: Limits { memory: 1 << 20, processes: 7, cpus: Some(0.5) },
            hostname: "h".to_owned(),
            init,
        }
    }

    fn config(init: bool, network: Network, unified: bool) -> Value {
        let machine = Machine { unified, swap: true, rootless: false, limits: true, processors: true };
        runtime_config(&spec(init, network), "id", Path::new("/c/id"), machine)
    }

    fn place<'a>(config: &'a Value, place: &str) -> Option<&'a Value> {
        config["mounts"].as_array()?.iter().find(|mount| mount["destination"] == place)
    }

    #[test]
    fn a_container_has_the_given_capabilities_and_limits_and_no_others() {
        let config = config(false, Network::None, true);
        for set in ["bounding", "effective", "permitted"] {
            assert_eq!(config["process"]["capabilities"][set], json!(["CAP_CHOWN"]));
        }
        for set in ["inheritable", "ambient"] {
            assert_eq!(config["process"]["capabilities"][set], json!([]));
        }
        let resources = &config["linux"]["resources"];
        assert_eq!(resources["memory"], json!({ "limit": 1 << 20, "swap": 1 << 20 }));
        assert_eq!(resources["cpu"]["quota"], 50_000);
        assert_eq!(resources["devices"][0], json!({ "allow": false, "access": "rwm" }));
        // Those of version 1 are not the container library's.
        assert_eq!(self::config(false, Network::None, false)["linux"]["resources"], json!(null));
    }

    #[test]
    fn nothing_of_the_host_is_mounted_but_a_containers_own_files_of_etc() {
        let config = config(true, Network::Outside, true);
        for mount in config["mounts"].as_array().expect("mounts") {
            let source = mount["source"].as_str().expect("a source");
            assert!(!source.starts_with('/') || source.starts_with("/c/id/etc/"), "{mount}");
        }
    }

    #[test]
    fn control_groups_are_writable_for_an_init_system_only() {
        let options = |init| {
            config(init, Network::None, true)["mounts"].as_array().and_then(|mounts| {
                Some(mounts.iter().find(|mount| mount["type"] == "cgroup")?["options"].to_string())
            })
        };
        assert!(options(true).is_some_and(|options| options.contains("\"rw\"")));
        assert!(options(false).is_some_and(|options| options.contains("\"ro\"")));
        assert_eq!(place(&config(false, Network::None, false), "/sys/fs/cgroup"), None);
        assert!(place(&config(true, Network::None, false), "/tmp").is_some());
        assert!(place(&config(false, Network::None, false), "/tmp").is_none());
    }

    #[test]
    fn a_container_without_network_has_a_network_namespace() {
        let has =
            |network| config(false, network, false)["linux"]["namespaces"].to_string().contains("network");
        assert!(has(Network::None) && !has(Network::Outside));
    }
}
