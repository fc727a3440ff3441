use std::io;
use std::path::Path;

use async_trait::async_trait;
use percent_encoding::percent_decode_str;

use crate::support::tar_reader::safe_relative;

/// Files that lie elsewhere.
#[async_trait]
pub trait Source: Send + Sync {
    /// The file at `path`, which has no slash at its beginning; `None` if there is none.
    async fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
}

/// Brings what a client asks for into the folder if it is not there. What cannot be had stays missing, which is what the client is told.
pub(super) async fn bring(source: &dyn Source, folder: &Path, path: &str) {
    let Ok(path) = percent_decode_str(path.trim_start_matches('/')).decode_utf8() else { return };
    let Some(target) = safe_relative(&path).map(|safe| folder.join(safe)) else { return };
    if target.exists() {
        return;
    }
    match source.read(&path).await {
        Ok(Some(bytes)) => {
            if let Err(error) = write(folder, &target, &bytes) {
                tracing::warn!("{path} is not served: {error}");
            }
        }
        Ok(None) => {}
        Err(error) => tracing::warn!("{path} is not served: {error}"),
    }
}

/// Clients that ask at the same time see the file whole or not at all.
fn write(folder: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, bytes)?;
    file.persist(target)?;
    Ok(())
}
