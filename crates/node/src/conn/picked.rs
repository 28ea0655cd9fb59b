//! Which of a core's answers belongs to which request.

use corelog_protocol::message::{
    Call, alter_topic, chain_at, clone_topic, create_snapshot, create_topic, delete_snapshot,
    delete_topic, forget_follower, list_offsets, list_snapshots, reopen_partition, restore_status,
    restore_topic, segments, take_over, truncate,
};

use crate::router::Told;

/// A request that a core answers with one kind of `Told`.
pub(super) trait Picked: Call + 'static {
    /// The answer, if it is one to this request.
    fn pick(told: Told) -> Option<Self::Answer>;
}

macro_rules! picked {
    ($($module:ident $told:ident)+) => {$(
        impl Picked for $module::Request {
            fn pick(told: Told) -> Option<$module::Answer> {
                match told {
                    Told::$told(answer) => Some(answer),
                    _ => None,
                }
            }
        }
    )+};
}

picked! {
    list_offsets Found
    truncate Truncated
    chain_at ChainAt
    reopen_partition Reopened
    create_topic Created
    alter_topic Altered
    delete_topic Deleted
    create_snapshot SnapshotCreated
    list_snapshots SnapshotsListed
    delete_snapshot SnapshotDeleted
    restore_topic Restoring
    clone_topic Cloning
    forget_follower FollowerForgotten
    take_over TakenOver
}

impl Picked for segments::Request {
    fn pick(told: Told) -> Option<segments::Answer> {
        match told {
            Told::Segments(answer) => Some(*answer),
            _ => None,
        }
    }
}

impl Picked for restore_status::Request {
    fn pick(told: Told) -> Option<restore_status::Answer> {
        match told {
            Told::Restored(answer) => Some(*answer),
            _ => None,
        }
    }
}
