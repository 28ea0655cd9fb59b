//! What two nodes hold of a partition, held against each other.

use std::time::{Duration, Instant};

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::replica_status::{self, State};
use corelog_protocol::message::{chain_at, clone_topic, forget_follower, segments};
use corelog_record::batch::{Batches, View};
use corelog_record::{Offset, PartitionId};
use corelog_storage::format::replica::Peer;

use super::node::{Node, cloning};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::wire::Target;

/// A follower comes level in this time, or something is wrong.
const LEVEL_MAX: Duration = Duration::from_secs(100);

/// Has a node copy these segments of a partition of another one, and no others.
pub(super) fn copy_segments(
    node: &Node,
    source: &Node,
    (topic, partition): (&Target, u32),
    segments: Vec<Offset>,
) {
    let request = clone_topic::Request {
        follow: false,
        partition: Some(PartitionId::new(partition)),
        segments,
        ..cloning(topic, &[source])
    };
    node.ask(&request).unwrap();
    until("the segments are there", || {
        status(node, topic, partition).state == State::Done
    });
}

/// A partition's log as files.
pub(crate) fn segments(node: &Node, topic: &Target, partition: u32) -> segments::Answer {
    node.ask(&segments::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(partition),
        from: Offset::ZERO,
    })
    .unwrap()
}

/// What a node is to a partition.
pub(crate) fn status(node: &Node, topic: &Target, partition: u32) -> replica_status::Partition {
    let request = replica_status::Request {
        topic: topic.name.clone(),
        id: Some(topic.id),
        partition: Some(PartitionId::new(partition)),
    };
    let told = node.ask(&request).unwrap().partitions;
    let mut told = told.into_iter();
    told.find(|one| one.id.get() == partition).unwrap()
}

pub(crate) fn chain_at(
    node: &Node,
    topic: &Target,
    partition: u32,
    at: Offset,
) -> chain_at::Answer {
    node.ask(&chain_at::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(partition),
        offset: at,
    })
    .unwrap()
}

/// How many followers are remembered, of all partitions.
pub(crate) fn remembered(node: &Node, topic: &Target) -> usize {
    peers(node, topic).len()
}

/// Those that the topic's file names, by which its cores go: they are told of them once the file is durable, and a node that is
/// stopped before that asks none of them.
pub(super) fn peers(node: &Node, topic: &Target) -> Vec<Peer> {
    let replicas = node.topic_file(topic).replicas;
    // A change that changes nothing waits for the one before.
    let nobody = forgetting(topic, "nobody:1".to_owned());
    let refused = node.ask(&nobody).unwrap_err();
    assert!(refused.is(ErrorCode::UnknownFollower), "{refused:?}");
    let each = replicas.into_iter();
    each.flat_map(|replica| replica.followers).collect()
}

/// Has an owner forget a follower that does not reach it: else it would ask that one, sooner or later, whether it owns the
/// partition by now.
pub(super) fn forget(owner: &Node, topic: &Target, follower: &Node) {
    let address = follower.address();
    until("the follower is remembered", || {
        let mut peers = peers(owner, topic).into_iter();
        peers.any(|peer| peer.address == address)
    });
    owner.ask(&forgetting(topic, address)).unwrap();
}

pub(super) fn forgetting(topic: &Target, address: String) -> forget_follower::Request {
    forget_follower::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: None,
        address,
    }
}

/// Two nodes of which the second follows a topic of so many batches of the first, and has them all.
pub(crate) fn level_pair(folder: &Folder, batches: usize) -> (Node, Node, Target) {
    let (a, b) = (Node::start(folder, "a"), Node::start(folder, "b"));
    let topic = a.topic("t", 1);
    a.fill(&topic, 0, batches);
    b.follow(&topic, &[&a]);
    wait_until_level(&a, &b, &topic, 0);
    (a, b, topic)
}

/// Waits until a follower has all that its source has; fails if it stops before.
pub(crate) fn wait_until_level(source: &Node, follower: &Node, topic: &Target, partition: u32) {
    if let Err(error) = try_until_level(source, follower, topic, partition) {
        panic!("{topic:?}/{partition} stopped: {error:?}");
    }
}

/// The same; gives why if it stops before.
pub(crate) fn try_until_level(
    source: &Node,
    follower: &Node,
    topic: &Target,
    partition: u32,
) -> Result<(), Box<ErrorBody>> {
    let begun = Instant::now();
    let mut stopped = None;
    until("the follower is level, or stopped", || {
        let there = segments(source, topic, partition);
        let here = status(follower, topic, partition);
        assert!(
            begun.elapsed() < LEVEL_MAX,
            "not level: {here:?}, {there:?}"
        );
        if here.state == State::Stopped {
            stopped = here.error.map(Box::new);
            assert!(stopped.is_some(), "it does not say why it stopped");
            return true;
        }
        here.end == there.high_watermark
            && segments(follower, topic, partition).log_start == there.log_start
    });
    stopped.map_or(Ok(()), Err)
}

/// Holds all that two copies say of themselves and all that they hold against each other. Retention may
/// go on at the source: what it lets go of, the copy does.
pub(crate) fn assert_equal(source: &Node, copy: &Node, topic: &Target, partition: u32) {
    let (there, here) = when_cut_alike(source, copy, topic, partition);
    assert_eq!(here.history, there.history);
    assert_ne!(here.copy, there.copy, "each copy has a name of its own");
    assert_eq!(here.high_watermark, there.high_watermark);
    // A copy that began later says that its first epoch began there.
    let epochs = |answer: &segments::Answer| {
        let epochs = answer.epochs.iter();
        epochs
            .map(|one| (one.epoch, one.lineage))
            .collect::<Vec<_>>()
    };
    assert_eq!(epochs(&here), epochs(&there));
    let digests = |answer: &segments::Answer| {
        let sealed = answer.sealed.iter();
        sealed
            .map(|sealed| sealed.digest.clone())
            .collect::<Vec<_>>()
    };
    let (ours, theirs) = (digests(&here), digests(&there));
    let both = ours.len().min(theirs.len());
    assert_eq!(ours[..both], theirs[..both]);
    let end = there.high_watermark;
    let chain = |node| chain_at(node, topic, partition, end);
    assert_eq!(chain(copy), chain(source));
    assert_same_below(source, copy, topic, partition, end);
}

/// What the source and its copy say of themselves, once both begin, and are cut into segments, at the same
/// offsets: one that is being sealed is told of when it is.
fn when_cut_alike(
    source: &Node,
    copy: &Node,
    topic: &Target,
    partition: u32,
) -> (segments::Answer, segments::Answer) {
    let cuts = |answer: &segments::Answer| {
        let sealed = answer.sealed.iter().map(|sealed| sealed.base);
        let active = answer.active.iter().map(|active| active.base);
        // An active segment without records is not there yet at a follower.
        let all = sealed.chain(active);
        let bases = all.filter(|base| *base < answer.high_watermark);
        (answer.log_start, bases.collect::<Vec<_>>())
    };
    let mut both = None;
    until("segments begin where the source's do", || {
        let [there, here] = [source, copy].map(|node| segments(node, topic, partition));
        let is_alike = cuts(&here) == cuts(&there);
        both = is_alike.then_some((there, here));
        is_alike
    });
    both.unwrap()
}

/// Holds the bytes below an offset against each other.
pub(crate) fn assert_same_below(
    one: &Node,
    other: &Node,
    topic: &Target,
    partition: u32,
    end: Offset,
) {
    let both = [other, one];
    let [ours, theirs] = loop {
        let starts = both.map(|node| segments(node, topic, partition).log_start);
        let from = starts[0].max(starts[1]);
        if let [Some(ours), Some(theirs)] =
            both.map(|node| bytes_from(node, topic, partition, from, end))
        {
            break [ours, theirs];
        }
    };
    assert!(ours == theirs, "the bytes below {end} differ");
}

/// The verified batches of a partition below an offset.
pub(crate) fn bytes(node: &Node, topic: &Target, partition: u32, end: Offset) -> Vec<u8> {
    loop {
        let from = segments(node, topic, partition).log_start;
        if let Some(bytes) = bytes_from(node, topic, partition, from, end) {
            return bytes;
        }
    }
}

/// The same from an offset on; none if the node let go of that meanwhile.
fn bytes_from(
    node: &Node,
    topic: &Target,
    partition: u32,
    from: Offset,
    end: Offset,
) -> Option<Vec<u8>> {
    let mut all = match node.wire().try_read_all(topic, partition, from) {
        Ok(all) => all,
        Err(why) => {
            let is_gone = from < segments(node, topic, partition).log_start;
            assert!(is_gone && why.is(ErrorCode::OutOfRange), "{why:?}");
            return None;
        }
    };
    let mut kept = 0;
    for batch in Batches::over(&all) {
        let batch = View::verify(batch.unwrap()).unwrap();
        if batch.base_offset() < end {
            kept += batch.bytes().len();
        }
    }
    all.truncate(kept);
    Some(all)
}
