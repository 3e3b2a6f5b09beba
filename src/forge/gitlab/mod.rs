//! GitLab.

pub mod webhook;
