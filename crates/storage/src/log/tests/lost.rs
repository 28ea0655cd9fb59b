//! A manifest that lost its last edits, as a block of zeros leaves it.

use corelog_record::Offset;

use super::recovery::change;
use super::{at, small};
use crate::Error;
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::format;
use crate::format::edit::Frame;
use crate::format::manifest::EDITS_AT;
use crate::testing::own::fill;
use crate::testing::{open, read_all, settle};

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
