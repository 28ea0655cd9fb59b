//! What comes in, in whatever pieces, from whomever.

use std::io::ErrorKind;

use super::*;
use crate::disk::faulty::{Fault, FaultyDir, Match, Operation};
use crate::intake::Left;
use crate::log::CallOff;
use crate::testing::own::last_but_one;

#[test]
fn a_segment_comes_in_whatever_its_pieces_and_is_the_file_that_was_sent() {
    let source = Source::new(25);
    for piece in [1, 61, 4_096, 5_000, 1 << 20] {
        let root = MemoryDir::new();
        copy(&root, &source);
        let ready = block_on(receive(&root, &source, 1, piece)).unwrap();
        assert_eq!(&ready.seal, &source.sealed[1].1);
        let stored = block_on(root.child("p0").read(&ready.partial, 1 << 20)).unwrap();
        assert_eq!(stored, source.bytes(1), "in pieces of {piece}");
        let index = name::index(ready.base(), 0);
        let made = block_on(root.child("p0").read(&index, 1 << 20)).unwrap();
        let original = block_on(source.root.child("p0").read(&index, 1 << 20)).unwrap();
        assert_eq!(made, original, "the index is made from the batches");
    }
}

#[test]
fn epochs_that_begin_within_a_segment_are_met_at_their_batch() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let mut met = Vec::new();
    for number in 0..source.sealed.len() {
        met = block_on(receive(&root, &source, number, 5_000))
            .unwrap()
            .epochs;
    }
    let of: Vec<_> = met
        .iter()
        .map(|epoch| (epoch.epoch, epoch.lineage, epoch.offset))
        .collect();
    let known: Vec<_> = source
        .epochs
        .iter()
        .map(|e| (e.epoch, e.lineage, e.offset))
        .collect();
    assert_eq!(of, known);
    let first = (0..source.sealed.len())
        .find(|number| source.sealed[*number].1.digest.end > source.epochs[1].offset)
        .unwrap();
    let ready = block_on(receive(&root, &source, first, 5_000)).unwrap();
    assert_eq!(ready.epochs[1].ordinal, source.epochs[1].ordinal);
}

#[test]
fn epochs_that_do_not_follow_each_other_are_refused_before_a_byte_came_in() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let refused = |change: &dyn Fn(&mut Vec<Began>)| {
        let mut of = source.of(1, 0);
        change(&mut of.epochs);
        let opened = block_on(Intake::open(&root.child("p0"), of, at(5)));
        matches!(opened, Err(Error::Epochs { .. }))
    };
    assert!(refused(&|epochs| epochs.reverse()));
    assert!(refused(&|epochs| epochs[0].offset = Offset::MAX));
    assert!(refused(&|epochs| epochs[0].epoch = epochs[1].epoch));
    assert!(!refused(&|_| {}));
}

/// Recovery asks of each batch for the epoch that began last by then, and held others for damage.
#[test]
fn batches_of_an_epoch_that_has_ended_by_then_are_refused() {
    let source = Source::new(0);
    let root = MemoryDir::new();
    copy(&root, &source);
    let mut of = source.of(0, 0);
    of.epochs.push(Began {
        epoch: of.epochs[0].epoch.next(),
        lineage: corelog_record::Lineage::from_bytes([7; 16]),
        offset: Offset::ZERO.plus(2),
    });
    let mut intake = block_on(Intake::open(&root.child("p0"), of, at(5))).unwrap();
    let refused = block_on(intake.push(&source.bytes(0))).unwrap_err();
    let at_third = matches!(refused, Error::Wrong { offset, .. } if offset == Offset::ZERO.plus(2));
    assert!(at_third, "{refused}");
}

#[test]
fn space_is_not_prepared_for_more_than_a_segment_can_have() {
    let source = Source::new(0);
    let root = MemoryDir::new();
    copy(&root, &source);
    let mut of = source.of(0, 0);
    of.seal.digest.bytes = 1_100 << 20;
    let opened = block_on(Intake::open(&root.child("p0"), of, at(5)));
    assert!(matches!(opened, Err(Error::Seal { .. })));
    assert_eq!(partials(&root), 0);
}

#[test]
fn a_wrong_byte_anywhere_is_refused_and_the_next_source_goes_on_before_it() {
    let source = Source::new(25);
    let sound = source.bytes(1);
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let root = MemoryDir::new();
        copy(&root, &source);
        let mut bytes = sound.clone();
        let wrong = random.usize(..bytes.len());
        bytes[wrong] ^= 1 << random.u8(..8);
        let mut intake = block_on(Intake::open(&root.child("p0"), source.of(1, 0), at(5))).unwrap();
        let mut refused = None;
        for piece in bytes.chunks(random.usize(1..6_000)) {
            if let Err(error) = block_on(intake.push(piece)) {
                refused = Some(error);
                break;
            }
        }
        let position = intake.position();
        assert!(
            position <= wrong as u64,
            "nothing behind the wrong byte {wrong} is taken"
        );
        match refused {
            Some(Error::Wrong { position: at, .. }) => assert_eq!(at.get(), position),
            // The rest of a batch that was said to be longer never came.
            None => {
                assert!(matches!(
                    block_on(intake.finish()),
                    Err(Error::Wrong { .. } | Error::Unlike { .. })
                ));
                continue;
            }
            other => panic!("{other:?}"),
        }
        let rest = usize::try_from(position).unwrap();
        block_on(intake.push(&sound[rest..])).unwrap();
        let ready = block_on(intake.finish()).unwrap();
        let stored = block_on(root.child("p0").read(&ready.partial, 1 << 20)).unwrap();
        assert_eq!(stored, sound);
    }
}

/// The one behind the last that can be counted ended the node.
#[test]
fn a_seal_of_more_batches_than_records_is_refused() {
    let source = Source::new(0);
    let mut of = source.of(1, 0);
    of.seal.digest.batches = 1;
    of.seal.digest.ordinal = last_but_one();
    of.seal.digest.end_ordinal = Ordinal::MAX;
    let root = MemoryDir::new();
    copy(&root, &source);
    let refused = block_on(Intake::open(&root.child("p0"), of, at(5)));
    assert!(matches!(refused.err(), Some(Error::Seal { .. })));
}

#[test]
fn more_batches_than_were_sealed_are_refused_at_the_first_of_them() {
    let source = Source::new(0);
    let refused_at = |change: &dyn Fn(&mut Of)| {
        let root = MemoryDir::new();
        copy(&root, &source);
        let mut of = source.of(1, 0);
        of.seal.digest.batches = 1;
        change(&mut of);
        let mut intake = block_on(Intake::open(&root.child("p0"), of, at(5))).unwrap();
        let refused = block_on(intake.push(&source.bytes(1))).unwrap_err();
        match refused {
            Error::Wrong { offset, .. } => offset,
            other => panic!("{other:?}"),
        }
    };
    let base = source.sealed[1].1.digest.base;
    let sealed = refused_at(&|of| of.seal.digest.end_ordinal = of.seal.digest.ordinal.plus(1));
    assert_eq!(sealed, base.plus(1));
    let batches = source.sealed[1].1.digest.batches;
    let ended = refused_at(&|of| {
        of.seal.digest.batches = batches;
        of.seal.digest.ordinal = Ordinal::ZERO;
        of.seal.digest.end_ordinal = Ordinal::ZERO.plus(batches);
        of.seal.digest.end = base.plus(2);
    });
    assert_eq!(ended, base.plus(2));
}

#[test]
fn what_was_left_is_verified_and_gone_on_with_wherever_it_was_cut() {
    let source = Source::new(25);
    let sound = source.bytes(2);
    let mut random = fastrand::Rng::with_seed(8);
    let mut resumed = 0;
    for _ in 0..100 {
        let root = MemoryDir::new();
        copy(&root, &source);
        let cut = random.usize(..sound.len());
        let mut intake = block_on(Intake::open(&root.child("p0"), source.of(2, 0), at(5))).unwrap();
        block_on(intake.push(&sound[..cut])).unwrap();
        block_on(intake.park()).unwrap();
        let mut intake = block_on(Intake::open(&root.child("p0"), source.of(2, 0), at(6))).unwrap();
        let position = usize::try_from(intake.position()).unwrap();
        assert_eq!(position as u64, intake.resumed_bytes());
        assert!(
            position <= cut && cut - position < 2_000,
            "{position} of {cut}: but for the last batch"
        );
        resumed += position;
        block_on(intake.push(&sound[position..])).unwrap();
        let ready = block_on(intake.finish()).unwrap();
        let stored = block_on(root.child("p0").read(&ready.partial, 1 << 20)).unwrap();
        assert_eq!(stored, sound);
        assert_eq!(partials(&root), 1);
    }
    assert!(resumed > 0);
}

#[test]
fn what_rotted_in_a_partial_file_is_asked_for_again() {
    let source = Source::new(25);
    let sound = source.bytes(2);
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..50 {
        let root = MemoryDir::new();
        copy(&root, &source);
        let dir = root.child("p0");
        let mut intake = block_on(Intake::open(&dir, source.of(2, 0), at(5))).unwrap();
        block_on(intake.push(&sound[..12_000])).unwrap();
        block_on(intake.park()).unwrap();
        let partial = files(&root)
            .into_iter()
            .find(|name| name.ends_with(".partial"))
            .unwrap();
        let bit = random.u64(..8 * 10_000);
        dir.flip(&partial, bit).unwrap();
        let mut intake = block_on(Intake::open(&dir, source.of(2, 0), at(6))).unwrap();
        let position = usize::try_from(intake.position()).unwrap();
        assert!(position as u64 <= bit / 8);
        block_on(intake.push(&sound[position..])).unwrap();
        let ready = block_on(intake.finish()).unwrap();
        assert_eq!(block_on(dir.read(&ready.partial, 1 << 20)).unwrap(), sound);
    }
}

/// The segment did not come in before an opening a day later, or much later where a clock had been ahead.
#[test]
fn a_partial_file_that_cannot_be_read_is_begun_anew() {
    let source = Source::new(25);
    let prepared = || {
        let root = MemoryDir::new();
        copy(&root, &source);
        let dir = root.child("p0");
        let mut intake = block_on(Intake::open(&dir, source.of(2, 0), at(5))).unwrap();
        block_on(intake.push(&source.bytes(2)[..10_000])).unwrap();
        block_on(intake.park()).unwrap();
        root
    };
    for operation in [Operation::Read, Operation::Len] {
        let mut failed = 0;
        for nth in 1.. {
            let root = FaultyDir::new(prepared());
            let dir = root.child("p0");
            let which = Match::on(operation, ".partial");
            root.faults()
                .fail(which, nth, Fault::Fail(ErrorKind::Other));
            let opened = block_on(Intake::open(&dir, source.of(2, 0), at(6)));
            if root.faults().is_pending() {
                break;
            }
            failed += 1;
            // The last look at its length is for the space that is prepared; one before is to outwait its writes.
            let Ok(mut intake) = opened else {
                assert_eq!((operation, nth), (Operation::Len, 3));
                continue;
            };
            assert_eq!(intake.resumed_bytes(), 0);
            block_on(intake.push(&source.bytes(2))).unwrap();
            let ready = block_on(intake.finish()).unwrap();
            let stored = block_on(dir.read(&ready.partial, 1 << 20)).unwrap();
            assert_eq!(stored, source.bytes(2));
            assert_eq!(partials(&root), 1);
        }
        assert!(failed > 0, "{operation:?}");
    }
}

/// As much as the whole segment may have stayed reserved, of each that came in vain.
#[test]
fn what_is_left_of_a_segment_takes_as_much_space_as_was_verified_of_it() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let dir = root.child("p0");
    let before = root.bytes_in_use();
    let open = || block_on(Intake::open(&dir, source.of(2, 0), at(5))).unwrap();
    let mut intake = open();
    assert!(before + 12_288 < root.bytes_in_use(), "space is prepared");
    block_on(intake.push(&source.bytes(2)[..500])).unwrap();
    block_on(intake.park()).unwrap();
    assert_eq!((partials(&root), root.bytes_in_use()), (0, before));
    let disk = FaultyDir::new(root.clone());
    let disk_dir = disk.child("p0");
    let mut intake = block_on(Intake::open(&disk_dir, source.of(2, 0), at(5))).unwrap();
    block_on(intake.push(&source.bytes(2)[..10_000])).unwrap();
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        let which = Match::on(Operation::Write, ".partial");
        disk.faults().fail(which, 1, Fault::Fail(kind));
        block_on(intake.park()).unwrap_err();
        // Until then a power cut may bring it back, which takes space here.
        block_on(dir.sync()).unwrap();
        assert_eq!((partials(&root), root.bytes_in_use()), (0, before));
        intake = block_on(Intake::open(&disk_dir, source.of(2, 0), at(5))).unwrap();
        block_on(intake.push(&source.bytes(2)[..10_000])).unwrap();
    }
    block_on(intake.park()).unwrap();
    assert_eq!(partials(&root), 1);
    assert!(root.bytes_in_use() <= before + 12_288);
    assert!(8_000 < open().resumed_bytes());
}

/// For each segment the whole directory was read, which has files of all of them.
#[test]
fn a_directory_is_read_once_for_all_segments_that_come_into_it() {
    let source = Source::new(25);
    let prepared = MemoryDir::new();
    copy(&prepared, &source);
    for number in 0..3 {
        let dir = prepared.child("p0");
        let mut intake = block_on(Intake::open(&dir, source.of(number, 0), at(5))).unwrap();
        block_on(intake.push(&source.bytes(number)[..10_000])).unwrap();
        block_on(intake.park()).unwrap();
    }
    let root = FaultyDir::new(prepared);
    let dir = root.child("p0");
    let mut left = block_on(Left::of(&dir)).unwrap();
    let bases = source.sealed[..3].iter().map(|(_, seal)| seal.digest.base);
    assert!(left.segments().eq(bases.map(|base| (base, 0))));
    let mut open = |number: usize| {
        let of = source.of(number, 0);
        let left = left.take(of.seal.digest.base, 0);
        let call_off = CallOff::default();
        block_on(Intake::open_behind(&dir, of, left, at(6), &call_off)).unwrap()
    };
    for number in 0..3 {
        assert!(0 < open(number).resumed_bytes());
    }
    assert_eq!(open(3).resumed_bytes(), 0);
    assert_eq!(root.faults().count(Operation::List), 1);
}

#[test]
fn sound_batches_that_were_not_sealed_are_refused_and_leave_nothing() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let mut of = source.of(1, 0);
    of.seal.digest.end_chain = corelog_record::Chain::from_raw(1);
    let mut intake = block_on(Intake::open(&root.child("p0"), of, at(5))).unwrap();
    block_on(intake.push(&source.bytes(1))).unwrap();
    let refused = block_on(intake.finish());
    assert!(matches!(refused, Err(Error::Unlike { .. })), "{refused:?}");
    assert_eq!(partials(&root), 0);
}

#[test]
fn what_is_discarded_leaves_nothing_to_go_on_with() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let open = || block_on(Intake::open(&root.child("p0"), source.of(1, 0), at(5))).unwrap();
    let mut intake = open();
    let bytes = source.bytes(1);
    block_on(intake.push(&bytes[..bytes.len() - 1])).unwrap();
    block_on(intake.discard()).unwrap();
    assert_eq!(partials(&root), 0);
    assert_eq!(open().resumed_bytes(), 0);
}

#[test]
fn a_batch_of_an_epoch_that_did_not_own_the_log_is_refused() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let second = source.epochs[1].offset;
    let number = source
        .sealed
        .iter()
        .position(|(_, seal)| second < seal.digest.end)
        .unwrap();
    let try_with = |epochs: Vec<Began>| {
        let of = Of {
            epochs,
            ..source.of(number, 7)
        };
        let mut intake = block_on(Intake::open(&root.child("p0"), of, at(5))).unwrap();
        let pushed = block_on(intake.push(&source.bytes(number)));
        (pushed, intake.position())
    };
    let first_only = try_with(source.began()[..1].to_vec());
    assert!(matches!(first_only.0, Err(Error::Wrong { offset, .. }) if offset == second));
    let mut later = source.began();
    later[1].offset = second.plus(2);
    assert!(matches!(try_with(later).0, Err(Error::Wrong { offset, .. }) if offset == second));
    assert!(try_with(source.began()).0.is_ok());
}

#[test]
fn a_seal_that_no_segment_has_takes_no_space() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let mut huge = source.of(1, 0);
    huge.seal.digest.bytes = 1 << 60;
    let mut empty = source.of(1, 0);
    empty.seal.digest.end = empty.seal.digest.base;
    for of in [huge, empty] {
        let refused = block_on(Intake::open(&root.child("p0"), of, at(5)));
        assert!(matches!(refused, Err(Error::Seal { .. })));
    }
    assert_eq!(partials(&root), 0);
}

#[test]
fn on_a_full_disk_what_came_in_is_kept_and_gone_on_with_later() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let dir = root.child("p0");
    root.set_capacity(Some(root.bytes_in_use() + 4_096));
    let refused = block_on(Intake::open(&dir, source.of(1, 0), at(5)));
    assert!(matches!(refused, Err(Error::Storage(ref error)) if error.is_shortage()));
    root.set_capacity(None);
    let mut intake = block_on(Intake::open(&dir, source.of(1, 0), at(5))).unwrap();
    block_on(intake.push(&source.bytes(1))).unwrap();
    // The disk fills up before the index is written.
    root.set_capacity(Some(0));
    let refused = block_on(intake.finish());
    assert!(matches!(refused, Err(Error::Storage(ref error)) if error.is_shortage()));
    root.set_capacity(None);
    let intake = block_on(Intake::open(&dir, source.of(1, 0), at(6))).unwrap();
    assert_eq!(
        intake.resumed_bytes(),
        intake.bytes(),
        "nothing is sent again"
    );
    let ready = block_on(intake.finish()).unwrap();
    assert_eq!(
        block_on(dir.read(&ready.partial, 1 << 20)).unwrap(),
        source.bytes(1)
    );
}

/// It kept all that a disk had left, and with each try what retention had let go: nobody could append.
#[test]
fn a_receive_that_a_full_disk_refuses_takes_no_space_and_loses_nothing() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let (dir, sent) = (root.child("p0"), source.bytes(1));
    let refuse = || {
        let before = root.bytes_in_use();
        root.set_capacity(Some(before + 4_096));
        let refused = block_on(Intake::open(&dir, source.of(1, 0), at(5)));
        assert!(matches!(refused, Err(Error::Storage(ref error)) if error.is_shortage()));
        drop(refused);
        root.set_capacity(None);
        assert_eq!(root.bytes_in_use(), before);
    };
    refuse();
    // Half of it is there, and of the space for the rest nothing.
    let mut intake = block_on(Intake::open(&dir, source.of(1, 0), at(5))).unwrap();
    block_on(intake.push(&sent[..10_000])).unwrap();
    block_on(intake.park()).unwrap();
    let is_partial = |name: &String| crate::intake::partial::is_partial(name);
    let partial = files(&root).into_iter().find(is_partial).unwrap();
    let file = block_on(dir.open(&partial, crate::disk::Open::Write)).unwrap();
    block_on(crate::disk::File::set_len(&file, 8_192)).unwrap();
    drop(file);
    refuse();
    let left = block_on(dir.read(&partial, 1 << 20)).unwrap();
    assert_eq!(left, sent[..8_192]);
    let lengths = corelog_record::batch::Batches::over(&sent).map(|batch| batch.unwrap().len());
    let ends = lengths.scan(0, |end, length| {
        *end += length as u64;
        Some(*end)
    });
    let verified = ends.take_while(|end| *end <= 8_192).last().unwrap();
    let intake = block_on(Intake::open(&dir, source.of(1, 0), at(6))).unwrap();
    assert_eq!(intake.resumed_bytes(), verified);
}

#[test]
fn files_that_were_given_up_are_removed_by_an_opening_a_day_later_and_not_before() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let mut intake = block_on(Intake::open(&root.child("p0"), source.of(2, 0), at(5))).unwrap();
    block_on(intake.push(&source.bytes(2)[..10_000])).unwrap();
    block_on(intake.park()).unwrap();
    let day = 24 * 60 * 60 * 1_000;
    for (now, left) in [(at(6), 1), (at(4 + day), 1), (at(5 + day), 0)] {
        let (log, report) = open(&root, follower(small()), 3, now).unwrap();
        assert!(report.quarantined.is_empty());
        drop(log);
        assert_eq!(partials(&root), left);
    }
}

/// They stayed for a day in which it was started, and for good where it was not.
#[test]
fn what_was_received_behind_a_log_that_follows_no_more_goes_with_the_next_opening() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let (mut log, _) = open(&root, small(), 3, at(2)).unwrap();
    let ready = [0, 1].map(|number| block_on(receive(&root, &source, number, 5_000)).unwrap());
    install(&mut log, ready.into()).unwrap();
    drop(log);
    // What is to repair a segment, and what would come behind the end.
    for (number, generation) in [(1, 1), (2, 0)] {
        let of = source.of(number, generation);
        let mut intake = block_on(Intake::open(&root.child("p0"), of, at(5))).unwrap();
        block_on(intake.push(&source.bytes(number)[..5_000])).unwrap();
        block_on(intake.park()).unwrap();
    }
    drop(open(&root, follower(small()), 3, at(6)).unwrap());
    assert_eq!(partials(&root), 2);
    drop(open(&root, small(), 3, at(7)).unwrap());
    assert_eq!(partials(&root), 1);
    let intake = block_on(Intake::open(&root.child("p0"), source.of(1, 1), at(8))).unwrap();
    assert!(0 < intake.resumed_bytes(), "a repair is gone on with");
}

/// They stayed until an opening a day later, as large as their segments, and each time that a source let
/// go of a segment while it came in there were more.
#[test]
fn a_log_that_begins_anew_keeps_nothing_that_was_received_of_segments_below() {
    let source = Source::new(25);
    let root = MemoryDir::new();
    copy(&root, &source);
    let (mut log, _) = open(&root, follower(small()), 3, at(2)).unwrap();
    let whole = block_on(receive(&root, &source, 0, 5_000)).unwrap();
    for number in [1, 2] {
        let of = source.of(number, 0);
        let mut intake = block_on(Intake::open(&root.child("p0"), of, at(5))).unwrap();
        block_on(intake.push(&source.bytes(number)[..10_000])).unwrap();
        block_on(intake.park()).unwrap();
    }
    let start = source.sealed[2].1.digest.start();
    let plan = log.plan_adopt(identity().history, start).unwrap();
    run(&mut log, plan, at(9)).unwrap();
    assert_eq!(partials(&root), 1);
    assert!(!files(&root).iter().any(|name| name::is_index(name)));
    // Whoever received it may still come with it.
    let late = log.plan_install(vec![whole], at(9));
    assert!(
        matches!(late, Err(crate::Error::NotNext { .. })),
        "{late:?}"
    );
    // What the log goes on with is gone on with.
    let intake = block_on(Intake::open(&root.child("p0"), source.of(2, 0), at(6))).unwrap();
    assert!(0 < intake.resumed_bytes());
}

/// What lies before it in its block was read back, and written again as it was read: a bit that had turned over on its way was
/// installed in the place of what had been verified.
#[test]
fn what_stays_where_a_sender_stops_within_a_batch_is_not_read_back() {
    let options = Options {
        segment_bytes_max: corelog_record::ByteSize::from_mib(2),
        ..small()
    };
    let source = Source::of_values(200_000, 0, &options);
    let disk = FaultyDir::new(MemoryDir::new());
    copy(disk.inner(), &source);
    let bytes = source.bytes(1);
    let mut intake = block_on(Intake::open(&disk.child("p0"), source.of(1, 0), at(5))).unwrap();
    block_on(intake.push(&bytes[..1_100_000])).unwrap();
    let read = Match::on(Operation::Read, ".partial");
    disk.faults().fail(read, 1, Fault::Flip { seed: 1 });
    intake.rewind();
    let back = usize::try_from(intake.position()).unwrap();
    assert!(back < 1 << 20, "a piece was written");
    block_on(intake.push(&bytes[back..])).unwrap();
    let ready = block_on(intake.finish()).unwrap();
    let stored = block_on(disk.inner().child("p0").read(&ready.partial, 4 << 20)).unwrap();
    assert!(stored == bytes);
}
