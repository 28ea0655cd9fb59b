//! Stores that are there beside those of the log: one made ahead of it, one that had expired.

use super::*;
use crate::log::Chore;
use crate::testing::chore;

/// The store began where the group on its way was to end, and the log was refused for a gap, or for want of an index that
/// there never was.
#[test]
fn a_store_that_was_made_ahead_of_a_group_that_never_came_is_none_of_the_log() {
    for is_torn in [false, true] {
        let root = MemoryDir::new();
        let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
        fill(&mut log, &mut Rng::with_seed(4), 3);
        let expected = read_all(&log, Offset::ZERO).unwrap();
        let end = log.store_bytes().bytes();
        let one = batch(&[b"never on the disk"], at(0));
        log.append(&one, at(0)).unwrap();
        let group = log.plan_flush().unwrap();
        log.roll();
        log.append(&one, at(0)).unwrap();
        let ahead = chore(&mut log, at(0), false).unwrap();
        assert!(matches!(ahead, Some(Chore::SpacePrepared)), "{ahead:?}");
        drop((group, log));
        let dir = root.child("p0");
        let stores = names(&dir, ".log");
        assert_eq!(stores.len(), 2);
        if is_torn {
            let end = usize::try_from(end).unwrap();
            alter(&dir, &stores[0], |bytes| bytes[end..end + 3].fill(1));
        }
        block_on(dir.remove("manifest")).unwrap();
        block_on(planned(&root).unwrap().run()).unwrap();
        let (log, report) = open(&root, small(), 7, at(3)).unwrap();
        assert_eq!((report.damage, report.torn.is_some()), (vec![], is_torn));
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), expected);
        assert_eq!(names(&dir, ".log"), stores[..1]);
    }
}

/// Somebody still read it as the process was killed, and those behind it were gone. It was told to move the log elsewhere, and
/// to go on with what had expired.
#[test]
fn of_a_gap_it_is_told_what_to_move_if_all_before_it_had_expired() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    fill(&mut log, &mut Rng::with_seed(4), 60);
    let expected = read_all(&log, Offset::ZERO).unwrap();
    drop(log);
    let dir = root.child("p0");
    let stores = names(&dir, ".log");
    block_on(dir.remove(&stores[1])).unwrap();
    block_on(dir.remove("manifest")).unwrap();
    let refused = planned(&root).unwrap_err().to_string();
    let told = format!(
        "had expired, move {} and the stores before it elsewhere",
        stores[0]
    );
    assert!(refused.contains(&told), "{refused}");
    block_on(dir.remove(&stores[0])).unwrap();
    block_on(planned(&root).unwrap().run()).unwrap();
    let (log, _) = open(&root, small(), 7, at(3)).unwrap();
    assert!(expected.ends_with(&read_all(&log, log.log_start()).unwrap()));
}
