//! The command `packhold`.

use std::process::ExitCode;

fn main() -> ExitCode {
    packhold::cli::main()
}
