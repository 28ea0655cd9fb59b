//! Damage that was remembered, and turned out to be none.

use corelog_record::Offset;

use super::{at, small};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::{Damage, Log, Scrubbed};
use crate::manifest;
use crate::testing::{batch, flush, open, read_all, settle};

/// A log of some segments, of which the first has damage by what the manifest remembers.
fn doubted(root: &MemoryDir) -> Log<MemoryDir> {
    let (mut log, _) = open(root, small(), 1, at(0)).unwrap();
    for _ in 0..20 {
        log.append(&batch(&[&[b'f'; 3_000]], at(0)), at(0)).unwrap();
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
    loop {
        let plan = log.plan_scrub(at(100), 1 << 20).unwrap().unwrap();
        let done = block_on(plan.run());
        let piece = log.complete_scrub(done, at(200));
        if piece.is_pass_complete {
            return piece;
        }
    }
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
    assert!(!log.is_damage_unwritten);
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
    let store = "00000000000000000000.log";
    root.child("p0").flip(store, 8 * 4_000).unwrap();
    scrub(&mut log);
    settle(&mut log, at(300)).unwrap();
    assert_eq!(log.damage().len(), 1);
    assert_eq!(remembered(&root).len(), 1);
}
