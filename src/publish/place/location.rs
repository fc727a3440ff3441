use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Bucket, Folder, Place, Rsync};
use crate::bucket::{self, BucketSettings};
use crate::publish::{PublishError, Result};

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine.
    Folder(PathBuf),
    /// `s3://BUCKET/PREFIX`: a bucket of S3-compatible storage.
    Bucket {
        /// The bucket.
        bucket: String,
        /// What all names in it begin with; may be empty.
        prefix: String,
    },
    /// `rsync:HOST:PATH`, `rsync:HOST::MODULE/PATH` or `rsync://HOST/MODULE/PATH`: a folder that rsync reaches, as rsync names it (rsync(1)).
    Rsync(String),
}

/// What it takes to get to places.
#[derive(Clone, Debug)]
pub struct Access {
    /// What opens buckets.
    pub bucket: BucketSettings,
    /// The folder in which the copies are kept from which rsync sends.
    pub copies: PathBuf,
}

impl Location {
    /// As a person writes it: what has no scheme that is known is a folder.
    pub fn of(text: &OsStr) -> Result<Self> {
        let bad = |reason: &str| PublishError::Location {
            text: text.to_string_lossy().into_owned(),
            reason: reason.to_owned(),
        };
        let Some(words) = text.to_str() else { return Ok(Self::Folder(PathBuf::from(text))) };
        if words.is_empty() {
            return Err(bad("it is empty"));
        }
        if let Some(rest) = words.strip_prefix("s3://") {
            let (bucket, prefix) = bucket::address(rest).map_err(bad)?;
            return Ok(Self::Bucket { bucket, prefix });
        }
        if let Some(rest) = words.strip_prefix("rsync:") {
            let remote = if rest.starts_with("//") { words } else { rest };
            return match remote.trim_end_matches('/') {
                "" | "rsync:" => Err(bad("it names no host and no path")),
                option if option.starts_with('-') => Err(bad("it would be an option of rsync")),
                line if line.contains(['\n', '\0']) => Err(bad("it has more than one line")),
                remote => Ok(Self::Rsync(remote.to_owned())),
            };
        }
        match words.split_once("://") {
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c)) => {
                Err(bad("its scheme is unknown"))
            }
            _ => Ok(Self::Folder(PathBuf::from(words))),
        }
    }

    /// The place; a folder that is not there is made.
    pub fn open(&self, access: &Access) -> Result<Arc<dyn Place>> {
        Ok(match self {
            Self::Folder(folder) => Arc::new(Folder::open(folder)?),
            Self::Bucket { bucket, prefix } => Arc::new(Bucket::open(bucket, prefix, &access.bucket)?),
            Self::Rsync(remote) => Arc::new(Rsync::open(remote, &access.copies)?),
        })
    }

    /// The folder of this machine that has all its files, if there is one.
    pub fn folder(&self, access: &Access) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder.clone()),
            Self::Bucket { .. } => None,
            Self::Rsync(remote) => Some(Rsync::copy_of(remote, &access.copies)),
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", Path::display(folder)),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Rsync(remote) => f.write_str(remote),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let of = |text: &str| Location::of(OsStr::new(text)).unwrap();
        let bucket = |prefix: &str| Location::Bucket { bucket: "b".to_owned(), prefix: prefix.to_owned() };
        assert_eq!((of("s3://b"), of("s3://b/a/c/")), (bucket(""), bucket("a/c")));
        assert_eq!(of("/srv/a:b"), Location::Folder("/srv/a:b".into()));
        let rsync = |remote: &str| Location::Rsync(remote.to_owned());
        assert_eq!(of("rsync:me@host:/srv/packages/"), rsync("me@host:/srv/packages"));
        assert_eq!(of("rsync:host::module/packages"), rsync("host::module/packages"));
        assert_eq!(of("rsync://host:873/module"), rsync("rsync://host:873/module"));
        for bad in [
            "",
            "s3://",
            "s3://b/../c",
            "s3://b//c//d",
            "rsync:",
            "rsync://",
            "rsync:-e",
            "rsync:-esh:x",
            "ftp://h/x",
        ] {
            assert!(Location::of(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}
