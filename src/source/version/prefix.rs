use std::collections::BTreeMap;

use super::scheme::TagVersion;

/// What stands before the version in most of a project's tags: `v`, `release-`, or nothing. `None` if none of them is a version tag.
pub fn usual_prefix<'t>(tags: impl IntoIterator<Item = &'t str>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for prefix in tags.into_iter().filter_map(prefix_of) {
        *counts.entry(prefix).or_default() += 1;
    }
    let best = counts.into_iter().max_by_key(|(prefix, count)| (*count, *prefix == "v", prefix.is_empty()));
    best.map(|(prefix, _)| prefix.to_owned())
}

/// What stands before the version in a tag: `mp3d-` of `mp3d-1.2`. A number after `.`, `_` or another number and a hyphen only goes on.
fn prefix_of(tag: &str) -> Option<&str> {
    let begins = |before: &str| {
        let goes_on = before.ends_with(|c: char| c.is_ascii_digit() || c == '.' || c == '_');
        let revision =
            before.strip_suffix('-').is_some_and(|name| name.ends_with(|c: char| c.is_ascii_digit()));
        !goes_on && !revision
    };
    let starts = tag.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| tag.split_at(at));
    let mut versions = starts.filter(|(before, rest)| begins(before) && TagVersion::parse(rest).is_ok());
    versions.next().map(|(before, _)| before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_that_of_most_tags() {
        let of = |tags: &[&str]| usual_prefix(tags.iter().copied());
        assert_eq!(of(&["v1.0", "v1.1", "nightly-2"]).as_deref(), Some("v"));
        assert_eq!(of(&["1.0", "1.1-rc1"]).as_deref(), Some(""));
        assert_eq!(of(&["mp3d-1.2", "mp3d-1.3"]).as_deref(), Some("mp3d-"));
        assert_eq!(of(&["agent/v1.2.0", "latest"]).as_deref(), Some("agent/v"));
        assert_eq!(of(&["agent-1.0", "agent-1.1", "v2"]).as_deref(), Some("agent-"));
        assert_eq!(of(&["v1.0", "1.0"]).as_deref(), Some("v"));
        assert_eq!(of(&["latest", "debian/1.0-1"]), None);
        assert_eq!(of(&[]), None);
    }
}
