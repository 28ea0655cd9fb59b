//! Copies that may own a partition of this node by now: while that was not open, or the node did nothing, one of those that
//! follow it may have been promoted. Until each is settled, or all are given up, the partition serves nobody.
//!
//! ```text
//! add ─▶ waited for ─────────────▶ given up, after a while
//!           │   ▲
//!   outrank ▼   │ it is not
//!        outranking                it has a later epoch, and not all tell who owns the partition by that
//!
//! hold ─▶ shown                    any copy has shown who owns the partition, which that one has to take back itself
//! ```
//!
//! Any of them is settled by its word, or the shown one's, and forgotten as it is no follower any more.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::time::{Duration, Instant};

use corelog_record::CopyId;
use corelog_storage::format::replica::Peer;

use super::target::Target;
use crate::core::PartitionKey;
use crate::rt::{self, Notify};

/// How long a partition waits for them while none of the core's answers: whoever does not by then may be gone for good.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it waits in all: those of thousands of partitions are asked within that.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// Those of a core's partitions that have yet to be asked.
#[derive(Debug)]
pub(crate) struct Unasked {
    waiting: RefCell<HashMap<PartitionKey, BTreeMap<CopyId, Waiting>>>,
    /// When one last answered, or could be asked.
    at: Cell<Instant>,
    /// A copy is due for which no partition waits.
    is_called: Cell<bool>,
    added: Notify,
}

/// A copy that a partition waits for.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    /// The node that it has shown to own the partition, itself or one that it knows of, and when.
    shown: Option<(Target, Instant)>,
    /// When it had a later epoch than this log, and not all told who may own the partition by that.
    outranking: Option<Instant>,
    /// Who owns the partition was not reached since, which was told.
    is_told: bool,
    /// What it asks itself tells nothing: it may have waited in a socket while this node stood still, or be of a copy in between,
    /// which goes on following.
    is_deaf: bool,
}

impl Waiting {
    /// If it is waited for however long that takes.
    fn is_held(&self) -> bool {
        self.shown.is_some() || self.outranking.is_some()
    }
}

impl Unasked {
    pub(super) fn new() -> Self {
        Self {
            waiting: RefCell::default(),
            at: Cell::new(rt::now()),
            is_called: Cell::new(false),
            added: Notify::new(),
        }
    }

    pub(super) fn add(&self, key: PartitionKey, copy: CopyId) {
        self.change(key, copy, |_| {});
    }

    /// The same of one that has to be asked: what it says itself may have waited in a socket.
    pub(super) fn add_deaf(&self, key: PartitionKey, copy: CopyId) {
        self.change(key, copy, |known| known.is_deaf = true);
    }

    /// Waits for a copy that has shown which node owns the partition, itself or another, until that one says when asked that it
    /// does not.
    pub(super) fn hold(&self, key: PartitionKey, copy: CopyId, owner: Target) {
        self.change(key, copy, |known| {
            known.shown = Some((owner, rt::now()));
            known.is_told = false;
            known.is_deaf = true;
        });
    }

    /// Waits for a copy, from now on if it did not yet.
    fn change(&self, key: PartitionKey, copy: CopyId, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting.borrow_mut();
        let known = waiting.entry(key).or_default().entry(copy);
        change(known.or_insert_with(|| Waiting {
            since: rt::now(),
            shown: None,
            outranking: None,
            is_told: false,
            is_deaf: false,
        }));
        self.added.notify();
    }

    /// Has those asked that are due, though no partition waits for them.
    pub(super) fn call(&self) {
        self.is_called.set(true);
        self.added.notify();
    }

    /// If that was asked for since this was.
    pub(super) fn take_call(&self) -> bool {
        self.is_called.take()
    }

    /// Waits until there is one, or they are to be asked.
    pub(super) async fn any(&self) {
        let is_any = || !self.is_empty() || self.is_called.get();
        self.added.until(is_any).await;
    }

    /// From now on they can be asked.
    pub(super) fn begin(&self) {
        self.at.set(rt::now());
        self.each(|known| known.since = self.at.get());
    }

    fn each(&self, change: impl Fn(&mut Waiting)) {
        let mut waiting = self.waiting.borrow_mut();
        let all = waiting.values_mut().flat_map(BTreeMap::values_mut);
        all.for_each(change);
    }

    /// It has answered, or follows.
    pub(super) fn settle(&self, key: PartitionKey, copy: CopyId) {
        let mut waiting = self.waiting.borrow_mut();
        let Some(known) = waiting.get_mut(&key) else {
            return;
        };
        if known.remove(&copy).is_some() {
            self.at.set(rt::now());
        }
        if known.is_empty() {
            waiting.remove(&key);
        }
    }

    /// If there is one of a partition that `is_it`.
    pub(crate) fn is_any(&self, key: PartitionKey, is_it: impl Fn(CopyId) -> bool) -> bool {
        let waiting = self.waiting.borrow();
        let mut known = waiting.get(&key).into_iter().flat_map(BTreeMap::keys);
        known.any(|copy| is_it(*copy))
    }

    /// The same, if it has to be asked.
    pub(super) fn is_deaf_to(&self, key: PartitionKey, copy: CopyId) -> bool {
        self.of(key, copy, |known| known.is_deaf).unwrap_or(false)
    }

    /// The node that a copy has shown to own the partition, and when.
    pub(super) fn shown(&self, key: PartitionKey, copy: CopyId) -> Option<(Target, Instant)> {
        self.of(key, copy, |known| known.shown.clone()).flatten()
    }

    /// A copy has a later epoch than this log, while not all tell who owns the partition by that: it is waited for, if any is. Until it
    /// is asked again it has: it may follow this node meanwhile.
    pub(super) fn outrank(&self, key: PartitionKey, copy: CopyId) {
        if !self.is_any(key, |_| true) {
            return;
        }
        self.change(key, copy, |known| {
            known.outranking = Some(rt::now());
            known.is_deaf = true;
        });
    }

    /// It has none, by a question that was `begun` then.
    pub(super) fn outrank_no_more(&self, key: PartitionKey, copy: CopyId, begun: Instant) {
        if !self.outranks_since(key, copy, begun) {
            self.of(key, copy, |known| known.outranking = None);
        }
    }

    /// If it was found to have one since a question was `begun`, of which that says nothing.
    pub(super) fn outranks_since(&self, key: PartitionKey, copy: CopyId, begun: Instant) -> bool {
        let is_since = |known: &mut Waiting| known.outranking.is_some_and(|at| begun < at);
        self.of(key, copy, is_since).unwrap_or(false)
    }

    /// If a copy has shown that another node than its own owns a partition, or came to by a later epoch: that it is gone itself
    /// says nothing of that one.
    pub(super) fn is_of_another(&self, key: PartitionKey, by: &Peer) -> bool {
        let is_of_another = |known: &mut Waiting| {
            let shown = known.shown.as_ref();
            known.outranking.is_some() || shown.is_some_and(|(owner, _)| owner.node != by.node)
        };
        self.of(key, by.copy, is_of_another).unwrap_or(false)
    }

    /// If a copy of a partition has shown that another node owns it, or came to by a later epoch.
    pub(super) fn is_held(&self, key: PartitionKey) -> bool {
        let waiting = self.waiting.borrow();
        let mut known = waiting.get(&key).into_iter().flat_map(BTreeMap::values);
        known.any(Waiting::is_held)
    }

    /// If it is yet to be told that this one is not reached: from now on it is not.
    pub(super) fn may_tell(&self, key: PartitionKey, copy: CopyId) -> bool {
        self.of(key, copy, |known| !mem::replace(&mut known.is_told, true))
            .unwrap_or(false)
    }

    fn of<T>(
        &self,
        key: PartitionKey,
        copy: CopyId,
        what: impl FnOnce(&mut Waiting) -> T,
    ) -> Option<T> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.get_mut(&key)?.get_mut(&copy).map(what)
    }

    /// This node stood still: those that are waited for have to be asked, from now on.
    pub(super) fn stood_still(&self) {
        self.begin();
        self.each(|known| known.is_deaf = true);
    }

    /// Forgets those that are followers no more.
    pub(super) fn retain(&self, is_follower: impl Fn(PartitionKey, CopyId) -> bool) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|key, known| {
            known.retain(|copy, _| is_follower(*key, *copy));
            !known.is_empty()
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Forgets those of a partition that goes away.
    pub(super) fn forget(&self, key: PartitionKey) {
        self.waiting.borrow_mut().remove(&key);
    }

    /// Takes those of partitions that waited for each of them for long enough.
    pub(super) fn give_up(&self) -> Vec<(PartitionKey, Vec<CopyId>)> {
        let now = rt::now();
        let is_silent = self.at.get() + PATIENCE <= now;
        let is_late = |known: &Waiting| {
            let patience = if is_silent { PATIENCE } else { PATIENCE_MAX };
            known.since + patience <= now && !known.is_held()
        };
        let mut waiting = self.waiting.borrow_mut();
        let given_up = waiting.extract_if(|_, known| known.values().all(is_late));
        given_up
            .map(|(key, known)| (key, known.into_keys().collect()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::NodeId;

    use super::*;
    use crate::core::tests::{self, with_core};

    #[test]
    fn a_partition_waits_for_each_of_its_copies() {
        with_core(|_| async {
            let unasked = Unasked::new();
            let [one, other] = [1, 2].map(|id| CopyId::from_bytes([id; 16]));
            unasked.add(key(0), one);
            unasked.add(key(0), other);
            unasked.settle(key(0), one);
            unasked.settle(key(0), one);
            unasked.settle(key(1), other);
            assert!(unasked.is_any(key(0), |copy| copy == other));
            assert!(!unasked.is_any(key(0), |copy| copy == one));
            assert!(!unasked.is_any(key(1), |_| true));
            unasked.settle(key(0), other);
            assert!(unasked.is_empty());
        });
    }

    #[test]
    fn who_has_shown_that_it_owns_the_partition_is_waited_for_until_it_says_that_it_does_not() {
        with_core(|_| async {
            let unasked = Unasked::new();
            let one = CopyId::from_bytes([1; 16]);
            let owner = || Target {
                node: NodeId::from_bytes([1; 16]),
                address: "a:1".to_owned(),
            };
            unasked.hold(key(0), one, owner());
            assert!(unasked.is_deaf_to(key(0), one));
            let shown = unasked.shown(key(0), one).unwrap();
            assert_eq!(shown.0.node, owner().node);
            let tells = || unasked.may_tell(key(0), one);
            assert_eq!([tells(), tells()], [true, false]);
            let ago = rt::now().checked_sub(PATIENCE_MAX).unwrap();
            let long_ago = || {
                unasked.at.set(ago);
                unasked.each(|known| known.since = ago);
            };
            long_ago();
            assert!(unasked.give_up().is_empty());
            let gone = CopyId::from_bytes([2; 16]);
            unasked.add(key(0), gone);
            long_ago();
            assert!(unasked.give_up().is_empty(), "the partition waits");
            unasked.settle(key(0), one);
            assert!(!unasked.is_empty());
            assert_eq!(
                unasked.give_up().len(),
                1,
                "the other one is not waited for"
            );

            unasked.hold(key(0), one, owner());
            unasked.add(key(0), gone);
            unasked.retain(|_, copy| copy == gone);
            long_ago();
            assert_eq!(unasked.give_up().len(), 1, "it was forgotten");
        });
    }

    /// Where nobody waits for it the partition serves already.
    #[test]
    fn a_copy_with_a_later_epoch_is_waited_for_as_long_as_it_has_that_where_one_waits_at_all() {
        with_core(|_| async {
            let unasked = Unasked::new();
            let one = CopyId::from_bytes([1; 16]);
            unasked.outrank(key(0), one);
            assert!(unasked.is_empty());
            unasked.add(key(0), CopyId::from_bytes([2; 16]));
            unasked.outrank(key(0), one);
            unasked.settle(key(0), CopyId::from_bytes([2; 16]));
            assert!(unasked.is_held(key(0)));
            assert!(unasked.is_deaf_to(key(0), one));
            let ago = rt::now().checked_sub(PATIENCE_MAX).unwrap();
            unasked.at.set(ago);
            unasked.each(|known| known.since = ago);
            assert!(unasked.give_up().is_empty());
            unasked.outrank_no_more(key(0), one, ago);
            assert!(unasked.is_held(key(0)), "it was asked before that");
            unasked.outrank_no_more(key(0), one, rt::now());
            assert!(!unasked.is_held(key(0)));
            assert_eq!(unasked.give_up(), [(key(0), vec![one])]);
        });
    }

    #[test]
    fn what_a_copy_asks_itself_tells_nothing_of_it_behind_a_standstill() {
        with_core(|_| async {
            let unasked = Unasked::new();
            let one = CopyId::from_bytes([1; 16]);
            unasked.add(key(0), one);
            assert!(!unasked.is_deaf_to(key(0), one));
            unasked.stood_still();
            assert!(unasked.is_deaf_to(key(0), one));
            unasked.settle(key(0), one);
            assert!(!unasked.is_deaf_to(key(0), one));
            unasked.add(key(0), one);
            assert!(!unasked.is_deaf_to(key(0), one), "until the next one");
        });
    }

    #[test]
    fn who_does_not_answer_is_waited_for_as_long_as_others_do_but_not_for_ever() {
        with_core(|_| async {
            let unasked = Unasked::new();
            let [one, other] = [1, 2].map(|id| CopyId::from_bytes([id; 16]));
            let ago = |time| rt::now().checked_sub(time).unwrap();
            let since = |time| unasked.each(|known| known.since = ago(time));
            unasked.add(key(0), one);
            unasked.add(key(1), other);
            unasked.at.set(ago(PATIENCE));
            assert!(unasked.give_up().is_empty(), "it was just added");
            since(PATIENCE);
            unasked.settle(key(1), other);
            assert!(unasked.give_up().is_empty(), "another has just answered");
            unasked.at.set(ago(PATIENCE));
            assert_eq!(unasked.give_up(), [(key(0), vec![one])]);
            unasked.add(key(0), one);
            since(PATIENCE_MAX);
            unasked.settle(key(1), other);
            unasked.at.set(rt::now());
            assert_eq!(unasked.give_up(), [(key(0), vec![one])]);
            assert!(unasked.is_empty());
        });
    }

    /// One that came to be remembered while another was waited for was given up with that, before anybody had asked it, and what
    /// the other one asked itself told nothing any more.
    #[test]
    fn a_copy_is_waited_for_from_when_it_came_whoever_was_waited_for_before() {
        with_core(|_| async {
            let unasked = Unasked::new();
            let [one, other] = [1, 2].map(|id| CopyId::from_bytes([id; 16]));
            unasked.add(key(0), one);
            let ago = rt::now().checked_sub(PATIENCE).unwrap();
            unasked.at.set(ago);
            unasked.each(|known| known.since = ago);
            unasked.add_deaf(key(0), other);
            unasked.add(key(0), one);
            assert!(!unasked.is_deaf_to(key(0), one));
            assert!(unasked.is_deaf_to(key(0), other));
            assert!(unasked.give_up().is_empty(), "the other has just come");
            unasked.settle(key(0), other);
            unasked.at.set(ago);
            assert_eq!(unasked.give_up(), [(key(0), vec![one])]);
        });
    }

    fn key(partition: u32) -> PartitionKey {
        tests::key(7, partition)
    }
}
