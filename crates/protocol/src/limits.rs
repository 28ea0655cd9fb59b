//! Every limit of the protocol, each with its reason. PROTOCOL.md prints the same table.
//!
//! A server announces the ones it may lower in its Hello answer ([`crate::message::hello::Limits`]);
//! what happens at a limit is an error code or waiting, never a hang.

/// Bytes of a frame after its length field: two of the largest batches and their head, small
/// enough that one connection cannot hold a core's memory.
pub const FRAME_BYTES_MAX: u32 = 16 * MIB;

/// Bytes of a request's head: the largest is a Metadata request that names a thousand topics.
pub const REQUEST_HEAD_BYTES_MAX: u32 = 256 * KIB;

/// Bytes of an answer's head: Metadata of ten thousand partitions fits.
pub const ANSWER_HEAD_BYTES_MAX: u32 = 8 * MIB;

/// Arrays and maps within each other in a head: ours need five, the rest is for keys to come.
pub const HEAD_DEPTH_MAX: usize = 16;

/// Bytes of one batch: bounds what is checked, copied and re-read as a whole.
pub const BATCH_BYTES_MAX: u32 = 8 * MIB;

/// Bytes of one record, key, value and headers together: a record is held in memory by everyone
/// it passes.
pub const RECORD_BYTES_MAX: u32 = MIB;

/// Records of one batch: bounds the walk over one batch.
pub const BATCH_RECORD_COUNT_MAX: u32 = 1_000_000;

/// Requests of one connection that are not yet answered; the server reads no further until one is.
pub const IN_FLIGHT_REQUEST_COUNT_MAX: u32 = 64;

/// Bytes of those requests, and of answers not yet sent; the server reads no further beyond.
pub const IN_FLIGHT_BYTES_MAX: u32 = 32 * MIB;

/// Connections of one node: each costs a descriptor and its buffers.
pub const CONNECTION_COUNT_MAX: u32 = 10_000;

/// Partitions of one topic: a topic is spread, not a database of logs.
pub const TOPIC_PARTITION_COUNT_MAX: u32 = 4_096;

/// Partitions of one node, a server setting: each costs memory and descriptors.
pub const NODE_PARTITION_COUNT_MAX: u32 = 10_000;

/// Topics named by one Metadata request.
pub const METADATA_TOPIC_COUNT_MAX: u32 = 1_000;

/// Milliseconds that a Fetch may ask to wait: a parked request holds a waiter's slot.
pub const FETCH_WAIT_MS_MAX: u32 = 60_000;

/// Epochs in a follower's first Fetch, newest first: older ones are of no use to find where two
/// logs part.
pub const EPOCH_COUNT_MAX: u32 = 1_000;

/// File bytes in one CopySegments answer: a source can say within a few milliseconds that a file
/// is gone or damaged.
pub const COPY_PIECE_BYTES_MAX: u32 = 4 * MIB;

/// Segments named by one CopySegments request.
pub const COPY_SEGMENT_COUNT_MAX: u32 = 1_024;

/// Bytes of a client's name in Hello: it goes into log lines.
pub const CLIENT_NAME_BYTES_MAX: u32 = 256;

/// Bytes of an error's message; longer ones are cut.
pub const ERROR_MESSAGE_BYTES_MAX: u32 = 1_024;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

const _: () = assert!(2 * COPY_PIECE_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX + REQUEST_HEAD_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(ANSWER_HEAD_BYTES_MAX < FRAME_BYTES_MAX);
