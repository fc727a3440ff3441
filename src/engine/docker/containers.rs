use std::collections::HashMap;
use std::time::Duration;

use bollard::body_try_stream;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::Docker;
use super::error::{Upload, reader, status};
use crate::engine::{
    ByteStream, ContainerId, ContainerSpec, EngineError, Found, Network, Object, Result, Root,
};

/// What the first process does: it reaps. `wait` lets the shell collect the orphans it inherits, and a trap end it at
/// once. A shell and `sleep` are in every distro's smallest image; an init of the engine's is not on every host.
const IDLE: &str = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done";

/// What an init system is run as; its image says what that is.
const INIT: &str = "/sbin/init";

/// The folders that systemd wants to find mounted and empty, as it would mount them itself: it makes do with what is
/// there in a container. Packages may run scripts from `/tmp`, which Docker's own defaults forbid.
const INIT_TMPFS: [(&str, &str); 3] =
    [("/run", "mode=755"), ("/run/lock", "mode=1777"), ("/tmp", "mode=1777,exec")];

/// The mode bit of Go's `os.FileMode` that says folder.
const GO_MODE_DIR: u32 = 1 << 31;

impl Docker {
    pub(super) async fn find_containers(&self, label: &str) -> Result<Vec<Found>> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let mut tries = 0;
        let containers = loop {
            match self.quick.list_containers(Some(options.clone())).await {
                Ok(containers) => break containers,
                // Podman's word for a container that has just ended, which soon becomes Docker's.
                Err(Error::JsonDataError { message, .. })
                    if message.contains("variant `stopped`") && tries < 50 =>
                {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => {
                    let action = format!("list containers with the label {label}");
                    return Err(self.error(action, label, error));
                }
            }
        };
        Ok(containers
            .into_iter()
            .filter_map(|container| {
                Some(Found::Container {
                    id: ContainerId(container.id?),
                    labels: container.labels.unwrap_or_default().into_iter().collect(),
                    running: container.state.is_some_and(|state| state.to_string() == "running"),
                })
            })
            .collect())
    }

    pub(super) async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        // In a task of its own, so that a caller who is cancelled half-way leaves no container behind.
        let (docker, spec) = (self.clone(), spec.clone());
        let made = tokio::spawn(async move { docker.make(&spec).await });
        match made.await {
            Ok(made) => Ok(made?.keep()),
            Err(error) => Err(EngineError::Stream {
                action: "create a container".to_owned(),
                source: std::io::Error::other(error),
            }),
        }
    }

    async fn make(&self, spec: &ContainerSpec) -> Result<Made> {
        let action = format!("create a container of the {}", spec.root);
        if spec.init && !self.describe().await?.init {
            let message = format!("this engine cannot run {INIT} as a container's first process");
            return Err(EngineError::Refused { action, message });
        }
        let name = format!(
            "packhold-{}-{}",
            clean_name(&spec.name_hint),
            ulid::Ulid::generate().to_string().to_lowercase()
        );
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let created = self
            .quick
            .create_container(Some(options), self.body(spec))
            .await
            .map_err(|error| self.error(action.as_str(), spec.root.to_string(), error))?;
        let made = Made { docker: self.clone(), id: Some(ContainerId(created.id.clone())) };
        if let Err(error) = self.quick.start_container(&created.id, None).await {
            let id = made.keep();
            // The first error is the one to tell.
            _ = self.remove_container(&id).await;
            return Err(self.error(
                format!("start a container of the {}", spec.root),
                format!("container {name}"),
                error,
            ));
        }
        Ok(made)
    }

    pub(super) async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.forget_counters(id);
        let action = format!("remove the container {}", id.0);
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let mut waited = Duration::ZERO;
        loop {
            match self.quick.remove_container(&id.0, Some(options.clone())).await {
                Ok(()) => return Ok(()),
                Err(error) if status(&error) == Some(404) => return Ok(()),
                // Somebody else removes it: it is gone when they have done it.
                Err(error) if status(&error) == Some(409) && waited < Duration::from_secs(60) => {
                    let pause = Duration::from_millis(100);
                    tokio::time::sleep(pause).await;
                    waited += pause;
                }
                Err(error) => return Err(self.error(action, format!("container {}", id.0), error)),
            }
        }
    }

    pub(super) async fn upload(&self, container: &ContainerId, path: &str, tar: ByteStream) -> Result<()> {
        let action = format!("put files into {path}");
        // Asked first: podman makes a folder that does not exist.
        self.require_folder(container, path).await?;
        let (stream, upload) = Upload::new(tar);
        let options = UploadToContainerOptionsBuilder::new().path(path).build();
        self.patient
            .upload_to_container(&container.0, Some(options), body_try_stream(stream))
            .await
            .map_err(|error| upload.explain(self, action, self.path_of(container, path), error))
    }

    async fn require_folder(&self, container: &ContainerId, path: &str) -> Result<()> {
        let action = format!("look at {path}");
        let options = ContainerArchiveInfoOptionsBuilder::new().path(path).build();
        let found = self
            .quick
            .get_container_archive_info(&container.0, Some(options))
            .await
            .map_err(|error| self.error(action.as_str(), self.path_of(container, path), error))?;
        // The mode of a symbolic link is the link's own; the engine then judges what it points to.
        let is_link = found.file_mode & (1 << 27) != 0;
        if found.file_mode & GO_MODE_DIR == 0 && !is_link {
            return Err(EngineError::Refused { action, message: format!("{path} is not a folder") });
        }
        Ok(())
    }

    pub(super) async fn download(&self, container: &ContainerId, path: &str) -> Result<ByteStream> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let stream = self.quick.download_from_container(&container.0, Some(options));
        // The answer is there with the first bytes.
        let mut stream = Box::pin(stream.peekable());
        if stream.as_mut().peek().await.is_some_and(|first| first.is_err())
            && let Some(Err(error)) = stream.next().await
        {
            return Err(self.error(format!("get {path}"), self.path_of(container, path), error));
        }
        Ok(reader(stream))
    }

    /// Makes the words for a path that is missing.
    fn path_of(&self, container: &ContainerId, path: &str) -> String {
        let short = container.0.get(..12).unwrap_or(&container.0);
        format!("path {path} in the container {short}, or no such container")
    }
}

/// A container that nobody has been told about yet: it goes when it is dropped.
struct Made {
    docker: Docker,
    id: Option<ContainerId>,
}

impl Made {
    fn keep(mut self) -> ContainerId {
        self.id.take().unwrap_or_else(|| ContainerId(String::new()))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        use crate::engine::Engine;
        if let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) {
            let docker = self.docker.clone();
            runtime.spawn(async move {
                if let Err(error) = docker.remove(&Object::Container(id)).await {
                    tracing::warn!(%error, "a container whose maker was cancelled stays behind");
                }
            });
        }
    }
}

impl Docker {
    fn body(&self, spec: &ContainerSpec) -> ContainerCreateBody {
        let memory = i64::try_from(spec.limits.memory).unwrap_or(i64::MAX);
        let ulimit = |name: &str, soft, hard| ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(soft),
            hard: Some(hard),
        };
        ContainerCreateBody {
            hostname: Some(spec.hostname.clone()),
            user: Some("0:0".to_owned()),
            entrypoint: Some(Vec::new()),
            cmd: Some(match spec.init {
                true => vec![INIT.to_owned()],
                false => ["/bin/sh", "-c", IDLE].map(str::to_owned).to_vec(),
            }),
            // By this systemd knows where it is: systemd.io/CONTAINER_INTERFACE.
            env: spec.init.then(|| vec!["container=docker".to_owned()]),
            working_dir: Some("/".to_owned()),
            image: Some(match &spec.root {
                Root::Image(id) => id.to_string(),
                Root::Snapshot(id) => id.0.clone(),
            }),
            labels: Some(spec.labels.clone().into_iter().collect()),
            // An image's own check would run commands beside ours.
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
            host_config: Some(HostConfig {
                network_mode: Some(match spec.network {
                    Network::None => "none".to_owned(),
                    Network::Outside => "default".to_owned(),
                }),
                cap_drop: Some(vec!["ALL".to_owned()]),
                cap_add: Some(spec.capabilities.clone()),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                ipc_mode: Some("private".to_owned()),
                // The init system's control groups are below the container's own, and it sees no others.
                cgroupns_mode: spec.init.then_some(HostConfigCgroupnsModeEnum::PRIVATE),
                tmpfs: spec
                    .init
                    .then(|| INIT_TMPFS.map(|(path, options)| (path.to_owned(), options.to_owned())).into()),
                memory: Some(memory),
                memory_swap: Some(memory),
                pids_limit: Some(i64::from(spec.limits.processes)),
                nano_cpus: spec.limits.cpus.map(|cpus| (cpus * 1e9) as i64),
                // As systemd gives a service: programs that loop over all possible files stay fast, and no core dumps.
                // Podman adds limits of its own to any that are asked for, and needs privileges for them; its own
                // defaults come from containers.conf.
                ulimits: (self.kind != "podman")
                    .then(|| vec![ulimit("core", 0, 0), ulimit("nofile", 1024, 4096)]),
                log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::NO),
                    maximum_retry_count: None,
                }),
                auto_remove: Some(false),
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}

/// `hint` in the characters that a container's name may have.
fn clean_name(hint: &str) -> String {
    let good = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    hint.chars().map(good).take(80).collect()
}
