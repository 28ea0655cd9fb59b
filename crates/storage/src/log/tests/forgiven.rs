//! Damage that was remembered, and turned out to be none.

use corelog_record::{ByteSize, Offset};

use super::recovery::STORE;
use super::{at, small};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::{Damage, Log, Options, Scrubbed};
use crate::manifest;
use crate::testing::own;
use crate::testing::{batch, flush, open, read_all, settle};

/// A log of some segments, of which the first has damage by what the manifest remembers.
fn doubted(root: &MemoryDir) -> Log<MemoryDir> {
    doubted_with(root, small(), 3_000)
}

fn doubted_with(root: &MemoryDir, options: Options, value_bytes: usize) -> Log<MemoryDir> {
    let (mut log, _) = open(root, options, 1, at(0)).unwrap();
    let value = vec![b'f'; value_bytes];
    for _ in 0..20 {
        log.append(&batch(&[&value], at(0)), at(0)).unwrap();
        flush(&mut log, at(0)).unwrap();
    }
    settle(&mut log, at(0)).unwrap();
    let from = Offset::ZERO.plus(1);
    let (to, segment) = (from.plus(1), Offset::ZERO);
    assert!(log.note_damage(Damage { from, to, segment }));
    settle(&mut log, at(0)).unwrap();
    assert_eq!(remembered(root).len(), 1);
    log
}

fn remembered(root: &MemoryDir) -> Vec<String> {
    let state = block_on(manifest::read(&root.child("p0"))).unwrap().1;
    state.settings().keys().cloned().collect()
}

fn scrub(log: &mut Log<MemoryDir>) -> Scrubbed {
    own::scrub(log, 1 << 20, at(200)).pop().unwrap()
}

/// A bit that turned over on its way from the disk kept sound records from readers for ever.
#[test]
fn damage_is_forgotten_once_a_scrub_reads_the_whole_segment_right() {
    let root = MemoryDir::new();
    let mut log = doubted(&root);
    read_all(&log, Offset::ZERO).unwrap_err();
    scrub(&mut log);
    assert_eq!(log.damage(), []);
    settle(&mut log, at(300)).unwrap();
    assert_eq!(remembered(&root), [""; 0]);
    assert!(log.unwritten.is_empty());
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 20);
    drop(log);
    let (log, report) = open(&root, small(), 2, at(400)).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 20);
}

#[test]
fn damage_that_a_scrub_finds_again_stays() {
    let root = MemoryDir::new();
    let mut log = doubted(&root);
    root.child("p0").flip(STORE, 8 * 4_000).unwrap();
    scrub(&mut log);
    settle(&mut log, at(300)).unwrap();
    assert_eq!(log.damage().len(), 1);
    assert_eq!(remembered(&root).len(), 1);
}

/// It was forgotten with what the walk had seen anew.
#[test]
fn damage_that_comes_behind_a_scrub_stays() {
    // The first of these was not known before, the second was.
    for met in [0, 1] {
        let root = MemoryDir::new();
        let options = Options {
            segment_bytes_max: ByteSize::from_kib(256),
            ..small()
        };
        let mut log = doubted_with(&root, options, 20_000);
        let plan = log.plan_scrub(at(100), 1).unwrap().unwrap();
        let done = block_on(plan.run());
        let piece = log.complete_scrub(done, at(200));
        assert!(piece.bytes > 40_000, "two batches: {piece:?}");
        assert_eq!(piece.upto, Offset::ZERO, "within the first segment");
        let at_byte = met * 20_000 + 10_000;
        root.child("p0").flip(STORE, 8 * at_byte).unwrap();
        let from = Offset::ZERO.plus(met);
        let (to, segment) = (from.plus(1), Offset::ZERO);
        let met = Damage { from, to, segment };
        assert_eq!(log.note_damage(met), from == Offset::ZERO);
        scrub(&mut log);
        assert_eq!(log.damage(), [met]);
        scrub(&mut log);
        assert_eq!(log.damage(), [met]);
    }
}

/// With each edit all of them were held against all that the manifest remembers: a core did nothing else for hours.
#[test]
fn damage_in_many_ranges_is_remembered_and_forgotten() {
    const RANGES: u64 = 20_000;
    let root = MemoryDir::new();
    let mut log = doubted(&root);
    let of = |from: u64, to: u64| {
        let base = Offset::ZERO.plus(100);
        let (from, to, segment) = (base.plus(from), base.plus(to), Offset::ZERO);
        Damage { from, to, segment }
    };
    for number in 0..RANGES {
        // In no order.
        let from = 2 * (number * 7_919 % RANGES);
        assert!(log.note_damage(of(from, from + 1)));
        assert!(!log.note_damage(of(from, from + 1)));
    }
    settle(&mut log, at(300)).unwrap();
    assert_eq!(remembered(&root).len() as u64, RANGES + 1);
    block_on(log.close(at(301))).unwrap();
    let (mut log, report) = open(&root, small(), 2, at(400)).unwrap();
    assert_eq!(report.damage.len() as u64, RANGES + 1);
    assert_eq!(report.damage, log.damage());
    assert!(log.note_damage(of(0, 2 * RANGES)));
    assert_eq!(log.damage()[1..], [of(0, 2 * RANGES)]);
    settle(&mut log, at(500)).unwrap();
    assert_eq!(remembered(&root).len(), 2);
}
