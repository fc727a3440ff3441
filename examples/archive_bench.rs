//! The archive's part of the benchmarks: stores and gives back images without an engine.
//!
//! `archive_bench ingest ARCHIVE` reads the output of `docker save` from standard input and prints the image's id;
//! `archive_bench export ARCHIVE ID` writes what `docker load` reads to standard output.
//! `archive_bench restore ARCHIVE ID NAME` loads the image into Docker as `packhold archive restore` does.
//! `archive_bench files ARCHIVE RUN DIR` writes everything that belongs to a run, its record too, below `DIR`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on ends")]

use std::fs::{self, File};
use std::io::stdin;
use std::os::fd::AsFd;
use std::path::Path;

use packhold::archive::Archive;
use packhold::engine::docker::Docker;
use packhold::model::{Digest, ImageRecord, ImageRole, Origin};
use packhold::stage::load_image;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["ingest", path] => {
            let archive = Archive::open_or_create(path).unwrap();
            let image = archive.import_docker_archive(stdin().lock()).unwrap();
            let record = ImageRecord {
                id: image.id,
                role: ImageRole::Builder,
                builder: "bench".to_owned(),
                platform: None,
                key: image.id,
                origin: Origin::Tar { path: "standard input".to_owned(), digest: Digest::of("bench") },
                obtained: "tar".to_owned(),
                layers: image.layers.iter().map(|layer| layer.digest).collect(),
                packages: Vec::new(),
            };
            archive.add_image(&record).unwrap();
            println!("{}", image.id);
        }
        ["export", path, id] => {
            let archive = Archive::open(path).unwrap();
            // Rust's own standard output looks for ends of lines.
            let out = File::from(std::io::stdout().as_fd().try_clone_to_owned().unwrap());
            archive.export_docker_archive(&id.parse().unwrap(), None, out).unwrap();
        }
        ["restore", path, id, name] => {
            let archive = Archive::open(path).unwrap();
            let id = id.parse().unwrap();
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let loaded = runtime.block_on(async {
                let docker = Docker::connect(None).await.unwrap();
                load_image(&docker, &archive, id, name).await.unwrap()
            });
            println!("{}", loaded.id);
        }
        ["files", path, run, dir] => {
            let archive = Archive::open(path).unwrap();
            let run = archive.run(run).unwrap();
            for file in &run.files {
                let path = Path::new(dir).join(file.path());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                archive.copy_blob(&file.digest, &mut File::create(path).unwrap()).unwrap();
            }
            fs::write(Path::new(dir).join("run.json"), serde_json::to_vec(&run.record).unwrap()).unwrap();
        }
        _ => panic!(
            "archive_bench ingest ARCHIVE | export ARCHIVE ID | restore ARCHIVE ID NAME | files ARCHIVE RUN DIR"
        ),
    }
}
