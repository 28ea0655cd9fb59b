//! `--rate`: when each record may be sent.

use std::time::{Duration, Instant};

/// Gives out the turns of so many records in a second.
#[derive(Debug)]
pub(super) struct Pace {
    rate: u64,
    /// When the first of `given` turns was.
    begun: Instant,
    given: u64,
}

impl Pace {
    /// So many turns in a second, above 0, the first one now.
    pub(super) const fn new(rate: u64, now: Instant) -> Self {
        Self {
            rate,
            begun: now,
            given: 0,
        }
    }

    /// The next record's turn. A short delay is made up for; after a long one the turns begin anew.
    pub(super) fn next(&mut self, now: Instant) -> Instant {
        let mut turn = self.begun + self.after();
        if now.saturating_duration_since(turn) > DEBT_MAX {
            (self.begun, self.given, turn) = (now, 0, now);
        }
        self.given += 1;
        turn
    }

    /// From the first turn to the next one.
    fn after(&self) -> Duration {
        let whole = Duration::from_secs(self.given / self.rate);
        let part = u128::from(self.given % self.rate) * 1_000_000_000 / u128::from(self.rate);
        whole + Duration::from_nanos(u64::try_from(part).unwrap_or_default())
    }
}

/// What is made up for at most. A server that was away for a minute, or an input that had nothing,
/// would otherwise be followed by a minute's records at once.
const DEBT_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn turns_are_evenly_apart() {
        let begun = Instant::now();
        let mut pace = Pace::new(4, begun);
        for turn in 0..10 {
            assert_eq!(pace.next(begun), begun + millis(turn * 250));
        }
        let mut fast = Pace::new(u64::MAX, begun);
        assert_eq!(fast.next(begun), begun);
        assert_eq!(fast.next(begun), begun);
    }

    #[test]
    fn a_delay_of_a_second_is_made_up_for() {
        let begun = Instant::now();
        let mut pace = Pace::new(10, begun);
        let late = begun + millis(1_000);
        let turns: Vec<_> = (0..12).map(|_| pace.next(late)).collect();
        assert!(turns[..10].iter().all(|turn| *turn < late));
        assert_eq!(turns[10..], [late, late + millis(100)]);
    }

    /// Every turn of a stall was made up for: as many records went out at once as it had kept back.
    #[test]
    fn after_a_longer_delay_the_turns_begin_anew() {
        let begun = Instant::now();
        let mut pace = Pace::new(10, begun);
        assert_eq!(pace.next(begun), begun);
        let late = begun + millis(60_000);
        for turn in 0..20 {
            assert_eq!(pace.next(late), late + millis(turn * 100));
        }
    }
}
