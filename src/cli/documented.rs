//! The commands that users are shown are commands that the program takes.

use std::fs;
use std::path::Path;

use clap::Parser;
use saphyr::{LoadableYamlNode, Yaml};

use super::args::Arguments;

const CI: [&str; 4] = ["github.yml", "gitlab.yml", "Jenkinsfile", "packhold.cron"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The command that begins in a text, up to what is for the shell or for the reader.
fn command(text: &str) -> Vec<String> {
    let mut end = text.len();
    for stop in [" #", " | ", " && ", " || ", " >", " 3<", "' ", "`"] {
        end = end.min(text.find(stop).unwrap_or(end));
    }
    let text = text[..end].trim_end();
    // The last quote of a line of a Jenkinsfile.
    let text = if text.matches('\'').count() % 2 == 1 { text.trim_end_matches('\'') } else { text };
    shell_words::split(&text.replace("…", "")).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What follows `packhold ` where that is a command.
fn commands(line: &str) -> Vec<Vec<String>> {
    let starts = line.match_indices("packhold ").filter(|(at, _)| {
        let before = &line[..*at];
        before.is_empty()
            || before.ends_with(['\'', '`'])
            || before.ends_with("  ")
            || ["- ", "&& ", "$HOME\" ", "run: ", "script: ", "next: "]
                .iter()
                .any(|word| before.ends_with(word))
    });
    let begins = |text: &&str| text["packhold ".len()..].starts_with(|c: char| c.is_ascii_lowercase());
    starts.map(|(at, _)| &line[at..]).filter(begins).map(command).collect()
}

fn assert_taken(file: &str, text: &str) -> usize {
    let mut count = 0;
    for words in text.lines().flat_map(commands) {
        let taken = Arguments::try_parse_from(&words);
        assert!(taken.is_ok(), "{file}: {}: {}", words.join(" "), taken.unwrap_err());
        count += 1;
    }
    count
}

#[test]
fn every_command_in_an_example_for_ci_is_one_of_the_program() {
    let least = [2, 3, 2, 4];
    for (name, least) in CI.into_iter().zip(least) {
        assert!(assert_taken(name, &read(&format!("examples/ci/{name}"))) >= least, "{name}");
    }
}

#[test]
fn every_command_in_the_readme_is_one_of_the_program() {
    let readme = read("README.md");
    let blocks: String = readme.split("```").skip(1).step_by(2).collect();
    assert!(assert_taken("README.md", &blocks) > 30);
}

/// All texts in a document.
fn texts<'y>(node: &'y Yaml<'_>, found: &mut Vec<&'y str>) {
    if let Some(text) = node.as_str() {
        found.push(text);
    } else if let Some(items) = node.as_vec() {
        items.iter().for_each(|item| texts(item, found));
    } else if let Some(members) = node.as_mapping() {
        members.values().for_each(|member| texts(member, found));
    }
}

#[test]
fn an_example_for_ci_is_well_formed_and_takes_no_action_of_strangers() {
    for name in CI.into_iter().filter(|name| name.ends_with(".yml")) {
        let text = read(&format!("examples/ci/{name}"));
        let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(documents.len(), 1, "{name}");
        let mut found = Vec::new();
        texts(&documents[0], &mut found);
        assert!(found.iter().any(|text| text.contains("packhold run")), "{name}");
        let actions = found
            .iter()
            .filter(|text| text.contains('@') && text.starts_with(|c: char| c.is_ascii_lowercase()));
        for action in actions {
            let known = ["actions/checkout@", "actions/cache@", "actions/upload-artifact@"];
            assert!(known.iter().any(|known| action.starts_with(known)), "{name}: {action}");
        }
    }
}
