//! Writes an archive of many runs for benchmarks, by the specification of the format alone: `many_runs ARCHIVE COUNT`.
//!
//! Each run has four files of its own and forty that all share, as builders' files are. Prints the path of a package of a
//! run in the middle, and that run's id.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark that cannot go on ends")]

use std::fs;
use std::path::{Path, PathBuf};

use packhold::model::Digest;
use serde_json::{Value, json};

const RUN: &str = "application/vnd.packhold.run.v1+json";
const PAGE: usize = 256;

struct Blobs(PathBuf);

impl Blobs {
    fn put(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        fs::write(self.0.join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    fn put_json(&self, media_type: &str, value: &Value) -> Value {
        self.put(media_type, format!("{value}\n").as_bytes())
    }
}

fn with(mut descriptor: Value, about: Value) -> Value {
    descriptor["annotations"] = about;
    descriptor
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [path, count] = &words[..] else { panic!("many_runs ARCHIVE COUNT") };
    let (root, count): (&Path, usize) = (Path::new(path), count.parse().unwrap());
    let blobs = Blobs(root.join("blobs/sha256"));
    fs::create_dir_all(&blobs.0).unwrap();
    fs::create_dir_all(root.join("tmp")).unwrap();
    let empty = blobs.put("application/vnd.oci.empty.v1+json", b"{}");
    let builder_files: Vec<Value> = (0..40)
        .map(|number| {
            let file = blobs.put("application/x-sh", format!("# script {number}\n").as_bytes());
            let title = format!("debian-12/script-{number}.sh");
            with(
                file,
                json!({ "org.opencontainers.image.title": title, "com.packhold.file.role": "builder" }),
            )
        })
        .collect();

    let mut entries = Vec::new();
    for number in 0..count {
        let started =
            jiff::Timestamp::from_second(1_600_000_000 + i64::try_from(number).unwrap() * 300).unwrap();
        let id = format!("{}-{number:06x}", started.strftime("%Y%m%d-%H%M%S"));
        let (version, package) =
            (format!("v1.{}.{}", number / 1000, number % 1000), format!("agent-{}", number % 20));
        let key = |what: &str| Digest::of(format!("{what} {number}")).to_string();
        let commit = format!("{number:040x}");
        let record = json!({
            "schema": 1, "id": id, "package": package, "pipeline": "packhold.toml", "pipeline_digest": key("pipeline"),
            "source": {
                "repository": ".", "revision": "HEAD", "commit": commit, "epoch": 1_600_000_000, "tree": key("tree"), "size": 1,
                "version": { "describe": version, "deb": "1", "rpm": "1", "release": false }, "dirty": false
            },
            "tool": { "name": "packhold", "version": "0" }, "engine": { "kind": "none", "version": "0", "arch": "amd64" },
            "started": started, "duration_ms": 60_000, "shared": [], "targets": [], "images": [], "warnings": [],
            "outcome": { "state": "passed" }
        });
        let record = blobs.put_json("application/vnd.packhold.run-record.v1+json", &record);
        let mut layers = vec![with(record, json!({ "org.opencontainers.image.title": "run.json" }))];
        for (name, role) in [("agent.deb", "artifact"), ("agent.rpm", "artifact"), ("build.log", "log")] {
            let file = blobs.put("application/octet-stream", format!("{name} of run {number}").as_bytes());
            if number == count / 2 && name == "agent.deb" {
                println!(
                    "{}",
                    blobs.0.join(file["digest"].as_str().unwrap().trim_start_matches("sha256:")).display()
                );
                println!("{id}");
            }
            layers.push(with(
                file,
                json!({ "org.opencontainers.image.title": name, "com.packhold.file.role": role }),
            ));
        }
        layers.extend(builder_files.iter().cloned());
        let mut about = json!({
            "com.packhold.run.id": id, "com.packhold.run.package": package, "com.packhold.run.commit": commit,
            "com.packhold.run.version": version, "com.packhold.run.started": started.to_string(),
            "com.packhold.run.duration-ms": "60000", "com.packhold.run.outcome": "passed", "com.packhold.run.release": "false",
            "com.packhold.run.targets":
                r#"[{"target":"debian-12/deb","outcome":"passed"},{"target":"rocky-9/rpm","outcome":"passed"}]"#,
            "com.packhold.build-keys": key("build"), "com.packhold.verify-keys": key("verify")
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": RUN,
            "config": empty, "layers": layers, "annotations": about
        });
        about["org.opencontainers.image.ref.name"] = format!("run-{id}").into();
        let mut entry = with(blobs.put_json("application/vnd.oci.image.manifest.v1+json", &manifest), about);
        entry["artifactType"] = RUN.into();
        entries.push(entry);
    }

    let index = |kind: Option<&str>, manifests: &[Value]| {
        let mut index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests
        });
        kind.into_iter().for_each(|kind| index["artifactType"] = kind.into());
        index
    };
    let runs = "application/vnd.packhold.runs.v1+json";
    let id = |entry: &Value| entry["annotations"]["com.packhold.run.id"].clone();
    let paged = (entries.len() / PAGE).saturating_sub(1) * PAGE;
    let mut listed: Vec<Value> = entries[..paged]
        .chunks(PAGE)
        .map(|page| {
            let blob = blobs.put_json("application/vnd.oci.image.index.v1+json", &index(Some(runs), page));
            let (first, last) = (id(&page[0]), id(&page[page.len() - 1]));
            let mut entry =
                with(blob, json!({ "com.packhold.page.first": first, "com.packhold.page.last": last }));
            entry["artifactType"] = runs.into();
            entry
        })
        .collect();
    listed.extend_from_slice(&entries[paged..]);
    let mut index = index(None, &listed);
    index["annotations"] = json!({ "com.packhold.archive.version": "3" });
    fs::write(root.join("index.json"), format!("{index}\n")).unwrap();
    fs::write(root.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}\n").unwrap();
}
