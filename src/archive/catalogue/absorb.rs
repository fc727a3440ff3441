use std::collections::BTreeMap;

use oci_spec::image::Descriptor;
use rusqlite::{Connection, Row, params};

use super::super::image;
use super::super::layout::Layout;
use super::super::manifest::{BUILD_KEYS, FILE_ROLE, VERIFY_KEYS, annotation, digest_of};
use super::super::pages;
use super::super::run::{self, FileRole, Purpose};
use super::Answer;
use crate::model::Digest;

/// Runs lie in the order of their ids, in which they are listed. Digests of files and keys are cut to eight bytes: what is found by them is looked at anyway.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS source (n INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
    CREATE TABLE IF NOT EXISTS run (
        id TEXT PRIMARY KEY,
        n INTEGER NOT NULL UNIQUE,
        source INTEGER NOT NULL,
        manifest BLOB NOT NULL,
        package TEXT NOT NULL,
        commit_id TEXT NOT NULL,
        version TEXT NOT NULL,
        started INTEGER,
        duration_ms INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        targets TEXT NOT NULL,
        readable INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS run_source ON run (source);
    CREATE INDEX IF NOT EXISTS run_package ON run (package, commit_id);
    CREATE TABLE IF NOT EXISTS file (digest INTEGER, run INTEGER, PRIMARY KEY (digest, run)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS key (
        digest INTEGER, purpose INTEGER, run INTEGER, PRIMARY KEY (digest, purpose, run)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// What the catalogue has taken in: pages, and runs that the index lists itself.
pub(super) fn known(db: &Connection) -> Answer<BTreeMap<Digest, i64>> {
    let mut statement = db.prepare("SELECT digest, n FROM source")?;
    let rows = statement
        .query_map([], |row: &Row<'_>| Ok((Digest::from(row.get::<_, [u8; 32]>(0)?), row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Takes in what is listed, and forgets what is not any more.
pub(super) fn bring_up_to_date(
    layout: &Layout,
    db: &Connection,
    listed: &BTreeMap<Digest, &Descriptor>,
) -> Answer<()> {
    let mut known = known(db)?;
    for (digest, entry) in listed {
        if known.remove(digest).is_some() {
            continue;
        }
        db.prepare_cached("INSERT INTO source (digest) VALUES (?1)")?.execute([digest.bytes()])?;
        let source = db.last_insert_rowid();
        if pages::is_page(entry) {
            for run in pages::read(layout, entry)? {
                take(layout, db, source, &run)?;
            }
        } else {
            take(layout, db, source, entry)?;
        }
    }
    let mut gone = 0;
    for source in known.values() {
        gone += db.prepare_cached("DELETE FROM run WHERE source = ?1")?.execute([source])?;
        db.prepare_cached("DELETE FROM source WHERE n = ?1")?.execute([source])?;
    }
    if gone > 0 {
        for table in ["file", "key"] {
            db.execute(&format!("DELETE FROM {table} WHERE run NOT IN (SELECT n FROM run)"), [])?;
        }
    }
    Ok(())
}

fn take(layout: &Layout, db: &Connection, source: i64, entry: &Descriptor) -> Answer<()> {
    let Some(summary) = run::run_id(entry).and_then(|id| run::summary(id, entry)) else { return Ok(()) };
    let (id, manifest) = (summary.id.as_str(), summary.manifest.bytes());
    // From the index into a page, or back: the rest is known.
    let moved = db
        .prepare_cached("UPDATE run SET source = ?1 WHERE id = ?2 AND manifest = ?3")?
        .execute(params![source, id, manifest])?;
    if moved > 0 {
        return Ok(());
    }
    let files = image::read_manifest(layout, &summary.manifest, "the manifest of a run").ok();
    let mut keep_run = db.prepare_cached(
        "INSERT OR REPLACE INTO run
         (n, id, source, manifest, package, commit_id, version, started, duration_ms, outcome, targets, readable)
         VALUES ((SELECT coalesce(max(n), 0) + 1 FROM run), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         RETURNING n",
    )?;
    let row = params![
        id,
        source,
        manifest,
        summary.package,
        summary.commit,
        summary.version,
        summary.started.and_then(|started| i64::try_from(started.as_nanosecond()).ok()),
        i64::try_from(summary.duration_ms).unwrap_or(i64::MAX),
        summary.outcome,
        serde_json::to_string(&summary.targets).unwrap_or_default(),
        files.is_some(),
    ];
    let run: i64 = keep_run.query_row(row, |row| row.get(0))?;
    let mut keep_file = db.prepare_cached("INSERT OR IGNORE INTO file (digest, run) VALUES (?1, ?2)")?;
    // The builders' files are those of many runs, and none made them.
    let own = |layer: &&Descriptor| annotation(layer, FILE_ROLE) != Some(FileRole::Builder.as_str());
    let layers = files.iter().flat_map(|manifest| manifest.layers()).filter(own);
    for digest in layers.filter_map(digest_of) {
        keep_file.execute(params![shortened(&digest), run])?;
    }
    let mut keep_key =
        db.prepare_cached("INSERT OR IGNORE INTO key (digest, purpose, run) VALUES (?1, ?2, ?3)")?;
    for (purpose, keys) in [(Purpose::Build, BUILD_KEYS), (Purpose::Verify, VERIFY_KEYS)] {
        let keys = annotation(entry, keys).unwrap_or_default().split(',');
        for key in keys.filter_map(|key| key.parse().ok()) {
            keep_key.execute(params![shortened(&key), purpose.number(), run])?;
        }
    }
    Ok(())
}

/// The first eight bytes of a digest.
pub(super) fn shortened(digest: &Digest) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest.bytes()[..8]);
    i64::from_be_bytes(first)
}
