//! How much space is prepared, and when.
//!
//! Space is prepared ahead, so that a group waits for no allocation: a slow log's store grows in
//! steps as large as what it holds, a fast one's in the largest steps, and its next store is made
//! while the present one fills.

use corelog_record::HistoryId;

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
/// Half a step ahead at least, and half a step more at most: logs that are written to by turns would ask for space all
/// at once, were it not for their histories. A whole step ahead at least where steps are as large as they get: a log
/// that fills half of one while the next is zeroed would wait for the rest of it each time.
pub(crate) fn low<D: Dir>(
    segment: &Segment<D>,
    history: HistoryId,
    options: &Options,
) -> Option<u64> {
    let step = step(segment);
    let half = step / 2;
    let ahead = match step < STEP_BYTES_MAX {
        true => half,
        false => step,
    };
    let least = ahead_of(segment.bytes(), ahead + place(history) % half, options);
    (segment.space_bytes < least).then_some(least)
}

/// A number that is any, but always the same for a log.
fn place(history: HistoryId) -> u64 {
    let [.., a, b, c, d] = *history.as_bytes();
    u64::from(u32::from_le_bytes([a, b, c, d]))
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

const STEP_BYTES_MIN: u64 = 16 << 10;
const STEP_BYTES_MAX: u64 = 8 << 20;
const RESERVED_GROUP_BYTES: usize = 256 << 10;
