use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// The lines of a pipeline that describe its package, but for the package's name: first and last, from 1. Empty for a text that is no TOML.
pub fn package_lines(text: &str) -> Vec<(usize, usize)> {
    let Ok(document) = DeTable::parse(text) else { return Vec::new() };
    let package = document.get_ref().iter().find(|(key, _)| key.get_ref() == "package");
    let Some(DeValue::Table(package)) = package.map(|(_, value)| value.get_ref()) else { return Vec::new() };
    let mut bytes = Vec::new();
    for (key, value) in package.iter().filter(|(key, _)| key.get_ref() != "name") {
        collect(key.span(), value.span(), value.get_ref(), &mut bytes);
    }
    let line = |at: usize| text[..text.floor_char_boundary(at.min(text.len()))].matches('\n').count() + 1;
    let mut lines: Vec<(usize, usize)> = bytes
        .into_iter()
        .map(|span| (line(span.start), line(span.end.saturating_sub(1).max(span.start))))
        .collect();
    lines.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (first, last) in lines {
        let is_blank = |from: usize| {
            text.lines().skip(from).take(first.saturating_sub(from + 1)).all(|line| line.trim().is_empty())
        };
        match joined.last_mut() {
            // Blank lines between go along.
            Some(before) if is_blank(before.1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// Where a key and its value are written; of a table, whose keys may be anywhere, all of them.
fn collect(key: Range<usize>, span: Range<usize>, value: &DeValue<'_>, all: &mut Vec<Range<usize>>) {
    all.push(key.start..span.end.max(key.end));
    match value {
        DeValue::Table(table) => {
            all.pop();
            all.push(key);
            all.push(span);
            for (key, value) in table {
                collect(key.span(), value.span(), value.get_ref(), all);
            }
        }
        DeValue::Array(values) if values.iter().any(|value| matches!(value.get_ref(), DeValue::Table(_))) => {
            all.pop();
            all.push(key.clone());
            for value in values.iter() {
                collect(value.span().start..value.span().start, value.span(), value.get_ref(), all);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_description_are_those_of_its_keys_and_tables() {
        let text = "# A pipeline.\n[package]\nname = \"demo\"\nsummary = \"a demo\"\ndescription = \"\"\"\nIt\nshows.\n\"\"\"\n\n\
                    [target.\"debian-12/deb\"]\n\n[[package.files]]\nsource = \"a\"\nto = \"/usr/bin/\"\n\n[[package.files]]\n\
                    source = \"b\"\nto = \"/usr/bin/\"\n\n[verify]\nskip = []\n[package.deb]\ndepends = [\n  \"a\",\n]\n";
        assert_eq!(package_lines(text), [(4, 8), (12, 18), (22, 25)]);
        assert_eq!(package_lines("[package]\nname = \"demo\"\n"), []);
        assert_eq!(package_lines("package = { name = \"a\", license = \"MIT\" }\n"), [(1, 1)]);
        assert_eq!(package_lines("package.name = \"a\"\npackage.license = \"MIT\"\n"), [(2, 2)]);
        assert_eq!(package_lines("[package\n"), []);
    }
}
