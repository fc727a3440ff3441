use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::Digest;

/// How long the files of a state stay after another took its place: clients in the middle of an update still get them.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How many earlier states stay whatever their age, and the most that stay at all.
const AT_LEAST: usize = 10;
const AT_MOST: usize = 100;

/// A file that an index names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileOf {
    pub(super) digest: Digest,
    /// Bytes.
    pub(super) size: u64,
}

/// One state of an index (an apt suite, a yum tree).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generation {
    /// They are counted from 1.
    pub(super) number: u64,
    /// The state whose content it has: its own number, but for one that a rollback brought back.
    pub(super) origin: u64,
    /// What brought its content about, as the publisher says it: a run, for example.
    pub(super) publication: String,
    pub(super) time: Timestamp,
    /// The index files, by their names below the folder of the index.
    pub(super) files: BTreeMap<String, FileOf>,
    /// The packages' files that it names, by key, where a later state names fewer.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) dropped: BTreeSet<String>,
}

/// The last state of an index.
pub(super) struct Last {
    /// That state.
    pub(super) state: Generation,
    /// Whether there is one to go back to.
    pub(super) has_before: bool,
}

impl Last {
    pub(super) fn of(state: Generation, earlier: &[Generation]) -> Self {
        Self { has_before: before(earlier, &state).is_some(), state }
    }
}

/// The earlier states that are kept, oldest first, once `current` has been superseded at `now`.
pub(super) fn kept(
    mut earlier: Vec<Generation>,
    current: Option<Generation>,
    now: Timestamp,
) -> Vec<Generation> {
    earlier.extend(current);
    let mut from = earlier.len().saturating_sub(AT_MOST);
    // A state was superseded when the one after it came.
    while earlier.len() - from > AT_LEAST
        && earlier.get(from + 1).is_some_and(|next| now.duration_since(next.time) > KEPT_FOR)
    {
        from += 1;
    }
    earlier.split_off(from)
}

/// The state that a rollback of `current` brings back: the newest with content from before its own.
pub(super) fn before<'a>(earlier: &'a [Generation], current: &Generation) -> Option<&'a Generation> {
    earlier
        .iter()
        .filter(|state| state.origin < current.origin)
        .max_by_key(|state| (state.origin, state.number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(number: u64, origin: u64, hours: i64) -> Generation {
        let time = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let publication = format!("run {number}");
        Generation { number, origin, publication, time, files: BTreeMap::new(), dropped: BTreeSet::new() }
    }

    #[test]
    fn states_are_kept_for_a_week_after_they_were_superseded_and_ten_for_longer() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000);
        let old: Vec<Generation> = (1..=30).map(|n| state(n, n, n as i64)).collect();
        let numbers = |states: Vec<Generation>| states.iter().map(|state| state.number).collect::<Vec<_>>();
        assert_eq!(numbers(kept(old.clone(), None, now)), (21..=30).collect::<Vec<_>>());
        let fresh: Vec<Generation> = (1..=30).map(|n| state(n, n, 900 + n as i64)).collect();
        assert_eq!(kept(fresh, Some(state(31, 31, 999)), now).len(), 31);
        let many: Vec<Generation> = (1..=300).map(|n| state(n, n, 999)).collect();
        assert_eq!(kept(many, None, now).len(), 100);
    }

    #[test]
    fn a_second_rollback_goes_further_back() {
        let earlier = vec![state(1, 1, 1), state(2, 2, 2), state(3, 3, 3)];
        assert_eq!(before(&earlier, &state(4, 2, 4)).unwrap().number, 1);
        assert_eq!(before(&earlier, &state(4, 4, 4)).unwrap().number, 3);
        assert!(before(&earlier[..1], &state(2, 1, 2)).is_none());
    }
}
