//! How fast the transfers of a node are, all together.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use corelog_protocol::limits;

use crate::rate::Rate;
use crate::rt;

/// Bytes in a second, shared by all transfers of a node: who asks first sends first, and nobody gets
/// two portions while another waits for one.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes in a second; 0: as many as there are.
    rate: Rate,
    next: Mutex<Next>,
}

/// When the next portion may be sent, at the rate that held when that was reckoned.
#[derive(Debug)]
struct Next {
    at: Instant,
    rate: u64,
}

impl Budget {
    pub(super) fn new(rate: impl Into<Rate>) -> Self {
        let rate = rate.into();
        let next = Next {
            at: rt::now(),
            rate: rate.get(),
        };
        Self {
            rate,
            next: Mutex::new(next),
        }
    }

    /// How many bytes are asked for at once: a 64th of a second, so that nobody else's packets wait
    /// behind a burst.
    pub(super) fn portion(&self) -> u64 {
        match self.rate.get() {
            0 => PORTION_BYTES.end,
            rate => (rate / PORTIONS_PER_SECOND).clamp(PORTION_BYTES.start, PORTION_BYTES.end),
        }
    }

    /// How many bytes a piece has, between two of which a sender looks at who else waits: `wanted`, or what takes about
    /// a second if that is less.
    pub(super) fn piece(&self, wanted: u64) -> u64 {
        match self.rate.get() {
            0 => wanted,
            rate => wanted.min((rate / PIECES_PER_SECOND).max(PIECE_BYTES_MIN)),
        }
    }

    /// Waits until so many bytes may be sent; false if `is_over` before that. Another rate counts at
    /// once.
    pub(super) fn wait(&self, bytes: u64, is_over: impl Fn() -> bool) -> bool {
        loop {
            let rate = self.rate.get();
            let at = self.reserve(bytes, rate, rt::now());
            while self.rate.get() == rate {
                if is_over() {
                    return false;
                }
                let left = at.map(|at| at.saturating_duration_since(rt::now()));
                let Some(left) = left.filter(|left| !left.is_zero()) else {
                    return true;
                };
                thread::sleep(left.min(LOOK_EVERY));
            }
        }
    }

    /// When so many bytes may be sent; None: at once. Time that nobody used is not saved up, nor is
    /// what was reserved at another rate.
    fn reserve(&self, bytes: u64, rate: u64, now: Instant) -> Option<Instant> {
        let nanos = bytes.saturating_mul(1_000_000_000).checked_div(rate)?;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = if next.rate == rate {
            now.max(next.at)
        } else {
            now
        };
        *next = Next {
            at: at + Duration::from_nanos(nanos),
            rate,
        };
        Some(at)
    }
}

const PORTIONS_PER_SECOND: u64 = 64;
/// The least and the most that is asked for at once, in bytes.
const PORTION_BYTES: std::ops::Range<u64> = 4 << 10..1 << 20;
/// As many pieces in a second as there are places.
const PIECES_PER_SECOND: u64 = super::PLACES as u64;
/// A head costs some hundred bytes.
const PIECE_BYTES_MIN: u64 = limits::COPY_PIECE_BYTES_MIN as u64;
/// How often who waits looks if anybody still wants the bytes.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_of_all_who_ask_follow_each_other_at_the_rate() {
        let budget = Budget::new(1 << 20);
        let now = rt::now();
        let after = |millis| Some(now + Duration::from_millis(millis));
        assert_eq!(budget.reserve(512 << 10, 1 << 20, now), after(0));
        assert_eq!(budget.reserve(256 << 10, 1 << 20, now), after(500));
        assert_eq!(budget.reserve(1 << 20, 1 << 20, now), after(750));
        let later = now + Duration::from_secs(60);
        assert_eq!(
            budget.reserve(1, 1 << 20, later),
            Some(later),
            "an idle minute is not made up for"
        );
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let budget = Budget::new(0);
        assert_eq!(budget.reserve(u64::MAX, 0, rt::now()), None);
        assert!(budget.wait(u64::MAX, || false));
        assert!(!budget.wait(1, || true));
    }

    #[test]
    fn who_is_not_waited_for_any_more_stops_waiting() {
        let budget = Budget::new(1);
        assert!(
            budget.wait(1_000_000, || false),
            "the first portion is free"
        );
        assert!(!budget.wait(1, || true));
    }

    #[test]
    fn who_waits_at_a_low_rate_goes_on_once_it_is_raised() {
        let rate = Rate::from(1);
        let budget = Budget::new(rate.clone());
        assert!(budget.wait(1_000_000, || false));
        // The first look finds the old rate, for which this would wait for days.
        let looks = std::cell::Cell::new(0);
        let raise = || {
            looks.set(looks.get() + 1);
            rate.set(1 << 30);
            false
        };
        assert!(budget.wait(1_000_000, raise));
        assert!(looks.get() >= 2, "it waited before and looked after");
    }

    #[test]
    fn at_a_low_rate_portions_and_pieces_are_small() {
        let (slow, fast) = (Budget::new(1 << 20), Budget::new(1 << 30));
        assert_eq!((slow.portion(), fast.portion()), (16 << 10, 1 << 20));
        assert_eq!(slow.piece(4 << 20), 128 << 10);
        assert_eq!(fast.piece(4 << 20), 4 << 20);
    }
}
