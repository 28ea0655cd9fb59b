//! Whether the batches of an answer lie where it says, before any of them is handed out.
//!
//! A batch's base offset lies outside its checksum, since the server writes it: changed on the way, it would
//! give records other offsets, or have them left out as if they had been read. So base offsets are held against
//! each other, and the end of the last batch against the answer's head, which has a checksum of its own.

use std::ops::Range;

use corelog_record::batch::Header;
use corelog_record::{LeaderEpoch, Offset};

use crate::Error;

/// What an answer is held against.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// Where it was asked to go on.
    pub(super) offset: Offset,
    /// Below this no batch begins: where the answer before ended that had any, or met the end of what is readable. Without one
    /// the first batch may begin below the offset that was asked for.
    pub(super) floor: Offset,
    /// The epoch of what was read last.
    pub(super) epoch: Option<LeaderEpoch>,
}

/// An answer whose batches lie where it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// Of the last batch; of what was read before if there is none.
    pub(super) epoch: Option<LeaderEpoch>,
    /// Epochs rise along a log: a batch of one below that of what was read before is of another log.
    pub(super) is_parted: bool,
}

/// Checks an answer that says that `next` follows its batches.
///
/// What is no batch is not looked at, nor what lies behind it: it is found where it is read.
///
/// # Errors
/// [`Error::Disordered`] and [`Error::Misplaced`]; nothing of the answer is to be believed then.
pub(super) fn check(batches: &[u8], asked: Asked, next: Offset) -> Result<Checked, Error> {
    let Asked {
        offset,
        floor,
        epoch,
    } = asked;
    let goes_on = match batches {
        [] => next == offset,
        _ => offset < next,
    };
    if !goes_on {
        let (expected, found) = (offset, next);
        return Err(Error::Disordered { expected, found });
    }
    let (mut rest, mut end) = (batches, floor);
    let mut checked = Checked {
        epoch,
        is_parted: false,
    };
    while !rest.is_empty() {
        let Some((header, offsets, behind)) = first(rest) else {
            return Ok(checked);
        };
        if offsets.start < end {
            let (expected, found) = (end, offsets.start);
            return Err(Error::Disordered { expected, found });
        }
        (rest, end) = (behind, offsets.end);
        if let Some(epoch) = LeaderEpoch::new(header.leader_epoch) {
            checked.is_parted |= checked.epoch.is_some_and(|before| epoch < before);
            checked.epoch = Some(epoch);
        }
    }
    if !batches.is_empty() && end != next {
        return Err(Error::Misplaced { next, found: end });
    }
    Ok(checked)
}

/// The header of the first batch of `bytes`, the offsets that it says the batch has, and what lies behind that.
fn first(bytes: &[u8]) -> Option<(Header, Range<Offset>, &[u8])> {
    let header = Header::parse(bytes).ok()?;
    let (_, behind) = bytes.split_at_checked(header.total_bytes())?;
    Some((header, header.offsets()?, behind))
}

#[cfg(test)]
mod tests {
    use corelog_record::Record;
    use corelog_record::batch::{Builder, Codec, patch};

    use super::*;

    fn offset(value: u64) -> Offset {
        Offset::new(value).unwrap()
    }

    /// A batch of three records at each of these offsets, whose epoch is its base offset.
    fn batches(bases: [u64; 3]) -> Vec<u8> {
        let one = |base: u64| {
            let mut builder = Builder::new(Codec::None);
            for _ in 0..3 {
                builder.append_record(&Record::default()).unwrap();
            }
            let mut batch = builder.build().unwrap();
            let epoch = LeaderEpoch::new(base.try_into().unwrap()).unwrap();
            patch(&mut batch, offset(base), epoch);
            batch
        };
        bases.into_iter().flat_map(one).collect()
    }

    /// Whether the first answer is sound.
    fn is_sound(batches: &[u8], asked: u64, next: u64) -> bool {
        check(batches, from(asked, 0, None), offset(next)).is_ok()
    }

    /// Whether one is that follows another.
    fn is_sound_behind(batches: &[u8], asked: u64, next: u64) -> bool {
        check(batches, from(asked, asked, None), offset(next)).is_ok()
    }

    fn from(asked: u64, floor: u64, epoch: Option<i32>) -> Asked {
        Asked {
            offset: offset(asked),
            floor: offset(floor),
            epoch: epoch.and_then(LeaderEpoch::new),
        }
    }

    #[test]
    fn batches_in_order_up_to_what_is_next_are_sound_and_offsets_may_jump() {
        assert!(is_sound(&batches([0, 3, 6]), 0, 9));
        assert!(is_sound(&batches([10, 13, 20]), 5, 23));
        assert!(is_sound_behind(&batches([10, 13, 20]), 5, 23));
        assert!(is_sound(&[], 5, 5));
        assert!(is_sound_behind(&[], 5, 5));
    }

    #[test]
    fn a_base_offset_that_was_raised_or_lowered_is_found_wherever_it_overlaps_or_ends_elsewhere() {
        for (bases, next) in [
            ([1, 3, 6], 9),
            ([0, 4, 6], 9),
            ([0, 2, 6], 9),
            ([0, 3, 5], 9),
            ([0, 3, 7], 9),
            ([0, 3, 6], 8),
            ([0, 3, 6], 10),
            ([0, 0, 6], 9),
        ] {
            assert!(!is_sound(&batches(bases), 0, next), "{bases:?}, {next}");
        }
    }

    #[test]
    fn only_the_first_answer_may_begin_below_what_was_asked_for() {
        let batches = batches([0, 3, 6]);
        assert!(is_sound(&batches, 2, 9));
        assert!(!is_sound_behind(&batches, 2, 9));
        assert!(is_sound_behind(&batches, 0, 9));
    }

    #[test]
    fn the_epoch_is_that_of_the_last_batch() {
        let epoch = |batches: &[u8], next, before| {
            let checked = check(batches, from(0, 0, before), offset(next)).unwrap();
            checked.epoch.map(LeaderEpoch::get)
        };
        assert_eq!(epoch(&batches([0, 3, 6]), 9, None), Some(6));
        assert_eq!(epoch(&[], 0, None), None);
        assert_eq!(epoch(&[], 0, Some(4)), Some(4));
        assert_eq!(epoch(&[0; 200], 9, None), None);
    }

    /// A server that did not know of the epoch that was read gave records of an earlier one in the place of others.
    #[test]
    fn a_batch_of_an_earlier_epoch_than_what_was_read_is_of_another_log() {
        let is_parted = |before| {
            let checked = check(&batches([3, 6, 9]), from(3, 3, before), offset(12));
            checked.unwrap().is_parted
        };
        assert!(!is_parted(None));
        assert!(!is_parted(Some(3)));
        assert!(is_parted(Some(4)));
        assert!(is_parted(Some(10)));
    }

    #[test]
    fn an_answer_goes_on_from_what_was_asked_for_and_an_empty_one_stays_there() {
        assert!(!is_sound(&batches([0, 3, 6]), 9, 9));
        assert!(!is_sound(&[], 5, 4));
        assert!(!is_sound(&[], 5, 6));
    }

    #[test]
    fn what_is_no_batch_is_left_to_whoever_reads_it() {
        let whole = batches([0, 3, 6]);
        for cut in 1..whole.len() {
            let at = |count| whole.len() / 3 * count == cut;
            assert_eq!(is_sound(&whole[..cut], 0, 9), !(at(1) || at(2)), "{cut}");
        }
        assert!(is_sound(&[0; 200], 0, 9));
    }
}
