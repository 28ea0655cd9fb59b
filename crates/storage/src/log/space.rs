//! How much space is prepared, and when.
//!
//! Space is prepared ahead, so that a group waits for no allocation: a slow log's store grows in
//! steps as large as what it holds, a fast one's in the largest steps, and its next store is made
//! while the present one fills.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use corelog_record::HistoryId;

use crate::disk::{BLOCK_BYTES, Dir, File, Space, is_full, round_up};
use crate::segment::Segment;

use super::tail::SMALL_BYTES;
use super::{Options, STORE_BYTES_MAX, UNSYNCED_BYTES_MAX};

/// How far a store's space is to reach, and what kind of space it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) end: u64,
    /// How far at least: a disk that has no more is not full yet.
    pub(crate) least: u64,
    pub(crate) how: Space,
}

impl Extent {
    /// This extent for a group that waits for it and ends at `needed`: a chore writes most of the zeros.
    pub(crate) fn for_group(self, needed: u64) -> Self {
        let end = match self.how {
            Space::Zeroed => self.end.min(round_up(needed) + PART_BYTES),
            Space::Reserved => self.end,
        };
        Self { end, ..self }
    }

    /// This extent for a group that found no space and ends at `needed`: not less. A disk that had just what one group needs
    /// would be full for the next, of which nobody knows then whether it was appended.
    pub(crate) fn once_full(self, needed: u64) -> Self {
        let end = self.end.min(round_up(needed) + PART_BYTES);
        Self {
            end,
            least: end,
            ..self
        }
    }

    /// Prepares this space in `file` from `reached` on, which tells how far it has come: zeros part by part, and only as long as
    /// there is no hurry.
    pub(crate) async fn prepare(
        &self,
        file: &impl File,
        reached: &mut u64,
        hurry: &Hurry,
    ) -> io::Result<()> {
        if self.end <= *reached || hurry.is_on() {
            return Ok(());
        }
        // The extents in one piece: a full disk shows here and not half-way, and while a file gets some, nothing is written to it.
        let all = file.allocate(*reached..self.end, Space::Reserved).await;
        let extent_end = match all {
            Err(error) if is_full(&error) && self.least < self.end => {
                file.allocate(*reached..self.least, Space::Reserved).await?;
                self.least
            }
            all => all.map(|()| self.end)?,
        };
        match self.how {
            Space::Reserved => *reached = extent_end,
            Space::Zeroed => {
                while *reached < extent_end && !hurry.is_on() {
                    let end = extent_end.min(*reached + PART_BYTES);
                    file.allocate(*reached..end, Space::Zeroed).await?;
                    *reached = end;
                }
            }
        }
        Ok(())
    }
}

/// Whether a group waits for space that a chore prepares: it is to have what is there. A log that fills its space as fast as a
/// busy disk takes zeros waited for a whole step of them, and for more the more had come in meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hurry(Rc<Cell<bool>>);

impl Hurry {
    /// A group waits, or goes out.
    pub(crate) fn set(&self, is_on: bool) {
        self.0.set(is_on);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.get()
    }
}

/// How far a store is filled, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filled {
    /// Up to there all is durable.
    pub(crate) durable: u64,
    /// Up to there something was appended.
    pub(crate) appended: u64,
    /// Up to there it has space.
    pub(crate) space: u64,
}

impl Filled {
    /// Space up to the position `needed` at least, if there is not enough: a step more, but no farther than it may reach.
    pub(crate) fn needed(
        self,
        needed: u64,
        group_bytes: usize,
        options: &Options,
    ) -> Option<Extent> {
        let needed = round_up(needed);
        let end = ahead_of(needed, step(self.appended), options);
        (self.space < needed).then(|| Extent {
            end: end.min(farthest(self.durable)).max(needed),
            least: needed,
            how: kind(group_bytes),
        })
    }

    /// How far the space is to reach at least while the store is written to, if it does not.
    pub(crate) fn low(self, history: HistoryId, options: &Options) -> Option<u64> {
        let bytes = self.appended;
        let least = ahead_of(bytes, least_ahead(bytes, place(history)), options);
        let least = least.min(farthest(self.durable));
        (self.space < least).then_some(least)
    }
}

/// How much space a log of so many bytes has ahead at least.
///
/// Half a step, and up to half a step more: logs that are written to by turns would ask for space all at once, were
/// it not for their places. Where steps are as large as they get it becomes a whole one, little by little so that
/// none ask together there: a log that fills half a step while the next is zeroed would wait for the rest of it each time.
fn least_ahead(bytes: u64, place: u64) -> u64 {
    let half = step(bytes) / 2;
    let more = bytes.saturating_sub(STEP_BYTES_MAX).min(half);
    half + more + place % half
}

/// How far space may reach where so much is durable, but for what a group needs: recovery looks no farther for writes that
/// were never synced, and zeros are such writes.
fn farthest(durable: u64) -> u64 {
    (durable + UNSYNCED_BYTES_MAX as u64) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64
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
        Space::Reserved => segment_bytes.min(STORE_BYTES_MAX),
        Space::Zeroed => (segment_bytes / 16).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX),
    };
    let end = round_up(end);
    let least = end;
    (active.bytes() >= segment_bytes / 2).then_some(Extent { end, least, how })
}

/// A step beyond `end`, but not beyond where the segment will roll.
fn ahead_of(end: u64, step: u64, options: &Options) -> u64 {
    (end + step)
        .min(round_up(options.segment_bytes_max.bytes()))
        .max(end)
}

fn step(bytes: u64) -> u64 {
    round_up(bytes.clamp(STEP_BYTES_MIN, STEP_BYTES_MAX))
}

/// Zeros cost a second write of every byte, and spare each sync a change of metadata: worth it for small groups. Of 128 KiB
/// a disk of 700 MiB/s takes as many a second either way.
fn kind(group_bytes: usize) -> Space {
    match group_bytes <= SMALL_BYTES {
        true => Space::Zeroed,
        false => Space::Reserved,
    }
}

const STEP_BYTES_MIN: u64 = 16 << 10;
const STEP_BYTES_MAX: u64 = 8 << 20;

/// So many zeros a group may have to wait for: some milliseconds of a busy disk.
const PART_BYTES: u64 = 512 << 10;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Logs of so many places are written to by turns: how many ask for space at the same time, at most, from one
    /// number of bytes to another.
    #[test]
    fn logs_of_large_steps_that_are_written_to_by_turns_ask_for_space_at_different_times() {
        const GROUP: u64 = 64 << 10;
        let (logs, mut asked) = (64, BTreeMap::new());
        for log in 0..logs {
            let place = log * (STEP_BYTES_MAX / 2) / logs;
            let mut space = 0;
            for bytes in (1..1_000).map(|groups| groups * GROUP) {
                let least = bytes + least_ahead(bytes, place);
                if space < least {
                    space = (least + step(bytes)).min(farthest(bytes)).max(least);
                    let count: &mut u64 = asked.entry(bytes).or_default();
                    *count += u64::from(STEP_BYTES_MAX <= bytes);
                }
                assert!(space <= bytes + UNSYNCED_BYTES_MAX as u64, "{bytes}");
            }
        }
        let most = asked.values().max().copied().unwrap_or_default();
        assert!((1..=logs / 8).contains(&most), "{asked:?}");
    }
}
