//! What is left of a snapshot that failed, and what clients are told of errors.

use std::io::ErrorKind;

use corelog_record::{Offset, PartitionId, Timestamp, TopicId};
use corelog_storage::disk::block_on;
use corelog_storage::disk::faulty::{Fault, FaultyDir, Operation};
use corelog_storage::disk::memory::MemoryDir;

use super::listing::LISTED_TOPICS;
use super::*;
use crate::core::tests::{key, topic_of, with_core};
use crate::rt::tests::ways_given;

/// A summary whose sync failed may be there; it once stayed, listed as a whole snapshot, when its
/// files were gone.
#[test]
fn what_a_failed_snapshot_leaves_is_never_listed() {
    let root = FaultyDir::new(MemoryDir::new());
    let name = Name::new("half").expect("a name");
    let dir = root.child(name.as_str());
    let summary = Summary {
        name: name.clone(),
        created: Timestamp::from_millis(1),
        topics: Vec::new(),
    };
    block_on(async {
        stored::commit(&dir, &summary).await.expect("committed");
        let fault = Fault::Fail(ErrorKind::PermissionDenied);
        root.faults().fail(Operation::RemoveTree, 1, fault);
        assert!(clear(&root, &name).await.is_err());
        assert!(
            list(&root, None)
                .await
                .expect("listed")
                .snapshots
                .is_empty()
        );
        clear(&root, &name).await.expect("cleared");
        clear(&root, &name).await.expect("cleared again");
    });
}

/// All of them were one answer, which no client took once there were many small topics.
#[test]
fn snapshots_of_many_topics_are_listed_in_several_answers_each_once() {
    let root = MemoryDir::new();
    let topic = |number: usize| stored::Topic {
        name: TopicName::new(&format!("t{number}")).expect("a name"),
        id: TopicId::from_bytes([1; 16]),
        settings: Vec::new(),
        partitions: Vec::new(),
    };
    let names: Vec<_> = (0..5).map(|number| format!("s{number}")).collect();
    let mut pages = Vec::new();
    block_on(async {
        for name in &names {
            let summary = Summary {
                name: Name::new(name).expect("a name"),
                created: Timestamp::from_millis(1),
                topics: (0..LISTED_TOPICS / 2).map(topic).collect(),
            };
            let (dir, bytes) = (root.child(name), summary.encode().expect("encoded"));
            dir.create().await.expect("created");
            dir.write_aside(stored::NAME, &bytes)
                .await
                .expect("written");
        }
        let mut after = None;
        loop {
            let answer = list(&root, after.as_ref()).await.expect("listed");
            pages.push(
                answer
                    .snapshots
                    .into_iter()
                    .map(|one| one.name)
                    .collect::<Vec<_>>(),
            );
            let Some(next) = answer.next else { break };
            after = Some(Name::new(&next).expect("a name"));
        }
    });
    assert_eq!(pages, [&names[..2], &names[2..4], &names[4..]]);
}

#[test]
fn a_lack_of_descriptors_is_busy_and_neither_damage_nor_a_failure() {
    let out = || std::io::Error::from_raw_os_error(nix::errno::Errno::EMFILE as i32);
    let error = Error::OutOfFiles {
        action: "open",
        dir: "d".to_owned(),
        file: "f".to_owned(),
        source: out(),
    };
    assert!(refused("s", &error).is(ErrorCode::Busy));
    assert!(disk_failure(&out(), String::new()).is(ErrorCode::Busy));
}

/// Each topic looked through the partitions of all: for a snapshot of ten thousand a core did nothing else for a tenth of a
/// second.
#[test]
fn each_topic_of_a_snapshot_has_its_own_partitions_and_others_have_the_core_between_any_two() {
    with_core(|_core| async {
        let topic = |id| Arc::new(topic_of(&format!("t{id}"), id, 2));
        let partition = |number| stored::Partition {
            partition: PartitionId::new(number),
            log_start: Offset::ZERO,
            end: Offset::ZERO,
            chain: None,
            bytes: 0,
            segments: 0,
        };
        let topics = [3, 1, 2].map(topic);
        let taken = [(1, 1), (3, 0), (2, 1), (1, 0), (2, 0), (3, 1)];
        let taken = taken.map(|(topic, number)| (key(topic, number), partition(number)));
        let stored = stored_topics(&topics, taken.to_vec()).await.unwrap();
        assert_eq!(stored.len(), topics.len());
        for (stored, topic) in stored.iter().zip(&topics) {
            assert_eq!((&stored.name, stored.id), (&topic.name, topic.id));
            assert_eq!(stored.partitions, [0, 1].map(partition));
        }
        let storing = stored_topics(&topics, taken.to_vec());
        assert_eq!(ways_given(storing).await, 3);
    });
}

/// It was told of the key beside it.
#[test]
fn a_name_behind_which_no_snapshot_can_be_is_told_by_its_own_key() {
    with_core(|core| async move {
        let request = list_snapshots::Request {
            snapshot: None,
            after: Some("../s".to_owned()),
        };
        let refused = Admin::new(core).list_snapshots(request).await.unwrap_err();
        assert!(refused.is(ErrorCode::InvalidRequest), "{refused}");
        assert_eq!(refused.detail.field.as_deref(), Some("after"));
    });
}
