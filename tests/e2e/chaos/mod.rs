//! Trouble: servers that die, refuse and vanish under a client, and machines that are not fit to
//! serve. Whatever happens, afterwards the log and what was told are held against each other.
//!
//! ```text
//! watch    a consumer that follows all the while
//! kill     the server is killed with SIGKILL and comes back on its data and ports
//! busy     the server, or the way to it, answers Busy at random
//! full     the disk is full
//! accepted it is, and what was acknowledged before it was written is lost
//! fence    a write fails
//! machine  a machine that is not fit to serve, and says why
//! ```
//!
//! The laws: an acknowledged record is in the log once, at its offset, unaltered; what was not
//! applied is not there; what is unknown is there at most once; within a partition records are in
//! the order of their sends; records not settled never exceed the producer's memory.

mod accepted;
mod busy;
mod fence;
mod full;
mod kill;
mod machine;
mod watch;
