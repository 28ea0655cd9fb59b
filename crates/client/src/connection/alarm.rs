//! When time has run out for what is waited for: not in the moment in which this process finds that it was held up itself.
//!
//! Who was stopped and goes on, as a container that was frozen does, finds all of its timers over before it has looked at a
//! socket, where the answer may have been for long.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is believed if it goes off in time, or once what came meanwhile was looked at.
#[derive(Debug)]
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// How often in a row it went off too late to be believed.
    late_count: u32,
}

impl Alarm {
    /// One that goes off at `at`, for the first time.
    pub(crate) fn at(at: Instant) -> Self {
        Self {
            sleep: Box::pin(sleep_until(at)),
            late_count: 0,
        }
    }

    /// Waits until time has run out at `end`, whenever the alarm went off, or would have. Cancel-safe.
    pub(crate) async fn run_out(&mut self, end: Instant) {
        // What was waited for before may have had more time. One that was late is about to look once more.
        let is_late = self.late_count > 0 && end <= Instant::now();
        if end < self.sleep.deadline() && !is_late {
            self.sleep.as_mut().reset(end);
        }
        loop {
            self.sleep.as_mut().await;
            if self.is_over(end, Instant::now()) {
                return;
            }
        }
    }

    /// If time has run out, now that the alarm has gone off; it is set anew if not.
    fn is_over(&mut self, end: Instant, now: Instant) -> bool {
        if now < end {
            self.late_count = 0;
            self.sleep.as_mut().reset(end);
            return false;
        }
        let due = end.max(self.sleep.deadline());
        if now < due + LATE_MIN || self.late_count == LATE_COUNT_MAX {
            return true;
        }
        self.late_count += 1;
        self.sleep.as_mut().reset(now + GRACE);
        false
    }
}

/// What `future` comes to, or `None` once time has run out at `end`.
pub(crate) async fn in_time<F: Future>(end: Instant, future: F) -> Option<F::Output> {
    let mut alarm = Alarm::at(end);
    tokio::select! {
        biased;
        come = future => Some(come),
        () = alarm.run_out(end) => None,
    }
}

/// Whose timer is so late was not only waiting for its turn on a busy machine.
const LATE_MIN: Duration = Duration::from_millis(100);

/// In this time all is read that came while nobody could.
const GRACE: Duration = Duration::from_secs(1);

/// A program whose timers are always late has its requests end all the same.
const LATE_COUNT_MAX: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const AGO: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn an_alarm_in_time_is_believed_and_one_before_it_set_anew() {
        let now = Instant::now();
        let mut alarm = Alarm::at(now - AGO);
        let end = now + AGO;
        assert!(!alarm.is_over(end, now));
        assert_eq!(alarm.sleep.deadline(), end);
        assert!(alarm.is_over(end, end));
    }

    /// It slept until then: a request's time was over for up to a second before anybody was told.
    #[tokio::test]
    async fn an_alarm_that_was_set_for_later_goes_off_in_time() {
        let begun = Instant::now();
        let later = begun + Duration::from_secs(60);
        let mut alarm = Alarm::at(later);
        alarm.run_out(begun + Duration::from_millis(1)).await;
        assert!(Instant::now() < later);
    }

    #[tokio::test]
    async fn an_alarm_that_is_late_is_believed_when_it_goes_off_again() {
        let now = Instant::now();
        let end = now - AGO;
        let mut alarm = Alarm::at(end);
        assert!(!alarm.is_over(end, now));
        let again = alarm.sleep.deadline();
        assert_eq!(again, now + GRACE);
        assert!(alarm.is_over(end, again));
    }

    #[tokio::test]
    async fn alarms_that_are_always_late_are_believed_in_the_end() {
        let (end, mut now) = (Instant::now(), Instant::now() + AGO);
        let mut alarm = Alarm::at(end);
        let mut count = 0;
        while !alarm.is_over(end, now) {
            now += AGO;
            count += 1;
        }
        assert_eq!(count, LATE_COUNT_MAX);
    }
}
