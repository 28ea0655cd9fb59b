//! Who follows the partitions of this core, and up to where, as far as was heard.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use corelog_record::{CopyId, LeaderEpoch, NodeId, Offset};
use corelog_storage::format::replica::Peer;

use super::contested::{Contested, Noted};
use super::pause::Pulse;
use super::unasked::Unasked;
use crate::core::PartitionKey;
use crate::rt;

/// Followers of one partition that are remembered: more copies than anyone keeps.
pub(crate) const FOLLOWERS_MAX: usize = 8;

/// How often, at most, core 0 is asked to write down an address of a partition's follower.
const REMEMBER_EVERY: Duration = Duration::from_millis(200);
/// How often, at most, a follower of a partition is asked if it owns it by now.
const CLAIM_EVERY: Duration = Duration::from_secs(5);

/// The followers of a core's partitions.
#[derive(Debug)]
pub(crate) struct Followers {
    /// When the core began to listen to them.
    pub(super) since: Instant,
    pub(crate) unasked: Unasked,
    pub(super) contested: Contested,
    /// With the copy that has more than its owner, this node.
    pub(super) ahead: Noted,
    pub(super) pulse: Pulse,
    /// When what was heard before was doubted.
    doubted: Cell<Option<Instant>>,
    /// Copies that have yet to tell whom else they know of, which what they ask themselves does not.
    untold: RefCell<HashSet<(PartitionKey, CopyId)>>,
    heard: RefCell<HashMap<PartitionKey, Heard>>,
}

/// Those of one partition.
#[derive(Debug, Default)]
struct Heard {
    followers: Vec<Follower>,
    /// When one was last asked if it owns the partition.
    claim_checked: Option<Instant>,
    /// When an address was last to be written down.
    remembered: Option<Instant>,
}

/// A copy that follows a partition of this core.
#[derive(Debug, Clone)]
pub(crate) struct Follower {
    pub(crate) copy: CopyId,
    pub(crate) node: Option<NodeId>,
    pub(crate) address: Option<String>,
    /// Its end, durable there.
    pub(crate) end: Offset,
    pub(crate) at: Instant,
    /// The newest epoch of this log that it was told of.
    pub(super) told: Option<LeaderEpoch>,
    /// It has told of an epoch that this log has not, and nothing else since: it is asked once it is remembered.
    pub(super) is_claiming: bool,
}

impl Follower {
    /// As one that is written down, where it has said who and where it is.
    pub(super) fn peer(self) -> Option<Peer> {
        Some(Peer {
            node: self.node?,
            copy: self.copy,
            address: self.address?,
        })
    }
}

impl Followers {
    /// None were heard yet.
    pub(crate) fn new() -> Self {
        Self {
            since: rt::now(),
            unasked: Unasked::new(),
            contested: Contested::default(),
            ahead: Noted::default(),
            pulse: Pulse::new(),
            doubted: Cell::new(None),
            untold: RefCell::default(),
            heard: RefCell::default(),
        }
    }

    /// Those of a partition that were heard since the node was started, longest silent first.
    pub(crate) fn of(&self, key: PartitionKey) -> Vec<Follower> {
        let heard = self.heard.borrow();
        let followers = heard.get(&key).map(|heard| heard.followers.clone());
        let mut followers = followers.unwrap_or_default();
        followers.sort_by_key(|follower| follower.at);
        followers
    }

    /// When one of them was last heard since the node was started.
    pub(super) fn heard_at(&self, key: PartitionKey, copy: CopyId) -> Option<Instant> {
        self.last_of(key, copy, |known| known.at)
    }

    /// Something of one of them that was heard since the node was started.
    fn last_of<T>(
        &self,
        key: PartitionKey,
        copy: CopyId,
        what: impl FnOnce(&Follower) -> T,
    ) -> Option<T> {
        let heard = self.heard.borrow();
        let mut followers = heard.get(&key)?.followers.iter();
        followers.find(|known| known.copy == copy).map(what)
    }

    /// Takes note of one, in the place of what its node had before.
    pub(super) fn note(&self, key: PartitionKey, follower: Follower) {
        let mut heard = self.heard.borrow_mut();
        let known = &mut heard.entry(key).or_default().followers;
        let is_other = |known: &Follower| {
            let is_same_node = known.node.is_some() && known.node == follower.node;
            known.copy != follower.copy && !is_same_node
        };
        known.retain(is_other);
        if known.len() == FOLLOWERS_MAX {
            let silent = (0..known.len()).min_by_key(|&at| known[at].at);
            silent.map(|at| known.swap_remove(at));
        }
        known.push(follower);
    }

    /// What was heard of them until now tells nothing of what they are.
    pub(super) fn doubt_all(&self) {
        self.doubted.set(Some(rt::now()));
    }

    /// If what they told when they were `asked` is doubted by now.
    pub(super) fn are_doubted_since(&self, asked: Instant) -> bool {
        self.doubted.get().is_some_and(|doubted| asked <= doubted)
    }

    /// A copy may know of one of its own that owns the partition by now.
    pub(super) fn await_word(&self, key: PartitionKey, copy: CopyId) {
        self.untold.borrow_mut().insert((key, copy));
    }

    /// If one claims the partition, or told that another copy does.
    pub(super) fn is_claiming(&self, key: PartitionKey, copy: CopyId) -> bool {
        let claiming = self.last_of(key, copy, |known| known.is_claiming);
        claiming.unwrap_or_default()
    }

    /// The newest epoch that one of them was told of.
    pub(super) fn told(&self, key: PartitionKey, copy: CopyId) -> Option<LeaderEpoch> {
        self.last_of(key, copy, |known| known.told).flatten()
    }

    /// A copy claims a partition: it is asked with those that are due, though no partition waits for it.
    pub(super) fn ask_soon(&self, key: PartitionKey, copy: CopyId) {
        self.await_word(key, copy);
        self.unasked.call();
    }

    /// It has answered who owns the partition, as far as it knows.
    pub(super) fn note_word(&self, key: PartitionKey, copy: CopyId) {
        self.untold.borrow_mut().remove(&(key, copy));
    }

    /// If it has yet to.
    pub(super) fn awaits_word(&self, key: PartitionKey, copy: CopyId) -> bool {
        self.untold.borrow().contains(&(key, copy))
    }

    /// If a copy was heard as a follower within `time`, and not doubted since.
    pub(super) fn is_heard(&self, key: PartitionKey, copy: CopyId, time: Duration) -> bool {
        let since = self.doubted.get();
        self.heard_at(key, copy)
            .is_some_and(|at| rt::now() < at + time && since.is_none_or(|since| since < at))
    }

    /// If all that was heard of a copy may have been said before this node stood still: also what came within `time` behind that.
    pub(super) fn is_doubted(&self, key: PartitionKey, copy: CopyId, time: Duration) -> bool {
        let heard = self.heard_at(key, copy).unwrap_or_else(rt::now);
        let since = self.doubted.get();
        since.is_some_and(|since| heard < since + time)
    }

    /// Forgets what is awaited of those that are followers no more. The word of one that is remembered is awaited also while the
    /// partition is another node's: it may come back.
    pub(super) fn retain(
        &self,
        is_follower: impl Fn(PartitionKey, CopyId) -> bool,
        is_remembered: impl Fn(PartitionKey, CopyId) -> bool,
    ) {
        self.unasked.retain(is_follower);
        let mut untold = self.untold.borrow_mut();
        untold.retain(|(key, copy)| is_remembered(*key, *copy));
    }

    /// A copy that was asked owns nothing.
    pub(super) fn settle(&self, key: PartitionKey, copy: CopyId) {
        self.unasked.settle(key, copy);
        self.contested.settle(key, copy);
    }

    /// If one was taken note of.
    pub(super) fn knows(&self, key: PartitionKey, copy: CopyId) -> bool {
        self.heard_at(key, copy).is_some()
    }

    /// If it is time to ask one of a partition's followers whether that owns it: from now on it is not.
    pub(super) fn may_check_claim(&self, key: PartitionKey) -> bool {
        let mut heard = self.heard.borrow_mut();
        is_due(
            &mut heard.entry(key).or_default().claim_checked,
            CLAIM_EVERY,
        )
    }

    /// If it is time to have an address of one of a partition's followers written down: from now on it
    /// is not.
    pub(super) fn may_remember(&self, key: PartitionKey) -> bool {
        let mut heard = self.heard.borrow_mut();
        is_due(
            &mut heard.entry(key).or_default().remembered,
            REMEMBER_EVERY,
        )
    }

    /// Forgets those of a partition that are reached at an address.
    pub(super) fn forget_at(&self, key: PartitionKey, address: &str) {
        if let Some(heard) = self.heard.borrow_mut().get_mut(&key) {
            let followers = &mut heard.followers;
            followers.retain(|follower| follower.address.as_deref() != Some(address));
        }
    }

    pub(crate) fn forget(&self, key: PartitionKey) {
        self.unasked.forget(key);
        self.untold
            .borrow_mut()
            .retain(|(untold, _)| *untold != key);
        self.heard.borrow_mut().remove(&key);
    }
}

/// If so much time has passed since `last`, which is now then.
fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let now = rt::now();
    let is_due = last.is_none_or(|last| last + every <= now);
    if is_due {
        *last = Some(now);
    }
    is_due
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use corelog_protocol::error::ErrorCode;
    use corelog_protocol::message::describe_topic::State;
    use corelog_protocol::message::epoch::Epoch;
    use corelog_protocol::message::fetch;
    use corelog_record::{Chain, LeaderEpoch, Lineage};
    use corelog_storage::format::replica::{Replica, Role};

    use super::super::asking::SILENT_AFTER;
    use super::super::samples::{heard, owner, peer};
    use super::*;
    use crate::catalog::{Change, Topic};
    use crate::core::tests::{follower, key, logged, topic, until, with_core};
    use crate::metrics::PartitionState;
    use crate::partition::Seek;

    /// Nobody asked it behind the standstill: its owner served for half a minute beside it.
    #[test]
    fn a_follower_that_was_heard_before_a_standstill_and_is_remembered_behind_it_is_asked_first() {
        with_core(|core| async move {
            let (_, key) = topic(1);
            let hear = |number| core.followers.note(key, heard(&peer(number)));
            hear(1);
            core.apply(known(&[1])).await;
            core.check_asked(key).unwrap();

            hear(2);
            core.followers.doubt_all();
            core.apply(known(&[1, 2])).await;
            let waits = core.check_asked(key).unwrap_err();
            assert!(waits.is(ErrorCode::Busy), "{waits:?}");
            assert!(core.followers.unasked.is_deaf_to(key, peer(2).copy));
            core.followers.settle(key, peer(2).copy);
            core.check_asked(key).unwrap();

            // What it said may have waited in a socket.
            hear(3);
            core.apply(known(&[1, 2, 3])).await;
            core.check_asked(key).unwrap_err();
            core.followers.settle(key, peer(3).copy);
            let long_ago = rt::now().checked_sub(SILENT_AFTER);
            core.followers.doubted.set(long_ago);
            hear(4);
            core.apply(known(&[1, 2, 3, 4])).await;
            core.check_asked(key).unwrap();
        });
    }

    /// What it had claimed was forgotten before it was written down who it was, as it followed nobody until then, and another one had
    /// just been asked: the owner served beside it until it said so again, or had been silent for long.
    #[test]
    fn who_claims_a_partition_is_asked_once_it_is_remembered_however_late_that_is() {
        with_core(|core| async move {
            let (_, key) = topic(1);
            core.apply(known(&[])).await;
            core.followers.note(
                key,
                Follower {
                    is_claiming: true,
                    ..heard(&peer(1))
                },
            );
            core.followers.note(key, heard(&peer(2)));
            assert!(core.followers.may_check_claim(key));
            // As whoever asks them does each time.
            core.followers.retain(|_, _| false, |_, _| false);
            assert!(!core.followers.unasked.take_call());
            core.apply(known(&[1, 2])).await;
            let awaits = [1, 2].map(|number| core.followers.awaits_word(key, peer(number).copy));
            assert_eq!(awaits, [true, false]);
            rt::timeout(SILENT_AFTER, core.followers.unasked.any())
                .await
                .expect("they are asked at once");
            assert!(core.followers.unasked.take_call());
        });
    }

    /// It was told that others were being asked, as who had shown it was held until the fence was written down, and a moment
    /// longer.
    #[test]
    fn a_reader_of_a_partition_that_was_given_up_is_sent_elsewhere_whoever_is_held() {
        with_core(|core| async move {
            let (opened, key) = topic(1);
            assert!(core.open_partition(&opened, key).await);
            core.apply(known(&[1])).await;
            core.followers.unasked.hold(key, peer(1).copy, owner(1));
            let refused = async || core.find(key, Seek::Latest).await.unwrap_err();
            let held = refused().await;
            assert!(held.is(ErrorCode::Busy), "{held:?}");
            // Its core takes the change before it is known to all.
            core.apply(Change::Open(of(&[1], Role::Fenced))).await;
            let fenced = refused().await;
            assert!(fenced.is(ErrorCode::NotOwner), "{fenced:?}");
        });
    }

    /// One in between, of which the new owner is a copy, goes on following: within two seconds its owner served again, though it
    /// could not write down that it is none any more, and forgot that two own the partition.
    #[test]
    fn what_a_copy_asks_itself_lets_go_of_nothing_that_it_has_shown() {
        with_core(|core| async move {
            let (opened, key) = topic(1);
            assert!(core.open_partition(&opened, key).await);
            core.apply(known(&[1])).await;
            let copy = peer(1).copy;
            let asks = async || {
                let follower = follower(1, core.place(key).unwrap().durable);
                core.hear(key, fetch::Follower { copy, ..follower })
                    .await
                    .unwrap();
            };
            core.followers.contested.note(key, copy);
            asks().await;
            assert_eq!(core.followers.contested.count(|_, _| true), 1);
            core.check_asked(key).unwrap();

            core.followers.unasked.hold(key, copy, owner(1));
            asks().await;
            let held = core.check_asked(key).unwrap_err();
            assert!(held.is(ErrorCode::Busy), "{held:?}");
            core.followers.settle(key, copy);
            assert_eq!(core.followers.contested.count(|_, _| true), 0);
            core.check_asked(key).unwrap();
        });
    }

    /// It was told as one that serves for as long as it served nobody, and its log alone said whom it waits for.
    #[test]
    fn a_partition_that_is_held_says_so_and_whom_it_waits_for_until_it_is_let_go() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            core.apply(Change::Open(of(&[1, 2], Role::Owner))).await;
            core.apply(known(&[1, 2])).await;
            let told = async || {
                let told = core.snapshot().await.remove(0);
                let owners = told.waits_for.into_iter().map(|one| one.owner);
                (told.state, owners.collect::<Vec<_>>())
            };
            let asks = (PartitionState::Held, vec![None, None]);
            assert_eq!(told().await, asks, "behind each start");
            core.followers.settle(key, peer(2).copy);
            core.followers.unasked.hold(key, peer(1).copy, owner(3));
            let held = (PartitionState::Held, vec![Some(owner(3).address)]);
            assert_eq!(told().await, held);
            let described = core.describe(&topic).await.remove(0);
            assert_eq!(described.state, State::Held);
            assert_eq!(described.waits_for[0].address, peer(1).address);

            core.followers.settle(key, peer(1).copy);
            let serves = (PartitionState::Serving, Vec::new());
            assert_eq!(told().await, serves);
            core.check_asked(key).unwrap();
            core.followers.unasked.hold(key, peer(1).copy, owner(3));
            core.apply(Change::Open(of(&[1], Role::Fenced))).await;
            assert_eq!(told().await, serves, "it has another owner, and says so");
        });
    }

    #[test]
    fn a_follower_that_is_remembered_and_not_heard_is_counted_as_silent() {
        with_core(|core| async move {
            let (_, key) = topic(1);
            core.apply(known(&[1, 2])).await;
            core.followers.note(key, heard(&peer(1)));
            assert_eq!(core.silent_followers(), 1);
            core.followers.doubt_all();
            assert_eq!(core.silent_followers(), 2);
            core.apply(named(&[1, 2], Role::Fenced)).await;
            assert_eq!(core.silent_followers(), 0);
        });
    }

    /// Each second that an owner could not write down that it is none any more, it was told not to reach whom it had just met.
    #[test]
    fn whom_this_question_met_is_not_told_to_be_out_of_reach_and_whom_it_did_not_is_once() {
        with_core(|core| async move {
            let (opened, key) = topic(1);
            assert!(core.open_partition(&opened, key).await);
            let by = peer(1);
            let begun = rt::now().checked_sub(Duration::from_millis(1)).unwrap();
            core.followers.unasked.hold(key, by.copy, owner(1));
            let name = &opened.name;
            let lines = logged(core.look_at_shown(name, key, &by, begun));
            assert_eq!(lines.await.len(), 0);
            let lines = logged(async {
                core.look_at_shown(name, key, &by, rt::now()).await;
                core.look_at_shown(name, key, &by, rt::now()).await;
            });
            assert_eq!(lines.await.len(), 1);
        });
    }

    /// It was served at once, whoever had been promoted while it was closed and opened, and its followers were asked within half
    /// a minute.
    #[test]
    fn the_followers_of_a_topic_that_was_to_be_deleted_and_stays_are_asked_first() {
        with_core(|core| async move {
            let (_, key) = topic(1);
            let owned = of(&[1], Role::Owner);
            core.apply(Change::Open(Arc::clone(&owned))).await;
            core.followers.note(key, heard(&peer(1)));
            core.apply(known(&[1])).await;
            core.followers.settle(key, peer(1).copy);
            core.check_asked(key).unwrap();

            core.apply(Change::Withdraw(Arc::clone(&owned))).await;
            let (lost, _losses) = mpsc::channel();
            core.apply(Change::Close(Arc::clone(&owned), lost)).await;
            core.apply(Change::Open(owned)).await;
            core.apply(known(&[1])).await;
            let waits = core.check_asked(key).unwrap_err();
            assert!(waits.is(ErrorCode::Busy), "{waits:?}");
            assert!(core.followers.awaits_word(key, peer(1).copy));
            core.followers.settle(key, peer(1).copy);
            core.check_asked(key).unwrap();
        });
    }

    /// It was asked when it came again, or had been silent for long, and may never have come.
    #[test]
    fn who_is_remembered_and_claims_a_partition_right_behind_another_one_is_asked_as_well() {
        with_core(|core| async move {
            let (_, key) = topic(1);
            core.apply(known(&[1, 2])).await;
            let claim = |number| {
                let Peer { node, copy, .. } = peer(number);
                let follower = fetch::Follower {
                    copy,
                    end: Offset::ZERO,
                    chain: Chain::from_raw(1),
                    node: Some(node),
                    address: None,
                    epochs: vec![Epoch {
                        epoch: LeaderEpoch::ZERO,
                        lineage: Lineage::from_bytes([1; 16]),
                        start: Offset::ZERO,
                    }],
                };
                assert!(core.check_claim(key, &[], &follower));
                core.followers.unasked.take_call()
            };
            assert_eq!([1, 2].map(claim), [false, true]);
            assert!(core.followers.awaits_word(key, peer(2).copy));
            // It did not tell, and what it asks itself tells nothing of that.
            let is_asked_on = || core.followers.awaits_word(key, peer(1).copy);
            until("the other one is asked on", is_asked_on).await;
            // A copy asks nobody of its own, but tells whom it follows; one that is fenced has nothing to lose to another one.
            for role in [Role::Follower, Role::Fenced] {
                core.apply(named(&[1, 2], role)).await;
                assert_eq!([1, 2].map(claim), [false, false], "{role:?}");
            }
        });
    }

    /// That the topic of one partition has these followers.
    fn known(numbers: &[u8]) -> Change {
        named(numbers, Role::Owner)
    }

    /// The same where this node is something else to it.
    fn named(numbers: &[u8], role: Role) -> Change {
        Change::Publish(of(numbers, role))
    }

    fn of(numbers: &[u8], role: Role) -> Arc<Topic> {
        let (topic, key) = topic(1);
        let mut topic = Arc::unwrap_or_clone(topic);
        let replica = Replica {
            followers: numbers.iter().copied().map(peer).collect(),
            role,
            ..Replica::owner(key.partition)
        };
        topic.replicas.insert(key.partition, replica);
        Arc::new(topic)
    }

    /// Each that was cloned anew left one behind, as long as the node ran.
    #[test]
    fn of_a_copy_that_was_forgotten_no_word_is_awaited_and_of_one_that_took_the_partition_over_it_is()
     {
        with_core(|_| async {
            let followers = Followers::new();
            let key = key(7, 0);
            let copies = [1, 2].map(|id| CopyId::from_bytes([id; 16]));
            for copy in copies {
                followers.await_word(key, copy);
            }
            followers.retain(|_, _| false, |_, copy| copy == copies[1]);
            let awaits = copies.map(|copy| followers.awaits_word(key, copy));
            assert_eq!(awaits, [false, true]);
        });
    }
}
