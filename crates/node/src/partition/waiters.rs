//! Fetches parked at the end of a partition. A parked one costs nothing until the bytes it waits
//! for have come, or its segment has ended: an advance looks at the smallest goal, and only
//! an end, which few outwait, at all of them.

use std::collections::{BTreeMap, HashMap};

use corelog_record::Offset;

use super::input::Token;

/// Fetches parked at the end of a partition.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// Bytes that became readable since the partition was opened.
    readable_bytes: u64,
    /// What each parked request waits for: it wakes when `readable_bytes` reaches its goal.
    waiting: HashMap<Token, u64>,
    /// The same, the smallest goal first, and from where on each reads.
    goals: BTreeMap<(u64, Token), Offset>,
    /// Nobody waits below.
    border: Offset,
}

impl Waiters {
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Parks a request of what is `from` there on until `bytes_min` more bytes are readable. How many may be parked the core
    /// bounds, which knows of those at all its partitions.
    pub(super) fn park(&mut self, token: Token, from: Offset, bytes_min: u64) {
        let goal = self.readable_bytes.saturating_add(bytes_min.max(1));
        let before = self.waiting.insert(token, goal);
        assert!(before.is_none(), "a request was parked twice");
        self.goals.insert((goal, token), from);
        self.border = self.border.min(from);
    }

    pub(super) fn unpark(&mut self, token: Token) {
        if let Some(goal) = self.waiting.remove(&token) {
            self.goals.remove(&(goal, token));
        }
    }

    /// So many more bytes are readable: wakes whoever waited for them.
    pub(super) fn advance(&mut self, bytes: u64, mut wake: impl FnMut(Token)) {
        self.readable_bytes = self.readable_bytes.saturating_add(bytes);
        while let Some((&(goal, token), _)) = self.goals.first_key_value()
            && goal <= self.readable_bytes
        {
            self.unpark(token);
            wake(token);
        }
    }

    /// The segments below `border` have ended: wakes whoever waits in one. As long as it is where it was nobody does.
    pub(super) fn wake_below(&mut self, border: Offset, mut wake: impl FnMut(Token)) {
        if border <= self.border {
            return;
        }
        self.border = border;
        self.goals.retain(|(_, token), from| {
            let has_ended = *from < border;
            if has_ended {
                self.waiting.remove(token);
                wake(*token);
            }
            !has_ended
        });
    }

    pub(super) fn wake_all(&mut self, wake: impl FnMut(Token)) {
        self.waiting.clear();
        let goals = std::mem::take(&mut self.goals);
        goals.into_keys().map(|(_, token)| token).for_each(wake);
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
        waiters.park(Token(1), Offset::ZERO, 0);
        waiters.park(Token(2), Offset::ZERO, 100);
        assert_eq!(woken(&mut waiters, 60), vec![1]);
        waiters.park(Token(3), Offset::ZERO, 10);
        assert_eq!(woken(&mut waiters, 9), Vec::<u64>::new());
        assert_eq!(woken(&mut waiters, 31), vec![3, 2]);
        assert_eq!(waiters.count(), 0);
    }

    #[test]
    fn an_unparked_fetch_is_not_woken() {
        let mut waiters = Waiters::default();
        waiters.park(Token(1), Offset::ZERO, 1);
        waiters.park(Token(2), Offset::ZERO, 50);
        waiters.unpark(Token(1));
        assert_eq!(woken(&mut waiters, 49), Vec::<u64>::new());
        assert_eq!(woken(&mut waiters, 1), vec![2]);
    }

    /// While one waited, each step of the partition looked for who waits lowest.
    #[test]
    fn where_a_segment_ends_is_looked_at_again_only_if_it_moved_or_who_waits_came_below() {
        let mut waiters = Waiters::default();
        let ended = |waiters: &mut Waiters, border| {
            let mut woken = Vec::new();
            waiters.wake_below(border, |token| woken.push(token.0));
            woken
        };
        let at = |offset| Offset::ZERO.plus(offset);
        waiters.park(Token(1), at(5), 9);
        waiters.park(Token(2), at(7), 1);
        waiters.park(Token(3), at(8), 1);
        assert_eq!(ended(&mut waiters, at(8)), vec![2, 1]);
        assert_eq!((waiters.border, waiters.count()), (at(8), 1));
        // A log that was cut ends there again.
        waiters.park(Token(4), at(6), 1);
        assert_eq!(ended(&mut waiters, at(6)), Vec::<u64>::new());
        assert_eq!(ended(&mut waiters, at(8)), vec![4]);
        assert_eq!(ended(&mut waiters, at(9)), vec![3]);
    }
}
