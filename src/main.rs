//! `0711`: parses, runs, and maps the outcome to an exit code. Everything else is in the rooms.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
