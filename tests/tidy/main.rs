//! The house rules that a machine can check: which room may use which, what may be named where,
//! how long a file may be, and what no text may say.
//!
//! Each rule stands in a table beside its reason. Whoever breaks one on purpose changes the table
//! in the same commit, and ARCHITECTURE.md, Decisions, if it is an arrow.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arrows;
mod harnesses;
mod length;
mod names;
mod runbook;
mod source;
mod words;
