//! An open loop: batches are due on a fixed schedule, whatever became of those before, so that a stall shows in
//! every one behind it (Tene, *How NOT to measure latency*, 2015).

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Result;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// When each batch of a connection is due.
pub struct Schedule {
    first: Instant,
    every: Duration,
}

impl Schedule {
    /// Of connection `number` of `count`, which take turns from `begin` on at `rate` batches a second together.
    pub fn new(begin: Instant, rate: f64, (number, count): (usize, usize)) -> Self {
        Self {
            first: begin + Duration::from_secs_f64(number as f64 / rate),
            every: Duration::from_secs_f64(count as f64 / rate),
        }
    }

    pub fn due(&self, batch: u64) -> Instant {
        self.first + self.every.mul_f64(batch as f64)
    }
}

/// Wakes a thread that waits in epoll, whose own timeouts are whole milliseconds.
pub struct Alarm(OwnedFd);

impl Alarm {
    /// One that is told as an event of `token`.
    pub fn new(registry: &Registry, token: Token) -> Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let mut source = SourceFd(&timer.as_raw_fd());
        registry.register(&mut source, token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Has it go off once, at `due`, or at once if that is over; what it was set to before is forgotten.
    pub fn set(&self, due: Instant) -> Result<()> {
        // Zero would turn it off.
        let wait = due.saturating_duration_since(Instant::now());
        let wait = wait.max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: wait.try_into()?,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns_on_one_schedule() {
        let begin = Instant::now();
        let schedules: Vec<_> = (0..8)
            .map(|number| Schedule::new(begin, 1000.0, (number, 8)))
            .collect();
        for batch in 0..80 {
            let due = schedules[batch % 8].due(batch as u64 / 8);
            assert_eq!(due, begin + Duration::from_millis(batch as u64));
        }
    }
}
