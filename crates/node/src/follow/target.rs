//! Whom a partition is handed to: a node that follows it, is near, and has the topic as it is here.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::replica_status::State;
use corelog_protocol::message::{metadata, replica_status};
use corelog_record::{CopyId, LeaderEpoch, NodeId, Offset, TopicName};
use corelog_storage::format::replica::{Peer, Replica, Role};

use super::ASK_TIMEOUT;
use super::fence::SILENT_AFTER;
use super::followers::Follower;
use super::hands::Hand;
use super::line::Line;
use super::lineage::diverged;
use super::ownership::{has_none, not_owner, partition_at, segments_of};
use crate::catalog::is_in_place_of;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure, failure_with, invalid, said_by};
use crate::rt;

/// A target that misses more is far behind: it need not have that before the handover gives up waiting for it,
/// while nothing is appended.
const NEAR_BYTES: u64 = 256 << 20;
/// How long a target is waited for to come near, and then to be alike, while nothing has changed: both together take
/// less than who asks waits for an answer as a rule.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two questions whether it is near, or has the topic's settings and partitions, which it looks for
/// itself.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// The name that stands for the copy at an address of which nothing else is known, where several are told apart: no copy
/// has it, as theirs are drawn.
pub(super) fn copy_at(address: &str) -> CopyId {
    let half = |which: u8| {
        let mut hasher = DefaultHasher::new();
        (which, address).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    CopyId::from_bytes((half(0) << 64 | half(1)).to_le_bytes())
}

/// The copies elsewhere of a partition of this node that may come to own it, each with its address: those that follow it, and
/// those that it followed itself before.
pub(super) fn copies_of(owned: &Replica) -> impl Iterator<Item = (CopyId, &String)> {
    let outranked = owned.outranked.iter();
    let outranked = outranked.map(|address| (copy_at(address), address));
    let followers = owned.followers.iter();
    outranked.chain(followers.map(|peer| (peer.copy, &peer.address)))
}

/// Whom a partition is given to: a node, and where it is reached. Another one that is reached there by now is not meant, nor
/// does its word count.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) node: NodeId,
    pub(super) address: String,
}

impl Target {
    /// As one of whose copy nothing is known: of who is not remembered, the chains alone tell.
    pub(super) fn as_peer(&self) -> Peer {
        Peer {
            node: self.node,
            copy: CopyId::from_bytes([0; 16]),
            address: self.address.clone(),
        }
    }
}

impl Core {
    /// The node that is meant by an address that was just named, where nothing was written down yet.
    ///
    /// # Errors
    /// As [`Line::connect`].
    pub(super) async fn target_named(&self, address: String) -> Result<Target, Failure> {
        let node = self.line_to_named(&address).await?.node();
        Ok(Target { node, address })
    }

    /// The node that is meant by an address: the one that is known already, or the one that is reached there.
    ///
    /// # Errors
    /// `SourceUnavailable` if neither is.
    pub(super) async fn target_at(
        &self,
        address: String,
        known: Option<NodeId>,
    ) -> Result<Target, Failure> {
        let node = match known {
            Some(node) => node,
            None => self.line_to(&address).await?.node(),
        };
        Ok(Target { node, address })
    }

    /// To whom a partition is being given, or was until that was taken back; nobody if that is not known.
    ///
    /// # Errors
    /// `SourceUnavailable` if it is known, and not where it is reached.
    pub(super) async fn given_to(&self, replica: &Replica) -> Result<Option<Target>, Failure> {
        let mut known = replica.followers.iter();
        let known = known.find(|peer| Some(peer.node) == replica.target);
        let address = replica.sources.first();
        match (address.or(known.map(|peer| &peer.address)), replica.target) {
            (Some(address), node) => self.target_at(address.clone(), node).await.map(Some),
            (None, Some(node)) => {
                let message = format!("it was given to node {node}, of which no address is known");
                Err(failure(ErrorCode::SourceUnavailable, message))
            }
            (None, None) => Ok(None),
        }
    }

    /// A connection to whom a partition is given to.
    ///
    /// # Errors
    /// `SourceUnavailable` also if another node is there by now.
    pub(super) async fn line_to_target(&self, to: &Target) -> Result<Rc<Line>, Failure> {
        let line = self.line_to(&to.address).await?;
        line.check_is(to.node)?;
        Ok(line)
    }

    /// Waits until the node at `to` has nearly all of the partition's log: what is missing then comes while
    /// nothing is appended.
    ///
    /// # Errors
    /// `NotFollower`, `Diverged` and `InvalidRequest` if it is no node to give the partition to, as one that let it go to a later owner; `NotEqual` if
    /// it is too far behind for too long, or behind and out of reach of whom it follows.
    pub(super) async fn until_near(
        self: &Rc<Self>,
        hand: &Hand,
        topic: &TopicName,
        key: PartitionKey,
        to: &Target,
    ) -> Result<(), Failure> {
        let address = &to.address;
        self.until(hand, to, async |line| {
            let there = self.check_target(line, topic, key, address).await?;
            let missing = self.bytes_behind(key, there.end);
            if NEAR_BYTES < missing {
                return Ok(Some(far(address, there.end, missing)));
            }
            Ok((0 < missing && is_cut_off(&there)).then(|| self.cut_off(topic, &there, address)))
        })
        .await
    }

    /// Checks that the node that `line` leads to is another one, follows the partition's log, and would take it over at the epoch in
    /// force here; gives what it says of it.
    async fn check_target(
        &self,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
        to: &str,
    ) -> Result<replica_status::Partition, Failure> {
        if line.node() == self.shared.node {
            return Err(invalid("to", format!("{to} is this node")));
        }
        let follower = match partition_at(line, topic, key).await {
            Ok(there) if follows(&there) => there,
            Err(error) if !has_none(&error) => return Err(said_by(to, error)),
            _ => {
                return Err(self.no_follower(topic, key, to));
            }
        };
        let there = segments_of(line, topic, key, Offset::MAX).await;
        let there = there.map_err(|why| said_by(to, why))?;
        if !there.can_be_of(self.place(key)?.history) {
            return Err(diverged(Offset::ZERO));
        }
        let newest = self.epoch(key)?;
        match follower.let_go.filter(|let_go| newest < Some(*let_go)) {
            Some(let_go) => Err(given_on(to, let_go)),
            None => Ok(follower),
        }
    }

    /// Asked again it would still be none.
    fn no_follower(&self, topic: &TopicName, key: PartitionKey, to: &str) -> Failure {
        let (partition, clone) = (key.partition, self.clone_of(topic, to));
        let message = format!(
            "{to} does not follow {topic}/{partition}, or no more: make it a copy first, with {clone}"
        );
        failure(ErrorCode::NotFollower, message)
    }

    /// What comes from here on does not come there: it would never have all while nothing is appended.
    fn cut_off(&self, topic: &TopicName, there: &replica_status::Partition, to: &str) -> Failure {
        let (end, clone) = (there.end, self.clone_of(topic, to));
        let source = there.source.as_deref().unwrap_or("whom it follows");
        let message = format!(
            "{to} ends at {end}, and has not heard of the owner from {source} for long: nothing was changed; have it follow this node, with {clone}"
        );
        failure_with(ErrorCode::NotEqual, message, ending_at(end))
    }

    /// The command with which the node at `to` follows this one.
    fn clone_of(&self, topic: &TopicName, to: &str) -> String {
        let mine = self.shared.addresses.get();
        let mine = mine.map_or("HOST:PORT", |mine| &mine.advertised);
        format!("`corelog clone {topic} --server {to} --from {mine} --follow`")
    }

    /// Waits until the topic at `to` has the settings and the partitions that it has here, and the partition's log
    /// begins there where it does here. What was altered or let go of here comes there by a look now and then, and
    /// is not to be undone by what is in force there afterwards; what a copy never had goes here once it is the owner. Where it
    /// begins here is told once no truncation is on its way to the disk.
    pub(super) async fn until_alike(
        self: &Rc<Self>,
        hand: &Hand,
        topic: &TopicName,
        key: PartitionKey,
        to: &Target,
    ) -> Result<(), Failure> {
        let address = &to.address;
        self.until(hand, to, async |line| {
            let is_alike = self.is_alike(line, topic, key).await;
            if !is_alike.map_err(|why| said_by(address, why))? {
                return Ok(Some(unlike(topic, address)));
            }
            let there = segments_of(line, topic, key, Offset::MAX).await;
            let there = there.map_err(|why| said_by(address, why))?.log_start;
            let here = self.place(key)?.log_start;
            if self.is_truncating(key)? {
                return Ok(Some(failure(ErrorCode::Busy, "it is being truncated yet")));
            }
            Ok((there != here).then(|| unequal(address, there, here)))
        })
        .await
    }

    /// Looks at the node at `to` again and again until nothing is in the way any more, and gives what is if that
    /// takes too long.
    async fn until(
        self: &Rc<Self>,
        hand: &Hand,
        to: &Target,
        in_the_way: impl AsyncFn(&Line) -> Result<Option<Failure>, Failure>,
    ) -> Result<(), Failure> {
        let deadline = rt::now() + READY_TIMEOUT;
        loop {
            let line = self.line_to_target(to).await?;
            let in_the_way = in_the_way(&line).await?;
            hand.check()?;
            let Some(failure) = in_the_way else {
                return Ok(());
            };
            if deadline <= rt::now() {
                return Err(failure);
            }
            rt::sleep(LOOK_PAUSE).await;
        }
    }

    /// If a follower's topic is as it is here, or need not be: it has none, or owns some of it and so
    /// has settings of its own.
    async fn is_alike(
        &self,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
    ) -> Result<bool, Failure> {
        let ask = metadata::Request {
            topics: Some(vec![topic.clone()]),
        };
        let told = line.call(&ask, ASK_TIMEOUT).await?.head.topics;
        let Some(there) = told.into_iter().find(|there| there.id == key.topic) else {
            return Ok(true);
        };
        let here = self.routes.borrow().topic_by_id(key.topic).cloned();
        if here.is_none_or(|here| here.is_as(&there)) {
            return Ok(true);
        }
        let ask = replica_status::Request {
            topic: topic.clone(),
            id: Some(key.topic),
            partition: None,
        };
        let told = line.call(&ask, ASK_TIMEOUT).await?.head.partitions;
        let owned = told
            .iter()
            .any(|one| one.role == replica_status::Role::Owner);
        if owned {
            tracing::warn!(%topic, "its next owner owns some of it and has other settings, which stay");
        }
        Ok(owned)
    }

    /// Whom a partition is given to.
    pub(super) fn target_of(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        replica: &Replica,
        to: Option<String>,
    ) -> Result<String, Failure> {
        let before = replica.sources.first();
        match (replica.role, to) {
            (Role::Owner, to) => to.map_or_else(|| self.only_follower(key, replica), Ok),
            (Role::HandingOver, to) if to.is_none() || to.as_ref() == before => {
                let none = || {
                    let message = "it is being taken back: finish that by aborting it again";
                    invalid("abort", message)
                };
                before.cloned().ok_or_else(none)
            }
            (Role::HandingOver, _) => {
                let message = "it is being handed over to another node: finish or abort that";
                Err(invalid("to", message))
            }
            _ => Err(not_owner(topic, key, replica)),
        }
    }

    /// The one that follows a partition. Those that were heard and are not written down yet count as well.
    fn only_follower(&self, key: PartitionKey, replica: &Replica) -> Result<String, Failure> {
        let mut all = replica.followers.clone();
        let heard = self.followers.of(key);
        for peer in heard.into_iter().filter_map(Follower::peer) {
            if !all.iter().any(|known| is_in_place_of(&peer, known)) {
                all.push(peer);
            }
        }
        match all.as_slice() {
            [one] => Ok(one.address.clone()),
            several => {
                let message = format!(
                    "{} nodes follow it: name the one to hand it to",
                    several.len()
                );
                Err(invalid("to", message))
            }
        }
    }
}

/// If a node goes on taking what this one has. One that has all that it was asked for does not, nor does one that
/// stopped.
fn follows(there: &replica_status::Partition) -> bool {
    let is_over = matches!(there.state, State::Done | State::Stopped);
    there.role == replica_status::Role::Follower && !is_over
}

/// If a follower has not heard of the owner, by whom it follows, for long.
fn is_cut_off(there: &replica_status::Partition) -> bool {
    let is_silent = |ms| SILENT_AFTER < Duration::from_millis(ms);
    let heard = there.owner_heard_ms.or(there.source_heard_ms);
    // What comes as files says nothing meanwhile.
    there.state != State::Copying && heard.is_none_or(is_silent)
}

/// It would refuse what it is asked once nobody takes appends any more.
fn given_on(to: &str, let_go: LeaderEpoch) -> Failure {
    let message = format!(
        "{to} has owned it, and let it go to the owner of epoch {let_go}, which is later than the one here: \
         unless that one is to own it, have {to} rejoin this node first"
    );
    failure(ErrorCode::InvalidRequest, message)
}

fn unlike(topic: &TopicName, to: &str) -> Failure {
    let message = format!(
        "{topic} has other settings or partitions at {to}: a copy of the whole becomes as \
         this one within seconds, another one is cloned again or altered there"
    );
    failure(ErrorCode::NotEqual, message)
}

fn unequal(to: &str, there: Offset, here: Offset) -> Failure {
    let message = match there < here {
        true => format!("{to} still begins at {there}, and here all below {here} is gone"),
        false => format!(
            "{to} begins at {there} only, and what is here from {here} on would be gone: clone all of it there"
        ),
    };
    failure(ErrorCode::NotEqual, message)
}

fn far(to: &str, end: Offset, missing: u64) -> Failure {
    let message = format!("{to} ends at {end}, about {missing} bytes behind: nothing was changed");
    failure_with(ErrorCode::NotEqual, message, ending_at(end))
}

fn ending_at(end: Offset) -> Detail {
    Detail {
        end: Some(end),
        ..Detail::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use corelog_protocol::message::segments;
    use futures_lite::future::zip;

    use super::*;
    use crate::core::tests::{cold_batches, hold_chores, topic, until, with_core};
    use crate::follow::line::tests::{log, node, tell};

    fn peer(number: u8, address: &str) -> Peer {
        Peer {
            node: NodeId::from_bytes([number; 16]),
            copy: CopyId::from_bytes([number; 16]),
            address: address.to_owned(),
        }
    }

    fn heard(peer: Peer) -> Follower {
        Follower {
            copy: peer.copy,
            node: Some(peer.node),
            address: Some(peer.address),
            end: Offset::ZERO,
            at: rt::now(),
            is_claiming: false,
        }
    }

    /// The one that was written down got the partition, within a second of the coming of another one.
    #[test]
    fn a_follower_that_is_not_written_down_yet_is_one_to_choose_from() {
        with_core(|core| async move {
            let (topic, key) = topic(1);
            let target = |replica: &Replica| core.target_of(&topic.name, key, replica, None);
            let mut replica = Replica::owner(key.partition);
            assert!(target(&replica).unwrap_err().is(ErrorCode::InvalidRequest));
            core.followers.note(key, heard(peer(1, "a:1")));
            assert_eq!(target(&replica).unwrap(), "a:1");
            replica.followers = vec![peer(1, "a:1")];
            assert_eq!(target(&replica).unwrap(), "a:1");
            core.followers.note(key, heard(peer(2, "b:1")));
            let refused = target(&replica).unwrap_err();
            assert!(refused.message.contains("2 nodes follow it"), "{refused:?}");
        });
    }

    /// A truncation whose edit stood behind others landed once the target owned the partition, which had all of it to this day.
    #[test]
    fn a_log_is_alike_once_no_truncation_of_it_is_on_its_way() {
        let (asked, looks) = mpsc::channel();
        let address = node(move |mut stream, mut received| {
            for look in 0.. {
                tell::<metadata::Request>(&mut stream, &mut received, &no_topics());
                let begins_at = Offset::ZERO.plus(u64::from(1 < look));
                let there = log(begins_at, Offset::ZERO.plus(2));
                tell::<segments::Request>(&mut stream, &mut received, &there);
                if asked.send(look).is_err() {
                    return;
                }
            }
        });
        with_core(|core| async move {
            let (topic, key) = cold_batches(&core, 2).await;
            let turns = hold_chores(&core).await;
            let truncating = core.truncate(key, Offset::ZERO.plus(1));
            let handing = async {
                let hand = core.take_hand(key).unwrap();
                let line = core.line_to(&address).await.unwrap();
                let node = line.node();
                let to = Target { node, address };
                let name = &topic.name;
                core.until_alike(&hand, name, key, &to).await.unwrap();
                core.place(key).unwrap().log_start
            };
            let landing = async {
                until("it was asked", || looks.try_recv().is_ok()).await;
                assert!(core.is_truncating(key).unwrap());
                drop(turns);
            };
            let (truncated, (start, ())) = zip(truncating, zip(handing, landing)).await;
            assert_eq!(truncated.unwrap().log_start, start);
        });
    }

    fn no_topics() -> metadata::Answer {
        metadata::Answer {
            node: NodeId::from_bytes([1; 16]),
            cores: Vec::new(),
            shared: String::new(),
            topics: Vec::new(),
            errors: Vec::new(),
        }
    }
}
