//! Bits that turn over after they were promised.

use corelog_record::Offset;
use fastrand::Rng;

use super::super::model::Model;
use super::super::world::World;
use super::super::{assert_counted, at};
use super::kind::Kind;
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::{Log, ReadError};
use crate::segment::name;
use crate::testing;

/// Turns over a bit of a batch that the mark promised, in a store that is not sealed, and recovers:
/// what rotted is damage to whoever reads it, and nothing is cut. Returns whether the log had such a batch.
pub(in super::super) fn rot(seed: u64) -> bool {
    let mut rng = Rng::with_seed(!seed);
    let mut world = Kind::Append.past(seed);
    world.settle();
    world.stop();
    let World {
        disk, log, model, ..
    } = world;
    let open = log.segments().rfind(|segment| !segment.is_sealed);
    let Some(segment) = open else {
        return false;
    };
    let image = disk.inner().power_cut(rng.u64(..));
    let store = name::store(segment.base, 0);
    let dir = image.child("p0");
    dir.flip(&store, rng.u64(0..segment.bytes * 8)).unwrap();
    let rotten = block_on(dir.read(&store, u64::MAX)).unwrap();
    let (log, report) = testing::open(&image, world.options, seed, at(1 << 20)).unwrap();
    if report.is_clean {
        return false; // Nothing is read after a clean stop; readers find it.
    }
    assert!(report.torn.is_none(), "{report:?}");
    assert!(model.durable <= log.log_end(), "{report:?}");
    let after = block_on(dir.read(&store, u64::MAX)).unwrap();
    assert_eq!(after, rotten, "damage is never cut");
    check_reads(&log, &model) > 0
}

/// A read gives what was appended, or says that it is damaged where it is.
/// Returns how many batches are.
fn check_reads(log: &Log<MemoryDir>, model: &Model) -> usize {
    assert_counted(log);
    let mut damaged = 0;
    for stored in model.readable() {
        let planned = log.plan_read(stored.base, Offset::MAX, 0);
        match planned.and_then(|plan| block_on(plan.run())) {
            Ok(fetched) => assert_eq!(&*fetched.pieces[0], &stored.bytes[..]),
            Err(ReadError::Damaged { from, to, .. }) if from < stored.end && stored.base < to => {
                damaged += 1;
            }
            Err(error) => panic!("batch {} is lost: {error}", stored.base),
        }
    }
    damaged
}

#[test]
fn a_bit_that_rots_below_the_mark_is_damage_and_nothing_is_cut() {
    let rotten = (0..500).filter(|seed| rot(*seed)).count();
    assert!(100 < rotten, "{rotten} logs had something to rot");
}
