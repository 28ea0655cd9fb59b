//! Standing still: a node that was stopped or suspended for a while may own less by now than it did.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_record::Timestamp;
use futures_lite::FutureExt;

use crate::core::{Core, PartitionKey};
use crate::rt;

/// Long enough for a script to have promoted a follower.
const PAUSE: Duration = Duration::from_millis(PAUSE_MS.unsigned_abs());
const PAUSE_MS: i64 = 5_000;
/// How often it is looked whether there was one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When a core last did something.
#[derive(Debug)]
pub(crate) struct Pulse(Cell<Instant>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Cell::new(rt::now()))
    }

    /// It does something `now`; true if it did nothing for long before.
    fn beats_late(&self, now: Instant) -> bool {
        let before = self.0.get();
        self.0.set(before.max(now));
        before + PAUSE < now
    }
}

impl Core {
    /// Somebody wants something of a partition `now`. If the core stood still before that, its followers are asked first, as
    /// behind a start.
    pub(crate) fn notice_pause(&self, now: Instant) {
        if self.followers.pulse.beats_late(now) {
            self.doubt_all();
        }
    }

    /// The same where nobody wants anything, and where only the machine's clock went on, until the node stops.
    pub(crate) async fn keep_noticing_pauses(self: Rc<Self>) {
        while !self.is_stopping.get() {
            let before = machine_clock();
            rt::sleep(LOOK_EVERY).or(self.stopping()).await;
            let passed = machine_clock().millis_since(before);
            let is_late = self.followers.pulse.beats_late(rt::now());
            if is_late || PAUSE_MS < passed {
                self.doubt_all();
            }
        }
    }

    /// Serves no partition of this core, as its owner, before all that are remembered as its followers were asked, or follow.
    fn doubt_all(&self) {
        self.followers.unhear();
        let routes = self.routes.borrow();
        let mut owned = 0_usize;
        for topic in routes.topics() {
            for replica in topic.replicas.values() {
                let key = PartitionKey {
                    topic: topic.id,
                    partition: replica.partition,
                };
                if topic.owner(key.partition) == Some(self.id) && self.doubt(key) {
                    owned += 1;
                }
            }
        }
        if 0 < owned {
            tracing::warn!(
                partitions = owned,
                "the node stood still: who follows is asked whether it owns them by now"
            );
        }
    }
}

/// What the machine's clock shows, believed or not.
fn machine_clock() -> Timestamp {
    let doubted = i64::try_from(rt::clock_doubt().as_millis()).unwrap_or(i64::MAX);
    rt::wall_clock().saturating_add_millis(doubted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::with_core;

    #[test]
    fn a_beat_is_late_once() {
        with_core(|_| async {
            let pulse = Pulse::new();
            let begun = pulse.0.get();
            let second = Duration::from_secs(1);
            assert!(!pulse.beats_late(begun + PAUSE));
            assert!(pulse.beats_late(begun + PAUSE * 2 + second));
            assert!(!pulse.beats_late(begun + PAUSE * 2 + second));
            assert!(!pulse.beats_late(begun), "it was taken in before");
            assert!(!pulse.beats_late(begun + PAUSE * 3));
        });
    }
}
