//! The queues of the time before the bus.

use pkgwarden::domain::build::Outcome;
use pkgwarden::executor::chaotic::Era;

use super::World;
use crate::executors::conformance::conforms;

conforms!(World::new(Era::Queues).await);
