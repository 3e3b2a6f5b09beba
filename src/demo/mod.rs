//! The world that `pkgwarden demo` and the scenario tests live in: a package monorepo, an AUR, an
//! upstream and a server of source tarballs, all on this machine.
//!
//! The world speaks the product's language (a minor update, a `[deploy x]` push, a package that
//! breaks). It knows nothing of the controller that watches it.

pub mod event;
pub mod fixtures;
pub mod recipe;
pub mod server;
pub mod world;

mod aur;
mod repository;
mod tarball;
