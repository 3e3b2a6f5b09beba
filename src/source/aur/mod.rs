//! The AUR.
pub mod dump;
pub mod metadata;
pub mod rule;
