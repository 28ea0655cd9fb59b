//! Copying a snapshot elsewhere: to another file system, or off the machine.

use super::copy::{Copy, Stores};
use super::shelf::{commit, exists_empty, open, partition_dir};
use super::{NAME, Partition, Summary, Topic, origin};
use crate::Error;
use crate::disk::{ASIDE_SUFFIX, Dir};
use crate::format::node::TOPICS;
use crate::manifest::Manifest;
use crate::steps;

/// A snapshot that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// What it holds.
    pub summary: Summary,
    /// How many segments were copied.
    pub segments: u64,
    /// How many bytes of stores.
    pub bytes: u64,
}

/// Copies the snapshot in `source` to `target`, which must not exist or be empty, and verifies all of
/// it on the way; indexes are made anew. `progress` is told of every piece of a store, in bytes, and
/// may take its time.
///
/// The copy is a snapshot only when this returns. After an error what was written is removed again,
/// as far as that is possible; whoever drops the future removes it themselves.
///
/// # Errors
/// [`Error::NoSnapshot`], also if it was deleted meanwhile; [`Error::Occupied`]; [`Error::DamagedStore`], [`Error::Format`],
/// [`Error::Foreign`], [`Error::Unlike`] and [`Error::NotSealed`] for a source that is not what it
/// was; [`Error::StorageFull`]; any error of the disk.
pub async fn export<D: Dir>(
    source: &D,
    target: &D,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported, Error> {
    let summary = open(source).await?;
    exists_empty(target).await?;
    let copied = copy(source, target, &summary, progress).await;
    if copied.is_err() {
        // The error that came first is the one to tell. The summary goes first: a failed sync may
        // have left it.
        let _ = target.remove(NAME).await;
        let _ = target.remove(&format!("{NAME}{ASIDE_SUFFIX}")).await;
        let _ = target.child(TOPICS).remove_tree().await;
        // What it lacks that was deleted meanwhile is no damage.
        if let Err(gone @ Error::NoSnapshot { .. }) = open(source).await {
            return Err(gone);
        }
    }
    let (segments, bytes) = copied?;
    Ok(Exported {
        summary,
        segments,
        bytes,
    })
}

async fn copy<D: Dir>(
    source: &D,
    target: &D,
    summary: &Summary,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, u64), Error> {
    let (mut segments, mut bytes) = (0, 0);
    for topic in &summary.topics {
        for partition in &topic.partitions {
            let from = partition_dir(source, &topic.name, partition.partition);
            let to = partition_dir(target, &topic.name, partition.partition);
            let copied = copy_partition(&from, &to, (topic, partition), progress).await?;
            segments += copied.0;
            bytes += copied.1;
        }
    }
    commit(target, summary).await?;
    Ok((segments, bytes))
}

async fn copy_partition<D: Dir>(
    source: &D,
    target: &D,
    (topic, partition): (&Topic, &Partition),
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, u64), Error> {
    let Some(origin) = origin::read(source, topic.id, partition).await? else {
        return Ok((0, 0));
    };
    origin.refuse_damage(source)?;
    steps::create_all(target).await?;
    let (header, mut bytes) = (origin.header, 0);
    let copy = Copy {
        source,
        target,
        history: header.history,
        // What leaves the node is changed by who knows whom.
        stores: Stores::Copied,
    };
    for (generation, seal) in &origin.segments {
        copy.segment(*generation, seal, progress).await?;
        bytes += seal.digest.bytes;
    }
    Manifest::create(target.clone(), header, &origin.state.edits()).await?;
    Ok((origin.segments.len() as u64, bytes))
}
