//! Clones, replicas, and who owns a partition.

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::{
    chain_at, clone_topic, forget_follower, handover, promote, rejoin, repair_topic,
    replica_status, take_over,
};
use corelog_record::{Chain, CopyId, Lineage, NodeId, Ordinal, PartitionId};

use super::super::topic_id;
use super::{Visit, epoch, node, offset};

pub(super) fn each(visit: &mut impl Visit) {
    copying(visit);
    owning(visit);
}

fn copying(visit: &mut impl Visit) {
    let boundary = chain_at::Answer {
        offset: offset(42),
        ordinal: Ordinal::ZERO.plus(7),
        chain: Chain::from_raw(2),
        epoch: Some(epoch(1)),
    };
    visit.visit::<chain_at::Request>(&boundary, &[]);
    let cloned = clone_topic::Answer {
        id: topic_id(),
        partitions: vec![PartitionId::new(0)],
        created: true,
    };
    visit.visit::<clone_topic::Request>(&cloned, &[]);
    let answer = replica_status::Answer {
        id: topic_id(),
        partitions: vec![replica()],
    };
    visit.visit::<replica_status::Request>(&answer, &[]);
    let answer = replica_status::Answer {
        id: topic_id(),
        partitions: vec![handed_over(), copy_of_a_copy(), not_open()],
    };
    let name = "Rare ReplicaStatus answer".to_owned();
    visit.visit_named::<replica_status::Request>(name, &answer, &[]);
    let repaired = repair_topic::Partition {
        id: PartitionId::new(0),
        segments: vec![repair_topic::Replaced {
            base: offset(10),
            bytes: 4_096,
            from: "10.0.0.1:7400".to_owned(),
            took_ms: 12,
        }],
        damage_left: 0,
        error: None,
    };
    let partitions = vec![repaired];
    visit.visit::<repair_topic::Request>(&repair_topic::Answer { partitions }, &[]);
}

fn replica() -> replica_status::Partition {
    replica_status::Partition {
        id: PartitionId::new(0),
        role: replica_status::Role::Follower,
        state: replica_status::State::Copying,
        source: Some("10.0.0.1:7400".to_owned()),
        target: None,
        let_go: None,
        error: None,
        end: offset(42),
        closed: false,
        until: None,
        source_end: Some(offset(100)),
        source_heard_ms: Some(5),
        owner_heard_ms: None,
        lag_records: Some(58),
        lag_bytes: Some(5_800),
        lag_ms: None,
        bytes_done: 4_096,
        bytes_total: 8_192,
        segments_done: 1,
        segments_total: 2,
        receiving: vec![replica_status::Receiving {
            segment: offset(42),
            from: "10.0.0.1:7400".to_owned(),
            bytes_done: 1_024,
            bytes_total: 4_096,
        }],
        dropped: vec![replica_status::Dropped {
            from: "10.0.0.9:7400".to_owned(),
            error: ErrorBody::new(ErrorCode::BadSource, "the chain of segment 42 differs"),
        }],
        followers: vec![replica_status::Follower {
            node: Some(node()),
            address: Some("10.0.0.3:7400".to_owned()),
            copy: CopyId::from_bytes([0xcc; 16]),
            end: offset(40),
            heard_ms: 7,
            is_silent: false,
        }],
        outranked: Vec::new(),
        repairs: 1,
    }
}

fn handed_over() -> replica_status::Partition {
    let next = NodeId::from_bytes([0x22; 16]);
    replica_status::Partition {
        role: replica_status::Role::HandingOver,
        source: Some("10.0.0.2:7400".to_owned()),
        target: Some(next),
        followers: vec![replica_status::Follower {
            node: Some(next),
            address: Some("10.0.0.2:7400".to_owned()),
            copy: CopyId::from_bytes([0xcc; 16]),
            end: offset(0),
            heard_ms: 7,
            is_silent: true,
        }],
        outranked: vec!["10.0.0.1:7400".to_owned()],
        ..replica_status::Partition::owned(PartitionId::new(0), offset(42))
    }
}

fn copy_of_a_copy() -> replica_status::Partition {
    replica_status::Partition {
        role: replica_status::Role::Follower,
        state: replica_status::State::Following,
        source: Some("10.0.0.3:7400".to_owned()),
        let_go: Some(epoch(5)),
        until: Some(offset(50)),
        source_end: Some(offset(42)),
        source_heard_ms: Some(5),
        owner_heard_ms: Some(9),
        lag_records: Some(0),
        lag_bytes: Some(0),
        lag_ms: Some(0),
        ..replica_status::Partition::owned(PartitionId::new(1), offset(42))
    }
}

fn not_open() -> replica_status::Partition {
    replica_status::Partition {
        closed: true,
        ..replica_status::Partition::owned(PartitionId::new(2), offset(0))
    }
}

fn owning(visit: &mut impl Visit) {
    let promoted = promote::Partition {
        id: PartitionId::new(0),
        end: offset(42),
        source_end: Some(offset(43)),
        source_heard_ms: Some(1_500),
        epoch: epoch(2),
        is_lossless: false,
    };
    let partitions = vec![promoted];
    visit.visit::<promote::Request>(&promote::Answer { partitions }, &[]);
    let handed = handover::Partition {
        id: PartitionId::new(0),
        end: offset(42),
        epoch: epoch(2),
        owner: "10.0.0.2:7400".to_owned(),
    };
    let partitions = vec![handed];
    visit.visit::<handover::Request>(&handover::Answer { partitions }, &[]);
    let taken = take_over::Answer {
        epoch: epoch(2),
        lineage: Lineage::from_bytes([0xee; 16]),
    };
    visit.visit::<take_over::Request>(&taken, &[]);
    let rejoined = rejoin::Partition {
        id: PartitionId::new(0),
        common: offset(42),
        records: 10_000,
        bytes: 65_536,
        file: Some("quarantine/00000000000000000042.log".to_owned()),
    };
    let partitions = vec![rejoined];
    visit.visit::<rejoin::Request>(&rejoin::Answer { partitions }, &[]);
    let partitions = vec![PartitionId::new(0), PartitionId::new(3)];
    visit.visit::<forget_follower::Request>(&forget_follower::Answer { partitions }, &[]);
}
