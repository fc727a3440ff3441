//! What every engine must do, as checks that are sentences. An engine's test calls [`run_all`].
//!
//! The image to run them on needs a shell and the usual small tools (a static busybox is enough), and one variable
//! `PACKHOLD_LEAK` in the environment of its configuration, which no command may see.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Cursor, Read};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    ByteStream, Command, CommitSpec, ContainerId, ContainerSpec, Engine, EngineError, EngineInfo, ExecStatus,
    Found, ImageId, ImageInfo, ImageSource, Limits, Network, Object, Query, Root, Session, SnapshotId,
    WindowSize,
};

/// The label of everything that a check makes.
pub const LABEL: &str = "packhold.conformance";

/// What a check needs of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: every engine passes it.
    Nothing,
    /// [`EngineInfo::isolation`].
    Isolation,
    /// [`EngineInfo::limits`].
    Limits,
    /// [`EngineInfo::init`].
    Init,
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The engine does it.
    Passed,
    /// The engine does something else.
    Failed(String),
    /// The engine says that it cannot.
    Skipped(Needs),
}

type Failure = Box<dyn std::error::Error>;
type Outcome = Result<(), Failure>;
type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

struct Check {
    name: &'static str,
    needs: Needs,
    run: for<'a> fn(&'a Bench<'a>) -> Running<'a>,
}

macro_rules! checks {
    ($($needs:ident $function:ident: $name:literal,)*) => {
        const CHECKS: &[Check] = &[$(
            Check { name: $name, needs: Needs::$needs, run: |bench| Box::pin($function(bench)) },
        )*];
    };
}

checks! {
    Nothing unknown_image: "an unknown image is not found",
    Nothing exit_status: "a command's exit status arrives",
    Nothing missing_program: "a missing program is status 127, and said so in the output",
    Nothing both_outputs: "standard output and standard error both arrive",
    Nothing raw_bytes: "bytes that are not UTF-8 arrive unchanged",
    Nothing exact_environment: "a command sees the given variables and no others",
    Nothing user: "a command runs as the given user and group",
    Nothing working_directory: "a command runs in the given folder",
    Nothing input: "a command reads the input that it is given to its end",
    Nothing background_child: "a child that holds the output open does not keep a command from ending",
    Nothing abandoned: "a sink that breaks ends the wait",
    Nothing put_and_get: "what is put comes back with the same bytes, modes and times",
    Nothing get_missing: "getting a path that does not exist says so",
    Nothing put_missing: "putting into a folder that does not exist says so",
    Nothing put_broken: "an upload that breaks on our side tells our error",
    Nothing commit: "a committed image has the change and its labels, and not the container's",
    Nothing snapshot: "many containers start from what one was like, and do not change it",
    Nothing snapshot_in_use: "a snapshot that something is made of is not removed",
    Nothing snapshot_found: "a label finds a snapshot, and not as a container",
    Nothing commit_above_snapshot: "an image of a container of a snapshot has the changes of both",
    Isolation snapshot_hides: "what was removed or replaced before a snapshot is gone after it",
    Nothing save_and_load: "an image that was saved and loaded keeps its identity",
    Nothing load_garbage: "what is not an image archive is refused",
    Nothing find_by_label: "a label finds containers that run and containers that stopped",
    Nothing remove_twice: "removing what is gone is no error",
    Nothing removed_while_running: "a command whose container is removed ends",
    Nothing in_parallel: "two containers work at the same time and do not share files",
    Nothing cancelled_create: "a create whose caller went away leaves no container",
    Isolation put_owners: "what is put has the owners that the tar gives as numbers",
    Isolation signalled: "a command that a signal ended is 128 and the signal",
    Isolation closed_output: "a command that closes its output is waited for",
    Isolation unread_input: "a command that does not read its input ends",
    Isolation terminal: "a command at a terminal sees its size, and how that changes",
    Isolation much_output: "everything that a command printed arrives before its end is told",
    Isolation hostname: "a container has the given host name",
    Isolation no_network: "a container without network has loopback only",
    Isolation capabilities: "a container has the given capabilities and no others",
    Isolation no_new_privileges: "nothing in a container can gain privileges",
    Isolation orphans: "the first process reaps what is left to it",
    Limits memory: "a command that reaches the memory limit is told as such, and the next failure is not",
    Init own_init: "the image's own init is the first process, with its folders in memory and no network",
    Init no_init: "an image without an init is refused, and the container of an init that ends is gone",
    Limits processes: "a command that reaches the limit of processes is told as such, and the next failure is not",
}

/// Runs every check on `image` and tells how each ended. Removes what the checks made.
pub async fn run_all(engine: &dyn Engine, image: &ImageId) -> Vec<(&'static str, Verdict)> {
    let mut verdicts = Vec::new();
    let info = match engine.info().await {
        Ok(info) => info,
        Err(error) => return vec![("an engine tells who it is", Verdict::Failed(error.to_string()))],
    };
    for check in CHECKS {
        let verdict = if can(&info, check.needs) {
            let bench = Bench { engine, image: *image, made: Mutex::default() };
            let outcome = tokio::time::timeout(Duration::from_secs(120), (check.run)(&bench)).await;
            let cleaned = bench.clean().await;
            match outcome {
                Err(_) => Verdict::Failed("it hangs".to_owned()),
                Ok(Err(failure)) => Verdict::Failed(chain(failure.as_ref())),
                Ok(Ok(())) => {
                    cleaned.map_or_else(|error| Verdict::Failed(chain(&error)), |()| Verdict::Passed)
                }
            }
        } else {
            Verdict::Skipped(check.needs)
        };
        verdicts.push((check.name, verdict));
    }
    verdicts
}

fn can(info: &EngineInfo, needs: Needs) -> bool {
    match needs {
        Needs::Nothing => true,
        Needs::Isolation => info.isolation,
        Needs::Limits => info.limits,
        Needs::Init => info.init,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn ensure(good: bool, otherwise: impl Into<String>) -> Outcome {
    if good { Ok(()) } else { Err(otherwise.into().into()) }
}

fn ensure_eq<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Outcome {
    ensure(found == wanted, format!("found {found:?}, wanted {wanted:?}"))
}

fn ensure_missing<T>(result: super::Result<T>) -> Outcome {
    match result {
        Err(EngineError::NotFound(_)) => Ok(()),
        Err(other) => Err(format!("not NotFound but: {}", chain(&other)).into()),
        Ok(_) => Err("not NotFound but done".into()),
    }
}

/// One check's place to work: it remembers what the check made.
struct Bench<'a> {
    engine: &'a dyn Engine,
    image: ImageId,
    made: Mutex<Vec<Object>>,
}

impl Bench<'_> {
    fn remember(&self, object: Object) {
        if let Ok(mut made) = self.made.lock() {
            made.push(object);
        }
    }

    async fn clean(&self) -> super::Result<()> {
        let made = self.made.lock().map(|mut made| std::mem::take(&mut *made)).unwrap_or_default();
        for object in made.iter().rev() {
            self.engine.remove(object).await?;
        }
        Ok(())
    }

    fn spec(&self) -> ContainerSpec {
        ContainerSpec {
            root: self.image.into(),
            name_hint: "conformance".to_owned(),
            labels: BTreeMap::from([(LABEL.to_owned(), "1".to_owned())]),
            network: Network::None,
            capabilities: Vec::new(),
            limits: Limits { memory: 64 << 20, processes: 30, cpus: Some(1.0) },
            hostname: "bench".to_owned(),
            init: false,
        }
    }

    async fn start_with(&self, spec: &ContainerSpec) -> Result<ContainerId, Failure> {
        let id = self.engine.create(spec).await?;
        self.remember(Object::Container(id.clone()));
        Ok(id)
    }

    async fn start(&self) -> Result<ContainerId, Failure> {
        self.start_with(&self.spec()).await
    }

    fn tag(&self) -> String {
        let tag = format!("packhold-conformance:{}", ulid::Ulid::generate().to_string().to_lowercase());
        self.remember(Object::ImageTag(tag.clone()));
        tag
    }

    async fn exec(
        &self,
        container: &ContainerId,
        command: &Command,
    ) -> Result<(ExecStatus, Vec<u8>), Failure> {
        let mut printed = Vec::new();
        let mut sink = |bytes: &[u8]| {
            printed.extend_from_slice(bytes);
            ControlFlow::Continue(())
        };
        let status = self.engine.exec(container, command, &mut sink).await?;
        Ok((status, printed))
    }

    async fn shell(&self, container: &ContainerId, script: &str) -> Result<(ExecStatus, Vec<u8>), Failure> {
        self.exec(container, &shell(script)).await
    }

    /// What a script prints that must succeed.
    async fn text(&self, container: &ContainerId, script: &str) -> Result<String, Failure> {
        let (status, printed) = self.shell(container, script).await?;
        let text = String::from_utf8_lossy(&printed).into_owned();
        ensure(status == exited(0), format!("`{script}` ended with {status:?}: {text}"))?;
        Ok(text)
    }
}

fn command(argv: &[&str]) -> Command {
    Command {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        user: "0:0".to_owned(),
        dir: "/".to_owned(),
    }
}

fn shell(script: &str) -> Command {
    command(&["sh", "-c", script])
}

fn exited(code: i64) -> ExecStatus {
    ExecStatus::Exited { code, oom: false, process_limit: false }
}

fn stream(bytes: Vec<u8>) -> ByteStream {
    Box::pin(Cursor::new(bytes))
}

async fn read(mut stream: ByteStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn unknown_image(bench: &Bench<'_>) -> Outcome {
    let unknown = ImageId::of("no image has this configuration");
    ensure_missing(bench.engine.create(&ContainerSpec { root: unknown.into(), ..bench.spec() }).await)?;
    ensure_missing(bench.engine.save(&unknown).await)?;
    ensure_eq(bench.engine.find(&Query::ChunksOf(unknown)).await?, vec![])?;
    ensure_eq(bench.engine.find(&Query::ImageWithId(unknown)).await?, vec![])?;
    ensure_eq(bench.engine.find(&Query::ImageNamed("packhold-conformance:none".to_owned())).await?, vec![])
}

async fn exit_status(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    ensure_eq(bench.shell(&container, "exit 0").await?, (exited(0), vec![]))?;
    ensure_eq(bench.shell(&container, "exit 3").await?, (exited(3), vec![]))
}

async fn missing_program(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    for program in ["no-such-program", "/no/such/program"] {
        let (status, printed) = bench.exec(&container, &command(&[program])).await?;
        ensure_eq(status, exited(127))?;
        ensure(String::from_utf8_lossy(&printed).contains(program), "the output does not name it")?;
    }
    Ok(())
}

async fn both_outputs(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let text = bench.text(&container, "echo to-output; echo to-error >&2").await?;
    ensure(text.contains("to-output\n") && text.contains("to-error\n"), text)
}

async fn raw_bytes(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let (_, printed) = bench.exec(&container, &command(&["printf", r"gr\374\337e\000\377"])).await?;
    ensure_eq(printed.as_slice(), b"gr\xfc\xdfe\0\xff".as_slice())
}

async fn exact_environment(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let mut printenv = command(&["/bin/env"]);
    printenv.env =
        BTreeMap::from([("GIVEN".to_owned(), "a b=c".to_owned()), ("EMPTY".to_owned(), String::new())]);
    let (status, printed) = bench.exec(&container, &printenv).await?;
    ensure_eq(status, exited(0))?;
    let text = String::from_utf8_lossy(&printed);
    let mut seen: Vec<&str> = text.lines().collect();
    seen.sort_unstable();
    ensure_eq(seen, vec!["EMPTY=", "GIVEN=a b=c"])
}

async fn user(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let command = Command { user: "1234:2345".to_owned(), ..shell("id -u; id -g") };
    ensure_eq(bench.exec(&container, &command).await?, (exited(0), b"1234\n2345\n".to_vec()))
}

async fn working_directory(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let command = Command { dir: "/tmp".to_owned(), ..shell("pwd") };
    ensure_eq(bench.exec(&container, &command).await?, (exited(0), b"/tmp\n".to_vec()))
}

async fn background_child(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let start = Instant::now();
    let (status, printed) = bench.shell(&container, "sleep 60 & echo done; exit 5").await?;
    ensure_eq((status, printed), (exited(5), b"done\n".to_vec()))?;
    ensure(start.elapsed() < Duration::from_secs(15), format!("it took {:?}", start.elapsed()))
}

async fn abandoned(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let mut sink = |_: &[u8]| ControlFlow::Break(());
    let status = bench.engine.exec(&container, &shell("echo one; sleep 60"), &mut sink).await?;
    ensure_eq(status, ExecStatus::Abandoned)
}

/// Path, mode, owner and bytes; the group is the owner and one.
const FILES: [(&str, u32, u64, &[u8]); 3] = [
    ("tree/plain", 0o644, 0, b"text\n"),
    ("tree/\u{e4} b", 0o4755, 12345, &[0xff; 70_000]),
    ("tree/empty", 0o600, 65534, b""),
];

fn tree() -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, owner, bytes) in FILES {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner + 1);
        header.set_mtime(1_000_000_000);
        tar.append_data(&mut header, path, bytes)?;
    }
    tar.into_inner()
}

async fn put_and_get(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    bench.engine.put(&container, "/tmp", stream(tree()?)).await?;
    ensure_eq(bench.text(&container, "cat /tmp/tree/plain").await?, "text\n".to_owned())?;

    let bytes = read(bench.engine.get(&container, "/tmp/tree").await?).await?;
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let header = entry.header();
            let told = (header.mode()? & 0o7777, header.mtime()?);
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            found.insert(path, (told, content));
        }
    }
    for (path, mode, _, bytes) in FILES {
        let (told, content) = found.remove(path).ok_or(format!("no {path}"))?;
        ensure_eq((path, told), (path, (mode, 1_000_000_000)))?;
        ensure(content == bytes, format!("{path} has other bytes"))?;
    }
    ensure(found.is_empty(), format!("also {:?}", found.keys()))
}

async fn put_owners(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    bench.engine.put(&container, "/tmp", stream(tree()?)).await?;
    for (path, _, owner, _) in FILES {
        let told = bench.text(&container, &format!("stat -c %u:%g '/tmp/{path}'")).await?;
        ensure_eq((path, told), (path, format!("{owner}:{}\n", owner + 1)))?;
    }
    Ok(())
}

async fn get_missing(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    ensure_missing(bench.engine.get(&container, "/no/such").await)?;
    ensure_missing(bench.engine.get(&ContainerId("no-such-container".to_owned()), "/tmp").await)
}

async fn put_missing(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    // Larger than what sockets hold, so that the refusal comes in the middle of it.
    let mut header = tar::Header::new_gnu();
    header.set_size(8 << 20);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "large", vec![0; 8 << 20].as_slice())?;
    let tar = tar.into_inner()?;
    ensure_missing(bench.engine.put(&container, "/no/such", stream(tar.clone())).await)?;
    ensure_missing(bench.engine.put(&ContainerId("no-such-container".to_owned()), "/tmp", stream(tar)).await)
}

async fn put_broken(bench: &Bench<'_>) -> Outcome {
    struct Breaks;
    impl tokio::io::AsyncRead for Breaks {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Err(std::io::Error::other("ours")))
        }
    }
    let container = bench.start().await?;
    let broken = Box::pin(AsyncReadExt::chain(Cursor::new(vec![0; 100]), Breaks));
    match bench.engine.put(&container, "/tmp", broken).await {
        Err(EngineError::Stream { source, .. }) => ensure_eq(source.to_string(), "ours".to_owned()),
        other => Err(format!("{other:?}").into()),
    }
}

async fn commit(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    bench.text(&container, "echo changed > /tmp/file").await?;
    let tag = bench.tag();
    let labels = BTreeMap::from([("packhold.role".to_owned(), "a \"quoted\" $value".to_owned())]);
    let spec = CommitSpec { tag: tag.clone(), labels: labels.clone(), comment: "a change".to_owned() };
    let image = bench.engine.commit(&container, &spec).await?;

    let Some(parent) = image_of(bench.engine.find(&Query::ImageWithId(bench.image)).await?) else {
        return Err("the parent image is not found by its identity".into());
    };
    ensure(image.id != bench.image, "the image has its parent's identity")?;
    ensure(
        image.layers.len() > parent.layers.len() && image.layers.starts_with(&parent.layers),
        "the image's layers are not its parent's and more",
    )?;
    let kept = |image: &ImageInfo| {
        image
            .labels
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    let mut wanted: BTreeMap<String, String> = kept(&parent);
    wanted.extend(labels);
    ensure_eq(kept(&image), wanted)?;
    ensure_eq(image_of(bench.engine.find(&Query::ImageNamed(tag)).await?), Some(image.clone()))?;

    let next = bench.start_with(&ContainerSpec { root: image.id.into(), ..bench.spec() }).await?;
    ensure_eq(bench.text(&next, "cat /tmp/file").await?, "changed\n".to_owned())
}

fn image_of(found: Vec<Found>) -> Option<ImageInfo> {
    found.into_iter().find_map(|found| match found {
        Found::Image(image) => Some(image),
        Found::Container { .. } | Found::Snapshot { .. } | Found::Chunks(_) => None,
    })
}

async fn snapshot_of(bench: &Bench<'_>, container: &ContainerId) -> Result<SnapshotId, Failure> {
    let id = bench.engine.snapshot(container).await?;
    bench.remember(Object::Snapshot(id.clone()));
    Ok(id)
}

fn above(bench: &Bench<'_>, snapshot: &SnapshotId) -> ContainerSpec {
    ContainerSpec { root: Root::Snapshot(snapshot.clone()), ..bench.spec() }
}

async fn snapshot(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    bench.text(&container, "echo first > /tmp/file").await?;
    let first = snapshot_of(bench, &container).await?;
    ensure_missing(bench.engine.get(&container, "/tmp").await)?;

    let one = bench.start_with(&above(bench, &first)).await?;
    let two = bench.start_with(&above(bench, &first)).await?;
    ensure_eq(bench.text(&one, "cat /tmp/file").await?, "first\n".to_owned())?;
    bench.text(&one, "echo changed > /tmp/file; echo more > /tmp/more").await?;
    ensure_eq(bench.text(&two, "cat /tmp/file").await?, "first\n".to_owned())?;
    ensure(bench.engine.get(&two, "/tmp/more").await.is_err(), "containers of a snapshot share files")?;

    let second = snapshot_of(bench, &one).await?;
    let three = bench.start_with(&above(bench, &second)).await?;
    ensure_eq(bench.text(&three, "cat /tmp/file; cat /tmp/more").await?, "changed\nmore\n".to_owned())?;
    let four = bench.start_with(&above(bench, &first)).await?;
    ensure_eq(bench.text(&four, "cat /tmp/file").await?, "first\n".to_owned())
}

async fn snapshot_in_use(bench: &Bench<'_>) -> Outcome {
    let first = snapshot_of(bench, &bench.start().await?).await?;
    let container = bench.start_with(&above(bench, &first)).await?;
    match bench.engine.remove(&Object::Snapshot(first.clone())).await {
        Err(EngineError::Refused { .. }) => {}
        other => return Err(format!("removing it gave {other:?}").into()),
    }
    bench.text(&container, "true").await?;
    bench.engine.remove(&Object::Container(container)).await?;
    bench.engine.remove(&Object::Snapshot(first.clone())).await?;
    bench.engine.remove(&Object::Snapshot(first.clone())).await?;
    ensure_missing(bench.engine.create(&above(bench, &first)).await)?;
    ensure_missing(bench.engine.snapshot(&ContainerId("no-such-container".to_owned())).await)
}

async fn snapshot_found(bench: &Bench<'_>) -> Outcome {
    let label = format!("packhold.conformance.{}", ulid::Ulid::generate().to_string().to_lowercase());
    let labels = BTreeMap::from([(label.clone(), "a \"quoted\" value".to_owned())]);
    let container = bench.start_with(&ContainerSpec { labels, ..bench.spec() }).await?;
    let id = snapshot_of(bench, &container).await?;
    ensure_eq(bench.engine.find(&Query::ContainersLabelled(label.clone())).await?, vec![])?;
    let found = bench.engine.find(&Query::SnapshotsLabelled(label.clone())).await?;
    match found.as_slice() {
        [Found::Snapshot { id: found, labels }] => {
            ensure(
                labels.get(&label).is_some_and(|value| value == "a \"quoted\" value"),
                format!("{labels:?}"),
            )?;
            ensure(found.0.ends_with(&id.0), format!("found {found:?}, wanted {id:?}"))?;
            bench.engine.remove(&Object::Snapshot(found.clone())).await?;
        }
        other => return Err(format!("found {other:?}").into()),
    }
    // The container is not there any more: removing it takes nothing away, and is no error.
    bench.engine.remove(&Object::Container(container)).await?;
    ensure_eq(bench.engine.find(&Query::SnapshotsLabelled(label)).await?, vec![])
}

async fn commit_above_snapshot(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    bench.text(&container, "echo below > /tmp/below").await?;
    let below = snapshot_of(bench, &container).await?;
    let container = bench.start_with(&above(bench, &below)).await?;
    bench.text(&container, "echo above > /tmp/above").await?;
    let tag = bench.tag();
    let spec = CommitSpec { tag, labels: BTreeMap::new(), comment: String::new() };
    let image = bench.engine.commit(&container, &spec).await?;
    let said: Vec<_> = image.labels.iter().filter(|(_, value)| !value.is_empty()).collect();
    let snapshots = said.iter().any(|(name, _)| name.contains("snapshot") || *name == LABEL);
    ensure(!snapshots, format!("the image says {said:?}"))?;
    bench.engine.remove(&Object::Container(container)).await?;
    let next = bench.start_with(&ContainerSpec { root: image.id.into(), ..bench.spec() }).await?;
    ensure_eq(bench.text(&next, "cat /tmp/below; cat /tmp/above").await?, "below\nabove\n".to_owned())
}

async fn snapshot_hides(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    bench
        .text(&container, "mkdir -p /t/old && echo x > /t/old/file && echo y > /t/gone && chmod 711 /t/old")
        .await?;
    let first = snapshot_of(bench, &container).await?;
    let container = bench.start_with(&above(bench, &first)).await?;
    let script = "rm -r /t/gone /t/old && mkdir /t/old && echo z > /t/old/new && ln /t/old/new /t/link";
    bench.text(&container, script).await?;
    let second = snapshot_of(bench, &container).await?;
    let container = bench.start_with(&above(bench, &second)).await?;
    let told = bench.text(&container, "ls /t /t/old; stat -c '%a %h' /t/old /t/link; cat /t/link").await?;
    ensure_eq(told, "/t:\nlink\nold\n\n/t/old:\nnew\n755 2\n644 2\nz\n".to_owned())
}

async fn save_and_load(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    bench.text(&container, "echo saved > /tmp/file").await?;
    let tag = bench.tag();
    let spec = CommitSpec { tag: tag.clone(), labels: BTreeMap::new(), comment: String::new() };
    let image = bench.engine.commit(&container, &spec).await?;
    let archive = read(bench.engine.save(&image.id).await?).await?;

    bench.engine.remove(&Object::Container(container)).await?;
    bench.engine.remove(&Object::ImageTag(tag)).await?;
    ensure_eq(bench.engine.find(&Query::ImageWithId(image.id)).await?, vec![])?;

    for _ in 0..2 {
        let tag = bench.tag();
        let loaded = bench.engine.load(ImageSource::Archive(stream(archive.clone())), &tag).await?;
        ensure_eq((loaded.id, &loaded.layers), (image.id, &image.layers))?;
        ensure_eq(image_of(bench.engine.find(&Query::ImageNamed(tag)).await?).map(|i| i.id), Some(image.id))?;
    }
    let container = bench.start_with(&ContainerSpec { root: image.id.into(), ..bench.spec() }).await?;
    ensure_eq(bench.text(&container, "cat /tmp/file").await?, "saved\n".to_owned())
}

async fn load_garbage(bench: &Bench<'_>) -> Outcome {
    for garbage in [b"not a tar".repeat(100_000), Vec::new()] {
        match bench.engine.load(ImageSource::Archive(stream(garbage)), &bench.tag()).await {
            Err(EngineError::Refused { .. }) => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}

async fn find_by_label(bench: &Bench<'_>) -> Outcome {
    let label = format!("packhold.conformance.{}", ulid::Ulid::generate().to_string().to_lowercase());
    let labels = BTreeMap::from([(label.clone(), "x".to_owned())]);
    let spec = ContainerSpec { labels: labels.clone(), ..bench.spec() };
    let (runs, stopped) = (bench.start_with(&spec).await?, bench.start_with(&spec).await?);
    bench.start().await?;
    bench.shell(&stopped, "kill 1; sleep 5").await?;
    let mut found = BTreeMap::new();
    for each in bench.engine.find(&Query::ContainersLabelled(label)).await? {
        if let Found::Container { id, labels: seen, running } = each {
            ensure(labels.iter().all(|(name, value)| seen.get(name) == Some(value)), "labels are missing")?;
            found.insert(id, running);
        }
    }
    ensure_eq(found, BTreeMap::from([(runs, true), (stopped.clone(), false)]))?;
    ensure_eq(bench.shell(&stopped, "exit 0").await?.0, ExecStatus::ContainerGone { oom: false })
}

async fn remove_twice(bench: &Bench<'_>) -> Outcome {
    let container = Object::Container(bench.start().await?);
    let (one, two) = tokio::join!(bench.engine.remove(&container), bench.engine.remove(&container));
    one.and(two)?;
    bench.engine.remove(&container).await?;
    bench.engine.remove(&Object::Container(ContainerId("no-such-container".to_owned()))).await?;
    bench.engine.remove(&Object::ImageTag("packhold-conformance:none".to_owned())).await?;
    let Object::Container(id) = container else { return Ok(()) };
    ensure_missing(bench.engine.exec(&id, &shell("exit 0"), &mut |_| ControlFlow::Continue(())).await)
}

async fn input(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let session = Session { input: stream(sent.clone()), terminal: None };
    let mut printed = Vec::new();
    let mut sink = |bytes: &[u8]| {
        printed.extend_from_slice(bytes);
        ControlFlow::Continue(())
    };
    let status = bench.engine.attach(&container, &command(&["cat"]), session, &mut sink).await?;
    ensure_eq(status, exited(0))?;
    ensure(printed == sent, format!("{} of {} bytes came back, or others", printed.len(), sent.len()))
}

async fn unread_input(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    // Nobody ends it, and nobody reads it.
    let (_open, input) = tokio::io::duplex(1);
    let session = Session { input: Box::pin(input), terminal: None };
    let mut sink = |_: &[u8]| ControlFlow::Continue(());
    let status = bench.engine.attach(&container, &shell("exit 3"), session, &mut sink).await?;
    ensure_eq(status, exited(3))
}

async fn terminal(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let (mut keys, input) = tokio::io::duplex(1024);
    let (resize, sizes) = tokio::sync::watch::channel(WindowSize { rows: 21, columns: 83 });
    let session = Session { input: Box::pin(input), terminal: Some(sizes) };
    let (send, mut shown) = tokio::sync::mpsc::unbounded_channel();
    let mut sink = |bytes: &[u8]| {
        let _ = send.send(bytes.to_vec());
        ControlFlow::Continue(())
    };
    let work = async {
        let mut screen = Vec::new();
        let mut until = async |wanted: &str| -> Outcome {
            while !String::from_utf8_lossy(&screen).contains(wanted) {
                let more = shown.recv().await;
                screen.extend(
                    more.ok_or_else(|| format!("no {wanted}: {}", String::from_utf8_lossy(&screen)))?,
                );
            }
            Ok(())
        };
        // What is typed is echoed: what is waited for is not in it.
        let mut size = async |wanted: &str| -> Outcome {
            for _ in 0..100 {
                keys.write_all(b"echo \"size $(stty size).\"\n").await?;
                until("size ").await?;
                let asked = tokio::time::timeout(Duration::from_millis(200), until(wanted)).await;
                if asked.is_ok() {
                    return asked?;
                }
            }
            Err(format!("its size never is {wanted}").into())
        };
        size("size 21 83.").await?;
        resize.send(WindowSize { rows: 40, columns: 120 })?;
        size("size 40 120.").await?;
        keys.write_all(b"test -t 0 && test -t 1 && test -t 2 && test -w \"$(tty)\" && exit 7\n").await?;
        Ok(())
    };
    let person = async {
        match work.await {
            Ok(()) => std::future::pending().await,
            failed => failed,
        }
    };
    let user = Command { user: "4321:8765".to_owned(), ..command(&["sh"]) };
    tokio::select! {
        status = bench.engine.attach(&container, &user, session, &mut sink) => ensure_eq(status?, exited(7)),
        failed = person => failed,
    }
}

async fn removed_while_running(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let remove = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        bench.engine.remove(&Object::Container(container.clone())).await
    };
    let script = shell("sleep 60");
    let mut sink = |_: &[u8]| ControlFlow::Continue(());
    let (status, removed) = tokio::join!(bench.engine.exec(&container, &script, &mut sink), remove);
    removed?;
    ensure_eq(status?, ExecStatus::ContainerGone { oom: false })
}

async fn in_parallel(bench: &Bench<'_>) -> Outcome {
    let (one, two) = tokio::join!(bench.start(), bench.start());
    let (one, two) = (one?, two?);
    // How many have begun is asked when one has ended: how long it all takes says nothing on a slow machine.
    let begun = AtomicUsize::new(0);
    let work = async |container, text| {
        bench.text(container, &format!("echo {text} > /tmp/file")).await?;
        let mut said = Vec::new();
        let mut sink = |bytes: &[u8]| {
            if said.is_empty() {
                begun.fetch_add(1, Ordering::Relaxed);
            }
            said.extend_from_slice(bytes);
            ControlFlow::Continue(())
        };
        bench.engine.exec(container, &shell("echo here; sleep 3; cat /tmp/file"), &mut sink).await?;
        Ok::<_, Failure>((String::from_utf8_lossy(&said).into_owned(), begun.load(Ordering::Relaxed)))
    };
    let (one, two) = tokio::join!(work(&one, "one"), work(&two, "two"));
    let ((one, first), (two, second)) = (one?, two?);
    ensure_eq((one, two), ("here\none\n".to_owned(), "here\ntwo\n".to_owned()))?;
    ensure(first.min(second) == 2, "one waited for the other")
}

async fn cancelled_create(bench: &Bench<'_>) -> Outcome {
    let label = format!("packhold.conformance.{}", ulid::Ulid::generate().to_string().to_lowercase());
    let spec = ContainerSpec { labels: BTreeMap::from([(label.clone(), String::new())]), ..bench.spec() };
    for wait in [1, 20, 60] {
        if let Ok(made) = tokio::time::timeout(Duration::from_millis(wait), bench.engine.create(&spec)).await
        {
            bench.engine.remove(&Object::Container(made?)).await?;
        }
    }
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Twice in a row: between two looks one may be about to be made.
        if bench.engine.find(&Query::ContainersLabelled(label.clone())).await?.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if bench.engine.find(&Query::ContainersLabelled(label.clone())).await?.is_empty() {
                return Ok(());
            }
        }
    }
    Err("a container is left".into())
}

async fn signalled(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    ensure_eq(bench.shell(&container, "kill -9 $$").await?.0, exited(137))
}

async fn closed_output(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    ensure_eq(bench.shell(&container, "exec >&- 2>&-; sleep 3; exit 4").await?.0, exited(4))
}

async fn much_output(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let mut count = 0;
    let mut sink = |bytes: &[u8]| {
        count += bytes.len();
        ControlFlow::Continue(())
    };
    let size = 50 << 20;
    let script = shell(&format!("head -c {size} /dev/zero"));
    let status = bench.engine.exec(&container, &script, &mut sink).await?;
    ensure_eq((status, count), (exited(0), size))
}

async fn hostname(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    ensure_eq(bench.text(&container, "cat /proc/sys/kernel/hostname").await?, "bench\n".to_owned())
}

async fn no_network(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let text = bench.text(&container, "cat /proc/net/dev /proc/net/route").await?;
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
    ensure_eq(names, vec!["lo"])?;
    ensure(!text.contains("00000000\t"), "there is a route")
}

async fn status_field(bench: &Bench<'_>, spec: &ContainerSpec, field: &str) -> Result<String, Failure> {
    let container = bench.start_with(spec).await?;
    let text = bench.text(&container, "cat /proc/self/status").await?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(value.ok_or(format!("no {field}"))?.trim().to_owned())
}

async fn capabilities(bench: &Bench<'_>) -> Outcome {
    // linux/capability.h: CHOWN is bit 0, SETGID is bit 6.
    let some = ContainerSpec { capabilities: vec!["CHOWN".to_owned(), "SETGID".to_owned()], ..bench.spec() };
    for field in ["CapEff", "CapPrm", "CapBnd"] {
        ensure_eq(status_field(bench, &bench.spec(), field).await?, "0000000000000000".to_owned())?;
        ensure_eq(status_field(bench, &some, field).await?, "0000000000000041".to_owned())?;
    }
    Ok(())
}

async fn no_new_privileges(bench: &Bench<'_>) -> Outcome {
    ensure_eq(status_field(bench, &bench.spec(), "NoNewPrivs").await?, "1".to_owned())
}

async fn orphans(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let script =
        "i=0; while [ $i -lt 5 ]; do sh -c 'sleep 0 &'; i=$((i+1)); done; sleep 1; cat /proc/[0-9]*/stat";
    let text = bench.text(&container, script).await?;
    // proc_pid_stat(5): the state follows the name. `Z` is a process that ended and that nobody waited for.
    let dead = text.lines().filter(|line| line.contains(") Z ")).count();
    ensure_eq(dead, 0)
}

async fn memory(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let eats = "dd if=/dev/zero of=/dev/null bs=256M count=1";
    let (status, printed) = bench.shell(&container, &format!("{eats}; exit 9")).await?;
    let said = ExecStatus::Exited { code: 9, oom: true, process_limit: false };
    ensure(status == said, format!("{status:?}: {}", String::from_utf8_lossy(&printed)))?;
    ensure_eq(bench.shell(&container, "exit 9").await?.0, exited(9))
}

async fn processes(bench: &Bench<'_>) -> Outcome {
    let container = bench.start().await?;
    let bomb = "i=0; while [ $i -lt 60 ]; do sleep 1 & i=$((i+1)); done; wait; exit 2";
    let (status, printed) = bench.shell(&container, bomb).await?;
    let said = matches!(status, ExecStatus::Exited { code: 1.., oom: false, process_limit: true });
    ensure(said, format!("{status:?}: {}", String::from_utf8_lossy(&printed)))?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure_eq(bench.shell(&container, "exit 9").await?.0, exited(9))
}

/// Makes an image whose `/sbin/init` is this script.
async fn with_init(bench: &Bench<'_>, script: &str) -> Result<ContainerSpec, Failure> {
    let container = bench.start().await?;
    let install = format!("mkdir /sbin; printf '{script}' > /sbin/init; chmod 755 /sbin/init");
    bench.text(&container, &install).await?;
    let spec = CommitSpec { tag: bench.tag(), labels: BTreeMap::new(), comment: String::new() };
    let image = bench.engine.commit(&container, &spec).await?.id;
    Ok(ContainerSpec { root: image.into(), init: true, ..bench.spec() })
}

async fn own_init(bench: &Bench<'_>) -> Outcome {
    let script = r#"#!/bin/sh\necho $$ $container > /run/first\nwhile :; do sleep 1; done\n"#;
    let container = bench.start_with(&with_init(bench, script).await?).await?;
    let wait = "while ! [ -s /run/first ]; do sleep 0.1; done; cat /run/first";
    ensure_eq(bench.text(&container, wait).await?, "1 docker\n".to_owned())?;
    let mounts = bench.text(&container, "cat /proc/mounts").await?;
    for (folder, executes) in [("/run", false), ("/run/lock", false), ("/tmp", true)] {
        let mount = mounts.lines().find(|line| line.split(' ').nth(1) == Some(folder));
        let mount = mount.ok_or(format!("{folder} is not a mount"))?;
        ensure(mount.split(' ').nth(2) == Some("tmpfs"), mount)?;
        ensure(mount.contains("noexec") != executes, mount)?;
    }
    ensure_eq(
        bench.text(&container, "stat -c %a /run /run/lock /tmp").await?,
        "755\n1777\n1777\n".to_owned(),
    )?;
    let groups = bench.text(&container, "cut -d: -f3 /proc/1/cgroup | sort -u").await?;
    ensure_eq(groups, "/\n".to_owned())?;
    ensure_eq(bench.text(&container, "ls /sys/class/net").await?, "lo\n".to_owned())?;
    bench.engine.put(&container, "/root", stream(tree()?)).await?;
    read(bench.engine.get(&container, "/root").await?).await?;
    Ok(())
}

async fn no_init(bench: &Bench<'_>) -> Outcome {
    let label = format!("packhold.conformance.{}", ulid::Ulid::generate().to_string().to_lowercase());
    let labels = BTreeMap::from([(label.clone(), String::new())]);
    let spec = ContainerSpec { init: true, labels, ..bench.spec() };
    match bench.start_with(&spec).await.map_err(|error| error.downcast::<EngineError>()) {
        Err(Ok(error)) if matches!(*error, EngineError::Refused { .. }) => {
            ensure(error.to_string().contains("/sbin/init"), error.to_string())?;
        }
        other => return Err(format!("{other:?}").into()),
    }
    ensure_eq(bench.engine.find(&Query::ContainersLabelled(label)).await?, vec![])?;
    let container = bench.start_with(&with_init(bench, r"#!/bin/sh\nexit 0\n").await?).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure_eq(bench.shell(&container, "exit 0").await?.0, ExecStatus::ContainerGone { oom: false })
}
