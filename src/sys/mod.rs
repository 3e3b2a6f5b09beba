//! The only callers of the operating system: clock, processes, environment, HTTP clients, files,
//! secrets, signals.
//!
//! Nothing here knows about packages, repositories or builds.

pub mod clock;
pub mod env;
pub mod fs;
pub mod held;
pub mod http;
pub mod install;
pub mod limit;
pub mod lookup;
pub mod process;
pub mod sandbox;
pub mod scratch;
pub mod secret;
pub mod signal;
pub mod tarball;
pub mod unpack;
