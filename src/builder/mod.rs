//! What happens around one makepkg: its private directory, its sandbox, its pacman, the changes that
//! the monorepo makes to the package before the build, and what is collected after it.
//!
//! Deciding what to build, when and where is not done here.

pub mod artefact;
pub mod bundle;
pub mod cache;
mod harvest;
pub mod interfere;
pub mod makepkg;
pub mod pacman;
pub mod refresh;
pub mod remote;
pub mod script;
pub mod tools;
pub mod user;
pub mod verdict;
pub mod workspace;
