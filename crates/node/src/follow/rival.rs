//! Another node that owns a partition, or may: found by asking those that know of it.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{replica_status, segments};
use corelog_record::{NodeId, Offset, TopicName};
use corelog_storage::format::replica::Peer;

use super::GONE_TIMEOUT;
use super::address::is_address;
use super::followers::FOLLOWERS_MAX;
use super::line::Line;
use super::lineage::newest;
use super::questions::{has_none, partition_at, segments_of};
use super::target::Target;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::rt;

/// Nodes that are asked, one after the other, for who owns a partition. More are none, or a circle.
pub(super) const HOPS_MAX: usize = 8;

/// Nodes that are asked of those that follow a copy, and this one.
const BELOW_MAX: usize = 1 + 2 * FOLLOWERS_MAX;

/// Another node that says that it owns a partition.
pub(super) type Rival = Rc<Line>;

/// What a node knows of who owns a partition.
enum Told {
    Rival(Rival),
    /// It has a copy, and one of those that follow that, or a copy above it, may have been promoted.
    Copy(Below),
}

/// Those that follow a copy, and copies above it.
#[derive(Default)]
struct Below {
    followers: Vec<replica_status::Follower>,
    /// The copy and those above it that told what they are, unless they are a circle.
    told: BTreeSet<NodeId>,
    /// Why the next one above, which may own the partition, did not tell.
    missed: Option<Failure>,
    /// A copy with a later epoch names this node, which it may just try: whoever owns the partition by that is not told.
    is_circle: bool,
}

/// What the first node that is asked is to a partition, and those that follow a copy there.
pub(super) struct First {
    met: Met,
    below: Below,
}

/// What one node is to a partition.
enum Met {
    Rival(Rival),
    Me,
    /// A copy, with its log, and where who is above it is to be asked, if that is a later one.
    Copy {
        log: Rc<segments::Answer>,
        above: Option<String>,
    },
}

impl First {
    /// Its log, if it is a copy.
    pub(super) fn log(&self) -> Option<Rc<segments::Answer>> {
        match &self.met {
            Met::Copy { log, .. } => Some(Rc::clone(log)),
            Met::Rival(_) | Met::Me => None,
        }
    }
}

/// What was found out of who owns a partition.
pub(super) enum Found {
    Rival(Rival),
    /// None of those that told this.
    Nobody(Word),
}

impl Found {
    pub(super) fn rival(self) -> Option<Rival> {
        match self {
            Self::Rival(rival) => Some(rival),
            Self::Nobody(_) => None,
        }
    }
}

/// Which nodes told that they do not own a partition.
pub(super) struct Word {
    /// All that are known of: one that is missing may have been promoted.
    pub(super) is_all: bool,
    nodes: BTreeSet<NodeId>,
}

impl Word {
    /// If a node that was seen to own the partition does so no more, by its own word: the one that told of it may have forgotten
    /// it, or leave it out as whom it follows.
    pub(super) fn clears(&self, node: NodeId) -> bool {
        self.nodes.contains(&node)
    }
}

impl Core {
    /// What one that followed a partition of this node is to it by now. At its address may be this node itself, where it does not
    /// say how others reach it, or one that was put in its place.
    ///
    /// # Errors
    /// `UnknownPartition` if that is one that is remembered itself, as a node is that was made anew there: the one before is
    /// gone. `SourceUnavailable` if it is any other, or does not answer.
    pub(super) async fn told_by(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        claimant: &Peer,
    ) -> Result<First, Failure> {
        let line = self.line_to(&claimant.address).await?;
        let known = self.replica(key)?.followers;
        line.check_is(claimant.node).map_err(|mut why| {
            if known.iter().any(|known| known.node == line.node()) {
                why.code = ErrorCode::UnknownPartition.number();
            }
            why
        })?;
        self.first_at(topic, key, &claimant.address).await
    }

    /// Which other node owns a partition, as far as the one at `address` knows: that one, one that it was given to
    /// since, or one that was promoted of those that follow it. None if that is this node, or nobody.
    pub(super) async fn owner_by(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        address: String,
    ) -> Result<Option<Rival>, Failure> {
        match self.first_at(topic, key, &address).await {
            Ok(first) => Ok(self.owner_of(topic, key, first).await?.rival()),
            // It has no such topic any more, and so follows nobody.
            Err(error) if has_none(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same from what the first one told. Each of the others has its own time.
    ///
    /// # Errors
    /// Why one above it did not tell, if nobody below is found to own the partition.
    pub(super) async fn owner_of(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        first: First,
    ) -> Result<Found, Failure> {
        let mut below = match self.owner_above(topic, key, first).await {
            Told::Rival(rival) => return Ok(Found::Rival(rival)),
            Told::Copy(below) => below,
        };
        let missed = below.missed.take();
        match (self.owner_below(topic, key, below).await, missed) {
            (Found::Nobody(_), Some(why)) => Err(why),
            (found, _) => Ok(found),
        }
    }

    /// What the first one tells, and those above it. Whoever does not answer there in time keeps nobody from asking those that
    /// follow the copies below.
    async fn owner_above(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        First { met, mut below }: First,
    ) -> Told {
        let mut above = match met {
            Met::Rival(rival) => return Told::Rival(rival),
            Met::Me => return Told::Copy(below),
            Met::Copy { above, .. } => above,
        };
        for _ in 1..HOPS_MAX {
            let Some(address) = above.take() else {
                break;
            };
            let meeting = self.meet_at(topic, key, &address, &mut below);
            match self.answered(&address, meeting).await {
                Some(Ok(Met::Rival(rival))) => return Told::Rival(rival),
                Some(Ok(Met::Copy { above: next, .. })) => above = next,
                Some(Ok(Met::Me)) => {
                    below.is_circle = true;
                    below.told.clear();
                }
                // It was followed by a copy, and owns nothing any more: one of that copy's own may.
                Some(Err(why)) if has_none(&why) => {}
                Some(Err(why)) => below.missed = Some(why),
                None => below.missed = Some(unanswered(&address)),
            }
        }
        if above.is_some() {
            below.missed = Some(nobody_tells());
        }
        Told::Copy(below)
    }

    /// What the node at an address is, as the first that is asked.
    pub(super) async fn first_at(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        address: &str,
    ) -> Result<First, Failure> {
        let mut below = Below::default();
        let met = self.meet_at(topic, key, address, &mut below).await?;
        Ok(First { met, below })
    }

    /// What the node at an address is; those that follow a copy there are added to those `below`, also where it does not tell
    /// who is above it.
    async fn meet_at(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        address: &str,
        below: &mut Below,
    ) -> Result<Met, Failure> {
        let line = self.line_to(address).await?;
        let node = line.node();
        if node == self.shared.node {
            return Ok(Met::Me);
        }
        let met = self.met_by(line, topic, key, &mut below.followers).await;
        if met.as_ref().err().is_none_or(has_none) {
            below.told.insert(node);
        }
        met
    }

    /// The same of the one at the other end of `line`, which is another one.
    async fn met_by(
        &self,
        line: Rc<Line>,
        topic: &TopicName,
        key: PartitionKey,
        followers: &mut Vec<replica_status::Follower>,
    ) -> Result<Met, Failure> {
        let there = partition_at(&line, topic, key).await?;
        if there.role == replica_status::Role::Owner {
            return Ok(Met::Rival(line));
        }
        followers.extend(there.followers);
        // Whoever owned it since this node did, or follows one who does, has a later epoch.
        let log = segments_of(&line, topic, key, Offset::MAX).await?;
        let is_later = self.epoch(key)? < newest(&log.epochs);
        // Nobody else owns what it gives away, and may not for hours.
        if is_later && there.role == replica_status::Role::HandingOver {
            return Ok(Met::Rival(line));
        }
        // One that gave it up, and has yet to follow, has no epoch of whom it names.
        let is_fenced = there.role == replica_status::Role::Fenced;
        let names_owner = match there.target.filter(|_| is_fenced) {
            Some(to) => to != self.shared.node,
            None => is_later,
        };
        let above = names_owner.then_some(there.source).flatten();
        let above = above.filter(|above| is_address(above));
        let log = Rc::new(log);
        Ok(Met::Copy { log, above })
    }

    /// Which node owns a partition of those that follow a copy of it, or a copy of that: this one knows nothing of them, and
    /// one of them may have been promoted. Who does not answer may be gone.
    async fn owner_below(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        Below {
            followers,
            told,
            is_circle,
            ..
        }: Below,
    ) -> Found {
        let mut word = Word {
            is_all: !is_circle,
            nodes: told,
        };
        let mut below = VecDeque::from(followers);
        let mut asked = BTreeSet::from([Some(self.shared.node)]);
        while let Some(follower) = below.pop_front() {
            let address = follower.address.filter(|address| is_address(address));
            let Some(address) = address.filter(|_| asked.insert(follower.node)) else {
                continue;
            };
            let (Some(node), true) = (follower.node, asked.len() <= BELOW_MAX) else {
                word.is_all = false;
                continue;
            };
            let asking = self.told_at(topic, key, &address, node);
            let first = match self.answered(&address, asking).await {
                Some(Ok(first)) => first,
                Some(Err(error)) if has_none(&error) => {
                    word.nodes.insert(node);
                    continue;
                }
                Some(Err(_)) | None => {
                    word.is_all = false;
                    continue;
                }
            };
            match self.owner_above(topic, key, first).await {
                Told::Rival(rival) => return Found::Rival(rival),
                Told::Copy(more) => {
                    // Whoever is above it may own the partition in its place.
                    match more.missed {
                        None if !more.is_circle => word.nodes.extend(more.told),
                        _ => word.is_all = false,
                    }
                    below.extend(more.followers);
                }
            }
        }
        Found::Nobody(word)
    }

    /// What the node at an address is, if it is that one.
    async fn told_at(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        address: &str,
        node: NodeId,
    ) -> Result<First, Failure> {
        // Held on to, so that what is asked next goes by the same connection.
        let line = self.line_to(address).await?;
        line.check_is(node)?;
        self.first_at(topic, key, address).await
    }

    /// Who owns a partition by now, as a node that was seen to own it tells; none if it does not, or one that it names.
    pub(super) async fn owner_since(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        owner: &Target,
    ) -> Option<Found> {
        let asking = self.told_at(topic, key, &owner.address, owner.node);
        let first = self.answered(&owner.address, asking).await?;
        self.owner_of(topic, key, first.ok()?).await.ok()
    }

    /// What comes of asking the node at an address; nothing if it does not answer in time, or did not a moment ago.
    pub(super) async fn answered<T>(
        &self,
        address: &str,
        asking: impl Future<Output = T>,
    ) -> Option<T> {
        let (silent, address) = (&self.shared.silent, address.to_owned());
        if silent.found(&address, rt::now()).is_some() {
            return None;
        }
        let answer = rt::timeout(GONE_TIMEOUT, asking).await;
        if answer.is_none() {
            silent.note(address, (), rt::now());
        }
        answer
    }
}

/// Each that is asked names another one.
pub(super) fn nobody_tells() -> Failure {
    failure(ErrorCode::Busy, "nobody tells who owns it")
}

/// The node at an address did not answer in time.
pub(super) fn unanswered(address: &str) -> Failure {
    let message = format!("{address} does not answer");
    failure(ErrorCode::SourceUnavailable, message)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use corelog_record::{NodeId, PartitionId, TopicId};
    use corelog_storage::format::replica::Role;

    use super::*;
    use crate::core::tests::{topic, with_core};
    use crate::follow::line::tests::{connected, log, node, node_named, tell};
    use crate::follow::samples::{followed, owner, peer};

    /// Between giving it up and following another one it has no epoch of that: the owner was told of nobody, and served again
    /// beside whom it had seen to own the partition.
    #[test]
    fn who_gave_a_partition_up_to_another_node_and_has_yet_to_follow_that_names_it_all_the_same() {
        with_core(|core| async move {
            let (opened, key) = topic(1);
            assert!(core.open_partition(&opened, key).await);
            let other = NodeId::from_bytes([7; 16]);
            for (to, is_asked) in [(other, true), (core.shared.node, false)] {
                let line = Rc::new(connected(&fenced(to)).await);
                let mut followers = Vec::new();
                let met = core.met_by(line, &opened.name, key, &mut followers);
                let Met::Copy { above, .. } = met.await.unwrap() else {
                    panic!("it is a copy");
                };
                assert_eq!(above.is_some(), is_asked);
            }
        });
    }

    /// A copy that is told to follow whom it has shown to own the partition, and has nothing of that one yet, tells of nobody: its
    /// owner served again, beside the next one. And a copy that goes on following was never asked again.
    #[test]
    fn whom_a_copy_has_shown_to_own_a_partition_is_waited_for_though_it_tells_of_nobody_any_more() {
        with_core(|core| async move {
            let (opened, key) = topic(1);
            assert!(core.open_partition(&opened, key).await);
            for (shown, is_held) in [(3, true), (2, false)] {
                let address = node_named(2, |stream, received| {
                    tell_copy(stream, received, replica_status::Role::Follower, None);
                });
                let peer = Peer {
                    address: address.clone(),
                    ..peer(2)
                };
                let copy = peer.copy;
                followed(&core, Role::Owner, peer);
                core.followers.unasked.hold(key, copy, owner(shown));
                core.followers.await_word(key, copy);
                let claimant = (opened.name.clone(), key, copy);
                core.ask_at(&(address, false), vec![claimant]).await;
                assert_eq!(core.check_asked(key).is_err(), is_held);
                assert_eq!(core.followers.awaits_word(key, copy), is_held);
            }
        });
    }

    /// The copy that told of it follows another node by now, and knows nothing of it: it was waited for without end, though it
    /// followed this node.
    #[test]
    fn whom_a_copy_has_shown_to_own_a_partition_is_waited_for_until_it_says_itself_that_it_does_not()
     {
        with_core(|core| async move {
            let (opened, key) = topic(1);
            assert!(core.open_partition(&opened, key).await);
            let telling = |number| {
                node_named(number, |stream, received| {
                    tell_copy(stream, received, replica_status::Role::Follower, None);
                })
            };
            let by = Peer {
                address: telling(2),
                ..peer(2)
            };
            let shown = Target {
                address: telling(3),
                ..owner(3)
            };
            let (address, copy) = (by.address.clone(), by.copy);
            followed(&core, Role::Owner, by);
            core.followers.unasked.hold(key, copy, shown);
            core.followers.await_word(key, copy);
            assert!(core.check_asked(key).is_err());
            let claimant = (opened.name.clone(), key, copy);
            core.ask_at(&(address, false), vec![claimant]).await;
            assert!(core.check_asked(key).is_ok());
        });
    }

    /// A copy that was given up to a node, and has no epoch.
    fn fenced(to: NodeId) -> String {
        node(move |stream, received| {
            tell_copy(stream, received, replica_status::Role::Fenced, Some(to));
        })
    }

    /// Says that the node has a copy without epochs, that nobody is known to follow.
    fn tell_copy(
        mut stream: TcpStream,
        mut received: Vec<u8>,
        role: replica_status::Role,
        target: Option<NodeId>,
    ) {
        let status = replica_status::Answer {
            id: TopicId::from_bytes([1; 16]),
            partitions: vec![replica_status::Partition {
                role,
                source: Some("127.0.0.1:1".to_owned()),
                target,
                ..replica_status::Partition::owned(PartitionId::new(0), Offset::ZERO)
            }],
        };
        tell::<replica_status::Request>(&mut stream, &mut received, &status);
        let log = log(Offset::ZERO, Offset::ZERO);
        tell::<segments::Request>(&mut stream, &mut received, &log);
    }
}
