//! Clones, replicas, and who owns a partition.

use corelog_protocol::message::{
    chain_at, clone_topic, forget_follower, handover, promote, rejoin, repair_topic,
    replica_status, take_over,
};
use corelog_protocol::request::Request;
use corelog_record::{Chain, HistoryId, LeaderEpoch, Offset, PartitionId};

use super::super::topic_id;
use super::topic;

pub(super) fn values() -> Vec<Request> {
    let mut values = copying();
    values.extend(owning());
    values
}

fn copying() -> Vec<Request> {
    let (topic, id, partition) = (topic(), topic_id(), PartitionId::new(0));
    vec![
        Request::ChainAt(chain_at::Request {
            topic: topic.clone(),
            id,
            partition,
            offset: Offset::ZERO.plus(45),
        }),
        Request::CloneTopic(clone_topic::Request {
            topic: topic.clone(),
            partition: None,
            from: vec!["10.0.0.1:7400".to_owned(), "10.0.0.9:7400".to_owned()],
            segments: Vec::new(),
            follow: true,
            rate_bytes: Some(64 << 20),
        }),
        Request::ReplicaStatus(replica_status::Request {
            topic: topic.clone(),
            id: Some(id),
            partition: None,
        }),
        Request::RepairTopic(repair_topic::Request {
            topic,
            id,
            partition: Some(partition),
            from: vec!["10.0.0.1:7400".to_owned()],
        }),
    ]
}

fn owning() -> Vec<Request> {
    let (topic, id, partition) = (topic(), topic_id(), PartitionId::new(0));
    vec![
        Request::Promote(promote::Request {
            topic: topic.clone(),
            id,
            partition: Some(partition),
            accept_loss: true,
        }),
        Request::Handover(handover::Request {
            topic: topic.clone(),
            id,
            partition: Some(partition),
            to: Some("10.0.0.2:7400".to_owned()),
            abort: false,
            accept_loss: false,
        }),
        Request::TakeOver(take_over::Request {
            topic: topic.clone(),
            id,
            partition,
            history: HistoryId::of(id, partition),
            end: Offset::ZERO.plus(42),
            chain: Chain::from_raw(2),
            epoch: LeaderEpoch::new(1).unwrap(),
        }),
        Request::Rejoin(rejoin::Request {
            topic: topic.clone(),
            id,
            partition: Some(partition),
            to: "10.0.0.2:7400".to_owned(),
        }),
        Request::ForgetFollower(forget_follower::Request {
            topic,
            id,
            partition: None,
            address: "10.0.0.3:7400".to_owned(),
        }),
    ]
}
