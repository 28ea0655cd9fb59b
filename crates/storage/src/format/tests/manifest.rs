//! What stands behind the last edit: nothing, torn bytes, or damage.

use super::samples;
use crate::format::Error;
use crate::format::cursor::checksum;
use crate::format::edit::Edit;
use crate::format::manifest::{EDITS_AT, Manifest};
use crate::testing::own::offset;

/// A manifest of the sample edits, and where each begins; room behind.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let mut bytes = samples::header().encode();
    let mut starts = Vec::new();
    for (edit, sequence) in samples::edits().iter().zip(1..) {
        starts.push(bytes.len());
        bytes.extend(edit.encode(sequence));
    }
    starts.push(bytes.len());
    bytes.resize(4 * 4096, 0);
    (bytes, starts)
}

#[test]
fn a_manifest_is_its_edits_one_after_the_other() {
    let (bytes, starts) = sample();
    let read = Manifest::decode(&bytes).unwrap();
    assert_eq!(read.header, samples::header());
    assert_eq!(read.edits, samples::edits());
    assert_eq!(read.end, *starts.last().unwrap());
    assert_eq!(read.torn, None);
    assert_eq!(read.next_sequence(), 13);
}

#[test]
fn a_manifest_without_edits_is_refused() {
    let mut bytes = samples::header().encode();
    for room in [0, 4096] {
        bytes.resize(EDITS_AT + room, 0);
        let read = Manifest::decode(&bytes);
        assert!(matches!(read, Err(Error::NoEdits)), "{read:?}");
    }
}

/// Any mix of old and new sectors that an interrupted write can leave of the last edit.
#[test]
fn every_remainder_of_an_interrupted_write_is_torn() {
    let (bytes, starts) = sample();
    let start = *starts.last().unwrap();
    // A long edit, at every place that it can have within a sector.
    let changes = [("key".to_owned(), Some("v".repeat(1200)))].into();
    let edit = Edit::Settings(crate::format::edit::Settings { changes });
    for shift in (0..512).step_by(16) {
        let mut old = bytes.clone();
        let mut at = start;
        let mut sequence = 13;
        while at % 512 != shift {
            let filler = Edit::Generation(crate::format::edit::Generation {
                base: offset(200),
                generation: sequence,
            });
            let frame = filler.encode(sequence);
            old[at..at + frame.len()].copy_from_slice(&frame);
            at += frame.len();
            sequence += 1;
        }
        let frame = edit.encode(sequence);
        let sectors = at / 512..(at + frame.len()).div_ceil(512);
        let mut new = old.clone();
        new[at..at + frame.len()].copy_from_slice(&frame);
        for mix in 0..1_usize << sectors.len() {
            let mut bytes = old.clone();
            for (number, sector) in sectors.clone().enumerate() {
                if mix & (1 << number) != 0 {
                    let range = sector * 512..(sector + 1) * 512;
                    bytes[range.clone()].copy_from_slice(&new[range]);
                }
            }
            let read = Manifest::decode(&bytes).unwrap();
            if bytes == new {
                assert_eq!(read.edits.last(), Some(&edit));
                assert_eq!(read.torn, None);
            } else {
                assert_eq!(read.end, at);
                assert_eq!(read.torn.is_some(), bytes != old, "mix {mix:b}");
                assert!(read.torn.is_none_or(|torn| torn.start == at));
            }
        }
    }
}

#[test]
fn an_edit_that_rotted_before_others_is_damage() {
    let (bytes, starts) = sample();
    for pair in starts.windows(2).take(10) {
        for at in pair[0]..pair[1] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            let read = Manifest::decode(&bytes);
            let position = pair[0] as u64;
            assert!(
                matches!(read, Err(Error::DamagedEdits { position: p, .. }) if p == position),
                "byte {at}: {read:?}"
            );
        }
    }
}

#[test]
fn an_edit_that_vanished_before_others_is_damage() {
    let (bytes, starts) = sample();
    for pair in starts.windows(2).take(10) {
        let mut bytes = bytes.clone();
        bytes[pair[0]..pair[1]].fill(0);
        assert!(matches!(
            Manifest::decode(&bytes),
            Err(Error::DamagedEdits { .. })
        ));
    }
}

/// It was written whole once: an interrupted write would have left a sector of it unwritten.
#[test]
fn a_last_edit_that_rotted_within_one_sector_is_damage() {
    let (bytes, starts) = sample();
    let (start, end) = (starts[11], starts[12]);
    assert_eq!(
        start / 512,
        (end - 1) / 512,
        "the last edit lies within one sector"
    );
    for at in start..end {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        assert!(
            matches!(Manifest::decode(&bytes), Err(Error::DamagedEdits { .. })),
            "byte {at}"
        );
    }
}

#[test]
fn bytes_far_behind_the_last_edit_are_damage() {
    let (mut bytes, _) = sample();
    let last = bytes.len() - 1;
    bytes[last] = 1;
    assert!(matches!(
        Manifest::decode(&bytes),
        Err(Error::DamagedEdits { .. })
    ));
}

#[test]
fn an_edit_out_of_sequence_is_refused() {
    let (mut bytes, starts) = sample();
    let again = samples::edits()[1].encode(2);
    let end = *starts.last().unwrap();
    bytes[end..end + again.len()].copy_from_slice(&again);
    let read = Manifest::decode(&bytes);
    assert!(
        matches!(
            read,
            Err(Error::Field {
                field: "sequence",
                found: 2,
                ..
            })
        ),
        "{read:?}"
    );
}

#[test]
fn an_edit_of_an_unknown_kind_is_refused() {
    let (mut bytes, starts) = sample();
    let at = *starts.last().unwrap();
    let mut frame = samples::edits()[1].encode(13);
    frame[4] = 99;
    let body_bytes = usize::from(frame[0]);
    let crc = checksum(&frame[..12], &frame[16..16 + body_bytes]);
    frame[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes[at..at + frame.len()].copy_from_slice(&frame);
    let read = Manifest::decode(&bytes);
    assert!(
        matches!(
            read,
            Err(Error::UnknownEdit {
                sequence: 13,
                kind: 99
            })
        ),
        "{read:?}"
    );
}

#[test]
fn an_edit_that_contradicts_the_others_is_refused() {
    let (mut bytes, starts) = sample();
    let at = *starts.last().unwrap();
    let frame = Edit::Add(samples::point(100).into()).encode(13);
    bytes[at..at + frame.len()].copy_from_slice(&frame);
    assert!(matches!(
        Manifest::decode(&bytes),
        Err(Error::Inconsistent { sequence: 13, .. })
    ));
}
