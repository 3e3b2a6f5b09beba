//! What may be published: whether a file is the build's, what may leave at once, and what may move on to a
//! release. Values in, findings out; nothing here reads a file.

pub mod closure;
pub mod file;
pub mod guard;
pub mod key;
pub mod need;
pub mod target;
