//! What pkgwarden knows and decides, as values and pure functions.
//!
//! Nothing here reads a clock, a file, a process or the network, and nothing is `async`.

pub mod addition;
pub mod audit;
pub mod build;
pub mod bump;
pub mod campaign;
pub mod changes;
pub mod chaotic;
pub mod classify;
pub mod desired;
pub mod directive;
pub mod event;
pub mod finding;
pub mod folder;
pub mod graph;
pub mod handback;
pub mod job;
pub mod keepers;
pub mod keyvalue;
pub mod library;
pub mod lint;
pub mod message;
pub mod name;
pub mod observed;
pub mod pkgbuild;
pub mod plan;
pub mod policy;
pub mod publication;
pub mod quarantine;
pub mod queue;
pub mod release;
pub mod report;
pub mod review;
pub mod revision;
pub mod signature;
pub mod srcinfo;
pub mod standing;
pub mod state;
pub mod target;
pub mod upload;
pub mod version;
pub mod words;
pub mod workflow;
