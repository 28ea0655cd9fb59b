//! Some thousands of inputs for each target: what libFuzzer does for hours, in seconds.

use super::{TARGETS, Target, recovery};
use crate::log::OpenReport;

/// How many changed inputs each target gets; those that open a log are slow.
fn rounds(target: &Target) -> usize {
    match target.name {
        "recovery" => 2_000,
        "store" => 20_000,
        _ => 60_000,
    }
}

#[test]
fn no_input_breaks_a_law() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(
            !seeds.is_empty(),
            "{} has inputs to begin with",
            target.name
        );
        for seed in &seeds {
            (target.run)(seed);
        }
        (target.run)(&[]);
        let mut random = fastrand::Rng::with_seed(0x00c0_1e10);
        for _ in 0..rounds(&target) {
            let mut input = seeds[random.usize(..seeds.len())].clone();
            for _ in 0..random.usize(1..5) {
                change(&mut input, &mut random);
            }
            (target.run)(&input);
        }
    }
}

/// Else nothing would be behind what is tried.
#[test]
fn the_logs_to_begin_with_hold_what_was_appended() {
    for image in recovery::images() {
        assert_eq!(image.count(), 24);
        assert!(!image.file(".index").is_empty());
    }
}

/// The last store was emptied, and the one before it damaged where nothing leads on: the log was to be
/// read-only, but the empty store stayed its last one, and opening it ended the process.
#[test]
fn a_log_is_read_only_also_before_an_empty_store() {
    let changes = [
        3, 3, 48, 48, 48, 48, 48, 48, 48, 13, 13, 13, 13, 13, 13, 48, 48, 48, 48, 48, 48, 48, 48,
        48, 48, 48, 52, 50, 46, 105, 110, 100, 101, 120, 0, 20, 6, 4, 2, 30,
    ];
    assert!(recover(0, &changes).is_read_only);
}

/// A mark was cut behind its magic number. The next slot was written behind it, which filled up the
/// cut one with zeros: it had version 0 then, and the log was refused for ever.
#[test]
fn a_mark_that_was_cut_within_its_first_words_keeps_no_log_from_opening() {
    let torn = recover(38, &[17, 109, 16, 16, 16, 255, 0, 8]).torn.unwrap();
    assert_eq!(torn.bytes_since_mark, torn.position.get(), "it has no mark");
}

/// A log was read-only, so no chain was known behind the last row; a rotten header there counted more
/// records than the log has. The batch was taken for one that nobody may read yet: reads ended before
/// it, again and again, and nobody was told why.
#[test]
fn a_read_below_the_end_moves_on_or_says_why_not() {
    let changes = [
        0, 0, 48, 48, 18, 48, 48, 48, 52, 50, 46, 108, 111, 103, 9, 9, 124, 1, 0, 0, 0, 5, 0, 0, 0,
        180, 180, 48, 48, 48, 48, 18, 48, 48, 48, 52, 50, 46, 108, 111, 103, 9, 9, 1, 20, 180, 180,
        180, 180, 5, 5, 48,
    ];
    recover(16, &changes);
}

/// A store had been cut to its length by a clean stop, less than a block, its mark was gone and its first
/// epoch rotten. Its bytes were told as torn and cut, but those of a block that is not whole stayed; the
/// next opening began the epoch that they carried, and served them.
#[test]
fn what_was_cut_of_a_block_that_is_not_whole_does_not_come_back() {
    let changes = [
        237, 49, 49, 49, 49, 64, 49, 49, 57, 49, 49, 49, 49, 49, 113, 49, 49, 49, 49, 49, 49, 49,
        49, 49, 49, 49, 49, 49, 49, 49, 0, 20, 1, 9, 2, 1, 2, 2, 30, 30,
    ];
    let torn = recover(49, &changes).torn.unwrap();
    assert_eq!(torn.position.get(), 0, "all of the store");
    assert!(torn.bytes < 4096, "less than a block");
}

/// A log was read-only, so no chain was known behind its damage, and the batch behind the bad one had a
/// rotten base offset: it was believed where it said it was, and served there.
#[test]
fn a_batch_behind_damage_is_where_the_bad_one_says_or_not_believed() {
    let changes = [
        9, 0, 0, 1, 0, 0, 0, 0, 2, 255, 255, 255, 255, 30, 43, 0, 255, 186, 255, 3, 20, 255, 10, 2,
        30, 0, 16, 186, 186, 255, 255, 255, 255, 255, 255, 186, 186, 186, 186, 186, 186, 186, 255,
        3, 186, 186, 186, 186, 186, 186, 186, 186, 186, 186, 186, 186, 84, 186, 186, 186,
    ];
    assert!(recover(1, &changes).is_read_only);
}

/// The last batch of a store had a rotten header that counted a record too many, and an empty store began
/// behind it: the log ended in two places, and opening it ended the process.
#[test]
fn a_log_ends_where_its_empty_store_begins_whatever_a_bad_batch_counts() {
    let changes = [
        242, 6, 253, 4, 85, 85, 85, 85, 85, 18, 18, 18, 18, 85, 9, 0, 77, 0, 77, 76, 76, 77, 76,
        77, 0, 51, 77, 0, 20, 63, 100, 76, 77, 76, 77, 0, 51, 77, 0, 20, 77, 76, 76, 76, 76, 77,
        76, 77, 0, 76, 76, 77, 76, 77, 0, 20, 2, 9, 77, 77, 4, 85, 2, 30,
    ];
    recover(1, &changes);
}

/// A mark was cut within a version that had rotted. The cut slot was passed over, until the other one was
/// written: with the zeros that came between, it was one of a later version, and the log opened no more.
#[test]
fn a_cut_mark_says_the_same_before_and_after_it_is_written() {
    let changes = [
        6, 1, 1, 31, 16, 127, 0, 31, 6, 87, 83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 87, 87, 87, 31, 6,
        87, 255, 255,
    ];
    recover(6, &changes);
}

/// Opens an image of a log after the `changes`, four bytes each. One that is refused by now tells nothing any more of what
/// it was kept for.
fn recover(image: u8, changes: &[u8]) -> OpenReport {
    let opened = recovery::opened(&[[image].as_slice(), changes].concat());
    opened.expect("the log opens")
}

#[test]
fn each_target_has_its_own_name() {
    for target in TARGETS {
        assert_eq!(super::target(target.name).run as usize, target.run as usize);
    }
}

/// Changes a place of `input` in one of many ways.
pub(crate) fn change(input: &mut Vec<u8>, random: &mut fastrand::Rng) {
    if input.is_empty() {
        input.push(random.u8(..));
    }
    let at = random.usize(..input.len());
    match random.u8(..8) {
        0 | 1 => input[at] ^= 1 << random.u8(..8),
        2 => input[at] = random.u8(..),
        3 => input[at] = random.choice([0, 1, 0x7f, 0x80, 0xff]).unwrap_or(0),
        4 => input.truncate(at),
        5 => input.insert(at, random.u8(..)),
        6 => {
            let from = random.usize(..input.len());
            let len = random.usize(..=input.len() - at.max(from));
            input.copy_within(from..from + len, at);
        }
        _ => {
            let bound = random
                .choice([u32::MAX, 1 << 31, 65_536, 4080, 0])
                .unwrap_or(0);
            let end = (at + 4).min(input.len());
            input[at..end].copy_from_slice(&bound.to_le_bytes()[..end - at]);
        }
    }
}
