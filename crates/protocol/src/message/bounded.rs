//! Lists in answers, as long as whoever keeps the protocol makes them. A node reads answers of others, too: a few bytes of
//! an entry can be hundreds in memory, and a head has room for hundreds of thousands of them.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use crate::limits;

/// Sealed segments in one Segments answer.
pub(super) const SEALED: u32 = super::segments::SEALED_COUNT_MAX;
/// Epochs in one answer.
pub(super) const EPOCHS: u32 = limits::EPOCH_COUNT_MAX;
/// Partitions of one topic.
pub(super) const PARTITIONS: u32 = limits::TOPIC_PARTITION_COUNT_MAX;
/// Sources, or followers, of one partition.
pub(super) const NODES: u32 = 4 * limits::SOURCE_COUNT_MAX;
/// Cores of one node: their numbers have 16 bits.
pub(super) const CORES: u32 = u16::MAX as u32;
/// Ways to say who a client is.
pub(super) const AUTH: u32 = 64;
/// Topics that one question may be about.
pub(super) const TOPICS: u32 = limits::METADATA_TOPIC_COUNT_MAX;

/// A list of so many entries at most; it fails at the first one more, with nothing of it in memory.
pub(super) fn list<'de, const COUNT_MAX: u32, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_seq(Few::<COUNT_MAX, T>(PhantomData))
}

struct Few<const COUNT_MAX: u32, T>(PhantomData<T>);

impl<'de, const COUNT_MAX: u32, T: Deserialize<'de>> Visitor<'de> for Few<COUNT_MAX, T> {
    type Value = Vec<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an array of {COUNT_MAX} at most")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if list.len() >= COUNT_MAX as usize {
                return Err(A::Error::invalid_length(list.len() + 1, &self));
            }
            list.push(entry);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::{
        CopyId, CoreId, HistoryId, LeaderEpoch, Lineage, NodeId, Offset, PartitionId, TopicId,
    };

    use crate::error::{ErrorBody, ErrorCode};
    use crate::head;
    use crate::message::epoch::Epoch;
    use crate::message::replica_status::{self, Dropped, Partition, Receiving};
    use crate::message::{hello, metadata, segments};

    use super::*;

    fn bytes(value: &impl serde::Serialize) -> Vec<u8> {
        let mut out = Vec::new();
        head::encode(value, &mut out).unwrap();
        out
    }

    fn status(partitions: u32, dropped: u32, receiving: u32) -> Vec<u8> {
        let mut one = Partition::owned(PartitionId::new(0), Offset::ZERO);
        let why = ErrorBody::new(ErrorCode::BadSource, "");
        let from = Dropped {
            from: String::new(),
            error: why,
        };
        one.dropped = vec![from; dropped as usize];
        let segment = Receiving {
            segment: Offset::ZERO,
            from: String::new(),
            bytes_done: 0,
            bytes_total: 0,
        };
        one.receiving = vec![segment; receiving as usize];
        bytes(&replica_status::Answer {
            id: TopicId::from_bytes([1; 16]),
            partitions: vec![one; partitions as usize],
        })
    }

    /// Ten bytes of a partition were half a kilobyte of memory, and an answer took more than a core has.
    #[test]
    fn an_answer_with_longer_lists_than_anyone_may_send_is_refused() {
        let read = |head: &[u8]| head::decode::<replica_status::Answer>(head).is_ok();
        assert!(read(&status(PARTITIONS, 0, 0)));
        assert!(!read(&status(PARTITIONS + 1, 0, 0)));
        assert!(read(&status(1, NODES, SEALED)));
        assert!(!read(&status(1, NODES + 1, 0)));
        assert!(!read(&status(1, 0, SEALED + 1)));
        let epochs = |count: u32| segments::Answer {
            history: HistoryId::from_bytes([1; 16]),
            copy: CopyId::from_bytes([2; 16]),
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            epochs: vec![
                Epoch {
                    epoch: LeaderEpoch::ZERO,
                    lineage: Lineage::from_bytes([3; 16]),
                    start: Offset::ZERO,
                };
                count as usize
            ],
            sealed: Vec::new(),
            active: None,
        };
        let read = |count| head::decode::<segments::Answer>(&bytes(&epochs(count))).is_ok();
        assert!(read(EPOCHS));
        assert!(!read(EPOCHS + 1));
    }

    /// An empty name is a byte, and two dozen in memory: a head full of them was 200 MB.
    #[test]
    fn an_answer_with_more_names_than_a_node_can_have_is_refused() {
        let names = |count: u32| vec![String::new(); count as usize];
        let greeted = |cores, auth| {
            let head = bytes(&hello::Answer {
                version: 1,
                node: NodeId::from_bytes([1; 16]),
                core: CoreId::new(0),
                cores: names(cores),
                shared: String::new(),
                limits: hello::Limits::default(),
                auth: names(auth),
                software: String::new(),
            });
            head::decode::<hello::Answer>(&head).is_ok()
        };
        assert!(greeted(CORES, AUTH));
        assert!(!greeted(CORES + 1, AUTH));
        assert!(!greeted(CORES, AUTH + 1));
        let told = |cores| {
            let head = bytes(&metadata::Answer {
                node: NodeId::from_bytes([1; 16]),
                cores: names(cores),
                shared: String::new(),
                topics: Vec::new(),
                errors: Vec::new(),
            });
            head::decode::<metadata::Answer>(&head).is_ok()
        };
        assert!(told(CORES));
        assert!(!told(CORES + 1));
    }
}
