//! The program `pkgwarden`: hands its arguments and its environment to [`pkgwarden::cli`].

use std::process::ExitCode;

/// Reading a monorepo is a hundred thousand small allocations on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Reads FAILPOINTS; without it, every fail point stays off.
    #[cfg(feature = "failpoints")]
    let _fail_points = fail::FailScenario::setup();
    pkgwarden::cli::main(std::env::args_os(), pkgwarden::sys::env::vars())
}
