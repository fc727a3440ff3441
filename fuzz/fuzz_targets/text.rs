//! Texts of a commit, of a tool in a container, or of a stranger: dependencies, and what is shown in a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packhold_fuzz::dependencies::Dependencies;
use packhold_fuzz::model::{Digest, Format, RunId, TargetName};
use packhold_fuzz::support::terminal_text::neutralise;

fuzz_target!(|input: &[u8]| {
    packhold_fuzz::bound();
    let shown = neutralise(input);
    assert!(!shown.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)), "{shown:?}");
    let text = String::from_utf8_lossy(input);
    let lists =
        [(Format::Deb, Dependencies::of_control(&text)), (Format::Rpm, Dependencies::of_answer(input))];
    for (format, list) in lists {
        let Ok(list) = list else { continue };
        let means_more = |line: &String| {
            line.starts_with(['-', ' ']) || line.contains(['\n', '%', '\\', '`', '\'', '"', ';', '*', '&'])
        };
        assert!(!list.lines().iter().any(means_more), "{list:?}");
        assert_eq!(Dependencies::of_lines(format, list.lines().to_vec()), Ok(list));
    }
    if let Ok(target) = text.parse::<TargetName>() {
        assert!(!target.file_stem().contains('/') && !target.file_stem().starts_with('.'));
    }
    let _ = (text.parse::<RunId>(), text.parse::<Digest>());
});
