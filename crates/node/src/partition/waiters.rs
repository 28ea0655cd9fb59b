//! Fetches parked at the end of a partition. A parked one costs nothing until the bytes it waits
//! for have come, or its segment has ended: an advance looks at the smallest goal, an end at the lowest place.

use std::collections::{BTreeSet, HashMap};

use corelog_record::Offset;

use super::input::Token;

/// Fetches one partition parks at most; more are told there is nothing at once.
pub(crate) const PARKED_MAX: usize = 16_384;

/// Fetches parked at the end of a partition.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// Bytes that became readable since the partition was opened.
    readable_bytes: u64,
    /// What each parked request waits for, and from where on: it wakes when `readable_bytes` reaches its goal.
    waiting: HashMap<Token, (u64, Offset)>,
    /// The same, the smallest goal first.
    goals: BTreeSet<(u64, Token)>,
    /// The same, the lowest place first.
    places: BTreeSet<(Offset, Token)>,
}

impl Waiters {
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Parks a request of what is `from` there on until `bytes_min` more bytes are readable; false if too many are parked.
    pub(super) fn park(&mut self, token: Token, from: Offset, bytes_min: u64) -> bool {
        if self.count() >= PARKED_MAX {
            return false;
        }
        let goal = self.readable_bytes.saturating_add(bytes_min.max(1));
        let before = self.waiting.insert(token, (goal, from));
        assert!(before.is_none(), "a request was parked twice");
        self.goals.insert((goal, token));
        self.places.insert((from, token));
        true
    }

    pub(super) fn unpark(&mut self, token: Token) {
        if let Some((goal, from)) = self.waiting.remove(&token) {
            self.goals.remove(&(goal, token));
            self.places.remove(&(from, token));
        }
    }

    /// So many more bytes are readable: wakes whoever waited for them.
    pub(super) fn advance(&mut self, bytes: u64, mut wake: impl FnMut(Token)) {
        self.readable_bytes = self.readable_bytes.saturating_add(bytes);
        while let Some(&(goal, token)) = self.goals.first()
            && goal <= self.readable_bytes
        {
            self.unpark(token);
            wake(token);
        }
    }

    /// The segments below `border` have ended: wakes whoever waits in one.
    pub(super) fn wake_below(&mut self, border: Offset, mut wake: impl FnMut(Token)) {
        while let Some(&(from, token)) = self.places.first()
            && from < border
        {
            self.unpark(token);
            wake(token);
        }
    }

    pub(super) fn wake_all(&mut self, wake: impl FnMut(Token)) {
        self.waiting.clear();
        self.places.clear();
        let goals = std::mem::take(&mut self.goals);
        goals.into_iter().map(|(_, token)| token).for_each(wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken(waiters: &mut Waiters, bytes: u64) -> Vec<u64> {
        let mut woken = Vec::new();
        waiters.advance(bytes, |token| woken.push(token.0));
        woken
    }

    #[test]
    fn a_parked_fetch_wakes_when_the_bytes_it_waits_for_have_come() {
        let mut waiters = Waiters::default();
        assert!(waiters.park(Token(1), Offset::ZERO, 0));
        assert!(waiters.park(Token(2), Offset::ZERO, 100));
        assert_eq!(woken(&mut waiters, 60), vec![1]);
        assert!(waiters.park(Token(3), Offset::ZERO, 10));
        assert_eq!(woken(&mut waiters, 9), Vec::<u64>::new());
        assert_eq!(woken(&mut waiters, 31), vec![3, 2]);
        assert_eq!(waiters.count(), 0);
    }

    #[test]
    fn an_unparked_fetch_is_not_woken() {
        let mut waiters = Waiters::default();
        assert!(waiters.park(Token(1), Offset::ZERO, 1));
        assert!(waiters.park(Token(2), Offset::ZERO, 50));
        waiters.unpark(Token(1));
        assert_eq!(woken(&mut waiters, 49), Vec::<u64>::new());
        assert_eq!(woken(&mut waiters, 1), vec![2]);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut waiters = Waiters::default();
        for token in 0..PARKED_MAX as u64 {
            assert!(waiters.park(Token(token), Offset::ZERO, 1));
        }
        assert!(!waiters.park(Token(u64::MAX), Offset::ZERO, 1));
    }
}
