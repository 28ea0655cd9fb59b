//! A topic as a server described it: its partitions, where their owners listen, and who told of them.

use std::sync::Arc;

use corelog_protocol::message::metadata;
use corelog_protocol::message::settings::TopicSettings;
use corelog_record::{CoreId, PartitionId, TopicId, TopicName};

use crate::Error;

/// A topic as the server last described it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Topic {
    /// Its name.
    pub name: Arc<TopicName>,
    /// Its id: another one means another topic, even under the same name.
    pub id: TopicId,
    /// Its settings.
    pub settings: TopicSettings,
    /// Its partitions by number.
    pub partitions: Vec<Partition>,
    /// The node that described it.
    pub(crate) teller: Teller,
    /// True if keys go by these partitions: no server can have more of them that has not said so.
    pub(crate) is_settled: bool,
}

/// Who described a topic: each port of that node leads to what it owns of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Teller {
    /// Its index among the configured servers.
    pub(crate) server: usize,
    /// The address that every core of the node shares; empty if the server tells none.
    pub(crate) shared: Arc<str>,
}

/// A partition as the server last described it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// The core that owns it.
    pub core: CoreId,
    /// Where that core listens; empty if the server tells none.
    pub address: Arc<str>,
    /// True if the address is another node's than the one's that described the topic, as a refusal said.
    pub(crate) is_elsewhere: bool,
    /// Who told of it, where the node that described the topic last has no such partition.
    pub(crate) teller: Option<Teller>,
}

impl Topic {
    pub(super) fn from_wire(topic: metadata::Topic, teller: Teller) -> Self {
        let mut partitions: Vec<Partition> = topic
            .partitions
            .into_iter()
            .map(|partition| Partition {
                id: partition.id,
                core: partition.core,
                address: partition.address.into(),
                is_elsewhere: false,
                teller: None,
            })
            .collect();
        partitions.sort_by_key(|partition| partition.id);
        Self {
            name: Arc::new(topic.name),
            id: topic.id,
            settings: topic.settings,
            partitions,
            teller,
            is_settled: false,
        }
    }

    /// Takes over what `known`, the same topic, has beyond these partitions. None is ever taken away: who tells
    /// of fewer is a copy that has not all of them, and keys are to stay where they are.
    pub(super) fn keep_partitions(&mut self, known: &Self) {
        let mut missing = known.partitions.clone();
        missing.retain(|partition| self.partition(partition.id).is_err());
        self.partitions
            .extend(missing.into_iter().map(|partition| Partition {
                teller: Some(known.teller_of(&partition).clone()),
                ..partition
            }));
        self.partitions.sort_by_key(|partition| partition.id);
    }

    /// Who told of one of its partitions.
    pub(crate) fn teller_of<'a>(&'a self, partition: &'a Partition) -> &'a Teller {
        partition.teller.as_ref().unwrap_or(&self.teller)
    }

    /// How many partitions the topic has.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        // A topic has at most a few thousand.
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// The partition of this number.
    ///
    /// # Errors
    /// [`Error::NoSuchPartition`].
    pub fn partition(&self, id: PartitionId) -> Result<&Partition, Error> {
        let found = self
            .partitions
            .binary_search_by_key(&id, |partition| partition.id);
        match found {
            Ok(index) => Ok(&self.partitions[index]),
            Err(_) => Err(Error::NoSuchPartition {
                topic: TopicName::clone(&self.name),
                partition: id,
                count: self.partition_count(),
            }),
        }
    }
}
