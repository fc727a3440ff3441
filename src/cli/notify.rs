use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::error::CliError;
use crate::config::NotifyFile;
use crate::model::RunRecord;
use crate::notify::{Notifier, Patience};
use crate::support::fs::PathContext;

/// Who else is told about a run.
#[derive(Args, Debug, Default)]
pub(super) struct NotifyArguments {
    /// Tell the webhooks, commands and forges in this file (TOML) when the run is over. It must not be in the repository
    #[arg(long, value_name = "FILE", env = "PACKHOLD_NOTIFY")]
    pub notify: Option<PathBuf>,
}

impl NotifyArguments {
    /// Reads the file and its secrets, before hours of work for nothing. It must be in the repository neither of the pipeline's folder nor of the
    /// source.
    pub fn open(&self, pipeline: &Path, source: Option<&str>) -> Result<Option<Notifier>, CliError> {
        let Some(path) = &self.notify else { return Ok(None) };
        let whole = path.canonicalize().at("find", path)?;
        let folders = [Some(pipeline), source.map(Path::new)];
        for root in folders.into_iter().flatten().filter_map(repository_above) {
            if whole.starts_with(&root) {
                return Err(CliError::Usage {
                    message: format!(
                        "{} is in the repository {}: a change proposed there could send messages elsewhere",
                        path.display(),
                        root.display()
                    ),
                    hint: "keep it where only those can write who run Packhold".to_owned(),
                });
            }
        }
        Ok(Some(Notifier::open(NotifyFile::read(&whole)?, Patience::default())?))
    }
}

/// The working directory of the repository that a folder is in.
fn repository_above(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    folder.ancestors().find(|above| above.join(".git").exists()).map(Path::to_owned)
}

/// Tells everybody. What does not arrive is a warning.
pub(super) async fn tell(notifier: Option<&Notifier>, record: &RunRecord) {
    let Some(notifier) = notifier else { return };
    for warning in notifier.tell(record, Timestamp::now()).await {
        eprintln!("warning: not told: {warning}");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_a_proposed_change_could_edit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("agent");
        fs::create_dir_all(inside.join("ci")).unwrap();
        fs::create_dir(inside.join(".git")).unwrap();
        fs::write(inside.join("ci/notify.toml"), "").unwrap();
        fs::write(folder.path().join("notify.toml"), "").unwrap();
        let open = |file: &str, pipeline: &Path, source: Option<&Path>| {
            let arguments = NotifyArguments { notify: Some(folder.path().join(file)) };
            arguments.open(pipeline, source.and_then(Path::to_str)).map(|notifier| notifier.is_some())
        };
        assert!(matches!(open("notify.toml", &inside, None), Ok(true)));
        for (pipeline, source) in
            [(&*inside, None), (&*inside.join("ci"), None), (folder.path(), Some(&*inside))]
        {
            let error = open("agent/ci/notify.toml", pipeline, source).unwrap_err();
            assert!(error.to_string().contains("is in the repository"), "{error}");
        }
        std::os::unix::fs::symlink(inside.join("ci/notify.toml"), folder.path().join("link")).unwrap();
        assert!(open("link", &inside, None).is_err());
        assert!(matches!(NotifyArguments::default().open(&inside, None), Ok(None)));
    }
}
