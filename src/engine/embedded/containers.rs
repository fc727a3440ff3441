use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::cgroup;
use super::discard::{discard, open_folder};
use super::processes::Processes;
use super::record::{self, Folder, Record};
use super::request::{Create, Overlay, Report, Request};
use super::runtime_config::{ETC, Machine, own_network, runtime_config};
use super::{Embedded, blocking, detached, io_error, rootless};
use crate::engine::{ContainerId, ContainerSpec, EngineError, Found, Network, Result, Root};
use crate::support::fs::is_full;

/// Begins the name of a folder whose container is gone.
pub(super) const GONE: &str = ".gone-";

impl Embedded {
    pub(super) async fn find_containers(&self, label: &str) -> Result<Vec<Found>> {
        let (containers, label) = (self.containers.clone(), label.to_owned());
        blocking(format!("list containers with the label {label}"), move || {
            let mut found = Vec::new();
            for folder in record::all(&containers)? {
                // It may go meanwhile.
                let Ok(record) = folder.record() else { continue };
                if !folder.is_snapshot() && record.labels.contains_key(&label) {
                    let running = folder.first_process().is_some();
                    let id = ContainerId(folder.id);
                    found.push(Found::Container { id, labels: record.labels, running });
                }
            }
            Ok(found)
        })
        .await
    }

    pub(super) async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        // In a task of its own, so that a caller who is cancelled half-way leaves no container behind.
        let (engine, spec) = (self.clone(), spec.clone());
        let made = tokio::spawn(async move { engine.make(&spec).await });
        match made.await {
            Ok(made) => Ok(made?.keep()),
            Err(error) => Err(EngineError::Stream {
                action: "create a container".to_owned(),
                source: io::Error::other(error),
            }),
        }
    }

    async fn make(&self, spec: &ContainerSpec) -> Result<Made> {
        let action = format!("create a container of the {}", spec.root);
        let missing = || EngineError::NotFound(spec.root.to_string());
        if let Root::Image(image) = spec.root {
            let store = self.store.clone();
            if detached(move || store.with_id(&image)).await?.is_none() {
                return Err(missing());
            }
        }
        if spec.init && rootless::is_inside() && !rootless::has_groups() {
            let message =
                "an init system needs control groups: the machine's root, or a group of version 2 that is delegated to this user".to_owned();
            return Err(EngineError::Refused { action, message });
        }
        let unique = ulid::Ulid::generate().to_string().to_lowercase();
        let id = format!("packhold-{}-{unique}", clean_name(&spec.name_hint));
        let (engine, wanted) = (self.clone(), spec.clone());
        let made = Made { engine: self.clone(), id: Some(ContainerId(id.clone())) };
        let folder = blocking(action.clone(), move || engine.prepare(id, &wanted)).await?;
        let folder = folder.ok_or_else(missing)?;
        let request = Request::Create(Create {
            id: folder.id.clone(),
            overlay: self.overlay_of(&folder).await?,
            folder: folder.path,
            init: spec.init,
            capabilities: spec.capabilities.clone(),
            limits: spec.limits,
            own_network: own_network(spec),
        });
        let report = async { self.program.start(&request).await?.report().await };
        match report.await {
            Ok(Report::Done) => Ok(made),
            Ok(report) => {
                made.undo().await;
                Err(report.into_error(action))
            }
            Err(error) => {
                made.undo().await;
                Err(io_error(action, error))
            }
        }
    }

    /// Writes down everything that the container library wants to read. `None` if there is no such snapshot.
    fn prepare(&self, id: String, spec: &ContainerSpec) -> io::Result<Option<Folder>> {
        let make = |below| Folder::make(&self.containers, id, below, spec, self.upper.as_deref());
        let folder = match &spec.root {
            Root::Image(image) => make((*image, Vec::new()))?,
            Root::Snapshot(snapshot) => match self.on_snapshot(snapshot, make)? {
                Some(folder) => folder,
                None => return Ok(None),
            },
        };
        let machine = Machine {
            unified: cgroup::is_unified(),
            swap: cgroup::counts_swap(),
            rootless: rootless::is_inside(),
            limits: !rootless::is_inside() || rootless::has_groups(),
            processors: cgroup::limits_processors(),
        };
        let config = runtime_config(spec, &folder.id, &folder.path, machine);
        fs::write(folder.path.join("config.json"), config.to_string())?;
        fs::create_dir(folder.path.join("etc"))?;
        for name in ETC {
            let path = folder.path.join("etc").join(name);
            fs::write(&path, etc(name, spec))?;
            // All users of the container read it, whatever mask the user has who started the program.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        }
        Ok(Some(folder))
    }

    /// Where the container's file system is. Its layers stay as long as the container's folder does.
    pub(super) async fn overlay_of(&self, folder: &Folder) -> Result<Overlay> {
        let action = format!("look at the container {}", folder.id);
        let record = folder.record().map_err(|error| io_error(action, error))?;
        let mut lower = self.lease(folder, &record).await?.lower;
        lower.extend(self.snapshots_of(&record)?);
        Ok(Overlay { lower, upper: record.upper(), work: record.work(), merged: folder.merged() })
    }

    /// The container's folder and record. A container that is being removed is not there any more.
    pub(super) fn existing(&self, container: &ContainerId) -> Result<(Folder, Record)> {
        let missing = || EngineError::NotFound(format!("container {}", container.0));
        let folder = Folder::of(&self.containers, container).ok_or_else(missing)?;
        match folder.record() {
            Ok(_) if folder.is_snapshot() => Err(missing()),
            Ok(record) => Ok((folder, record)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(io_error(format!("look at the container {}", container.0), error)),
        }
    }

    pub(super) async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let Some(folder) = Folder::of(&self.containers, id) else { return Ok(()) };
        // The container that became a snapshot is not there any more.
        if folder.is_snapshot() {
            return Ok(());
        }
        let (containers, upper) = (self.containers.clone(), self.upper.clone());
        blocking(format!("remove the container {}", id.0), move || {
            remove(&folder, &containers, upper.as_deref())
        })
        .await
    }
}

/// Ends and removes a container. Whatever of it is there already or still: another process may be making it, or removing
/// it, or have died while it did. The record goes last, so that what is left is always found again.
/// `upper` is where the engine keeps what containers write, if that is elsewhere.
pub(super) fn remove(folder: &Folder, containers: &Path, upper: Option<&Path>) -> io::Result<()> {
    match folder.set_removed() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // The container itself may have filled the disk, and has to go all the more.
        Err(error) if is_full(&error) => tracing::debug!(%error, "a container goes without a mark"),
        done => done?,
    }
    Processes::of(folder)?.kill()?;
    let lock = match open_folder(&folder.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    // Whoever was making it holds the lock and has just been killed, or will see that it is removed.
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    let left = Processes::of(folder)?;
    left.kill()?;
    left.remove()?;
    match folder.record() {
        Ok(record) => discard(&record.changes)?,
        // Somebody else has removed it while this process waited.
        Err(_) if !folder.path.exists() => return Ok(()),
        Err(error) if !record::is_lost(&error) => return Err(error),
        // Lost with the power, or with the disk. What the container wrote is in its folder, or where it would be today.
        Err(error) => {
            tracing::warn!(%error, container = folder.id, "a container without a record goes");
            if let Some(upper) = upper {
                discard(&upper.join(&folder.id))?;
            }
        }
    }
    let gone = containers.join(format!("{GONE}{}", folder.id));
    fs::rename(&folder.path, &gone)?;
    discard(&gone)
}

/// A container that nobody has been told about yet: it goes when it is dropped.
struct Made {
    engine: Embedded,
    id: Option<ContainerId>,
}

impl Made {
    fn keep(mut self) -> ContainerId {
        self.id.take().unwrap_or_else(|| ContainerId(String::new()))
    }

    async fn undo(mut self) {
        // The first error is the one to tell.
        if let Some(id) = self.id.take()
            && let Err(error) = self.engine.remove_container(&id).await
        {
            tracing::warn!(%error, "a container that could not be made stays behind");
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) {
            let engine = self.engine.clone();
            runtime.spawn(async move {
                if let Err(error) = engine.remove_container(&id).await {
                    tracing::warn!(%error, "a container whose maker was cancelled stays behind");
                }
            });
        }
    }
}

/// A container's own file of `/etc`. That of name servers is the machine's, as a copy, where the machine's network is.
fn etc(name: &str, spec: &ContainerSpec) -> Vec<u8> {
    match name {
        "hosts" => {
            format!("127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n", spec.hostname)
                .into_bytes()
        }
        "hostname" => format!("{}\n", spec.hostname).into_bytes(),
        _ => match spec.network {
            Network::Outside => fs::read("/etc/resolv.conf").unwrap_or_default(),
            Network::None => Vec::new(),
        },
    }
}

/// `hint` in the characters that a container's name may have.
fn clean_name(hint: &str) -> String {
    let good = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    hint.chars().map(good).take(80).collect()
}
