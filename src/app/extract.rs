//! The process in which what a server answered is searched for versions, by an expression or a filter that a
//! package brought along. It has limits, so that neither can stop the program or take the machine's memory.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::source::nvchecker::answer;
use crate::sys::limit;

/// Processor time.
const TIME: Duration = Duration::from_secs(5);

/// Memory, in bytes.
const MEMORY: u64 = 1 << 30;

/// Searches what is on `input`.
///
/// # Errors
/// If it cannot be read, the answer cannot be written, or there can be no limits.
pub fn run(mut input: impl Read, mut output: impl Write) -> Result<()> {
    limit::confine(TIME, MEMORY).context("this process cannot be given limits")?;
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).context("cannot read what is to be searched")?;
    output.write_all(&answer(&bytes)).context("cannot write what was found")
}
