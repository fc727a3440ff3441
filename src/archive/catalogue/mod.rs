//! The catalogue: what the index and its pages say of runs, and which files each has, in an SQLite database beside them, so
//! that a search reads no page and no run. It is made of the archive and may be removed at any time. Whoever asks brings it
//! up to date first; where it cannot be written, it is made in memory.
//!
//! Lists come from it alone; what it finds by a digest or an id is looked at in the run itself.

mod absorb;
mod query;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use oci_spec::image::{Descriptor, ImageIndex};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

pub(super) use query::{commits, ids, manifest_of, newest, search, with_key};

use super::error::{ArchiveError, Result};
use super::index;
use super::layout::Layout;
use super::manifest::digest_of;
use super::pages;
use super::run;
use crate::model::Digest;

/// How long a process waits for another one that brings the catalogue up to date.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a question has no answer.
pub(super) enum Failure {
    /// The database does not do its work: the archive is asked without it.
    Database(rusqlite::Error),
    /// The archive does not do its.
    Archive(ArchiveError),
    /// What the database says is not so.
    Wrong,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Archive(error) => error.fmt(f),
            Self::Wrong => f.write_str("it names another run than the archive has"),
        }
    }
}

/// What a question of the catalogue gives.
pub(super) type Answer<T> = std::result::Result<T, Failure>;

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// Asks the catalogue, which knows then what the index lists at this moment.
pub(super) fn ask<T>(layout: &Layout, question: impl Fn(&Connection) -> Answer<T>) -> Result<T> {
    index::look_up(layout, |index| {
        let path = layout.catalogue();
        let answer = match open(&path).and_then(|db| answered(layout, index, db, &question)) {
            Err(failure) if is_damage(&failure) => {
                // Nothing is lost with it.
                let _ = fs::remove_file(&path);
                open(&path).and_then(|db| answered(layout, index, db, &question))
            }
            answer => answer,
        };
        let answer = match answer {
            Err(failure @ (Failure::Database(_) | Failure::Wrong)) => {
                let error = failure.to_string();
                tracing::debug!(%error, "the catalogue cannot be used; one is made in memory");
                in_memory().and_then(|db| answered(layout, index, db, &question))
            }
            answer => answer,
        };
        answer.map_err(|failure| match failure {
            Failure::Archive(error) => error,
            failure => {
                ArchiveError::Damaged { what: "the catalogue".to_owned(), reason: failure.to_string() }
            }
        })
    })
}

/// Brings the catalogue up to date after a change. If that fails, whoever asks next does it.
pub(super) fn refresh(layout: &Layout) {
    let _ = ask(layout, |_| Ok(()));
}

fn is_damage(failure: &Failure) -> bool {
    let damages = |code| matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase);
    match failure {
        Failure::Database(error) => error.sqlite_error_code().is_some_and(damages),
        Failure::Archive(_) => false,
        Failure::Wrong => true,
    }
}

/// Somebody else's archive may hold any file under the catalogue's name: a link is not followed, and nothing in the file
/// makes SQLite run anything: no view, no trigger, no function (<https://www.sqlite.org/security.html>).
fn open(path: &Path) -> Answer<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    prepared(Connection::open_with_flags(path, flags)?)
}

fn in_memory() -> Answer<Connection> {
    prepared(Connection::open_in_memory()?)
}

fn prepared(mut db: Connection) -> Answer<Connection> {
    db.busy_timeout(PATIENCE)?;
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
    ] {
        db.set_db_config(setting, value)?;
    }
    db.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA synchronous = NORMAL;",
    )?;
    let made: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if made == 0 {
        // A list reads all of them.
        db.execute_batch("PRAGMA page_size = 16384;")?;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(absorb::TABLES)?;
        transaction.commit()?;
    }
    Ok(db)
}

fn answered<T>(
    layout: &Layout,
    index: &ImageIndex,
    mut db: Connection,
    question: &impl Fn(&Connection) -> Answer<T>,
) -> Answer<T> {
    let listed = sources(index);
    // Looked at and asked in one transaction: nobody changes the catalogue in between.
    let transaction = db.transaction()?;
    if absorb::known(&transaction)?.keys().eq(listed.keys()) {
        return question(&transaction);
    }
    drop(transaction);
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    absorb::bring_up_to_date(layout, &transaction, &listed)?;
    let answer = question(&transaction);
    transaction.commit()?;
    answer
}

/// What lists runs: pages, and the index, of which each run counts by itself.
fn sources(index: &ImageIndex) -> BTreeMap<Digest, &Descriptor> {
    let lists_runs = |entry: &&Descriptor| pages::is_page(entry) || run::run_id(entry).is_some();
    index.manifests().iter().filter(lists_runs).filter_map(|entry| Some((digest_of(entry)?, entry))).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::testing::Fixture;
    use super::super::{Archive, KeepPolicy, RunFilter};
    use super::*;
    use crate::model::RunId;

    fn ids(archive: &Archive) -> Vec<RunId> {
        archive.runs().unwrap().into_iter().map(|run| run.id).collect()
    }

    fn with_runs(count: u32) -> (Fixture, Vec<RunId>) {
        let fixture = Fixture::new();
        let mut ids: Vec<RunId> = (0..count).map(|number| fixture.add_run(number).id).collect();
        ids.reverse();
        (fixture, ids)
    }

    #[test]
    fn a_search_reads_no_page_and_no_run() {
        let (fixture, runs) = with_runs(20);
        let layout = fixture.archive.layout();
        for blob in fs::read_dir(layout.blobs()).unwrap() {
            fs::remove_file(blob.unwrap().path()).unwrap();
        }
        assert_eq!(ids(&fixture.archive), runs);
    }

    #[test]
    fn a_catalogue_that_is_gone_or_damaged_is_made_anew() {
        let (fixture, runs) = with_runs(20);
        let path = fixture.archive.layout().catalogue();
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[100..].iter_mut().step_by(7).for_each(|byte| *byte ^= 0x55);
        for content in [None, Some(&b"no database"[..]), Some(&whole[..whole.len() / 2]), Some(&damaged)] {
            fs::remove_file(&path).unwrap();
            content.iter().for_each(|bytes| fs::write(&path, bytes).unwrap());
            assert_eq!(ids(&fixture.archive), runs);
            assert_eq!(ids(&fixture.archive), runs);
            assert!(open(&path).and_then(|db| absorb::known(&db)).is_ok_and(|known| known.len() > 1));
        }
    }

    #[test]
    fn a_link_in_the_place_of_the_catalogue_is_not_followed() {
        let (fixture, runs) = with_runs(2);
        let path = fixture.archive.layout().catalogue();
        let others = fixture.dir.path().join("others.sqlite");
        Connection::open(&others)
            .unwrap()
            .execute_batch("CREATE TABLE mine (n); INSERT INTO mine VALUES (1)")
            .unwrap();
        let before = fs::read(&others).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&others, &path).unwrap();
        assert_eq!(ids(&fixture.archive), runs);
        assert_eq!(fs::read(&others).unwrap(), before);
    }

    #[test]
    fn a_catalogue_that_names_another_run_is_made_anew() {
        let (fixture, runs) = with_runs(2);
        let path = fixture.archive.layout().catalogue();
        let db = Connection::open(&path).unwrap();
        let swap = "UPDATE run SET manifest = (SELECT manifest FROM run WHERE id = ?1) WHERE id = ?2";
        db.execute(swap, [runs[0].as_str(), runs[1].as_str()]).unwrap();
        drop(db);
        assert_eq!(fixture.archive.run(runs[1].as_str()).unwrap().record.id, runs[1]);
        assert_eq!(fixture.archive.run(runs[0].as_str()).unwrap().record.id, runs[0]);
    }

    #[test]
    fn nothing_in_a_catalogue_of_strangers_is_run() {
        let (fixture, runs) = with_runs(2);
        let path = fixture.archive.layout().catalogue();
        let db = Connection::open(&path).unwrap();
        // It would never end.
        let view = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS n, x'00' AS digest FROM n";
        db.execute_batch(&format!("DROP TABLE source; CREATE VIEW source AS {view};")).unwrap();
        drop(db);
        assert_eq!(ids(&fixture.archive), runs);
    }

    #[test]
    fn an_archive_behind_a_link_has_its_catalogue_too() {
        let (fixture, runs) = with_runs(2);
        let link = fixture.dir.path().join("link");
        symlink(fixture.archive.path(), &link).unwrap();
        let archive = Archive::open(&link).unwrap();
        assert_eq!(ids(&archive), runs);
        assert!(open(&archive.layout().catalogue()).is_ok());
    }

    #[test]
    fn where_no_catalogue_can_be_written_runs_are_found_without() {
        let (fixture, runs) = with_runs(20);
        let path = fixture.archive.layout().catalogue();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(ids(&fixture.archive), runs);
    }

    #[test]
    fn a_run_whose_manifest_cannot_be_read_is_listed_and_found_by_its_files_when_it_is_back() {
        let (fixture, runs) = with_runs(1);
        let run = fixture.archive.run(runs[0].as_str()).unwrap();
        let (path, aside) = (fixture.blob(&run.manifest), fixture.dir.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        fs::remove_file(fixture.archive.layout().catalogue()).unwrap();
        assert_eq!(ids(&fixture.archive), runs);
        let file = RunFilter { file: Some(run.files[0].digest), ..RunFilter::default() };
        assert!(fixture.archive.search(&file, 9).is_err(), "nobody knows");
        fs::rename(&aside, &path).unwrap();
        assert_eq!(fixture.archive.search(&file, 9).unwrap().len(), 1);
    }

    #[test]
    fn what_is_pruned_or_comes_back_under_another_name_is_known_at_once() {
        let (fixture, mut runs) = with_runs(30);
        let other = Archive::open(fixture.archive.path()).unwrap();
        assert_eq!(ids(&other), runs);
        let policy = KeepPolicy { last: Some(5), ..KeepPolicy::default() };
        other.prune(&policy, jiff::Timestamp::now()).unwrap();
        let gone = runs.split_off(5);
        assert_eq!(ids(&fixture.archive), runs);
        assert_eq!(fixture.archive.find_build(&Digest::of("build 3")).unwrap(), None);
        fixture.add_run(3);
        assert_eq!(fixture.archive.find_build(&Digest::of("build 3")).unwrap().unwrap().0, gone[21]);
        let db = open(&fixture.archive.layout().catalogue());
        let counts = db.and_then(|db| {
            let count = |table| {
                db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
            };
            Ok((count("run")?, count("key")?))
        });
        assert!(counts.is_ok_and(|counts| counts == (6, 6)), "nothing stays of what went");
    }
}
