//! What a core tells of its partitions as replicas.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::describe_topic::Awaited;
use corelog_protocol::message::replica_status::{self, Partition, Receiving};
use corelog_record::{Offset, PartitionId};
use corelog_storage::format::replica::{Peer, Replica, Role};

use super::followers::Follower;
use super::target::copies_of;
use super::task::Following;
use crate::catalog::Topic;
use crate::core::{Core, PartitionKey};
use crate::metrics::{Lag, ReplicaSnapshot};
use crate::partition::Place;
use crate::rt;

impl Core {
    /// How far a partition of this core that is durable up to `durable` is behind its source.
    pub(crate) fn lag(&self, key: PartitionKey, durable: Offset) -> Option<Lag> {
        lag_of(&*self.followings.of(key)?, durable)
    }

    /// What goes on with a partition of this core as a replica.
    pub(crate) fn copying(&self, key: PartitionKey) -> replica_status::State {
        let following = self.followings.of(key);
        following.map_or_else(Default::default, |following| following.progress.state.get())
    }

    /// Milliseconds since the source of a partition of this core was heard, or first asked.
    pub(crate) fn source_silent_millis(&self, key: PartitionKey) -> Option<u64> {
        let following = self.followings.of(key)?;
        following.progress.silent_since().map(since)
    }

    /// What the node is to a partition of this core, and the address that this names.
    pub(crate) fn role(
        &self,
        key: PartitionKey,
        replica: Option<&Replica>,
    ) -> (replica_status::Role, Option<String>) {
        let role = replica.map_or(replica_status::Role::Owner, |r| role_of(r.role));
        let asked = self.followings.of(key);
        let asked = asked.and_then(|following| following.progress.source.borrow().clone());
        let named = || replica.and_then(|replica| replica.sources.first().cloned());
        (role, asked.or_else(named))
    }

    /// The copies that a partition of this core waits for, as long as it serves nobody because of that: see
    /// [`check_asked`](Self::check_asked).
    pub(crate) fn awaited(&self, key: PartitionKey, replica: Option<&Replica>) -> Vec<Awaited> {
        let unasked = &self.followers.unasked;
        let owned = replica.filter(|replica| replica.role.owns());
        let copies = owned.into_iter().flat_map(copies_of);
        let awaited = copies.filter(|(copy, _)| unasked.is_any(key, |one| one == *copy));
        let told = awaited.map(|(copy, address)| Awaited {
            address: address.clone(),
            owner: unasked.shown(key, copy).map(|(owner, _)| owner.address),
        });
        told.collect()
    }

    /// How many copies that are remembered as followers of partitions that this core owns were not heard for a while.
    pub(super) fn silent_followers(&self) -> usize {
        let routes = self.routes.borrow();
        let silent = |(_, key, replica): (&Topic, PartitionKey, &Replica)| {
            let followers = replica.followers.iter();
            followers
                .filter(|peer| self.is_silent(key, peer.copy))
                .count()
        };
        self.followed(&routes).map(silent).sum()
    }

    /// What this core's partitions of a topic, or the one that is meant, are to it, and how far they are: others have
    /// the core between any two of them. Who asks may have heard of them before this core.
    pub(crate) async fn replicas(
        &self,
        topic: &Arc<Topic>,
        one: Option<PartitionId>,
    ) -> Vec<Partition> {
        let known = self.routes.borrow().topic_by_id(topic.id).cloned();
        let known = known.filter(|known| topic.owners.len() <= known.owners.len());
        let topic = known.as_ref().unwrap_or(topic);
        if let Some(one) = one {
            let mine = topic.owner(one).filter(|owner| *owner == self.id);
            let told = mine.map(|_| {
                let mut told = self.told_replica(topic, one);
                self.tell_unheard(topic, &mut told);
                told
            });
            return told.into_iter().collect();
        }
        let mut told = Vec::new();
        for key in topic.keys_on(self.id) {
            told.push(self.told_replica(topic, key.partition));
            rt::yield_if_needed().await;
        }
        told
    }

    /// This core's partitions that follow another node's, are followed, or changed hands; likewise.
    pub(crate) async fn replica_snapshots(&self) -> Vec<ReplicaSnapshot> {
        let topics: Vec<_> = self.routes.borrow().topics().cloned().collect();
        let mut told = Vec::new();
        for topic in &topics {
            rt::yield_if_needed().await;
            for key in topic.keys_on(self.id) {
                let replica = topic.replica(key.partition);
                // Who is not known yet as a follower is heard all the same.
                if replica.is_none() && self.followers.of(key).is_empty() {
                    continue;
                }
                told.push(ReplicaSnapshot {
                    topic: topic.name.clone(),
                    core: self.id,
                    sources: replica.map_or_else(Vec::new, |replica| replica.sources.clone()),
                    until: replica.and_then(|replica| replica.until),
                    rate: replica.and_then(|replica| replica.rate),
                    status: self.told_replica(topic, key.partition),
                });
                rt::yield_if_needed().await;
            }
        }
        told
    }

    fn told_replica(&self, topic: &Topic, partition: PartitionId) -> Partition {
        let key = PartitionKey {
            topic: topic.id,
            partition,
        };
        let replica = topic.replica(partition);
        let (role, source) = self.role(key, replica);
        let end = self.place(key).ok().map(|place| end_of(role, &place));
        let mut told = Partition {
            role,
            source,
            target: replica.and_then(|replica| replica.target),
            let_go: replica.and_then(|replica| replica.let_go),
            until: replica.and_then(|replica| replica.until),
            followers: self.told_followers(key, replica),
            outranked: replica.map_or_else(Vec::new, |replica| replica.outranked.clone()),
            repairs: self.repairs.count(key),
            closed: end.is_none(),
            ..Partition::owned(partition, end.unwrap_or_default())
        };
        // A copy that ends where this log can be read to need not have all of it.
        let read_only = self.check_not_read_only(key).err();
        told.error = read_only
            .filter(|why| why.is(ErrorCode::ReadOnly))
            .map(|why| *why);
        if let Some(following) = self.followings.of(key) {
            tell_progress(&following, &mut told);
            // How far a log is behind that is not open is not known.
            let lag = end.and_then(|end| lag_of(&following, end));
            told.lag_records = lag.map(|lag| lag.records);
            told.lag_bytes = lag.map(|lag| lag.bytes);
            told.lag_ms = lag.and_then(|lag| lag.millis);
        }
        told
    }

    /// Of a copy, who followed it and was not heard since the start: the owner, which asks for it alone, knows nothing of
    /// them, and one of them may have been promoted.
    fn tell_unheard(&self, topic: &Topic, told: &mut Partition) {
        let replica = topic.replica(told.id);
        let Some(copy) = replica.filter(|replica| replica.role == Role::Follower) else {
            return;
        };
        let is_new = |peer: &&Peer| {
            let is_told = told.followers.iter().any(|one| one.copy == peer.copy);
            !is_told && !copy.sources.contains(&peer.address)
        };
        let unheard = copy.followers.iter().filter(is_new);
        let unheard: Vec<_> = unheard.map(|peer| self.told_unheard(peer)).collect();
        told.followers.extend(unheard);
    }

    fn told_unheard(&self, peer: &Peer) -> replica_status::Follower {
        replica_status::Follower {
            node: Some(peer.node),
            address: Some(peer.address.clone()),
            copy: peer.copy,
            end: Offset::ZERO,
            heard_ms: since(self.followers.since),
            is_silent: true,
        }
    }

    /// Who follows a partition: those that are remembered and were not heard yet, then those that were. A
    /// former owner remembers who followed it, its owner among them, and tells of those who do now.
    fn told_followers(
        &self,
        key: PartitionKey,
        replica: Option<&Replica>,
    ) -> Vec<replica_status::Follower> {
        let mut heard = self.followers.of(key);
        let owned = |replica: &&Replica| replica.role.owns();
        let remembered = replica.filter(owned);
        let remembered = remembered.map_or(&[][..], |replica| &replica.followers);
        if let Some(replica) = replica.filter(|replica| !owned(replica)) {
            let is_source = |address: &String| replica.sources.contains(address);
            heard.retain(|one| !one.address.as_ref().is_some_and(is_source));
        }
        let silent = remembered
            .iter()
            .filter(|peer| heard.iter().all(|one| one.copy != peer.copy))
            .map(|peer| self.told_unheard(peer));
        let mut told: Vec<_> = silent.collect();
        told.extend(heard.into_iter().map(told_follower));
        told
    }
}

/// Where a partition ends, as is told of it. Who takes no more appends may still acknowledge those that
/// are on their way to its disk: another copy that ends below them has not all of it.
fn end_of(role: replica_status::Role, place: &Place) -> Offset {
    match role {
        replica_status::Role::HandingOver | replica_status::Role::Fenced => place.log_end,
        _ => place.durable.offset,
    }
}

fn tell_progress(following: &Rc<Following>, told: &mut Partition) {
    let progress = &following.progress;
    told.state = progress.state.get();
    // Of one that damage ends, what it waits for is no matter: it would take nothing.
    if let Some(why) = &*progress.trouble.borrow()
        && (told.error.is_none() || told.state == replica_status::State::Stopped)
    {
        told.error = Some((**why).clone());
    }
    let received = progress.received();
    let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    (told.bytes_done, told.bytes_total) = (received.bytes, received.bytes_total);
    told.segments_done = count(received.segments);
    told.segments_total = count(received.segments_total);
    told.dropped.clone_from(&progress.dropped.borrow());
    if let Some(copying) = &*progress.copying.borrow() {
        let under_way = copying
            .each()
            .filter(|(_, _, done)| 0 < done.bytes && done.segments == 0);
        let receiving = under_way.map(|(segment, from, done)| Receiving {
            segment,
            from: from.to_owned(),
            bytes_done: done.bytes,
            bytes_total: done.bytes_total,
        });
        told.receiving = receiving.collect();
    }
    if let Some(heard) = progress.heard.get() {
        told.source_end = Some(heard.end);
        told.source_heard_ms = Some(since(heard.at));
        told.owner_heard_ms = progress.owner_heard().map(since);
    }
}

fn lag_of(following: &Following, durable: Offset) -> Option<Lag> {
    let progress = &following.progress;
    let heard = progress.heard.get()?;
    let records = heard.end.get().saturating_sub(durable.get());
    let is_level = records == 0;
    use replica_status::State::{Done, Stopped};
    let state = progress.state.get();
    // Who asks for no more knows what its source had once, and not what it has.
    if is_level && matches!(state, Done | Stopped) {
        return None;
    }
    Some(Lag {
        records,
        bytes: if is_level { 0 } else { heard.lag_bytes },
        millis: match state {
            _ if is_level => Some(0),
            Done => None,
            _ => progress.behind_since().map(since),
        },
    })
}

fn told_follower(follower: Follower) -> replica_status::Follower {
    replica_status::Follower {
        node: follower.node,
        address: follower.address,
        copy: follower.copy,
        end: follower.end,
        heard_ms: since(follower.at),
        is_silent: false,
    }
}

fn role_of(role: Role) -> replica_status::Role {
    match role {
        Role::Owner => replica_status::Role::Owner,
        Role::Follower => replica_status::Role::Follower,
        Role::HandingOver => replica_status::Role::HandingOver,
        Role::Fenced => replica_status::Role::Fenced,
        Role::Unknown => replica_status::Role::Unknown,
    }
}

fn since(at: Instant) -> u64 {
    rt::millis(rt::now().saturating_duration_since(at))
}

#[cfg(test)]
mod tests {
    use corelog_record::{Chain, CopyId, HistoryId, Ordinal};
    use corelog_storage::format::edit::Point;

    use super::*;
    use crate::core::tests::{topic, with_core};
    use crate::failure::failure;
    use crate::rt::tests::ways_given;

    /// What it has no trouble with took the place of what damage had done to it, and so did what it waited for: while its source was
    /// away it was told as sound.
    #[test]
    fn a_copy_that_has_not_stopped_is_told_as_read_only_whatever_it_waits_for() {
        let (topic, key) = topic(1);
        let replica = Replica::owner(key.partition);
        let following = Rc::new(Following::new(key, &topic.name, &replica));
        let told = || {
            let mut told = Partition::owned(key.partition, Offset::ZERO);
            told.error = Some(*failure(ErrorCode::ReadOnly, "it is"));
            tell_progress(&following, &mut told);
            told.error.unwrap()
        };
        use replica_status::State::{Stopped, Waiting};
        assert!(told().is(ErrorCode::ReadOnly));
        let away = failure(ErrorCode::SourceUnavailable, "it is away");
        following.progress.fail(Waiting, away);
        assert!(told().is(ErrorCode::ReadOnly));
        let parted = failure(ErrorCode::Diverged, "it did");
        following.progress.fail(Stopped, parted);
        assert!(told().is(ErrorCode::Diverged));
    }

    /// Nothing told a copy that was to end from one that follows, once it had come as far as its source.
    #[test]
    fn a_copy_that_does_not_follow_is_told_with_where_it_ends() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            let mut topic = Arc::unwrap_or_clone(topic);
            for until in [Offset::new(50), None] {
                let replica = Replica {
                    role: Role::Follower,
                    until,
                    ..Replica::owner(key.partition)
                };
                topic.replicas.insert(key.partition, replica);
                let topic = Arc::new(topic.clone());
                core.routes.borrow_mut().put(Arc::clone(&topic));
                assert_eq!(core.replicas(&topic, None).await[0].until, until);
            }
        });
    }

    /// Its end was told as 0, with which every copy of it was level.
    #[test]
    fn a_partition_whose_log_is_not_open_is_told_as_that() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            core.routes.borrow_mut().put(Arc::clone(&topic));
            assert!(core.replicas(&topic, None).await[0].closed);
            assert!(core.open_partition(&topic, key).await);
            assert!(!core.replicas(&topic, None).await[0].closed);
        });
    }

    /// Nothing was told of one that this core was the last to hear of: whoever asked took that for its word that it owns none.
    #[test]
    fn a_partition_is_told_as_a_replica_before_this_core_hears_that_clients_are_told_of_it() {
        with_core(|core| async move {
            let (asked, key) = topic(1);
            let of = |count, role| {
                let replica = Replica {
                    role,
                    ..Replica::owner(key.partition)
                };
                let mut topic = Topic::clone(&asked);
                topic.owners = vec![core.id; count];
                topic.replicas.insert(key.partition, replica);
                Arc::new(topic)
            };
            let told = async |topic| {
                let one = core.replicas(&topic, Some(key.partition)).await;
                let all = core.replicas(&topic, None).await;
                (one[0].role, all.len(), all[0].role)
            };
            use replica_status::Role::{Fenced, Owner};
            assert_eq!(told(of(1, Role::Fenced)).await, (Fenced, 1, Fenced));
            core.routes.borrow_mut().put(of(1, Role::Fenced));
            let before = told(of(1, Role::Owner)).await;
            assert_eq!(before, (Fenced, 1, Fenced), "it knows its own");
            assert_eq!(told(of(2, Role::Owner)).await, (Owner, 2, Owner));
        });
    }

    /// A node with thousands of copies told of them all in one go.
    #[test]
    fn others_have_the_core_between_any_two_topics_and_replicas_that_are_told() {
        with_core(|core| async move {
            for number in 1..=3 {
                core.routes.borrow_mut().put(topic(number).0);
            }
            assert_eq!(ways_given(core.replica_snapshots()).await, 3);
            let (topic, _) = topic(4);
            let mut topic = Arc::unwrap_or_clone(topic);
            topic.owners = vec![core.id; 2];
            for partition in [0, 1].map(PartitionId::new) {
                let replica = Replica {
                    role: Role::Fenced,
                    ..Replica::owner(partition)
                };
                topic.replicas.insert(partition, replica);
            }
            core.routes.borrow_mut().put(Arc::new(topic));
            assert_eq!(ways_given(core.replica_snapshots()).await, 3 + 1 + 2);
        });
    }

    /// A handover was written down while a group was on its way to the disk. Its target, promoted then, had
    /// all that was durable, so nothing was said to be lost, and the group was acknowledged after that.
    #[test]
    fn who_takes_no_more_appends_tells_of_all_that_it_may_yet_acknowledge() {
        let offset = |value| Offset::new(value).unwrap();
        let place = Place {
            history: HistoryId::from_bytes([1; 16]),
            copy: CopyId::from_bytes([2; 16]),
            log_start: Offset::ZERO,
            durable: Point {
                offset: offset(40),
                ordinal: Ordinal::new(4).unwrap(),
                chain: Chain::from_raw(7),
            },
            log_end: offset(50),
            is_empty: false,
            has_files: true,
        };
        use replica_status::Role::{Fenced, Follower, HandingOver, Owner};
        for (role, end) in [(HandingOver, 50), (Fenced, 50), (Owner, 40), (Follower, 40)] {
            assert_eq!(end_of(role, &place), offset(end), "{role:?}");
        }
    }
}
