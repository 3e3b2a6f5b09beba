//! The AUR.
pub mod dump;
pub mod rule;
