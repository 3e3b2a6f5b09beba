//! The pages: rendered here from what the controller says, useful without JavaScript.
//!
//! Nothing is decided here, and nothing is changed: forms are received in [`crate::http`].

mod assets;
mod badge;
pub mod diff;
mod document;
pub mod fault;
pub mod frame;
mod layers;
mod link;
pub mod log;
pub mod pages;
mod reasons;
mod rows;
pub mod text;
pub mod time;

use axum::Router;

/// Every page and what it loads.
pub fn routes() -> Router<frame::Pages> {
    pages::routes().merge(assets::routes())
}
