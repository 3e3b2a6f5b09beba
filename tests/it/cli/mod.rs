//! The commands, run as the real binary in a sealed box.

mod classify;
mod demo;
mod doctor;
mod job;
mod plan;
mod read_only;
mod run;
mod serve;
