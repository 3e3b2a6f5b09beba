//! Observe, plan, apply: what ties the decisions of [`crate::domain`] to the world.

pub mod apply;
pub mod observe;
pub mod range;
pub mod recover;
pub mod run;
pub mod site;
pub mod snapshot;
pub mod view;
