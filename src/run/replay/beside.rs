//! What is told beside a difference: the machine, the packages in the image, and what diffoscope says.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::compare::Difference;
use crate::config::Builder;
use crate::model::{EngineRecord, ImageRecord, InstalledPackage, RunRecord, TargetName};
use crate::stage::{Recorder, StageResult, Workshop, installed};
use crate::support::fs::{FsError, PathContext};

/// Seconds that diffoscope gets for one file.
const PATIENCE: u32 = 300;

/// How this machine differs from the one that ran it.
pub(super) fn environment(then: &RunRecord, now: &EngineRecord) -> Vec<Difference> {
    let was = &then.engine;
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let cores = |cores: Option<u32>| cores.map_or_else(|| "unknown".to_owned(), |cores| cores.to_string());
    let engine = |engine: &EngineRecord| format!("{} {}", engine.kind, engine.version);
    let members = [
        ("packhold", then.tool.version.clone(), env!("CARGO_PKG_VERSION").to_owned()),
        ("engine", engine(was), engine(now)),
        ("architecture", was.arch.clone(), now.arch.clone()),
        ("kernel", text(&was.kernel), text(&now.kernel)),
        ("cores", cores(was.cores), cores(now.cores)),
    ];
    let differ = members.into_iter().filter(|(_, then, now)| then != now);
    let told = differ.map(|(member, then, now)| (member.to_owned(), format!("{then} → {now}")));
    told.map(|(member, what)| Difference { member, what }).collect()
}

/// How what is installed in the image differs from what its record says. Nothing should, since the image is the archived one;
/// where a package differs all the same, this rules its dependencies out, or not.
pub(super) async fn packages(
    shop: &Workshop,
    recorder: &mut Recorder,
    builder: &Builder,
    image: &ImageRecord,
) -> StageResult<Vec<Difference>> {
    let now = installed(shop, recorder, builder, image).await?;
    Ok(differences(&image.packages, &now))
}

fn differences(then: &[InstalledPackage], now: &[InstalledPackage]) -> Vec<Difference> {
    let set = |packages: &[InstalledPackage]| -> BTreeSet<(String, String, String)> {
        let parts = |package: &InstalledPackage| {
            (package.name.clone(), package.arch.clone(), package.version.clone())
        };
        packages.iter().map(parts).collect()
    };
    let (then, now) = (set(then), set(now));
    let tell = |(name, arch, version): &(String, String, String), which: &str| Difference {
        member: format!("{name}:{arch}"),
        what: format!("{version} only {which}"),
    };
    let lost = then.difference(&now).map(|package| tell(package, "in the record"));
    let new = now.difference(&then).map(|package| tell(package, "in the image"));
    let mut all: Vec<Difference> = lost.chain(new).collect();
    all.sort_by(|a, b| a.member.cmp(&b.member));
    all
}

/// Keeps both files, and what diffoscope says of them if it is installed.
pub(super) fn keep_both(
    keep: &Path,
    target: &TargetName,
    name: &str,
    old: &[u8],
    new: &[u8],
) -> Result<(), FsError> {
    let folder = keep.join(target.file_stem());
    for (which, bytes) in [("archived", old), ("built", new)] {
        let folder = folder.join(which);
        fs::create_dir_all(&folder).at("create", &folder)?;
        let path = folder.join(name);
        let mut file = fs::File::create(&path).at("create", &path)?;
        file.write_all(bytes).at("write", &path)?;
    }
    diffoscope(&folder, name);
    Ok(())
}

/// Where what diffoscope says of a file is kept.
fn said_by_diffoscope(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.diffoscope.txt"))
}

/// That it is missing, fails or takes too long is no matter: what differs is told without it.
fn diffoscope(folder: &Path, name: &str) {
    let both = ["archived", "built"].map(|which| folder.join(which).join(name));
    let mut command = Command::new("diffoscope");
    command
        .arg(format!("--timeout={PATIENCE}"))
        .arg("--text")
        .arg(said_by_diffoscope(folder, name))
        .args(both);
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_only_one_side_has_are_told_by_name() {
        let package = |name: &str, version: &str| InstalledPackage {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: "amd64".to_owned(),
            sha256: None,
            header_sha256: None,
        };
        let then = [package("gcc", "12"), package("make", "4"), package("old", "1")];
        let now = [package("gcc", "13"), package("make", "4")];
        let told: Vec<String> = differences(&then, &now)
            .iter()
            .map(|difference| format!("{} {}", difference.member, difference.what))
            .collect();
        assert_eq!(
            told,
            [
                "gcc:amd64 12 only in the record",
                "gcc:amd64 13 only in the image",
                "old:amd64 1 only in the record"
            ]
        );
        assert!(differences(&then, &then).is_empty());
    }
}
