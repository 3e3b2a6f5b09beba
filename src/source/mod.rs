//! Sources.
pub mod advert;
pub mod aur;
