use regex::Regex;

use super::build_system::BuildSystem;
use super::tree::{Tree, is_licence};

/// What a project says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    /// What it is, in at most 79 characters without a full stop and without its name (Debian Policy 3.4.1).
    pub summary: Option<String>,
    /// What it does: the first paragraph of its README.
    pub description: Option<String>,
    /// An SPDX expression.
    pub license: Option<String>,
    /// The address of a page for people.
    pub homepage: Option<String>,
}

/// Characters of a summary (Debian Policy 3.4.1; rpmlint, summary-too-long).
const SUMMARY: usize = 79;

impl About {
    pub(super) fn of(tree: &Tree, system: BuildSystem, name: &str) -> Self {
        let paragraph = ["README.md", "README", "README.rst", "README.txt"]
            .iter()
            .find_map(|path| prose(tree.text(path)));
        let cargo: toml::Table = tree.text("Cargo.toml").parse().unwrap_or_default();
        let package = |key: &str| {
            let table = cargo.get("package").filter(|_| system == BuildSystem::Cargo)?;
            table.get(key)?.as_str().map(str::to_owned)
        };
        let said = package("description").or_else(|| paragraph.clone());
        Self {
            summary: said.and_then(|text| summary(&text, name)),
            license: package("license").or_else(|| license(tree)).filter(|text| is_spdx(text)),
            homepage: package("homepage").or_else(|| package("repository")).filter(|url| is_address(url)),
            description: paragraph,
        }
    }
}

/// The first paragraph of a README that is text for people, wrapped, without marks of Markdown.
fn prose(text: &str) -> Option<String> {
    let links = Regex::new(r"\[([^\]]*)\]\([^)]*\)").ok()?;
    let is_text = |paragraph: &&str| {
        let first = paragraph.trim_start();
        let underlined = paragraph
            .lines()
            .nth(1)
            .is_some_and(|line| !line.is_empty() && line.chars().all(|c| "=-~".contains(c)));
        first.starts_with(|c: char| c.is_alphanumeric())
            && !underlined
            && first.split_whitespace().count() > 3
    };
    let text = text.replace('\r', "");
    let paragraph = text.split("\n\n").find(is_text)?;
    let plain = links.replace_all(paragraph, "$1").replace(['`', '*'], "");
    let mut lines = vec![String::new()];
    for word in plain
        .split_whitespace()
        .map(|word| word.trim_start_matches(['.', '%']))
        .filter(|word| !word.is_empty())
    {
        match lines.last_mut() {
            Some(line) if line.is_empty() => *line = word.to_owned(),
            Some(line) if line.len() + word.len() < 76 => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    let fine = !lines.iter().any(|line| line.contains(char::is_control));
    fine.then(|| lines.join("\n")).filter(|text| !text.is_empty())
}

/// The first sentence of a text as a summary.
fn summary(text: &str, name: &str) -> Option<String> {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = line.split(". ").next().unwrap_or(&line).trim_end_matches('.');
    // "agent is a small thing": what it is, without its name.
    let start =
        Regex::new(&format!(r"(?i)^{}\s*(?:is|—|–|-|:)\s*(?:(?:an?|the)\s+)?", regex::escape(name))).ok()?;
    let mut short = start.replace(sentence, "").into_owned();
    while short.chars().count() > SUMMARY {
        short.truncate(short.rfind(' ')?);
    }
    let short = short.trim_end_matches([',', ';', ':', '.', ' ']).to_owned();
    let begins_with_name = short.split_whitespace().next().is_none_or(|word| word.eq_ignore_ascii_case(name));
    (!begins_with_name && !short.starts_with('%')).then_some(short)
}

/// The licence of the text at the top of the tree.
fn license(tree: &Tree) -> Option<String> {
    let texts: Vec<String> =
        tree.texts.iter().filter(|(path, _)| is_licence(path)).map(|(_, text)| text.clone()).collect();
    let [text] = texts.as_slice() else { return None };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let head: String = text.chars().take(600).collect();
    let any = |words: &[&str]| words.iter().all(|word| text.contains(word));
    let title = |words: &[&str]| words.iter().all(|word| head.contains(word));
    let found = if title(&["gnu affero general public license"]) {
        "AGPL-3.0-or-later"
    } else if title(&["gnu lesser general public license", "version 3"]) {
        "LGPL-3.0-or-later"
    } else if title(&["gnu lesser general public license", "version 2.1"]) {
        "LGPL-2.1-or-later"
    } else if title(&["gnu general public license", "version 3"]) {
        "GPL-3.0-or-later"
    } else if title(&["gnu general public license", "version 2"]) {
        "GPL-2.0-or-later"
    } else if title(&["mozilla public license", "2.0"]) {
        "MPL-2.0"
    } else if title(&["apache license", "version 2.0"]) {
        "Apache-2.0"
    } else if any(&["permission is hereby granted, free of charge"]) {
        "MIT"
    } else if any(&["permission to use, copy, modify", "with or without fee is hereby granted"]) {
        "ISC"
    } else if any(&["redistribution and use in source and binary forms", "neither the name"]) {
        "BSD-3-Clause"
    } else if any(&["redistribution and use in source and binary forms"]) {
        "BSD-2-Clause"
    } else {
        return None;
    };
    Some(found.to_owned())
}

fn is_spdx(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".+-() ".contains(c))
}

fn is_address(url: &str) -> bool {
    url.starts_with("https://") && url.chars().all(|c| c.is_ascii_graphic() && !"<>\"\\^`{|}".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(files: &[(&str, &str)]) -> About {
        let tree = Tree::of(files);
        let system = BuildSystem::of(&tree).map_or(BuildSystem::Make, |(_, system)| system);
        About::of(&tree, system, "agent")
    }

    #[test]
    fn a_readme_tells_what_a_project_is() {
        let readme = "# agent\n\n[![build](x)](y)\n\nAgent is a *small* daemon that reads [counters](https://x) of the kernel. It sends\nthem away.\n\nMore.\n";
        let found = about(&[("README.md", readme)]);
        assert_eq!(found.summary.as_deref(), Some("small daemon that reads counters of the kernel"));
        let whole = "Agent is a small daemon that reads counters of the kernel. It sends them\naway.";
        assert_eq!(found.description.as_deref(), Some(whole));
        let long = format!("Something {}", "very ".repeat(40));
        let cut = about(&[("README", &long)]).summary.unwrap();
        assert!(cut.starts_with("Something very") && cut.len() <= 79 && cut.ends_with("very"), "{cut}");
        assert_eq!(about(&[("README", "agent\n=====\n")]).summary, None);
    }

    #[test]
    fn a_manifest_goes_before_the_readme() {
        let manifest = "[package]\nname = \"agent\"\ndescription = \"Sends metrics.\"\nlicense = \"MIT OR Apache-2.0\"\nrepository = \"https://example.org/agent\"\n";
        let found = about(&[("Cargo.toml", manifest), ("README.md", "It is something else entirely.\n")]);
        assert_eq!(found.summary.as_deref(), Some("Sends metrics"));
        assert_eq!(found.license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(found.homepage.as_deref(), Some("https://example.org/agent"));
    }

    #[test]
    fn a_licence_is_known_by_its_text() {
        for (text, name) in [
            ("MIT License\n\nPermission is hereby granted, free of\ncharge, to any person", Some("MIT")),
            ("  GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007\n", Some("GPL-3.0-or-later")),
            ("GNU LESSER GENERAL PUBLIC LICENSE\nVersion 2.1, February 1999", Some("LGPL-2.1-or-later")),
            ("Apache License\nVersion 2.0, January 2004", Some("Apache-2.0")),
            ("Redistribution and use in source and binary forms … Neither the name of", Some("BSD-3-Clause")),
            ("All rights reserved", None),
        ] {
            assert_eq!(about(&[("LICENSE", text)]).license.as_deref(), name, "{text}");
        }
        // Which of two holds for what, nobody can tell from here.
        assert_eq!(
            about(&[("LICENSE-MIT", "free of charge"), ("LICENSE-APACHE", "Apache License")]).license,
            None
        );
    }
}
