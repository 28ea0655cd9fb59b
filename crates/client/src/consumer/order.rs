//! Whether the batches of an answer lie where it says, before any of them is handed out.
//!
//! A batch's base offset lies outside its checksum, since the server writes it: changed on the way, it would
//! give records other offsets, or have them left out as if they had been read. So base offsets are held against
//! each other, and the end of the last batch against the answer's head, which has a checksum of its own.

use std::ops::Range;

use corelog_record::Offset;
use corelog_record::batch::Header;

use crate::Error;

/// Checks an answer that was asked for from `asked` on, and says that `next` follows its batches.
///
/// What is no batch is not looked at, nor what lies behind it: it is found where it is read.
///
/// # Errors
/// [`Error::Disordered`] and [`Error::Misplaced`]; nothing of the answer is to be believed then.
pub(super) fn check(batches: &[u8], asked: Offset, next: Offset) -> Result<(), Error> {
    let is_empty = batches.is_empty();
    if next < asked || (next == asked && !is_empty) {
        let (expected, found) = (asked, next);
        return Err(Error::Disordered { expected, found });
    }
    // The first one may begin below what was asked for.
    let (mut rest, mut end) = (batches, Offset::ZERO);
    while !rest.is_empty() {
        let Some((offsets, behind)) = first(rest) else {
            return Ok(());
        };
        if offsets.start < end {
            let (expected, found) = (end, offsets.start);
            return Err(Error::Disordered { expected, found });
        }
        (end, rest) = (offsets.end, behind);
    }
    if !is_empty && end != next {
        return Err(Error::Misplaced { next, found: end });
    }
    Ok(())
}

/// The offsets that the first batch of `bytes` says it has, and what lies behind it.
fn first(bytes: &[u8]) -> Option<(Range<Offset>, &[u8])> {
    let header = Header::parse(bytes).ok()?;
    let (_, behind) = bytes.split_at_checked(header.total_bytes())?;
    let base = u64::try_from(header.base_offset).ok()?;
    let delta = u64::try_from(header.last_offset_delta).ok()?;
    let end = base.checked_add(delta)?.checked_add(1)?;
    Some((Offset::new(base)?..Offset::new(end)?, behind))
}

#[cfg(test)]
mod tests {
    use corelog_record::batch::{Builder, Codec, patch};
    use corelog_record::{LeaderEpoch, Record};

    use super::*;

    fn offset(value: u64) -> Offset {
        Offset::new(value).unwrap()
    }

    /// A batch of three records at each of these offsets.
    fn batches(bases: [u64; 3]) -> Vec<u8> {
        let one = |base| {
            let mut builder = Builder::new(Codec::None);
            for _ in 0..3 {
                builder.append_record(&Record::default()).unwrap();
            }
            let mut batch = builder.build().unwrap();
            patch(&mut batch, offset(base), LeaderEpoch::ZERO);
            batch
        };
        bases.into_iter().flat_map(one).collect()
    }

    fn is_sound(batches: &[u8], asked: u64, next: u64) -> bool {
        check(batches, offset(asked), offset(next)).is_ok()
    }

    #[test]
    fn batches_in_order_up_to_what_is_next_are_sound_and_offsets_may_jump() {
        assert!(is_sound(&batches([0, 3, 6]), 0, 9));
        assert!(is_sound(&batches([0, 3, 6]), 2, 9), "begins below");
        assert!(is_sound(&batches([10, 13, 20]), 5, 23));
        assert!(is_sound(&[], 5, 5));
        assert!(is_sound(&[], 5, 7), "nothing but control batches");
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
    fn an_answer_goes_on_from_what_was_asked_for() {
        assert!(!is_sound(&batches([0, 3, 6]), 9, 9));
        assert!(!is_sound(&[], 5, 4));
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
