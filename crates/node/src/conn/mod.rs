//! Client connections: bytes to requests, answers to bytes.
//!
//! ```text
//! accept    taking connections, up to the limit
//! connections  those that are open, as operators are told
//! per_address  how many connections each address has
//! link      one connection as its tasks share it: what is in flight, how it ends
//! out       what a connection has to send
//! intake    a core's room for what its connections receive
//! receive   the receive buffer: frames are slices of it
//! reader    the task that takes frames, in order
//! request   what is done with each kind of request
//! produce   the requests that most of the work is: what is appended, here or by another core
//! last_produce  the head that most Produces of a connection have
//! copy      a request whose answers a thread sends from files
//! each      requests about one partition or all of a topic
//! lengthy   answers that may be long, and have their room before they are made
//! tell      what a node tells of itself and its topics
//! under_way waiting until fewer requests of a connection are under way
//! untaken   answers that clients have not taken, bounded for the core
//! writer    the task that sends answers, as many as there are in one write
//! ```
//!
//! Each connection has two tasks. The reader stops reading while too much is in flight, so a client
//! that sends faster than it is served, or never reads, holds a bounded number of bytes. Answers
//! that are due at the same moment leave in one write.
//!
//! What never lives here: which partition is where, what a batch must be.

mod accept;
mod connections;
mod copy;
mod each;
mod intake;
mod last_produce;
mod lengthy;
mod link;
mod out;
mod per_address;
mod produce;
mod reader;
mod receive;
mod request;
mod tell;
mod under_way;
mod untaken;
mod writer;

pub(crate) use accept::serve_listener;
pub(crate) use connections::Connections;
pub(crate) use per_address::PerAddress;
