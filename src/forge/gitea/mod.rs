//! Gitea and Forgejo.

pub mod webhook;
