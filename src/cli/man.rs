use std::fs;
use std::path::Path;

use clap::CommandFactory;

use super::args::Arguments;
use super::error::CliError;
use crate::support::fs::PathContext;

/// `packhold man`
pub(super) fn man(folder: &Path) -> Result<u8, CliError> {
    fs::create_dir_all(folder).at("create", folder)?;
    clap_mangen::generate_to(Arguments::command(), folder).at("write the manual to", folder)?;
    println!("{}", folder.display());
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page as a reader sees it, near enough: without fonts and escapes (groff_char(7)).
    fn plain(page: &str) -> String {
        ["\\fB", "\\fI", "\\fR"]
            .iter()
            .fold(page.to_owned(), |text, font| text.replace(font, ""))
            .replace("\\-", "-")
    }

    fn assert_told(command: &clap::Command, folder: &Path) {
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        let page = fs::read_to_string(folder.join(format!("{name}.1")))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let page = plain(&page);
        let (_, options) = page.split_once(".SH OPTIONS").unwrap_or_else(|| panic!("{name} has no options"));
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let word = match argument.get_long() {
                Some(long) => format!("--{long}"),
                None => argument
                    .get_value_names()
                    .map_or(argument.get_id().to_string(), |names| names[0].to_string()),
            };
            assert!(options.contains(&word), "{name}(1) does not tell of {word}");
        }
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            assert!(
                page.contains(&format!("{name}-{}(1)", inner.get_name())),
                "{name}(1) does not tell of {}",
                inner.get_name()
            );
            assert_told(inner, folder);
        }
    }

    #[test]
    fn every_command_has_a_page_that_tells_of_each_of_its_options() {
        let folder = tempfile::tempdir().unwrap();
        man(folder.path()).unwrap();
        let mut command = Arguments::command().disable_help_subcommand(true);
        command.build();
        assert_told(&command, folder.path());
        assert!(folder.path().join("packhold-archive-check-receipt.1").is_file());
    }
}
