//! Observe, plan, apply; and what the faces (pages, API, `ctl`) may ask and know.

pub mod face;
pub mod view;
