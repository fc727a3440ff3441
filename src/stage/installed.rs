use super::image_store::{Wanted, ensure_loaded, list_anew};
use super::{Recorder, StageResult, Workshop};
use crate::config::Builder;
use crate::model::{ImageRecord, InstalledPackage};

/// What is installed in an image, asked of the image itself and not of what is remembered of it.
pub async fn installed(
    shop: &Workshop,
    recorder: &mut Recorder,
    builder: &Builder,
    image: &ImageRecord,
) -> StageResult<Vec<InstalledPackage>> {
    let wanted = Wanted { builder, role: image.role, key: image.key };
    ensure_loaded(shop, recorder, wanted, image).await?;
    list_anew(shop, recorder, wanted, image.id, false).await
}
