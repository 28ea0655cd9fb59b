//! The log as files: what a copier is told of them.

use corelog_record::Position;

use super::retention::segments;
use super::{at, offset, small};
use crate::disk::Dir;
use crate::disk::block_on;
use crate::disk::memory::MemoryDir;
use crate::manifest;
use crate::testing::{batch, flush, open, run, settle};

#[test]
fn sealed_segments_are_told_as_the_manifest_has_them() {
    let root = MemoryDir::new();
    let (log, _) = segments(&root);
    let (_, state) = block_on(manifest::read(&root.child("p0"))).unwrap();
    let written = state.segments().iter();
    let written: Vec<_> = written
        .filter_map(|segment| Some((segment.generation, segment.seal.clone()?)))
        .collect();
    assert_eq!(log.sealed().collect::<Vec<_>>(), written);
    assert_eq!(written.len(), 9, "all but the active one");
}

#[test]
fn the_active_segment_is_told_as_far_as_it_is_durable() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    assert_eq!(log.active_segment(), None);
    let first = batch(&[b"durable"], at(0));
    log.append(&first, at(0)).unwrap();
    let unsynced = log.active_segment().unwrap();
    assert_eq!(unsynced.durable, unsynced.start);
    flush(&mut log, at(0)).unwrap();
    log.append(&batch(&[b"pending"], at(0)), at(0)).unwrap();
    let active = log.active_segment().unwrap();
    assert_eq!(active.position.get(), first.len() as u64);
    assert_eq!(active.durable.offset, offset(1));
    assert_ne!(active.durable.chain, active.start.chain);
}

#[test]
fn a_log_whose_records_have_all_gone_tells_where_it_goes_on() {
    let root = MemoryDir::new();
    let (mut log, _) = segments(&root);
    log.roll();
    settle(&mut log, at(20)).unwrap();
    assert_eq!(log.active_segment(), None, "the sealed ones tell it");
    let end = log.end_place();
    let plan = log.plan_truncate(end.offset).unwrap().unwrap();
    run(&mut log, plan, at(21)).unwrap();
    settle(&mut log, at(21)).unwrap();
    let told = log.active_segment().unwrap();
    assert_eq!((told.start, told.durable), (end, end));
    assert_eq!(told.position, Position::ZERO);
    drop(log);
    let (log, _) = open(&root, small(), 2, at(22)).unwrap();
    assert_eq!(log.active_segment(), Some(told));
}
