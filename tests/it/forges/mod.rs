//! What each forge is asked and told, over its real protocol, and what becomes of it when things go wrong.

mod app;
mod described;
mod doctor;
mod emulate;
mod stage;
mod story;
mod trouble;
mod types;
