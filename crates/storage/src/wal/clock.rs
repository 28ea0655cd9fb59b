//! The time that an embedded log goes by.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use corelog_record::Timestamp;

use crate::Now;

/// The time when the log was opened, and what has gone by since: a machine whose clock is set back would hold up what is to
/// be tried again for as long.
#[derive(Debug)]
pub(super) struct Clock {
    opened: Timestamp,
    since: Instant,
}

impl Clock {
    pub(super) fn starting(opened: Timestamp) -> Self {
        let since = Instant::now();
        Self { opened, since }
    }

    /// What is due goes by this.
    pub(super) fn time(&self) -> Timestamp {
        self.opened
            .saturating_add_millis(millis(self.since.elapsed()))
    }

    /// The same, and what is written down. A machine that slept is later than this clock.
    pub(super) fn now(&self) -> Now {
        let time = self.time();
        let stamp = time.max(wall_clock());
        Now { time, stamp }
    }
}

/// The time of this machine; none before 1970, which a batch cannot say.
pub(super) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(since.map_or(0, millis))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
