//! A manifest that lost its last edits, as a block of zeros leaves it; and one that says more than what lies beside it.

use corelog_record::Offset;

use super::recovery::{STORE, change, reopen, shorten};
use super::{at, offset, small};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::format;
use crate::format::edit::{Frame, Point};
use crate::format::manifest::EDITS_AT;
use crate::log::{Begin, ReadError};
use crate::testing::own::fill;
use crate::testing::{open, read_all, run, settle};
use crate::{Error, mark};

/// It told the chain behind the last sound batch as that of its end: a copy that had all of it was told that the two diverge.
#[test]
fn a_log_that_ends_behind_damage_tells_the_chain_that_its_mark_does() {
    for is_gone in [false, true] {
        let (root, end) = marked(5);
        match is_gone {
            true => block_on(root.child("p0").remove(STORE)).unwrap(),
            false => shorten(&root),
        }
        let (log, report) = reopen(&root);
        assert!(report.is_read_only);
        assert_eq!(log.durable_place(), end);
        let found = log.plan_chain_at(end.offset).unwrap();
        assert_eq!(block_on(found.run()).unwrap(), end);
        log.plan_chain_at(offset(4)).map(drop).unwrap_err();
    }
}

/// That an epoch began there says where the log was durable, and not with which chain.
#[test]
fn behind_damage_no_chain_is_told_that_no_mark_tells() {
    let (root, end) = marked(5);
    let (log, _) = reopen(&root);
    drop(log);
    shorten(&root);
    block_on(root.child("p0").remove(mark::NAME)).unwrap();
    let (log, report) = reopen(&root);
    assert!(report.is_read_only);
    assert_eq!(log.durable(), end.offset);
    let refused = log.plan_chain_at(end.offset).map(drop).unwrap_err();
    assert!(matches!(refused, ReadError::Damaged { .. }), "{refused}");
}

/// A log of so many batches, killed at rest, and where it ends.
fn marked(count: usize) -> (MemoryDir, Point) {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, count, 1000);
    settle(&mut log, at(1)).unwrap();
    (root, log.durable_place())
}

/// Files with acknowledged records went to quarantine, and their offsets were given out again.
#[test]
fn a_manifest_that_lost_its_last_edits_is_refused_where_the_mark_knows_of_more() {
    for is_closed in [false, true] {
        let root = MemoryDir::new();
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        fill(&mut log, 20, 1000);
        settle(&mut log, at(1)).unwrap();
        fill(&mut log, 1, 1000);
        settle(&mut log, at(2)).unwrap();
        let durable = log.durable();
        match is_closed {
            true => block_on(log.close(at(3))).unwrap(),
            false => drop(log),
        }
        let (mut refused, mut opened) = (0, 0);
        for start in edits(&root) {
            let root = root.power_cut(0);
            change(&root, "manifest", |bytes| bytes[start..].fill(0));
            match open(&root, small(), 2, at(4)) {
                Ok((log, report)) => {
                    assert_eq!((log.durable(), &report.damage[..]), (durable, &[][..]));
                    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 21);
                    opened += 1;
                }
                Err(Error::Format { source, .. }) => {
                    let is_it = matches!(
                        source,
                        format::Error::NoEdits | format::Error::LostEdits { .. }
                    );
                    assert!(is_it, "{source}");
                    assert!(
                        block_on(root.child("quarantine").list()).is_err(),
                        "nothing is moved"
                    );
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(2 < refused && 0 < opened, "{refused}, {opened}");
    }
}

/// Where each edit of the manifest begins.
fn edits(root: &MemoryDir) -> Vec<usize> {
    let bytes = block_on(root.child("p0").read("manifest", 1 << 20)).unwrap();
    let (mut starts, mut at) = (Vec::new(), EDITS_AT);
    while let Some(frame) = bytes.get(at..).and_then(Frame::read) {
        starts.push(at);
        at += frame.bytes();
    }
    starts
}

/// What an earlier stop in order left of the mark and the store, put back beside a manifest that knows of more, was the end of
/// the log: what was appended there was of another epoch than ruled, and nobody could read it.
#[test]
fn a_clean_mark_below_what_the_manifest_promises_is_none() {
    for has_begun in [true, false] {
        let root = MemoryDir::new();
        let dir = root.child("p0");
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        fill(&mut log, 3, 100);
        block_on(log.close(at(1))).unwrap();
        let early = [mark::NAME, STORE].map(|name| (name, block_on(dir.read(name, 1 << 20))));
        let (mut log, report) = open(&root, small(), 2, at(2)).unwrap();
        assert!(report.is_clean);
        fill(&mut log, 2, 100);
        let plan = match has_begun {
            true => log.plan_epoch(Begin::Own).unwrap(),
            false => log.plan_truncate(offset(5)).unwrap().unwrap(),
        };
        run(&mut log, plan, at(3)).unwrap();
        block_on(log.close(at(4))).unwrap();
        drop(log);
        for (name, bytes) in early {
            block_on(dir.write_aside(name, &bytes.unwrap())).unwrap();
        }
        let (log, report) = open(&root, small(), 3, at(5)).unwrap();
        assert!(!report.is_clean && report.is_read_only, "{report:?}");
        assert_eq!((report.log_end, log.durable()), (offset(5), offset(5)));
        let [lost] = report.damage[..] else {
            panic!("{report:?}")
        };
        assert_eq!((lost.from, lost.to), (offset(3), offset(5)));
    }
}
