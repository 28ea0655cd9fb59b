//! Room on the disk for what is copied: it is looked for before anything comes, which would take the last of what partitions write
//! to before it was given up.

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::{describe_topic, metadata};
use corelog_record::{Offset, PartitionId};
use corelog_storage::disk::Dir;
use corelog_storage::format::node::DELETED;

use super::admin::Admin;
use super::topic::Topic;
use crate::failure::{Failure, failure_with};
use crate::follow::{ASK_TIMEOUT, Line};
use crate::rt;
use crate::sys::probe;

impl Admin {
    /// What the disk has left, where the kernel tells, and nothing that was deleted has still to make room.
    pub(super) async fn free_bytes(&self) -> Option<u64> {
        let deleted = self.core.root.child(DELETED).list().await;
        if deleted.is_ok_and(|deleted| !deleted.is_empty()) {
            return None;
        }
        let dir = self.core.shared.data_dir.clone();
        let space = rt::blocking(move || probe::space(&dir)).await;
        space.ok().map(|space| space.free.bytes())
    }

    /// Checks that there is room for all of a source's partitions that are `wanted`, and of which nothing is copied `here` yet. What
    /// has begun goes on, with what it has received.
    pub(super) async fn check_space(
        &self,
        line: &Line,
        origin: &metadata::Topic,
        wanted: &[PartitionId],
        here: Option<&Topic>,
    ) -> Result<(), Failure> {
        let ask = describe_topic::Request {
            name: origin.name.clone(),
        };
        let Ok(told) = line.call(&ask, ASK_TIMEOUT).await else {
            return Ok(());
        };
        let is_new = |id| {
            wanted.binary_search(&id).is_ok() && here.is_none_or(|topic| !has_begun(topic, id))
        };
        let partitions = told.head.partitions.iter().filter(|one| is_new(one.id));
        let bytes = partitions.map(|one| one.bytes);
        // What a source tells may be anything.
        check_fits(bytes.fold(0, u64::saturating_add), self.free_bytes().await)
    }
}

/// If a partition is not only there to be copied later.
fn has_begun(topic: &Topic, partition: PartitionId) -> bool {
    let replica = topic.replica(partition);
    replica.is_some_and(|replica| replica.until != Some(Offset::ZERO))
}

/// Checks that there is room for a copy of so many bytes. Where it is not known what is free, a full disk tells.
pub(super) fn check_fits(bytes: u64, free: Option<u64>) -> Result<(), Failure> {
    match free {
        Some(free) if free < bytes => {
            let message = format!("{bytes} bytes are to be copied, and the disk has {free}");
            let detail = Detail {
                retry_ms: Some(RETRY_MS),
                ..Detail::default()
            };
            Err(failure_with(ErrorCode::StorageFull, message, detail))
        }
        _ => Ok(()),
    }
}

/// How long a client is asked to wait, in milliseconds, for room that nothing is about to make: longer than most ask at all.
const RETRY_MS: u32 = 60_000;
