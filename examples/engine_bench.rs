//! How quick engines are, side by side in one run: see `.ci/bench-engines.sh`, which makes a table of it.
//!
//! ```text
//! engine_bench steps PROGRAM IMAGE.tar ROUNDS ENGINE…    start, run, copy, remove
//! engine_bench load  PROGRAM IMAGE.tar ROUNDS ENGINE…    unpack an image
//! engine_bench row   PROGRAM IMAGE.tar COUNT  ENGINE…    one container after the other
//! ```
//!
//! PROGRAM is `packhold`, built beside this one, and the image a `docker save` archive without names. Engines are
//! `docker`, `podman=SOCKET`, `embedded` and `crun=BUNDLE`, for any OCI runtime; `NAME:` in front gives another name.
//! In each round all of them have their turn. Prints a line for each measurement: engine, what was measured, value; times
//! are in milliseconds.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::Instant;

use packhold::engine::docker::Docker;
use packhold::engine::embedded::{Embedded, Settings};
use packhold::engine::{
    ByteStream, Command, ContainerId, ContainerSpec, Engine, ExecStatus, ImageId, ImageSource, Limits,
    Network, Object, Query,
};
use tokio::io::AsyncReadExt;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The size of what is put and got, and the rounds between two times.
const COPIED: usize = 100_000_000;
const COPY_EVERY: usize = 5;

const TAG: &str = "packhold-bench/engines:1";

/// What is measured.
enum Subject {
    Engine(Box<dyn Engine>),
    /// A runtime, and the bundle that it runs.
    Runtime {
        program: String,
        bundle: String,
    },
}

struct Named {
    name: String,
    subject: Subject,
}

impl Named {
    async fn parse(word: &str, program: &str, place: &Path) -> Outcome<Self> {
        let (name, word) = word.split_once(':').map_or((None, word), |(name, word)| (Some(name), word));
        let (kind, rest) = word.split_once('=').unwrap_or((word, ""));
        let subject = match kind {
            "embedded" => {
                let settings = Settings {
                    folder: place.to_owned(),
                    helper: program.into(),
                    upper: None,
                    archive: None,
                    registries: Default::default(),
                };
                Subject::Engine(Box::new(Embedded::open(&settings)?))
            }
            "docker" => Subject::Engine(Box::new(Docker::connect(None).await?)),
            "podman" => Subject::Engine(Box::new(Docker::podman(Some(&format!("unix://{rest}"))).await?)),
            _ => Subject::Runtime { program: kind.to_owned(), bundle: rest.to_owned() },
        };
        Ok(Self { name: name.unwrap_or(kind).to_owned(), subject })
    }

    fn engine(&self) -> Option<&dyn Engine> {
        match &self.subject {
            Subject::Engine(engine) => Some(engine.as_ref()),
            Subject::Runtime { .. } => None,
        }
    }

    fn say(&self, what: &str, value: f64) {
        println!("{}\t{what}\t{value:.3}", self.name);
    }
}

fn spec(image: ImageId) -> ContainerSpec {
    ContainerSpec {
        root: image.into(),
        name_hint: mark(),
        labels: BTreeMap::from([("packhold.bench".to_owned(), String::new())]),
        network: Network::None,
        capabilities: Vec::new(),
        limits: Limits { memory: 1 << 30, processes: 100, cpus: None },
        hostname: "bench".to_owned(),
        init: false,
    }
}

/// In the name of every container of this process.
fn mark() -> String {
    format!("bench-{}", std::process::id())
}

/// Milliseconds that `work` takes, and what it gives.
async fn timed<T>(work: impl Future<Output = T>) -> (f64, T) {
    let start = Instant::now();
    let given = work.await;
    (start.elapsed().as_secs_f64() * 1e3, given)
}

async fn load(engine: &dyn Engine, archive: &Path) -> Outcome<ImageId> {
    let archive: ByteStream = Box::pin(tokio::fs::File::open(archive).await?);
    Ok(engine.load(ImageSource::Archive(archive), TAG).await?.id)
}

async fn run_true(engine: &dyn Engine, container: &ContainerId) -> Outcome {
    let command = Command {
        argv: vec!["true".to_owned()],
        env: BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]),
        user: "0:0".to_owned(),
        dir: "/".to_owned(),
    };
    let mut ignore = |_: &[u8]| ControlFlow::Continue(());
    match engine.exec(container, &command, &mut ignore).await? {
        ExecStatus::Exited { code: 0, .. } => Ok(()),
        other => Err(format!("`true` ended so: {other:?}").into()),
    }
}

/// A tar with one file of bytes that do not compress.
fn file() -> Outcome<Arc<[u8]>> {
    let mut content = vec![0; COPIED];
    fastrand::Rng::with_seed(1).fill(&mut content);
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "file", content.as_slice())?;
    Ok(tar.into_inner()?.into())
}

async fn copy(named: &Named, engine: &dyn Engine, container: &ContainerId, file: &Arc<[u8]>) -> Outcome {
    let (put, done) = timed(engine.put(container, "/tmp", Box::pin(Cursor::new(Arc::clone(file))))).await;
    done?;
    named.say("put", put);
    let (get, read) = timed(async {
        let mut stream = engine.get(container, "/tmp/file").await?;
        let (mut piece, mut read) = (vec![0; 1 << 18], 0);
        loop {
            match stream.read(&mut piece).await? {
                0 => return Outcome::Ok(read),
                length => read += length,
            }
        }
    })
    .await;
    if read? < COPIED {
        return Err("what was got is shorter than what was put".into());
    }
    named.say("get", get);
    Ok(())
}

async fn steps(all: &[Named], archive: &Path, rounds: usize) -> Outcome {
    let file = file()?;
    let mut images = Vec::new();
    for named in all {
        images.push(match named.engine() {
            Some(engine) => Some(load(engine, archive).await?),
            None => None,
        });
    }
    // The first round is not counted: it makes what is made once.
    for round in 0..=rounds {
        for (named, image) in all.iter().zip(&images) {
            let say = |what, value| {
                if round > 0 {
                    named.say(what, value)
                }
            };
            let (Some(engine), Some(image)) = (named.engine(), image) else {
                say("start to exit", run_bundle(&named.subject, round)?);
                continue;
            };
            let (created, container) = timed(engine.create(&spec(*image))).await;
            let container = container?;
            let (ran, done) = timed(run_true(engine, &container)).await;
            done?;
            say("start to exit", created + ran);
            say("of it: start", created);
            let (ran, done) = timed(run_true(engine, &container)).await;
            done?;
            say("run in a running container", ran);
            if round % COPY_EVERY == 1 {
                copy(named, engine, &container, &file).await?;
            }
            let (removed, done) = timed(engine.remove(&Object::Container(container))).await;
            done?;
            say("remove", removed);
        }
    }
    for engine in all.iter().filter_map(Named::engine) {
        engine.remove(&Object::ImageTag(TAG.to_owned())).await?;
    }
    Ok(())
}

/// Milliseconds that a runtime takes for `run`.
fn run_bundle(subject: &Subject, round: usize) -> Outcome<f64> {
    let Subject::Runtime { program, bundle } = subject else { return Err("not a runtime".into()) };
    let mut process = Process::new(program);
    process.args(["run", "--bundle", bundle, &format!("packhold-{}-{round}", mark())]);
    process.stdin(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    match process.status()?.success() {
        true => Ok(start.elapsed().as_secs_f64() * 1e3),
        false => Err(format!("{program} does not run {bundle}").into()),
    }
}

async fn loads(all: &[Named], archive: &Path, rounds: usize) -> Outcome {
    for _ in 0..rounds {
        for named in all {
            let Some(engine) = named.engine() else { continue };
            let (took, image) = timed(load(engine, archive)).await;
            let image = image?;
            named.say("unpack", took);
            engine.remove(&Object::ImageTag(TAG.to_owned())).await?;
            if !engine.find(&Query::ImageWithId(image)).await?.is_empty() {
                return Err(format!(
                    "{} has the image by another name: the next time would be none",
                    named.name
                )
                .into());
            }
        }
    }
    Ok(())
}

/// What this process and its containers hold: KiB of memory, open files, mounts, control groups.
fn held() -> Outcome<[(&'static str, f64); 4]> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_ascii_whitespace().next());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?.lines().count();
    let mut groups = 0;
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten() {
        let found = std::fs::read_dir(hierarchy?.path().join("packhold"));
        groups += found.into_iter().flatten().flatten().filter(is_own).count();
    }
    Ok([
        ("memory", memory.unwrap_or("0").parse()?),
        ("open files", std::fs::read_dir("/proc/self/fd")?.count() as f64),
        ("mounts", mounts as f64),
        ("control groups", groups as f64),
    ])
}

fn is_own(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().contains(&mark())
}

async fn row(named: &Named, archive: &Path, count: usize) -> Outcome {
    let Some(engine) = named.engine() else { return Ok(()) };
    let image = load(engine, archive).await?;
    let mut times = Vec::new();
    for number in 0..=count {
        let (took, done) = timed(async {
            let container = engine.create(&spec(image)).await?;
            run_true(engine, &container).await?;
            Outcome::Ok(engine.remove(&Object::Container(container)).await?)
        })
        .await;
        done?;
        match number {
            // What is made once is there now.
            0 => held()?.into_iter().for_each(|(what, value)| named.say(&format!("{what} before"), value)),
            _ => times.push(took),
        }
    }
    for (what, value) in held()? {
        named.say(&format!("{what} after"), value);
    }
    let part = count.min(100);
    named.say("first hundred", times[..part].iter().sum::<f64>());
    named.say("last hundred", times[count - part..].iter().sum::<f64>());
    Ok(engine.remove(&Object::ImageTag(TAG.to_owned())).await?)
}

#[tokio::main]
async fn main() -> Outcome {
    let words: Vec<String> = std::env::args().collect();
    let [_, what, program, archive, count, engines @ ..] = words.as_slice() else {
        return Err("usage: engine_bench steps|load|row PROGRAM IMAGE.tar COUNT ENGINE…".into());
    };
    let (archive, count) = (Path::new(archive), count.parse()?);
    // A folder of this folder, so that the image lies on a disk.
    let place = tempfile::tempdir_in(".")?;
    let place = place.path().canonicalize()?;
    let mut all = Vec::new();
    for word in engines {
        all.push(Named::parse(word, program, &place).await?);
    }
    match what.as_str() {
        "steps" => steps(&all, archive, count).await,
        "load" => loads(&all, archive, count).await,
        "row" => {
            for named in &all {
                row(named, archive, count).await?;
            }
            Ok(())
        }
        _ => Err("steps, load or row".into()),
    }
}
