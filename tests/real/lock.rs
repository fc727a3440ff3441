//! A lock on a real engine: made, kept to, and refused where it does not hold.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{Workplace, docker, succeed};

/// A builder whose images take seconds: Debian's base image and one small package each.
fn small_builder(place: &Workplace) {
    let folder = place.path("builders/small-12");
    fs::create_dir_all(&folder).unwrap();
    let manifest = "extends = \"debian-12\"\n[base]\nregistry = \"registry.invalid/none:1\"\n";
    fs::write(folder.join("builder.toml"), manifest).unwrap();
    let prepare = "set -eu\n. /packhold/apt.sh\napt_update\napt_get install make\n\
                   groupadd --gid 10000 packhold\n\
                   useradd --uid 10000 --gid packhold --home-dir /build --no-create-home --no-log-init packhold\n\
                   install -d -o packhold -g packhold /build\napt_clean\n";
    fs::write(folder.join("prepare.sh"), prepare).unwrap();
    let build = "set -eu\nmkdir -p /build/p/DEBIAN\n\
                 printf 'Package: tinyagent\\nVersion: %s\\nArchitecture: all\\nMaintainer: T <t@packhold.invalid>\\n\
                 Description: tiny\\n' \"$PACKHOLD_PACKAGE_VERSION\" >/build/p/DEBIAN/control\n\
                 dpkg-deb --root-owner-group --build /build/p \"$PACKHOLD_OUT/tinyagent_${PACKHOLD_PACKAGE_VERSION}_all.deb\"\n";
    fs::write(folder.join("build.sh"), build).unwrap();
}

const PIPELINE: &str = "[package]\nname = \"tinyagent\"\n[target.\"small-12/deb\"]\npackaging = \"small\"\ndeps = [\"file\"]\n\
                        [verify]\nskip = [\"service\", \"upgrade\", \"no-docs\", \"lint\", \"reinstall\", \"integrity\", \"purge\"]\n\
                        [archive]\nimages = false\n";

/// The root file system of the base image that other tests use.
fn export_base(place: &Workplace, to: &Path) {
    let known = place.run(&["--target", "debian-12/deb"]);
    let images = known.record()["images"].as_array().unwrap();
    let base = images.iter().find(|image| image["role"] == "base").unwrap()["id"].as_str().unwrap();
    let container = docker(&["create", base, "true"]);
    docker(&["export", "--output", to.to_str().unwrap(), container.trim()]);
    docker(&["rm", container.trim()]);
}

#[test]
fn a_locked_run_takes_the_locked_images_makes_them_again_and_refuses_others() {
    let place = Workplace::new("tinyagent");
    small_builder(&place);
    let tar = place.path("base.tar");
    export_base(&place, &tar);
    fs::create_dir(place.repository.join("small")).unwrap();
    let control = "Source: tinyagent\n\nPackage: tinyagent\nArchitecture: all\n";
    fs::write(place.repository.join("small/control"), control).unwrap();
    fs::write(place.repository.join("small/changelog"), "").unwrap();
    crate::common::git(&place.repository, &["add", "--all"]);
    crate::common::git(&place.repository, &["commit", "--quiet", "--message", "small"]);
    let file = place.repository.join("small.toml");
    fs::write(&file, PIPELINE).unwrap();
    let (builders, tar) =
        (place.path("builders").display().to_string(), format!("small-12={}", tar.display()));
    let common = ["small.toml", "--builders", &builders, "--base-tar", &tar];
    let update = || {
        let output = place.command(&["update", "--format", "json"]).args(common).output().unwrap();
        let text = succeed("update", output);
        serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap()
    };
    let updated = update();
    assert_eq!(updated["changed"], true, "{updated:#}");
    let lock = fs::read_to_string(place.repository.join("small.lock")).unwrap();
    let make = lock.lines().find(|line| line.contains("name = \"make\"")).unwrap();
    assert!(make.contains("sha256 = \""), "{make}");
    let locked = || place.run(&[&common[..], &["--locked", "--rebuild"]].concat());
    let run = locked();
    assert_eq!(run.exit, 0, "{:#}", run.record()["targets"]);
    assert_eq!(run.record()["lock"]["file"], "small.lock");

    // The engine loses an image that no archive has: the same packages give it again.
    let images = run.record()["images"].as_array().unwrap().clone();
    let of = |role: &str| images.iter().find(|image| image["role"] == role).unwrap().clone();
    let tag = |role: &str| format!("packhold/{role}:{}", &of(role)["key"].as_str().unwrap()[7..39]);
    docker(&["image", "rm", &tag("deps")]);
    let again = locked();
    assert_eq!(again.exit, 0, "{:#}", again.record()["targets"]);
    let made =
        again.record()["images"].as_array().unwrap().iter().find(|i| i["role"] == "deps").unwrap().clone();
    assert_eq!((&made["obtained"], &made["id"]), (&"built".into(), &of("deps")["id"]));

    // A lock that names another image of the engine, one of a list of dependencies that has changed.
    let (deps, base) = (of("deps")["id"].clone(), of("base")["id"].clone());
    let other = lock.replace(deps.as_str().unwrap(), base.as_str().unwrap());
    fs::write(place.repository.join("small.lock"), other).unwrap();
    let refused = locked();
    let message = refused.record()["targets"][0]["outcome"]["message"].as_str().unwrap();
    assert!(message.contains("the small-12/deb deps image is not the locked one"), "{message}");
    assert_eq!(refused.exit, 2);
    fs::write(place.repository.join("small.lock"), &lock).unwrap();
    fs::write(&file, PIPELINE.replace("\"file\"", "\"file\", \"bc\"")).unwrap();
    let refused = locked();
    let message = refused.record()["targets"][0]["outcome"]["message"].as_str().unwrap();
    assert!(message.contains("the dependencies of small-12/deb have changed: + bc"), "{message}");
    assert_eq!(refused.exit, 2);
    place.assert_clean(&refused, &[]);

    let locked_tag = format!("{}-{}", tag("deps"), &deps.as_str().unwrap()[7..19]);
    for tag in [locked_tag, tag("builder"), tag("base")] {
        docker(&["image", "rm", &tag]);
    }
}
