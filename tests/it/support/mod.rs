//! The tester: a monorepo, the people who push to it, an AUR, a clock, and the program.

pub mod aur;
pub mod copr;
pub mod counted;
pub mod elsewhere;
pub mod fleet;
pub mod forge;
pub mod forges;
pub mod full_disk;
pub mod hooked;
pub mod hosting;
pub mod listening;
pub mod node;
pub mod offers;
pub mod package;
pub mod pacman;
pub mod redis;
pub mod repo;
pub mod scene;
pub mod sealed;
pub mod sentinels;
pub mod serving;
pub mod shape;
pub mod signing;
pub mod talking;
pub mod told;

pub use counted::Counted;
pub use listening::{Busy, Listening};
pub use package::Pkg;
pub use repo::{Change, Repo};
pub use scene::Scene;
