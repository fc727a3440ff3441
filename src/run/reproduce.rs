//! Builds a target again under other conditions, and finds out what the packages depend on.
//!
//! `.buildinfo`, `.changes` and what [`ABOUT_THE_BUILD`] names say under which conditions a build was done, and are not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::{CheckReproducible, RunError};
use crate::archive::Archive;
use crate::compare::{self, Change};
use crate::model::{
    Artifact, ArtifactKind, Condition, DifferenceCause, Digest, FailReason, NotVaried, Outcome,
    Reproducibility, Stage, Unreproducible,
};
use crate::plan::{Place, Search, Seen, TargetPlan, whole_build};
use crate::stage::{
    BuildOf, Built, Conditions, Kit, Prepared, Recorder, SourceTree, StageResult, TargetImages, Workshop,
    build, infrastructure, kit,
};
use crate::support::Hint;
use crate::support::fs::PathContext;
use crate::support::terminal_text::neutralise;

/// How many differences are kept in the record.
const MAX_DIFFERENCES: usize = 100;

/// A target that was built, and what it is built from.
pub(super) struct Again<'a> {
    pub shop: &'a Workshop,
    pub plan: &'a TargetPlan,
    pub tree: &'a SourceTree,
    pub images: &'a TargetImages,
    pub prepared: Option<&'a Prepared>,
    pub first: &'a Built,
    pub check: CheckReproducible,
}

/// Builds the target again until it is known what it depends on. `found` has what is known when an infrastructure failure ends it
/// before that.
pub(super) async fn reproduce(
    recorder: &mut Recorder,
    again: &Again<'_>,
    found: &mut Reproducibility,
) -> StageResult<()> {
    let kit = kit(again.shop, recorder, &again.plan.builder, again.images).await?.map(Arc::new);
    found.builds = 1;
    found.not_varied = not_varied(&again.plan.builder.name, kit.as_deref(), again);
    let lacks = |condition: &Condition| found.not_varied.iter().any(|lack| lack.condition == *condition);
    found.varied = Condition::ALL.iter().copied().filter(|condition| !lacks(condition)).collect();

    let now = Timestamp::now().as_second();
    let mut search = Search::new(found.varied.clone());
    let mut told: BTreeMap<Place, String> = BTreeMap::new();
    while let Some(setting) = search.next() {
        let conditions = Conditions::varied(setting.clone(), now, kit.clone());
        recorder.write_line(&format!("packhold: {}", conditions.title("build once more")))?;
        let Again { shop, plan, tree, images, prepared, .. } = again;
        let of = BuildOf { plan, tree, images, prepared: *prepared };
        let seen = match build(shop, recorder, of, &conditions).await {
            Ok(built) => {
                let changes = changes(again, &built).await.map_err(|error| ended(&error))?;
                let seen = changes.iter().map(|(place, change)| (place.clone(), change.now)).collect();
                for (place, change) in changes {
                    told.entry(place).or_insert(change.what);
                }
                Seen::Built(seen)
            }
            Err(failed @ (Outcome::Failed { .. } | Outcome::Broken { .. })) => {
                let what = failed.message().unwrap_or_default();
                recorder.write_line(&format!("packhold: {}: {what}", failed.summary()))?;
                told.entry(whole_build()).or_insert(format!("{}: {what}", failed.summary()));
                Seen::Failed
            }
            Err(other) => return Err(other),
        };
        search.note(setting, seen);
        found.builds = search.builds() + 1;
    }
    tell(found, search.causes(), &told);
    verdict(&again.plan.section.name.to_string(), found)
}

/// The conditions that stay as they are, with the reasons.
fn not_varied(builder: &str, kit: Option<&Kit>, again: &Again<'_>) -> Vec<NotVaried> {
    let mut lacks = match kit {
        Some(kit) => kit.lacks.clone(),
        None => {
            let why = format!("builder `{builder}` has no kit.sh");
            Kit::GIVES.map(|condition| NotVaried { condition, why: why.clone() }).into()
        }
    };
    if !again.plan.builder.has("vary.sh") {
        let why = format!("builder `{builder}` has no vary.sh");
        return Condition::ALL.iter().map(|c| NotVaried { condition: *c, why: why.clone() }).collect();
    }
    if again.check.keep_build_path {
        let why = "it was to be kept (--keep-build-path)".to_owned();
        lacks.push(NotVaried { condition: Condition::BuildPath, why });
    }
    lacks.sort_by_key(|lack| lack.condition);
    lacks
}

/// What differs between the first build and another.
/// Fields of an rpm (lib/rpmtag.h). SPEC, of a source package: its spec file with the macros of the build expanded, `%setup` to a
/// `cd` into the folder of the build among them; the spec file itself is in the payload. SOURCEPKGID, of a binary package: the
/// digest of that source package.
const ABOUT_THE_BUILD: [&str; 2] = ["header/SPEC", "header/SOURCEPKGID"];

async fn changes(again: &Again<'_>, built: &Built) -> Result<BTreeMap<Place, Change>, RunError> {
    let (first, second, archive) = (again.first.clone(), built.clone(), again.shop.archive.clone());
    let compared = tokio::task::spawn_blocking(move || compared(&archive, &first, &second)).await;
    compared.map_err(|_| RunError::Interrupted)?
}

fn compared(archive: &Archive, first: &Built, second: &Built) -> Result<BTreeMap<Place, Change>, RunError> {
    let is_product = |file: &&Artifact| file.kind != ArtifactKind::Description;
    let by_name = |built: &Built| -> BTreeMap<String, Artifact> {
        built.artifacts.iter().filter(is_product).map(|file| (file.name.clone(), file.clone())).collect()
    };
    let (old, new) = (by_name(first), by_name(second));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut changes = BTreeMap::new();
    for name in names {
        let mut whole = |what: &str, now: Digest| {
            let change = Change { what: what.to_owned(), now };
            changes.insert((name.clone(), "the file".to_owned()), change);
        };
        match (old.get(name), new.get(name)) {
            (Some(before), Some(after)) if before.digest == after.digest => {}
            (Some(before), Some(after)) if before.size.max(after.size) > compare::MAX_PACKAGE => {
                whole("bytes; it is too large to be looked into", after.digest);
            }
            (Some(before), Some(after)) => {
                let (old, new) = (bytes(archive, first, before)?, bytes(archive, second, after)?);
                let found = compare::changes(name, &old, &new);
                let found =
                    found.into_iter().filter(|(member, _)| !ABOUT_THE_BUILD.contains(&member.as_str()));
                changes.extend(found.map(|(member, change)| ((name.clone(), member), change)));
            }
            (Some(_), None) => whole("it was not built again", Digest::of("nothing")),
            (None, Some(after)) => whole("only the other build made it", after.digest),
            (None, None) => {}
        }
    }
    Ok(changes)
}

fn bytes(archive: &Archive, built: &Built, file: &Artifact) -> Result<Vec<u8>, RunError> {
    match &built.folder {
        Some(folder) => read(&folder.join(&file.name)),
        None => {
            let mut bytes = Vec::new();
            archive.copy_blob(&file.digest, &mut bytes)?;
            Ok(bytes)
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    Ok(fs::read(path).at("read", path)?)
}

/// What an error of ours means for the target.
fn ended(error: &RunError) -> Outcome {
    match error {
        RunError::Archive(error) => infrastructure(Stage::Reproduce, error),
        RunError::Fs(error) => infrastructure(Stage::Reproduce, error),
        error => Outcome::Broken { message: error.to_string(), hint: error.hint() },
    }
}

/// Puts what was found into the record, safe to be shown.
fn tell(
    found: &mut Reproducibility,
    causes: BTreeMap<Place, DifferenceCause>,
    told: &BTreeMap<Place, String>,
) {
    found.more = causes.len().saturating_sub(MAX_DIFFERENCES);
    let safe = |text: &str| neutralise(text.as_bytes());
    let differs = causes.into_iter().take(MAX_DIFFERENCES).map(|(place, cause)| Unreproducible {
        file: safe(&place.0),
        member: safe(&place.1),
        what: safe(told.get(&place).map_or("", String::as_str)),
        cause,
    });
    found.differences = differs.collect();
}

fn verdict(target: &str, found: &Reproducibility) -> StageResult<()> {
    let Some(first) = found.differences.first() else { return Ok(()) };
    let count = found.differences.len() + found.more;
    let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
    let (reason, message) = match first.file.is_empty() {
        true => (FailReason::FailsVaried, format!("{target} cannot be built again: {}{more}", first.cause)),
        false => {
            let Unreproducible { file, member, cause, .. } = first;
            (FailReason::NotReproducible, format!("{file}: {member} differs: {cause}{more}"))
        }
    };
    let hint = hint(found).to_owned();
    Err(Outcome::Failed { stage: Stage::Reproduce, reason, message, hint })
}

/// What to do about the first cause, as reproducible-builds.org has it.
fn hint(found: &Reproducibility) -> &'static str {
    let conditions = found.differences.iter().find_map(|difference| match &difference.cause {
        DifferenceCause::Conditions { conditions } => conditions.first(),
        _ => None,
    });
    match conditions {
        Some(Condition::BuildPath) => {
            "map it away (-ffile-prefix-map=$PWD=.), or keep it with --keep-build-path: Packhold builds at a fixed path"
        }
        Some(Condition::Time) => "take dates from SOURCE_DATE_EPOCH instead of the clock",
        Some(Condition::Locale) => "sort and format with LC_ALL=C",
        Some(Condition::FileOrder) => "sort what a folder lists (find | LC_ALL=C sort, tar --sort=name)",
        Some(Condition::Cores) => "let nothing depend on the number of jobs or on which of them ends first",
        Some(Condition::User) => {
            "write no user, group or home folder into the package (tar --owner=0 --group=0)"
        }
        Some(Condition::Umask) => "give every installed file its mode (install -m)",
        Some(Condition::TimeZone) => "format dates in UTC (date -u)",
        Some(Condition::Environment) => "write no list of environment variables into the package",
        Some(Condition::HostName) => "write no host name into the package",
        None => "look for random numbers, temporary names, times of files, addresses, and jobs that race",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(folder: &Path, files: &[(&str, ArtifactKind, &str)]) -> Built {
        let artifact = |(name, kind, content): &(&str, ArtifactKind, &str)| {
            fs::write(folder.join(name), content).unwrap();
            let (size, digest) = (content.len() as u64, Digest::of(content));
            Artifact { name: (*name).to_owned(), kind: *kind, size, digest, package: None }
        };
        Built { artifacts: files.iter().map(artifact).collect(), folder: Some(folder.to_owned()) }
    }

    #[test]
    fn files_that_are_missing_new_or_other_are_told_and_descriptions_are_not() {
        use ArtifactKind::{Description, Package};
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let archive = Archive::open_or_create(folders[0].path().join("archive")).unwrap();
        let first = [("a.deb", Package, "1"), ("b.deb", Package, "1"), ("c.changes", Description, "1")];
        let second = [("a.deb", Package, "2"), ("d.deb", Package, "1"), ("c.changes", Description, "2")];
        let (first, second) = (built(folders[0].path(), &first), built(folders[1].path(), &second));
        let changes = compared(&archive, &first, &second).unwrap();
        let names: Vec<&str> = changes.keys().map(|(file, _)| file.as_str()).collect();
        assert_eq!(names, ["a.deb", "b.deb", "d.deb"]);
        assert!(compared(&archive, &first, &first).unwrap().is_empty());
    }

    #[test]
    fn what_a_package_names_its_members_cannot_steer_a_terminal() {
        let place = ("a.deb".to_owned(), "data.tar/\u{1b}[2Jx".to_owned());
        let mut found = Reproducibility::default();
        tell(&mut found, BTreeMap::from([(place, DifferenceCause::Chance)]), &BTreeMap::new());
        assert_eq!(found.differences[0].member, "data.tar/x");
        let Err(Outcome::Failed { message, .. }) = verdict("t", &found) else { panic!("{found:?}") };
        assert_eq!(
            message,
            "a.deb: data.tar/x differs: not deterministic: it differs under the same conditions"
        );
    }
}
