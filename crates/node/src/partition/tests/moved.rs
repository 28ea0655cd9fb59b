//! What a read is told of a file that is not there any more.

use corelog_storage::disk::Dir;
use corelog_storage::log::{Origin, ReadError, ReadPlan};

use super::super::Change;
use super::super::bench::Disk;
use super::*;

/// A partition of several segments that was just opened: no file is open yet.
fn opened() -> Bench {
    let mut bench = Bench::new(1);
    for _ in 0..30 {
        durable(&mut bench, &[5; 4_000]);
        bench.settle();
    }
    bench.reopen()
}

/// The base offsets of the first segments.
fn bases(bench: &Bench) -> Vec<Offset> {
    let sealed = bench.partition.sealed();
    sealed.map(|(_, seal)| seal.digest.base).collect()
}

/// Where the second segment begins, and its file.
const SECOND: (u64, &str) = (8, "00000000000000000008.log");

/// A read of the disk.
fn planned(bench: &mut Bench, from: Offset) -> (Origin<Disk>, ReadPlan<Disk>) {
    let token = bench.token();
    let appetite = Appetite::ONE;
    bench.step(Input::Fetch {
        token,
        from,
        appetite,
    });
    match bench.take_told(token) {
        Some(Ok(Answer::Read { plan, .. })) => (plan.origin().expect("of the disk"), plan),
        other => panic!("not planned: {other:?}"),
    }
}

fn cut(bench: &mut Bench, at: Offset) -> Token {
    let common = Common {
        offset: at,
        epoch: bench.partition.epoch(),
    };
    let (token, change) = (bench.token(), Box::new(Change::Rejoin(common)));
    bench.step(Input::Change { token, change });
    token
}

/// Such a read was told as damage of the whole segment, and had the partition scrubbed.
#[test]
fn a_segment_that_is_cut_off_while_a_read_of_it_begins_is_not_missing() {
    let mut bench = opened();
    let (base, file) = (offset(SECOND.0), SECOND.1);
    assert_eq!(bases(&bench)[1], base);
    for when in [When::Before, When::After] {
        let is_moved = Match::on(Operation::Rename, file);
        bench.faults().hold(is_moved, when);
    }
    cut(&mut bench, offset(3));
    bench.poll();
    assert_eq!(bench.faults().held(), 1, "it is about to be moved");
    let (origin, plan) = planned(&mut bench, base);
    bench.faults().release_one();
    bench.poll();
    assert_eq!(bench.faults().held(), 1, "it is moved");
    let read = block_on(plan.run());
    assert!(
        matches!(read, Err(ReadError::Removed { segment }) if segment == base),
        "{read:?}"
    );
    assert_eq!(bench.partition.missing(base, &origin), None);
    bench.faults().release_all();
    bench.settle();
    assert_eq!(bench.partition.status().log_end, offset(3));
    assert_eq!(bench.partition.missing(base, &origin), None);
}

/// It would come into files that are about to be the log's, or remove them.
#[test]
fn nothing_is_to_be_received_while_a_change_of_the_log_is_under_way() {
    let mut bench = opened();
    assert!(bench.partition.check_takes_in().is_ok());
    let is_moved = Match::on(Operation::Rename, SECOND.1);
    bench.faults().hold(is_moved, When::Before);
    cut(&mut bench, offset(3));
    bench.poll();
    let checked = bench.partition.check_takes_in();
    assert!(matches!(checked, Err(Refusal::Busy)), "{checked:?}");
    bench.faults().release_all();
    bench.settle();
    assert!(bench.partition.check_takes_in().is_ok());
}

/// A segment that goes on in a new file was remembered as damage, all of it: the scrub opens the old one by its name.
#[test]
fn a_scrub_does_not_miss_a_segment_that_is_being_cut() {
    let mut bench = opened();
    let (base, file) = (offset(SECOND.0), SECOND.1);
    for operation in [Operation::Rename, Operation::Remove] {
        bench.faults().hold(Match::on(operation, file), When::After);
    }
    cut(&mut bench, base.plus(3));
    bench.poll();
    assert_eq!(bench.faults().held(), 1, "its old file is gone");
    let mut pieces = 0;
    let is_missed = |bench: &mut Bench| {
        let token = bench.token();
        bench.step(Input::Scrub {
            token,
            bytes_max: 1 << 20,
        });
        let (generation, plan) = match bench.take_told(token) {
            Some(Ok(Answer::Scrub { generation, plan })) => (generation, plan),
            other => panic!("not planned: {other:?}"),
        };
        let done = block_on(plan.expect("sealed segments").run());
        let token = bench.token();
        bench.step(Input::ScrubRead {
            token,
            generation,
            done: Box::new(done),
        });
        match bench.take_told(token) {
            Some(Ok(Answer::Scrubbed(scrubbed))) => scrubbed.bytes == 0,
            other => panic!("not scrubbed: {other:?}"),
        }
    };
    while !is_missed(&mut bench) {
        pieces += 1;
        assert!(pieces < 10, "it comes to the segment that is moved");
    }
    bench.faults().release_all();
    bench.settle();
    assert_eq!(bench.partition.status().log_end, base.plus(3));
    assert_eq!(bench.partition.damage(), []);
}

#[test]
fn the_file_of_a_segment_that_goes_on_in_another_one_is_not_missing() {
    let mut bench = opened();
    let (origin, plan) = planned(&mut bench, Offset::ZERO);
    cut(&mut bench, offset(3));
    bench.settle();
    assert_eq!(bases(&bench), []);
    assert_eq!(bench.partition.missing(Offset::ZERO, &origin), None);
    drop(plan);
}

#[test]
fn a_file_that_nobody_moved_is_missing_with_all_offsets_of_its_segment() {
    let mut bench = opened();
    let bases = bases(&bench);
    let (origin, plan) = planned(&mut bench, bases[1]);
    let removed = block_on(bench.disk.child("0").remove(SECOND.1));
    removed.expect("it was there");
    let read = block_on(plan.run());
    assert!(matches!(read, Err(ReadError::Removed { .. })), "{read:?}");
    let missing = bench.partition.missing(bases[1], &origin);
    assert_eq!(missing, Some(bases[1]..bases[2]));
}

/// It was told as a failure of the node, which says nothing of what to do about it.
#[test]
fn a_cut_that_meets_damage_tells_where_it_is() {
    let mut bench = Bench::new(1);
    for _ in 0..12 {
        durable(&mut bench, &[5; 100]);
        bench.settle();
    }
    // The epoch of a batch is no part of its checksum.
    let batch_bytes = bench.partition.status().store_bytes / 12;
    let bit = (2 * batch_bytes + 15) * 8;
    let store = bench.disk.inner().child("0");
    store.flip("00000000000000000000.log", bit).expect("a file");
    let token = cut(&mut bench, offset(9));
    bench.settle();
    match bench.take_told(token) {
        Some(Err(Refusal::Damaged { damaged, .. })) => assert!(damaged.contains(&offset(2))),
        other => panic!("{other:?}"),
    }
    assert!(!bench.is_fenced);
}

/// It was done whenever its turn came, and until then kept every other one from its own.
#[test]
fn a_change_that_nobody_waits_for_does_not_begin_any_more() {
    let mut bench = Bench::new(1);
    durable(&mut bench, b"a");
    bench.settle();
    let is_mark = Match::on(Operation::Write, "mark");
    bench.faults().hold(is_mark, When::Before);
    durable(&mut bench, b"b");
    while bench.faults().held() == 0 {
        bench.now = bench.now.saturating_add_millis(100);
        bench.step(Input::Tick);
        bench.poll();
    }
    let token = cut(&mut bench, offset(1));
    bench.poll();
    assert!(bench.partition.check_takes_in().is_err());
    assert_eq!(bench.partition.waiting_change(), Some(token));
    bench.step(Input::AbandonChange { token });
    assert!(bench.partition.check_takes_in().is_ok());
    bench.faults().release_all();
    bench.settle();
    assert_eq!(bench.partition.status().log_end, offset(2));
    // One that has begun goes on.
    bench.faults().hold(Operation::SyncDir, When::Before);
    let token = cut(&mut bench, offset(1));
    bench.poll();
    assert_eq!(bench.faults().held(), 1);
    assert_eq!(bench.partition.waiting_change(), None);
    bench.step(Input::AbandonChange { token });
    assert!(bench.partition.check_takes_in().is_err());
    bench.faults().release_all();
    bench.settle();
    assert_eq!(bench.partition.status().log_end, offset(1));
}
