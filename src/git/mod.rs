//! One door to git: objects through libgit2, everything that talks to a remote through the git program.
//!
//! Reading and writing objects blocks for as long as the disk takes; call it from a blocking thread.
//! A [`Repository`] can be sent to another thread but not shared, and is cheap to open, so each task
//! opens its own. Nothing of a repository is ever executed: no hooks, no filters, no work tree.

mod batch;
mod command;
mod error;
mod folder;
mod history;
mod objects;
mod parallel;
mod parse;
mod push;
mod remote;
mod repository;
#[cfg(test)]
mod testing;
mod tree;
mod url;
mod written;

pub use error::GitError;
pub use folder::{FolderError, Limits};
pub use history::{Commit, Hands};
pub use objects::Entry;
pub use push::{PushError, Pushed, RefUpdate, Rejection};
pub use remote::Remote;
pub use repository::Repository;
pub use tree::{NewCommit, TREE_MODE, TreeEdit, tree_id};
pub use written::History;
