//! Snapshots, restores and scrubs.

use corelog_protocol::message::{
    create_snapshot, delete_snapshot, describe_topic::Damage, list_snapshots, restore_status,
    restore_topic, scrub_topic, snapshot,
};
use corelog_record::{PartitionId, Timestamp, TopicName};

use super::super::topic_id;
use super::{Visit, offset};

pub(super) fn each(visit: &mut impl Visit) {
    let partition = snapshot::Partition {
        id: PartitionId::new(0),
        log_start: offset(10),
        end: offset(42),
        segments: 2,
        bytes: 4_096,
    };
    let whole = snapshot::Snapshot {
        name: "monday".to_owned(),
        created: Timestamp::from_millis(1_700_000_000_000),
        topics: vec![snapshot::Topic {
            name: TopicName::new("orders").unwrap(),
            id: topic_id(),
            partition_count: 1,
            segments: 2,
            bytes: 4_096,
            partitions: vec![partition],
        }],
    };
    let mut listed = whole.clone();
    listed.topics[0].partitions.clear();
    visit.visit::<create_snapshot::Request>(&create_snapshot::Answer { taken: whole }, &[]);
    visit.visit::<list_snapshots::Request>(
        &list_snapshots::Answer {
            snapshots: vec![listed],
            unreadable: vec![list_snapshots::Unreadable {
                name: "sunday".to_owned(),
                message: "checksum differs".to_owned(),
            }],
            next: None,
        },
        &[],
    );
    visit.visit::<delete_snapshot::Request>(&delete_snapshot::Answer {}, &[]);
    visit.visit::<restore_topic::Request>(&restore_topic::Answer { restore: 1 }, &[]);
    visit.visit::<restore_status::Request>(
        &restore_status::Answer {
            state: restore_status::State::Done,
            topic: TopicName::new("orders-again").unwrap(),
            bytes_done: 4_096,
            bytes_total: 4_096,
            id: Some(topic_id()),
            partitions: vec![restore_status::Partition {
                id: PartitionId::new(0),
                log_start: offset(10),
                log_end: offset(42),
            }],
            failure: None,
        },
        &[],
    );
    visit.visit::<scrub_topic::Request>(
        &scrub_topic::Answer {
            partitions: vec![scrub_topic::Partition {
                id: PartitionId::new(0),
                state: scrub_topic::State::Running,
                bytes_done: 1_024,
                bytes_total: 4_096,
                scrubbed_at: None,
                outcome: scrub_topic::Outcome::Unread,
                damage: vec![Damage {
                    from: offset(20),
                    to: offset(30),
                    segment: offset(10),
                }],
            }],
        },
        &[],
    );
}
