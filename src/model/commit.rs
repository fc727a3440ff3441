/// The beginning of a commit's id, as people are shown it: 12 digits. Always 12: git's own abbreviation grows with what else a clone holds.
pub fn short_commit(id: &str) -> &str {
    match id.char_indices().nth(12) {
        Some((end, _)) => &id[..end],
        None => id,
    }
}
