//! What may be published: whether a file is the build's, what may leave at once, what may move on to a release, and
//! which published states stay. Values in, findings out; nothing here reads a file.

pub mod closure;
pub mod file;
pub mod guard;
pub mod keeping;
pub mod key;
pub mod need;
pub mod target;
