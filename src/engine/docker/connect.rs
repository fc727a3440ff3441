use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};
use bollard::{API_DEFAULT_VERSION, ClientVersion};

use super::Docker;
use super::error::unreachable;
use crate::engine::{Engine, EngineError, EngineInfo, Result, emulators};

/// How long a request may take, on an engine that is busy with others' images and containers.
const REQUEST: Duration = Duration::from_secs(120);
/// "No time-out", in a unit that no clock overflows on: 30 years.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Where Docker listens if nobody says otherwise.
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Where root's podman listens.
pub const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

/// The first API version with everything that is used here: Docker 20.10 (December 2020) and podman 4.
const OLDEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

impl Docker {
    /// Connects to `address` in the form of `DOCKER_HOST` (`unix:///path`, `/path` or `tcp://host:port` without TLS),
    /// or to `/var/run/docker.sock`, and refuses an engine that is too old.
    pub async fn connect(address: Option<&str>) -> Result<Self> {
        Self::open("docker", address.unwrap_or(DOCKER_SOCKET)).await
    }

    /// Connects to podman's API socket at `address`, or to root's, `/run/podman/podman.sock`. A user's own is
    /// `$XDG_RUNTIME_DIR/podman/podman.sock`; the caller, who may read the environment, names it.
    pub async fn podman(address: Option<&str>) -> Result<Self> {
        Self::open("podman", address.unwrap_or(PODMAN_SOCKET)).await
    }

    async fn open(kind: &str, address: &str) -> Result<Self> {
        let gone = |error| unreachable(kind, address, Some(error));
        let client =
            if let Some(host) = address.strip_prefix("tcp://").or_else(|| address.strip_prefix("http://")) {
                bollard::Docker::connect_with_http(host, REQUEST.as_secs(), API_DEFAULT_VERSION)
            } else if let Some(path) =
                address.strip_prefix("unix://").or(Path::new(address).is_absolute().then_some(address))
            {
                bollard::Docker::connect_with_unix(path, REQUEST.as_secs(), API_DEFAULT_VERSION)
            } else {
                return Err(EngineError::Refused {
                    action: format!("connect to {address}"),
                    message: "an address is unix:///path or tcp://host:port; for others, forward a socket \
                          (`ssh -L /tmp/docker.sock:/var/run/docker.sock HOST`)"
                        .to_owned(),
                });
            };
        let quick = client.map_err(gone)?.negotiate_version().await.map_err(gone)?;
        if quick.client_version() < OLDEST {
            return Err(EngineError::Refused {
                action: format!("talk to the engine at {address}"),
                message: format!("it speaks API {}, and {OLDEST} is needed", quick.client_version()),
            });
        }
        let patient = quick.clone().with_timeout(FOREVER);
        let counters = Arc::new(Mutex::new(HashMap::new()));
        let mut docker = Self {
            quick,
            patient,
            kind: kind.to_owned(),
            address: address.to_owned(),
            info: Arc::default(),
            pulling: Arc::default(),
            counters,
        };
        docker.kind = Engine::info(&docker).await?.kind;
        Ok(docker)
    }

    /// Whether the engine's kernel is this machine's, as far as can be seen.
    fn is_here(&self, kernel: Option<&str>) -> bool {
        let local = self.address.starts_with("unix://") || self.address.starts_with('/');
        local && kernel == rustix::system::uname().release().to_str().ok()
    }

    /// The address of the engine's host in the network that containers get if they ask for none by name.
    async fn gateway(&self, network: &str) -> Option<IpAddr> {
        let network = self.quick.inspect_network(network, None).await.ok()?;
        let pools = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        pools.into_iter().find_map(|pool| match pool.gateway.filter(|gateway| !gateway.is_empty()) {
            Some(gateway) => gateway.parse().ok(),
            None => first_address(&pool.subnet?),
        })
    }

    /// Asks the engine.
    pub(super) async fn describe(&self) -> Result<EngineInfo> {
        let fail = |error| self.error("ask the engine who it is", "engine", error);
        let version = self.quick.version().await.map_err(fail)?;
        let info = self.quick.info().await.map_err(fail)?;
        let is_podman = version.components.iter().flatten().any(|part| part.name.contains("Podman"));
        let init = !is_podman && runs_init(&info);
        let is_here = self.is_here(info.kernel_version.as_deref());
        let host =
            if is_here { self.gateway(if is_podman { "podman" } else { "bridge" }).await } else { None };
        let emulators = is_here.then(emulators);
        Ok(EngineInfo {
            kind: if is_podman { "podman" } else { "docker" }.to_owned(),
            version: version.version.unwrap_or_default(),
            api: self.quick.client_version().to_string(),
            arch: version.arch.unwrap_or_default(),
            emulators,
            kernel: info.kernel_version.filter(|kernel| !kernel.is_empty()),
            cores: info.ncpu.and_then(|cores| u32::try_from(cores).ok()),
            store: info.docker_root_dir.filter(|path| !path.is_empty()),
            limits: info.memory_limit.unwrap_or(false) && info.pids_limit.unwrap_or(false),
            isolation: true,
            init,
            host,
            shortcomings: Vec::new(),
        })
    }
}

/// The first address of a network such as `172.17.0.0/16`. The host has it where Docker was told no other, and Docker does not name it
/// until it is started again where its bridge is there already.
fn first_address(subnet: &str) -> Option<IpAddr> {
    let (network, _) = subnet.split_once('/')?;
    Some(match network.parse().ok()? {
        IpAddr::V4(network) => Ipv4Addr::from(u32::from(network).checked_add(1)?).into(),
        IpAddr::V6(network) => Ipv6Addr::from(u128::from(network).checked_add(1)?).into(),
    })
}

/// Whether Docker as described can run systemd without more than one added capability: where that was seen to work.
///
/// On cgroup v1 systemd mounts a writable hierarchy for itself. On v2 Docker mounts the only one read-only, and
/// systemd does not touch what is mounted. Rootless Docker and a daemon with user namespaces give no capability over
/// that hierarchy, and AppArmor's and SELinux's profiles for containers forbid to mount; they stay in force. Podman has
/// a mode of its own for systemd, which its Docker API does not offer.
fn runs_init(info: &SystemInfo) -> bool {
    let forbids = |option: &String| {
        ["rootless", "userns", "apparmor", "selinux"]
            .iter()
            .any(|name| option.contains(&format!("name={name}")))
    };
    info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1)
        && !info.security_options.iter().flatten().any(forbids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_the_first_address_of_a_network_whose_gateway_is_not_named() {
        let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert_eq!(first_address("172.17.0.0/16"), address("172.17.0.1"));
        assert_eq!(first_address("fd00:1::/64"), address("fd00:1::1"));
        for strange in ["", "172.17.0.0", "here/16", "255.255.255.255/32"] {
            assert_eq!(first_address(strange), None, "{strange}");
        }
    }

    #[test]
    fn an_init_system_runs_only_where_nothing_forbids_its_mounts() {
        let info = |version, options: &[&str]| SystemInfo {
            cgroup_version: version,
            security_options: Some(options.iter().map(|&option| option.to_owned()).collect()),
            ..Default::default()
        };
        let v1 = Some(SystemInfoCgroupVersionEnum::_1);
        assert!(runs_init(&info(v1, &["name=seccomp,profile=default"])));
        for option in ["name=rootless", "name=userns", "name=apparmor", "name=selinux"] {
            assert!(!runs_init(&info(v1, &["name=seccomp,profile=default", option])), "{option}");
        }
        assert!(!runs_init(&info(Some(SystemInfoCgroupVersionEnum::_2), &[])));
        assert!(!runs_init(&info(None, &[])));
    }
}
