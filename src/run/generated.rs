//! Packaging that is made of the pipeline's `[package]`, and where it goes.

use std::collections::BTreeMap;

use super::RunError;
use crate::config::PackageSection;
use crate::plan::packaging::{GeneratedFile, generate, wanted_files};
use crate::source::AddedFile;

/// The packaging, made of a description and of what `read` gives of the files that it asks for.
pub(super) fn generated(
    package: &PackageSection,
    read: impl Fn(&str) -> Result<Option<Vec<u8>>, RunError>,
) -> Result<Vec<GeneratedFile>, RunError> {
    let mut files = BTreeMap::new();
    for path in wanted_files(package) {
        if let Some(bytes) = read(&path)? {
            files.insert(path, bytes);
        }
    }
    Ok(generate(package, &files)?)
}

/// As files of a source tree.
pub(super) fn added(files: &[GeneratedFile]) -> Vec<AddedFile> {
    let one = |file: &GeneratedFile| AddedFile {
        path: file.path.clone(),
        content: file.content.clone(),
        executable: file.executable,
    };
    files.iter().map(one).collect()
}

/// The bytes of one of them.
pub(super) fn text_of(files: &[GeneratedFile], path: &str) -> Option<Vec<u8>> {
    files.iter().find(|file| file.path == path).map(|file| file.content.clone())
}
