//! Calls [`kiln::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    kiln::main()
}
