//! The program `pkgwarden`: hands its arguments and its environment to [`pkgwarden::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    pkgwarden::cli::main(std::env::args_os(), pkgwarden::sys::env::vars())
}
