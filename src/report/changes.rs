//! What two runs of a package made otherwise.

use jiff::Timestamp;
use serde::Serialize;

use super::text::bytes;
use crate::compare::Comparison;
use crate::config::PackageChange;
use crate::model::{ImageRole, RunId, RunRecord, TargetName};

/// A run that another is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// The run.
    pub run: RunId,
    /// The version, as `git describe` says it.
    pub version: String,
    /// The full commit id.
    pub commit: String,
    /// UTC.
    pub started: Timestamp,
    /// The outcome in a word or two.
    pub outcome: String,
    /// Milliseconds.
    pub duration_ms: u64,
}

impl Side {
    /// What is told of a run.
    pub fn of(record: &RunRecord) -> Self {
        Self {
            run: record.id.clone(),
            version: record.source.version.describe.clone(),
            commit: record.source.commit.clone(),
            started: record.started,
            outcome: record.outcome.summary(),
            duration_ms: record.duration_ms,
        }
    }
}

/// What is different from an earlier run of the same package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The earlier run.
    pub before: Side,
    /// The address of its page, if there is one.
    pub page: Option<String>,
    /// What is different, by target.
    pub targets: Vec<TargetChanges>,
}

/// What is different of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetChanges {
    /// The target.
    pub target: TargetName,
    /// Its packages, the unchanged too.
    pub files: Vec<FileChange>,
    /// The images in which packages are others.
    pub images: Vec<ImagePackages>,
}

/// A package of two runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// The package's name.
    pub package: String,
    /// The size of its file then, bytes; `None` if there was none.
    pub old: Option<u64>,
    /// The size of its file now.
    pub new: Option<u64>,
    /// What is in it, compared, where both could be read.
    pub comparison: Option<Comparison>,
    /// What else it needs, or offers, than then.
    pub relations: Vec<RelationChange>,
}

/// A kind of relation that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RelationChange {
    /// The kind, in the format's words.
    pub kind: String,
    /// What came.
    pub added: Vec<String>,
    /// What went.
    pub removed: Vec<String>,
}

/// The packages of an image that came, went, or are others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImagePackages {
    /// What the image is for.
    pub role: ImageRole,
    /// Its packages.
    pub packages: Vec<PackageChange>,
}

impl FileChange {
    /// How much its file has grown.
    pub fn growth(&self) -> String {
        match (self.old, self.new) {
            (Some(old), Some(new)) if new > old => format!("+{}", bytes(new - old)),
            (Some(old), Some(new)) if new < old => format!("−{}", bytes(old - new)),
            (Some(_), Some(_)) => "0".to_owned(),
            (None, _) => "new".to_owned(),
            (_, None) => "gone".to_owned(),
        }
    }

    /// How what is in it compares.
    pub fn verdict(&self) -> String {
        match &self.comparison {
            Some(Comparison::Identical) => "the same bytes".to_owned(),
            Some(Comparison::SignatureDiffers) => "the same but for its signature".to_owned(),
            Some(Comparison::Differs { differences, more, .. }) => {
                format!("{} differences", differences.len() + more)
            }
            None => "–".to_owned(),
        }
    }
}

/// A field that is another than then. Values are those of pipelines and of git: they have to be made safe before they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Its name, for people: `deps image`, `environment`.
    pub what: String,
    /// What it was; `None` if there was none.
    pub old: Option<String>,
    /// What it is.
    pub new: Option<String>,
}

/// Files that are others than then. Their names are a commit's: they have to be made safe before they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NameChanges {
    /// Those that came.
    pub added: Vec<String>,
    /// Those that went.
    pub removed: Vec<String>,
    /// Those whose contents, mode or link is another.
    pub changed: Vec<String>,
}

impl NameChanges {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.added.len() + self.removed.len() + self.changed.len()
    }
}
