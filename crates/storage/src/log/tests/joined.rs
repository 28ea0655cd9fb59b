//! Damage that meets other damage is one range with it.

use corelog_record::{ByteSize, Offset};

use super::recovery::STORE;
use super::{at, offset, small};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::format::damage;
use crate::log::{Damage, Log, Options, ReadError};
use crate::manifest::{self, Manifest};
use crate::testing::{batch, flush, open, settle};

const BATCHES: u64 = 40;

/// A log of one sealed segment with `BATCHES` batches of a record, and one behind it.
fn filled(root: &MemoryDir) -> Log<MemoryDir> {
    let options = Options {
        segment_bytes_max: ByteSize::from_mib(1),
        ..small()
    };
    let (mut log, _) = open(root, options, 1, at(0)).unwrap();
    (0..BATCHES).for_each(|_| append(&mut log));
    log.roll();
    append(&mut log);
    settle(&mut log, at(1)).unwrap();
    assert_eq!(log.sealed().count(), 1);
    log
}

fn append(log: &mut Log<MemoryDir>) {
    log.append(&batch(&[&[b'j'; 900]], at(0)), at(0)).unwrap();
    flush(log, at(0)).unwrap();
}

fn remembered(root: &MemoryDir) -> Vec<(String, String)> {
    let state = block_on(manifest::read(&root.child("p0"))).unwrap().1;
    let settings = state.settings().iter();
    settings
        .map(|(key, to)| (key.clone(), to.clone()))
        .collect()
}

/// Payloads of a sealed segment rotted while its headers held, and a consumer stepped through it: each read noted a batch of
/// its own, and the manifest got a setting for each.
#[test]
fn a_rotten_segment_that_is_read_batch_by_batch_is_one_range() {
    let root = MemoryDir::new();
    drop(filled(&root));
    // Nothing of it is in the tail.
    let (mut log, _) = open(&root, small(), 2, at(2)).unwrap();
    let bytes = log.sealed().next().unwrap().1.digest.bytes;
    let batch_bytes = bytes / BATCHES;
    for number in 1..BATCHES - 1 {
        let middle = number * batch_bytes + batch_bytes / 2;
        root.child("p0").flip(STORE, 8 * middle).unwrap();
    }
    let mut from = Offset::ZERO;
    let mut damaged = 0;
    while from < log.durable() {
        let plan = log.plan_read(from, Offset::MAX, 1);
        match plan.and_then(|plan| block_on(plan.run())) {
            Ok(fetched) => from = fetched.next,
            Err(ReadError::Damaged { to, .. }) => {
                damaged += 1;
                from = to;
            }
            Err(error) => panic!("{error}"),
        }
        settle(&mut log, at(2)).unwrap();
        assert!(log.damage().len() <= 1, "{:?}", log.damage());
        assert!(remembered(&root).len() <= 1);
    }
    assert_eq!(damaged, BATCHES - 2, "a step for each");
    let all = Damage {
        from: offset(1),
        to: offset(BATCHES - 1),
        segment: Offset::ZERO,
    };
    assert_eq!(log.damage(), [all]);
    let setting = ("damage.0.1".to_owned(), (BATCHES - 1).to_string());
    assert_eq!(remembered(&root), [setting]);
    drop(log);
    let (log, report) = open(&root, small(), 3, at(3)).unwrap();
    assert_eq!(report.damage, [all]);
    assert_eq!(log.damage(), [all]);
}

#[test]
fn damage_joins_what_it_touches_of_its_segment_and_nothing_else() {
    let root = MemoryDir::new();
    let mut log = filled(&root);
    let damage = |segment, from, to| Damage {
        from: offset(from),
        to: offset(to),
        segment: offset(segment),
    };
    let note = |log: &mut Log<MemoryDir>, from, to| log.note_damage(damage(0, from, to));
    assert!(note(&mut log, 8, 10));
    assert!(note(&mut log, 4, 6));
    assert!(note(&mut log, 11, 12));
    settle(&mut log, at(2)).unwrap();
    let [low, middle, high] = [damage(0, 4, 6), damage(0, 8, 10), damage(0, 11, 12)];
    assert_eq!(log.damage(), [low, middle, high]);
    assert!(!note(&mut log, 8, 9), "it is known");
    assert!(note(&mut log, 6, 8));
    assert_eq!(log.damage(), [damage(0, 4, 10), high]);
    assert!(note(&mut log, 9, 11));
    assert_eq!(log.damage(), [damage(0, 4, 12)]);
    assert!(note(&mut log, 2, 14));
    assert!(note(&mut log, 30, BATCHES));
    assert!(log.note_damage(damage(BATCHES, BATCHES, BATCHES + 1)));
    let left = [
        damage(0, 2, 14),
        damage(0, 30, BATCHES),
        damage(BATCHES, BATCHES, BATCHES + 1),
    ];
    assert_eq!(log.damage(), left);
    settle(&mut log, at(3)).unwrap();
    let keys: Vec<_> = remembered(&root).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["damage.0.2", "damage.0.30", "damage.40.40"]);
}

/// As a kill between the edits leaves them, and who remembered each batch by itself.
#[test]
fn ranges_that_a_manifest_has_apart_are_one_once_the_log_was_open() {
    let root = MemoryDir::new();
    drop(filled(&root));
    let damage = |from, to| Damage {
        from: offset(from),
        to: offset(to),
        segment: Offset::ZERO,
    };
    let mut apart: Vec<_> = (0..16).map(|from| damage(from, from + 1)).collect();
    apart.push(damage(2, 9));
    let all = damage(0, 16);
    let mut manifest = block_on(Manifest::open(root.child("p0"))).unwrap();
    for edit in damage::edits(&apart) {
        block_on(manifest.append(&edit)).unwrap();
    }
    drop(manifest);
    let (mut log, report) = open(&root, small(), 2, at(2)).unwrap();
    assert_eq!(report.damage, [all]);
    settle(&mut log, at(3)).unwrap();
    assert_eq!(log.damage(), [all]);
    assert_eq!(
        remembered(&root),
        [("damage.0.0".to_owned(), all.to.to_string())]
    );
}
