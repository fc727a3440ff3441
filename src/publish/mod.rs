//! Repositories for apt and for yum, dnf and zypper as static files, and what comes into them.
//!
//! A [`Repository`] lies in a [`Place`]. [`Repository::publish`] adds the packages of a run to a [`Channel`], [`Repository::promote`] puts
//! into a channel what another one has, and [`Repository::roll_back`] undoes the last of these.
//!
//! # Places
//!
//! | place | how it is written to | how publishers are kept apart |
//! |---|---|---|
//! | [`Folder`] | files are renamed into place | a lock, and a comparison of the anchor under another one |
//! | [`Bucket`] | objects of S3-compatible storage | the anchor is written on a condition, which the storage checks (`If-Match`) |
//! | [`Rsync`] | from a copy here: packages and metadata, then the anchor, then what is removed | a lock here; elsewhere the anchor is compared right before it is sent |
//!
//! # What clients see
//!
//! | key | what it is |
//! |---|---|
//! | `pool/DISTRO/COMPONENT/p/package/` | debs; no version that was published once changes |
//! | `dists/DISTRO/`, `dists/DISTRO-CHANNEL/` | what apt reads; `stable` has the distro's own name |
//! | `rpm/CHANNEL/DISTRO/BASEARCH/` | a yum repository; `armhfp` for `armv7hl`, `i386` for `i686`, as dnf has it |
//! | `.packhold/` | of no use to clients |
//!
//! # What holds at any time
//!
//! - A suite or a tree is switched by replacing one file, its anchor; everything that the anchor names is there before. A publisher that is
//!   killed leaves files that nothing names.
//! - The anchor is replaced only if it still is the one that was read; else the publisher reads it again and adds its packages to what it
//!   finds. So nothing is lost between publishers on however many machines, where they share nothing but the place.
//! - All state is in the anchor and in files that it names. A repository that another program wrote is taken over by publishing to it.
//! - One publication that changes several suites switches one after the other.
//!
//! # What a publication costs
//!
//! No package that is there is read again. An index to which nothing is added is named again as it is. One that changes is read, written and
//! digested as a whole, but only the blocks into which something falls are taken apart and compressed (`blocks`). Its bytes are those that it has when
//! it is made at once, and the table of its blocks is part of the state: without it, after a rollback or where another program wrote the index, it is made anew.

mod anchor;
mod apt;
mod blocks;
pub mod client;
mod error;
mod guard;
mod history;
mod import;
mod name;
mod offer;
mod options;
mod page;
mod place;
mod publication;
mod repository;
mod yum;

use std::io::Read;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

pub use error::{PublishError, Result};
pub use import::{ImportOptions, Imported, ImportedPackage, read as read_foreign};
pub use name::Channel;
pub use offer::{Offer, Wanted};
pub use options::Options;
pub use page::keys_of_tree;
pub use place::{Access, Bucket, Folder, Found, Listed, Location, Place, Rsync, Stamp};
pub use publication::{Addition, Publication, Published};
pub use repository::Repository;

use crate::model::Digest;
use crate::sign::{Certificate, Signer};
use crate::support::decompress::{Packing, unpack};

/// How long files that nothing names are left alone: they may be those of a publisher that is at work.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// A distro release in a channel: what an apt suite is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Site {
    channel: Channel,
    distro: String,
}

impl Site {
    fn suite(&self) -> String {
        self.channel.suite(&self.distro)
    }
}

/// What all steps of one publication share.
struct Context<'a> {
    options: &'a Options,
    signer: Option<&'a dyn Signer>,
    /// Those of the signer, and those that the repository offers to its users already.
    certificates: Vec<Certificate>,
    publication: &'a str,
    now: Timestamp,
}

/// Puts a package's file to `key`, if it is not there with the same content. An error if other content is.
async fn put_package(place: &dyn Place, key: &str, path: &Path, digest: &Digest, size: u64) -> Result<()> {
    match place.size(key).await? {
        None => place.put_file(key, path).await,
        Some(there) if there == size => match place.content(key, size).await? {
            Some(bytes) if Digest::of(&bytes) == *digest => Ok(()),
            _ => Err(PublishError::Conflict { path: key.to_owned() }),
        },
        Some(_) => Err(PublishError::Conflict { path: key.to_owned() }),
    }
}

/// The text of an index file, unpacked if it is compressed; an error if it has more than `most` bytes.
fn unpacked(key: &str, bytes: &[u8], most: u64) -> Result<String> {
    let foreign =
        |error: std::io::Error| PublishError::Foreign { key: key.to_owned(), reason: error.to_string() };
    let packing = Packing::of(bytes);
    let mut text = String::new();
    let unpacked = unpack(bytes, packing).map_err(foreign)?;
    unpacked.take(most + 1).read_to_string(&mut text).map_err(foreign)?;
    match text.len() as u64 > most {
        true => Err(foreign(std::io::Error::other("it is too large"))),
        false => Ok(text),
    }
}
