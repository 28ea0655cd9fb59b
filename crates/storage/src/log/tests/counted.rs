//! Files that count what no log has: whoever has a directory may change it, checksums and all. None of them ends the process.

use corelog_record::batch::{Batches, View, patch};
use corelog_record::{ByteSize, Chain, LeaderEpoch, Offset, Ordinal, Position};

use super::recovery::{STORE, change, reopen, scribble};
use super::{at, offset, small};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, Open, block_on};
use crate::format::edit::{Edit, Epoch, Point};
use crate::format::mark::{SLOT_BYTES, Slot};
use crate::log::{Options, UNSYNCED_BYTES_MAX};
use crate::testing::own::{fill, last_but_one, manifest};
use crate::testing::{batch, flush, open, read_all, run, settle};
use crate::{Error, format};

/// A log of `batches` batches in some segments, closed or killed.
fn made(batches: usize, is_closed: bool) -> MemoryDir {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, batches, 1_000);
    settle(&mut log, at(0)).unwrap();
    if is_closed {
        block_on(log.close(at(1))).unwrap();
    }
    root
}

/// Makes both slots of the mark say something else.
fn bend_mark(root: &MemoryDir, bend: impl Fn(Slot) -> Slot) {
    change(root, "mark", |bytes| {
        for bytes in bytes.chunks_mut(SLOT_BYTES) {
            if let Ok(slot) = Slot::decode(bytes) {
                bytes.copy_from_slice(&bend(slot).encode());
            }
        }
    });
}

/// All that was appended is there, and the log is opened, appended to, sealed and opened again.
fn assert_whole(root: &MemoryDir, batches: usize) {
    let (mut log, report) = reopen(root);
    assert_eq!(report.damage, []);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), batches);
    fill(&mut log, 40, 1_000);
    settle(&mut log, at(2)).unwrap();
    block_on(log.close(at(3))).unwrap();
    let (log, _) = reopen(root);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), batches + 40);
}

/// The batch behind the last that can be counted ended each start of the node.
#[test]
fn a_mark_of_more_batches_than_records_is_passed_over() {
    for is_closed in [false, true] {
        for ordinal in [Ordinal::MAX, last_but_one()] {
            let root = made(5, is_closed);
            bend_mark(&root, |slot| Slot {
                position: Position::ZERO,
                offset: slot.segment,
                ordinal,
                ..slot
            });
            assert_whole(&root, 5);
        }
    }
}

/// A segment was to be sealed that ended before its first batch, or had records and no batch.
#[test]
fn a_mark_that_counts_otherwise_than_the_manifest_is_not_believed() {
    for is_closed in [false, true] {
        for counted in [0, 14, 15] {
            let root = made(17, is_closed);
            let (log, _) = open(&root, small(), 2, at(1)).unwrap();
            let active = log.segments().last().unwrap().base;
            assert_eq!((active, log.log_end()), (offset(15), offset(17)));
            drop(log);
            let root = made(17, is_closed);
            bend_mark(&root, |slot| Slot {
                ordinal: Ordinal::new(counted).unwrap(),
                ..slot
            });
            assert_whole(&root, 17);
        }
    }
}

/// The next segment did not begin where the log ended.
#[test]
fn the_mark_of_a_log_without_segments_is_not_believed_where_the_manifest_counts_otherwise() {
    let root = made(17, true);
    let (mut log, _) = reopen(&root);
    let plan = log.plan_truncate(offset(17)).unwrap().unwrap();
    run(&mut log, plan, at(2)).unwrap();
    settle(&mut log, at(2)).unwrap();
    block_on(log.close(at(3))).unwrap();
    bend_mark(&root, |slot| Slot {
        ordinal: Ordinal::new(3).unwrap(),
        ..slot
    });
    let (mut log, _) = reopen(&root);
    fill(&mut log, 40, 1_000);
    settle(&mut log, at(4)).unwrap();
    assert_eq!(log.log_end(), offset(57));
}

#[test]
fn a_manifest_of_more_batches_than_records_opens_no_log() {
    for ordinal in [Ordinal::MAX, last_but_one()] {
        let root = made(5, false);
        let dir = root.child("p0");
        let (header, state) = block_on(crate::manifest::read(&dir)).unwrap();
        let start = Point {
            ordinal,
            ..state.segments()[0].start()
        };
        let edits = [Edit::Restart(start), Edit::Add(start.into())];
        change(&root, "manifest", |bytes| {
            *bytes = manifest(&header, &edits);
        });
        block_on(dir.remove("mark")).unwrap();
        let refused = open(&root, small(), 2, at(1)).unwrap_err();
        let is_typed = matches!(
            &refused,
            Error::Format {
                source: format::Error::Inconsistent { .. },
                ..
            }
        );
        assert!(is_typed, "{refused:?}");
    }
}

/// A log whose first batch has the last offset that there is.
fn ending(behind: &[u8]) -> MemoryDir {
    let root = made(1, false);
    let dir = root.child("p0");
    let (header, _) = block_on(crate::manifest::read(&dir)).unwrap();
    let base = offset(Offset::MAX.get() - 1);
    let start = Point {
        offset: base,
        ordinal: Ordinal::ZERO,
        chain: Chain::seed(header.history),
    };
    let edits = [Edit::Restart(start), Edit::Add(start.into())];
    change(&root, "manifest", |bytes| {
        *bytes = manifest(&header, &edits);
    });
    let mut bytes = block_on(dir.read(STORE, 1 << 20)).unwrap();
    let length = Batches::over(&bytes).next().unwrap().unwrap().len();
    bytes.truncate(length);
    patch(&mut bytes, base, LeaderEpoch::ZERO);
    assert_eq!(View::verify(&bytes).unwrap().next_offset(), Offset::MAX);
    bytes.extend_from_slice(behind);
    for name in [STORE, "mark"] {
        block_on(dir.remove(name)).unwrap();
    }
    let name = crate::segment::name::store(base, 0);
    block_on(dir.open(&name, Open::Create)).unwrap();
    scribble(&root, &name, 0, &bytes);
    root
}

/// Damage behind the last offset was to end one further.
#[test]
fn damage_behind_the_last_offset_makes_a_log_read_only() {
    let root = ending(&vec![b'x'; UNSYNCED_BYTES_MAX + 1]);
    let options = Options {
        segment_bytes_max: ByteSize::from_mib(64),
        ..small()
    };
    let (log, report) = open(&root, options, 2, at(1)).unwrap();
    assert!(report.is_read_only);
    assert_eq!(log.log_end(), Offset::MAX);
    assert_eq!(read_all(&log, log.log_start()).unwrap().len(), 1);
    let found = block_on(log.plan_find_time(at(9), Offset::MAX).run());
    assert_eq!(found.ok(), Some(None));
}

/// A number as it is, or one that somebody wrote there.
fn any(number: u64, random: &mut fastrand::Rng) -> u64 {
    match random.u8(..8) {
        0 => u64::from(random.u8(..40)),
        1 => number.saturating_add(1),
        2 => number.saturating_sub(1),
        3 => Offset::MAX.get() - u64::from(random.u8(..4)),
        _ => number,
    }
}

fn any_point(point: Point, random: &mut fastrand::Rng) -> Point {
    Point {
        offset: offset(any(point.offset.get(), random).min(Offset::MAX.get())),
        ordinal: any_ordinal(point.ordinal, random),
        ..point
    }
}

fn any_ordinal(ordinal: Ordinal, random: &mut fastrand::Rng) -> Ordinal {
    Ordinal::new(any(ordinal.get(), random)).unwrap_or(Ordinal::MAX)
}

/// The same edit of a log that counts otherwise.
fn any_edit(edit: Edit, random: &mut fastrand::Rng) -> Edit {
    match edit {
        Edit::Add(add) => Edit::Add(any_point(add.into(), random).into()),
        Edit::Restart(point) => Edit::Restart(any_point(point, random)),
        Edit::Epoch(epoch) => Edit::Epoch(Epoch {
            ordinal: any_ordinal(epoch.ordinal, random),
            ..epoch
        }),
        Edit::Seal(mut seal) => {
            let end = any_point(seal.digest.end(), random);
            let digest = &mut seal.digest;
            digest.ordinal = any_ordinal(digest.ordinal, random);
            (digest.end, digest.end_ordinal) = (end.offset, end.ordinal);
            let batches = end.ordinal.checked_since(digest.ordinal);
            digest.batches = batches.unwrap_or(digest.batches);
            Edit::Seal(seal)
        }
        other => other,
    }
}

/// Whatever a manifest and a mark count, a log is opened or refused, and what is opened goes on.
#[test]
fn no_number_of_a_manifest_or_a_mark_ends_the_process() {
    let mut random = fastrand::Rng::with_seed(5);
    let (mut opened, mut refused) = (0, 0);
    for round in 0..600 {
        let root = made(random.usize(1..40), random.bool());
        let (header, state) = block_on(crate::manifest::read(&root.child("p0"))).unwrap();
        if random.bool() {
            let edits = state.edits().into_iter();
            let edits: Vec<_> = edits.map(|edit| any_edit(edit, &mut random)).collect();
            change(&root, "manifest", |bytes| {
                *bytes = manifest(&header, &edits);
            });
        }
        let seed = random.u64(..);
        bend_mark(&root, |slot| {
            let mut random = fastrand::Rng::with_seed(seed);
            let place = Point {
                offset: slot.offset,
                ordinal: slot.ordinal,
                chain: slot.chain,
            };
            let place = any_point(place, &mut random);
            let position = any(slot.position.get(), &mut random).max(1);
            Slot {
                offset: place.offset,
                ordinal: place.ordinal,
                position: Position::new(position).unwrap_or(Position::MAX),
                ..slot
            }
        });
        let Ok((mut log, _)) = open(&root, small(), round, at(1)) else {
            refused += 1;
            continue;
        };
        opened += 1;
        let _damaged = read_all(&log, log.log_start());
        let _damaged = block_on(log.plan_find_time(at(0), Offset::MAX).run());
        for _ in 0..40 {
            // A log that is read-only, or has no number left, says so.
            let _refused = log.append(&batch(&[&[7; 1_000]], at(1)), at(1));
            flush(&mut log, at(1)).unwrap();
        }
        settle(&mut log, at(2)).unwrap();
        let _damaged = read_all(&log, log.log_start());
        drop(log);
        let _refused = open(&root, small(), round, at(3));
    }
    assert!(100 < opened, "{opened}");
    assert!(100 < refused, "{refused}");
}
