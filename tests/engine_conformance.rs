//! Every engine does the same: the suite of `packhold::engine::conformance` on each of them.

#[path = "common/busybox.rs"]
mod busybox;

use std::io::Cursor;

use packhold::engine::conformance::{Verdict, run_all};
use packhold::engine::docker::Docker;
use packhold::engine::embedded::{Embedded, Settings};
use packhold::engine::fake::Fake;
use packhold::engine::{Engine, ImageSource, Object};

async fn conforms(engine: &dyn Engine, may_skip: bool) {
    let tag = format!("packhold-conformance-base:{}", std::process::id());
    let archive = Box::pin(Cursor::new(busybox::busybox_image()));
    let image = engine.load(ImageSource::Archive(archive), &tag).await.expect("the tests' image loads");
    let verdicts = run_all(engine, &image.id).await;
    engine.remove(&Object::ImageTag(tag)).await.expect("the tests' image goes");

    let bad = |verdict: &Verdict| match verdict {
        Verdict::Passed => false,
        Verdict::Failed(_) => true,
        Verdict::Skipped(_) => !may_skip,
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
    conforms(&docker, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_conforms() {
    let place = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        folder: place.path().join("engine"),
        helper: env!("CARGO_BIN_EXE_packhold").into(),
        upper: None,
        registries: Default::default(),
    };
    let embedded = Embedded::open(&settings).expect("this test needs root, overlayfs and control groups");
    conforms(&embedded, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_engine_conforms_but_for_what_needs_a_kernel() {
    conforms(&Fake::new(), true).await;
}
