//! Standing still: a node that was stopped or suspended for a while may own less by now than it did.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::error::ErrorCode;
use futures_lite::FutureExt;

use crate::core::Core;
use crate::failure::{Failure, failure};
use crate::rt;

/// Long enough for a script to have promoted a follower.
const PAUSE: Duration = Duration::from_millis(PAUSE_MS.unsigned_abs());
const PAUSE_MS: i64 = 5_000;
/// How often it is looked whether there was one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When a core last did something, as [`rt::booted`] tells.
#[derive(Debug)]
pub(crate) struct Pulse(Cell<Duration>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Cell::new(rt::booted()))
    }

    /// It does something `now`; true if it did nothing for long before.
    fn beats_late(&self, now: Duration) -> bool {
        self.0.replace(now) + PAUSE < now
    }
}

impl Core {
    /// Somebody wants something of a partition. If the core stood still before that, its followers are asked first, as
    /// behind a start.
    pub(crate) fn notice_pause(&self) {
        if self.followers.pulse.beats_late(rt::booted()) {
            self.doubt_all();
        }
    }

    /// The same where nobody wants anything, and where only the machine's clock went on, as that of a virtual machine whose
    /// host let it stand still; until the node stops.
    pub(crate) async fn keep_noticing_pauses(self: Rc<Self>) {
        // A start may have taken long.
        self.followers.pulse.beats_late(rt::booted());
        while !self.is_stopping.get() {
            let before = rt::clocks().stamp;
            rt::sleep(LOOK_EVERY).or(self.stopping()).await;
            let passed = rt::clocks().stamp.millis_since(before);
            let is_late = self.followers.pulse.beats_late(rt::booted());
            if is_late || PAUSE_MS < passed {
                self.doubt_all();
            }
        }
    }

    /// Checks that the core has not stood still since `asked`: what others said of a partition then may be so no more.
    ///
    /// # Errors
    /// `Busy`: they are to be asked again.
    pub(super) fn check_awake_since(&self, asked: Instant) -> Result<(), Failure> {
        self.notice_pause();
        match self.followers.doubted.get() {
            Some(doubted) if asked <= doubted => {
                let message = "this node stood still since others were asked who owns it";
                Err(failure(ErrorCode::Busy, message))
            }
            _ => Ok(()),
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
            assert!(!pulse.beats_late(begun + PAUSE));
            assert!(pulse.beats_late(begun + PAUSE * 2 + second));
            assert!(!pulse.beats_late(begun + PAUSE * 2 + second));
        });
    }

    #[test]
    fn what_was_said_before_a_standstill_counts_no_more() {
        with_core(|core| async move {
            let asked = rt::now();
            core.check_awake_since(asked).unwrap();
            let pulse = &core.followers.pulse.0;
            pulse.set(rt::booted() - 2 * PAUSE);
            let late = core.check_awake_since(asked).unwrap_err();
            assert!(late.is(ErrorCode::Busy), "{late:?}");
            core.check_awake_since(rt::now() + LOOK_EVERY).unwrap();
        });
    }
}
