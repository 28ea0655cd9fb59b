//! Two or three real nodes that hold copies of each other's partitions, joined by ways on which things
//! go wrong. Whatever happens, a copy is the source's bytes or less of them, and never others.
//!
//! ```text
//! node     a server process behind a proxy, at an address that stays
//! copies   what two nodes hold of a partition, held against each other
//! follow   a follower has what its source has, whatever becomes of either
//! sources  which of its sources a follower believes
//! topics   a topic that follows has its source's partitions and settings
//! followers who follows is remembered, and forgotten
//! readers  who reads from one node or the other
//! unused   partitions without a record
//! refused  what is not copied, or not copied over
//! parted   two logs that share nothing any more
//! promote  a follower becomes the owner; the old one rejoins
//! handover a follower becomes the owner while its owner lives
//! halfway  handovers that were cut off are finished, or called off
//! lossless a follower that lacks nothing becomes the owner
//! command  logs that part, from the command line
//! several  commands that are given several servers
//! doubt    what a node's disk says of a partition is not what the node knows
//! claims   a partition that several copies may own has one owner, or none
//! fence    an old owner that comes back takes no more appends
//! outranked a copy of a copy that is promoted, and an owner that knows nothing of it
//! heal     damage of either copy heals by the other
//! repairs  what repairs cost each other, and how they end
//! ended    a log that ends, for damage, before what it acknowledged, or came to
//! gone     a partition's directory is gone at one of its nodes
//! rot      of what a copy goes on from, and nobody has met
//! faults   rounds of trouble, by a seed
//! ```

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod claims;
mod command;
mod copies;
mod doubt;
mod ended;
mod faults;
mod fence;
mod follow;
mod followers;
mod gone;
mod halfway;
mod handover;
mod heal;
mod lossless;
mod node;
mod outranked;
mod parted;
mod promote;
mod readers;
mod refused;
mod repairs;
mod rot;
mod several;
mod sources;
mod topics;
mod unused;
