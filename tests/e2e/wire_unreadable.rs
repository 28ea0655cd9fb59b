//! A topic whose file cannot be read: what its requests are answered, and that nothing happens to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::{
    chain_at, copy_segments, create_snapshot, describe_topic, forget_follower, handover, promote,
    rejoin, repair_topic, replica_status, scrub_topic, segments, take_over,
};
use corelog_record::batch::{Codec, View};
use corelog_record::{Chain, HistoryId, LeaderEpoch, Offset, PartitionId, Position};

use crate::support::folder::Folder;
use crate::support::wire::{Target, Wire, batch};
use crate::wire_topics::{refused, refused_everywhere, two_cores};

/// Who read and wrote it, and knew its id, was told that there was no such topic, and took it for deleted. It was promised
/// as well that the node takes nothing of it over, though it may own it.
#[test]
fn a_topic_whose_file_is_rotten_is_damaged_to_every_request_and_stays() {
    let folder = Folder::new();
    let server = two_cores(&folder);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("rotten", 2, 1 << 20);
    for partition in [0, 1] {
        let values = batch(Codec::None, ["kept"]);
        wire.call(&topic.produce(partition), &values)
            .unwrap()
            .unwrap();
    }
    drop(wire);
    let dir = server.ready.data.join("topics/rotten");
    server.stop();
    let sound = std::fs::read(dir.join("topic")).unwrap();
    std::fs::write(dir.join("topic"), b"rotten").unwrap();
    let before = files(&dir);
    let server = two_cores(&folder);
    let doors = [server.ready.listen];
    for door in doors.iter().chain(&server.ready.cores) {
        for partition in [0, 1] {
            let mut wire = Wire::open(*door).unwrap();
            let mut all = refused_everywhere(&mut wire, &topic, partition);
            all.extend(refused_beyond(&mut wire, &topic, partition));
            for (index, error) in all.iter().enumerate() {
                assert!(error.is(ErrorCode::Damaged), "{index}: {error:?}");
                // No part of it can be read on.
                assert_eq!(error.detail.next, None, "{index}: {error:?}");
            }
        }
    }
    server.stop();
    assert!(files(&dir) == before, "its files are others");
    std::fs::write(dir.join("topic"), sound).unwrap();
    let server = two_cores(&folder);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    for partition in [0, 1] {
        let bytes = wire.read_all(&topic, partition, Offset::ZERO);
        assert_eq!(View::verify(&bytes).unwrap().count(), 1);
    }
}

/// What the other requests are answered that are about a topic, or a partition of it.
fn refused_beyond(wire: &mut Wire, target: &Target, partition: u32) -> Vec<ErrorBody> {
    let (topic, id) = (target.name.clone(), target.id);
    let partition = PartitionId::new(partition);
    let history = HistoryId::of(id, partition);
    let address = "127.0.0.1:1".to_owned();
    let mut all = Vec::new();
    macro_rules! ask {
        ($request:expr) => {
            all.push(*refused(wire, &$request, &[]))
        };
    }
    for end in [Offset::ZERO, Offset::MAX] {
        ask!(take_over::Request {
            topic: topic.clone(),
            id,
            partition,
            history,
            end,
            chain: Chain::seed(history),
            epoch: LeaderEpoch::new(1).unwrap(),
        });
    }
    ask!(segments::Request {
        topic: topic.clone(),
        id,
        partition,
        from: Offset::ZERO,
    });
    ask!(chain_at::Request {
        topic: topic.clone(),
        id,
        partition,
        offset: Offset::ZERO,
    });
    ask!(handover::Request {
        topic: topic.clone(),
        id,
        partition: Some(partition),
        to: Some(address.clone()),
        abort: false,
        accept_loss: false,
    });
    ask!(promote::Request {
        topic: topic.clone(),
        id,
        partition: Some(partition),
        accept_loss: true,
    });
    ask!(rejoin::Request {
        topic: topic.clone(),
        id,
        partition: Some(partition),
        to: address.clone(),
    });
    ask!(repair_topic::Request {
        topic: topic.clone(),
        id,
        partition: Some(partition),
        from: Vec::new(),
    });
    ask!(scrub_topic::Request {
        topic: topic.clone(),
        id,
        partition: Some(partition),
        start: true,
    });
    ask!(forget_follower::Request {
        topic: topic.clone(),
        id,
        partition: Some(partition),
        address,
    });
    ask!(replica_status::Request {
        topic: topic.clone(),
        id: Some(id),
        partition: Some(partition),
    });
    ask!(describe_topic::Request {
        name: topic.clone(),
    });
    ask!(create_snapshot::Request {
        snapshot: "s".to_owned(),
        topics: vec![topic.clone()],
    });
    // The connection is one for segments then.
    ask!(copy_segments::Request {
        topic,
        id,
        partition,
        history,
        parts: vec![copy_segments::Part {
            segment: Offset::ZERO,
            generation: 0,
            position: Position::ZERO,
            bytes: None,
        }],
        piece_bytes_max: 64 << 10,
    });
    all
}

/// The files of a topic and of its two partitions, by path.
fn files(topic: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let dirs = [topic.to_owned(), topic.join("0"), topic.join("1")];
    let entries = dirs
        .iter()
        .flat_map(|dir| std::fs::read_dir(dir).unwrap())
        .map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    files
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}
