//! Tests of what is remembered of repairs.

use corelog_protocol::error::ErrorCode;

use super::*;
use crate::core::tests;

fn key() -> PartitionKey {
    tests::key(1, 0)
}

fn at(offset: u64) -> Offset {
    Offset::new(offset).unwrap()
}

/// A segment whose files were the log's own before, and are again.
pub(in crate::follow) fn replaced(base: u64) -> Put {
    let replaced = Replaced {
        base: at(base),
        bytes: 1,
        from: String::new(),
        took_ms: 1,
    };
    (replaced, 0)
}

/// For how many seconds no repair of the partition begins by itself.
fn rest_of(repairs: &Repairs) -> Option<u64> {
    let (by_key, now) = (repairs.by_key.borrow(), rt::now());
    let repairing = by_key.get(&key())?;
    let each = repairing.lately.values().map(Again::rests_until);
    let each = each.chain(repairing.resting.values().copied());
    let until = each.chain(repairing.rests_until).max()?;
    let left = until.saturating_duration_since(now);
    (!left.is_zero()).then(|| (left + Duration::from_millis(500)).as_secs())
}

/// All that rests has rested, as if time had passed.
fn wake(repairs: &Repairs) {
    let mut by_key = repairs.by_key.borrow_mut();
    let repairing = by_key.entry(key()).or_default();
    repairing.rests_until = None;
    repairing.resting.clear();
    for again in repairing.lately.values_mut() {
        again.at -= rest(again.count);
    }
}

/// A round that begins by itself, and replaces these.
fn round(repairs: &Repairs, met: Option<u64>, bases: &[u64]) {
    assert!(repairs.begin(key(), met.map(at), false));
    let replaced: Vec<_> = bases.iter().copied().map(replaced).collect();
    repairs.end(key(), &replaced, true);
}

/// The next round would have fetched what is sound by now, and moved it to quarantine.
#[test]
fn what_was_met_again_while_it_was_replaced_is_not_repaired_once_more() {
    let repairs = Repairs::default();
    assert!(repairs.begin(key(), Some(at(5)), false));
    assert_eq!(repairs.take_met(key()), BTreeSet::from([at(5)]));
    assert!(!repairs.begin(key(), Some(at(5)), false));
    assert!(!repairs.begin(key(), Some(at(9)), false));
    repairs.end(key(), &[replaced(5)], true);
    assert_eq!(repairs.count(key()), 1);
    assert_eq!(repairs.take_met(key()), BTreeSet::from([at(9)]));
}

/// On a disk that keeps nothing each round would fetch anew what readers once met.
#[test]
fn what_readers_met_while_none_began_is_asked_for_by_one_round() {
    let repairs = Repairs::default();
    assert!(repairs.begin(key(), None, false));
    for _ in 0..3 {
        assert!(!repairs.begin(key(), Some(at(9)), false));
    }
    repairs.end(key(), &[], true);
    for asks in [true, false] {
        assert!(repairs.begin(key(), None, false));
        assert_eq!(!repairs.take_met(key()).is_empty(), asks);
        repairs.end(key(), &[], true);
    }
}

#[test]
fn a_round_that_replaces_something_is_no_failure() {
    let repairs = Repairs::default();
    for rest in [5, 10, 20] {
        wake(&repairs);
        assert!(repairs.begin(key(), None, false));
        repairs.end(key(), &[], false);
        assert_eq!(rest_of(&repairs), Some(rest));
        assert!(!repairs.begin(key(), None, false), "it rests");
    }
    assert!(repairs.begin(key(), None, true));
    repairs.end(key(), &[replaced(5)], false);
    assert_eq!(rest_of(&repairs), None);
    assert!(
        repairs.begin(key(), None, false),
        "there is more to replace"
    );
    repairs.end(key(), &[], false);
    assert_eq!(rest_of(&repairs), Some(5));
}

/// A disk that gave it only from its cache had the segment fetched, and the old store put into quarantine, as often as
/// it was read.
#[test]
fn a_segment_that_has_to_be_replaced_again_and_again_rests_in_between() {
    let repairs = Repairs::default();
    round(&repairs, None, &[5]);
    round(&repairs, None, &[9]);
    assert_eq!(rest_of(&repairs), None);
    for (again, rest) in [(5, 5), (9, 5), (5, 10), (5, 20)] {
        round(&repairs, None, &[again]);
        assert_eq!(rest_of(&repairs), Some(rest));
        assert!(!repairs.begin(key(), Some(at(again)), false), "it rests");
        wake(&repairs);
    }
    let mut by_key = repairs.by_key.borrow_mut();
    let repairing = by_key.get_mut(&key()).unwrap();
    let later = rt::now() + LATELY;
    repairing.note_replaced(at(5), 0, later);
    assert_eq!(repairing.lately[&at(5)].count, 0, "long ago");
}

/// One more than the last generation that there is was reckoned, which overflows.
#[test]
fn nothing_follows_on_a_segment_that_was_replaced_with_the_last_generation() {
    let repairs = Repairs::default();
    let at_of = |generation, next| {
        assert!(repairs.begin(key(), None, true));
        let (one, _) = replaced(5);
        repairs.end(key(), &[(one, generation)], true);
        repairs.replaced_at(key(), at(5), next)
    };
    assert!(at_of(u32::MAX, 0).is_none());
    assert!(at_of(u32::MAX - 1, u32::MAX).is_some());
}

/// Each round of another one that had not been replaced before ended its rest: it was fetched anew, and its store went
/// to quarantine, which nothing empties.
#[test]
fn what_other_segments_are_replaced_ends_no_rest_of_one() {
    let repairs = Repairs::default();
    round(&repairs, Some(5), &[5]);
    round(&repairs, Some(5), &[5]);
    assert!(!repairs.begin(key(), Some(at(5)), false), "it rests");
    round(&repairs, Some(7), &[7]);
    assert!(!repairs.begin(key(), Some(at(5)), false));
    assert!(!repairs.begin(key(), None, false), "it may be known");
    wake(&repairs);
    round(&repairs, None, &[5, 9]);
    assert_eq!(
        rest_of(&repairs),
        Some(10),
        "along with one for the first time"
    );
    assert!(!repairs.begin(key(), Some(at(5)), false));
    assert!(repairs.begin(key(), Some(at(9)), false));
}

/// The round of another one replaced it along.
#[test]
fn a_segment_that_rests_is_left_out_of_a_round_unless_an_operator_asked_for_it() {
    let repairs = Repairs::default();
    round(&repairs, Some(5), &[5]);
    round(&repairs, Some(5), &[5]);
    assert!(!repairs.begin(key(), Some(at(5)), false), "it rests");
    assert!(repairs.begin(key(), Some(at(9)), false));
    assert!(repairs.leaves_out(key(), at(5)));
    assert!(!repairs.leaves_out(key(), at(9)));
    assert_eq!(repairs.take_met(key()), BTreeSet::from([at(9)]));
    repairs.end(key(), &[replaced(9)], true);
    assert!(repairs.begin(key(), None, true));
    assert!(!repairs.leaves_out(key(), at(5)));
    assert_eq!(repairs.take_met(key()), BTreeSet::from([at(5)]));
}

/// What replaced a segment once more did not end the row, so the next one that failed rested for what had failed before.
#[test]
fn a_round_that_replaces_a_segment_again_ends_the_row_of_those_that_failed() {
    let repairs = Repairs::default();
    round(&repairs, None, &[5]);
    for _ in 0..3 {
        assert!(repairs.begin(key(), None, false));
        repairs.end(key(), &[], false);
        wake(&repairs);
    }
    round(&repairs, None, &[5]);
    wake(&repairs);
    assert!(repairs.begin(key(), None, false));
    repairs.end(key(), &[], false);
    assert_eq!(rest_of(&repairs), Some(5));
}

/// Who read one that had come a second time waited for up to a minute, as another one did not stay.
#[test]
fn a_segment_that_was_replaced_rests_as_often_as_itself_was() {
    let repairs = Repairs::default();
    for base in [9, 5, 5, 5, 5] {
        wake(&repairs);
        round(&repairs, None, &[base]);
    }
    assert_eq!(rest_of(&repairs), Some(20));
    assert!(!repairs.begin(key(), None, false));
    assert!(!repairs.begin(key(), Some(at(5)), false));
    assert!(repairs.begin(key(), Some(at(9)), false));
}

/// A round that asks for these in vain, of whom sources have none if they answer.
fn round_in_vain(repairs: &Repairs, met: Option<u64>, bases: &[u64], is_answered: bool) {
    assert!(repairs.begin(key(), met.map(at), false));
    repairs.take_met(key());
    for base in bases {
        repairs.note_asked(key(), at(*base));
    }
    for base in bases.iter().filter(|_| is_answered) {
        repairs.note_lacked(key(), at(*base));
    }
    repairs.end(key(), &[], false);
}

/// What a disk does not give of one segment had all that it did not give of the others wait for up to a minute, or, of a
/// scrub, for its next pass.
#[test]
fn what_no_source_has_rests_alone_and_where_none_answers_all_does() {
    let repairs = Repairs::default();
    round_in_vain(&repairs, Some(5), &[5, 6], true);
    for rests in [Some(5), Some(6), None] {
        assert!(!repairs.begin(key(), rests.map(at), false), "{rests:?}");
    }
    assert!(repairs.begin(key(), Some(at(9)), false));
    assert!(repairs.leaves_out(key(), at(6)));
    assert_eq!(repairs.take_met(key()), BTreeSet::from([at(9)]));
    repairs.end(key(), &[replaced(9)], true);
    assert!(!repairs.begin(key(), Some(at(5)), false), "it rests still");
    let rests_until = || repairs.by_key.borrow()[&key()].resting[&at(5)];
    let until = rests_until();
    round_in_vain(&repairs, Some(8), &[8], true);
    assert_eq!(rest_of(&repairs), Some(10));
    assert_eq!(rests_until(), until, "no longer for another one");
    for rests in [Some(5), Some(8), None] {
        assert!(!repairs.begin(key(), rests.map(at), false), "{rests:?}");
    }
    round_in_vain(&repairs, Some(7), &[7], false);
    assert!(!repairs.begin(key(), Some(at(9)), false), "nobody answers");
    wake(&repairs);
    round_in_vain(&repairs, Some(5), &[5], true);
    assert!(repairs.begin(key(), Some(at(7)), false));
}

/// It was waited for again in each partition, and in each round.
#[test]
fn a_source_that_failed_a_moment_ago_is_asked_behind_the_others() {
    let repairs = Repairs::default();
    let sources = ["a", "b", "c"].map(str::to_owned);
    assert_eq!(repairs.ranked(&sources), sources);
    repairs.note_failed("a");
    assert_eq!(repairs.ranked(&sources), ["b", "c", "a"]);
    repairs.note_failed("b");
    repairs.note_failed("c");
    assert_eq!(repairs.ranked(&sources), sources);
}

/// What refused one partition for good was asked behind a silent one for all others.
#[test]
fn a_source_that_has_nothing_of_one_partition_is_not_asked_behind_the_others_for_the_next() {
    let repairs = Repairs::default();
    let sources = ["a", "b", "c"].map(str::to_owned);
    for code in [ErrorCode::UnknownPartition, ErrorCode::NotOwner] {
        repairs.note_untold("a", &ErrorBody::new(code, ""));
    }
    assert_eq!(repairs.ranked(&sources), sources);
    let silent = ErrorBody::new(ErrorCode::SourceUnavailable, "");
    repairs.note_untold("a", &silent);
    assert_eq!(repairs.ranked(&sources), ["b", "c", "a"]);
}

#[test]
fn a_segment_that_rests_keeps_no_other_one_from_being_repaired() {
    let repairs = Repairs::default();
    for _ in 0..2 {
        assert!(repairs.begin(key(), Some(at(5)), false));
        repairs.end(key(), &[replaced(5)], true);
    }
    assert!(!repairs.begin(key(), Some(at(5)), false), "it rests");
    assert!(repairs.begin(key(), Some(at(9)), false));
    repairs.end(key(), &[], false);
    assert!(
        !repairs.begin(key(), Some(at(9)), false),
        "nobody had a sound one"
    );
}

#[test]
fn a_round_that_an_operator_asked_for_does_not_put_off_the_next() {
    let repairs = Repairs::default();
    assert!(repairs.begin(key(), None, true));
    repairs.end(key(), &[], false);
    assert_eq!(rest_of(&repairs), None);
    assert!(repairs.begin(key(), None, false));
    repairs.end(key(), &[], false);
    for _ in 0..3 {
        assert!(repairs.begin(key(), None, true));
        repairs.end(key(), &[], false);
        assert_eq!(rest_of(&repairs), Some(5));
    }
}
