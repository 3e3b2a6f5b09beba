//! The commands, run as the real binary in a sealed box.

mod plan;
mod read_only;
mod run;
