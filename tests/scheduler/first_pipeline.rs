//! The pipeline that is proposed for a repository, planned and run.

use packhold::init::{Tree, look, propose};
use packhold::run::preview;
use packhold::source::Repository;

use super::*;

fn proposed(world: &World) -> String {
    let repository = Repository::discover(&world.path("repo"), &world.path("cache")).unwrap();
    propose(&look(&Tree::read(&repository, "").unwrap()), &[]).unwrap().text
}

#[tokio::test]
async fn a_proposed_pipeline_can_be_planned_for_every_target() {
    let world = World::new();
    world.write("repo/debian/rules", "#!/usr/bin/make -f\n");
    world.write("repo/packaging/rpm/demo.spec", "Name: demo\nVersion: 0.1\n%description\n");
    world.commit();
    let text = proposed(&world);
    let planned = preview(world.request(&text), CancellationToken::new()).await.unwrap();
    let told: Vec<_> =
        planned.targets.iter().map(|one| (one.target.to_string(), one.version.as_str())).collect();
    // One commit after the tag v1.0.
    let commit = &planned.source.commit[..12];
    let (deb, rpm) = (format!("1.0+1.g{commit}-1"), format!("1.0^1.g{commit}-1"));
    let expected = [("debian-12/deb", &deb), ("debian-13/deb", &deb), ("debian-rpm/rpm", &rpm)];
    assert_eq!(told, expected.map(|(target, version)| (target.to_owned(), version.as_str())), "{text}");
    for target in &planned.targets {
        assert!(target.steps.is_ok(), "{:?}", target.steps);
    }
}

#[tokio::test]
async fn a_proposed_pipeline_passes_as_it_is() {
    let world = World::new();
    world.write("repo/debian/rules", "#!/usr/bin/make -f\n");
    world.commit();
    world.git(&["tag", "-f", "v1.0"]);
    world.engine.in_registry(
        "docker.io/library/debian:trixie",
        &[("/build/.keep", b""), ("/packages/new/.keep", b"")],
    );
    let record = world.run(&proposed(&world)).await.0.unwrap();
    assert_eq!((record.targets.len(), &record.outcome), (2, &Outcome::Passed));
}
