//! A partition that becomes an empty copy of another log, on a disk that fails meanwhile.

use std::io::ErrorKind;

use corelog_record::{Chain, HistoryId, Ordinal};
use corelog_storage::format::edit::Point;

use super::super::Change;
use super::super::bench::Told;
use super::*;

/// Has the partition become an empty copy that begins at an offset.
fn adopt(bench: &mut Bench, at: u64) -> Told {
    let start = Point {
        offset: offset(at),
        ordinal: Ordinal::new(at).expect("an ordinal"),
        chain: Chain::from_raw(at),
    };
    let history = HistoryId::from_bytes([7; 16]);
    let (token, change) = (bench.token(), Box::new(Change::Adopt { history, start }));
    bench.step(Input::Change { token, change });
    bench.settle();
    bench.take_told(token).expect("told")
}

/// A copy that was made the owner then waited for ever for what it had, and one whose next source began lower ended the
/// node.
#[test]
fn a_copy_for_whose_mark_there_is_no_space_is_where_its_manifest_says_it_is() {
    let mut bench = Bench::new(1);
    for at in [10, 3] {
        let is_mark = Match::on(Operation::CreateFile, "mark.new");
        let fault = Fault::Fail(ErrorKind::StorageFull);
        bench.faults().fail(is_mark, 1, fault);
        let refused = adopt(&mut bench, at).expect_err("there is no space");
        assert!(matches!(refused, Refusal::StorageFull), "{refused:?}");
        assert!(!bench.is_fenced);
        assert_eq!(bench.durable, offset(at));
        assert_eq!(bench.partition.status().log_start, offset(at));
    }
    adopt(&mut bench, 3).expect("there is space");
    assert_eq!(bench.reopen().durable, offset(3));
}

#[test]
fn a_disk_that_fails_while_a_copy_begins_lower_fences_the_partition_and_no_more() {
    let operations = [
        Operation::Open,
        Operation::Write,
        Operation::Sync,
        Operation::Remove,
    ];
    let mut fenced_count = 0;
    for (operation, nth) in operations
        .into_iter()
        .flat_map(|o| (1..4).map(move |n| (o, n)))
    {
        let mut bench = Bench::new(1);
        adopt(&mut bench, 10).expect("a copy");
        bench
            .faults()
            .fail(operation, nth, Fault::Fail(ErrorKind::Other));
        let is_done = adopt(&mut bench, 3).is_ok();
        assert_eq!(bench.is_fenced, !is_done, "{operation:?} {nth}");
        // An opening may finish it: nothing is to be received until then.
        let checked = bench.partition.check_takes_in();
        assert_eq!(matches!(checked, Err(Refusal::Fenced)), !is_done);
        fenced_count += usize::from(bench.is_fenced);
        bench.faults().clear();
        let mut bench = bench.reopen();
        adopt(&mut bench, 3).expect("a copy");
        assert_eq!(bench.durable, offset(3));
    }
    assert!(fenced_count > 2, "{fenced_count}");
}
