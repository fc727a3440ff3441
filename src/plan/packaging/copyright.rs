//! debian/copyright (Debian Policy 12.5, machine-readable format 1.0).

use std::collections::BTreeMap;

use super::BadDescription;
use crate::config::PackageSection;
use crate::support::terminal_text::neutralise;

/// Where a licence is usually found.
const USUAL: [&str; 10] = [
    "COPYING",
    "COPYING.md",
    "COPYING.txt",
    "LICENCE",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "LICENSE.md",
    "LICENSE.txt",
    "LICENSES.txt",
];

/// Licences whose text Debian has in /usr/share/common-licenses (Policy 12.5): the beginning of SPDX's name, and the file.
const COMMON: [(&str, &str); 13] = [
    ("Apache-2.0", "Apache-2.0"),
    ("Artistic-1.0", "Artistic"),
    ("CC0-1.0", "CC0-1.0"),
    ("GFDL-1.2", "GFDL-1.2"),
    ("GFDL-1.3", "GFDL-1.3"),
    ("GPL-1.0", "GPL-1"),
    ("GPL-2.0", "GPL-2"),
    ("GPL-3.0", "GPL-3"),
    ("LGPL-2.0", "LGPL-2"),
    ("LGPL-2.1", "LGPL-2.1"),
    ("LGPL-3.0", "LGPL-3"),
    ("MPL-1.1", "MPL-1.1"),
    ("MPL-2.0", "MPL-2.0"),
];

/// How the text of those begins, if it is the whole of it. A copy of it in a package is a defect.
const WHOLE: [&str; 6] = [
    "Apache License",
    "GNU GENERAL PUBLIC LICENSE",
    "GNU LESSER GENERAL PUBLIC LICENSE",
    "GNU LIBRARY GENERAL PUBLIC LICENSE",
    "GNU Free Documentation License",
    "Mozilla Public License",
];

/// A file with a licence's text.
pub(super) struct Licence<'a> {
    pub path: String,
    text: &'a [u8],
}

/// The files that may have a licence's text.
pub(super) fn candidates(package: &PackageSection) -> Vec<String> {
    package.license_files.clone().unwrap_or_else(|| USUAL.map(str::to_owned).to_vec())
}

/// Those that the commit has; of those that the description names, all.
pub(super) fn licences<'a>(
    package: &PackageSection,
    files: &'a BTreeMap<String, Vec<u8>>,
) -> Result<Vec<Licence<'a>>, BadDescription> {
    let mut found = Vec::new();
    for path in candidates(package) {
        match files.get(&path) {
            Some(text) => found.push(Licence { path, text }),
            None if package.license_files.is_some() => {
                return Err(BadDescription {
                    message: format!("the commit has no `{path}`, which `license-files` names"),
                    hint: "commit the licence's text, or correct the path".to_owned(),
                });
            }
            None => {}
        }
    }
    let common = |id: &str| COMMON.iter().any(|(spdx, _)| id.starts_with(spdx));
    if found.is_empty() && !ids(&package.license).all(common) {
        return Err(BadDescription {
            message: format!("the commit has no file with the text of the licence {}", package.license),
            hint: "commit it as LICENSE, or name it in `license-files` of [package] (Debian Policy 12.5)"
                .to_owned(),
        });
    }
    Ok(found)
}

fn ids(license: &str) -> impl Iterator<Item = &str> {
    license.split([' ', '(', ')']).filter(|word| !matches!(*word, "" | "OR" | "AND" | "WITH"))
}

/// The whole file.
pub(super) fn copyright(package: &PackageSection, licences: &[Licence<'_>]) -> String {
    let mut text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n".to_owned();
    text += &format!("Upstream-Name: {}\n", package.name);
    if let Some(url) = &package.homepage {
        text += &format!("Source: {url}\n");
    }
    text += "\nFiles: *\nCopyright:\n";
    for holder in holders(package, licences) {
        text += &format!(" {holder}\n");
    }
    text += &format!("License: {}\n", short_name(&package.license));
    for line in body(package, licences) {
        text += &match line.as_str() {
            "" => " .\n".to_owned(),
            line => format!(" {line}\n"),
        };
    }
    text
}

/// Who holds the copyright: what the description says, or what the licences do.
fn holders(package: &PackageSection, licences: &[Licence<'_>]) -> Vec<String> {
    if !package.copyright.is_empty() {
        return package.copyright.clone();
    }
    let mut found: Vec<String> = Vec::new();
    for licence in licences.iter().filter(|licence| !is_whole(licence)) {
        for line in lines(licence.text) {
            let line = line.trim();
            let rest = line.strip_prefix("Copyright").map(|rest| rest.trim_start_matches([' ', ':']));
            let rest =
                rest.map(|rest| rest.strip_prefix("(c)").or(rest.strip_prefix("(C)")).unwrap_or(rest).trim());
            if let Some(holder) =
                rest.filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '©'))
            {
                found.push(holder.to_owned());
            }
        }
    }
    if found.is_empty() {
        found.push(format!("the authors of {}", package.name));
    }
    found
}

/// The name that the format has for a licence, where that is another than SPDX's.
fn short_name(license: &str) -> String {
    let words = license.split(' ').map(|word| match word {
        "OR" => "or",
        "AND" => "and",
        "WITH" => "with",
        "MIT" => "Expat",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn is_whole(licence: &Licence<'_>) -> bool {
    let first =
        lines(licence.text).into_iter().map(|line| line.trim().to_owned()).find(|line| !line.is_empty());
    first.is_some_and(|first| {
        WHOLE.iter().any(|whole| first.to_lowercase().starts_with(&whole.to_lowercase()))
    })
}

/// The text of the licence: where Debian has it, where it is.
fn body(package: &PackageSection, licences: &[Licence<'_>]) -> Vec<String> {
    let mut body: Vec<String> = Vec::new();
    for id in ids(&package.license) {
        if let Some((_, file)) = COMMON.iter().find(|(spdx, _)| id.starts_with(spdx)) {
            let sentence = format!("On Debian systems the text of the licence {id} is in");
            body.extend([sentence, format!("/usr/share/common-licenses/{file}."), String::new()]);
        }
    }
    for licence in licences.iter().filter(|licence| !is_whole(licence)) {
        body.extend(lines(licence.text));
        body.push(String::new());
    }
    while body.last().is_some_and(String::is_empty) {
        body.pop();
    }
    if body.is_empty() {
        body.push(format!("It is licensed as {}.", package.license));
    }
    body
}

/// Lines that can be continuation lines of a field (deb822(5)): printable, and empty or not beginning with a full stop.
fn lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let line = |line: &str| {
        let line = neutralise(line.trim_end().as_bytes()).trim_end().to_owned();
        if line.starts_with('.') { format!(" {line}") } else { line }
    };
    let lines: Vec<String> = text.lines().map(line).collect();
    let first = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    lines[first..].to_vec()
}
