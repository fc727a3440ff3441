use std::collections::BTreeMap;

use maud::html;

use super::changes::changes;
use super::{badge, checks, document, logs, origin, overview, packages, safe, time};
use crate::compare::Contents;
use crate::model::{Digest, RunRecord, short_commit};
use crate::report::changes::Changes;
use crate::report::log::Excerpt;
use crate::report::text::duration;

/// What a page of a run is drawn from.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// What happened.
    pub record: &'a RunRecord,
    /// The archive's folder; `None` if the run could not be archived.
    pub archive: Option<String>,
    /// The run's receipt.
    pub receipt: Receipt,
    /// What is shown of each log, by its name.
    pub logs: BTreeMap<String, Excerpt>,
    /// Where a whole log is, as an address relative to the page, of those that are not shown whole.
    pub log_files: BTreeMap<String, String>,
    /// What is in each package, by the digest of its file, or why that cannot be told.
    pub contents: BTreeMap<Digest, Result<Contents, String>>,
    /// What is different from the run before.
    pub changes: Option<Changes>,
    /// The address of the list of all runs.
    pub index: Option<&'a str>,
}

/// What says what a run made of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Nothing: the run made no packages.
    None,
    /// A statement that nobody has signed.
    Unsigned,
    /// A statement with signatures.
    Signed,
}

/// A run as one HTML document.
pub fn page(page: &Page<'_>) -> String {
    let record = page.record;
    let version = safe(&record.source.version.describe);
    let title = format!("{} {version}: {}", safe(&record.package), record.outcome.summary());
    let head = html! {
        @if let Some(index) = page.index { p.up { a href=(index) { "All runs" } } }
        h1 { (safe(&record.package)) " " span.version { (version) } " " (badge(&record.outcome)) }
        dl.facts {
            div { dt { "Commit" } dd { code title=(safe(&record.source.commit)) { (safe(short_commit(&record.source.commit))) } } }
            div { dt { "Run" } dd { code { (record.id) } } }
            div { dt { "Started" } dd { (time(record.started)) } }
            div { dt { "Took" } dd { (duration(record.duration_ms)) } }
            div { dt { "Engine" } dd { (safe(&record.engine.kind)) " " (safe(&record.engine.version)) " on " (safe(&record.engine.arch)) } }
        }
    };
    let sections = [
        ("overview", "Overview", overview::overview(record)),
        ("packages", "Packages", packages::packages(page)),
        ("checks", "Verification", checks::checks(record)),
        ("changes", "Changes", changes(page.changes.as_ref())),
        ("logs", "Logs", logs::logs(page)),
        ("images", "Images", origin::images(record)),
        ("origin", "Provenance and restore", origin::origin(page)),
    ];
    let navigation = html! {
        ul { @for (id, name, _) in &sections { li { a href={ "#" (id) } { (name) } } } }
    };
    let main = html! {
        @for (id, name, content) in &sections {
            section aria-labelledby=(id) {
                h2 id=(id) { (name) }
                (content)
            }
        }
    };
    document(&title, &head, &navigation, &main)
}
