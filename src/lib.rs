//! pkgwarden: a GitOps controller for PKGBUILD monorepos.
//!
//! The modules stand in the order in which they may name each other: each may name only what stands
//! above it (`tests/layering.rs` holds the exact table).

pub mod domain;
pub mod sys;

pub mod logstore;

pub mod builder;

pub mod executor;
