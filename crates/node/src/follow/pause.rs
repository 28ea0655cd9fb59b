//! Standing still: a node that was stopped or suspended for a while may own less by now than it did.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::error::ErrorCode;
use corelog_record::Timestamp;
use futures_lite::FutureExt;

use crate::core::Core;
use crate::failure::{Failure, failure};
use crate::rt;

/// Long enough for a script to have promoted a follower.
const PAUSE: Duration = Duration::from_millis(PAUSE_MS.unsigned_abs());
const PAUSE_MS: i64 = 5_000;
/// How often it is looked whether there was one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When a core last did something.
#[derive(Debug)]
pub(crate) struct Pulse(Cell<Beat>);

/// A moment by two clocks: only the machine's goes on in a virtual machine whose host lets it stand still.
#[derive(Clone, Copy, Debug)]
struct Beat {
    /// As [`rt::booted`] tells.
    booted: Duration,
    stamp: Timestamp,
}

impl Beat {
    fn at(stamp: Timestamp) -> Self {
        Self {
            booted: rt::booted(),
            stamp,
        }
    }

    fn now() -> Self {
        Self::at(rt::clocks().stamp)
    }
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Cell::new(Beat::now()))
    }

    /// It does something `now`; true if it did nothing for long before.
    fn beats_late(&self, now: Beat) -> bool {
        let last = self.0.replace(now);
        last.booted + PAUSE < now.booted || PAUSE_MS < now.stamp.millis_since(last.stamp)
    }
}

impl Core {
    /// Somebody wants something of a partition. If the core stood still before that, its followers are asked first, as
    /// behind a start. By the wall clock it is `stamp`.
    pub(crate) fn notice_pause(&self, stamp: Timestamp) {
        if self.followers.pulse.beats_late(Beat::at(stamp)) {
            self.doubt_all();
        }
    }

    /// The same where nobody wants anything, until the node stops.
    pub(crate) async fn keep_noticing_pauses(self: Rc<Self>) {
        // A start may have taken long.
        self.followers.pulse.beats_late(Beat::now());
        while !self.is_stopping.get() {
            rt::sleep(LOOK_EVERY).or(self.stopping()).await;
            self.notice_pause(rt::clocks().stamp);
        }
    }

    /// Checks that the core has not stood still since `asked`: what others said of a partition then may be so no more.
    ///
    /// # Errors
    /// `Busy`: they are to be asked again.
    pub(super) fn check_awake_since(&self, asked: Instant) -> Result<(), Failure> {
        self.notice_pause(rt::clocks().stamp);
        match self.followers.are_doubted_since(asked) {
            true => {
                let message = "this node stood still since others were asked who owns it";
                Err(failure(ErrorCode::Busy, message))
            }
            false => Ok(()),
        }
    }

    /// Serves no partition of this core, as its owner, before all that are remembered as its followers were asked, or follow.
    fn doubt_all(&self) {
        self.followers.doubt_all();
        let routes = self.routes.borrow();
        let mut owned = 0_usize;
        for (_, key, replica) in self.followed(&routes) {
            owned += usize::from(self.doubt_of(key, replica));
        }
        // Those that waited already wait from now on: nobody was asked meanwhile.
        self.followers.unasked.stood_still();
        if 0 < owned {
            tracing::warn!(
                partitions = owned,
                "time has passed in which the node did nothing: who follows is asked whether it owns them by now"
            );
        }
    }
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
            let later = |time| Beat {
                booted: begun.booted + time,
                ..begun
            };
            assert!(!pulse.beats_late(later(PAUSE)));
            assert!(pulse.beats_late(later(PAUSE * 2 + second)));
            assert!(!pulse.beats_late(later(PAUSE * 2 + second)));
        });
    }

    /// By either clock: whoever gave a partition away looked at one of them alone.
    #[test]
    fn what_was_said_before_a_standstill_counts_no_more() {
        with_core(|core| async move {
            let before: [fn(&mut Beat); 2] = [
                |last| last.booted = last.booted.saturating_sub(2 * PAUSE),
                |last| last.stamp = Timestamp::from_millis(last.stamp.millis() - 2 * PAUSE_MS),
            ];
            for before in before {
                core.notice_pause(rt::clocks().stamp);
                rt::sleep(Duration::from_millis(1)).await;
                let asked = rt::now();
                core.check_awake_since(asked).unwrap();
                let pulse = &core.followers.pulse.0;
                let mut last = pulse.get();
                before(&mut last);
                pulse.set(last);
                let late = core.check_awake_since(asked).unwrap_err();
                assert!(late.is(ErrorCode::Busy), "{late:?}");
            }
        });
    }
}
