//! Every limit of the protocol, each with its reason. PROTOCOL.md prints the same table.
//!
//! A server announces the ones it may lower in its Hello answer ([`crate::message::hello::Limits`]).
//! What happens at a limit is an error code, waiting, or a smaller answer, never a hang.

use corelog_record::batch::Rules;

/// One row of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The constant's name; its unit comes before its qualifier.
    pub name: &'static str,
    /// The value, by default where a server may set its own.
    pub value: u32,
    /// What is limited, and why at that.
    pub reason: &'static str,
    /// What happens at the limit.
    pub beyond: &'static str,
}

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// Lays the table out once: the constants and the rows.
macro_rules! limits {
    ($($name:ident = $value:expr; $reason:literal => $beyond:literal;)+) => {
        $(
            #[doc = $reason]
            #[doc = ""]
            #[doc = concat!("Beyond: ", $beyond, ".")]
            pub const $name: u32 = $value;
        )+

        /// Every limit, in PROTOCOL.md's order.
        pub const TABLE: &[Limit] = &[
            $(Limit { name: stringify!($name), value: $name, reason: $reason, beyond: $beyond },)+
        ];
    };
}

limits! {
    FRAME_BYTES_MAX = 16 * MIB;
        "Bytes of a frame after its length field: the largest batch twice, and small enough that one frame cannot hold a core's memory."
        => "`FrameTooLarge`, then close";
    REQUEST_HEAD_BYTES_MAX = 256 * KIB;
        "Bytes of a request's head: a Metadata request that names a thousand topics fits."
        => "`FrameTooLarge`, then close";
    ANSWER_HEAD_BYTES_MAX = 8 * MIB;
        "Bytes of an answer's head: Metadata of ten thousand topics fits."
        => "the client closes";
    HEAD_DEPTH_MAX = 16;
        "Arrays and maps within each other in a head: ours need five, the rest is for keys to come."
        => "`BadFrame`";
    BATCH_BYTES_MAX = 8 * MIB;
        "Bytes of one batch: what is checked, copied and read as a whole."
        => "`BatchTooLarge`";
    RECORD_BYTES_MAX = MIB;
        "Bytes of one record's key, value and headers: whoever a record passes holds all of it in memory."
        => "`RecordTooLarge`";
    BATCH_RECORD_COUNT_MAX = 1_000_000;
        "Records of one batch: bounds the walk over it."
        => "`InvalidBatch`";
    IN_FLIGHT_REQUEST_COUNT_MAX = 64;
        "Requests of one connection that wait for their answers: bounds what a connection can queue on a core."
        => "the server reads no further until one is answered";
    IN_FLIGHT_BYTES_MAX = 32 * MIB;
        "Bytes of these requests and of answers not yet taken: two of the largest frames."
        => "the server reads no further until there is room";
    CONNECTION_COUNT_MAX = 10_000;
        "Connections of one node: each costs a descriptor and its buffers."
        => "`TooManyConnections`, then close";
    ADDRESS_CONNECTION_COUNT_MAX = 5_000;
        "Connections of one address, an IPv6 network of 64 bits being one: one client must not take all places."
        => "`TooManyConnections`, then close";
    TOPIC_PARTITION_COUNT_MAX = 4_096;
        "Partitions of one topic: one request must not take all that a node may hold."
        => "`InvalidPartitions`";
    NODE_PARTITION_COUNT_MAX = 10_000;
        "Partitions of one node: each costs memory and descriptors."
        => "`TooManyPartitions`";
    SNAPSHOT_COUNT_MAX = 1_024;
        "Snapshots of one node: each is read at a start, and names every sealed file once more, of which file systems allow 65,000."
        => "`TooManySnapshots`";
    FETCH_BYTES_MAX = 8 * MIB;
        "Bytes of one Fetch answer's batches: any one batch fits, and with its head in a frame."
        => "the answer is smaller";
    FETCH_WAIT_MS_MAX = 60_000;
        "Milliseconds a Fetch may wait: a parked request holds a waiter's slot."
        => "the wait is shortened";
    EPOCH_COUNT_MAX = 1_000;
        "Epochs in a follower's first Fetch: older ones are of no use to find where two logs part."
        => "`InvalidRequest`";
    METADATA_TOPIC_COUNT_MAX = 10_000;
        "Topics named by one Metadata request: as many as a node can have."
        => "`InvalidRequest`";
    COPY_PIECE_BYTES_MAX = 4 * MIB;
        "File bytes in one CopySegments answer: the next one can say that the file is gone or damaged."
        => "the pieces are smaller";
    COPY_PIECE_BYTES_MIN = 64 * KIB;
        "File bytes in one CopySegments answer, but the last of a part: each has a head, and a deadline of its own at who receives it."
        => "`InvalidRequest` for who asks for smaller ones";
    COPY_PART_COUNT_MAX = 1_024;
        "Parts named by one CopySegments request: each pins a file while it waits."
        => "`InvalidRequest`";
    CLONE_SEGMENT_COUNT_MAX = 1_024;
        "Segments named by one CloneTopic request: they are written down, and looked for each time the source is asked."
        => "`InvalidRequest`";
    SOURCE_COUNT_MAX = 16;
        "Nodes that one CloneTopic or RepairTopic request names: each may cost a connection per core."
        => "`InvalidRequest`";
    ADDRESS_BYTES_MAX = 300;
        "Bytes of an address: a host name of the longest kind and a port."
        => "`InvalidRequest`";
    PRODUCE_PARTITION_COUNT_MAX = 16_384;
        "Partitions for which one connection has an aborted run: the server remembers each. Beyond 224 it may be fewer, while connections of the same core have 131,072 together."
        => "`Busy`, then close";
    RECEIVE_MS_MAX = 60_000;
        "Milliseconds until Hello is there, or the rest of a frame that has begun (a second more for each 64 KiB): a half frame holds memory."
        => "close";
    SEND_MS_MAX = 30_000;
        "Milliseconds in which a client does not take what is being sent (a second more for each 64 KiB): answers hold memory."
        => "close";
    CLIENT_NAME_BYTES_MAX = 256;
        "Bytes of a client's name in Hello: it goes into log lines."
        => "the name is cut";
    ERROR_MESSAGE_BYTES_MAX = 1_024;
        "Bytes of an error's message: it is for people."
        => "the message is cut";
}

const _: () = assert!(2 * COPY_PIECE_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(COPY_PIECE_BYTES_MIN <= COPY_PIECE_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX + REQUEST_HEAD_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(ANSWER_HEAD_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX < BATCH_BYTES_MAX);
// A server that is not told otherwise takes what is said here.
const _: () = assert!(RECORD_BYTES_MAX as usize == Rules::DEFAULT.record_bytes_max);
const _: () = assert!(BATCH_BYTES_MAX as usize == Rules::DEFAULT.batch_bytes_max);
const _: () = assert!(BATCH_RECORD_COUNT_MAX == Rules::DEFAULT.count_max);
const _: () = assert!(BATCH_BYTES_MAX <= FETCH_BYTES_MAX);
const _: () = assert!(FETCH_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(2 * FRAME_BYTES_MAX <= IN_FLIGHT_BYTES_MAX);
