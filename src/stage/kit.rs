//! What varies the conditions of a build inside its container: preloaded libraries and a locale, made once in an image of their own and
//! put as files into the containers of builds, so that these run in the very deps image of the first build.

use std::io::{self, Read};
use std::path::PathBuf;

use super::deps::TargetImages;
use super::image_store::{Wanted, ensure_loaded, install_spec};
use super::streams::{owned_by, read};
use super::userland::scripted;
use super::{Recorder, StageResult, Workshop, infrastructure};
use crate::config::Builder;
use crate::engine::EngineError;
use crate::model::{Condition, ImageRole, NotVaried};
use crate::plan::kit_key;
use crate::sandbox::{Sandbox, SandboxError, scope};
use crate::support::fs::PathContext;
use crate::support::terminal_text::neutralise;

/// The folder of the kit (builders/README.md).
pub(super) const KIT: &str = "/packhold-kit";

/// Bytes that a kit may have. A locale has about 3 MiB.
const LARGEST: u64 = 64 << 20;

/// The kit of a builder.
#[derive(Debug)]
pub struct Kit {
    tar: PathBuf,
    /// The conditions that it cannot vary, and why.
    pub lacks: Vec<NotVaried>,
}

impl Kit {
    pub(super) async fn put(&self, sandbox: &Sandbox, stage: crate::model::Stage) -> StageResult<()> {
        let tar = std::fs::File::open(&self.tar).at("read", &self.tar);
        let tar = owned_by(tar.map_err(|e| infrastructure(stage, &e))?, 0);
        sandbox.put("/", tar).await.map_err(|e| infrastructure(stage, &e))
    }
}

/// The kit of a builder, made by its `kit.sh` if it is not there; `None` where the builder has no such script.
pub async fn kit(
    shop: &Workshop,
    recorder: &mut Recorder,
    builder: &Builder,
    images: &TargetImages,
) -> StageResult<Option<Kit>> {
    if !builder.has("kit.sh") {
        return Ok(None);
    }
    let wanted = Wanted { builder, role: ImageRole::Verify, key: kit_key(builder, images.builder.id) };
    let from = Wanted { builder, role: ImageRole::Builder, key: images.builder.key };
    let title = "make what varies the conditions of a build";
    let record = scripted(shop, recorder, wanted, from, &images.builder, "kit.sh", &[], title).await?;
    ensure_loaded(shop, recorder, wanted, &record).await?;
    let stage = recorder.stage();
    let path = shop.scratch.join(format!("kit-{}.tar", record.id.hex()));
    let spec = install_spec(shop, &format!("{}-kit", builder.name), record.id);
    let tar = path.clone();
    let lacks = scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        let stream = sandbox.get(KIT).await?;
        let kept = read(stream, move |stream| keep(stream, &tar)).await;
        let broken = |source| EngineError::Stream { action: format!("read {KIT}"), source };
        kept.map_err(|error| SandboxError::Engine(broken(error)))
    });
    let lacks = lacks.await.and_then(|lacks| lacks).map_err(|e| infrastructure(stage, &e))?;
    Ok(Some(Kit { tar: path, lacks }))
}

/// Keeps the tar, and reads what the kit cannot do.
fn keep(stream: &mut dyn Read, path: &std::path::Path) -> io::Result<Vec<NotVaried>> {
    let mut bytes = Vec::new();
    stream.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than a kit may be"));
    }
    let mut lacks = None;
    for entry in tar::Archive::new(&bytes[..]).entries()? {
        let mut entry = entry?;
        if entry.path_bytes().ends_with(b"/not-varied") {
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            lacks = Some(not_varied(&String::from_utf8_lossy(&text)));
        }
    }
    std::fs::write(path, &bytes)?;
    lacks.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "kit.sh left no list of what it lacks"))
}

/// Reads lines of a condition's word, a tab and the reason.
fn not_varied(text: &str) -> Vec<NotVaried> {
    let line = |line: &str| {
        let (word, why) = line.split_once('\t')?;
        let condition = *Condition::ALL.iter().find(|condition| condition.word() == word)?;
        Some(NotVaried { condition, why: neutralise(why.as_bytes()) })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_kit_says_what_it_lacks_and_one_that_does_not_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kit.tar");
        let text = "time\tthe distro has no libfaketime\nnonsense\tx\n";
        let lacks = keep(&mut &tar_of(&[("packhold-kit/not-varied", text)])[..], &path).unwrap();
        let why = "the distro has no libfaketime".to_owned();
        assert_eq!(lacks, [NotVaried { condition: Condition::Time, why }]);
        assert!(path.exists());
        assert!(keep(&mut &tar_of(&[("packhold-kit/order.so", "")])[..], &path).is_err());
    }
}
