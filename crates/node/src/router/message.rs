//! What travels between cores: all of it owned, nothing shared.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::message::copy_segments::Part;
use corelog_protocol::message::{
    alter_topic, chain_at, clone_topic, create_snapshot, create_topic, delete_snapshot,
    delete_topic, describe_topic, fetch, forget_follower, handover, list_offsets, list_snapshots,
    promote, rejoin, reopen_partition, repair_topic, replica_status, restore_status, restore_topic,
    scrub_topic, segments, take_over, truncate,
};
use corelog_record::{HistoryId, LeaderEpoch, Offset, PartitionId, TopicName};
use corelog_storage::format::replica::Replica;
use corelog_storage::snapshot::Name;

use crate::catalog::{Change, Newcomer, Topic};
use crate::core::{Lent, PartitionKey, Produced, Taken, Terms};
use crate::failure::Failure;
use crate::follow::Hearing;
use crate::frame_id::FrameId;
use crate::partition::{Appetite, Seek};

/// A request on its way to the core that does it.
pub(super) struct Request {
    /// The sender's number for it.
    pub(super) id: u64,
    /// The frame that it is done for, if the node does not ask by itself.
    pub(super) frame: Option<FrameId>,
    pub(super) what: What,
}

/// What is to be done.
pub(super) enum What {
    Produce(Produce),
    /// Read, or park and say when it is worth to ask again.
    Fetch {
        key: PartitionKey,
        from: Offset,
        appetite: Appetite,
        /// Only what lies in memory and is at most [`SMALL_BYTES`](crate::core::SMALL_BYTES).
        only_small: bool,
        wait: Duration,
    },
    /// The fetch of this number need not be parked any longer.
    Unpark {
        fetch: u64,
    },
    /// Anything else.
    Ask(Box<Ask>),
}

/// Append; answered in order with the other Produces of this connection and partition.
pub(crate) struct Produce {
    pub(crate) conn: u64,
    pub(crate) key: PartitionKey,
    pub(crate) run: u32,
    pub(crate) terms: Terms,
    pub(crate) batches: Vec<u8>,
}

/// A request that is done by one core and answered once.
pub(crate) enum Ask {
    Find {
        key: PartitionKey,
        seek: Seek,
    },
    Truncate {
        key: PartitionKey,
        lowest: Offset,
    },
    Reopen {
        key: PartitionKey,
    },
    Segments {
        key: PartitionKey,
        from: Offset,
    },
    ChainAt {
        key: PartitionKey,
        offset: Offset,
    },
    /// Open a part of a sealed segment.
    Lend {
        key: PartitionKey,
        history: HistoryId,
        part: Part,
    },
    /// A file that you lent is damaged.
    MetDamage {
        key: PartitionKey,
        offsets: Range<Offset>,
    },
    /// A reader met damage, or what the disk does not give: say whether it healed within the time that a reader waits for that.
    Heal {
        key: PartitionKey,
        error: Failure,
    },
    /// Tell of your partitions of a topic. Cores learn one after the other that there is one: this is whose, as who asks knows it.
    Describe {
        topic: Arc<Topic>,
    },
    Create(create_topic::Request),
    Alter(alter_topic::Request),
    Delete(delete_topic::Request),
    CreateSnapshot(create_snapshot::Request),
    ListSnapshots(list_snapshots::Request),
    DeleteSnapshot(delete_snapshot::Request),
    Restore(restore_topic::Request),
    RestoreStatus(restore_status::Request),
    /// Scrub your partitions of a topic, or tell how far that is; likewise.
    Scrub {
        topic: Arc<Topic>,
        partition: Option<PartitionId>,
        is_start: bool,
    },
    /// A follower says what it has.
    Hear {
        key: PartitionKey,
        follower: fetch::Follower,
    },
    /// Tell of your partitions of a topic as replicas, or of one; likewise.
    Replicas {
        topic: Arc<Topic>,
        partition: Option<PartitionId>,
    },
    Clone(clone_topic::Request),
    ForgetFollower(forget_follower::Request),
    /// To core 0: write down who follows a partition.
    Remember {
        topic: TopicName,
        key: PartitionKey,
        newcomer: Newcomer,
    },
    Promote {
        topic: TopicName,
        key: PartitionKey,
        accept_loss: bool,
        /// By its number, not with all of its topic.
        is_named: bool,
    },
    TakeOver {
        key: PartitionKey,
        request: take_over::Request,
    },
    HandOver {
        topic: TopicName,
        key: PartitionKey,
        to: Option<String>,
        is_abort: bool,
        accept_loss: bool,
    },
    Repair {
        key: PartitionKey,
        from: Vec<String>,
        is_named: bool,
    },
    Rejoin {
        topic: TopicName,
        key: PartitionKey,
        to: String,
    },
    /// To core 0: promise that a partition is not taken over at epochs up to this one.
    Promise {
        key: PartitionKey,
        epoch: LeaderEpoch,
    },
    /// To core 0: may a partition be taken over that is given at this epoch.
    CheckPromise {
        key: PartitionKey,
        epoch: LeaderEpoch,
    },
    /// To core 0: change what the node is to a partition, which may be given at an epoch.
    ChangeReplica {
        topic: TopicName,
        key: PartitionKey,
        given_at: Option<LeaderEpoch>,
        change: ReplicaChange,
    },
    /// From core 0: take your partitions of these topics into a snapshot.
    TakeSnapshot {
        name: Name,
        topics: Vec<Arc<Topic>>,
    },
    /// From core 0: the catalog changed.
    Apply(Change),
}

/// How what the node is to a partition changes, given what it is.
pub(crate) type ReplicaChange = Box<dyn FnOnce(Replica) -> Result<Replica, Failure> + Send>;

/// What an `Ask` is answered with.
pub(crate) enum Told {
    Found(list_offsets::Answer),
    Truncated(truncate::Answer),
    Reopened(reopen_partition::Answer),
    Segments(Box<segments::Answer>),
    ChainAt(chain_at::Answer),
    Lent(Lent),
    /// It is done.
    Noted,
    Described(Vec<describe_topic::Partition>),
    Created(create_topic::Answer),
    Altered(alter_topic::Answer),
    Deleted(delete_topic::Answer),
    SnapshotCreated(create_snapshot::Answer),
    SnapshotsListed(list_snapshots::Answer),
    SnapshotDeleted(delete_snapshot::Answer),
    Restoring(restore_topic::Answer),
    Restored(Box<restore_status::Answer>),
    Scrubs(Vec<scrub_topic::Partition>),
    Taken(Vec<Taken>),
    Heard(Hearing),
    Replicas(Vec<replica_status::Partition>),
    Cloning(clone_topic::Answer),
    FollowerForgotten(forget_follower::Answer),
    Promoted(promote::Partition),
    TakenOver(take_over::Answer),
    HandedOver(handover::Partition),
    Rejoined(rejoin::Partition),
    Repaired(Box<repair_topic::Partition>),
}

/// A reply on its way back.
pub(super) struct Reply {
    /// The number of the request.
    pub(super) id: u64,
    pub(super) what: Answered,
}

/// What came of a request.
pub(super) enum Answered {
    Produced(Produced),
    /// The answer's head and its batches.
    Fetched(Result<(fetch::Answer, Vec<u8>), Failure>),
    /// What the fetch would find is not small, as it was to be.
    TooLarge,
    /// The fetch is parked: its credit is free, `Woken` follows.
    Parked(fetch::Answer),
    /// It is worth to fetch again, or the wait is over.
    Woken,
    Told(Result<Told, Failure>),
}
