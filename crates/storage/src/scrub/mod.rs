//! The room of the scrub: reading what lies still, so that rot is found before a reader meets it.
//!
//! Lives here: [`Audit`], which judges a walk over one store against all that was written down of it
//! (the chain at its end, the rows of its index), and [`Walk`], which goes over one sealed segment
//! piece by piece. Never lives here: which segment is next, and what follows from damage: those are
//! the log's.
//!
//! Laws kept: a scrub changes nothing. It reads through handles of its own, so that no file or map in
//! use has to make room for it. What it says of a segment is only believed if the log still has that
//! very segment when it is done.

mod audit;
mod rows;
mod walk;

pub(crate) use audit::Audit;
pub(crate) use walk::{Target, Walk};
