use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell};

use super::{Request, RunError, builder_of};
use crate::config::{Builder, PrepareStage};
use crate::model::{Digest, Outcome, Stage, StageRecord};
use crate::stage::{
    Prepared, Recorder, SourceTree, StageResult, TargetImages, Workshop, prepare, prepare_inputs,
};

/// The prepare stage that all targets share. It begins when the first target asks for it, and its script runs only if
/// a target has to be built.
pub(super) struct SharedPrepare<'a> {
    inner: Option<Inner<'a>>,
}

struct Inner<'a> {
    shop: &'a Workshop,
    stage: &'a PrepareStage,
    builder: Arc<Builder>,
    tree: &'a SourceTree,
    recorder: Mutex<Option<Recorder>>,
    record: Mutex<Option<StageRecord>>,
    inputs: OnceCell<StageResult<(TargetImages, Digest)>>,
    outputs: OnceCell<StageResult<Prepared>>,
}

impl<'a> SharedPrepare<'a> {
    pub fn new(shop: &'a Workshop, request: &'a Request, tree: &'a SourceTree) -> Result<Self, RunError> {
        let Some(stage) = &request.pipeline.prepare else { return Ok(Self { inner: None }) };
        Ok(Self {
            inner: Some(Inner {
                shop,
                stage,
                builder: builder_of(request, &stage.builder, None)?,
                tree,
                recorder: Mutex::new(None),
                record: Mutex::new(None),
                inputs: OnceCell::new(),
                outputs: OnceCell::new(),
            }),
        })
    }

    /// The key of what the stage makes; `None` if the pipeline has no such stage.
    pub async fn key(&self) -> StageResult<Option<Digest>> {
        let Some(inner) = &self.inner else { return Ok(None) };
        inner.inputs().await.map(|(_, key)| Some(key)).map_err(skipped)
    }

    /// The images that the stage runs in; `None` if the pipeline has no such stage.
    pub async fn images(&self) -> StageResult<Option<TargetImages>> {
        let Some(inner) = &self.inner else { return Ok(None) };
        inner.inputs().await.map(|(images, _)| Some(images))
    }

    /// What the stage made; `None` if the pipeline has no such stage.
    pub async fn outputs(&self) -> StageResult<Option<Prepared>> {
        let Some(inner) = &self.inner else { return Ok(None) };
        let (images, _) = inner.inputs().await.map_err(skipped)?;
        let outputs = inner.outputs.get_or_init(|| async {
            let mut slot = inner.recorder.lock().await;
            let recorder = slot.get_or_insert_with(|| Recorder::start(inner.shop, None, Stage::Prepare));
            let outputs =
                prepare(inner.shop, recorder, inner.stage, &inner.builder, inner.tree, &images).await;
            let outcome = outputs.as_ref().err().cloned().unwrap_or(Outcome::Passed);
            *inner.record.lock().await = slot.take().map(|recorder| recorder.finish(outcome));
            outputs
        });
        outputs.await.clone().map(Some).map_err(skipped)
    }

    /// Ends the stage, when no target needs it any more.
    pub async fn finish(self) -> Option<StageRecord> {
        let inner = self.inner?;
        if let Some(record) = inner.record.into_inner() {
            return Some(record);
        }
        let mut recorder = inner.recorder.into_inner()?;
        let outcome = match inner.inputs.into_inner() {
            Some(Err(outcome)) => outcome,
            _ => {
                recorder.reuse("no target had to be built");
                Outcome::Passed
            }
        };
        Some(recorder.finish(outcome))
    }
}

impl Inner<'_> {
    async fn inputs(&self) -> StageResult<(TargetImages, Digest)> {
        let inputs = self.inputs.get_or_init(|| async {
            let mut slot = self.recorder.lock().await;
            let recorder = slot.get_or_insert_with(|| Recorder::start(self.shop, None, Stage::Prepare));
            prepare_inputs(self.shop, recorder, self.stage, &self.builder, self.tree).await
        });
        inputs.await.clone()
    }
}

/// What a failed prepare stage means for a target: the failure itself is told once, by the stage.
fn skipped(outcome: Outcome) -> Outcome {
    Outcome::Skipped { why: format!("the shared prepare stage did not pass: {}", outcome.summary()) }
}
