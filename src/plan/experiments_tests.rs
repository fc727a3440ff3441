use Condition::{BuildPath, Cores, Locale, Time, Umask, User};

use super::*;

/// A package whose members are functions of the conditions, of the number of the build and of the clock.
type Member = fn(&Setting, usize) -> String;

fn search(members: &[(&str, Member)], available: &[Condition]) -> (Search, Vec<Setting>) {
    search_with(members, available, |_, _| false)
}

fn search_with(
    members: &[(&str, Member)],
    available: &[Condition],
    fails: fn(&Setting, usize) -> bool,
) -> (Search, Vec<Setting>) {
    let mut search = Search::new(available.to_vec());
    let mut asked = Vec::new();
    while let Some(setting) = search.next() {
        asked.push(setting.clone());
        assert!(asked.len() < 30, "it does not end: {asked:?}");
        let number = asked.len();
        let first = Setting::default();
        let differs = members.iter().filter_map(|(name, member)| {
            let now = member(&setting, number);
            (now != member(&first, 0)).then(|| (place(name), Digest::of(now)))
        });
        let seen = if fails(&setting, number) { Seen::Failed } else { Seen::Built(differs.collect()) };
        search.note(setting, seen);
    }
    (search, asked)
}

fn place(name: &str) -> Place {
    ("a.deb".to_owned(), name.to_owned())
}

fn has(setting: &Setting, condition: Condition) -> bool {
    setting.varied.contains(&condition)
}

fn by(conditions: &[Condition]) -> DifferenceCause {
    DifferenceCause::Conditions { conditions: conditions.to_vec() }
}

#[test]
fn a_clean_package_is_built_once_more() {
    let (search, asked) = search(&[("x", |_, _| "same".into())], Condition::ALL);
    assert_eq!(asked, [Setting::of(Condition::ALL.iter().copied())]);
    assert!(search.causes().is_empty());
}

#[test]
fn one_cause_is_found_with_four_builds_and_confirmed_by_leaving_it_out() {
    let (search, asked) = search(&[("x", |s, _| has(s, BuildPath).to_string())], Condition::ALL);
    assert_eq!(search.causes(), BTreeMap::from([(place("x"), by(&[BuildPath]))]));
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked[3].varied.len() == Condition::ALL.len() - 1 && !has(&asked[3], BuildPath), "{asked:?}");
}

#[test]
fn members_with_causes_of_their_own_are_told_apart() {
    let members: &[(&str, Member)] = &[
        ("path", |s, _| has(s, BuildPath).to_string()),
        ("mode", |s, _| has(s, Umask).to_string()),
        ("both", |s, _| format!("{}{}", has(s, User), has(s, Locale))),
        ("either", |s, _| (has(s, User) || has(s, Locale)).to_string()),
        ("and", |s, _| (has(s, User) && has(s, Locale)).to_string()),
    ];
    let (search, _) = search(members, Condition::ALL);
    let causes = search.causes();
    assert_eq!(causes[&place("path")], by(&[BuildPath]));
    assert_eq!(causes[&place("mode")], by(&[Umask]));
    assert_eq!(causes[&place("both")], by(&[Locale, User]));
    assert_eq!(causes[&place("either")], by(&[Locale, User]));
    assert_eq!(causes[&place("and")], DifferenceCause::Together);
}

#[test]
fn a_cause_that_hides_behind_a_likelier_one_is_found_when_that_one_is_left_out() {
    let hidden: Member = |s, _| if has(s, BuildPath) { "p".into() } else { has(s, Umask).to_string() };
    let (search, _) = search(&[("x", hidden)], Condition::ALL);
    assert_eq!(search.causes()[&place("x")], by(&[BuildPath, Umask]));
}

#[test]
fn what_a_running_clock_changes_and_a_stopped_one_does_not_is_the_time() {
    let seconds: Member = |s, n| if s.stopped { "stopped".into() } else { n.to_string() };
    let (found, asked) = search(&[("x", seconds)], Condition::ALL);
    assert_eq!(found.causes()[&place("x")], by(&[Time]));
    assert_eq!(asked.len(), 4, "{asked:?}");
    let (found, _) = search(&[("x", seconds)], &[BuildPath, Locale]);
    assert_eq!(found.causes()[&place("x")], DifferenceCause::ChanceOrTime);
}

#[test]
fn a_clock_that_turns_to_the_next_hour_meanwhile_accuses_nothing_else() {
    let hours: Member = |s, n| match s.stopped {
        true => "stopped".into(),
        false => format!("{} {}", has(s, Time), n > 3),
    };
    let (search, _) = search(&[("x", hours), ("y", |s, _| has(s, Umask).to_string())], Condition::ALL);
    assert_eq!(search.causes()[&place("x")], by(&[Time]));
    assert_eq!(search.causes()[&place("y")], by(&[Umask]));
}

#[test]
fn chance_is_told_from_the_order_of_a_parallel_build() {
    let random: Member = |_, n| n.to_string();
    let parallel: Member = |s, n| if has(s, Cores) { "one".into() } else { n.to_string() };
    let (search, _) = search(&[("random", random), ("parallel", parallel)], Condition::ALL);
    assert_eq!(search.causes()[&place("random")], DifferenceCause::Chance);
    assert_eq!(search.causes()[&place("parallel")], DifferenceCause::ParallelOrder);
}

#[test]
fn a_condition_under_which_it_cannot_be_built_is_named_and_the_others_are_tried_without_it() {
    let (search, _) =
        search_with(&[("x", |s, _| has(s, User).to_string())], Condition::ALL, |s, _| has(s, Locale));
    let causes = search.causes();
    assert_eq!(causes[&whole_build()], by(&[Locale]));
    assert_eq!(causes[&place("x")], by(&[User]));
}

#[test]
fn a_build_that_only_fails_under_all_conditions_accuses_none_of_them() {
    let (search, asked) = search_with(&[], Condition::ALL, |s, _| s.varied.len() > 5);
    assert_eq!(search.causes(), BTreeMap::from([(whole_build(), DifferenceCause::Together)]));
    assert_eq!(asked.len(), 1 + Condition::ALL.len());
}

#[test]
fn a_build_that_fails_with_a_stopped_clock_is_not_accused() {
    let (search, _) = search_with(&[("x", |_, n| n.to_string())], Condition::ALL, |s, _| s.stopped);
    assert_eq!(search.causes(), BTreeMap::from([(place("x"), DifferenceCause::ChanceOrTime)]));
}
