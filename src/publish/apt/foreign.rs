//! Suites of other programs, from which packages are taken.

use super::suite::Suite;
use super::{Pooled, Stanza};
use crate::publish::Result;
use crate::publish::place::Place;

/// A suite that is not ours.
pub(in crate::publish) struct Foreign {
    /// Its package files.
    pub(in crate::publish) packages: Vec<Pooled>,
    pub(in crate::publish) origin: String,
    pub(in crate::publish) label: String,
    /// Index files that name something else than packages for users, and how much.
    pub(in crate::publish) left: Vec<(String, usize)>,
}

/// The suite in `dists/NAME`, or `None` if there is none.
pub(in crate::publish) async fn foreign(place: &dyn Place, name: &str) -> Result<Option<Foreign>> {
    let suite = Suite::head(place, name).await?;
    if suite.stamp.is_none() {
        return Ok(None);
    }
    let (mut packages, mut left): (Vec<Pooled>, Vec<(String, usize)>) = (Vec::new(), Vec::new());
    for (component, all) in &suite.packages(place).await? {
        // Packages of Debian's installer have components of their own (DebianRepository/Format, "Components").
        match component.contains('/') {
            true if all.is_empty() => {}
            true => left.push((component.clone(), all.len())),
            false => packages.extend(all.values().map(|stanza: &Stanza| (component.clone(), stanza.clone()))),
        }
    }
    let mut sources: Vec<&str> = suite
        .release
        .files
        .keys()
        .filter_map(|file| {
            file.strip_suffix("/Sources").or_else(|| file.split_once("/Sources.").map(|(base, _)| base))
        })
        .collect();
    sources.dedup();
    for base in sources {
        let name = format!("{base}/Sources");
        let text = suite.unpacked(place, &suite.release.files, &name).await?;
        let count = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()).count();
        if count > 0 {
            left.push((name, count));
        }
    }
    let (origin, label) = (suite.release.field("Origin").to_owned(), suite.release.field("Label").to_owned());
    Ok(Some(Foreign { packages, origin, label, left }))
}
