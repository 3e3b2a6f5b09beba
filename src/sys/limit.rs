//! Limits on what this process itself may use.

use std::io;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The most processes and threads that this process may ever allow anybody.
#[must_use]
pub fn processes() -> u64 {
    // A system that does not say has no limit.
    getrlimit(Resource::RLIMIT_NPROC).map_or(u64::MAX, |(_, hard)| hard)
}

/// Has the system end this process when it has used this much processor time or asks for more memory, for
/// good. It leaves no core file.
///
/// # Errors
/// If the system refuses.
pub fn confine(time: Duration, memory: u64) -> io::Result<()> {
    let seconds = time.as_secs().max(1);
    setrlimit(Resource::RLIMIT_CPU, seconds, seconds)?;
    setrlimit(Resource::RLIMIT_DATA, memory, memory)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}
