//! One topic as every core knows it.

use std::collections::BTreeMap;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::settings::{RetentionHold, TopicSettings};
use corelog_protocol::message::{alter_topic, metadata};
use corelog_record::{CoreId, PartitionId, Timestamp, TopicId, TopicName};
use corelog_storage::format::replica::{Replica, Role};
use corelog_storage::format::topic as file;

use crate::core::PartitionKey;
use crate::failure::{Failure, failure, failure_with};

/// So many bits of a partition's number tell where its segments roll.
const TURN_BITS: u32 = 4;

/// So many partitions are named where several cannot be altered.
const NAMED_MAX: usize = 8;

/// One topic; never changed, but replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    pub(crate) created: Timestamp,
    pub(crate) settings: TopicSettings,
    /// The core that owns each partition; as many as there are partitions.
    pub(crate) owners: Vec<CoreId>,
    /// The partitions that are not this node's alone.
    pub(crate) replicas: BTreeMap<PartitionId, Replica>,
}

impl Topic {
    /// What is known of a partition as a replica; `None` if it is this node's alone.
    pub(crate) fn replica(&self, partition: PartitionId) -> Option<&Replica> {
        self.replicas.get(&partition)
    }

    /// The same, also of one that is this node's alone.
    pub(crate) fn known_replica(&self, partition: PartitionId) -> Replica {
        let replica = self.replica(partition).cloned();
        replica.unwrap_or(Replica::owner(partition))
    }

    /// If this node owns a partition: takes its appends, begins its epochs.
    pub(crate) fn is_owned(&self, partition: PartitionId) -> bool {
        self.replica(partition)
            .is_none_or(|replica| replica.role == Role::Owner)
    }

    /// Where a segment of a partition rolls, in bytes: at the size that the topic says in the first, in others up
    /// to an eighth before it. Partitions that are written to alike would roll all at once, again and again,
    /// and for tens of milliseconds everybody waits for that.
    pub(crate) fn segment_bytes_max(&self, partition: PartitionId) -> u64 {
        // In reverse, the low bits of a number spread the first few partitions as far as they can.
        let turn = u64::from(partition.get().reverse_bits() >> (u32::BITS - TURN_BITS));
        let most = self.settings.segment_bytes;
        most - ((most / 8 * turn) >> TURN_BITS)
    }

    /// If all of it follows another node's without an end: its partitions and settings are that one's.
    pub(crate) fn is_copy(&self) -> bool {
        let follows = |replica: &Replica| replica.role == Role::Follower && replica.until.is_none();
        let mut partitions = self.partitions();
        partitions.all(|(partition, _)| self.replica(partition).is_some_and(follows))
    }

    /// Refuses what the next look at the topic's source would undo, or the one after a handover of it, and partitions that
    /// no other node that has some of the topic's would hear of.
    pub(super) fn check_may_alter(&self, request: &alter_topic::Request) -> Result<(), Failure> {
        if self.is_copy() {
            let message =
                "the topic follows another node's: change that, and this one becomes as it is";
            let detail = Detail {
                address: self.sources().first().cloned(),
                ..Detail::default()
            };
            return Err(failure_with(ErrorCode::NotOwner, message, detail));
        }
        let given: Vec<_> = self.given().collect();
        if let [first, ..] = &given[..] {
            return Err(match self.owns_some() {
                true => self.split(&given),
                false => given_away(first),
            });
        }
        let is_owned = |(partition, _)| self.is_owned(partition);
        if request.partitions.is_some() && !self.partitions().all(is_owned) {
            let message =
                "another node owns partitions of this topic: one node has to own all of them";
            return Err(failure(ErrorCode::NotOwner, message));
        }
        Ok(())
    }

    /// The partitions that another node has, is given, or took, while this one has or had them: what is
    /// changed here would not be in force there, and be undone once that node owns all.
    fn given(&self) -> impl Iterator<Item = &Replica> {
        let owns_some = self.owns_some();
        self.replicas
            .values()
            .filter(move |replica| match replica.role {
                Role::Owner => false,
                Role::Follower => owns_some && replica.until.is_none(),
                Role::HandingOver | Role::Fenced | Role::Unknown => true,
            })
    }

    fn owns_some(&self) -> bool {
        self.partitions().any(|(one, _)| self.is_owned(one))
    }

    /// That nobody may alter the topic as long as several nodes own partitions of it: no address of one, where the same is
    /// refused.
    fn split(&self, given: &[&Replica]) -> Failure {
        let named = given.iter().take(NAMED_MAX);
        let named: Vec<_> = named.map(|one| one.partition.to_string()).collect();
        let more = match given.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let source = given.iter().find_map(|one| one.sources.first());
        let at = source.map_or_else(String::new, |address| format!(" ({address})"));
        let (name, named) = (&self.name, named.join(", "));
        let message = format!(
            "partitions {named}{more} of topic {name} are another node's{at}, or being given to it, and others are this \
             one's: one node has to own all of them before the topic is altered there; `corelog handover {name}` at the \
             one gives what it owns to the other"
        );
        failure(ErrorCode::NotOwner, message)
    }

    /// If another node tells the same settings of it, and as many partitions.
    pub(crate) fn is_as(&self, other: &metadata::Topic) -> bool {
        let count = partition_count(other);
        self.settings == other.settings && self.partition_count() == count
    }

    /// Where its first partition is copied from, or went.
    pub(crate) fn sources(&self) -> &[String] {
        let first = self.replica(PartitionId::new(0));
        first.map_or(&[], |replica| &replica.sources)
    }

    /// Changes what is known of one partition as a replica.
    pub(super) fn set_replica(&mut self, replica: Replica) {
        match replica.is_plain() {
            true => self.replicas.remove(&replica.partition),
            false => self.replicas.insert(replica.partition, replica),
        };
    }

    /// Changes what is known of one partition as a replica, given what is.
    pub(super) fn change_replica(
        &mut self,
        partition: PartitionId,
        change: impl FnOnce(Replica) -> Replica,
    ) {
        self.set_replica(change(self.known_replica(partition)));
    }

    /// The same topic with more partitions, on these cores, each of which is what `replica` says.
    pub(super) fn grown(&self, cores: &[CoreId], replica: impl Fn(PartitionId) -> Replica) -> Self {
        let mut grown = self.clone();
        for core in cores {
            let partition = PartitionId::new(grown.partition_count());
            grown.owners.push(*core);
            grown.set_replica(replica(partition));
        }
        grown
    }

    /// How many partitions it has.
    pub(crate) fn partition_count(&self) -> u32 {
        u32::try_from(self.owners.len()).unwrap_or(u32::MAX)
    }

    /// Its partitions and their owners, by number.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (PartitionId, CoreId)> {
        (0..).map(PartitionId::new).zip(self.owners.iter().copied())
    }

    /// Those that live on a core, by number.
    pub(crate) fn keys_on(&self, core: CoreId) -> impl Iterator<Item = PartitionKey> {
        let mine = self.partitions().filter(move |(_, owner)| *owner == core);
        mine.map(|(partition, _)| PartitionKey {
            topic: self.id,
            partition,
        })
    }

    /// The owner of a partition.
    pub(crate) fn owner(&self, partition: PartitionId) -> Option<CoreId> {
        self.owners.get(partition.get() as usize).copied()
    }

    /// What is kept of it on disk.
    pub(super) fn to_file(&self) -> file::Topic {
        let settings = &self.settings;
        file::Topic {
            id: self.id,
            name: self.name.clone(),
            partitions: self.partition_count(),
            created: self.created,
            settings: file::Settings {
                ack: match settings.ack {
                    // What is not known was refused; no less is promised than anybody may mean.
                    Level::Durable | Level::Unknown => file::Ack::Durable,
                    Level::Accepted => file::Ack::Accepted,
                },
                retention_age_ms: settings.retention_age_ms.map(clamp),
                retention_bytes: settings.retention_bytes,
                segment_bytes: settings.segment_bytes,
                segment_age_ms: settings.segment_age_ms.map(clamp),
                retention_hold: match settings.retention_hold {
                    RetentionHold::None => file::Hold::None,
                    RetentionHold::Snapshotted => file::Hold::Snapshotted,
                    RetentionHold::Replicated => file::Hold::Replicated,
                    RetentionHold::Unknown => file::Hold::Unknown,
                },
                retention_hold_bytes: settings.retention_hold_bytes,
            },
            replicas: self.replicas.values().cloned().collect(),
        }
    }

    /// The topic of a file, with its partitions on these cores.
    pub(super) fn from_file(file: file::Topic, owners: Vec<CoreId>) -> Self {
        assert_eq!(
            owners.len(),
            file.partitions as usize,
            "each partition has one owner"
        );
        Self {
            name: file.name,
            id: file.id,
            created: file.created,
            settings: settings_of(&file.settings),
            owners,
            replicas: file
                .replicas
                .into_iter()
                .map(|replica| (replica.partition, in_order(replica)))
                .collect(),
        }
    }
}

/// Segments are looked for by halves; who named them once may have named them in any order.
fn in_order(mut replica: Replica) -> Replica {
    replica.segments.sort_unstable();
    replica.segments.dedup();
    replica
}

/// The settings that a file keeps.
pub(super) fn settings_of(settings: &file::Settings) -> TopicSettings {
    TopicSettings {
        ack: match settings.ack {
            file::Ack::Durable => Level::Durable,
            file::Ack::Accepted => Level::Accepted,
        },
        retention_age_ms: settings.retention_age_ms.map(i64::unsigned_abs),
        retention_bytes: settings.retention_bytes,
        segment_bytes: settings.segment_bytes,
        segment_age_ms: settings.segment_age_ms.map(i64::unsigned_abs),
        retention_hold: match settings.retention_hold {
            file::Hold::None => RetentionHold::None,
            file::Hold::Snapshotted => RetentionHold::Snapshotted,
            file::Hold::Replicated => RetentionHold::Replicated,
            file::Hold::Unknown => RetentionHold::Unknown,
        },
        retention_hold_bytes: settings.retention_hold_bytes,
    }
}

/// How many partitions a topic has at another node.
pub(super) fn partition_count(other: &metadata::Topic) -> u32 {
    u32::try_from(other.partitions.len()).unwrap_or(u32::MAX)
}

fn clamp(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// That a topic is altered where its partitions went.
fn given_away(replica: &Replica) -> Failure {
    let message = format!(
        "partition {} of the topic is another node's, or is being given to it: finish that, or take \
         it back, until one node owns all of them, and alter the topic there",
        replica.partition
    );
    let detail = Detail {
        address: replica.sources.first().cloned(),
        ..Detail::default()
    };
    failure_with(ErrorCode::NotOwner, message, detail)
}

#[cfg(test)]
mod tests {
    use corelog_protocol::message::settings::SettingsChange;
    use corelog_record::Offset;

    use super::*;
    use crate::core::tests::topic_of;

    fn topic(roles: &[Role]) -> Topic {
        let mut topic = topic_of("t", 1, roles.len());
        for (number, role) in (0..).zip(roles) {
            topic.set_replica(Replica {
                role: *role,
                ..Replica::owner(PartitionId::new(number))
            });
        }
        topic
    }

    #[test]
    fn partitions_roll_each_at_a_size_of_its_own_near_the_topic_s() {
        let mut topic = topic(&[Role::Owner; 17]);
        for bytes in [1 << 20, 100_000_000, 128 << 20, 1 << 30] {
            topic.settings.segment_bytes = bytes;
            let of = |partition| topic.segment_bytes_max(PartitionId::new(partition));
            assert_eq!(of(0), bytes);
            let first: Vec<_> = (0..4).map(|p| (bytes - of(p)) / (bytes / 32)).collect();
            assert_eq!(first, [0, 2, 1, 3], "the first four are far apart");
            let mut all: Vec<_> = (0..16).map(of).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 16);
            assert!(
                all.iter()
                    .all(|size| bytes / 8 * 7 < *size && *size <= bytes)
            );
            assert_eq!(of(16), bytes);
        }
    }

    #[test]
    fn segments_of_a_file_are_in_order_whoever_wrote_it() {
        let mut written = topic(&[Role::Follower]).to_file();
        let [a, b] = [10, 20].map(|at| Offset::new(at).unwrap());
        written.replicas[0].segments = vec![b, a, b];
        let read = Topic::from_file(written, vec![CoreId::new(0)]);
        let replica = read.replica(PartitionId::new(0)).unwrap();
        assert_eq!(replica.segments, [a, b]);
    }

    #[test]
    fn a_topic_is_given_from_the_first_of_its_partitions_to_the_last() {
        let first = |topic: &Topic| topic.given().next().map(|one| one.partition.get());
        let given = |roles: &[Role]| first(&topic(roles));
        assert_eq!(given(&[Role::Owner, Role::Owner]), None);
        assert_eq!(given(&[Role::Owner, Role::HandingOver]), Some(1));
        assert_eq!(given(&[Role::Follower, Role::Owner]), Some(0));
        assert_eq!(given(&[Role::HandingOver]), Some(0));
        assert_eq!(given(&[Role::Fenced]), Some(0));
        // Copies that this node owns nothing beside, and those with an end.
        assert_eq!(given(&[Role::Follower, Role::Follower]), None);
        let mut ended = topic(&[Role::Owner, Role::Follower]);
        ended.change_replica(PartitionId::new(1), |replica| Replica {
            until: Some(Offset::ZERO),
            ..replica
        });
        assert_eq!(first(&ended), None);
    }

    /// Each of two nodes that owned a part named the other one as that which alters the topic.
    #[test]
    fn who_alters_a_topic_that_is_split_is_told_what_is_elsewhere_and_to_give_all_to_one() {
        let refused = |roles: &[Role]| {
            let mut topic = topic(roles);
            for (number, _) in (0..).zip(roles) {
                topic.change_replica(PartitionId::new(number), |replica| Replica {
                    sources: vec!["log2:7400".to_owned()],
                    ..replica
                });
            }
            let request = alter_topic::Request {
                name: topic.name.clone(),
                id: topic.id,
                partitions: Some(9),
                settings: SettingsChange::default(),
            };
            topic.check_may_alter(&request).unwrap_err()
        };
        for roles in [
            [Role::Owner, Role::Fenced, Role::Fenced],
            [Role::Owner, Role::Follower, Role::Follower],
        ] {
            let told = refused(&roles);
            assert_eq!(told.detail.address, None, "{told}");
            for part in ["partitions 1, 2 of", "(log2:7400)", "`corelog handover t`"] {
                assert!(told.message.contains(part), "{told}");
            }
        }
        let many = refused(&[&[Role::Owner][..], &[Role::Fenced; 10]].concat());
        assert!(many.message.contains("7, 8 and 2 more"), "{many}");
        let whole = refused(&[Role::Fenced; 3]);
        assert_eq!(whole.detail.address.as_deref(), Some("log2:7400"));
    }
}
