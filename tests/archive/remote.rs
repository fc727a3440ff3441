//! Runs that travel: to another folder, a registry with authentication and TLS, and S3-compatible storage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use packhold::archive::Archive;
use packhold::model::RunId;

use super::add_run;
use super::server::{Server, s3, s3_variables};

/// An archive with some runs, and a command line that uses it.
struct Place {
    dir: tempfile::TempDir,
    runs: Vec<RunId>,
    env: Vec<(&'static str, String)>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open_or_create(dir.path().join("archive")).unwrap();
        let runs = (0..3).map(|number| add_run(&archive, number)).collect();
        Self { dir, runs, env: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// What `packhold archive` says of the archive `name`, and its exit status.
    fn packhold(&self, name: &str, words: &[&str]) -> (String, Option<i32>) {
        let output = Command::new(env!("CARGO_BIN_EXE_packhold"))
            .arg("archive")
            .args(words)
            .env("PACKHOLD_ARCHIVE", self.path(name))
            .env("DOCKER_CONFIG", self.path("docker"))
            .env("HOME", self.dir.path())
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("REGISTRY_AUTH_FILE")
            .envs(self.env.iter().map(|(key, value)| (*key, value.as_str())))
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&said).into_owned(), output.status.code())
    }

    fn must(&self, name: &str, words: &[&str]) -> String {
        let (said, status) = self.packhold(name, words);
        assert_eq!(status, Some(0), "{words:?}: {said}");
        said
    }

    /// How many files travelled, by the JSON that the command prints.
    fn files(said: &str) -> Vec<u64> {
        let number = |line: &str| {
            let told: serde_json::Value = serde_json::from_str(line).unwrap();
            told["files"].as_u64().unwrap()
        };
        said.lines().map(number).collect()
    }

    fn is_whole(&self, name: &str, runs: &[RunId]) {
        let archive = Archive::open(self.path(name)).unwrap();
        let listed: Vec<RunId> = archive.runs().unwrap().into_iter().rev().map(|run| run.id).collect();
        assert_eq!(listed, runs);
        assert!(packhold::archive::verify(self.path(name), |_| ()).unwrap().is_sound());
        for id in runs {
            let [here, there] = ["archive", name]
                .map(|name| Archive::open(self.path(name)).unwrap().run(id.as_str()).unwrap());
            assert_eq!(here, there);
        }
    }

    /// Pushes, pushes again, pulls into an empty archive, and pulls again.
    fn there_and_back(&self, place: &str, more: &[&str]) {
        let with = |words: &[&str]| -> Vec<String> {
            [words, more].concat().iter().map(|w| (*w).to_owned()).collect()
        };
        let run = |archive: &str, words: &[&str]| {
            let words = with(words);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.must(archive, &words)
        };
        let first = self.runs[0].as_str();
        let pushed = Self::files(&run("archive", &["--format", "json", "push", first, "--to", place]));
        assert!(pushed[0] > 5, "{pushed:?}");
        let pushed = Self::files(&run("archive", &["--format", "json", "push", "--all", "--to", place]));
        assert_eq!((pushed[0], pushed.len()), (0, 3), "what is there does not travel again");
        assert!(pushed[1] > 0 && pushed[1] < 12, "{pushed:?}");

        run("back", &["pull", "latest", "--from", place]);
        self.is_whole("back", &self.runs[2..]);
        run("back", &["pull", "--all", "--from", place]);
        self.is_whole("back", &self.runs);
        let again = Self::files(&run("back", &["--format", "json", "pull", "--all", "--from", place]));
        assert_eq!(again, [0, 0, 0]);

        let (said, status) = self.packhold(
            "back",
            &["pull", "2001", "--from", place].iter().chain(more).copied().collect::<Vec<_>>(),
        );
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("has no run `2001`") && said.contains("Hint: "), "{said}");
    }
}

#[test]
fn runs_travel_to_another_folder_and_back() {
    let place = Place::new();
    let copy = place.text("copy");
    place.must("archive", &["copy", "latest", "--to", &copy]);
    place.is_whole("copy", &place.runs[2..]);
    place.must("archive", &["push", "--all", "--to", &copy]);
    place.is_whole("copy", &place.runs);
    place.must("back", &["pull", "--all", "--from", &copy]);
    place.is_whole("back", &place.runs);
    let (said, status) = place.packhold("back", &["pull", "--all", "--from", &place.text("none")]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("is not an archive"), "{said}");
}

fn openssl(dir: &Path, words: &str) {
    let status =
        Command::new("openssl").args(words.split(' ')).current_dir(dir).stderr(Stdio::null()).status();
    assert!(status.unwrap().success(), "openssl {words}");
}

#[test]
fn runs_travel_to_a_registry_that_asks_for_a_password_and_speaks_tls() {
    let place = Place::new();
    let dir = place.dir.path();
    openssl(
        dir,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=ca",
    );
    openssl(
        dir,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out request.pem -subj /CN=localhost",
    );
    fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        dir,
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem",
    );
    // The password is `correct horse`.
    fs::write(dir.join("users"), "ci:$2b$04$vNG/b2lJCjy2FPxc5HNOoOAwR4Y2g4HOAUYFk9GN9fSxb3poJzN7a\n")
        .unwrap();
    let registry = Server::start(|address| {
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {0}/registry}}}}\n\
             auth: {{htpasswd: {{realm: test, path: {0}/users}}}}\n\
             http: {{addr: \"{address}\", tls: {{certificate: {0}/cert.pem, key: {0}/key.pem}}}}\n",
            dir.display()
        );
        fs::write(dir.join("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(dir.join("config.yml")).stderr(Stdio::null());
        command
    });
    let to = format!("oci://{}/team/hostpulse", registry.address);
    let authority = place.text("ca.pem");
    let with_authority = ["--ca-file", authority.as_str()];
    let push = ["push", "latest", "--to", to.as_str()];

    let (said, status) = place.packhold("archive", &push);
    assert_eq!(status, Some(3), "an unknown authority is not trusted: {said}");
    let (said, status) = place.packhold("archive", &[&push[..], &with_authority].concat());
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("refuses access") && said.contains("docker login"), "{said}");

    fs::create_dir(dir.join("docker")).unwrap();
    let login = |word: &str| {
        let pair = Command::new("base64").arg("-w0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut pair = pair.unwrap();
        std::io::Write::write_all(&mut pair.stdin.take().unwrap(), format!("ci:{word}").as_bytes()).unwrap();
        let pair = String::from_utf8(pair.wait_with_output().unwrap().stdout).unwrap();
        let config = serde_json::json!({ "auths": { &registry.address: { "auth": pair } } });
        fs::write(dir.join("docker/config.json"), config.to_string()).unwrap();
    };
    login("wrong");
    let (said, status) = place.packhold("archive", &[&push[..], &with_authority].concat());
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("refuses access") && !said.contains("wrong"), "{said}");
    login("correct horse");
    place.there_and_back(&to, &with_authority);
}

#[test]
fn what_a_registry_has_lost_is_told_and_not_listed() {
    let place = Place::new();
    let dir = place.dir.path();
    let registry = Server::start(|address| {
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}/registry}}}}\nhttp: {{addr: \"{address}\"}}\n",
            dir.display()
        );
        fs::write(dir.join("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(dir.join("config.yml")).stderr(Stdio::null());
        command
    });
    let to = format!("oci+http://{}/hostpulse", registry.address);
    place.must("archive", &["push", "latest", "--to", &to]);
    let archive = Archive::open(place.path("archive")).unwrap();
    let artifact = archive.run("latest").unwrap().record.targets[0].artifacts[0].digest.hex();
    let stored = dir
        .join("registry/docker/registry/v2/blobs/sha256")
        .join(&artifact[..2])
        .join(&artifact)
        .join("data");
    let sound = fs::read(&stored).unwrap();
    let mut flipped = sound.clone();
    flipped[100] ^= 1;
    fs::write(&stored, flipped).unwrap();
    let (said, status) = place.packhold("back", &["pull", "latest", "--from", &to]);
    assert_eq!(status, Some(3), "{said}");
    assert!(Archive::open(place.path("back")).unwrap().runs().unwrap().is_empty());
    fs::write(&stored, sound).unwrap();
    place.must("back", &["pull", "latest", "--from", &to]);
    place.is_whole("back", &place.runs[2..]);
}

#[test]
fn runs_travel_to_s3_compatible_storage() {
    let mut place = Place::new();
    fs::create_dir_all(place.path("s3/runs")).unwrap();
    let server = s3(&place.path("s3"));
    place.env = s3_variables(&server.address);
    place.env[3].1 = "other".to_owned();
    let (said, status) = place.packhold("archive", &["push", "latest", "--to", "s3://runs/hostpulse"]);
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("Error: "), "{said}");
    place.env[3].1 = "word".to_owned();
    place.there_and_back("s3://runs/hostpulse", &[]);
}
