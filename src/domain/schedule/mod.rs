//! Which ready builds go next, and in what order: lanes, fairness between repositories, limits, and the classes of
//! builders. Who is ready at all is [`super::queue`]'s.
//!
//! Ready builds stand in *flows*: one for each repository, lane and class. Builds of one flow are alike to
//! whoever asks what may go, so that it is enough to look at the first of each: handing out costs as much with
//! 100,000 builds in the queue as with ten.

mod builders;
mod choose;
mod lane;
mod path;

pub use builders::{BuilderInfo, Seats, nobody_builds};
pub use choose::{Heads, Limits, Running, Situation, Turns, choose};
pub use lane::Lane;
pub use path::{UNKNOWN, paths};
