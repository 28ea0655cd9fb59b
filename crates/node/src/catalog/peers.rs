//! Who follows the node's partitions, written down on core 0: many at a time, and forgotten when an
//! operator says so.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::forget_follower;
use corelog_record::{CopyId, PartitionId, TopicId, TopicName};
use corelog_storage::format::replica::{Peer, Replica};

use super::admin::{Admin, Change};
use super::room::{bytes_max, bytes_of, bytes_of_all};
use super::topic::Topic;
use crate::failure::{Failure, failure};
use crate::follow::{FOLLOWERS_MAX, check_addresses};
use crate::rt;

/// The pause after a topic's followers were written down, and the longest, which it is doubled to while
/// more of them come: a topic whose thousand partitions are cloned at once is written a few times.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The pause after they could not be: a disk that is full stays so for a while, and those that follow come again.
const PAUSE_FAILED: Duration = Duration::from_secs(10);

/// A follower that is to be written down.
#[derive(Debug, Clone)]
pub(crate) struct Newcomer {
    pub(crate) peer: Peer,
    /// When the followers of its partition were last heard, those that were.
    pub(crate) heard: Vec<(CopyId, Instant)>,
}

/// Followers that wait to be written down, by topic; a topic is here while it is looked after.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    by_topic: RefCell<HashMap<TopicId, Waiting>>,
    /// Of which it was told that there is no room for more.
    full: RefCell<BTreeSet<TopicId>>,
}

/// Those of a topic by partition, in the order in which they came: at most as many of each as are
/// remembered.
type Waiting = BTreeMap<PartitionId, Vec<Newcomer>>;

/// A follower that was forgotten.
#[derive(Debug)]
pub(crate) struct Forgotten {
    pub(crate) topic: TopicId,
    pub(crate) partitions: Vec<PartitionId>,
    pub(crate) address: String,
}

impl Newcomers {
    /// Has one written down, in the place of what its node had before; true if nobody looks after its
    /// topic yet. One that is too many says it again with a later Fetch.
    fn add(&self, topic: TopicId, partition: PartitionId, newcomer: Newcomer) -> bool {
        let mut by_topic = self.by_topic.borrow_mut();
        let is_new = !by_topic.contains_key(&topic);
        let waiting = by_topic.entry(topic).or_default();
        let waiting = waiting.entry(partition).or_default();
        waiting.retain(|before| !is_in_place_of(&newcomer.peer, &before.peer));
        if waiting.len() < FOLLOWERS_MAX {
            waiting.push(newcomer);
        }
        is_new
    }

    /// Forgets those of a topic that are reached at an address.
    fn forget_at(&self, topic: TopicId, partition: Option<PartitionId>, address: &str) {
        let mut by_topic = self.by_topic.borrow_mut();
        let waiting = by_topic.get_mut(&topic).into_iter().flatten();
        for (_, newcomers) in
            waiting.filter(|(one, _)| partition.is_none_or(|asked| asked == **one))
        {
            newcomers.retain(|newcomer| newcomer.peer.address != address);
        }
    }

    /// The topic is gone, or has room again.
    pub(super) fn forget_full(&self, topic: TopicId) {
        self.full.borrow_mut().remove(&topic);
    }

    /// Those of a topic that wait; nobody looks after it any more if there are none.
    fn take(&self, topic: TopicId) -> Option<Waiting> {
        let mut by_topic = self.by_topic.borrow_mut();
        let waiting = std::mem::take(by_topic.get_mut(&topic)?);
        if waiting.is_empty() {
            by_topic.remove(&topic);
            return None;
        }
        Some(waiting)
    }
}

impl Admin {
    /// Has a follower of a partition written down, soon and with the others that come.
    pub(crate) fn remember(
        &self,
        (name, id, partition): (TopicName, TopicId, PartitionId),
        newcomer: Newcomer,
    ) {
        if !self.newcomers.add(id, partition, newcomer) {
            return;
        }
        let core = Rc::clone(&self.core);
        rt::spawn_background(async move {
            let Ok(admin) = core.admin() else { return };
            let mut pause = Duration::ZERO;
            while let Some(is_written) = admin.write_down((&name, id)).await {
                pause = pause_after(is_written, pause);
                rt::sleep(pause).await;
            }
        })
        .detach();
    }

    /// Writes those of a topic down that wait, and tells whether they are; nothing if there are none. They wait until it is
    /// this change's turn: one that is forgotten until then is not written down after that.
    async fn write_down(&self, (name, id): (&TopicName, TopicId)) -> Option<bool> {
        let mut is_any = None;
        let written = self.change((name, id), |topic| {
            let waiting = self.newcomers.take(id);
            is_any = Some(waiting.is_some());
            let refused = remember_all(topic, waiting.unwrap_or_default());
            if 0 < refused && self.newcomers.full.borrow_mut().insert(id) {
                let bytes_max = bytes_max(topic);
                tracing::warn!(
                    topic = %name, refused, bytes_max,
                    "followers are not remembered: those that are take all the room there is for them"
                );
            }
            Ok(())
        });
        // Why not was told where it was met.
        let is_written = written.await.is_ok();
        // Without a turn the topic is gone, and they with it.
        let is_any = is_any.unwrap_or_else(|| self.newcomers.take(id).is_some());
        is_any.then_some(is_written)
    }

    /// Forgets a follower that is gone for good, or who was followed before a promotion.
    ///
    /// # Errors
    /// `UnknownFollower`, and what any request about a partition may be refused with.
    pub(crate) async fn forget_follower(
        &self,
        request: forget_follower::Request,
    ) -> Result<forget_follower::Answer, Failure> {
        let forget_follower::Request {
            topic: name,
            id,
            partition: one,
            address,
        } = request;
        check_addresses("address", slice::from_ref(&address))?;
        let mut partitions = Vec::new();
        self.change((&name, id), |topic| {
            self.newcomers.forget_at(id, one, &address);
            self.newcomers.forget_full(id);
            if let Some(one) = one {
                self.core.routes.borrow().owner(&name, id, one)?;
            }
            let known = topic.replicas.values();
            let known = known.filter(|replica| one.is_none_or(|one| one == replica.partition));
            let is_at = |replica: &&Replica| {
                replica.followers.iter().any(|peer| peer.address == address)
                    || replica.outranked.contains(&address)
            };
            let known = known.filter(is_at);
            partitions.extend(known.map(|replica| replica.partition));
            if partitions.is_empty() {
                return Err(unknown(&name, &address));
            }
            for partition in &partitions {
                topic.change_replica(*partition, |mut replica| {
                    replica.followers.retain(|peer| peer.address != address);
                    replica.outranked.retain(|one| *one != address);
                    replica
                });
            }
            Ok(())
        })
        .await?;
        tracing::warn!(topic = %name, address, partitions = partitions.len(), "forgot a follower");
        let forgotten = Forgotten {
            topic: id,
            partitions: partitions.clone(),
            address,
        };
        self.broadcast(Change::Forgotten(Arc::new(forgotten))).await;
        Ok(forget_follower::Answer { partitions })
    }
}

/// How long it takes until more followers are written down, after a pause of so much `before` that.
fn pause_after(is_written: bool, before: Duration) -> Duration {
    match is_written {
        true => (before * 2).clamp(PAUSE_MIN, PAUSE_MAX),
        false => PAUSE_FAILED,
    }
}

/// Remembers those of a topic who come, as far as there is room in its file; gives how many of them there was none for. None that
/// is remembered makes room: one that was promoted is silent, and only here it is known whom to ask.
pub(super) fn remember_all(topic: &mut Topic, waiting: Waiting) -> usize {
    let bytes_max = bytes_max(topic);
    let mut bytes = bytes_of_all(topic);
    let mut refused = 0;
    for (partition, newcomers) in waiting {
        if topic.owner(partition).is_none() {
            continue;
        }
        for newcomer in newcomers {
            let known = topic.known_replica(partition);
            let before = bytes_of(&known);
            let grown = remembering(known, newcomer);
            let after = bytes - before + bytes_of(&grown);
            if bytes_max.max(bytes) < after {
                refused += 1;
                continue;
            }
            topic.set_replica(grown);
            bytes = after;
        }
    }
    refused
}

/// The same with another follower, in the place of what its node had before: that has one copy of a
/// partition, and a log without files draws another name each time it is opened. If they are too many, in
/// the place of the one that was silent longest.
fn remembering(mut replica: Replica, newcomer: Newcomer) -> Replica {
    let Newcomer { peer, heard } = newcomer;
    let known = &mut replica.followers;
    known.retain(|known| !is_in_place_of(&peer, known));
    if known.len() >= FOLLOWERS_MAX {
        let heard_at = |at: usize| {
            let heard = heard.iter().find(|(copy, _)| *copy == known[at].copy);
            heard.map(|(_, at)| *at)
        };
        let silent = (0..known.len()).min_by_key(|&at| heard_at(at));
        silent.map(|at| known.remove(at));
    }
    known.push(peer);
    replica
}

/// If one follower takes the place of another one.
pub(crate) fn is_in_place_of(newcomer: &Peer, known: &Peer) -> bool {
    newcomer.copy == known.copy || newcomer.node == known.node
}

fn unknown(topic: &TopicName, address: &str) -> Failure {
    let message = format!(
        "no follower of {topic} is remembered at {address}, nor whoever was followed before a promotion"
    );
    failure(ErrorCode::UnknownFollower, message)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::follow::samples::peer;

    pub(in crate::catalog) fn coming(peer: Peer) -> Newcomer {
        Newcomer {
            peer,
            heard: Vec::new(),
        }
    }

    #[test]
    fn the_follower_that_was_silent_longest_is_forgotten_and_no_other() {
        let count = u8::try_from(FOLLOWERS_MAX).expect("a few");
        let mut replica = Replica::owner(PartitionId::new(0));
        replica.followers = (0..count).map(peer).collect();
        let now = rt::now();
        // The third was never heard since the start.
        let heard = (0..count).filter(|number| *number != 3);
        let heard = heard.map(|number| (peer(number).copy, now)).collect();
        let newcomer = Newcomer {
            peer: peer(count),
            heard,
        };
        let replica = remembering(replica, newcomer);
        assert_eq!(replica.followers.len(), FOLLOWERS_MAX);
        assert!(!replica.followers.contains(&peer(3)));
        assert!(replica.followers.contains(&peer(0)));
        assert_eq!(replica.followers.last(), Some(&peer(count)));
    }

    /// A follower that was started again before its first record had another copy then, and the one before
    /// held retention back for ever.
    #[test]
    fn a_node_has_one_copy_of_a_partition() {
        let mut replica = Replica::owner(PartitionId::new(0));
        replica.followers = vec![peer(1), peer(2)];
        let again = Peer {
            copy: CopyId::from_bytes([9; 16]),
            ..peer(1)
        };
        let replica = remembering(replica, coming(again.clone()));
        assert_eq!(replica.followers, [peer(2), again]);
    }

    /// On a full disk each topic that was followed anew was written in vain every second, with two lines in the log.
    #[test]
    fn followers_that_could_not_be_written_down_wait_longer_than_those_that_come_after_others() {
        let pauses = |written: &[bool]| -> Vec<_> {
            let pauses = written.iter().scan(Duration::ZERO, |pause, is_written| {
                *pause = pause_after(*is_written, *pause);
                Some(pause.as_millis())
            });
            pauses.collect()
        };
        assert_eq!(pauses(&[true; 7]), [50, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(
            pauses(&[true, false, false, true]),
            [50, 10_000, 10_000, 1_000]
        );
    }

    /// Each follower of a topic of a thousand partitions was a write of its file, and a change that each
    /// core was told of.
    #[test]
    fn those_who_come_while_others_are_written_down_are_written_down_together() {
        let newcomers = Newcomers::default();
        let topic = TopicId::from_bytes([7; 16]);
        let come = |partition| newcomers.add(topic, PartitionId::new(partition), coming(peer(1)));
        assert!(come(0));
        assert_eq!(newcomers.take(topic).map(|waiting| waiting.len()), Some(1));
        // It is looked after still, also while nobody waits.
        assert!((0..1_000).all(|partition| !come(partition) && !come(partition)));
        let all = newcomers.take(topic).map(|waiting| waiting.len());
        assert_eq!(all, Some(1_000));
        assert!(newcomers.take(topic).is_none());
        assert!(come(0));
    }

    /// A stale address of a copy was written down over its next one, and who asked under ever new names
    /// took memory until it was written down.
    #[test]
    fn few_wait_of_each_partition_in_the_order_in_which_they_came() {
        let newcomers = Newcomers::default();
        let (topic, partition) = (TopicId::from_bytes([7; 16]), PartitionId::new(0));
        let come = |peer| newcomers.add(topic, partition, coming(peer));
        come(peer(9));
        come(peer(3));
        let moved = Peer {
            address: "127.0.0.1:1009".to_owned(),
            ..peer(9)
        };
        come(moved.clone());
        for number in 20..100 {
            come(peer(number));
        }
        let waiting = newcomers.take(topic).unwrap().remove(&partition).unwrap();
        assert_eq!(waiting.len(), FOLLOWERS_MAX);
        let came: Vec<_> = waiting.into_iter().map(|one| one.peer).collect();
        assert_eq!(came[..3], [peer(3), moved, peer(20)]);
    }

    /// One that was forgotten while it waited was written down after all.
    #[test]
    fn who_is_forgotten_waits_no_longer() {
        let newcomers = Newcomers::default();
        let topic = TopicId::from_bytes([7; 16]);
        for partition in 0..3 {
            newcomers.add(topic, PartitionId::new(partition), coming(peer(1)));
            newcomers.add(topic, PartitionId::new(partition), coming(peer(2)));
        }
        newcomers.forget_at(topic, Some(PartitionId::new(1)), &peer(1).address);
        newcomers.forget_at(topic, None, &peer(2).address);
        let waiting = newcomers.take(topic).unwrap();
        let counts: Vec<_> = waiting.values().map(Vec::len).collect();
        assert_eq!(counts, [1, 0, 1]);
    }
}
