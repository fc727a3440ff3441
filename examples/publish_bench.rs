//! What the benchmark of publishing needs:
//!
//! ```text
//! publish_bench packages deb|rpm COUNT FOLDER    writes so many small packages, and ten more to FOLDER/more
//! publish_bench publish PLACE KEY FILE…          adds them to the channel `stable` of the repository PLACE, and says the seconds
//! ```
//!
//! What is more falls in between the others, not at an end. `FILE` may be a folder: all that lies in it.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on ends")]

#[path = "../tests/common/deb.rs"]
mod deb;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use deb::{ar_of, tar_of};
use packhold::publish::{Addition, Channel, Folder, Options, Publication, Repository};
use packhold::sign::{KeySource, Keys};

const TIME: u32 = 1_700_000_000;
const SECTIONS: [&str; 4] = ["admin", "net", "utils", "libs"];

/// What a package is called; names of consecutive numbers are far apart.
fn name(number: usize) -> String {
    format!("agent-{:05}", number * 7919 % 99_991)
}

fn paths(name: &str) -> Vec<String> {
    ["usr/bin", "etc", "usr/lib", "usr/share/doc", "usr/share/man/man1"]
        .iter()
        .flat_map(|folder| [format!("{folder}/{name}/main"), format!("{folder}/{name}/more")])
        .collect()
}

fn packed(files: &[(String, String)]) -> Vec<u8> {
    let tar = tar_of(files);
    let mut packed = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::fast());
    packed.write_all(&tar).unwrap();
    packed.finish().unwrap()
}

fn write_deb(number: usize, folder: &Path) {
    let name = name(number);
    let section = SECTIONS[number % SECTIONS.len()];
    let control = format!(
        "Package: {name}\nVersion: 1.{number}-1\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.org>\nInstalled-Size: {}\n\
         Depends: libc6 (>= 2.36), adduser, libssl3 (>= 3.0.0), init-system-helpers (>= 1.51)\nRecommends: ca-certificates\nSection: {section}\n\
         Priority: optional\nHomepage: https://example.org/{name}\nDescription: watches a machine, number {number}\n It tells others how a machine is: \
         how much of its memory,\n its processors and its disks is in use.\n .\n This is one of many.\n",
        40 + number % 1000
    );
    let data: Vec<(String, String)> =
        paths(&name).into_iter().map(|path| (path, format!("{name} {number}\n"))).collect();
    let (control, data) = (packed(&[("./control".to_owned(), control)]), packed(&data));
    let ar = ar_of(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &data)]);
    fs::write(folder.join(format!("{name}_1.{number}-1_amd64.deb")), ar).unwrap();
}

fn write_rpm(number: usize, folder: &Path) {
    let name = name(number);
    let config = rpm::BuildConfig::v4().compression(rpm::CompressionType::None).source_date(TIME);
    let mut builder =
        rpm::PackageBuilder::new(&name, &format!("1.{number}"), "MIT", "x86_64", "watches a machine");
    builder
        .using_config(config)
        .url(format!("https://example.org/{name}"))
        .description(format!(
            "It tells others how a machine is: how much of its memory is in use.\nIt is number {number}."
        ))
        .requires(rpm::Dependency::greater_eq("openssl-libs", "3.0"))
        .requires(rpm::Dependency::any("shadow-utils"))
        .add_changelog_entry("Nobody <nobody@example.org> - 1", "- the first one", TIME);
    for path in paths(&name) {
        let options = rpm::FileOptions::new(format!("/{path}"));
        builder.with_file_contents(format!("{name} {number}\n"), options).unwrap();
    }
    builder.build().unwrap().write_file(folder.join(format!("{name}-1.{number}-1.x86_64.rpm"))).unwrap();
}

fn packages(kind: &str, count: usize, folder: &Path) {
    let more = folder.join("more");
    fs::create_dir_all(&more).unwrap();
    for number in 0..count + 10 {
        let folder = if number < count { folder } else { &more };
        match kind {
            "deb" => write_deb(number, folder),
            _ => write_rpm(number, folder),
        }
    }
}

/// The packages that lie at `path`, or are it.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut all: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.is_file());
    all.sort();
    all
}

async fn publish(place: &Path, key: &Path, paths: &[String]) {
    let start = Instant::now();
    let keys = Keys::open(&[KeySource::File(key.to_owned())], None, Default::default()).unwrap();
    let addition = |path: PathBuf| Addition {
        distro: if path.extension().is_some_and(|e| e == "rpm") { "rocky-9" } else { "bookworm" }.to_owned(),
        component: "main".to_owned(),
        architectures: vec!["x86_64".to_owned()],
        path,
    };
    let packages = paths.iter().flat_map(|path| files(Path::new(path))).map(addition).collect();
    let publication =
        Publication { id: "run".to_owned(), channel: Channel::new("stable").unwrap(), packages };
    let options = Options {
        name: "Example".to_owned(),
        architectures: vec!["amd64".to_owned()],
        guard: Some(Default::default()),
        ..Options::default()
    };
    let repository = Repository::open(Folder::open(place).unwrap(), options).unwrap();
    let published = repository.publish(&publication, Some(&keys)).await.unwrap();
    assert!(!published.added.is_empty(), "nothing was added");
    println!("{:.4}", start.elapsed().as_secs_f64());
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["packages", kind @ ("deb" | "rpm"), count, folder] => {
            packages(kind, count.parse().unwrap(), Path::new(folder));
        }
        ["publish", place, key, ref paths @ ..] if !paths.is_empty() => {
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            publish(Path::new(place), Path::new(key), &paths).await;
        }
        _ => panic!("publish_bench packages deb|rpm COUNT FOLDER, or publish_bench publish PLACE KEY FILE…"),
    }
}
