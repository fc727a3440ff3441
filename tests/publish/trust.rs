//! What is signed, and kept, when others can write to a repository or know less of it.

use std::fs;

use jiff::SignedDuration;
use packhold::publish::{Options, PublishError};

use crate::apt::{apt_finds, channel, options, publication, repository};
use crate::packages::{deb, rpm};
use crate::signer::Key;

#[tokio::test]
async fn what_nobody_known_has_signed_is_not_signed_on_the_way() {
    let (work, root, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Key::new());
    let ours = repository(root.path(), options());
    let package = |n: u32| deb(work.path(), "a", &format!("1.{n}"), "amd64", &["usr/bin/a"], "");
    let rpm = |n: u32| rpm(work.path(), "a", &format!("1.{n}"), "x86_64", "");
    let debs = |n: u32| publication(&format!("run {n}"), "stable", "bookworm", &[package(n)]);
    let rpms = |n: u32| publication(&format!("run {n}"), "stable", "rocky-9", &[rpm(n)]);
    let (second_debs, second_rpms) = (debs(2), rpms(2));
    ours.publish(&debs(1), key.signer()).await.unwrap();
    ours.publish(&rpms(1), key.signer()).await.unwrap();

    // Somebody writes there who has no key.
    for (file, letters, publication) in [
        ("dists/bookworm/InRelease", ("Codename: bookworm", "Codename: bookwarm"), &second_debs),
        ("rpm/stable/rocky-9/x86_64/repodata/repomd.xml", ("<timestamp>", "<timestamp> "), &second_rpms),
    ] {
        let path = root.path().join(file);
        let good = fs::read_to_string(&path).unwrap();
        assert!(good.contains(letters.0), "{good}");
        fs::write(&path, good.replacen(letters.0, letters.1, 1)).unwrap();
        let refused = ours.publish(publication, key.signer()).await;
        assert!(matches!(refused, Err(PublishError::Untrusted { .. })), "{file}: {refused:?}");
        fs::write(&path, &good).unwrap();
        let stranger = Key::new();
        let refused = ours.publish(publication, stranger.signer()).await;
        assert!(matches!(refused, Err(PublishError::Untrusted { .. })), "{file}: {refused:?}");
        ours.publish(publication, key.signer()).await.unwrap();
    }
    // A signature that has got lost while a publisher was killed is found again.
    let signature = root.path().join("rpm/stable/rocky-9/x86_64/repodata/repomd.xml.asc");
    let good = fs::read(&signature).unwrap();
    fs::write(&signature, "of the state before").unwrap();
    ours.publish(&second_rpms, key.signer()).await.unwrap();
    assert_eq!(fs::read(&signature).unwrap(), good);

    // Nothing in it becomes one without signature, and nothing is taken over but by name.
    let refused = ours.publish(&publication("run", "testing", "trixie", &[package(1)]), None).await;
    assert!(matches!(refused, Err(PublishError::WouldUnsign { .. })), "{refused:?}");
    let foreign = tempfile::tempdir().unwrap();
    repository(foreign.path(), options()).publish(&debs(1), None).await.unwrap();
    let refused = repository(foreign.path(), options()).publish(&debs(2), key.signer()).await;
    assert!(matches!(refused, Err(PublishError::Untrusted { .. })), "{refused:?}");
    let adopting = repository(foreign.path(), Options { adopt: true, ..options() });
    adopting.publish(&debs(2), key.signer()).await.unwrap();
    let finds = apt_finds(foreign.path(), "bookworm", Some(&key.keyring()));
    assert_eq!(finds.into_iter().collect::<Vec<_>>(), ["a 1.1", "a 1.2"]);
}

#[tokio::test]
async fn names_stay_and_time_is_given_anew_whoever_publishes() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = |origin: &str, name: &str, valid_for| Options {
        origin: origin.to_owned(),
        name: name.to_owned(),
        valid_for,
        ..Options::default()
    };
    let package = |n: u32| deb(work.path(), "a", &format!("1.{n}"), "amd64", &["usr/bin/a"], "");
    let debs = |n: u32| publication(&format!("run {n}"), "stable", "bookworm", &[package(n)]);
    let field = |name: &str| {
        let release = fs::read_to_string(root.path().join("dists/bookworm/Release")).unwrap();
        let found =
            release.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        found.unwrap_or_default()
    };
    let first = repository(root.path(), options("", "first", None));
    first.publish(&debs(1), None).await.unwrap();
    assert_eq!(
        (field("Origin"), field("Label"), field("Valid-Until")),
        ("first".into(), "first".into(), "".into())
    );
    let day = Some(SignedDuration::from_hours(24));
    let second = repository(root.path(), options("", "second", day));
    second.publish(&debs(2), None).await.unwrap();
    assert_eq!((field("Origin"), field("Label")), ("first".into(), "first".into()));
    let until = field("Valid-Until");
    assert!(!until.is_empty());
    // A day is enough for a day, and not for a year.
    second.publish(&debs(2), None).await.unwrap();
    assert_eq!(field("Valid-Until"), until);
    let year = repository(root.path(), options("", "second", Some(SignedDuration::from_hours(24 * 365))));
    year.publish(&debs(2), None).await.unwrap();
    assert_ne!(field("Valid-Until"), until);
    let until = field("Valid-Until");
    repository(root.path(), Options::default()).roll_back(&channel("stable"), None).await.unwrap();
    assert_eq!((field("Origin"), field("Valid-Until")), ("first".into(), until));
}

#[tokio::test]
async fn a_rollback_goes_back_everywhere_or_nowhere() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ours = repository(root.path(), options());
    let package = |n: u32| deb(work.path(), "a", &format!("1.{n}"), "amd64", &["usr/bin/a"], "");
    ours.publish(&publication("run 1", "stable", "bookworm", &[package(1)]), None).await.unwrap();
    let mut second = publication("run 2", "stable", "bookworm", &[package(2)]);
    second.packages.extend(publication("run 2", "stable", "trixie", &[package(2)]).packages);
    ours.publish(&second, None).await.unwrap();
    let refused = ours.roll_back(&channel("stable"), None).await;
    assert!(matches!(refused, Err(PublishError::NothingBefore { .. })), "{refused:?}");
    let finds = apt_finds(root.path(), "bookworm", None);
    assert_eq!(finds.into_iter().collect::<Vec<_>>(), ["a 1.1", "a 1.2"]);
}

#[tokio::test]
async fn after_a_rollback_the_repo_file_names_the_keys_of_the_packages_that_are_back() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [old, new] = [Key::new(), Key::new()];
    let options =
        || Options { url: Some("https://example.org/p".into()), sign_rpms: true, keep: Some(1), ..options() };
    let publish = |n: u32| {
        let package = rpm(work.path(), "a", &format!("1.{n}"), "x86_64", "");
        publication(&format!("run {n}"), "stable", "rocky-9", &[package])
    };
    let named = || {
        let file = fs::read_to_string(root.path().join("install/stable-rocky-9.repo")).unwrap();
        let keys: Vec<String> = file
            .lines()
            .filter_map(|line| Some(line.split_once("/install/")?.1.strip_suffix(".asc")?.to_owned()))
            .collect();
        assert!(keys.iter().all(|key| root.path().join(format!("install/{key}.asc")).is_file()), "{keys:?}");
        (keys, file)
    };
    let fingerprint = |key: &Key| key.signer().unwrap().certificates().unwrap()[0].fingerprint.clone();
    repository(root.path(), options()).publish(&publish(1), old.signer()).await.unwrap();
    let both = old.beside(&new);
    repository(root.path(), options()).publish(&publish(2), Some(&both)).await.unwrap();
    repository(root.path(), options()).publish(&publish(3), new.signer()).await.unwrap();
    assert_eq!(named().0, [fingerprint(&new)], "one version stays, which the new key has signed");
    // Whoever rolls back need not know what else users are told.
    let bare = || Options { sign_rpms: true, ..Options::default() };
    repository(root.path(), bare()).roll_back(&channel("stable"), new.signer()).await.unwrap();
    repository(root.path(), bare()).roll_back(&channel("stable"), new.signer()).await.unwrap();
    let (keys, file) = named();
    assert_eq!(keys, [fingerprint(&new), fingerprint(&old)]);
    assert!(file.contains("\nname=Example packages (stable)\nbaseurl=https://example.org/p/rpm/"), "{file}");
}
