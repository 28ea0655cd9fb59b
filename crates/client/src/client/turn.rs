//! Whose turn it is: what each server has of the time of a call that any of them may answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::retry::Deadline;

/// Which of the servers had their share of a call's time, and said nothing. One that was not reached did not have it: it may be
/// about to come.
#[derive(Debug)]
pub(crate) struct Turn {
    were_silent: Box<[AtomicBool]>,
}

impl Turn {
    /// That of a call which none of so many servers was asked for yet.
    pub(super) fn of(server_count: usize) -> Self {
        Self {
            were_silent: (0..server_count).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// `server` had its share.
    pub(super) fn was_silent(&self, server: usize) {
        self.were_silent[server].store(true, Ordering::Relaxed);
    }

    /// What one of them has of the time that is left, where those that did not have theirs get as much.
    pub(super) fn share(&self, deadline: Deadline) -> Duration {
        let is_left = |silent: &&AtomicBool| !silent.load(Ordering::Relaxed);
        let left = self.were_silent.iter().filter(is_left).count();
        deadline.left() / u32::try_from(left.max(1)).unwrap_or(u32::MAX)
    }
}
