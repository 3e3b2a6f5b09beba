//! The whole program over real parts: real git, a real record, an AUR served over loopback HTTP, and the
//! real binary.
//!
//! - [`support`]: the tester, which speaks the product's language
//! - [`scenarios`]: what runs do to a monorepo
//! - [`cli`]: what the commands print, and that they write nothing
//! - [`executors`]: what every executor does alike
//! - [`forges`]: what forges are asked and told, over their real protocols
//! - [`nvchecker`]: versions that are looked for, compared with what the real nvchecker finds
//! - [`webhooks`]: what forges deliver, by their own examples
//!
//! Not here: decisions, parsers and adapters by themselves; their tests stand beside them.

#![expect(clippy::unwrap_used, reason = "what is missing fails the test")]

mod cli;
mod executors;
mod forges;
mod nvchecker;
mod scenarios;
mod support;
mod webhooks;
