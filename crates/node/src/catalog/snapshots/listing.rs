//! What clients are told of the snapshots there are.

use std::ops::ControlFlow;

use corelog_protocol::limits;
use corelog_protocol::message::{list_snapshots, snapshot};
use corelog_storage::Error;
use corelog_storage::disk::Dir;
use corelog_storage::snapshot::{self as stored, Entry, Name, Summary};

use crate::core::with_causes;

/// An answer that lists snapshots ends with the one that brings its topics to so many. One snapshot has no more
/// than the 10,000 of a node, and a topic takes up to 350 bytes: it fits into an answer's head.
pub(super) const LISTED_TOPICS: usize = 4_096;

const _: () = assert!(
    (LISTED_TOPICS + limits::NODE_PARTITION_COUNT_MAX as usize) * 350
        + limits::SNAPSHOT_COUNT_MAX as usize * 1_024
        <= limits::ANSWER_HEAD_BYTES_MAX as usize
);

/// The snapshots behind the name `after`, as many as one answer takes.
pub(super) async fn list<D: Dir>(
    dir: &D,
    after: Option<&Name>,
) -> Result<list_snapshots::Answer, Error> {
    let (mut answer, mut topics) = (list_snapshots::Answer::default(), 0);
    let see = |entry: Entry| {
        match entry.summary {
            Ok(summary) => {
                topics += summary.topics.len();
                answer.snapshots.push(told(&summary, false));
            }
            Err(error) => answer.unreadable.push(list_snapshots::Unreadable {
                name: entry.name.to_string(),
                message: with_causes(&error),
            }),
        }
        if topics < LISTED_TOPICS {
            return ControlFlow::Continue(());
        }
        answer.next = Some(entry.name.to_string());
        ControlFlow::Break(())
    };
    stored::list(dir, after, see).await?;
    Ok(answer)
}

/// A snapshot as clients are told of it.
pub(super) fn told(summary: &Summary, has_partitions: bool) -> snapshot::Snapshot {
    let count = |segments: u64| u32::try_from(segments).unwrap_or(u32::MAX);
    let partition = |partition: &stored::Partition| snapshot::Partition {
        id: partition.partition,
        log_start: partition.log_start,
        end: partition.end,
        segments: count(partition.segments),
        bytes: partition.bytes,
    };
    let topic = |topic: &stored::Topic| snapshot::Topic {
        name: topic.name.clone(),
        id: topic.id,
        partition_count: count(topic.partitions.len() as u64),
        segments: topic.partitions.iter().map(|part| part.segments).sum(),
        bytes: topic.partitions.iter().map(|part| part.bytes).sum(),
        partitions: match has_partitions {
            true => topic.partitions.iter().map(partition).collect(),
            false => Vec::new(),
        },
    };
    snapshot::Snapshot {
        name: summary.name.to_string(),
        created: summary.created,
        topics: summary.topics.iter().map(topic).collect(),
    }
}
