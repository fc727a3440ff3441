//! The paths of packages, kept beside the repository so that no package is read a second time for its line in Contents.

use std::io::Read;

use super::deb::Deb;
use super::stanza::Stanza;
use crate::model::Digest;
use crate::publish::place::Place;
use crate::publish::{PublishError, Result};
use crate::support::fs::PathContext;

/// The most bytes of a list of paths, and of a package that has to be read again for its paths.
pub(super) const MAX_PATHS: u64 = 128 << 20;
const MAX_PACKAGE: u64 = 8 << 30;

/// The key of the list of paths of a package.
fn paths_key(digest: &Digest) -> String {
    format!(".packhold/contents/{}", digest.hex())
}

/// Keeps the paths of a package, so that it need not be read again.
pub(super) async fn keep_paths(place: &dyn Place, deb: &Deb) -> Result<()> {
    let key = paths_key(&deb.digest);
    if place.size(&key).await?.is_none() {
        let packed = zstd::encode_all(deb.paths.join("\n").as_bytes(), 3);
        place.put(&key, packed.at("compress", &key)?).await?;
    }
    Ok(())
}

/// The paths of a package, from the list that is kept of it or from its file.
pub(super) async fn paths(place: &dyn Place, stanza: &Stanza) -> Result<Vec<String>> {
    if let Some(found) = place.content(&paths_key(&stanza.digest), MAX_PATHS).await? {
        let mut text = String::new();
        if zstd::Decoder::new(found.as_slice())
            .and_then(|unpacked| unpacked.take(MAX_PATHS).read_to_string(&mut text))
            .is_ok()
        {
            return Ok(text.lines().map(str::to_owned).collect());
        }
    }
    // It was published by another program.
    let gone =
        |reason: &str| PublishError::Foreign { key: stanza.filename.clone(), reason: reason.to_owned() };
    let found = place.content(&stanza.filename, MAX_PACKAGE).await?.ok_or_else(|| gone("it is not there"))?;
    let file = tempfile::NamedTempFile::new().at("create a file in", std::env::temp_dir())?;
    std::fs::write(file.path(), &found).at("write", file.path())?;
    let deb = Deb::read(file.path())?;
    if deb.digest != stanza.digest {
        return Err(gone("it is not what Packages says"));
    }
    keep_paths(place, &deb).await?;
    Ok(deb.paths)
}
