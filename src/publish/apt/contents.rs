//! `Contents-ARCH.gz` (DebianRepository/Format): which packages have which file. Its records are its lines, their keys the paths.

use std::collections::BTreeSet;

use crate::publish::blocks::{Record, Records};

/// Reads lines of such a file; what is no line of it is passed over.
pub(super) fn split(text: &str, most: usize) -> Result<Vec<(String, Record)>, String> {
    // Names of packages hold no spaces; paths may.
    let lines = text.lines().filter_map(|line| line.rsplit_once([' ', '\t']));
    let lines = lines.map(|(path, packages)| record(path.trim_end(), &packages.split(',').collect()));
    Ok(lines.take(most).collect())
}

fn record(path: &str, packages: &BTreeSet<&str>) -> (String, Record) {
    let packages: Vec<&str> = packages.iter().copied().collect();
    (path.to_owned(), Record::new(path, format!("{path:<55} {}\n", packages.join(","))))
}

/// The qualified names of the packages that a line names.
fn packages(line: &str) -> BTreeSet<&str> {
    line.trim_end().rsplit_once(' ').map(|(_, packages)| packages.split(',').collect()).unwrap_or_default()
}

/// Adds what `qualified` has.
pub(super) fn add(records: &mut Records<String>, paths: Vec<String>, qualified: &str) -> Result<(), String> {
    for path in paths {
        let mut all = records.get(&path)?.map(packages).unwrap_or_default();
        if all.insert(qualified) {
            let (path, record) = record(&path, &all);
            records.insert(path, record)?;
        }
    }
    Ok(())
}

/// Removes what `qualified` has no longer.
pub(super) fn remove(records: &mut Records<String>, path: &String, qualified: &str) -> Result<(), String> {
    let mut all = records.get(path)?.map(packages).unwrap_or_default();
    if !all.remove(qualified) {
        return Ok(());
    }
    if all.is_empty() {
        return records.remove(path).map(drop);
    }
    let (path, record) = record(path, &all);
    records.insert(path, record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::blocks::Forms;

    fn text(records: Records<String>) -> String {
        records.pack(Forms::All, None).unwrap().plain
    }

    #[test]
    fn a_path_goes_with_the_last_package_that_has_it() {
        let paths = ["usr/bin/a".to_owned(), "usr/share/with space".to_owned()];
        let full = || {
            let mut records = Records::new(split, []);
            add(&mut records, paths.to_vec(), "admin/a").unwrap();
            add(&mut records, paths[..1].to_vec(), "b").unwrap();
            records
        };
        let written = text(full());
        assert!(written.contains("admin/a,b\n"), "{written}");
        assert_eq!(text(Records::new(split, split(&written, usize::MAX).unwrap())), written);
        let mut records = full();
        for path in &paths {
            remove(&mut records, path, "admin/a").unwrap();
        }
        assert_eq!(text(records).split_whitespace().collect::<Vec<_>>(), ["usr/bin/a", "b"]);
    }
}
