//! Every engine does the same: the suite of `packhold::engine::conformance` on each of them.

#[path = "common/busybox.rs"]
mod busybox;
#[path = "common/rootless.rs"]
mod rootless;

use std::io::Cursor;
use std::path::Path;

use packhold::engine::conformance::{Needs, Verdict, run_all};
use packhold::engine::docker::Docker;
use packhold::engine::embedded::{Embedded, Settings};
use packhold::engine::fake::Fake;
use packhold::engine::{Capability, Engine, EngineError, ImageSource, Object};

/// Checks an engine, which may have to do without some things.
async fn conforms(engine: &dyn Engine, without: &[Needs]) {
    let tag = format!("packhold-conformance-base:{}", std::process::id());
    let archive = Box::pin(Cursor::new(busybox::busybox_image()));
    let image = engine.load(ImageSource::Archive(archive), &tag).await.expect("the tests' image loads");
    let verdicts = run_all(engine, &image.id).await;
    engine.remove(&Object::ImageTag(tag)).await.expect("the tests' image goes");

    let bad = |verdict: &Verdict| match verdict {
        Verdict::Passed => false,
        Verdict::Failed(_) => true,
        Verdict::Skipped(needs) => !without.contains(needs),
    };
    let bad: Vec<_> = verdicts.iter().filter(|(_, verdict)| bad(verdict)).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_engine_conforms() {
    let address = std::env::var("DOCKER_HOST").ok();
    let docker = Docker::connect(address.as_deref())
        .await
        .expect("this test needs Docker: start it, or set DOCKER_HOST");
    conforms(&docker, &[]).await;
}

/// An embedded engine in a folder.
fn embedded(place: &Path) -> Embedded {
    let settings = Settings {
        folder: place.join("engine"),
        helper: env!("CARGO_BIN_EXE_packhold").into(),
        upper: None,
        archive: None,
        registries: Default::default(),
    };
    Embedded::open(&settings).expect("this test needs root, overlayfs and control groups")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_conforms() {
    let place = tempfile::tempdir().expect("a folder");
    conforms(&embedded(place.path()), &[]).await;
}

#[test]
fn the_embedded_engine_of_an_ordinary_user_conforms_but_for_limits_and_init_systems() {
    rootless::again_as_an_ordinary_user(&["--exact", "inside_the_embedded_engine_conforms", "--ignored"]);
}

#[test]
#[ignore = "needs control groups of version 2 alone: make cgroup-v2"]
fn the_embedded_engine_in_a_delegated_group_conforms() {
    let test = "inside_a_delegated_group_the_embedded_engine_conforms";
    rootless::again_in_a_delegated_group(&["--exact", test, "--ignored"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by another test, in a user namespace"]
async fn inside_the_embedded_engine_conforms() {
    let lacks = [Capability::Limits, Capability::Init, Capability::Devices];
    an_ordinary_users_conforms(&[Needs::Limits, Needs::Init], &lacks).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by another test, in a user namespace and a control group"]
async fn inside_a_delegated_group_the_embedded_engine_conforms() {
    an_ordinary_users_conforms(&[], &[Capability::Devices]).await;
}

async fn an_ordinary_users_conforms(without: &[Needs], lacks: &[Capability]) {
    let place = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        folder: place.path().join("engine"),
        helper: rootless::program(),
        upper: None,
        archive: None,
        registries: Default::default(),
    };
    let embedded = Embedded::open(&settings).expect("this test needs overlayfs");
    conforms(&embedded, without).await;
    let info = embedded.info().await.expect("the engine");
    let told: Vec<_> = info.shortcomings.iter().map(|each| each.what).collect();
    assert_eq!(told, lacks);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_engine_conforms_but_for_what_needs_a_kernel() {
    conforms(&Fake::new(), &[Needs::Isolation, Needs::Limits, Needs::Init]).await;
}

/// A file system with a second layer that has a file and a hard link to `target`.
fn with_link(target: &str) -> Vec<u8> {
    use tar::EntryType;
    let mut layer = tar::Builder::new(Vec::new());
    busybox::append(&mut layer, "linked/own", EntryType::Regular, 0o644, b"own", None);
    busybox::append(&mut layer, "linked/link", EntryType::Link, 0o644, b"", Some(target));
    busybox::archive_of(&[busybox::busybox_layer(), layer.into_inner().expect("a tar in memory")])
}

/// Docker's overlay2 driver unpacks a layer where the layers below it are not seen.
async fn refuses_links_to_other_layers(engine: &dyn Engine) {
    let tag = format!("packhold-conformance-link:{}", std::process::id());
    let load = async |target: &str| {
        let archive = Box::pin(Cursor::new(with_link(target)));
        engine.load(ImageSource::Archive(archive), &tag).await
    };
    load("linked/own").await.expect("a link within its layer is taken");
    engine.remove(&Object::ImageTag(tag.clone())).await.expect("the image goes");
    let refused = load("bin/busybox").await;
    assert!(matches!(refused, Err(EngineError::Refused { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_refuses_a_hard_link_to_a_file_of_another_layer() {
    let address = std::env::var("DOCKER_HOST").ok();
    let docker = Docker::connect(address.as_deref()).await.expect("this test needs Docker");
    refuses_links_to_other_layers(&docker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_refuses_a_hard_link_to_a_file_of_another_layer() {
    let place = tempfile::tempdir().expect("a folder");
    let embedded = embedded(place.path());
    refuses_links_to_other_layers(&embedded).await;
}
