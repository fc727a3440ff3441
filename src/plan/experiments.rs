//! Which builds to make to find out what a package depends on, and what their results mean.
//!
//! A first build is compared with one under wholly other conditions. What differs is then built under the first
//! conditions again, which tells chance from dependence; then with one condition varied at a time, the likely ones first, until
//! one alone gives the very bytes that all together gave; and at last with everything varied but what was found. What
//! differs from build to build anyway is built twice with a stopped clock, and twice more with one core.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Condition, DifferenceCause, Digest};

/// The conditions of a build, as they differ from those of the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// What is varied.
    pub varied: BTreeSet<Condition>,
    /// Whether the clock stands still.
    pub stopped: bool,
}

impl Setting {
    fn of(varied: impl IntoIterator<Item = Condition>) -> Self {
        Self { varied: varied.into_iter().collect(), stopped: false }
    }
}

/// A part of what was built: file and member.
pub type Place = (String, String);

/// The place of a build that failed.
pub fn whole_build() -> Place {
    (String::new(), "the build".to_owned())
}

/// What a build gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It failed.
    Failed,
    /// What differs from the first build, and a digest of what is there instead.
    Built(BTreeMap<Place, Digest>),
}

/// The search for what a target depends on.
#[derive(Clone, Debug)]
pub struct Search {
    available: Vec<Condition>,
    seen: Vec<(Setting, Seen)>,
}

impl Search {
    /// A search with the conditions that can be varied. The clock can be stopped where the time can be varied.
    pub fn new(available: Vec<Condition>) -> Self {
        Self { available, seen: Vec::new() }
    }

    /// Takes the result of a build.
    pub fn note(&mut self, setting: Setting, seen: Seen) {
        self.seen.push((setting, seen));
    }

    /// How many builds there were beside the first.
    pub fn builds(&self) -> usize {
        self.seen.len()
    }

    /// The build that tells most now; `None` when nothing is left to find out.
    pub fn next(&self) -> Option<Setting> {
        let all = self.all_varied();
        let untried = |condition: &Condition| self.results(&Setting::of([*condition])).next().is_none();
        let Some(together) = self.built(&all) else {
            if self.results(&all).next().is_none() {
                return Some(all);
            }
            return all.varied.iter().copied().find(untried).map(|condition| Setting::of([condition]));
        };
        let control = Setting::default();
        if together.is_empty() {
            return None;
        }
        if self.results(&control).next().is_none() {
            return Some(control);
        }
        let unsteady = self.unsteady();
        let open: Vec<&Place> = together.keys().filter(|place| !unsteady.contains(*place)).collect();
        if open.iter().any(|place| !self.is_explained(place)) {
            let order = self.available.iter().filter(|condition| all.varied.contains(condition));
            if let Some(condition) = order.copied().find(untried) {
                return Some(Setting::of([condition]));
            }
        }
        // Where one alone was enough to stop looking, the others must change nothing.
        if all.varied.iter().any(untried) && !open.is_empty() {
            let rest = self.without_causes(&open);
            if !rest.varied.is_empty() && self.results(&rest).next().is_none() {
                return Some(rest);
            }
        }
        // A clock that only turned meanwhile looks like several causes.
        if self.results(&control).count() < 2 && open.iter().any(|place| self.is_doubtful(place)) {
            return Some(control);
        }
        self.next_for_unsteady(&unsteady)
    }

    fn next_for_unsteady(&self, unsteady: &BTreeSet<Place>) -> Option<Setting> {
        if unsteady.is_empty() || !self.available.contains(&Condition::Time) {
            return None;
        }
        let stopped = stopped_clock([]);
        if self.results(&stopped).count() < 2 {
            return Some(stopped);
        }
        let one_core = stopped_clock([Condition::Cores]);
        let moves = |place: &Place| self.repeats(&stopped, place) == Some(false);
        let helps = self.available.contains(&Condition::Cores) && unsteady.iter().any(moves);
        (helps && self.results(&one_core).count() < 2).then_some(one_core)
    }

    /// What differed in any build, and what brings it about.
    pub fn causes(&self) -> BTreeMap<Place, DifferenceCause> {
        let mut causes = BTreeMap::new();
        let failing: Vec<Condition> = self.failing();
        let failed = self.seen.iter().any(|(_, seen)| *seen == Seen::Failed);
        if failed {
            let of_itself = self.results(&Setting::default()).any(|seen| *seen == Seen::Failed);
            let cause = match (of_itself, failing.is_empty()) {
                (true, _) => DifferenceCause::ChanceOrTime,
                (false, false) => DifferenceCause::Conditions { conditions: failing },
                (false, true) => DifferenceCause::Together,
            };
            // That a build fails with a stopped clock is no fault of it.
            if self.seen.iter().any(|(setting, seen)| *seen == Seen::Failed && !setting.stopped) {
                causes.insert(whole_build(), cause);
            }
        }
        let unsteady = self.unsteady();
        let running = self.seen.iter().filter(|(setting, _)| !setting.stopped);
        let places = running.filter_map(|(_, seen)| match seen {
            Seen::Built(differs) => Some(differs.keys()),
            Seen::Failed => None,
        });
        for place in places.flatten() {
            let cause =
                if unsteady.contains(place) { self.cause_of_unsteady(place) } else { self.cause(place) };
            causes.insert(place.clone(), cause);
        }
        causes
    }

    fn cause(&self, place: &Place) -> DifferenceCause {
        let together = self.built(&self.all_varied());
        if together.is_some_and(|differs| !differs.contains_key(place)) {
            return DifferenceCause::Chance;
        }
        match self.contributors(place) {
            conditions if conditions.is_empty() => DifferenceCause::Together,
            conditions => DifferenceCause::Conditions { conditions },
        }
    }

    fn cause_of_unsteady(&self, place: &Place) -> DifferenceCause {
        match self.repeats(&stopped_clock([]), place) {
            None => DifferenceCause::ChanceOrTime,
            Some(true) => DifferenceCause::Conditions { conditions: vec![Condition::Time] },
            Some(false) => match self.repeats(&stopped_clock([Condition::Cores]), place) {
                Some(true) => DifferenceCause::ParallelOrder,
                _ => DifferenceCause::Chance,
            },
        }
    }

    /// Everything varied but what alone makes the build fail.
    fn all_varied(&self) -> Setting {
        let failing = self.failing();
        Setting::of(self.available.iter().copied().filter(|condition| !failing.contains(condition)))
    }

    fn failing(&self) -> Vec<Condition> {
        self.singles().filter(|(_, seen)| **seen == Seen::Failed).map(|(condition, _)| condition).collect()
    }

    /// The builds with one condition varied.
    fn singles(&self) -> impl Iterator<Item = (Condition, &Seen)> {
        self.seen.iter().filter_map(|(setting, seen)| match (setting.stopped, setting.varied.len()) {
            (false, 1) => Some((*setting.varied.first()?, seen)),
            _ => None,
        })
    }

    fn results<'a>(&'a self, wanted: &Setting) -> impl Iterator<Item = &'a Seen> {
        self.seen.iter().filter(move |(setting, _)| setting == wanted).map(|(_, seen)| seen)
    }

    /// What differs in the first build under these conditions that did not fail.
    fn built(&self, wanted: &Setting) -> Option<&BTreeMap<Place, Digest>> {
        self.results(wanted).find_map(|seen| match seen {
            Seen::Built(differs) => Some(differs),
            Seen::Failed => None,
        })
    }

    /// What differs under the first conditions.
    fn unsteady(&self) -> BTreeSet<Place> {
        let first = Setting::default();
        let again = self.results(&first).filter_map(|seen| match seen {
            Seen::Built(differs) => Some(differs.keys().cloned()),
            Seen::Failed => None,
        });
        again.flatten().collect()
    }

    /// The conditions that change a place when they alone are varied.
    fn contributors(&self, place: &Place) -> Vec<Condition> {
        let changes = |seen: &Seen| matches!(seen, Seen::Built(differs) if differs.contains_key(place));
        self.singles().filter(|(_, seen)| changes(seen)).map(|(condition, _)| condition).collect()
    }

    /// The condition that alone gives what all together give.
    fn sole_cause(&self, place: &Place) -> Option<Condition> {
        let all = self.built(&self.all_varied())?.get(place)?;
        let gives = |seen: &Seen| matches!(seen, Seen::Built(differs) if differs.get(place) == Some(all));
        self.singles().find(|(_, seen)| gives(seen)).map(|(condition, _)| condition)
    }

    fn is_explained(&self, place: &Place) -> bool {
        let Some(cause) = self.sole_cause(place) else { return false };
        let without = self.seen.iter().filter(|(setting, _)| !setting.varied.contains(&cause));
        let mut without = without.filter(|(setting, _)| !setting.stopped);
        !without.any(|(_, seen)| matches!(seen, Seen::Built(differs) if differs.contains_key(place)))
    }

    fn is_doubtful(&self, place: &Place) -> bool {
        !self.is_explained(place) && self.contributors(place) != [Condition::Time]
    }

    fn without_causes(&self, open: &[&Place]) -> Setting {
        let causes: BTreeSet<Condition> = open.iter().flat_map(|place| self.contributors(place)).collect();
        Setting::of(self.all_varied().varied.difference(&causes).copied())
    }

    /// Whether two builds under the same conditions gave the same; `None` if there are not two.
    fn repeats(&self, setting: &Setting, place: &Place) -> Option<bool> {
        let mut both = self.results(setting).filter_map(|seen| match seen {
            Seen::Built(differs) => Some(differs.get(place)),
            Seen::Failed => None,
        });
        Some(both.next()? == both.next()?)
    }
}

fn stopped_clock(varied: impl IntoIterator<Item = Condition>) -> Setting {
    Setting { stopped: true, ..Setting::of(varied) }
}

#[cfg(test)]
#[path = "experiments_tests.rs"]
mod tests;
