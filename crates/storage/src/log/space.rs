//! How much space is prepared, and when.
//!
//! Space is prepared ahead, so that a group waits for no allocation: a slow log's store grows in
//! steps as large as what it holds, a fast one's in the largest steps, and its next store is made
//! while the present one fills.

use corelog_record::PartitionId;

use crate::disk::{Dir, Space, round_up};
use crate::segment::Segment;

use super::Options;

/// How far a store's space is to reach, and what kind of space it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) end: u64,
    pub(crate) how: Space,
}

/// Space for `segment` up to the position `needed` at least, if it has not enough.
pub(crate) fn needed<D: Dir>(
    segment: &Segment<D>,
    space_bytes: u64,
    needed: u64,
    group_bytes: usize,
    options: &Options,
) -> Option<Extent> {
    let needed = round_up(needed);
    (space_bytes < needed).then(|| Extent {
        end: ahead_of(needed, step(segment), options),
        how: kind(group_bytes),
    })
}

/// How far the space of `segment` is to reach at least while it is written to, if it does not.
///
/// Between a quarter and three quarters of a step ahead, the first partition of a topic most: those that are
/// written to by turns would ask for space all at once.
pub(crate) fn low<D: Dir>(
    segment: &Segment<D>,
    partition: PartitionId,
    options: &Options,
) -> Option<u64> {
    let step = step(segment);
    let ahead = step / 4 * 3 - partition.place_on(step / 2, PLACES_LOG2);
    let least = ahead_of(segment.bytes(), ahead, options);
    (segment.space_bytes < least).then_some(least)
}

/// Space for the next store, once the present one is half full.
pub(crate) fn next<D: Dir>(
    active: &Segment<D>,
    group_bytes: usize,
    options: &Options,
) -> Option<Extent> {
    let segment_bytes = options.segment_bytes_max.bytes();
    let how = kind(group_bytes);
    let end = match how {
        Space::Reserved => segment_bytes,
        Space::Zeroed => (segment_bytes / 16).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX),
    };
    (active.bytes() >= segment_bytes / 2).then(|| Extent {
        end: round_up(end),
        how,
    })
}

/// A step beyond `end`, but not beyond where the segment will roll.
fn ahead_of(end: u64, step: u64, options: &Options) -> u64 {
    (end + step)
        .min(round_up(options.segment_bytes_max.bytes()))
        .max(end)
}

fn step<D: Dir>(segment: &Segment<D>) -> u64 {
    round_up(segment.bytes().clamp(STEP_BYTES_MIN, STEP_BYTES_MAX))
}

/// Zeros cost a second write of every byte, and spare each sync a change of metadata: worth it
/// unless groups are large.
fn kind(group_bytes: usize) -> Space {
    match group_bytes < RESERVED_GROUP_BYTES {
        true => Space::Zeroed,
        false => Space::Reserved,
    }
}

/// At so many places of a step partitions ask for the next one, as a power of two.
const PLACES_LOG2: u32 = 6;

const STEP_BYTES_MIN: u64 = 16 << 10;
const STEP_BYTES_MAX: u64 = 8 << 20;
const RESERVED_GROUP_BYTES: usize = 256 << 10;
