use std::path::PathBuf;
use std::str::FromStr;

use super::error::RemoteError;
use crate::bucket;

/// Where runs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// An archive in a folder.
    Directory(PathBuf),
    /// A repository of an OCI registry (OCI distribution specification 1.1).
    Registry {
        /// Host, and port if it is not the usual one.
        host: String,
        /// The repository.
        repository: String,
        /// True for HTTP without TLS.
        plain: bool,
    },
    /// A bucket of S3-compatible storage.
    Bucket {
        /// The bucket.
        bucket: String,
        /// What all names in it begin with; may be empty.
        prefix: String,
    },
}

impl FromStr for Location {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let bad =
            |reason: &str| RemoteError::BadLocation { text: text.to_owned(), reason: reason.to_owned() };
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text.is_empty() {
                true => Err(bad("it is empty")),
                false => Ok(Self::Directory(PathBuf::from(text))),
            };
        };
        if scheme == "s3" {
            let (bucket, prefix) = bucket::address(rest).map_err(bad)?;
            return Ok(Self::Bucket { bucket, prefix });
        }
        let (first, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let rest = rest.trim_matches('/').to_owned();
        if first.is_empty() {
            return Err(bad("it names no host"));
        }
        match scheme {
            "oci" | "oci+http" if rest.is_empty() => Err(bad("it names no repository")),
            "oci" | "oci+http" if first.contains('@') => {
                Err(bad("credentials do not belong into an address"))
            }
            "oci" | "oci+http" => {
                Ok(Self::Registry { host: first.to_owned(), repository: rest, plain: scheme == "oci+http" })
            }
            _ => Err(bad("its scheme is unknown")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let of = |text: &str| text.parse::<Location>().unwrap();
        let registry = |host: &str, plain| Location::Registry {
            host: host.to_owned(),
            repository: "team/runs".to_owned(),
            plain,
        };
        assert_eq!(of("oci://example.org/team/runs"), registry("example.org", false));
        assert_eq!(of("oci+http://127.0.0.1:5000/team/runs/"), registry("127.0.0.1:5000", true));
        let bucket = |prefix: &str| Location::Bucket { bucket: "b".to_owned(), prefix: prefix.to_owned() };
        assert_eq!((of("s3://b"), of("s3://b/a/c/")), (bucket(""), bucket("a/c")));
        assert_eq!(of("../copy"), Location::Directory("../copy".into()));
        for bad in [
            "",
            "oci://host",
            "oci:///repository",
            "oci://user:word@host/x",
            "ftp://host/x",
            "s3://",
            "s3://b/../c",
        ] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }
}
