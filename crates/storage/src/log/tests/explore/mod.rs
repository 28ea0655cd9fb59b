//! The crash-state explorer, after Pillai et al., "All File Systems Are Not Created Equal", OSDI
//! 2014: what a log does to its disk is recorded, operation by operation; every disk that a power
//! cut may leave is derived, within reason; each is recovered, and held against what was promised
//! until then.
//!
//! ```text
//! kind     what a log does: each kind of operation, after some past of the log
//! history  one such run: the operations of the disk, and what was promised after each
//! judge    recovers a disk, crashes it again, and holds it against what was promised
//! rot      turns bits over that were promised
//! tally    which disks were seen
//! ```
//!
//! The laws: nothing acknowledged is lost or altered; log start and durable never move back;
//! nothing removed comes back; an unclean open begins an epoch; offsets are dense; what readers see
//! is a prefix of what was appended; the manifest names all stores, and zeros lie behind the last
//! batch; a recovered log takes appends, closes and opens again; recovering again changes nothing.

mod history;
mod judge;
mod kind;
mod rot;
mod tally;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::thread;

use fastrand::Rng;

pub(super) use self::history::Lie;
pub(super) use self::kind::Kind;
pub(super) use self::rot::rot;
pub(super) use self::tally::Tally;

use self::history::History;
use self::judge::Judge;
use super::sim::number;

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Distinct disks of each kind of operation.
    pub(super) images_min: usize,
    /// Of so many disks one is crashed again.
    pub(super) again: usize,
}

/// Explores histories of `kind` until enough distinct disks were judged.
fn explore(kind: Kind, effort: Effort, tally: &mut Tally) {
    let mut seed = 0;
    while tally.distinct(kind) < effort.images_min {
        explore_one(kind, seed, |_| false, effort, tally);
        seed += 1;
    }
}

/// Explores all kinds, by two threads: alone, one would go on when all other tests are done.
fn explore_all(effort: Effort) -> Tally {
    let kinds = Mutex::new(Kind::ALL.iter());
    let next = || kinds.lock().unwrap().next();
    let explore_some = || {
        let mut tally = Tally::default();
        while let Some(kind) = next() {
            explore(*kind, effort, &mut tally);
        }
        tally
    };
    thread::scope(|scope| {
        let beside = scope.spawn(explore_some);
        let mut tally = explore_some();
        tally.absorb(beside.join().unwrap());
        tally
    })
}

/// Explores one history, on a disk that lies as it is told. The seed, the operations and what
/// survived stand in the message of a failure.
pub(super) fn explore_one(kind: Kind, seed: u64, is_lie: Lie, effort: Effort, tally: &mut Tally) {
    let place = RefCell::new("the history itself".to_owned());
    let explored = catch_unwind(AssertUnwindSafe(|| {
        let history = History::new(kind, seed, is_lie);
        let mut judge = Judge::new(history.options(), Rng::with_seed(seed), effort);
        for state in history.crash_states(seed) {
            let promised = history.promised(state.after);
            if tally.note(kind, state.hash, promised) {
                *place.borrow_mut() = state.to_string();
                judge.judge(&state.image, promised, tally);
            }
        }
        for count in (0..=history.len()).step_by(2) {
            *place.borrow_mut() = format!("killed after {count} operations");
            judge.judge_killed(&history.disk_after(count), history.promised(count), tally);
        }
    }));
    if let Err(panic) = explored {
        eprintln!("{kind:?} with seed {seed}: {}", place.borrow());
        resume_unwind(panic);
    }
}

/// How many disks of each kind to judge, instead of two thousand.
const IMAGES: &str = "CORELOG_EXPLORE_IMAGES";

/// Names one seed to explore, of all kinds, instead of all from 0 on.
const SEED: &str = "CORELOG_EXPLORE_SEED";

#[test]
fn whatever_a_crash_leaves_of_any_operation_is_recovered_by_the_laws() {
    let images = number(IMAGES).map(|images| usize::try_from(images).unwrap());
    let effort = Effort {
        images_min: images.unwrap_or(2_000),
        again: 4,
    };
    if let Some(seed) = number(SEED) {
        let mut tally = Tally::default();
        for kind in Kind::ALL {
            explore_one(kind, seed, |_| false, effort, &mut tally);
        }
        return;
    }
    let tally = explore_all(effort);
    println!("{tally}");
    for kind in Kind::ALL {
        assert!(500 <= tally.distinct(kind), "{kind:?}: {tally}");
    }
    assert!(20_000 <= tally.first(), "{tally}");
}
