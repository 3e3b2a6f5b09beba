//! The coordinator on Moleculer's bus.

use pkgwarden::domain::build::Outcome;
use pkgwarden::executor::chaotic::Era;

use super::World;
use crate::executors::conformance::conforms;

conforms!(World::new(Era::Bus).await);
