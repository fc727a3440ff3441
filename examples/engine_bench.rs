//! How quick engines are, side by side in one run. Needs root; what is not there is left out.
//!
//! `cargo run --release --example engine_bench -- PACKHOLD BUSYBOX_IMAGE.tar [ROUNDS]`, where PACKHOLD is the program
//! built beside this one, and the image a `docker save` archive.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use packhold::engine::docker::Docker;
use packhold::engine::embedded::{Embedded, Settings};
use packhold::engine::{
    ByteStream, Command, ContainerSpec, Engine, ImageId, ImageSource, Limits, Network, Object,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn spec(image: ImageId) -> ContainerSpec {
    ContainerSpec {
        root: image.into(),
        name_hint: "bench".to_owned(),
        labels: BTreeMap::from([("packhold.bench".to_owned(), String::new())]),
        network: Network::None,
        capabilities: Vec::new(),
        limits: Limits { memory: 1 << 30, processes: 100, cpus: None },
        hostname: "bench".to_owned(),
        init: false,
    }
}

fn command(argv: &[&str]) -> Command {
    Command {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]),
        user: "0:0".to_owned(),
        dir: "/".to_owned(),
    }
}

/// The middle one of the times that `work` takes.
async fn median<F: AsyncFnMut() -> Outcome>(rounds: usize, mut work: F) -> Outcome<Duration> {
    let mut times = Vec::new();
    for _ in 0..rounds.max(1) {
        let start = Instant::now();
        work().await?;
        times.push(start.elapsed());
    }
    Ok(middle(times))
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

async fn measure(name: &str, engine: &dyn Engine, archive: &Path, rounds: usize) -> Outcome {
    let file = tokio::fs::File::open(archive).await?;
    let archive: ByteStream = Box::pin(file);
    let image = engine.load(ImageSource::Archive(archive), "packhold-bench:1").await?.id;
    let mut ignore = |_: &[u8]| ControlFlow::Continue(());
    let (mut creates, mut execs, mut removes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let start = Instant::now();
        let container = engine.create(&spec(image)).await?;
        creates.push(start.elapsed());
        let start = Instant::now();
        engine.exec(&container, &command(&["true"]), &mut ignore).await?;
        execs.push(start.elapsed());
        let start = Instant::now();
        engine.remove(&Object::Container(container)).await?;
        removes.push(start.elapsed());
    }
    for (what, times) in [("create", creates), ("run true", execs), ("remove", removes)] {
        println!("{name}: {what}: {}", milliseconds(middle(times)));
    }
    engine.remove(&Object::ImageTag("packhold-bench:1".to_owned())).await?;
    Ok(())
}

/// A runtime's `run` of a bundle made of the same file system.
async fn measure_runtime(name: &str, bundle: &Path, rounds: usize) -> Outcome {
    let mut number = 0;
    let run = median(rounds, async || {
        number += 1;
        let mut process = Process::new(name);
        process.arg("run").arg("--bundle").arg(bundle).arg(format!("packhold-bench-{number}"));
        match process.stdin(Stdio::null()).status()?.success() {
            true => Ok(()),
            false => Err(format!("{name} does not run the bundle").into()),
        }
    });
    println!("{name} run: {}", milliseconds(run.await?));
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    let words: Vec<String> = std::env::args().collect();
    let [_, program, archive, rest @ ..] = words.as_slice() else {
        return Err("usage: engine_bench PACKHOLD IMAGE.tar [ROUNDS] [BUNDLE]".into());
    };
    let rounds = rest.first().map_or(Ok(30), |rounds| rounds.parse())?;
    let place = tempfile::tempdir()?;
    let settings = Settings {
        folder: place.path().to_owned(),
        helper: program.into(),
        upper: None,
        archive: None,
        registries: Default::default(),
    };
    let embedded = Embedded::open(&settings)?;
    measure("embedded", &embedded, Path::new(archive), rounds).await?;
    if let Ok(docker) = Docker::connect(None).await {
        measure("docker", &docker, Path::new(archive), rounds.min(10)).await?;
    }
    if let Some(bundle) = rest.get(1) {
        for runtime in ["crun", "runc"] {
            if let Err(error) = measure_runtime(runtime, Path::new(bundle), rounds).await {
                println!("{runtime}: left out: {error}");
            }
        }
    }
    Ok(())
}
