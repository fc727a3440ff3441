//! How a build differs from the one that it should equal, in a form in which several builds can be held against each other.

use std::collections::BTreeMap;

use super::members::{Member, Members};
use super::{differences, read};
use crate::model::Digest;

/// What a member became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How it differs, for people.
    pub what: String,
    /// Stands for what is there now: two builds with the same one made the same of it.
    pub now: Digest,
}

/// The members of the second file that differ from the first's, by name. What only follows from other differences (check
/// sums and sizes that a package notes of its own contents) is left out where those are told; signatures do not count.
pub fn changes(name: &str, first: &[u8], second: &[u8]) -> BTreeMap<String, Change> {
    if first == second {
        return BTreeMap::new();
    }
    let whole = |member: &str, what: String| {
        BTreeMap::from([(member.to_owned(), Change { what, now: Digest::of(second) })])
    };
    let (old, new) = match (read(name, first), read(name, second)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), _) => return whole("file", format!("the first cannot be read: {error}")),
        (_, Err(error)) => return whole("file", format!("the second cannot be read: {error}")),
    };
    let mut changes: BTreeMap<String, Change> = BTreeMap::new();
    for difference in differences(&old, &new).0 {
        let now = value(new.all.get(&difference.member));
        let change = changes.entry(difference.member).or_insert_with(|| Change { what: String::new(), now });
        if !change.what.is_empty() {
            change.what.push_str(", ");
        }
        change.what.push_str(&difference.what);
    }
    if changes.keys().any(|member| !follows(member)) {
        changes.retain(|member, _| !follows(member));
    }
    if !changes.is_empty() {
        return changes;
    }
    if old.order != new.order {
        let now = Digest::of(new.order.join("\n"));
        let what = "the same members in another order".to_owned();
        return BTreeMap::from([("members".to_owned(), Change { what, now })]);
    }
    match is_signed_otherwise(&old, &new) {
        true => BTreeMap::new(),
        false => whole("compression", "the same contents, compressed otherwise".to_owned()),
    }
}

fn is_signed_otherwise(old: &Members, new: &Members) -> bool {
    old.signatures != new.signatures
}

/// Whether a member only notes what others are: md5sums(5) of dpkg; of rpm the size, digests and times of files, and the
/// digests of the payload (lib/rpmtag.h: FILESIZES, PAYLOADDIGEST, PAYLOADDIGESTALT).
fn follows(member: &str) -> bool {
    matches!(
        member,
        "control.tar/md5sums"
            | "header/SIZE"
            | "header/1028"
            | "header/FILEDIGESTS"
            | "header/FILEMTIMES"
            | "header/5092"
            | "header/5097"
    )
}

fn value(member: Option<&Member>) -> Digest {
    match member {
        None => Digest::of("nothing"),
        Some(member) => Digest::of(format!(
            "{} {:o} {} {} {}",
            member.digest, member.mode, member.owner, member.mtime, member.link
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{FILES, deb};
    use super::*;

    #[test]
    fn the_same_change_in_two_builds_has_the_same_value_and_another_has_another() {
        let changed = |content: &'static str, mode| {
            let mut files = FILES;
            (files[0].1, files[0].2) = (content, mode);
            changes("a.deb", &deb(&FILES, "x"), &deb(&files, "y"))
        };
        let (one, same, other) = (changed("1", 0o755), changed("1", 0o755), changed("1", 0o775));
        assert_eq!(one, same);
        let member = "data.tar/usr/bin/agent";
        assert_eq!(one.keys().collect::<Vec<_>>(), [member]);
        assert_ne!(one[member].now, other[member].now);
        assert!(other[member].what.ends_with("mode 755 → 775"), "{:?}", other[member].what);
    }

    #[test]
    fn signatures_count_for_nothing_and_the_order_of_members_does() {
        let mut files = FILES;
        files.reverse();
        let one = deb(&FILES, "x");
        assert!(changes("a.deb", &one, &deb(&FILES, "y")).is_empty());
        assert_eq!(changes("a.deb", &one, &deb(&files, "x")).keys().collect::<Vec<_>>(), ["members"]);
        assert!(changes("a.deb", &one, b"no package").contains_key("file"));
    }
}
