//! The world that `pkgwarden demo` and the scenario tests live in: a package monorepo, an AUR, an
//! upstream and a server of source tarballs, all in one directory and on loopback addresses.
//!
//! The world speaks the product's language (a minor update, a `[deploy x]` push, a package that
//! breaks). It knows nothing of the controller that watches it, and shares no code with it that could
//! be wrong on both sides: its repositories are written and served by git itself.
//!
//! - [`world`]: makes a world, serves it, and what people do in it, each group in a file of its own
//! - [`event`]: what happens by itself, step by step
//! - [`play`]: the program over such a world, and the story that `demo --once` tells
//! - [`fixtures`], [`recipe`]: the packages, and how their recipes change
//! - [`server`], `aur`, `repository`, `tarball`: what stands in for the AUR, upstreams and their downloads

pub mod event;
pub mod fixtures;
pub mod play;
pub mod recipe;
pub mod server;
pub mod world;

mod aur;
mod repository;
mod tarball;
#[cfg(test)]
mod testing;
