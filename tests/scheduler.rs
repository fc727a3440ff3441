//! Whole runs on the engine in memory: what is done, what is reused, and what is left when the engine fails.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

#[path = "scheduler/at_hand.rs"]
mod at_hand;
#[path = "scheduler/first_pipeline.rs"]
mod first_pipeline;
#[path = "scheduler/spec_file.rs"]
mod spec_file;

use std::path::Path;
use std::process::Command as Process;
use std::sync::Arc;

use packhold::archive::{self, Archive};
use packhold::config::{Builders, Pipeline, PipelineFile};
use packhold::engine::fake::{Fake, Method, Script};
use packhold::engine::{Command, Emulator, EngineError, ExecStatus};
use packhold::model::{Architecture, Event, FailReason, ImageRole, InfraReason, Outcome, RunRecord, Stage};
use packhold::run::{Folders, Request, RunError, execute};
use packhold::stage::BaseChoice;
use packhold::support::Hint;
use tokio_util::sync::CancellationToken;

const PIPELINE: &str = "[package]\nname = \"demo\"\n[target.\"debian-12/deb\"]\n";
const DEB: &str = "demo_1.0-1_amd64.deb";

/// A repository, folders and an engine that builds one package.
struct World {
    root: tempfile::TempDir,
    engine: Fake,
}

fn runs(
    script: &'static str,
    first_argument: Option<&'static str>,
) -> impl Fn(&Command) -> bool + Send + 'static {
    move |command| {
        command.argv.iter().any(|word| word.ends_with(script))
            && first_argument.is_none_or(|wanted| command.argv.iter().any(|word| word == wanted))
    }
}

impl World {
    fn new() -> Self {
        // In memory, where it is there: the archive waits for the disk at every blob.
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let world = Self { root, engine: Fake::new() };
        world.write("repo/debian/control", "Source: demo\nBuild-Depends: zlib1g-dev\n");
        world.write("repo/debian/changelog", "demo (0.1-1) unstable; urgency=low\n");
        world.git(&["init", "-q", "-b", "main"]);
        world.commit();
        world.git(&["tag", "v1.0"]);

        let engine = &world.engine;
        engine.in_registry(
            "docker.io/library/debian:bookworm",
            &[("/build/.keep", b""), ("/packages/new/.keep", b"")],
        );
        for script in ["prepare.sh", "deps.sh", "lint.sh"] {
            engine.on_exec(runs(script, None), Script::exits(0));
        }
        let lists = Script::exits(0).writing("/packhold/lists/Packages", *b"list");
        engine.on_exec(runs("lists.sh", None), lists);
        engine.on_exec(|command| command.argv[0] == "rm", Script::exits(0));
        engine.on_exec(runs("tidy.sh", None), Script::exits(0));
        engine.on_exec(runs("packages.sh", None), Script::exits(0).printing("libc6\t2.36\tamd64\n"));
        let built =
            Script::exits(0).printing("building\n").writing(&format!("/build/out/{DEB}"), *b"package");
        engine.on_exec(runs("build.sh", None), built);
        engine.on_exec(runs("verify.sh", None), Script::exits(0));
        engine.on_exec(runs("verify.sh", Some("info")), Script::exits(0).printing("demo\t1.0-1\tamd64\n"));
        let nothing = "file\td\t755\troot:root\t\t/etc\0";
        engine.on_exec(runs("verify.sh", Some("state")), Script::exits(0).printing(nothing));
        engine.on_exec(runs("verify.sh", Some("installed")), Script::exits(0).printing("demo\t1.0-1\n"));
        let sum = format!("{}  /packages/new/{DEB}\n", packhold::model::Digest::of(b"package").hex());
        engine.on_exec(|command| command.argv[0] == "sha256sum", Script::exits(0).printing(sum));
        world
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Process::new("git");
        git.current_dir(self.path("repo")).args(["-c", "user.name=T", "-c", "user.email=t@packhold.invalid"]);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        assert!(git.args(arguments).status().unwrap().success());
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "change"]);
    }

    fn archive(&self) -> Archive {
        Archive::open_or_create(self.path("archive")).unwrap()
    }

    fn request(&self, pipeline: &str) -> Request {
        let file =
            PipelineFile { path: "p.toml".into(), folder: self.path("repo"), text: pipeline.to_owned() };
        Request {
            pipeline: Pipeline::parse(&file, &Builders::shipped()).unwrap(),
            file,
            lock: None,
            builders: Builders::shipped(),
            source: None,
            revision: "HEAD".to_owned(),
            engine: Arc::new(self.engine.clone()),
            archive: self.archive(),
            base: BaseChoice::default(),
            jobs: 2,
            rebuild: false,
            init: true,
            reproducible: None,
            receipt_key: None,
            folders: Folders { cache: self.path("cache"), state: self.path("state") },
        }
    }

    async fn run(&self, pipeline: &str) -> (Result<RunRecord, RunError>, Vec<Event>) {
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
        let result = execute(self.request(pipeline), send, CancellationToken::new()).await;
        let mut events = Vec::new();
        while let Ok(event) = receive.try_recv() {
            events.push(event);
        }
        (result, events)
    }

    /// Nothing is left, and the archive is whole.
    fn is_clean(&self) {
        assert_eq!(self.engine.live(), 0, "containers are left");
        let work = self.path("cache/work");
        let left: Vec<_> =
            std::fs::read_dir(&work).into_iter().flatten().flatten().map(|e| e.path()).collect();
        assert!(left.is_empty(), "temporary folders are left: {left:?}");
        let report = archive::verify(self.path("archive"), |_| {}).unwrap();
        assert!(report.is_sound(), "{:?}", report.problems);
    }
}

fn reused(record: &RunRecord, stage: Stage) -> bool {
    record.targets[0].stages.iter().find(|s| s.stage == stage).unwrap().reused.is_some()
}

#[tokio::test]
async fn a_run_builds_verifies_and_archives() {
    let world = World::new();
    let (result, events) = world.run(PIPELINE).await;
    let record = result.unwrap();
    assert_eq!(record.outcome, Outcome::Passed, "{:#?}", record.targets);
    assert_eq!(record.targets[0].artifacts[0].name, DEB);
    assert_eq!(world.archive().run("latest").unwrap().record, record);
    assert!(matches!(events.last(), Some(Event::RunFinished { .. })));
    world.is_clean();
}

#[tokio::test]
async fn a_second_run_of_the_same_commit_runs_no_container() {
    let world = World::new();
    world.run(PIPELINE).await.0.unwrap();
    let before = world.engine.calls(Method::Create);
    let record = world.run(PIPELINE).await.0.unwrap();
    assert_eq!(record.outcome, Outcome::Passed);
    assert_eq!(world.engine.calls(Method::Create), before);
    assert!([Stage::Deps, Stage::Build, Stage::Verify].into_iter().all(|stage| reused(&record, stage)));
    world.is_clean();
}

#[tokio::test]
async fn a_commit_with_the_same_dependencies_reuses_the_deps_image_and_builds_anew() {
    let world = World::new();
    world.run(PIPELINE).await.0.unwrap();
    world.write("repo/main.c", "int main;\n");
    world.commit();
    world.git(&["tag", "v1.0.1"]);
    // The engine in memory builds 1.0 for ever; what counts here is what is done again.
    let record = world.run(PIPELINE).await.0.unwrap();
    assert!(reused(&record, Stage::Deps) && !reused(&record, Stage::Build));
    world.is_clean();
}

/// Whether verify looked at packages of a release before.
fn upgrades(record: &RunRecord) -> bool {
    let stage = record.targets[0].stages.iter().find(|stage| stage.stage == Stage::Verify).unwrap();
    stage.steps.iter().any(|step| step.argv.iter().any(|word| word.starts_with("/packages/old/")))
}

#[tokio::test]
async fn an_upgrade_starts_from_the_last_release_in_the_history_of_the_commit() {
    let world = World::new();
    let first = world.run(PIPELINE).await.0.unwrap();
    assert!(!upgrades(&first), "there is nothing before the first release");
    let info = runs("verify.sh", Some("info"));
    let is_old = |command: &Command| command.argv.iter().any(|word| word.starts_with("/packages/old/"));
    let new = Script::exits(0).printing("demo\t1.1-1\tamd64\n");
    world.engine.on_exec(move |command| info(command) && !is_old(command), new);
    world.write("repo/main.c", "int main;\n");
    world.commit();
    world.git(&["tag", "v1.1"]);
    let second = world.run(PIPELINE).await.0.unwrap();
    assert!(upgrades(&second), "{:#?}", second.targets);

    // What is released on a branch of its own is no successor of that.
    world.git(&["checkout", "-q", "--orphan", "other"]);
    world.write("repo/main.c", "int other;\n");
    world.commit();
    world.git(&["tag", "-f", "v1.1"]);
    let other = world.run(PIPELINE).await.0.unwrap();
    assert!(!upgrades(&other), "{:#?}", other.targets);
    world.is_clean();
}

#[tokio::test]
async fn an_empty_engine_gets_its_images_from_the_archive() {
    let mut world = World::new();
    world.run(PIPELINE).await.0.unwrap();
    let fresh = World::new();
    world.engine = fresh.engine.clone();
    let mut request = world.request(PIPELINE);
    request.rebuild = true;
    let (send, _events) = tokio::sync::mpsc::unbounded_channel();
    let record = execute(request, send, CancellationToken::new()).await.unwrap();
    assert_eq!(record.outcome, Outcome::Passed, "{:#?}", record.targets);
    let mut kept = record.images.iter().filter(|image| image.role != packhold::model::ImageRole::Verify);
    assert!(kept.all(|image| image.obtained == "archive"), "{:#?}", record.images);
    world.is_clean();
}

#[tokio::test]
async fn a_failing_target_does_not_stop_the_others() {
    let world = World::new();
    world.engine.in_registry(
        "docker.io/library/debian:trixie",
        &[("/build/.keep", b""), ("/packages/new/.keep", b"")],
    );
    let fails = |command: &Command| {
        command.argv.iter().any(|word| word.ends_with("build.sh"))
            && command.env.get("PACKHOLD_BUILDER").is_some_and(|builder| builder == "debian-13")
    };
    world.engine.on_exec(fails, Script::exits(2).printing("main.c:1: error\n"));
    let record = world.run(&format!("{PIPELINE}[target.\"debian-13/deb\"]\n")).await.0.unwrap();
    assert_eq!(record.targets[0].outcome, Outcome::Passed);
    let Outcome::Failed { stage, reason, .. } = &record.targets[1].outcome else { panic!("{record:#?}") };
    assert_eq!((*stage, *reason), (Stage::Build, FailReason::StepExit));
    assert_eq!(record.outcome.exit_code(), 1);
    world.is_clean();
}

#[tokio::test]
async fn a_package_for_the_installer_is_kept_and_never_installed() {
    let world = World::new();
    const UDEB: &str = "demo-udeb_1.0-1_amd64.udeb";
    let built = Script::exits(0).writing(&format!("/build/out/{DEB}"), *b"package");
    world
        .engine
        .on_exec(runs("build.sh", None), built.writing(&format!("/build/out/{UDEB}"), *b"for the installer"));
    let record = world.run(PIPELINE).await.0.unwrap();
    assert_eq!(record.outcome, Outcome::Passed);
    let names: Vec<&str> = record.targets[0].artifacts.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, [UDEB, DEB]);
    let commands = world.engine.commands();
    assert!(!commands.iter().any(|command| command.argv.iter().any(|word| word.contains(".udeb"))));
}

#[tokio::test]
async fn a_missing_packaging_breaks_its_target_and_no_other() {
    let world = World::new();
    let text = format!("{PIPELINE}[target.\"debian-rpm/rpm\"]\npackaging = \"none.spec\"\n");
    let record = world.run(&text).await.0.unwrap();
    assert_eq!(record.targets[0].outcome, Outcome::Passed);
    assert!(matches!(record.targets[1].outcome, Outcome::Broken { .. }));
    assert_eq!(record.outcome.exit_code(), 2);
    world.is_clean();
}

#[tokio::test]
async fn a_shared_prepare_stage_runs_once_and_its_failure_skips_the_targets() {
    let world = World::new();
    let text = format!(
        "{PIPELINE}[prepare]\nbuilder = \"debian-12\"\nscript = \"make-it\"\noutputs = [\"agent\"]\n"
    );
    let is_script = |command: &Command| command.argv.iter().any(|word| word == "make-it");
    world.engine.on_exec(is_script, Script::exits(0).writing("/build/source/agent", *b"binary"));
    let record = world.run(&text).await.0.unwrap();
    assert_eq!(record.outcome, Outcome::Passed, "{record:#?}");
    assert_eq!(world.engine.commands().iter().filter(|command| is_script(command)).count(), 1);
    world.engine.on_exec(is_script, Script::exits(1));
    let mut request = world.request(&text);
    request.rebuild = true;
    let (send, _events) = tokio::sync::mpsc::unbounded_channel();
    let record = execute(request, send, CancellationToken::new()).await.unwrap();
    assert!(matches!(record.targets[0].outcome, Outcome::Skipped { .. }), "{record:#?}");
    assert_eq!(record.outcome.exit_code(), 1);
    world.is_clean();
}

#[tokio::test]
async fn a_killed_container_is_told_as_out_of_memory() {
    let world = World::new();
    let oom = ExecStatus::Exited { code: 137, oom: true, process_limit: false };
    world.engine.on_exec(runs("build.sh", None), Script::ends(oom));
    let record = world.run(PIPELINE).await.0.unwrap();
    assert_eq!(record.outcome.summary(), "failed(build, oom)");
    world.is_clean();
}

#[tokio::test]
async fn a_cancelled_run_leaves_nothing_and_is_not_archived() {
    let world = World::new();
    world.engine.on_exec(runs("build.sh", None), Script::hangs());
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    tokio::spawn(async move {
        while let Some(event) = receive.recv().await {
            if matches!(&event, Event::Step { stage: Stage::Build, title, .. } if title.contains("build")) {
                stop.cancel();
            }
        }
    });
    let record = execute(world.request(PIPELINE), send, cancel).await.unwrap();
    assert_eq!(record.outcome.exit_code(), 130);
    assert!(world.archive().runs().unwrap().is_empty());
    world.is_clean();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_vanishes_at_any_call_loses_nothing_that_was_archived() {
    let total = {
        let world = World::new();
        world.run(PIPELINE).await.0.unwrap();
        let methods = [
            Method::Info,
            Method::Find,
            Method::Load,
            Method::Save,
            Method::Create,
            Method::Exec,
            Method::Put,
            Method::Get,
            Method::Commit,
            Method::Remove,
        ];
        methods.map(|method| world.engine.calls(method)).iter().sum::<usize>()
    };
    assert!(total > 40, "{total}");
    for calls in 0..total {
        let world = World::new();
        world.engine.vanish_after(calls);
        match world.run(PIPELINE).await.0 {
            Err(error) => assert_eq!(error.exit_code(), 3, "after {calls} calls: {error}"),
            // What is left to do after the last call that matters is to remove a container.
            Ok(record) if record.outcome.passed() => assert!(calls + 3 > total, "{calls} of {total}"),
            Ok(record) => {
                assert_eq!(record.outcome.exit_code(), 3, "after {calls} calls: {:?}", record.outcome);
                assert!(
                    matches!(record.outcome, Outcome::Infra { reason: InfraReason::EngineLost, .. }),
                    "after {calls} calls: {:?}",
                    record.outcome
                );
            }
        }
        let report = archive::verify(world.path("archive"), |_| {}).unwrap();
        assert!(report.is_sound(), "after {calls} calls: {:?}", report.problems);
    }
}

#[tokio::test]
async fn a_container_that_cannot_be_removed_at_once_is_removed_in_the_end() {
    let world = World::new();
    let refused = || EngineError::Refused { action: "remove a container".into(), message: "busy".into() };
    world.engine.fail(Method::Remove, 1, refused);
    assert_eq!(world.run(PIPELINE).await.0.unwrap().outcome, Outcome::Passed);
    world.is_clean();
}

#[tokio::test]
async fn two_clones_give_the_same_source_digest() {
    let world = World::new();
    let other = world.path("other");
    let mut clone = Process::new("git");
    clone.args(["clone", "-q"]).arg(world.path("repo")).arg(&other);
    assert!(clone.status().unwrap().success());
    let first = world.run(PIPELINE).await.0.unwrap();
    let mut request = world.request(PIPELINE);
    request.source = Some(other.to_string_lossy().into_owned());
    let (send, _events) = tokio::sync::mpsc::unbounded_channel();
    let second = execute(request, send, CancellationToken::new()).await.unwrap();
    assert_eq!(first.source.tree, second.source.tree);
    assert!(Path::new(&second.source.repository).ends_with("other"), "{}", second.source.repository);
}

/// Runs the validator on a document; its exit status says what it thinks.
fn validate(words: &[&std::ffi::OsStr]) -> (bool, String) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Process::new(root.join("target/validators/bin/python"))
        .arg(root.join("tests/fixtures/validate.py"))
        .args(words)
        .output()
        .expect("`.ci/setup.sh test` makes target/validators");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn receipts_and_bills_of_materials_pass_the_validators_of_others() {
    use packhold::archive::FileRole;
    use packhold::provenance::{Envelope, ReceiptKey, public_key};

    let world = World::new();
    let (key, public) = (world.path("key.pem"), world.path("public.pem"));
    let openssl = |words: &[&str]| {
        let done = Process::new("openssl").args(words).current_dir(world.path("")).status().unwrap();
        assert!(done.success(), "{words:?}");
    };
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", "key.pem"]);
    openssl(&["pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"]);
    let mut request = world.request(PIPELINE);
    request.receipt_key = Some(Arc::new(ReceiptKey::read(&key).unwrap()));
    let (send, _receive) = tokio::sync::mpsc::unbounded_channel();
    execute(request, send, CancellationToken::new()).await.unwrap();

    let archive = world.archive();
    let run = archive.run("latest").unwrap();
    let fetch = |role: FileRole| -> Vec<(String, Vec<u8>)> {
        let of_role = run.files.iter().filter(|file| file.role == role);
        let read = of_role.map(|file| {
            let mut bytes = Vec::new();
            archive.copy_blob(&file.digest, &mut bytes).unwrap();
            (file.path(), bytes)
        });
        read.collect()
    };
    let document = world.path("document.json");
    let check = |kind: &str, bytes: &[u8], key: bool| {
        std::fs::write(&document, bytes).unwrap();
        let mut words = vec![kind.as_ref(), document.as_os_str()];
        words.extend(key.then_some(public.as_os_str()));
        validate(&words)
    };
    let receipts = fetch(FileRole::Receipt);
    let names: Vec<&str> = receipts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["receipt.json", "receipt.signatures.json"]);
    let envelope = Envelope::of_parts(&receipts[0].1, Some(&receipts[1].1)).unwrap();
    let receipt = &serde_json::to_vec(&envelope).unwrap();
    assert_eq!(check("receipt", receipt, true), (true, String::new()));
    envelope.verify(&public_key(&public).unwrap()).unwrap();
    let statement = envelope.statement().unwrap();
    let subject = &statement["subject"][0];
    let artifact = &run.record.targets[0].artifacts[0];
    assert_eq!(subject["digest"]["sha256"], artifact.digest.hex());
    let dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    let has = |what: &dyn Fn(&serde_json::Value) -> bool| dependencies.iter().any(what);
    assert!(has(&|d| d["digest"]["gitCommit"] == run.record.source.commit.as_str()));
    assert!(has(&|d| d["digest"]["sha256"] == run.record.source.tree.hex()));
    for image in &run.record.images {
        assert!(has(&|d| d["digest"]["sha256"] == image.id.hex()), "{}", image.role);
    }
    assert!(has(&|d| d["uri"] == "pkg:deb/debian/libc6@2.36?arch=amd64&distro=debian-12"));

    // What was changed is refused, and so is what lacks something.
    let mut changed: serde_json::Value = serde_json::from_slice(receipt).unwrap();
    let payload = changed["payload"].as_str().unwrap().replacen('A', "B", 1);
    changed["payload"] = payload.into();
    assert!(!check("receipt", changed.to_string().as_bytes(), true).0);
    let mut lacking = statement.clone();
    lacking["subject"] = serde_json::json!([]);
    let lacking = serde_json::to_vec(&Envelope::seal(&lacking, None)).unwrap();
    let (passed, said) = check("receipt", &lacking, false);
    assert!(!passed && said.contains("At least one subject required"), "{said}");

    let bills = fetch(FileRole::Sbom);
    assert!(bills.iter().any(|(name, _)| name.ends_with("_amd64.deb.cdx.json")), "{bills:?}");
    let packages: usize = run.record.targets.iter().map(|target| target.artifacts.len()).sum();
    assert_eq!(bills.len(), run.record.images.len() + packages, "every image and every package");
    for (name, bytes) in &bills {
        let (passed, said) = check("sbom", bytes, false);
        assert!(passed, "{name}: {said}");
    }
    let mut wrong: serde_json::Value = serde_json::from_slice(&bills[0].1).unwrap();
    wrong["metadata"]["component"]["type"] = "nonsense".into();
    assert!(!check("sbom", wrong.to_string().as_bytes(), false).0);
}

impl World {
    /// The request of a pipeline whose lock stands beside it.
    fn locked(&self, pipeline: &str) -> Request {
        let mut request = self.request(pipeline);
        request.lock = packhold::config::LockFile::read(&request.file).unwrap();
        assert!(request.lock.is_some(), "there is no lock");
        request
    }

    async fn update(&self, pipeline: &str) -> packhold::run::Updated {
        let (send, _events) = tokio::sync::mpsc::unbounded_channel();
        let request = self.request(pipeline);
        packhold::run::update(request, false, send, CancellationToken::new()).await.unwrap()
    }

    async fn run_locked(&self, pipeline: &str) -> RunRecord {
        let (send, _events) = tokio::sync::mpsc::unbounded_channel();
        execute(self.locked(pipeline), send, CancellationToken::new()).await.unwrap()
    }

    fn builds(&self) -> usize {
        let is_build = runs("build.sh", None);
        self.engine.commands().iter().filter(|command| is_build(command)).count()
    }
}

#[tokio::test]
async fn a_locked_run_builds_in_the_locked_images_and_archives_the_lock() {
    let world = World::new();
    let sum = packhold::model::Digest::of("libc6");
    let list = format!("libc6\t2.36\tamd64\t{}\n", sum.hex());
    world.engine.on_exec(runs("packages.sh", None), Script::exits(0).printing(list));
    let updated = world.update(PIPELINE).await;
    assert!(updated.changed && updated.failed.is_empty(), "{updated:?}");
    let text = std::fs::read_to_string(world.path("repo/p.lock")).unwrap();
    assert!(text.contains(&format!("sha256 = \"{}\"", sum.hex())), "{text}");
    assert_eq!(text.matches("libc6").count(), 1, "only where it was installed first: {text}");
    let again = world.update(PIPELINE).await;
    assert!(!again.changed && again.images.is_empty(), "{again:?}");

    let record = world.run_locked(PIPELINE).await;
    assert_eq!(record.outcome, Outcome::Passed, "{:#?}", record.targets);
    let lock = record.lock.clone().unwrap();
    assert_eq!((lock.file.as_str(), lock.digest), ("p.lock", packhold::model::Digest::of(&text)));
    let run = world.archive().run("latest").unwrap();
    let kept = run.files.iter().find(|file| file.role == archive::FileRole::Lock).unwrap();
    assert_eq!((kept.name.as_str(), kept.digest), ("pipeline.lock", lock.digest));
    for image in record.images.iter().filter(|i| i.role != packhold::model::ImageRole::Verify) {
        assert!(text.contains(&image.id.to_string()), "{} is not locked", image.role);
        assert_eq!(image.packages[0].sha256, Some(sum), "{}", image.role);
    }
    world.is_clean();
}

#[tokio::test]
async fn a_locked_run_keeps_to_its_images_when_newer_ones_are_there() {
    let world = World::new();
    world.update(PIPELINE).await;
    let lock = std::fs::read_to_string(world.path("repo/p.lock")).unwrap();
    // The mirror moves on, and another update leaves newer images under the same keys.
    world.engine.on_exec(runs("prepare.sh", None), Script::exits(0).writing("/usr/bin/gcc", *b"newer"));
    world.update(PIPELINE).await;
    assert_ne!(std::fs::read_to_string(world.path("repo/p.lock")).unwrap(), lock);
    world.write("repo/p.lock", &lock);
    let record = world.run_locked(PIPELINE).await;
    assert_eq!(record.outcome, Outcome::Passed, "{:#?}", record.targets);
    for image in record.images.iter().filter(|i| i.role != packhold::model::ImageRole::Verify) {
        assert!(lock.contains(&image.id.to_string()), "{} is not locked", image.role);
    }
    world.is_clean();
}

#[tokio::test]
async fn an_image_that_is_gone_is_made_again_and_refused_if_it_is_another() {
    let mut world = World::new();
    world.update(PIPELINE).await;
    // Neither the engine nor the archive has anything, but the same packages give the same images.
    std::fs::remove_dir_all(world.path("archive")).unwrap();
    world.engine = World::new().engine.clone();
    let record = world.run_locked(PIPELINE).await;
    assert_eq!(record.outcome, Outcome::Passed, "{:#?}", record.targets);

    std::fs::remove_dir_all(world.path("archive")).unwrap();
    world.engine = World::new().engine.clone();
    world.engine.on_exec(runs("prepare.sh", None), Script::exits(0).writing("/usr/bin/gcc", *b"newer"));
    let newer = Script::exits(0).printing("gcc\t13\tamd64\nlibc6\t2.36\tamd64\n");
    world.engine.on_exec(runs("packages.sh", None), newer);
    let before = world.builds();
    let record = world.run_locked(PIPELINE).await;
    let Outcome::Broken { message, hint } = &record.targets[0].outcome else { panic!("{record:#?}") };
    assert!(message.contains("the debian-12 builder image is not the locked one"), "{message}");
    // The engine in memory says the same of every image, so the base image below has what is new as well.
    assert!(message.contains("its packages are the same"), "{message}");
    assert!(hint.contains("packhold update"), "{hint}");
    assert_eq!((record.outcome.exit_code(), world.builds()), (2, before));
    assert!(!world.engine.tags().iter().any(|tag| tag.starts_with("packhold/builder:")), "it kept its name");
    world.is_clean();
}

#[tokio::test]
async fn a_lock_that_does_not_fit_refuses_the_whole_run_and_makes_no_container() {
    let world = World::new();
    world.engine.in_registry(
        "docker.io/library/debian:trixie",
        &[("/build/.keep", b""), ("/packages/new/.keep", b"")],
    );
    let both = format!("{PIPELINE}[target.\"debian-13/deb\"]\n");
    world.update(&both).await;
    let before = world.engine.calls(Method::Create);
    let refused = async |pipeline: &str, words: &str| {
        let record = world.run_locked(pipeline).await;
        let outcomes: Vec<&Outcome> = record.targets.iter().map(|target| &target.outcome).collect();
        let told = outcomes.iter().any(|o| o.message().is_some_and(|message| message.contains(words)));
        assert!(told, "{words}: {outcomes:?}");
        assert!(outcomes.iter().all(|outcome| !outcome.passed()), "{outcomes:?}");
        assert_eq!(record.outcome.exit_code(), 2);
        assert_eq!(world.engine.calls(Method::Create), before, "{words}");
    };
    let more = both.replace("[target.\"debian-13/deb\"]\n", "[target.\"debian-13/deb\"]\ndeps = [\"gcc\"]\n");
    refused(&more, "the dependencies of debian-13/deb have changed: + gcc").await;
    let lock = std::fs::read_to_string(world.path("repo/p.lock")).unwrap();
    // An image that the engine has, but under no key of the builder's.
    let own = packhold::config::LockFile::read(&world.request(&both).file).unwrap().unwrap().lock;
    let key = own.builders["debian-12"].builder.key.to_string();
    world.write("repo/p.lock", &lock.replace(&key, &packhold::model::Digest::of("x").to_string()));
    refused(&both, "prepare.sh of `debian-12`, or a file that it reads, has changed").await;
    world.write("repo/p.lock", &lock.replace("target.\"debian-13/deb\"", "target.\"debian-14/deb\""));
    refused(&both, "it knows no `debian-13/deb`").await;
    world.is_clean();
}

#[tokio::test]
async fn a_lock_cannot_name_an_image_of_the_engine_that_is_not_of_its_key() {
    let world = World::new();
    world.update(PIPELINE).await;
    let strange = world.engine.image("somebody/else:1", &[("/build/.keep", b"")]);
    let path = world.path("repo/p.lock");
    let lock = std::fs::read_to_string(&path).unwrap();
    let own = packhold::config::LockFile::read(&world.request(PIPELINE).file).unwrap().unwrap().lock;
    let target = own.targets.values().next().unwrap().image.id.to_string();
    std::fs::write(&path, lock.replace(&target, &strange.to_string())).unwrap();
    let before = world.builds();
    let record = world.run_locked(PIPELINE).await;
    let message = record.targets[0].outcome.message().unwrap().to_owned();
    assert!(message.contains("the debian-12/deb deps image is not the locked one"), "{message}");
    assert_eq!(world.builds(), before);
    assert!(world.engine.created().iter().all(|container| container.root != strange.into()));
    world.is_clean();
}

#[tokio::test]
async fn an_image_of_the_engine_is_listed_as_the_archive_knows_it() {
    let world = World::new();
    let sum = packhold::model::Digest::of("libc6");
    let list = format!("libc6\t2.36\tamd64\t{}\n", sum.hex());
    world.engine.on_exec(runs("packages.sh", None), Script::exits(0).printing(list));
    let first = world.run(PIPELINE).await.0.unwrap();
    let image = |record: &RunRecord, role| record.images.iter().find(|i| i.role == role).unwrap().clone();
    let (base, made) = (image(&first, ImageRole::Base), image(&first, ImageRole::Builder));

    // The same image, and nothing in the archive under the key by which the engine has it.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("builders/debian-12/builder.toml");
    world.write("builders/debian-12/builder.toml", &std::fs::read_to_string(shipped).unwrap());
    world.write("builders/debian-12/prepare.sh", "true\n");
    let builders = Builders::with_folder(&world.path("builders")).unwrap();
    let key = packhold::plan::builder_key(&builders.load("debian-12").unwrap(), base.id);
    assert_ne!(key, made.key);
    let tag = format!("packhold/builder:{}", &key.hex()[..32]);
    packhold::stage::load_image(&world.engine, &world.archive(), made.id, &tag).await.unwrap();
    std::fs::remove_dir_all(world.path("cache")).unwrap();
    world.engine.on_exec(runs("packages.sh", None), Script::exits(0).printing("libc6\t2.36\tamd64\n"));
    let (send, _events) = tokio::sync::mpsc::unbounded_channel();
    let request = Request { builders, ..world.request(PIPELINE) };
    let record = execute(request, send, CancellationToken::new()).await.unwrap();
    let found = image(&record, ImageRole::Builder);
    assert_eq!((found.id, found.key, found.obtained.as_str()), (made.id, key, "engine"));
    assert_eq!(found.packages, made.packages);
    assert_eq!(found.packages[0].sha256, Some(sum));
    world.is_clean();
}

const TWO_ARCHITECTURES: &str =
    "[package]\nname = \"demo\"\n[target.\"debian-12/deb\"]\n[target.\"debian-12/deb/arm64\"]\n";

fn emulator(fixed: bool) -> Emulator {
    Emulator { architecture: Architecture::Arm64, interpreter: "/usr/bin/qemu-aarch64-static".into(), fixed }
}

#[tokio::test]
async fn what_the_engine_cannot_emulate_is_refused_before_anything_is_built() {
    for (emulators, wanted) in [
        (vec![], "no emulator for arm64"),
        (vec![emulator(false)], "/usr/bin/qemu-aarch64-static, is registered without flag F"),
    ] {
        let world = World::new();
        emulators.into_iter().for_each(|emulator| world.engine.emulate(emulator));
        let error = world.run(TWO_ARCHITECTURES).await.0.unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
        assert!(error.to_string().starts_with("debian-12/deb/arm64: "), "{error}");
        assert!(error.hint().contains("apt-get install qemu-user-static"), "{}", error.hint());
        assert_eq!(error.exit_code(), 3);
        assert_eq!((world.engine.calls(Method::Create), world.engine.calls(Method::Load)), (0, 0));
        world.is_clean();
    }
}

#[tokio::test]
async fn each_architecture_has_images_of_its_own_and_nothing_of_another_is_reused() {
    let world = World::new();
    world.engine.emulate(emulator(true));
    let files: [(&str, &[u8]); 3] = [("/build/.keep", b""), ("/packages/new/.keep", b""), ("/arm64", b"")];
    world.engine.in_registry_for(Architecture::Arm64, "docker.io/library/debian:bookworm", &files);
    let record = world.run(TWO_ARCHITECTURES).await.0.unwrap();
    assert_eq!(record.outcome, Outcome::Passed, "{:#?}", record.targets);
    let [own, foreign] = &record.targets[..] else { panic!("{:#?}", record.targets) };
    assert_eq!(foreign.target.to_string(), "debian-12/deb/arm64");
    assert!(own.images.iter().all(|id| !foreign.images.contains(id)));
    assert_ne!(own.build_key, foreign.build_key);
    assert_ne!(own.verify_key, foreign.verify_key);
    for (target, platform) in [(own, "linux/amd64"), (foreign, "linux/arm64")] {
        let used: Vec<_> = record.images.iter().filter(|image| target.images.contains(&image.id)).collect();
        assert_eq!(used.len(), 3);
        assert!(used.iter().all(|image| image.platform.as_deref() == Some(platform)), "{used:#?}");
    }
    // The second time nothing is made, and nothing is mixed up.
    let before = world.engine.calls(Method::Create);
    let again = world.run(TWO_ARCHITECTURES).await.0.unwrap();
    assert_eq!(world.engine.calls(Method::Create), before);
    let images =
        |record: &RunRecord| record.targets.iter().map(|target| target.images.clone()).collect::<Vec<_>>();
    assert_eq!(images(&again), images(&record));
    world.is_clean();
}

#[tokio::test]
async fn an_image_for_another_architecture_than_the_wanted_one_is_not_taken() {
    let world = World::new();
    world.engine.emulate(emulator(true));
    // A registry that has one image and gives it whatever is asked for, to a builder that has nothing else.
    let reference = Builders::shipped().load("rocky-9").unwrap().base.registry.unwrap();
    world.engine.in_registry(&format!("linux/arm64:{reference}"), &[("/build/.keep", b"")]);
    world.write("repo/demo.spec", "Name: demo\n");
    world.commit();
    let pipeline =
        "[package]\nname = \"demo\"\n[target.\"rocky-9/rpm/aarch64\"]\npackaging = \"demo.spec\"\n";
    let record = world.run(pipeline).await.0.unwrap();
    let outcome = &record.targets[0].outcome;
    assert!(
        matches!(outcome, Outcome::Infra { reason: InfraReason::NoBase, message, hint, .. }
            if message.contains("is for amd64 and not for rocky-9/aarch64")
                && hint.contains("--base-tar rocky-9/aarch64=FILE")),
        "{outcome:#?}"
    );
    world.is_clean();
}
