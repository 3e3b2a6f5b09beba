//! What every executor does alike, told once and carried out by each of them in a world of its own.
//!
//! - [`conformance`]: the cases, and what a world of an executor has to offer for them
//! - the others: the worlds
//!
//! Not here: what only one executor does; its tests stand beside it.

mod build_script;
mod buildomat;
mod bullmq;
pub mod chaotic;
mod command;
mod conformance;
mod copr;
mod examples;
mod local;
mod service;
