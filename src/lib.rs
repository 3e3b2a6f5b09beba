//! pkgwarden: a GitOps controller for PKGBUILD monorepos.
//!
//! The modules stand in the order in which they may name each other: each may name only what stands
//! above it (`tests/layering.rs` holds the exact table).

pub mod domain;

pub mod config;
pub mod sys;
pub mod telemetry;

pub mod caches;
pub mod forge;
pub mod git;
pub mod logstore;
pub mod publish;
pub mod store;

pub mod source;

pub mod builder;

pub mod executor;

pub mod controller;

pub mod web;

pub mod http;

pub mod app;

pub mod demo;

pub mod cli;
