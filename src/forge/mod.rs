//! The places where the monorepo is hosted: what they say by themselves.

pub mod gitea;
pub mod github;
pub mod gitlab;
mod payload;
pub mod webhook;
