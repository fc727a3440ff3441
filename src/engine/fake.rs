//! An engine in memory, for tests of what is built on one: scripted commands, injected faults, counts of what is left.
//!
//! It keeps images as `docker save` archives do and gives a container its own files. Of programs it understands the few
//! words that the [`conformance`](super::conformance) suite needs; everything else is scripted with [`Fake::on_exec`],
//! or is a missing program.

mod files;
mod shell;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use self::files::Files;
use super::{
    ByteStream, Command, CommitSpec, ContainerId, ContainerSpec, Emulator, Engine, EngineError, EngineInfo,
    ExecStatus, Found, ImageId, ImageInfo, ImageSource, Object, Query, Result, Root, Session, Sink,
    SnapshotId,
};
use crate::model::{Architecture, Digest};

/// A method of [`Engine`], to name where a fault is.
#[expect(missing_docs, reason = "each is named after the method")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    Info,
    Find,
    Load,
    Save,
    Create,
    Exec,
    Attach,
    Put,
    Get,
    Commit,
    Snapshot,
    Remove,
}

/// What a scripted command does: after a while it writes files, prints, and ends (or never does).
#[derive(Clone, Debug)]
pub struct Script {
    after: Duration,
    writes: Vec<(String, Vec<u8>)>,
    prints: Vec<Vec<u8>>,
    end: Option<ExecStatus>,
}

impl Script {
    /// Ends by itself with an exit status.
    pub fn exits(code: i64) -> Self {
        Self::ends(ExecStatus::Exited { code, oom: false, process_limit: false })
    }

    /// Ends as `status` says, with a limit reached or its container gone.
    pub fn ends(status: ExecStatus) -> Self {
        Self { after: Duration::ZERO, writes: Vec::new(), prints: Vec::new(), end: Some(status) }
    }

    /// Prints, then never ends while its container is there.
    pub fn hangs() -> Self {
        Self { end: None, ..Self::exits(0) }
    }

    /// Prints one more chunk.
    pub fn printing(mut self, chunk: impl Into<Vec<u8>>) -> Self {
        self.prints.push(chunk.into());
        self
    }

    /// Makes one more file in the container, owned by the command's user.
    pub fn writing(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.writes.push((path.to_owned(), bytes.into()));
        self
    }

    /// Takes so long before all of that.
    pub fn after(mut self, pause: Duration) -> Self {
        self.after = pause;
        self
    }
}

type Matcher = Box<dyn Fn(&Command) -> bool + Send>;
type MakeError = Box<dyn Fn() -> EngineError + Send>;

struct Image {
    config: Vec<u8>,
    layers: Vec<Vec<u8>>,
}

struct Container {
    image: ImageId,
    snapshot: Option<SnapshotId>,
    labels: BTreeMap<String, String>,
    files: Files,
    running: bool,
}

#[derive(Default)]
struct State {
    images: BTreeMap<ImageId, Image>,
    tags: BTreeMap<String, ImageId>,
    registry: BTreeMap<String, ImageId>,
    containers: BTreeMap<ContainerId, Container>,
    snapshots: BTreeMap<SnapshotId, Container>,
    next: usize,
    scripts: Vec<(Matcher, Script)>,
    commands: Vec<Command>,
    created: Vec<ContainerSpec>,
    init: bool,
    emulators: Vec<Emulator>,
    calls: BTreeMap<Method, usize>,
    /// An error to give at the nth call of a method, or never to return from it.
    faults: Vec<(Method, usize, Option<MakeError>)>,
    vanishes_after: Option<usize>,
}

/// The engine. Cloning gives the same engine.
#[derive(Clone, Default)]
pub struct Fake {
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// An engine without images.
    pub fn new() -> Self {
        Self::default()
    }

    /// An image in the store, with the tag `tag` and these files.
    pub fn image(&self, tag: &str, files: &[(&str, &[u8])]) -> ImageId {
        self.image_for(Architecture::Amd64, tag, files)
    }

    fn image_for(&self, architecture: Architecture, tag: &str, files: &[(&str, &[u8])]) -> ImageId {
        let mut tree = Files::default();
        for (path, bytes) in files {
            tree.write(path, bytes, "0:0");
        }
        let mut state = self.lock();
        let id = state.add_image(vec![tree.to_tar("/")], &BTreeMap::new(), Vec::new(), architecture.oci());
        state.tags.insert(tag.to_owned(), id);
        id
    }

    /// An image that can be pulled as `reference`.
    pub fn in_registry(&self, reference: &str, files: &[(&str, &[u8])]) -> ImageId {
        self.publish(Architecture::Amd64, reference, files)
    }

    fn publish(&self, architecture: Architecture, name: &str, files: &[(&str, &[u8])]) -> ImageId {
        let id = self.image_for(architecture, "packhold-fake:registry", files);
        let mut state = self.lock();
        state.tags.remove("packhold-fake:registry");
        state.registry.insert(name.to_owned(), id);
        id
    }

    /// An image for another architecture that can be pulled as `reference`.
    pub fn in_registry_for(
        &self,
        architecture: Architecture,
        reference: &str,
        files: &[(&str, &[u8])],
    ) -> ImageId {
        self.publish(architecture, &format!("{}:{reference}", architecture.platform()), files)
    }

    /// Its kernel starts programs of another architecture with an emulator.
    pub fn emulate(&self, emulator: Emulator) {
        self.lock().emulators.push(emulator);
    }

    /// What commands do for which `matcher` is true. Of several the latest counts.
    pub fn on_exec(&self, matcher: impl Fn(&Command) -> bool + Send + 'static, script: Script) {
        self.lock().scripts.push((Box::new(matcher), script));
    }

    /// The `nth` call of `method`, counted from 1 and from the engine's start, fails with `error`. It has no effect.
    pub fn fail(&self, method: Method, nth: usize, error: impl Fn() -> EngineError + Send + 'static) {
        self.lock().faults.push((method, nth, Some(Box::new(error))));
    }

    /// The `nth` call of `method` has no effect and never returns.
    pub fn hang(&self, method: Method, nth: usize) {
        self.lock().faults.push((method, nth, None));
    }

    /// After so many calls from now on the engine does not answer any more; what was under way fails too.
    pub fn vanish_after(&self, calls: usize) {
        let mut state = self.lock();
        state.vanishes_after = Some(state.calls.values().sum::<usize>() + calls);
    }

    /// How many containers there are, running or not.
    pub fn live(&self) -> usize {
        self.lock().containers.len()
    }

    /// The tags of the images in the store.
    pub fn tags(&self) -> Vec<String> {
        self.lock().tags.keys().cloned().collect()
    }

    /// The regular files of an image, by absolute path; none if it is not in the store.
    pub fn files(&self, image: &ImageId) -> BTreeMap<String, Vec<u8>> {
        let mut files = Files::default();
        for layer in self.lock().images.get(image).into_iter().flat_map(|image| &image.layers) {
            files.add(Files::from_tar(layer).unwrap_or_default());
        }
        files.regular()
    }

    /// How often a method was called.
    pub fn calls(&self, method: Method) -> usize {
        self.lock().calls.get(&method).copied().unwrap_or_default()
    }

    /// Every command that was run, in order.
    pub fn commands(&self) -> Vec<Command> {
        self.lock().commands.clone()
    }

    /// Every container that was made, in order.
    pub fn created(&self) -> Vec<ContainerSpec> {
        self.lock().created.clone()
    }

    /// From now on it says that it can run init systems: [`EngineInfo::init`]. Nothing runs; script what they answer.
    pub fn allow_init(&self) {
        self.lock().init = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and lets its fault happen.
    async fn enter(&self, method: Method) -> Result<()> {
        let hangs = {
            let mut state = self.lock();
            let count = state.calls.entry(method).or_default();
            *count += 1;
            let count = *count;
            state.answers()?;
            match state.faults.iter().find(|(at, nth, _)| (*at, *nth) == (method, count)) {
                Some((_, _, Some(error))) => return Err(error()),
                Some((_, _, None)) => true,
                None => false,
            }
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Waits `pause`, or for ever. False when the container stopped meanwhile.
    async fn wait(&self, container: &ContainerId, pause: Option<Duration>) -> Result<bool> {
        let end = pause.map(|pause| tokio::time::Instant::now() + pause);
        loop {
            {
                let state = self.lock();
                state.answers()?;
                if !state.containers.get(container).is_some_and(|container| container.running) {
                    return Ok(false);
                }
            }
            let now = tokio::time::Instant::now();
            if end.is_some_and(|end| end <= now) {
                return Ok(true);
            }
            let step = Duration::from_millis(10);
            tokio::time::sleep(end.map_or(step, |end| step.min(end - now))).await;
        }
    }

    /// What a command does that reads `input`.
    async fn run(
        &self,
        container: &ContainerId,
        command: &Command,
        input: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus> {
        let gone = ExecStatus::ContainerGone { oom: false };
        let script = {
            let mut state = self.lock();
            state.commands.push(command.clone());
            if !state.container(container)?.running {
                return Ok(gone);
            }
            state.scripts.iter().rev().find(|(matches, _)| matches(command)).map(|(_, script)| script.clone())
        };
        let Some(script) = script else { return shell::run(self, container, command, input, sink).await };
        if !self.wait(container, Some(script.after)).await? {
            return Ok(gone);
        }
        for (path, bytes) in &script.writes {
            self.lock().container(container)?.files.write(path, bytes, &command.user);
        }
        for chunk in &script.prints {
            if let ControlFlow::Break(()) = sink(chunk) {
                return Ok(ExecStatus::Abandoned);
            }
        }
        if script.end.is_none() {
            self.wait(container, None).await?;
        }
        if let Some(ExecStatus::ContainerGone { .. }) = script.end {
            self.lock().container(container)?.running = false;
        }
        Ok(script.end.unwrap_or(gone))
    }
}

impl State {
    fn answers(&self) -> Result<()> {
        match self.vanishes_after {
            Some(calls) if self.calls.values().sum::<usize>() > calls => Err(EngineError::Unreachable {
                engine: "fake".into(),
                address: "memory".into(),
                source: None,
            }),
            _ => Ok(()),
        }
    }

    fn add_image(
        &mut self,
        layers: Vec<Vec<u8>>,
        labels: &BTreeMap<String, String>,
        parent: Vec<Vec<u8>>,
        architecture: &str,
    ) -> ImageId {
        let layers: Vec<_> = parent.into_iter().chain(layers).collect();
        let digests: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": digests},
        });
        let config = config.to_string().into_bytes();
        let id = Digest::of(&config);
        self.images.insert(id, Image { config, layers });
        id
    }

    fn image(&self, id: &ImageId) -> Result<(&Image, ImageInfo)> {
        let image = self.images.get(id).ok_or_else(|| EngineError::NotFound(format!("image {id}")))?;
        let config: Value = serde_json::from_slice(&image.config).map_err(refused("read an image"))?;
        let labels = serde_json::from_value(config["config"]["Labels"].clone()).unwrap_or_default();
        let info = ImageInfo {
            id: *id,
            layers: image.layers.iter().map(Digest::of).collect(),
            arch: config["architecture"].as_str().unwrap_or_default().to_owned(),
            labels,
            repo_digests: Vec::new(),
        };
        Ok((image, info))
    }

    fn container(&mut self, id: &ContainerId) -> Result<&mut Container> {
        self.containers.get_mut(id).ok_or_else(|| EngineError::NotFound(format!("container {}", id.0)))
    }

    /// Reads a `docker save` archive of one image.
    fn load(&mut self, archive: &[u8]) -> std::io::Result<ImageId> {
        let files = Files::from_tar(archive)?;
        let read = |name: &str| {
            files.read(&format!("/{name}")).ok_or_else(|| std::io::Error::other(format!("no {name}")))
        };
        let manifest: Value = serde_json::from_slice(&read("manifest.json")?)?;
        let config = read(manifest[0]["Config"].as_str().unwrap_or_default())?;
        let names = manifest[0]["Layers"].as_array().cloned().unwrap_or_default();
        let layers = names
            .iter()
            .map(|name| read(name.as_str().unwrap_or_default()))
            .collect::<std::io::Result<_>>()?;
        let id = Digest::of(&config);
        self.images.insert(id, Image { config, layers });
        Ok(id)
    }
}

fn refused<E: ToString>(action: &str) -> impl FnOnce(E) -> EngineError {
    move |error| EngineError::Refused { action: action.to_owned(), message: error.to_string() }
}

fn stream(bytes: Vec<u8>) -> ByteStream {
    Box::pin(std::io::Cursor::new(bytes))
}

async fn drain(mut stream: ByteStream, action: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .await
        .map_err(|source| EngineError::Stream { action: action.to_owned(), source })?;
    Ok(bytes)
}

#[async_trait]
impl Engine for Fake {
    async fn info(&self) -> Result<EngineInfo> {
        self.enter(Method::Info).await?;
        let state = self.lock();
        Ok(EngineInfo {
            kind: "fake".to_owned(),
            version: "0".to_owned(),
            api: "0".to_owned(),
            arch: "amd64".to_owned(),
            emulators: Some(state.emulators.clone()),
            kernel: None,
            cores: None,
            store: None,
            limits: false,
            isolation: false,
            init: state.init,
            host: None,
            shortcomings: Vec::new(),
        })
    }

    async fn find(&self, query: &Query) -> Result<Vec<Found>> {
        self.enter(Method::Find).await?;
        let state = self.lock();
        let image = |id: &ImageId| state.image(id).ok().map(|(_, info)| Found::Image(info));
        Ok(match query {
            Query::ImageNamed(name) => state.tags.get(name).and_then(image).into_iter().collect(),
            Query::ImageWithId(id) => image(id).into_iter().collect(),
            Query::ChunksOf(_) => Vec::new(),
            Query::SnapshotsLabelled(label) => state
                .snapshots
                .iter()
                .filter(|(_, snapshot)| snapshot.labels.contains_key(label))
                .map(|(id, snapshot)| Found::Snapshot { id: id.clone(), labels: snapshot.labels.clone() })
                .collect(),
            Query::ContainersLabelled(label) => state
                .containers
                .iter()
                .filter(|(_, container)| container.labels.contains_key(label))
                .map(|(id, container)| Found::Container {
                    id: id.clone(),
                    labels: container.labels.clone(),
                    running: container.running,
                })
                .collect(),
        })
    }

    async fn load(&self, source: ImageSource, tag: &str) -> Result<ImageInfo> {
        self.enter(Method::Load).await?;
        let id = match source {
            ImageSource::Registry { reference, architecture, .. } => {
                let known = match architecture {
                    None => reference.clone(),
                    Some(architecture) => format!("{}:{reference}", architecture.platform()),
                };
                let id = self.lock().registry.get(&known).copied();
                id.ok_or_else(|| EngineError::Pull { reference, message: "no such image".to_owned() })?
            }
            ImageSource::Archive(archive) | ImageSource::Chunked { tar: archive, .. } => {
                let bytes = drain(archive, "load an image archive").await?;
                self.lock().load(&bytes).map_err(refused("load an image archive"))?
            }
        };
        let mut state = self.lock();
        state.tags.insert(tag.to_owned(), id);
        Ok(state.image(&id)?.1)
    }

    async fn save(&self, image: &ImageId) -> Result<ByteStream> {
        self.enter(Method::Save).await?;
        let state = self.lock();
        let (image, info) = state.image(image)?;
        let mut archive = Files::default();
        let config = format!("{}.json", info.id.hex());
        let names: Vec<_> = info.layers.iter().map(|layer| format!("{}/layer.tar", layer.hex())).collect();
        for (name, layer) in names.iter().zip(&image.layers) {
            archive.write(&format!("/{name}"), layer, "0:0");
        }
        archive.write(&format!("/{config}"), &image.config, "0:0");
        let manifest = json!([{"Config": config, "RepoTags": null, "Layers": names}]);
        archive.write("/manifest.json", manifest.to_string().as_bytes(), "0:0");
        Ok(stream(archive.to_tar("/")))
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        self.enter(Method::Create).await?;
        let mut state = self.lock();
        if spec.init && !state.init {
            return Err(refused("create a container")("this engine cannot run an init system"));
        }
        let (image, snapshot, mut files) = match &spec.root {
            Root::Image(id) => {
                let mut files = Files::default();
                for layer in &state.image(id)?.0.layers {
                    files.add(Files::from_tar(layer).map_err(refused("unpack a layer"))?);
                }
                (*id, None, files)
            }
            Root::Snapshot(id) => {
                let missing = || EngineError::NotFound(format!("snapshot {}", id.0));
                let snapshot = state.snapshots.get(id).ok_or_else(missing)?;
                (snapshot.image, Some(id.clone()), snapshot.files.clone())
            }
        };
        files.folder("/tmp");
        state.next += 1;
        let id = ContainerId(format!("fake-{}", state.next));
        let container = Container { image, snapshot, labels: spec.labels.clone(), files, running: true };
        state.containers.insert(id.clone(), container);
        state.created.push(spec.clone());
        Ok(id)
    }

    async fn exec(
        &self,
        container: &ContainerId,
        command: &Command,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus> {
        self.enter(Method::Exec).await?;
        self.run(container, command, b"", sink).await
    }

    async fn attach(
        &self,
        container: &ContainerId,
        command: &Command,
        session: Session,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus> {
        self.enter(Method::Attach).await?;
        let input = drain(session.input, "read the input of a command").await?;
        self.run(container, command, &input, sink).await
    }

    async fn put(&self, container: &ContainerId, path: &str, tar: ByteStream) -> Result<()> {
        self.enter(Method::Put).await?;
        let action = format!("put files into {path}");
        if !self.lock().container(container)?.files.has(path) {
            return Err(EngineError::NotFound(format!("path {path}")));
        }
        let bytes = drain(tar, &action).await?;
        let files = Files::from_tar(&bytes).map_err(refused(&action))?;
        self.lock().container(container)?.files.add_below(path, files);
        Ok(())
    }

    async fn get(&self, container: &ContainerId, path: &str) -> Result<ByteStream> {
        self.enter(Method::Get).await?;
        let mut state = self.lock();
        let files = &state.container(container)?.files;
        if !files.has(path) {
            return Err(EngineError::NotFound(format!("path {path}")));
        }
        Ok(stream(files.to_tar(path)))
    }

    async fn commit(&self, container: &ContainerId, spec: &CommitSpec) -> Result<ImageInfo> {
        self.enter(Method::Commit).await?;
        let mut state = self.lock();
        let Container { image, files, .. } = state.container(container)?;
        let (image, layer) = (*image, files.to_tar("/"));
        let (parent, info) = state.image(&image)?;
        let (layers, mut labels) = (parent.layers.clone(), info.labels);
        labels.extend(spec.labels.clone());
        let id = state.add_image(vec![layer], &labels, layers, &info.arch);
        state.tags.insert(spec.tag.clone(), id);
        Ok(state.image(&id)?.1)
    }

    async fn snapshot(&self, container: &ContainerId) -> Result<SnapshotId> {
        self.enter(Method::Snapshot).await?;
        let mut state = self.lock();
        state.container(container)?;
        let id = SnapshotId(format!("snapshot-of-{}", container.0));
        if let Some(container) = state.containers.remove(container) {
            state.snapshots.insert(id.clone(), Container { running: false, ..container });
        }
        Ok(id)
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        self.enter(Method::Remove).await?;
        let mut state = self.lock();
        match object {
            Object::Container(id) => _ = state.containers.remove(id),
            Object::Snapshot(id) => {
                let mut users = state.containers.values().chain(state.snapshots.values());
                if users.any(|user| user.snapshot.as_ref() == Some(id)) {
                    return Err(refused("remove a snapshot")("a container is made of it"));
                }
                state.snapshots.remove(id);
            }
            Object::ImageTag(tag) => {
                if let Some(id) = state.tags.remove(tag)
                    && !state.tags.values().chain(state.registry.values()).any(|other| *other == id)
                    && !state
                        .containers
                        .values()
                        .chain(state.snapshots.values())
                        .any(|container| container.image == id)
                {
                    state.images.remove(&id);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Limits, Network};

    fn spec(image: ImageId) -> ContainerSpec {
        ContainerSpec {
            root: image.into(),
            name_hint: String::new(),
            labels: BTreeMap::new(),
            network: Network::None,
            capabilities: Vec::new(),
            limits: Limits { memory: 1, processes: 1, cpus: None },
            hostname: String::new(),
            init: false,
        }
    }

    fn command(program: &str) -> Command {
        Command {
            argv: vec![program.to_owned()],
            env: BTreeMap::new(),
            user: "5:6".to_owned(),
            dir: "/".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_scripted_command_prints_writes_and_ends() {
        let fake = Fake::new();
        let container = fake.create(&spec(fake.image("base:1", &[("/etc/id", b"x")]))).await.unwrap();
        let script = Script::exits(7).printing("one").printing("two").writing("/out/a", "made");
        fake.on_exec(|command| command.argv[0] == "build", script);
        let mut printed = Vec::new();
        let mut sink = |bytes: &[u8]| {
            printed.extend_from_slice(bytes);
            ControlFlow::Continue(())
        };
        let status = fake.exec(&container, &command("build"), &mut sink).await.unwrap();
        assert_eq!(status, ExecStatus::Exited { code: 7, oom: false, process_limit: false });
        assert_eq!(printed, b"onetwo");
        let tar = drain(fake.get(&container, "/out").await.unwrap(), "").await.unwrap();
        assert_eq!(Files::from_tar(&tar).unwrap().read("/out/a").unwrap(), b"made");
        assert_eq!(fake.commands(), [command("build")]);
    }

    #[tokio::test]
    async fn faults_hit_the_call_that_they_name() {
        let fake = Fake::new();
        let image = fake.image("base:1", &[]);
        fake.fail(Method::Create, 2, || EngineError::NotFound("x".to_owned()));
        fake.hang(Method::Create, 3);
        let container = fake.create(&spec(image)).await.unwrap();
        assert!(matches!(fake.create(&spec(image)).await, Err(EngineError::NotFound(_))));
        let third = tokio::time::timeout(Duration::from_millis(50), fake.create(&spec(image))).await;
        assert!(third.is_err());
        assert_eq!((fake.live(), fake.calls(Method::Create)), (1, 3));
        fake.remove(&Object::Container(container)).await.unwrap();
        assert_eq!(fake.live(), 0);
    }

    #[tokio::test]
    async fn an_engine_that_vanishes_ends_what_runs() {
        let fake = Fake::new();
        let container = fake.create(&spec(fake.image("base:1", &[]))).await.unwrap();
        fake.on_exec(|_| true, Script::hangs());
        fake.vanish_after(1);
        let mut sink = |_: &[u8]| ControlFlow::Continue(());
        let command = command("make");
        let (run, info) = tokio::join!(fake.exec(&container, &command, &mut sink), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            fake.info().await
        });
        assert!(matches!(run, Err(EngineError::Unreachable { .. })));
        assert!(matches!(info, Err(EngineError::Unreachable { .. })));
    }
}
