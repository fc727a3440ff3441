use clap::CommandFactory;

use super::args::Arguments;

/// `packhold completions`
pub(super) fn completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Arguments::command(), "packhold", &mut std::io::stdout());
}
