//! What retention waits for: a snapshot, or followers.

use corelog_record::Chain;

use super::super::{Change, Held};
use super::*;

/// Appends so many records, several of which make a segment.
fn fill(bench: &mut Bench, count: usize, byte: u8) {
    for _ in 0..count {
        durable(bench, &[byte; 4_000]);
        bench.settle();
    }
}

/// Lets all expire that is not held, within so many bytes.
fn expire(bench: &mut Bench, held: Held, hold_bytes: Option<u64>) {
    let policy = Policy {
        retention_bytes: Some(1),
        held,
        hold_bytes,
        ..Policy::default()
    };
    let options = Options::default();
    bench.step(Input::Policy { policy, options });
    bench.go_on();
}

/// Where the second segment ends, and the chain there, as of a snapshot.
fn border(bench: &Bench) -> (Offset, Chain) {
    let (_, seal) = bench.partition.sealed().nth(1).expect("it is sealed");
    (seal.digest.end, seal.digest.end_chain)
}

#[test]
fn what_no_snapshot_holds_expires_only_beyond_the_bytes_that_may_be_held() {
    let mut bench = Bench::new(1);
    fill(&mut bench, 40, 5);
    expire(&mut bench, Held::Unsnapshotted, None);
    assert_eq!(bench.partition.status().log_start, Offset::ZERO);
    let last = border(&bench);
    bench.step(Input::Snapshotted { last: Some(last) });
    expire(&mut bench, Held::Unsnapshotted, None);
    assert_eq!(bench.partition.status().log_start, last.0);
    assert!(bench.partition.has_what_was_snapshotted());
    expire(&mut bench, Held::Unsnapshotted, Some(64 << 10));
    assert!(bench.partition.has_what_was_snapshotted());
    let bounded = bench.partition.status();
    assert!(last.0 < bounded.log_start && bounded.store_bytes <= 64 << 10);
    assert!(bounded.segment_count > 1);
}

/// An owner that was cut, and went on as another node's log did, once let go of records that nobody else
/// had: a snapshot, or a follower, had reached as far before.
#[test]
fn what_came_in_the_place_of_what_was_cut_is_held_until_it_is_kept_elsewhere_too() {
    for held in [Held::Unsnapshotted, Held::Unreplicated] {
        let mut bench = Bench::new(1);
        fill(&mut bench, 40, 5);
        let last = border(&bench);
        bench.step(Input::Snapshotted { last: Some(last) });
        bench.step(Input::Replicated { upto: last.0 });
        let common = Common {
            offset: offset(3),
            epoch: bench.partition.epoch(),
        };
        let (token, change) = (bench.token(), Box::new(Change::Rejoin(common)));
        bench.step(Input::Change { token, change });
        bench.settle();
        assert_eq!(bench.partition.status().log_end, offset(3));
        assert!(!bench.partition.has_what_was_snapshotted());
        fill(&mut bench, 40, 6);
        assert!(!bench.partition.has_what_was_snapshotted());
        expire(&mut bench, held, None);
        let status = bench.partition.status();
        assert!(status.segment_count > 3, "{held:?}");
        assert_eq!(status.log_start, Offset::ZERO, "{held:?}");
        let last = border(&bench);
        bench.step(Input::Snapshotted { last: Some(last) });
        bench.step(Input::Replicated { upto: last.0 });
        expire(&mut bench, held, None);
        assert_eq!(bench.partition.status().log_start, last.0, "{held:?}");
    }
}
