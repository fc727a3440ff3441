//! A failed build at hand: why it failed, what differs, and a shell where it failed.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::time::Duration;

use packhold::engine::{Network, Session};
use packhold::report;
use packhold::run::{Asked, Left, ShellRequest, Standing, diff, shell, usual_durations, why};

use super::*;

const TARGET: &str = "debian-12/deb";

impl World {
    fn folders(&self) -> Folders {
        Folders { cache: self.path("cache"), state: self.path("state") }
    }

    fn why(&self, asked: Asked) -> report::Why {
        why(&self.archive(), &self.folders(), &asked).unwrap()
    }

    fn why_target(&self) -> report::TargetWhy {
        self.why(Asked::Target(TARGET.parse().unwrap())).targets.remove(0)
    }

    fn fail_to_build(&self) {
        let log = "cc main.c\nmain.c:1:10: fatal error: zlib.h: No such file or directory\nmake: *** [all] Error 1\n";
        self.engine.on_exec(runs("build.sh", None), Script::exits(2).printing(log));
    }

    fn change_source(&self) {
        self.write("repo/main.c", "int main;\n");
        self.commit();
    }

    /// What a shell printed, how it was left, and where it stood.
    async fn shell(
        &self,
        input: &str,
        change: impl FnOnce(&mut ShellRequest),
    ) -> (String, Left, Option<Standing>) {
        let mut request = ShellRequest {
            archive: self.archive(),
            engine: Arc::new(self.engine.clone()),
            folders: self.folders(),
            target: TARGET.parse().unwrap(),
            run: None,
            stage: None,
            after: false,
            network: false,
            terminal: None,
        };
        change(&mut request);
        let (send, _events) = tokio::sync::mpsc::unbounded_channel();
        let (mut printed, mut stood) = (Vec::new(), None);
        let mut sink = |bytes: &[u8]| {
            printed.extend_from_slice(bytes);
            ControlFlow::Continue(())
        };
        let input = Box::pin(Cursor::new(input.to_owned().into_bytes()));
        let begin = |standing: &Standing| {
            stood = Some(standing.clone());
            Session { input, terminal: None }
        };
        let left = shell(request, send, CancellationToken::new(), begin, &mut sink).await.unwrap();
        (String::from_utf8(printed).unwrap(), left, stood)
    }

    /// The commands of the containers' steps since there were so many.
    fn since(&self, count: usize) -> Vec<Command> {
        self.engine.commands().split_off(count)
    }
}

fn stage(why: &report::TargetWhy, wanted: Stage) -> &report::StageWhy {
    why.stages.iter().find(|stage| stage.stage == wanted).unwrap()
}

#[tokio::test]
async fn what_changed_since_the_run_before_says_why_a_target_was_built() {
    let world = World::new();
    let first = world.run(PIPELINE).await.0.unwrap();
    let told = world.why_target();
    assert_eq!(told.before, None);
    assert!(stage(&told, Stage::Build).why.contains("no earlier run"), "{told:#?}");

    world.change_source();
    let text = format!("{PIPELINE}env = {{ LEVEL = \"2\" }}\n");
    let second = world.run(&text).await.0;
    let told = world.why_target();
    let build = stage(&told, Stage::Build);
    assert!(build.ran && build.why.ends_with(&format!("other than in run {}", first.id)), "{build:?}");
    assert!(build.cache.as_ref().unwrap().starts_with("no earlier run has passed"), "{build:?}");
    assert_eq!(told.changes.source.added, ["main.c"]);
    let fields: Vec<&str> = told.changes.fields.iter().map(|field| field.what.as_str()).collect();
    // That of a snapshot has no entry.
    assert_eq!(fields, ["changelog entry", "source tree", "commit", "package version", "environment"]);
    assert_eq!(told.changes.fields[4].new.as_deref(), Some("LEVEL=2"));
    assert_eq!(told.before.unwrap().run, first.id);

    let second = second.unwrap();
    world.run(&text).await.0.unwrap();
    let told = world.why_target();
    let build = stage(&told, Stage::Build);
    assert_eq!((build.ran, build.why.as_str()), (false, &*format!("packages of run {}", second.id)));
    world.is_clean();
}

#[tokio::test]
async fn a_failure_is_told_with_its_step_the_end_of_its_log_and_what_is_known_of_it() {
    let world = World::new();
    let first = world.run(PIPELINE).await.0.unwrap();
    world.change_source();
    world.fail_to_build();
    let record = world.run(PIPELINE).await.0.unwrap();
    let why = world.why(Asked::Run(record.id.to_string()));
    let failure = why.targets[0].failure.as_ref().unwrap();
    assert_eq!(
        (failure.stage, failure.outcome.as_str()),
        (Some(Stage::Build), "failed(build, missing-dependency)")
    );
    assert!(failure.message.contains("a header is missing: zlib.h"), "{failure:#?}");
    let step = failure.step.as_ref().unwrap();
    assert_eq!((step.command.as_str(), step.exit), ("/bin/sh -eu /packhold/build.sh", Some(2)));
    assert_eq!(failure.tail.last().unwrap(), "make: *** [all] Error 1");
    // The message says it already.
    assert_eq!(failure.known, None);
    let text = report::why(&why);
    for words in [
        "| make: *** [all] Error 1".to_owned(),
        format!("packhold shell {TARGET} --run {}", record.id),
        format!("packhold diff {} {}", first.id, record.id),
        "+ main.c".to_owned(),
    ] {
        assert!(text.contains(&words), "{words}: {text}");
    }
    assert!(text.lines().count() < 40, "it fits a screen: {text}");

    // The same once more: it failed, so nothing can be taken from there.
    world.run(PIPELINE).await.0.unwrap();
    let build = world.why_target();
    let build = stage(&build, Stage::Build);
    assert!(build.why.contains("had the same inputs, but failed(build, missing-dependency)"), "{build:?}");
}

#[tokio::test]
async fn a_target_that_no_run_has_is_named_with_those_that_there_are() {
    let world = World::new();
    world.run(PIPELINE).await.0.unwrap();
    let asked = Asked::Target("rocky-9/rpm".parse().unwrap());
    let error = why(&world.archive(), &world.folders(), &asked).unwrap_err();
    assert_eq!(error.to_string(), "no archived run has the target rocky-9/rpm");
    assert!(error.hint().contains(TARGET), "{}", error.hint());
    assert_eq!(error.exit_code(), 2);
}

#[tokio::test]
async fn two_runs_differ_in_what_they_were_built_from_and_in_what_they_made() {
    let world = World::new();
    let first = world.run(PIPELINE).await.0.unwrap();
    world.change_source();
    world.git(&["tag", "v1.0.1"]);
    world.fail_to_build();
    let second = world.run(PIPELINE).await.0.unwrap();
    let told = diff(&world.archive(), &world.folders(), first.id.as_str(), second.id.as_str()).unwrap();
    assert_eq!(told.source.as_ref().unwrap().added, ["main.c"]);
    let target = &told.targets[0];
    assert_eq!(
        (target.old.as_deref(), target.new.as_deref()),
        (Some("passed"), Some("failed(build, missing-dependency)"))
    );
    let inputs: Vec<&str> = target.inputs.iter().map(|field| field.what.as_str()).collect();
    assert_eq!(inputs, ["changelog entry", "source tree", "commit", "package version"]);
    assert_eq!((target.made.files[0].package.as_str(), target.made.files[0].new), ("demo", None));
    let build = target.stages.iter().find(|times| times.stage == Stage::Build).unwrap();
    assert!(build.old.is_some() && build.new.is_some());
    let text = report::diff(&told);
    assert!(text.contains("package demo: 7 B → – (gone)"), "{text}");
    assert!(text.contains("version   v1.0-0-g") && text.contains("→ v1.0.1-0-g"), "{text}");

    let same = diff(&world.archive(), &world.folders(), first.id.as_str(), first.id.as_str()).unwrap();
    assert!(same.fields.is_empty() && same.source.unwrap().is_empty() && same.targets[0].inputs.is_empty());
    world.is_clean();
}

#[tokio::test]
async fn what_a_stage_took_when_it_did_its_work_is_what_it_usually_takes() {
    let world = World::new();
    assert!(usual_durations(&world.archive(), "demo").is_empty());
    let slow = Script::exits(0).writing(&format!("/build/out/{DEB}"), *b"package");
    world.engine.on_exec(runs("build.sh", None), slow.after(Duration::from_millis(30)));
    let first = world.run(PIPELINE).await.0.unwrap();
    let build = first.targets[0].stages.iter().find(|done| done.stage == Stage::Build).unwrap();
    let usual = usual_durations(&world.archive(), "demo");
    let of =
        |target: Option<&str>, stage| usual.get(&(target.map(|name| name.parse().unwrap()), stage)).copied();
    assert_eq!(of(Some(TARGET), Stage::Build), Some(build.duration_ms));
    assert!(of(None, Stage::Source).is_some() && of(Some("debian-13/deb"), Stage::Build).is_none());
    // What is taken from there took no time, and tells nothing of how long it takes.
    for _ in 0..2 {
        world.run(PIPELINE).await.0.unwrap();
    }
    let after = usual_durations(&world.archive(), "demo");
    assert_eq!(after.get(&(Some(TARGET.parse().unwrap()), Stage::Build)), Some(&build.duration_ms));
    assert!(usual_durations(&world.archive(), "other").is_empty());
}

#[tokio::test]
async fn a_shell_stands_before_the_failed_step_with_its_user_folder_and_variables() {
    let world = World::new();
    let text = format!("{PIPELINE}prepare = \"./bootstrap\"\nenv = {{ LEVEL = \"2\" }}\n");
    world.engine.on_exec(runs("./bootstrap", None), Script::exits(0).writing("/build/source/made", *b"it\n"));
    world.fail_to_build();
    world.run(&text).await.0.unwrap();
    let before = world.engine.commands().len();
    let asks = "cat /build/source/debian/control\ncat /build/source/made\npwd\nid -u\n/bin/env\nexit 5\n";
    let (printed, left, stood) = world.shell(asks, |_| ()).await;
    assert_eq!(left, Left::Exited(5));
    for words in
        ["Source: demo", "it\n", "/build/source\n", "10000\n", "LEVEL=2\n", "PACKHOLD_TARGET=debian-12/deb\n"]
    {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    let opened = stood.unwrap().opened;
    assert_eq!(opened.done, [("run the target's prepare script".to_owned(), Some(0))]);
    let (title, argv) = opened.step.unwrap();
    assert_eq!(
        (title.as_str(), argv.join(" ")),
        ("build the packages", "/bin/sh -eu /packhold/build.sh".to_owned())
    );
    assert!(!world.since(before).iter().any(runs("build.sh", None)), "the failed step is not run");
    let spec = world.engine.created().pop().unwrap();
    assert_eq!((spec.network, spec.capabilities.len()), (Network::None, 0));
    world.is_clean();
    let logs = std::fs::read_dir(world.path("state/runs")).unwrap().count();
    assert_eq!(logs, 1, "a shell leaves no logs");
}

#[tokio::test]
async fn a_shell_can_stand_after_the_failed_step_and_have_a_network() {
    let world = World::new();
    world.fail_to_build();
    world.run(PIPELINE).await.0.unwrap();
    let (_, left, stood) = world
        .shell("true\n", |request| {
            request.after = true;
            request.network = true;
        })
        .await;
    assert_eq!(left, Left::Exited(0));
    assert_eq!(stood.unwrap().opened.done, [("build the packages".to_owned(), Some(2))]);
    let spec = world.engine.created().pop().unwrap();
    assert_eq!((spec.network, spec.capabilities.len()), (Network::Outside, 0));
    world.is_clean();
}

#[tokio::test]
async fn a_shell_stands_where_dependencies_are_installed_and_where_packages_are() {
    let world = World::new();
    world.engine.on_exec(
        runs("deps.sh", None),
        Script::exits(3).printing("packhold: missing-dependency: zlib1g-dev\n"),
    );
    world.run(PIPELINE).await.0.unwrap();
    let (printed, left, stood) = world.shell("cat /build/packaging/declared\nid -u\n", |_| ()).await;
    assert_eq!((printed.as_str(), left), ("build-depends: zlib1g-dev\n0\n", Left::Exited(0)));
    let stood = stood.unwrap().opened;
    assert_eq!((stood.stage, stood.image.role), (Stage::Deps, ImageRole::Builder));
    let spec = world.engine.created().pop().unwrap();
    assert_eq!(spec.network, Network::None, "unless it is asked for");

    world.engine.on_exec(runs("deps.sh", None), Script::exits(0));
    world.run(PIPELINE).await.0.unwrap();
    let asks = format!("cat /packages/new/{DEB}\n");
    let (printed, _, stood) = world.shell(&asks, |request| request.stage = Some(Stage::Verify)).await;
    assert_eq!(printed, "package");
    assert_eq!(stood.unwrap().opened.image.role, ImageRole::Base);
    world.is_clean();
}

#[tokio::test]
async fn a_shell_stands_in_the_shared_stage_that_failed() {
    let world = World::new();
    let text = format!(
        "{PIPELINE}[prepare]\nbuilder = \"debian-12\"\nscript = \"make-it\"\noutputs = [\"agent\"]\n"
    );
    world.engine.on_exec(|command| command.argv.iter().any(|word| word == "make-it"), Script::exits(1));
    world.run(&text).await.0.unwrap();
    let (printed, left, stood) = world.shell("cat /build/source/debian/control\n", |_| ()).await;
    assert!(printed.starts_with("Source: demo"), "{printed}");
    assert_eq!(left, Left::Exited(0));
    assert_eq!(stood.unwrap().opened.stage, Stage::Prepare);
    world.is_clean();
}

#[tokio::test]
async fn a_shell_that_cannot_be_opened_leaves_nothing() {
    let world = World::new();
    world.fail_to_build();
    world.run(PIPELINE).await.0.unwrap();
    let next = world.engine.calls(Method::Attach) + 1;
    let refuse = || EngineError::Refused { action: "run it".to_owned(), message: "no".to_owned() };
    world.engine.fail(Method::Attach, next, refuse);
    let (_, left, _) = world.shell("true\n", |_| ()).await;
    assert!(matches!(&left, Left::NotOpened(Outcome::Infra { .. })), "{left:?}");
    let (_, left, _) = world.shell("true\n", |request| request.stage = Some(Stage::Source)).await;
    assert!(matches!(&left, Left::NotOpened(Outcome::Broken { .. })), "{left:?}");
    world.is_clean();
}
