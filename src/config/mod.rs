//! Configuration, from text to what the program needs: the monorepo's own files (`.ci/config`,
//! `.ci/policy.toml`, `.CI/config`, `.CI/cache.toml`) and the operator's `pkgwarden.toml`.
//!
//! Nothing here opens a file or reads the environment: both come in as arguments.

pub mod cache;
pub mod copr;
pub mod error;
pub mod forge;
pub mod image;
pub mod job;
mod keyfile;
mod layer;
pub mod package;
pub mod policy;
mod publish;
pub mod repository;
mod resolve;
mod schema;
pub mod settings;
mod source;
pub mod value;
mod written;

pub use error::{ConfigError, Problem};
pub use schema::{build_schema, cache_schema, policy_schema, schema};
pub use settings::{Settings, load};
