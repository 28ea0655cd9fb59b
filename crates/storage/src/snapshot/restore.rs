//! Making a partition of what a snapshot holds of one.
//!
//! ```text
//! <topic>/<partition>.restoring/    stores and indexes, each verified and synced · manifest · mark
//! <topic>/<partition>/              the same, renamed, when all of it is there
//! <topic>/<partition>.begun         what tells of it from then on
//! ```
//!
//! The history id stays, so chains go on and the copy can be compared with its origin. Copy id and
//! epoch are new: nobody takes it for the partition that was snapshotted, and what is appended from
//! now on carries a lineage of its own.

use std::ops::Range;
use std::rc::Rc;

use corelog_record::{CopyId, HistoryId, LeaderEpoch, Lineage, Offset, Timestamp, TopicId};

use super::copy::{Copy, Stores};
use super::origin::Origin;
use super::shelf::{exists_empty, remove_tree};
use super::{Partition, origin};
use crate::Error;
use crate::disk::Dir;
use crate::format::damage::{self, Damage};
use crate::format::edit::{Edit, Epoch};
use crate::format::manifest::Header;
use crate::format::mark::Slot;
use crate::log::Begun;
use crate::manifest::Manifest;
use crate::mark::Mark;
use crate::segment::Point;
use crate::steps;

/// What is restored, and as what.
#[derive(Debug, Clone, Copy)]
pub struct Restore {
    /// The id of the topic in the snapshot.
    pub origin: TopicId,
    /// The partition, as the snapshot's summary has it. It keeps its number.
    pub partition: Partition,
    /// The id of the topic that it becomes a partition of.
    pub topic: TopicId,
    /// Names the new files; drawn at random.
    pub copy: CopyId,
    /// Names the owner from now on; drawn at random.
    pub lineage: Lineage,
    /// The time at which its segments count as sealed: retention by age gives them all of theirs.
    pub now: Timestamp,
    /// Whether the new partition shares the bytes of its stores with the snapshot.
    pub stores: Stores,
    /// Whether damage is taken over as damage, remembered and never served; else nothing is restored.
    pub is_damage_kept: bool,
}

/// A partition that was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The history that it goes on with.
    pub history: HistoryId,
    /// The epoch that begins at its end.
    pub epoch: LeaderEpoch,
    /// The oldest readable offset.
    pub log_start: Offset,
    /// The offset that the next record gets.
    pub end: Offset,
    /// How many bytes of stores.
    pub bytes: u64,
}

/// Restores the partition in the directory `source` of a snapshot into the directory `topic` of a
/// topic, where it gets the directory of its number. That appears whole and durable, or not at all:
/// everything is verified before. `progress` is told of every piece of a store, in bytes, and may
/// take its time. `None` for a partition that never had a record: it needs no files.
///
/// It may be dropped at any time; what it leaves is removed by the next try.
///
/// # Errors
/// [`Error::Occupied`] if the partition is there and not empty; [`Error::DamagedStore`],
/// [`Error::Format`], [`Error::Foreign`], [`Error::Unlike`] and [`Error::NotSealed`] for a source
/// that is not what it was; [`Error::EpochsExhausted`]; [`Error::StorageFull`]; any error of the
/// disk.
pub async fn restore<D: Dir>(
    source: &D,
    topic: &D,
    restore: Restore,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<Restored>, Error> {
    let Some(origin) = origin::read(source, restore.origin, &restore.partition).await? else {
        return Ok(None);
    };
    if !restore.is_damage_kept {
        origin.refuse_damage(source)?;
    }
    let name = restore.partition.partition.to_string();
    let place = topic.child(&name);
    if exists_empty(&place).await? {
        remove_tree(&place).await?;
    }
    let aside = format!("{name}{ASIDE_SUFFIX}");
    let target = topic.child(&aside);
    remove_tree(&target).await?;
    let mut restored = fill(source, &target, &origin, &restore, progress).await;
    if restored.is_ok()
        && let Err(error) = steps::rename(topic, &aside, &name).await
    {
        restored = Err(error);
    }
    if restored.is_err() {
        // The error that came first is the one to tell; the next try removes it as well.
        let _ = target.remove_tree().await;
    }
    let restored = restored?;
    // Nothing of the topic is served before all of it is there: which of the two names a crash leaves is no matter.
    Begun::beside(topic.clone(), &name).create().await?;
    steps::sync(topic).await?;
    Ok(Some(restored))
}

/// Makes the whole partition in `target`, durable but for the name of the directory.
async fn fill<D: Dir>(
    source: &D,
    target: &D,
    origin: &Origin,
    restore: &Restore,
    progress: &mut dyn FnMut(u64),
) -> Result<Restored, Error> {
    let header = Header {
        topic: restore.topic,
        partition: restore.partition.partition,
        history: origin.header.history,
        copy: restore.copy,
    };
    let Some(epoch) = next_epoch(origin) else {
        return Err(Error::EpochsExhausted {
            dir: source.describe(),
        });
    };
    let mut state = origin.state.copied(restore.now);
    let began = Epoch::behind(None, origin.end, epoch, restore.lineage);
    let began = state.apply(&Edit::Epoch(began));
    // What was exported may be changed by whoever has it.
    let segment = origin.end.offset;
    began.map_err(|source| Error::Contradicts { segment, source })?;
    steps::create_all(target).await?;
    let copy = Copy {
        source,
        target,
        history: header.history,
        stores: restore.stores,
    };
    let epochs = Rc::from(state.epochs());
    let (mut bytes, mut damage) = (0, Vec::new());
    for (generation, seal) in &origin.segments {
        let is_bad = |copied: &Result<(), Error>| match copied {
            Err(Error::DamagedStore { .. }) => true,
            copied => copied.as_ref().is_err_and(Error::is_unreadable),
        };
        let mut copied = copy.segment(*generation, seal, progress).await;
        if restore.is_damage_kept && is_bad(&copied) {
            // A byte may have turned over on its way from the disk.
            copy.forget(seal.digest.base, *generation).await?;
            copied = copy.segment(*generation, seal, &mut |_| {}).await;
        }
        if restore.is_damage_kept && is_bad(&copied) {
            // What the disk gave in the end, after all, is whole if nothing is found in it.
            let refused = match copied {
                Err(Error::DamagedStore { from, to, .. }) => Some(from..to),
                _ => None,
            };
            let found = copy.with_damage(*generation, seal, &epochs).await?;
            let segment = seal.digest.base;
            damage.extend(remembered(&origin.damage, segment, found, refused));
        } else {
            copied?;
        }
        bytes += seal.digest.bytes;
    }
    for (base, generation) in &origin.unsealed {
        // Opening reads all of it, and writes what is sound again: not to the snapshot's own file.
        let copy = Copy {
            stores: Stores::Copied,
            ..copy
        };
        bytes += copy.as_it_is(*base, *generation).await?;
        damage.extend(origin.damage.iter().filter(|it| it.segment == *base));
    }
    let mut edits = state.edits();
    edits.extend(damage::edits(&damage));
    Manifest::create(target.clone(), header, &edits).await?;
    Mark::create(target.clone(), marked(origin, &header, epoch)).await?;
    Ok(Restored {
        history: header.history,
        epoch,
        log_start: origin.state.log_start(),
        end: origin.end.offset,
        bytes,
    })
}

/// The damage of a segment: what was known of it, and what was found, or all that was `refused` if nothing of either tells
/// why its bytes were.
fn remembered(
    known: &[Damage],
    segment: Offset,
    found: Vec<Range<Offset>>,
    refused: Option<Range<Offset>>,
) -> Vec<Damage> {
    let known = known.iter().copied().filter(|d| d.segment == segment);
    let mut damage: Vec<_> = known.collect();
    for Range {
        start: from,
        end: to,
    } in found
    {
        if !damage.iter().any(|d| d.from <= from && to <= d.to) {
            damage.push(Damage { from, to, segment });
        }
    }
    if let Some(refused) = refused.filter(|_| damage.is_empty()) {
        let (from, to) = (refused.start, refused.end);
        damage.push(Damage { from, to, segment });
    }
    damage
}

fn next_epoch(origin: &Origin) -> Option<LeaderEpoch> {
    match origin.state.epochs().last() {
        Some(last) => last.epoch.checked_next(),
        None => Some(LeaderEpoch::ZERO),
    }
}

/// A mark that says that nothing is to be recovered, but for segments that were never sealed.
fn marked(origin: &Origin, header: &Header, epoch: LeaderEpoch) -> Slot {
    let end = origin.end;
    let last = origin.segments.last();
    let (point, store) = match last.filter(|(_, seal)| seal.digest.end() == end) {
        Some((generation, seal)) => (Point::sealed(seal), (seal.digest.base, *generation)),
        // The last one is not sealed, and an empty one follows.
        None => (Point::starting(end), (end.offset, 0)),
    };
    Slot {
        is_clean: origin.unsealed.is_empty(),
        epoch: Some(epoch),
        ..point.slot(header, store)
    }
}

/// What the directory of a partition ends in while it is restored.
const ASIDE_SUFFIX: &str = ".restoring";
