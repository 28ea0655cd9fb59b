//! Trouble: servers that die, refuse and vanish under a client, and machines that are not fit to
//! serve. Whatever happens, afterwards the log and what was told are held against each other.
//!
//! ```text
//! load    a program that produces through corelog-client, and the books it keeps
//! books   what was told of each record, audited against the log
//! watch   a consumer that follows all the while
//! proxy   a way to the server that answers Busy, cuts and stalls
//! kill    the server is killed with SIGKILL and comes back on its data and ports
//! busy    the server, or the way to it, answers Busy at random
//! full    the disk is full
//! fence   a write fails
//! machine a machine that is not fit to serve, and says why
//! mount   a file system of a test's own
//! ```
//!
//! The laws: an acknowledged record is in the log once, at its offset, unaltered; what was not
//! applied is not there; what is unknown is there at most once; within a partition records are in
//! the order of their sends; records not settled never exceed the producer's memory.

mod books;
mod busy;
mod fence;
mod full;
mod kill;
mod load;
mod machine;
mod mount;
mod proxy;
mod watch;
