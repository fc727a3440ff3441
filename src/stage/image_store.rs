use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::diagnose::Infrastructure;
use super::environment::{container_limits, put_scripts, script, watch};
use super::mirror_lists::put_lists;
use super::streams::{blocking, written};
use super::{ImagePolicy, Recorder, StageResult, Workshop, infrastructure};
use crate::archive::Archive;
use crate::config::{Builder, StageLimits};
use crate::engine::{
    CommitSpec, Engine, EngineError, Found, ImageInfo, ImageSource, Object, Progress, Query,
};
use crate::model::{Architecture, Digest, ImageRecord, ImageRole, InstalledPackage, Origin, Stage};
use crate::sandbox::{Privileges, Sandbox, SandboxSpec, scope};

/// The labels that an image of ours carries in the engine's store.
const KEY_LABEL: &str = "com.packhold.key";
const ORIGIN_LABEL: &str = "com.packhold.origin";

/// Bytes that a list of installed packages may have.
const LONGEST_LIST: usize = 16 << 20;

/// The images that a run knows by key. Each key is worked on by one task at a time, so that targets that share an image
/// make it once.
#[derive(Default)]
pub struct ImageStore {
    known: Mutex<HashMap<Digest, ImageRecord>>,
    locks: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    refused: AtomicBool,
}

impl ImageStore {
    /// Every image that was used, by key, in a stable order.
    pub fn used(&self) -> Vec<ImageRecord> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<ImageRecord> = known.values().cloned().collect();
        all.sort_by(|a, b| (&a.builder, a.role, a.id).cmp(&(&b.builder, b.role, b.id)));
        all
    }

    /// Whether an image was made, or dependencies were found, that a lock does not allow.
    pub fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// From now on something is not as a lock wants it.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Held while an image is looked up and made.
    pub(super) async fn lock(&self, key: Digest) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = self.locks.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        lock.lock_owned().await
    }

    pub(super) fn remember(&self, record: &ImageRecord) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(record.key, record.clone());
    }

    fn recall(&self, key: Digest) -> Option<ImageRecord> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }
}

/// An image that is asked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub builder: &'a Builder,
    pub role: ImageRole,
    pub key: Digest,
}

impl Wanted<'_> {
    /// The name that keeps the image in the engine's store.
    pub fn tag(&self) -> String {
        format!("packhold/{}:{}", self.role, &self.key.hex()[..32])
    }

    /// The name under which it is made or loaded here. A locked one has a name of its own, so that neither an update takes it
    /// away nor it takes the place of a newer one.
    pub fn own_tag(&self, shop: &Workshop) -> String {
        match shop.policy.identity(*self) {
            Some(id) => format!("{}-{}", self.tag(), id.short()),
            None => self.tag(),
        }
    }

    /// The platform that it is for.
    fn platform(&self) -> Option<String> {
        self.builder.architecture.map(Architecture::platform)
    }

    /// The name of a container that makes it.
    pub fn container(&self) -> String {
        format!("{}-{}", self.builder.file_stem(), self.role)
    }
}

/// The image under a key: known in this run, in the engine's store or in the archive. An image that is only in the
/// archive is not loaded before a container needs it ([`ensure_loaded`]).
pub(super) async fn look_up(
    shop: &Workshop,
    recorder: &mut Recorder,
    wanted: Wanted<'_>,
) -> StageResult<Option<ImageRecord>> {
    if let Some(record) = shop.images.recall(wanted.key) {
        return Ok(Some(record));
    }
    if matches!(shop.policy, ImagePolicy::Anew) && wanted.role != ImageRole::Verify {
        return Ok(None);
    }
    let (in_engine, archived) =
        find(shop, wanted).await.map_err(|e| infrastructure(recorder.stage(), e.as_ref()))?;
    let record = match (in_engine, archived) {
        (Some(image), Some(record)) if record.id == image.id => {
            ImageRecord { obtained: "engine".into(), ..record }
        }
        (Some(image), _) => {
            let origin = origin_of(&image, wanted.builder);
            let packages = list_packages(shop, recorder, wanted, &image, false).await?;
            record_of(wanted, &image, origin, "engine", packages)
        }
        (None, Some(record)) => ImageRecord { obtained: "archive".into(), ..record },
        (None, None) => return Ok(None),
    };
    let record = ImageRecord {
        role: wanted.role,
        builder: wanted.builder.name.clone(),
        platform: wanted.platform(),
        ..record
    };
    shop.images.remember(&record);
    Ok(Some(record))
}

type Places = (Option<ImageInfo>, Option<ImageRecord>);

/// What the engine's store and the archive have under a key.
async fn find(shop: &Workshop, wanted: Wanted<'_>) -> Result<Places, Box<dyn Infrastructure>> {
    let (archive, key) = (shop.archive.clone(), wanted.key);
    let locked = shop.policy.identity(wanted);
    let archived = blocking(move || archived_image(&archive, key, locked)).await?;
    let mut in_engine = None;
    for tag in [wanted.own_tag(shop), wanted.tag()] {
        // By a name that only we give, and never by the identity alone: that may be anybody's image.
        let found = shop.engine.find(&Query::ImageNamed(tag)).await?;
        let image = found.into_iter().find_map(|found| match found {
            Found::Image(image) => Some(image),
            Found::Container { .. } | Found::Snapshot { .. } | Found::Chunks(_) => None,
        });
        in_engine = image.filter(|image| locked.is_none_or(|id| id == image.id));
        if in_engine.is_some() || locked.is_none() {
            break;
        }
    }
    Ok((in_engine, archived))
}

/// The identity of the image under a key and where it is, without doing anything.
pub(super) async fn peek(
    shop: &Workshop,
    wanted: Wanted<'_>,
) -> Result<Option<(Digest, &'static str)>, Box<dyn Infrastructure>> {
    Ok(match find(shop, wanted).await? {
        (Some(image), _) => Some((image.id, "in the engine's store")),
        (None, Some(record)) => Some((record.id, "in the archive")),
        (None, None) => None,
    })
}

/// The archived image under a key, if all of it is there.
fn archived_image(
    archive: &Archive,
    key: Digest,
    locked: Option<Digest>,
) -> Result<Option<ImageRecord>, crate::archive::ArchiveError> {
    let record = match locked {
        None => archive.find_image(&key)?,
        Some(id) => archive.find_image_with(&key, &id)?,
    };
    Ok(record.filter(|record| archive.image(&record.id).is_ok()))
}

/// Brings an image into the engine's store if it is only in the archive.
pub(super) async fn ensure_loaded(
    shop: &Workshop,
    recorder: &mut Recorder,
    wanted: Wanted<'_>,
    record: &ImageRecord,
) -> StageResult<()> {
    let stage = recorder.stage();
    let there =
        shop.engine.find(&Query::ImageWithId(record.id)).await.map_err(|e| infrastructure(stage, &e))?;
    if !there.is_empty() {
        return Ok(());
    }
    recorder.doing(&format!("load the {} image from the archive", record.role));
    let (archive, id) = (shop.archive.clone(), record.id);
    // Nobody is to prune it while it is read.
    crate::stage::streams::blocking(move || archive.keep_image(&id))
        .await
        .map_err(|e| infrastructure(stage, &e))?;
    load(shop, recorder, record.id, &wanted.own_tag(shop)).await.map_err(|e| infrastructure(stage, &e))?;
    Ok(())
}

/// Loads an archived image into the engine under a tag.
pub(super) async fn load(
    shop: &Workshop,
    recorder: &Recorder,
    id: Digest,
    tag: &str,
) -> Result<ImageInfo, EngineError> {
    load_telling(shop.engine.as_ref(), &shop.archive, id, tag, recorder.progress()).await
}

/// Loads an archived image into an engine under a tag, `name:tag`.
pub async fn load_image(
    engine: &dyn Engine,
    archive: &Archive,
    id: Digest,
    tag: &str,
) -> Result<ImageInfo, EngineError> {
    load_telling(engine, archive, id, tag, Progress::default()).await
}

/// As [`load_image`], and tells how many bytes the engine has taken, and of how many.
async fn load_telling(
    engine: &dyn Engine,
    archive: &Archive,
    id: Digest,
    tag: &str,
    progress: Progress,
) -> Result<ImageInfo, EngineError> {
    let place = archive.clone();
    // An archive that cannot tell says so when the image is read.
    let chunked = crate::stage::streams::blocking(move || place.chunked(&id)).await.ok().flatten();
    let (archive, name) = (archive.clone(), tag.to_owned());
    let tar = written(move |out| {
        let image = archive.image(&id).map_err(std::io::Error::other)?;
        let total = image.layers.iter().map(|layer| layer.size).sum();
        let out = Counted { out, done: 0, tell: |done| progress.tell(done, Some(total)) };
        archive.export_docker_archive(&id, Some(&name), out).map_err(std::io::Error::other)
    });
    let source = match chunked {
        Some(chunks) => ImageSource::Chunked { tar, chunks },
        None => ImageSource::Archive(tar),
    };
    engine.load(source, tag).await
}

/// Tells how much was written.
struct Counted<W, F> {
    out: W,
    done: u64,
    tell: F,
}

impl<W: std::io::Write, F: FnMut(u64)> std::io::Write for Counted<W, F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.done += written as u64;
        (self.tell)(self.done);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// What an image of ours says of where it came from; an image that was pulled says nothing.
fn origin_of(image: &ImageInfo, builder: &Builder) -> Origin {
    let said = image.labels.get(ORIGIN_LABEL).and_then(|text| serde_json::from_str(text).ok());
    said.unwrap_or_else(|| pulled_origin(image, builder.base.registry.clone().unwrap_or_default()))
}

/// The origin of an image that was pulled under `reference`.
pub(super) fn pulled_origin(image: &ImageInfo, reference: String) -> Origin {
    let digest =
        image.repo_digests.first().and_then(|name| name.split_once('@')).map(|(_, digest)| digest.to_owned());
    Origin::Registry { reference, digest }
}

/// The labels of an image that we make.
pub(super) fn labels(wanted: Wanted<'_>, origin: &Origin) -> BTreeMap<String, String> {
    let origin = serde_json::to_string(origin).unwrap_or_default();
    BTreeMap::from([(KEY_LABEL.to_owned(), wanted.key.to_string()), (ORIGIN_LABEL.to_owned(), origin)])
}

/// The record of an image.
pub(super) fn record_of(
    wanted: Wanted<'_>,
    image: &ImageInfo,
    origin: Origin,
    obtained: &str,
    packages: Vec<InstalledPackage>,
) -> ImageRecord {
    ImageRecord {
        id: image.id,
        role: wanted.role,
        builder: wanted.builder.name.clone(),
        platform: wanted.platform(),
        key: wanted.key,
        origin,
        obtained: obtained.to_owned(),
        layers: image.layers.clone(),
        packages,
    }
}

/// Asks an image what is installed in it. For one that has just been obtained the mirror's lists are fetched, which name the
/// files of its packages; for one that is found again that would cost more than it tells, and the archive is asked for what it knows.
pub(super) async fn list_packages(
    shop: &Workshop,
    recorder: &mut Recorder,
    wanted: Wanted<'_>,
    image: &ImageInfo,
    obtained_now: bool,
) -> StageResult<Vec<InstalledPackage>> {
    let known = shop.package_lists.get(image.id, wanted.builder);
    let names_files = known.iter().flatten().any(|package| package.is_identified());
    let known = match (known, obtained_now) {
        (Some(known), _) if names_files => return Ok(known),
        (_, true) => None,
        (known, false) => {
            let (archive, id) = (shop.archive.clone(), image.id);
            let archived = blocking(move || archived_packages(&archive, &id)).await;
            archived.map_err(|e| infrastructure(recorder.stage(), &e))?.or(known)
        }
    };
    if let Some(known) = known {
        shop.package_lists.keep(image.id, wanted.builder, &known);
        return Ok(known);
    }
    let listed = list_anew(shop, recorder, wanted, image.id, obtained_now).await?;
    shop.package_lists.keep(image.id, wanted.builder, &listed);
    Ok(listed)
}

/// What an archived record says is installed in the image with this identity, which is that of its contents, whatever the key was under
/// which it was archived. Records that name no file of a package say no more than the image itself.
fn archived_packages(
    archive: &Archive,
    id: &Digest,
) -> Result<Option<Vec<InstalledPackage>>, crate::archive::ArchiveError> {
    let records = archive.images()?.into_iter().rev().filter(|record| record.id == *id);
    let mut lists = records.map(|record| record.packages);
    Ok(lists.find(|packages| packages.iter().any(|package| package.is_identified())))
}

/// As [`list_packages`], though it was asked before.
pub(super) async fn list_anew(
    shop: &Workshop,
    recorder: &mut Recorder,
    wanted: Wanted<'_>,
    image: Digest,
    obtained_now: bool,
) -> StageResult<Vec<InstalledPackage>> {
    let spec = install_spec(shop, &wanted.container(), image);
    let stage = recorder.stage();
    scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        put_scripts(&sandbox, wanted.builder).await.map_err(|e| infrastructure(stage, &e))?;
        if obtained_now {
            put_lists(shop, recorder, wanted.builder, image, &sandbox).await?;
        }
        packages_in(recorder, &sandbox, wanted.builder, &[]).await
    })
    .await
    .map_err(|e| infrastructure(stage, &e))?
}

/// What `packages.sh` says; `below` is what is known of the image that this one is made of, whose packages the mirror may not
/// list any more.
async fn packages_in(
    recorder: &mut Recorder,
    sandbox: &Sandbox,
    builder: &Builder,
    below: &[InstalledPackage],
) -> StageResult<Vec<InstalledPackage>> {
    let command = script(builder, "packages.sh", &[], BTreeMap::new());
    let mut list = Vec::new();
    let limits = StageLimits { output: LONGEST_LIST as u64, ..builder.limits() };
    recorder.doing("list installed packages");
    let mut keep = |chunk: &[u8]| {
        list.extend_from_slice(chunk);
        Ok(())
    };
    let result = sandbox
        .run(&command, &watch(&limits), &mut keep)
        .await
        .map_err(|e| infrastructure(recorder.stage(), &e))?;
    if !result.end.succeeded() {
        recorder.write_line(&String::from_utf8_lossy(&list))?;
        return Err(super::userland::builder_failed(recorder, builder, "packages.sh"));
    }
    let Some(mut packages) = parse_packages(&String::from_utf8_lossy(&list)) else {
        recorder.write_line(&String::from_utf8_lossy(&list))?;
        return Err(super::userland::builder_failed(recorder, builder, "packages.sh"));
    };
    for package in &mut packages {
        let same = |known: &&InstalledPackage| {
            (&known.name, &known.version, &known.arch) == (&package.name, &package.version, &package.arch)
        };
        // What was installed is what was listed then.
        if let Some(sha256) = below.iter().find(same).and_then(|known| known.sha256) {
            package.sha256 = Some(sha256);
        }
    }
    packages.sort();
    Ok(packages)
}

/// Lines of `packages.sh` (builders/README.md); `None` if one is none. They come out of a container, and are shown to people.
fn parse_packages(text: &str) -> Option<Vec<InstalledPackage>> {
    let line = |line: &str| {
        if !line.chars().all(|c| c.is_ascii_graphic() || c == '\t') {
            return None;
        }
        let mut fields = line.split('\t');
        let digest = |field: Option<&str>| field.and_then(|hex| Digest::from_hex(hex).ok());
        Some(InstalledPackage {
            name: fields.next()?.to_owned(),
            version: fields.next()?.to_owned(),
            arch: fields.next().unwrap_or_default().to_owned(),
            sha256: digest(fields.next()),
            header_sha256: digest(fields.next()),
        })
    };
    // A line without a tab is what a tool said besides.
    text.lines().filter(|line| line.contains('\t')).map(line).collect()
}

/// A sandbox that installs packages into an image.
pub(super) fn install_spec(shop: &Workshop, name: &str, image: Digest) -> SandboxSpec {
    SandboxSpec {
        root: image.into(),
        name: name.to_owned(),
        privileges: Privileges::Install,
        limits: container_limits(&StageLimits::default()),
        run: shop.run.to_string(),
        hostname: None,
    }
}

/// Makes an image out of another by `work`, which runs the builder's scripts in it, and lists what is then installed.
pub(super) async fn derive<'a, F, Fut>(
    shop: &'a Workshop,
    recorder: &'a mut Recorder,
    wanted: Wanted<'a>,
    from: &'a ImageRecord,
    work: F,
) -> StageResult<ImageRecord>
where
    F: FnOnce(&'a mut Recorder, Sandbox) -> Fut,
    Fut: Future<Output = (&'a mut Recorder, StageResult<()>)>,
{
    let stage = recorder.stage();
    let infra = |error| infrastructure(stage, &error);
    let origin = Origin::Built { from: from.id };
    let (image, packages) = scope(
        &shop.engine,
        install_spec(shop, &wanted.container(), from.id),
        &shop.cancel,
        |sandbox| async move {
            put_scripts(&sandbox, wanted.builder).await.map_err(infra)?;
            put_lists(shop, recorder, wanted.builder, from.id, &sandbox).await?;
            let (recorder, worked) = work(recorder, sandbox.clone()).await;
            worked?;
            let packages = packages_in(recorder, &sandbox, wanted.builder, &from.packages).await?;
            // The scripts are inputs, not contents: an image must not differ because another script differs.
            let own = ["/packhold", super::environment::PACKAGING];
            let mut tidy = script(wanted.builder, "tidy.sh", &own, BTreeMap::new());
            if !wanted.builder.has("tidy.sh") {
                tidy.argv = ["rm", "-rf"].iter().chain(&own).map(|word| (*word).to_owned()).collect();
            }
            recorder.must(&sandbox, "tidy up", &tidy, &watch(&wanted.builder.limits())).await?;
            recorder.doing(&format!("store the {} image", wanted.role));
            let commit = CommitSpec {
                tag: wanted.own_tag(shop),
                labels: labels(wanted, &Origin::Built { from: from.id }),
                comment: format!("packhold: {} image of {}", wanted.role, wanted.builder.name),
            };
            let image = sandbox.commit(&commit).await.map_err(infra)?;
            Ok((image, packages))
        },
    )
    .await
    .map_err(infra)??;
    shop.package_lists.keep(image.id, wanted.builder, &packages);
    let record = record_of(wanted, &image, origin, "built", packages);
    accept(shop, stage, wanted, record, &from.packages).await
}

/// Takes an image that was made, unless a lock wants another identity: then its name goes again.
pub(super) async fn accept(
    shop: &Workshop,
    stage: Stage,
    wanted: Wanted<'_>,
    record: ImageRecord,
    below: &[InstalledPackage],
) -> StageResult<ImageRecord> {
    if shop.policy.identity(wanted).is_some_and(|id| id != record.id) {
        let made = Object::ImageTag(wanted.own_tag(shop));
        shop.engine.remove(&made).await.map_err(|e| infrastructure(stage, &e))?;
        shop.images.refuse();
        return Err(shop.policy.refusal(&record, below));
    }
    shop.images.remember(&record);
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_by_the_digests_that_are_known_of_them() {
        let (file, header) = (Digest::of("file"), Digest::of("header"));
        let text = format!(
            "a tool said this\napt\t2.6.1\tamd64\t{}\nbash\t5\tx86_64\t\t{}\nmawk\t1\tamd64\n",
            file.hex(),
            header.hex()
        );
        let packages = parse_packages(&text).unwrap();
        let digests: Vec<_> = packages
            .iter()
            .map(|package| (package.name.as_str(), package.sha256, package.header_sha256))
            .collect();
        let wanted = [("apt", Some(file), None), ("bash", None, Some(header)), ("mawk", None, None)];
        assert_eq!(digests, wanted);
        assert_eq!(packages.iter().filter(|package| package.is_identified()).count(), 2);
        assert!(parse_packages("\u{1b}[31mapt\t1\n").is_none());
    }
}
