//! An archive with a run that failed in every way at once, whose packages and builds mean harm.

use packhold::archive::{Archive, FileRole, RunFile};
use packhold::model::{
    Artifact, ArtifactKind, Change, Changes, Check, Condition, DifferenceCause, Digest, EngineRecord,
    FailReason, ImageRecord, ImageRole, InfraReason, InstalledPackage, LogRef, Origin, Outcome,
    PackageVersion, Person, Reproducibility, RunId, RunRecord, Scenario, SourceRecord, Stage, StageRecord,
    StepRecord, TargetRecord, Tier, ToolRecord, Unreproducible,
};
use tempfile::TempDir;

use crate::deb::{ar_of, tar_of};

/// What runs if it is ever taken for markup or for a script.
pub const EVIL: &str = r#""'></pre><img src=x onerror="window.owned=1"><script>window.owned=1</script>"#;

/// A log with colours, an error, a byte that is no UTF-8, and what means harm.
pub fn hostile_log() -> Vec<u8> {
    let mut log = b"checking for gcc... \x1b[32mgcc\x1b[0m\nmake all\n".to_vec();
    log.extend(b"agent.c:12:5: \x1b[1;31merror:\x1b[0m implicit declaration of function \xff\n");
    log.extend(format!("{EVIL}\n").as_bytes());
    log.extend(b"\x1b]0;title\x07::error::no command\n##[error]no command\n");
    log.extend(b"make: *** [Makefile:3: agent.o] Error 1\n");
    log
}

/// A commit whose message and author mean harm.
fn changes(day: u32) -> Changes {
    let author = Person { name: format!("Ann {EVIL}"), email: "ann@example.org".into() };
    let subject = format!("Mend the agent {EVIL}");
    let change = Change { commit: format!("{day:040x}"), subject, author: author.clone(), time: 0 };
    Changes { since: Some(format!("v1.0{EVIL}")), changes: vec![change], left_out: 2, author, time: 0 }
}

/// An archive in a folder of its own.
pub struct Fixture {
    pub dir: TempDir,
    pub archive: Archive,
}

impl Fixture {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open_or_create(dir.path().join("archive")).unwrap();
        Self { dir, archive }
    }

    /// Archives a run that began so many days after the first.
    pub fn add(&self, day: u32, passes: bool) -> RunRecord {
        self.add_with_log(day, passes, &hostile_log())
    }

    /// The same with another log of its build.
    pub fn add_with_log(&self, day: u32, passes: bool, log: &[u8]) -> RunRecord {
        let mut files = Vec::new();
        let package = deb(&format!("1.{day}-1"), &format!("libc6 (>= 2.{day})"));
        let mut keep = |name: &str, role, bytes: &[u8]| {
            let (digest, size) = self.archive.put_compressed([bytes]).unwrap()[0];
            let target = (role == FileRole::Artifact).then(|| "debian-12/deb".parse().unwrap());
            let media_type = "application/octet-stream".to_owned();
            files.push(RunFile { name: name.to_owned(), role, target, media_type, digest, size });
            (digest, size)
        };
        let log = keep("debian-12_deb.build.log", FileRole::Log, log);
        let (digest, size) = keep(&format!("agent_1.{day}-1_amd64.deb"), FileRole::Artifact, &package);
        keep("receipt.json", FileRole::Receipt, b"{}");
        let artifact = Artifact {
            name: format!("agent_1.{day}-1_amd64.deb"),
            kind: ArtifactKind::Package,
            size,
            digest,
            package: None,
        };
        let record = record(day, passes, log, artifact);
        self.archive.add_run(&record, &[], &files).unwrap();
        record
    }
}

fn failed(stage: Stage, reason: FailReason, message: &str) -> Outcome {
    Outcome::Failed { stage, reason, message: message.to_owned(), hint: format!("mend it, {EVIL}") }
}

fn stage(stage: Stage, outcome: Outcome, started: jiff::Timestamp) -> StageRecord {
    StageRecord { stage, outcome, started, duration_ms: 1234, reused: None, steps: Vec::new(), log: None }
}

fn record(day: u32, passes: bool, log: (Digest, u64), artifact: Artifact) -> RunRecord {
    let started = jiff::Timestamp::from_second(1_790_000_000 + i64::from(day) * 86_400).unwrap();
    let image = image(day);
    let step = |title: &str, exit, log_offset, log_bytes| StepRecord {
        title: title.to_owned(),
        argv: vec!["sh".into(), "-c".into(), EVIL.into()],
        exit,
        duration_ms: 700,
        log_offset,
        log_bytes,
    };
    let steps = vec![step("configure", Some(0), 0, 29), step("compile", Some(2), 29, log.1 - 29)];
    let log = Some(LogRef { name: "debian-12_deb.build.log".into(), digest: log.0, size: log.1 });
    let mut first = TargetRecord::of("debian-12/deb".parse().unwrap());
    first.package_version = format!("1.{day}-1");
    first.artifacts = vec![artifact];
    first.images = vec![image.id];
    let deps = StageRecord {
        reused: Some("deps image in the engine's store".into()),
        ..stage(Stage::Deps, Outcome::Passed, started)
    };
    let mut verified = Outcome::Passed;
    if !passes {
        first.checks = checks();
        first.reproducibility = Some(reproducibility());
        verified = failed(Stage::Verify, FailReason::CronFails, "cron-fails: /etc/cron.d/agent");
    }
    let build = stage(Stage::Build, Outcome::Passed, started);
    first.stages =
        vec![deps, StageRecord { steps, log, ..build }, stage(Stage::Verify, verified.clone(), started)];
    first.outcome = verified;

    let mut targets = vec![first];
    if !passes {
        let mut second = TargetRecord::of("debian-rpm/rpm".parse().unwrap());
        second.outcome = failed(Stage::Build, FailReason::Oom, &format!("out of memory {EVIL}"));
        second.stages = vec![stage(Stage::Build, second.outcome.clone(), started)];
        let mut third = TargetRecord::of("rocky-9/rpm".parse().unwrap());
        third.outcome = Outcome::Infra {
            stage: Stage::Deps,
            reason: InfraReason::MirrorUnreachable,
            message: "the mirror does not answer".into(),
            hint: "try again".into(),
        };
        targets.extend([second, third]);
    }
    RunRecord {
        schema: 1,
        id: RunId::new(started, day),
        package: if passes { "agent".into() } else { format!("agent{EVIL}") },
        pipeline: "packaging/packhold.toml".into(),
        pipeline_digest: Digest::of("pipeline"),
        lock: None,
        source: SourceRecord {
            repository: "https://example.org/agent.git".into(),
            revision: if passes { "HEAD".into() } else { EVIL.into() },
            commit: format!("{day:040x}"),
            epoch: started.as_second(),
            changes: (!passes).then(|| changes(day)),
            tree: Digest::of("tree"),
            size: 10_240,
            version: PackageVersion {
                describe: if passes { format!("v1.{day}") } else { format!("v1.{day}{EVIL}") },
                deb: format!("1.{day}"),
                rpm: format!("1.{day}"),
                release: false,
                deb_full: None,
            },
            dirty: false,
        },
        tool: ToolRecord { name: "packhold".into(), version: "0.1.0".into() },
        engine: EngineRecord {
            kind: "docker".into(),
            version: "20.10".into(),
            arch: "amd64".into(),
            kernel: None,
            cores: None,
        },
        started,
        duration_ms: 61_000 + u64::from(day) * 1000,
        shared: vec![stage(Stage::Source, Outcome::Passed, started)],
        outcome: Outcome::of_all(targets.iter().map(|target| &target.outcome)),
        targets,
        images: vec![image],
        warnings: if passes { Vec::new() } else { vec![format!("look at this: {EVIL}")] },
    }
}

fn checks() -> Vec<Check> {
    let cron = failed(Stage::Verify, FailReason::CronFails, &format!("cron-fails: /etc/cron.d/{EVIL}"));
    let lint = |tag: &str| failed(Stage::Verify, FailReason::Lint, &format!("lint: {tag}"));
    let evidence = |line: &str| vec![format!("{line}: {EVIL}"), "second line".to_owned()];
    vec![
        Check::new(Scenario::Install, format!("the resolver installs it {EVIL}"), Outcome::Passed),
        Check {
            object: Some(format!("/etc/cron.d/{EVIL}")),
            evidence: evidence("it prints"),
            ..Check::new(Scenario::Remove, "cron jobs that are left do nothing", cron)
        },
        Check {
            object: Some("no-manual-page".into()),
            tier: Tier::Warn,
            evidence: evidence("warning no-manual-page agent"),
            ..Check::new(Scenario::Lint, "nor would it advise against them", lint("no-manual-page"))
        },
        Check {
            object: Some("bad-distribution".into()),
            accepted: Some(format!("we know {EVIL}")),
            ..Check::new(Scenario::Lint, "the distro's lint has nothing against it", lint("bad-distribution"))
        },
        Check::new(Scenario::Service, "units start", Outcome::Skipped { why: format!("no systemd {EVIL}") }),
    ]
}

fn reproducibility() -> Reproducibility {
    Reproducibility {
        builds: 5,
        varied: vec![Condition::BuildPath],
        not_varied: Vec::new(),
        differences: vec![Unreproducible {
            file: format!("agent{EVIL}.deb"),
            member: format!("data.tar/usr/bin/{EVIL}"),
            what: format!("line 1: `{EVIL}` → `b`"),
            cause: DifferenceCause::Conditions { conditions: vec![Condition::BuildPath] },
        }],
        more: 0,
    }
}

fn image(day: u32) -> ImageRecord {
    let package = |name: &str, version: String| InstalledPackage {
        name: name.into(),
        version,
        arch: "amd64".into(),
        sha256: None,
        header_sha256: None,
    };
    ImageRecord {
        id: Digest::of(format!("image {day}")),
        role: ImageRole::Deps,
        builder: "debian-12".into(),
        platform: Some("linux/amd64".into()),
        key: Digest::of("key"),
        origin: Origin::Built { from: Digest::of("builder") },
        obtained: "engine".into(),
        layers: vec![Digest::of("layer")],
        packages: vec![package("gcc", "12.2".into()), package("libc6", format!("2.36-{day}{EVIL}"))],
    }
}

/// A package with a file whose name means harm (deb(5)).
fn deb(version: &str, depends: &str) -> Vec<u8> {
    let control = format!(
        "Package: agent\nVersion: {version}\nArchitecture: amd64\nMaintainer: A <a@example.org>\n\
         Depends: {depends},\n {EVIL}\nDescription: {EVIL}\n"
    );
    let data =
        tar_of(&[("./usr/bin/agent", version), (&format!("./usr/share/{}", EVIL.replace('/', "\\")), "x")]);
    let control = tar_of(&[("./control", &*control), ("./postinst", "#!/bin/sh\n")]);
    ar_of(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data)])
}
