//! What runs do to a monorepo, from what people push to the refs and builds they leave.

mod audit;
mod bad_input;
mod building;
mod campaign;
mod clones;
mod crash;
mod crowd;
mod defects;
mod full_disk;
mod names;
mod nvchecker;
mod on_commit;
mod on_schedule;
mod policy;
mod publishing;
mod quarantine;
mod race;
mod rebuilds;
mod releases;
mod reviews;
mod sonames;
mod trees;
