//! Room in the file of a topic. Who owns a partition can always be written down there: what may be without end leaves room for it.

use corelog_protocol::limits::{ADDRESS_BYTES_MAX, TOPIC_PARTITION_COUNT_MAX};
use corelog_storage::format::replica::Replica;
use corelog_storage::format::topic::FILE_BYTES_MAX;

use super::topic::Topic;
use crate::failure::{Failure, invalid};

/// Bytes of a follower in the topic's file beside its address.
const PEER_BYTES: usize = 60;
/// Bytes in it beside the address of a source, or of one that has yet to be told of a promotion.
const ADDRESS_BYTES: usize = 12;
/// The most bytes in it of the offset of a segment that a copy takes.
const SEGMENT_BYTES: usize = 9;
/// Bytes of followers for each partition of a topic: as many as are remembered, with addresses of numbers. All that may be
/// with the longest addresses would not fit in a file, and anybody may follow.
const PARTITION_FOLLOWERS_BYTES: usize = 640;
/// Bytes of the followers of a topic with few partitions: half of the blocks that are kept for a full disk.
const FOLLOWERS_BYTES_MIN: usize = 32 << 10;
/// Bytes of the topic's file that are left to each partition for what else is known of it, with two of the longest
/// addresses: its first source, or where it went, and the first that a promoted copy has yet to tell.
const PARTITION_BYTES: usize = 112 + 2 * (ADDRESS_BYTES_MAX as usize + 4);
/// Bytes of the file for all partitions; the others are its settings'.
const PARTITIONS_BYTES_MAX: u64 = FILE_BYTES_MAX - (32 << 10);
const _: () = assert!(
    ((PARTITION_BYTES + PARTITION_FOLLOWERS_BYTES) * TOPIC_PARTITION_COUNT_MAX as usize) as u64
        <= PARTITIONS_BYTES_MAX
);

/// Room for the followers of a topic in its file.
pub(super) fn bytes_max(topic: &Topic) -> usize {
    FOLLOWERS_BYTES_MIN.max(topic.owners.len() * PARTITION_FOLLOWERS_BYTES)
}

/// What followers, and those that a promoted copy has yet to tell, take in the file of the room for them.
pub(super) fn bytes_of(replica: &Replica) -> usize {
    let followers = replica.followers.iter();
    let followers: usize = followers.map(|peer| PEER_BYTES + peer.address.len()).sum();
    followers + beyond_first(&replica.outranked)
}

/// The same of all partitions of a topic.
pub(super) fn bytes_of_all(topic: &Topic) -> usize {
    topic.replicas.values().map(bytes_of).sum()
}

/// What addresses take; the first one has room of its own.
fn beyond_first(addresses: &[String]) -> usize {
    let others = addresses.iter().skip(1);
    others.map(|one| ADDRESS_BYTES + one.len()).sum()
}

/// Has a partition that was promoted tell as many of those that it followed as there is room for in the file of its topic. What
/// it was `before` had room: its sources, any of which may own the partition still, are told in any case.
pub(super) fn leave_room(topic: &mut Topic, before: &Replica) {
    let partition = before.partition;
    let kept = beyond_first(&before.sources) + beyond_first(&before.outranked);
    let mut over = bytes_of_all(topic).saturating_sub(bytes_max(topic));
    let replica = topic.replica(partition).filter(|_| 0 < over).cloned();
    let Some(mut replica) = replica else {
        return;
    };
    while 0 < over
        && kept < beyond_first(&replica.outranked)
        && let Some(untold) = replica.outranked.pop()
    {
        over = over.saturating_sub(ADDRESS_BYTES + untold.len());
        tracing::warn!(
            topic = %topic.name, partition = partition.get(), untold,
            "it is not told of the promotion: there is no room to write it down"
        );
    }
    topic.set_replica(replica);
}

/// Checks that a topic that says more than `before` leaves room in its file for each of its partitions to be promoted, handed on and
/// fenced, whoever follows. A partition that is, says no more.
///
/// # Errors
/// `InvalidRequest` if copies have too many sources, or segments, for that.
pub(super) fn check_room(before: Option<&Topic>, topic: &Topic) -> Result<(), Failure> {
    let needed = bytes_needed(topic);
    if needed <= PARTITIONS_BYTES_MAX || before.is_some_and(|before| needed <= bytes_needed(before))
    {
        return Ok(());
    }
    let message = format!(
        "the sources and segments of the {} partitions of {} take {} bytes more than there are for them in its file: clone it from fewer",
        topic.partition_count(),
        topic.name,
        needed - PARTITIONS_BYTES_MAX
    );
    Err(invalid("from", message))
}

/// What the file of a topic may come to hold. Sources of a copy are told of its promotion, and need no more room then.
fn bytes_needed(topic: &Topic) -> u64 {
    let sources = topic
        .replicas
        .values()
        .map(|replica| beyond_first(&replica.sources) + SEGMENT_BYTES * replica.segments.len());
    let sources: usize = sources.sum();
    let partitions = topic.owners.len() * PARTITION_BYTES;
    (partitions + bytes_of_all(topic).max(bytes_max(topic)) + sources) as u64
}

#[cfg(test)]
mod tests {
    use corelog_protocol::error::ErrorCode;
    use corelog_protocol::limits::SOURCE_COUNT_MAX;
    use corelog_protocol::message::settings::TopicSettings;
    use corelog_record::{CoreId, LeaderEpoch, PartitionId};
    use corelog_storage::format::replica::{Peer, Role};

    use super::super::origins::grown_as;
    use super::super::peers::remember_all;
    use super::super::peers::tests::coming;
    use super::*;
    use crate::core;
    use crate::follow::FOLLOWERS_MAX;
    use crate::follow::samples::peer;
    use crate::rt;

    /// A topic of so many partitions, with nothing to say of any.
    fn topic_of(count: u32) -> Topic {
        Topic {
            created: rt::wall_clock(),
            ..core::tests::topic_of("t", 7, count as usize)
        }
    }

    /// Has a follower at an address come to each partition; gives how many of them do not remember it.
    fn come(topic: &mut Topic, number: u8, address: &str) -> usize {
        let peer = Peer {
            address: address.to_owned(),
            ..peer(number)
        };
        let all = topic.partitions();
        let each = all.map(|(partition, _)| (partition, vec![coming(peer.clone())]));
        let each = each.collect();
        remember_all(topic, each)
    }

    /// A topic that is copied from sources: as many of its partitions from all of them as may be, the others from the first.
    fn copied(count: u32, sources: &[String]) -> Topic {
        let copied = |full: u32| {
            let mut topic = topic_of(count);
            for partition in (0..count).map(PartitionId::new) {
                let most = if partition.get() < full {
                    sources
                } else {
                    &sources[..1]
                };
                topic.change_replica(partition, |replica| Replica {
                    role: Role::Follower,
                    sources: most.to_vec(),
                    ..replica
                });
            }
            topic
        };
        let is_written =
            |topic: &Topic| check_room(None, topic).is_ok() && topic.to_file().encode().is_ok();
        let (mut full, mut refused) = (0, count + 1);
        while full + 1 < refused {
            let middle = u32::midpoint(full, refused);
            match is_written(&copied(middle)) {
                true => full = middle,
                false => refused = middle,
            }
        }
        assert!(0 < full);
        copied(full)
    }

    /// Promotes the copy of each partition, which followed others before its last promotions, and hands it on to another one.
    fn promote_and_hand_on(topic: &mut Topic, earlier: &[String], next: &str) {
        for partition in (0..topic.partition_count()).map(PartitionId::new) {
            promote(topic, partition, earlier);
        }
        topic.to_file().encode().unwrap();
        for partition in (0..topic.partition_count()).map(PartitionId::new) {
            hand_on(topic, partition, next);
        }
        topic.to_file().encode().unwrap();
    }

    fn promote(topic: &mut Topic, partition: PartitionId, earlier: &[String]) {
        let before = topic.known_replica(partition);
        let mut outranked = [&before.sources[..], earlier].concat();
        outranked.truncate(SOURCE_COUNT_MAX as usize);
        topic.set_replica(Replica {
            role: Role::Owner,
            sources: Vec::new(),
            outranked,
            ..before.clone()
        });
        leave_room(topic, &before);
    }

    fn hand_on(topic: &mut Topic, partition: PartitionId, next: &str) {
        topic.change_replica(partition, |replica| Replica {
            role: Role::HandingOver,
            target: Some(peer(9).node),
            sources: vec![next.to_owned()],
            let_go: LeaderEpoch::new(i32::MAX),
            ..replica
        });
    }

    fn longest(letter: &str) -> String {
        format!("{}:1", letter.repeat(ADDRESS_BYTES_MAX as usize - 2))
    }

    /// Followers with the longest addresses there are filled the file of a topic, and no owner of it could be changed any more.
    #[test]
    fn followers_leave_room_in_the_file_of_their_topic() {
        let count = TOPIC_PARTITION_COUNT_MAX;
        let mut topic = topic_of(count);
        assert_eq!(come(&mut topic, 0, "log1.example:7400"), 0);
        let long = longest("h");
        let refused: Vec<_> = (1..FOLLOWERS_MAX)
            .map(|number| come(&mut topic, u8::try_from(number).unwrap(), &long))
            .collect();
        assert_eq!(refused[0], 0);
        assert_eq!(*refused.last().unwrap(), count as usize);
        // Whoever is known may take less.
        assert_eq!(come(&mut topic, 1, "127.0.0.1:1"), 0);
        let near = "log1.example:7400".to_owned();
        // As many as there can be, of which the last ones go.
        let followed = [vec![near], vec![long; 15]].concat();
        promote_and_hand_on(&mut topic, &followed, "the-next-owner.of-all.example:7400");
    }

    /// Copies with sixteen sources filled the file, which a promotion did not make smaller: the owner of one that was promoted could
    /// not be changed any more, nor fenced.
    #[test]
    fn sources_leave_room_in_the_file_of_their_topic() {
        let next = longest("n");
        let sources: Vec<_> = ('a'..='p').map(|one| longest(&one.to_string())).collect();
        for count in [1, 1_200, TOPIC_PARTITION_COUNT_MAX] {
            let mut topic = copied(count, &sources);
            for number in 0..FOLLOWERS_MAX {
                come(&mut topic, u8::try_from(number).unwrap(), &longest("h"));
            }
            topic.to_file().encode().unwrap();
            let (first, copies) = (PartitionId::new(0), topic.clone());
            promote(&mut topic, first, &[]);
            assert_eq!(topic.replicas[&first].outranked, sources, "each is told");
            hand_on(&mut topic, first, &next);
            topic.to_file().encode().unwrap();
            // Whose room that was is not given to others.
            check_room(Some(&copies), &topic).unwrap();
            promote_and_hand_on(&mut topic, &sources, &next);
            check_room(Some(&copies), &topic).unwrap();
        }
    }

    #[test]
    fn a_clone_from_more_sources_than_there_is_room_for_is_refused() {
        let sources = vec![longest("s"); SOURCE_COUNT_MAX as usize];
        let topic = copied(TOPIC_PARTITION_COUNT_MAX, &sources);
        let mut more = topic.clone();
        let last = PartitionId::new(TOPIC_PARTITION_COUNT_MAX - 1);
        more.change_replica(last, |replica| Replica { sources, ..replica });
        let refused = check_room(Some(&topic), &more).unwrap_err();
        assert!(refused.is(ErrorCode::InvalidRequest), "{refused:?}");
        // As an earlier version wrote it.
        check_room(Some(&more), &more).unwrap();
        hand_on(&mut more, last, &longest("n"));
        check_room(Some(&topic), &more).unwrap();
    }

    /// Its settings, as a retention that was lowered, did not come either, for good: both were written down at once.
    #[test]
    fn a_copy_with_no_room_for_the_partitions_of_its_source_gets_the_settings() {
        let sources = vec![longest("s"); SOURCE_COUNT_MAX as usize];
        let topic = copied(1_200, &sources);
        let settings = TopicSettings {
            retention_age_ms: Some(60_000),
            ..topic.settings.clone()
        };
        assert_ne!(settings, topic.settings);
        let (as_is, fits) = grown_as(&topic, &settings, &[CoreId::new(0)]);
        let refused = fits.unwrap_err();
        assert!(refused.is(ErrorCode::InvalidRequest), "{refused:?}");
        assert_eq!(as_is.settings, settings);
        check_room(Some(&topic), &as_is).unwrap();
        assert_eq!(as_is.partition_count(), topic.partition_count());
        let (grown, fits) = grown_as(&copied(1, &sources), &settings, &[CoreId::new(0)]);
        fits.unwrap();
        assert_eq!(grown.partition_count(), 2);
    }

    /// Strangers that had followed filled the file, and whom a copy had followed when it was promoted was told nothing: it may
    /// own the partition to this day.
    #[test]
    fn whom_a_promoted_copy_followed_last_is_told_whoever_follows() {
        let count = TOPIC_PARTITION_COUNT_MAX;
        let followed = [longest("l"), longest("k")];
        let mut topic = topic_of(count);
        for number in 0..FOLLOWERS_MAX {
            come(&mut topic, u8::try_from(number).unwrap(), &longest("h"));
        }
        // Where little is left, too.
        come(&mut topic, 100, "a:1");
        promote_and_hand_on(&mut topic, &followed, &longest("n"));
        let told = |replica: &Replica| replica.outranked.first() == Some(&followed[0]);
        assert!(topic.replicas.values().all(told));
        assert_eq!(topic.replicas.len(), count as usize);
        // An earlier version remembered more of them.
        let mut full = topic_of(1);
        let stranger = Peer {
            address: longest("h"),
            ..peer(0)
        };
        full.change_replica(PartitionId::new(0), |replica| Replica {
            followers: vec![stranger; FOLLOWERS_BYTES_MIN / PEER_BYTES],
            ..replica
        });
        promote_and_hand_on(&mut full, &followed, &longest("n"));
        let outranked = &full.replicas[&PartitionId::new(0)].outranked;
        assert_eq!(*outranked, followed[..1]);
    }

    /// One was told, which a copy that was started again, and heard none of them, did not know to be the one that it had followed: the
    /// others had room in the file as its sources, too.
    #[test]
    fn each_source_of_a_promoted_copy_is_told_whoever_follows() {
        let (partition, stranger) = (PartitionId::new(0), peer(0));
        let followed = ["l", "k", "g"].map(longest);
        let mut full = topic_of(1);
        // An earlier version remembered more of them.
        full.change_replica(partition, |replica| Replica {
            role: Role::Follower,
            sources: followed[..2].to_vec(),
            followers: vec![stranger; FOLLOWERS_BYTES_MIN / PEER_BYTES],
            ..replica
        });
        promote(&mut full, partition, &followed[2..]);
        let told = |topic: &Topic| topic.replicas[&partition].outranked.clone();
        assert_eq!(told(&full), followed[..2]);
        // Whatever else is written down of it later.
        let before = full.replicas[&partition].clone();
        leave_room(&mut full, &before);
        assert_eq!(told(&full), followed[..2]);
    }
}
