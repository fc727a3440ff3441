use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use tokio::io::AsyncReadExt;

use super::super::Store;
use super::{Bench, FILE, HARDLINK, SYMLINK, Tar, archive_of, archive_with, config_of, file_of, stream};
use crate::engine::EngineError;
use crate::model::Digest;

fn lower() -> Vec<u8> {
    Tar::default().folder("etc/").file("etc/lower", "lower").end()
}

fn upper() -> Vec<u8> {
    Tar::default().file("upper", &"u".repeat(100_000)).end()
}

#[tokio::test]
async fn an_image_is_found_by_tag_and_identity_and_says_what_it_is() {
    let bench = Bench::new();
    let (lower, upper) = (lower(), upper());
    let image = bench.load(&[&lower, &upper, &lower], "packhold/base:key").await;
    assert_eq!(image.id, Digest::of(config_of(&[&lower, &upper, &lower])));
    assert_eq!(image.layers, [Digest::of(&lower), Digest::of(&upper), Digest::of(&lower)]);
    assert_eq!((image.arch.as_str(), image.labels["made-by"].as_str()), ("amd64", "test"));
    assert_eq!(bench.layers(), 2);
    for name in ["packhold/base:key", "docker.io/packhold/base:key", &image.id.to_string()] {
        assert_eq!(bench.store.named(name).unwrap().as_ref(), Some(&image), "{name}");
    }
    assert_eq!(bench.store.with_id(&image.id).unwrap(), Some(image.clone()));
    for name in ["packhold/base", "packhold/base:other", "", "../../lock"] {
        assert_eq!(bench.store.named(name).unwrap(), None, "{name}");
    }
    let lease = bench.store.lease(&image.id, &bench.holder("c")).unwrap();
    assert_eq!(lease.config.env, ["PATH=/bin"]);
    assert_eq!(fs::read_to_string(lease.lower[0].join("etc/lower")).unwrap(), "lower");
    assert_eq!(fs::metadata(lease.lower[1].join("upper")).unwrap().len(), 100_000);
    assert_eq!(lease.lower[2], lease.lower[0]);
}

#[tokio::test]
async fn archives_of_every_style_give_the_same_image() {
    let (lower, upper) = (lower(), upper());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&lower).unwrap();
    let (gzip, zstd) = (gzip.finish().unwrap(), zstd::encode_all(&upper[..], 3).unwrap());
    let config = config_of(&[&lower, &upper, &lower]);
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let docker = |layers: [&str; 3]| {
        serde_json::json!([{ "Config": "c", "RepoTags": null, "Layers": layers }]).to_string()
    };
    let linked = |kind, link: &str| {
        Tar::default()
            .entry("1/layer.tar", FILE, "", &lower)
            .entry("2/layer.tar", FILE, "", &upper)
            .entry("3/layer.tar", kind, link, b"")
            .entry("c", FILE, "", &config)
            .file("manifest.json", &docker(["1/layer.tar", "2/layer.tar", "3/layer.tar"]))
            .end()
    };
    let descriptor = |bytes: &[u8]| serde_json::json!({ "mediaType": "x", "size": bytes.len(), "digest": Digest::of(bytes).to_string() });
    let manifest = serde_json::json!({
        "schemaVersion": 2, "config": descriptor(&config),
        "layers": [descriptor(&gzip), descriptor(&zstd), descriptor(&gzip)],
    })
    .to_string();
    let mut foreign = descriptor(b"of another platform");
    foreign["platform"] = serde_json::json!({ "os": "linux", "architecture": "s390x" });
    let mut own = descriptor(manifest.as_bytes());
    own["platform"] = serde_json::json!({
        "os": "linux", "architecture": super::super::platform::host().architecture,
    });
    let inner = serde_json::json!({ "manifests": [foreign, own] }).to_string();
    let index = serde_json::json!({ "manifests": [descriptor(inner.as_bytes())] }).to_string();
    let layout = Tar::default()
        .file("index.json", &index)
        .file("oci-layout", "{}")
        .file(&blob(inner.as_bytes()), &inner)
        .file(&blob(manifest.as_bytes()), &manifest)
        .entry(&blob(&config), FILE, "", &config)
        .entry(&blob(&gzip), FILE, "", &gzip)
        .entry(&blob(&zstd), FILE, "", &zstd)
        .end();
    let packed = Tar::default()
        .file("manifest.json", &docker(["a", "b", "a"]))
        .entry("c", FILE, "", &config)
        .entry("a", FILE, "", &gzip)
        .entry("b", FILE, "", &zstd)
        .end();
    for (style, archive) in [
        ("symbolic link", linked(SYMLINK, "../1/layer.tar")),
        ("hard link", linked(HARDLINK, "1/layer.tar")),
        ("packed", packed),
        ("layout", layout),
    ] {
        let bench = Bench::new();
        let image = bench.store.load(stream(archive), "a:b").await.unwrap();
        assert_eq!(image.id, Digest::of(&config), "{style}");
        assert_eq!(bench.layers(), 2, "{style}");
    }
}

#[tokio::test]
async fn an_image_keeps_its_identity_and_its_bytes_from_store_to_store() {
    let (one, two) = (Bench::new(), Bench::new());
    let (lower, upper) = (lower(), upper());
    let image = one.load(&[&lower, &upper], "a:b").await;
    let saved = one.save(&image.id).await;
    assert_eq!(file_of(&saved, &format!("{}.tar", Digest::of(&upper).hex())), upper);
    let loaded = two.store.load(stream(saved.clone()), "c:d").await.unwrap();
    assert_eq!(loaded, image);
    assert_eq!(two.save(&image.id).await, saved);
}

#[tokio::test]
async fn layers_that_the_store_has_need_not_come_again() {
    let bench = Bench::new();
    let (lower, upper) = (lower(), upper());
    bench.load(&[&lower], "a:b").await;
    let config = config_of(&[&lower, &upper]);
    let names = [&lower, &upper].map(|layer| format!("{}.tar", Digest::of(layer).hex()));
    let manifest = serde_json::json!([{ "Config": "c", "Layers": names }]).to_string();
    let without = |layer: Tar| layer.entry("c", FILE, "", &config).file("manifest.json", &manifest).end();
    let image = bench.store.load(stream(without(Tar::default().entry(&names[1], FILE, "", &upper))), "c:d");
    assert_eq!(image.await.unwrap().id, Digest::of(&config));
    // Not so where nobody has them.
    let other = Bench::new();
    let refused = other.refused_archive(without(Tar::default().entry(&names[1], FILE, "", &upper))).await;
    assert!(refused.contains("is missing"), "{refused}");
    // What stands under the name of a layer that is there is not looked at.
    let image = bench.store.load(stream(without(Tar::default().entry(&names[1], FILE, "", &lower))), "e:f");
    assert_eq!(image.await.unwrap().id, Digest::of(&config));
    assert_eq!(bench.layers(), 2);
}

#[tokio::test]
async fn an_image_goes_with_its_last_tag() {
    let bench = Bench::new();
    let (lower, upper) = (lower(), upper());
    let whole = bench.load(&[&lower, &upper], "a:b").await;
    bench.load(&[&lower, &upper], "c:d").await;
    let small = bench.load(&[&lower], "small:1").await;
    bench.store.remove_tag("a:b").unwrap();
    bench.store.remove_tag("a:b").unwrap();
    assert_eq!(bench.store.named("a:b").unwrap(), None);
    assert!(bench.store.with_id(&whole.id).unwrap().is_some());
    bench.store.remove_tag("c:d").unwrap();
    assert_eq!(bench.store.with_id(&whole.id).unwrap(), None);
    assert_eq!(bench.layers(), 1, "the small image has it too");
    // A tag that goes over to another image is taken from the first.
    bench.load(&[&upper], "small:1").await;
    assert_eq!(bench.store.with_id(&small.id).unwrap(), None);
    bench.store.remove_tag("small:1").unwrap();
    for folder in ["layers/sha256", "images", "tags", "leases", "tmp"] {
        assert_eq!(fs::read_dir(bench.path("store").join(folder)).unwrap().count(), 0, "{folder}");
    }
}

#[tokio::test]
async fn a_lease_keeps_an_image_while_the_folder_of_its_holder_is_there() {
    let bench = Bench::new();
    let image = bench.load(&[&lower()], "a:b").await;
    let holder = bench.holder("container");
    let lease = bench.store.lease(&image.id, &holder).unwrap();
    bench.store.lease(&image.id, &holder).unwrap();
    bench.store.remove_tag("a:b").unwrap();
    bench.store.sweep().unwrap();
    assert!(lease.lower[0].join("etc/lower").exists());
    assert_eq!(bench.store.with_id(&image.id).unwrap(), Some(image.clone()));
    fs::remove_dir(&holder).unwrap();
    bench.store.sweep().unwrap();
    assert_eq!(bench.store.with_id(&image.id).unwrap(), None);
    assert!(!lease.lower[0].exists());
    assert!(matches!(bench.store.lease(&image.id, &bench.holder("c")), Err(EngineError::NotFound(_))));
    assert!(matches!(bench.store.save(&image.id).await, Err(EngineError::NotFound(_))));
}

#[tokio::test]
async fn an_image_that_is_being_saved_stays() {
    let bench = Bench::new();
    // More than waits in the stream, so that the end has not been read from the disk.
    let layer = Tar::default().entry("large", FILE, "", &vec![7; 8 << 20]).end();
    let image = bench.load(&[&layer], "a:b").await;
    let mut stream = bench.store.save(&image.id).await.unwrap();
    let mut saved = vec![0; 1000];
    stream.read_exact(&mut saved).await.unwrap();
    bench.store.remove_tag("a:b").unwrap();
    bench.store.sweep().unwrap();
    stream.read_to_end(&mut saved).await.unwrap();
    assert_eq!(file_of(&saved, &format!("{}.tar", Digest::of(&layer).hex())), layer);
    // And no longer.
    for _ in 0..20 {
        bench.load(&[&lower()], "a:b").await;
        let image = bench.store.named("a:b").unwrap().unwrap();
        bench.save(&image.id).await;
        bench.store.remove_tag("a:b").unwrap();
        assert_eq!(bench.store.with_id(&image.id).unwrap(), None);
    }
}

#[tokio::test]
async fn a_layer_whose_files_have_changed_is_told_and_not_given_out_as_what_it_was() {
    let bench = Bench::new();
    let image = bench.load(&[&lower()], "a:b").await;
    let lease = bench.store.lease(&image.id, &bench.holder("c")).unwrap();
    for changed in ["LOWER", "low", "lower and more"] {
        fs::write(lease.lower[0].join("etc/lower"), changed).unwrap();
        let mut stream = bench.store.save(&image.id).await.unwrap();
        let error = stream.read_to_end(&mut Vec::new()).await;
        assert_eq!(error.is_err(), changed != "lower and more", "{changed}");
    }
}

#[tokio::test]
async fn layers_that_are_not_what_the_configuration_names_are_refused() {
    let bench = Bench::new();
    let (lower, upper) = (lower(), upper());
    let config = config_of(&[&lower]);
    for (archive, why) in [
        (archive_with(&config, &[&upper]), "should be"),
        (archive_with(&config, &[&lower, &upper]), "2 layers"),
        (archive_with(&config, &[]), "0 layers"),
        (archive_with(b"{}", &[]), "cannot be read"),
        (archive_with(br#"{"os":"windows","rootfs":{}}"#, &[]), "windows"),
        (archive_with(&config, &[b"no tar"]), "is no tar"),
        (Vec::new(), "ends early"),
        (b"not a tar".repeat(100_000), "checksum"),
        (Tar::default().file("x", "y").end(), "no `manifest.json`"),
        (Tar::default().file("manifest.json", "[]").end(), "0 images"),
    ] {
        let refused = bench.refused_archive(archive).await;
        assert!(refused.contains(why), "{why}: {refused}");
    }
}

#[tokio::test]
async fn an_archive_that_ends_early_leaves_nothing() {
    let bench = Bench::new();
    let whole = archive_of(&[&lower(), &upper()]);
    for length in (0..whole.len() - 1023).step_by(25_600) {
        assert!(bench.store.load(stream(&whole[..length]), "a:b").await.is_err(), "{length}");
    }
    assert_eq!(bench.store.named("a:b").unwrap(), None);
    assert_eq!(bench.layers(), 0);
    assert_eq!(fs::read_dir(bench.path("store/tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn the_store_is_its_owners_alone() {
    let bench = Bench::new();
    let dir = bench.path("store");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    Store::open(&dir).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn what_a_power_failure_has_spoiled_is_found_out_and_can_be_loaded_again() {
    let bench = Bench::new();
    let (lower, upper) = (lower(), upper());
    let image = bench.load(&[&lower, &upper], "a:b").await;
    let other = bench.load(&[&upper], "c:d").await;
    let boots =
        || image.layers.iter().map(|layer| bench.path("store/layers/sha256").join(layer.hex()).join("boot"));
    let reboot = || boots().for_each(|boot| fs::write(boot, "an earlier one").unwrap());
    // Nothing has happened to it.
    reboot();
    assert_eq!(bench.store.named("a:b").unwrap().as_ref(), Some(&image));
    assert!(boots().all(|boot| !boot.exists()), "it is proven once");
    // A file has lost its content.
    reboot();
    fs::write(bench.path("store/layers/sha256").join(image.layers[0].hex()).join("tree/etc/lower"), "")
        .unwrap();
    assert_eq!(bench.store.named("a:b").unwrap(), None);
    assert_eq!(bench.store.with_id(&other.id).unwrap(), Some(other.clone()));
    assert_eq!(bench.layers(), 1);
    assert_eq!(bench.load(&[&lower, &upper], "a:b").await, image);
    assert_eq!(bench.store.named("a:b").unwrap().as_ref(), Some(&image));
    // A load finds it out as well, even where it would have taken the layer for granted.
    reboot();
    fs::write(bench.path("store/layers/sha256").join(image.layers[1].hex()).join("recipe"), "").unwrap();
    let saved = Bench::new();
    saved.load(&[&lower, &upper], "a:b").await;
    let archive = saved.save(&image.id).await;
    assert_eq!(bench.store.load(stream(archive.clone()), "a:b").await.unwrap(), image);
    assert_eq!(bench.save(&image.id).await, archive);
    // So are empty files.
    for folder in ["tags", "images"] {
        for file in fs::read_dir(bench.path("store").join(folder)).unwrap() {
            fs::write(file.unwrap().path(), "").unwrap();
        }
        assert_eq!(bench.store.named("a:b").unwrap(), None);
        bench.store.sweep().unwrap();
        assert_eq!(bench.load(&[&lower, &upper], "a:b").await, image);
    }
}

#[tokio::test]
async fn a_layer_on_which_a_load_relies_stays_until_the_image_is_there() {
    let bench = Bench::new();
    let (lower, upper) = (lower(), upper());
    bench.load(&[&lower, &upper], "a:b").await;
    let config = config_of(&[&lower]);
    let name = format!("{}.tar", Digest::of(&lower).hex());
    let manifest = serde_json::json!([{ "Config": "c", "Layers": [name] }]).to_string();
    // More follows than is read at a time, so that the layer is met while the end has not come.
    let first = Tar::default().entry(&name, FILE, "", &lower).entry("large", FILE, "", &vec![7; 2 << 20]);
    let whole = first.clone().entry("c", FILE, "", &config).file("manifest.json", &manifest).end();
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let store = bench.store.clone();
    let loading = tokio::spawn(async move { store.load(Box::pin(far), "c:d").await });
    tokio::io::AsyncWriteExt::write_all(&mut near, &whole[..first.0.len()]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    bench.store.remove_tag("a:b").unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut near, &whole[first.0.len()..]).await.unwrap();
    drop(near);
    assert_eq!(loading.await.unwrap().unwrap().id, Digest::of(&config));
    assert_eq!(bench.layers(), 1);
    bench.store.remove_tag("c:d").unwrap();
    assert_eq!(bench.layers(), 0);
}

#[tokio::test]
async fn nothing_is_seen_of_an_image_before_what_it_is_made_of() {
    let bench = Bench::new();
    let archive = archive_of(&[&lower()]);
    let seen = |folder: &str| fs::read_dir(bench.path("store").join(folder)).unwrap().count();
    // Where layers go, nothing can go.
    let layers = bench.path("store/layers/sha256");
    fs::remove_dir(&layers).unwrap();
    fs::write(&layers, "").unwrap();
    assert!(bench.store.load(stream(archive.clone()), "a:b").await.is_err());
    assert_eq!((seen("images"), seen("tags"), seen("tmp")), (0, 0, 0));
    fs::remove_file(&layers).unwrap();
    fs::create_dir(&layers).unwrap();
    // Where its configuration goes, it cannot go.
    let config =
        bench.path("store/images").join(format!("{}.json", Digest::of(config_of(&[&lower()])).hex()));
    fs::create_dir_all(config.join("in the way")).unwrap();
    assert!(bench.store.load(stream(archive.clone()), "a:b").await.is_err());
    assert_eq!((seen("tags"), seen("tmp")), (0, 0));
    fs::remove_dir_all(&config).unwrap();
    bench.store.load(stream(archive), "a:b").await.unwrap();
    assert_eq!((seen("images"), seen("tags"), bench.layers()), (1, 1, 1));
}

#[tokio::test]
async fn a_load_that_nobody_wants_any_more_ends_while_its_stream_gives_nothing() {
    let bench = Bench::new();
    let archive = archive_of(&[&Tar::default().entry("large", FILE, "", &vec![7; 2 << 20]).end()]);
    let (mut near, far) = tokio::io::duplex(64 << 10);
    let store = bench.store.clone();
    let loading = tokio::spawn(async move { store.load(Box::pin(far), "a:b").await });
    tokio::io::AsyncWriteExt::write_all(&mut near, &archive[..1 << 20]).await.unwrap();
    let left = || fs::read_dir(bench.path("store/tmp")).unwrap().count();
    assert_eq!(left(), 1);
    loading.abort();
    let begun = std::time::Instant::now();
    while left() > 0 {
        assert!(begun.elapsed().as_secs() < 20, "its workspace is still there");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(tokio::io::AsyncWriteExt::write_all(&mut near, &archive).await.is_err(), "somebody still reads");
    assert_eq!(bench.store.named("a:b").unwrap(), None);
}
