//! GitHub.

pub mod webhook;
