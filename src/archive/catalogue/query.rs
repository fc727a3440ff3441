use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::super::filter::RunFilter;
use super::super::run::{Purpose, RunSummary, TargetSummary};
use super::Answer;
use super::absorb::shortened;
use crate::model::{Digest, RunId, TargetName};

/// The runs that fit what a filter says, newest first, as long as `take` wants more. Of the file that is looked for, they are
/// those that may have it.
pub(in super::super) fn search(
    db: &Connection,
    filter: &RunFilter,
    mut take: impl FnMut(RunSummary) -> Answer<bool>,
) -> Answer<()> {
    let target = filter.target.as_ref().map(|target| format!("\"{target}\""));
    let (since, until) = (filter.since.map(nanoseconds), filter.until.map(nanoseconds));
    let file = filter.file.as_ref().map(shortened);
    let may_be: [(&str, Option<&dyn ToSql>, &str); 8] = [
        (":package", filter.package.as_ref().map(|value| value as _), "package = :package"),
        (
            ":version",
            filter.version.as_ref().map(|value| value as _),
            "(substr(version, 1, length(:version)) = :version
              OR substr(ltrim(version, 'v'), 1, length(:version)) = :version)",
        ),
        (
            ":commit",
            filter.commit.as_ref().map(|value| value as _),
            "substr(commit_id, 1, length(:commit)) = :commit",
        ),
        (
            ":outcome",
            filter.outcome.as_ref().map(|value| value as _),
            "substr(outcome, 1, length(:outcome)) = :outcome",
        ),
        (":target", target.as_ref().map(|value| value as _), "instr(targets, :target) > 0"),
        (":since", since.as_ref().map(|value| value as _), "started >= :since"),
        (":until", until.as_ref().map(|value| value as _), "started < :until"),
        (
            ":file",
            file.as_ref().map(|value| value as _),
            "(NOT readable OR n IN (SELECT run FROM file WHERE digest = :file))",
        ),
    ];
    let (mut values, mut conditions) = (Vec::new(), Vec::new());
    for (name, value, condition) in may_be {
        if let Some(value) = value {
            values.push((name, value));
            conditions.push(condition);
        }
    }
    let conditions = match conditions.is_empty() {
        true => String::new(),
        false => format!("WHERE {}", conditions.join(" AND ")),
    };
    let mut statement = db.prepare_cached(&format!(
        "SELECT id, manifest, package, commit_id, version, started, duration_ms, outcome, targets FROM run
         {conditions} ORDER BY id DESC"
    ))?;
    let mut rows = statement.query(&*values)?;
    let mut targets = KnownTargets::default();
    while let Some(row) = rows.next()? {
        let Some(run) = summary(row, &mut targets)? else { continue };
        let has_target = |wanted: &TargetName| run.targets.iter().any(|target| target.target == *wanted);
        if filter.target.as_ref().is_none_or(has_target) && !take(run)? {
            break;
        }
    }
    Ok(())
}

/// The ids of runs that begin so, newest first.
pub(in super::super) fn ids(db: &Connection, beginning: &str) -> Answer<Vec<RunId>> {
    let mut statement =
        db.prepare_cached("SELECT id FROM run WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id DESC")?;
    let ids = statement
        .query_map([beginning], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

/// The id of the newest run.
pub(in super::super) fn newest(db: &Connection) -> Answer<Option<RunId>> {
    let mut statement = db.prepare_cached("SELECT id FROM run ORDER BY id DESC LIMIT 1")?;
    let found: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
    Ok(found.and_then(|id| id.parse().ok()))
}

/// The digest of a run's manifest.
pub(in super::super) fn manifest_of(db: &Connection, id: &RunId) -> Answer<Option<Digest>> {
    let mut statement = db.prepare_cached("SELECT manifest FROM run WHERE id = ?1")?;
    let found: Option<[u8; 32]> = statement.query_row([id.as_str()], |row| row.get(0)).optional()?;
    Ok(found.map(Digest::from))
}

/// The commits of a package's runs.
pub(in super::super) fn commits(db: &Connection, package: &str) -> Answer<BTreeSet<String>> {
    let mut statement = db.prepare_cached("SELECT DISTINCT commit_id FROM run WHERE package = ?1")?;
    Ok(statement.query_map([package], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// The manifests of runs that may have a target with this key, newest first.
pub(in super::super) fn with_key(db: &Connection, purpose: Purpose, key: &Digest) -> Answer<Vec<Digest>> {
    let mut statement = db.prepare_cached(
        "SELECT manifest FROM run WHERE n IN (SELECT run FROM key WHERE digest = ?1 AND purpose = ?2)
         ORDER BY id DESC",
    )?;
    let rows =
        statement.query_map(params![shortened(key), purpose.number()], |row| row.get::<_, [u8; 32]>(0))?;
    Ok(rows.map(|row| row.map(Digest::from)).collect::<rusqlite::Result<_>>()?)
}

fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(if time < Timestamp::UNIX_EPOCH {
        i64::MIN
    } else {
        i64::MAX
    })
}

/// What rows said of targets: many say the same, and it need not be read again.
#[derive(Default)]
struct KnownTargets(HashMap<String, Arc<[TargetSummary]>>);

impl KnownTargets {
    /// More different ones are unlikely, and would only take memory.
    const MOST: usize = 1024;

    fn read(&mut self, text: &str) -> Option<Arc<[TargetSummary]>> {
        if let Some(targets) = self.0.get(text) {
            return Some(targets.clone());
        }
        let targets: Arc<[TargetSummary]> = serde_json::from_str(text).ok()?;
        if self.0.len() < Self::MOST {
            self.0.insert(text.to_owned(), targets.clone());
        }
        Some(targets)
    }
}

/// A row of [`search`]; `None` if somebody else has written into it.
fn summary(row: &Row<'_>, targets: &mut KnownTargets) -> rusqlite::Result<Option<RunSummary>> {
    let Ok(id) = row.get_ref(0)?.as_str().unwrap_or_default().parse() else { return Ok(None) };
    let started: Option<i64> = row.get(5)?;
    let Some(targets) = targets.read(row.get_ref(8)?.as_str().unwrap_or_default()) else { return Ok(None) };
    Ok(Some(RunSummary {
        id,
        manifest: Digest::from(row.get::<_, [u8; 32]>(1)?),
        package: row.get(2)?,
        commit: row.get(3)?,
        version: row.get(4)?,
        started: started.and_then(|started| Timestamp::from_nanosecond(started.into()).ok()),
        duration_ms: row.get::<_, i64>(6)?.try_into().unwrap_or_default(),
        outcome: row.get(7)?,
        targets,
    }))
}
