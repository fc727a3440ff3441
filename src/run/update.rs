//! `packhold update`: makes a pipeline's images anew and locks them.

use std::collections::BTreeMap;
use std::io::Write;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::images::{Resolved, resolve};
use super::new_file::{persist, temporary};
use super::prepared::SharedPrepare;
use super::{Request, RunError, clean_up_after, open_shop, platform, source};
use crate::config::{ImageChange, Lock, LockFile, LockedBuilder, LockedDeps, LockedImage};
use crate::model::{Digest, Event, ImageRecord, Outcome, Stage, TargetName};
use crate::stage::{ImagePolicy, Recorder, Reporter, TargetImages, Workshop, keep_images, own_packages};
use crate::support::fs::PathContext;

/// What an update did.
#[derive(Clone, Debug, Serialize)]
pub struct Updated {
    /// The lock's file, as it is named to people.
    pub lock: String,
    /// The digest of the file, as it is now.
    pub digest: Option<Digest>,
    /// Whether other bytes were written.
    pub changed: bool,
    /// What is different, image by image.
    pub images: Vec<ImageChange>,
    /// What did not pass, by target. Then nothing was written.
    pub failed: BTreeMap<String, Outcome>,
}

/// Makes the images of a request's targets anew, from the mirrors and registries of today, and writes the lock. Entries of other
/// targets stay if `partly`, and go otherwise. The file is replaced as a whole, or left as it was.
pub async fn update(
    mut request: Request,
    partly: bool,
    events: UnboundedSender<Event>,
    cancel: CancellationToken,
) -> Result<Updated, RunError> {
    // A lock that cannot be read is told before an hour is spent.
    let old = LockFile::read(&request.file)?;
    let engine = request.engine.info().await?;
    platform::settle(&mut request, &engine)?;
    let scratch = request.folders.scratch()?;
    let now = Timestamp::now();
    let mut shop = open_shop(&request, now, scratch.path(), Reporter::new(events), cancel)?;
    shop.policy = ImagePolicy::Anew;
    clean_up_after(&request.folders, &shop).await?;
    let source = source::source(&shop, &request).await?;
    let prepared = SharedPrepare::new(&shop, &request, &source.tree)?;
    let permits = Semaphore::new(request.jobs.max(1));
    let (one_shop, one_request, one_source, permits) = (&shop, &request, &source, &permits);
    let all = join_all(request.pipeline.targets.iter().map(|section| async move {
        let _permit = permits.acquire().await;
        (section.name.clone(), resolve(one_shop, one_request, one_source, section).await)
    }));
    let (all, shared) = futures_util::future::join(all, prepared.images()).await;

    let mut failed = BTreeMap::new();
    if let Err(outcome) = &shared {
        failed.insert("prepare".to_owned(), outcome.clone());
    }
    for (name, resolved) in &all {
        if let Err(outcome) = &resolved.images {
            failed.insert(name.to_string(), outcome.clone());
        }
    }
    prepared.finish().await;
    let before = old.as_ref().map(|old| old.lock.clone()).unwrap_or_default();
    let shown = request.file.lock_name().display().to_string();
    let nothing = Updated { lock: shown, digest: None, changed: false, images: Vec::new(), failed };
    if !nothing.failed.is_empty() {
        return Ok(nothing);
    }
    let used = shop.images.used();
    let mut lock = if partly { before.clone() } else { Lock::default() };
    for (name, Resolved { plan, images, declared, .. }) in all {
        let (Some(plan), Ok(images)) = (plan, images) else { continue };
        let image = image(&images.deps, Some(&images.builder));
        let deps = LockedDeps { declared: declared.lines().to_vec(), deps: plan.section.deps.clone(), image };
        lock.builders.insert(plan.builder.place(), builder(&images, &used));
        lock.targets.insert(name, deps);
    }
    if let (Some(stage), Ok(Some(images))) = (&request.pipeline.prepare, &shared) {
        let image = image(&images.deps, Some(&images.builder));
        let deps = LockedDeps { declared: Vec::new(), deps: stage.deps.clone(), image };
        lock.builders.insert(stage.builder.clone(), builder(images, &used));
        lock.prepare = Some((stage.builder.clone(), deps));
    }
    if request.pipeline.archive_images
        && let Err(outcome) = archive(&shop, &used).await
    {
        return Ok(Updated { failed: BTreeMap::from([("archive".to_owned(), outcome)]), ..nothing });
    }
    let text = lock.render();
    let changed = old.is_none_or(|old| old.text != text);
    if changed {
        write(&request, &text)?;
    }
    Ok(Updated { digest: Some(Digest::of(&text)), changed, images: before.diff(&lock), ..nothing })
}

/// Keeps what is locked, so that it is there when it is asked for.
async fn archive(shop: &Workshop, used: &[ImageRecord]) -> Result<(), Outcome> {
    let mut recorder = Recorder::start(shop, None, Stage::Archive);
    let kept = keep_images(shop, &mut recorder, used).await;
    recorder.finish(kept.as_ref().err().cloned().unwrap_or(Outcome::Passed));
    kept
}

fn builder(images: &TargetImages, used: &[ImageRecord]) -> LockedBuilder {
    let crate::model::Origin::Built { from } = images.base.origin else {
        let (base, builder) = (image(&images.base, None), image(&images.builder, Some(&images.base)));
        return LockedBuilder { userland: None, base, builder };
    };
    let userland = used.iter().find(|known| known.id == from);
    LockedBuilder {
        userland: userland.map(|userland| image(userland, None)),
        base: image(&images.base, userland),
        builder: image(&images.builder, Some(&images.base)),
    }
}

fn image(record: &ImageRecord, below: Option<&ImageRecord>) -> LockedImage {
    let below = below.map(|below| &below.packages[..]).unwrap_or_default();
    LockedImage { id: record.id, key: record.key, packages: own_packages(&record.packages, below) }
}

fn write(request: &Request, text: &str) -> Result<(), RunError> {
    let path = request.file.lock_path();
    let mut file = temporary(&path)?;
    file.write_all(text.as_bytes()).at("write", &path)?;
    file.as_file().sync_all().at("write", &path)?;
    Ok(persist(file, &path)?)
}

/// The targets that an update of `wanted` makes anew: all that share a builder with them, or with the shared prepare stage, since
/// every image of it follows from the same base.
pub fn sharing_builders(pipeline: &crate::config::Pipeline, wanted: &[TargetName]) -> Vec<TargetName> {
    let prepare = pipeline.prepare.iter().map(|stage| &stage.builder);
    let named = wanted.iter().map(|target| (&target.builder, target.architecture));
    let builders: Vec<_> = named.chain(prepare.map(|builder| (builder, None))).collect();
    let names = pipeline.targets.iter().map(|target| &target.name);
    names
        .filter(|name| wanted.contains(name) || builders.contains(&(&name.builder, name.architecture)))
        .cloned()
        .collect()
}
