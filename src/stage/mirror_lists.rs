use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::environment::{put_scripts, script, watch};
use super::image_store::install_spec;
use super::streams::{read, written};
use super::{Recorder, StageResult, Workshop, infrastructure};
use crate::config::Builder;
use crate::model::Digest;
use crate::sandbox::{Sandbox, scope};
use crate::support::fs::PathContext;

/// The script that fetches the lists, and where it leaves them.
const SCRIPT: &str = "lists.sh";
const FOLDER: &str = "/packhold/lists";

type Lists = Arc<OnceCell<Option<PathBuf>>>;

/// The mirror's package lists, fetched once a run for each builder, in a container that sees nothing of the project.
#[derive(Default)]
pub struct MirrorLists {
    by_builder: Mutex<BTreeMap<String, Lists>>,
}

impl MirrorLists {
    fn of(&self, builder: &Builder) -> Lists {
        let mut all = self.by_builder.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(builder.place()).or_default().clone()
    }
}

/// Puts the lists into a sandbox in which a script of the builder is going to install packages. Where they cannot be had,
/// the script fetches its own, or needs none.
pub(super) async fn put_lists(
    shop: &Workshop,
    recorder: &mut Recorder,
    builder: &Builder,
    image: Digest,
    sandbox: &Sandbox,
) -> StageResult<()> {
    if !builder.has(SCRIPT) {
        return Ok(());
    }
    let lists = shop.lists.of(builder);
    let stage = recorder.stage();
    let fetched = lists.get_or_try_init(|| fetch(shop, recorder, builder, image)).await?;
    let Some(path) = fetched.clone() else { return Ok(()) };
    let file = File::open(&path).at("read", &path).map_err(|e| infrastructure(stage, &e))?;
    let tar = written(move |mut out| io::copy(&mut { file }, &mut out).map(drop));
    sandbox.put("/packhold", tar).await.map_err(|e| infrastructure(stage, &e))
}

async fn fetch(
    shop: &Workshop,
    recorder: &mut Recorder,
    builder: &Builder,
    image: Digest,
) -> StageResult<Option<PathBuf>> {
    let stage = recorder.stage();
    let infra = |error| infrastructure(stage, &error);
    let spec = install_spec(shop, &format!("{}-lists", builder.file_stem()), image);
    let path = shop.scratch.join(format!("{}.lists.tar", builder.file_stem()));
    scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        put_scripts(&sandbox, builder).await.map_err(infra)?;
        let command = script(builder, SCRIPT, &[], BTreeMap::new());
        let limits = builder.limits();
        let title = "fetch the mirror's package lists";
        if !recorder.step(&sandbox, title, &command, &watch(&limits)).await?.end.succeeded() {
            return Ok(None);
        }
        let tar = sandbox.get(FOLDER).await.map_err(infra)?;
        let kept = path.clone();
        let keep = move |tar: &mut dyn io::Read| io::copy(tar, &mut File::create(&kept)?);
        read(tar, keep).await.at("write", &path).map_err(|e| infrastructure(stage, &e))?;
        Ok(Some(path))
    })
    .await
    .map_err(infra)?
}
