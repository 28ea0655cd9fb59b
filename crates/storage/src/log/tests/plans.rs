//! Lives of a log under faults that a seed chooses: errors cost no promise, and lies of the disk
//! serve nobody a record that was not appended.

use super::survival::{Promises, cut_power, kill, live, stored};
use super::{at, small};
use crate::disk::Dir;
use crate::disk::faulty::{FaultyDir, Plan, Profile};
use crate::disk::memory::MemoryDir;
use crate::testing::{open, read_all};

/// How many operations of the disk a life without faults has.
fn operations() -> u64 {
    let root = FaultyDir::new(MemoryDir::new());
    live(&root, &mut Promises::default());
    root.faults().total()
}

/// Serves what is left on a disk that lied: it may be less than was promised, or nothing, but
/// nothing else. Returns whether the log opened.
fn serves_only_what_was_appended<D: Dir>(root: &D, promises: &Promises, hint: &str) -> bool {
    let Ok((log, _)) = open(root, small(), 2, at(1 << 20)) else {
        return false;
    };
    let Ok(read) = read_all(&log, log.log_start()) else {
        return true;
    };
    let appended = || promises.batches.iter().chain(&promises.pending);
    for batch in read {
        let batch = stored(&batch);
        assert!(appended().any(|known| *known == batch), "{hint}: {batch:?}");
    }
    true
}

/// Groups are written where space is prepared: there no write waits for metadata, or fails because
/// the disk is full. Small files are prepared too, before they are written.
#[test]
fn a_log_writes_only_where_space_is_prepared() {
    let root = FaultyDir::new(MemoryDir::new());
    let mut promises = Promises::default();
    live(&root, &mut promises);
    kill(&root, promises, 1, "without faults");
    assert_eq!(root.faults().breaches(), []);
}

#[test]
fn errors_of_the_disk_cost_no_promised_record() {
    let nth_max = operations() / 4;
    for seed in 0..400 {
        let profile = Profile {
            nth_max,
            ..Profile::ERRORS
        };
        let plan = Plan::seeded(seed, profile);
        let hint = plan.to_string();
        let root = FaultyDir::new(MemoryDir::new());
        root.faults().install(&plan);
        let mut promises = Promises::default();
        live(&root, &mut promises);
        cut_power(&root, &promises, &hint);
        kill(&root, promises, seed, &hint);
    }
}

#[test]
fn lies_of_the_disk_serve_nobody_what_was_not_appended() {
    let nth_max = operations() / 8;
    let (mut opened, mut refused) = (0, 0);
    for seed in 0..300 {
        let profile = Profile {
            nth_max,
            count: 3,
            ..Profile::LIES
        };
        let plan = Plan::seeded(seed, profile);
        let root = FaultyDir::new(MemoryDir::new());
        root.faults().install(&plan);
        let mut promises = Promises::default();
        live(&root, &mut promises);
        for cut in 0..3 {
            let image = root.inner().power_cut(cut);
            let hint = format!("{plan}, power cut {cut}");
            match serves_only_what_was_appended(&image, &promises, &hint) {
                true => opened += 1,
                false => refused += 1,
            }
        }
        root.faults().clear();
        serves_only_what_was_appended(&root, &promises, &format!("{plan}, killed"));
    }
    assert!(500 < opened, "{opened} logs opened, {refused} did not");
}
