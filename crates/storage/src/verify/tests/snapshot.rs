//! A snapshot is what its summary says.

use corelog_record::{Chain, TopicName};

use super::*;
use crate::format::edit::Edit;
use crate::format::topic::Topic as File;
use crate::log::Chore;
use crate::snapshot::{self, Name, Summary, Topic};
use crate::testing::own::manifest;

/// A snapshot of one partition in `root`, and its summary.
pub(super) fn snapped(root: &Path) -> Summary {
    let partition = Partition::filled(60);
    let mut log = partition.open();
    let dir = StdDir::new(root);
    let (topic, number) = (TopicName::new("t").unwrap(), PartitionId::new(0));
    let upto = log.begin_snapshot().unwrap();
    settle(&mut log, at(2)).unwrap();
    let target = snapshot::partition_dir(&dir, &topic, number);
    // The directories above it are the node's to make.
    std::fs::create_dir_all(root.join("topics/t")).unwrap();
    let plan = log.plan_snapshot(upto, target).unwrap().unwrap();
    let done = run(&mut log, plan, at(2)).unwrap();
    let Chore::Snapshotted {
        log_start,
        end,
        chain,
        segments,
        bytes,
    } = done
    else {
        panic!("{done:?}");
    };
    let file = topic_file(7);
    let summary = Summary {
        name: Name::new("monday").unwrap(),
        created: at(2),
        topics: vec![Topic {
            name: topic,
            id: file.id,
            settings: file.encode().unwrap(),
            partitions: vec![snapshot::Partition {
                partition: number,
                log_start,
                end,
                chain: Some(chain),
                bytes,
                segments: segments as u64,
            }],
        }],
    };
    block_on(snapshot::commit(&dir, &summary)).unwrap();
    summary
}

/// What the file of a topic `t` of one partition says.
pub(super) fn topic_file(id: u8) -> File {
    File {
        name: TopicName::new("t").unwrap(),
        id: TopicId::from_bytes([id; 16]),
        partitions: 1,
        created: at(0),
        settings: Default::default(),
        replicas: Default::default(),
    }
}

#[test]
fn a_snapshot_that_is_what_its_summary_says_is_sound() {
    let root = tempfile::tempdir().unwrap();
    snapped(root.path());
    let checked = verify(root.path());
    assert_eq!(faults(&checked), Vec::<&Finding>::new());
    assert_eq!(checked.batches, 60);
}

/// What says where such a segment ends counted as one more than the summary promises.
#[test]
fn a_snapshot_whose_last_segment_was_never_sealed_is_what_its_summary_says() {
    let root = tempfile::tempdir().unwrap();
    snapped(root.path());
    let partition = root.path().join("topics/t/0");
    let read = block_on(crate::manifest::read(&StdDir::new(&partition)));
    let (header, state) = read.unwrap();
    let last = state.segments().last().unwrap().base;
    let mut edits = state.edits();
    edits.retain(|edit| !matches!(edit, Edit::Seal(seal) if seal.digest.base == last));
    edits.push(Edit::Add(state.end().unwrap().into()));
    std::fs::write(partition.join("manifest"), manifest(&header, &edits)).unwrap();
    let checked = verify(root.path());
    assert_eq!(faults(&checked), Vec::<&Finding>::new());
    assert_eq!(checked.batches, 60);
}

/// Only the partitions were looked at: one that was missing was missed by nobody.
#[test]
fn a_snapshot_that_is_not_what_its_summary_says_is_told() {
    let told = |change: fn(&Path, Summary)| {
        let root = tempfile::tempdir().unwrap();
        let summary = snapped(root.path());
        change(root.path(), summary);
        kinds(&verify(root.path()))
    };
    assert_eq!(
        told(|root, _| std::fs::remove_dir_all(root.join("topics/t/0")).unwrap()),
        [What::Snapshot]
    );
    assert_eq!(
        told(|root, _| {
            let (from, to) = (root.join("topics/t/0"), root.join("topics/t/1"));
            std::fs::rename(from, to).unwrap();
        })
        .first(),
        Some(&What::Snapshot)
    );
    assert_eq!(
        told(|root, mut summary| {
            let partition = &mut summary.topics[0].partitions[0];
            partition.end = partition.end.plus(1);
            std::fs::write(root.join(snapshot::NAME), summary.encode().unwrap()).unwrap();
        }),
        [What::Snapshot]
    );
    assert_eq!(
        told(|root, mut summary| {
            let partition = &mut summary.topics[0].partitions[0];
            partition.chain = Some(Chain::from_raw(1));
            std::fs::write(root.join(snapshot::NAME), summary.encode().unwrap()).unwrap();
        }),
        [What::Snapshot]
    );
    assert_eq!(
        told(|root, mut summary| {
            summary.topics[0].settings.push(0);
            std::fs::write(root.join(snapshot::NAME), summary.encode().unwrap()).unwrap();
        }),
        [What::Snapshot]
    );
    assert_eq!(
        told(|root, _| alter(&root.join(snapshot::NAME), |bytes| bytes[20] ^= 1)),
        [What::Snapshot]
    );
}

/// It counted as never finished.
#[test]
fn a_snapshot_of_a_node_that_has_lost_its_summary_is_damage() {
    let data = tempfile::tempdir().unwrap();
    let snapshots = data.path().join("snapshots");
    std::fs::create_dir_all(snapshots.join("s")).unwrap();
    std::fs::write(data.path().join("node"), b"").unwrap();
    snapped(&snapshots.join("s"));
    std::fs::remove_file(snapshots.join("s").join(snapshot::NAME)).unwrap();
    let told = || {
        let of = verify(data.path()).findings.into_iter();
        let of = of.filter(|finding| finding.file.starts_with(&snapshots));
        of.map(|finding| finding.what).collect::<Vec<_>>()
    };
    assert_eq!(told(), [What::Snapshot]);
    std::fs::write(snapshots.join("s/snapshot.new"), b"").unwrap();
    assert_eq!(told(), [What::Leftover]);
}

/// It was a note, with 0, though neither a restore nor an export takes such a snapshot.
#[test]
fn a_byte_behind_the_edits_of_a_snapshots_manifest_is_damage() {
    let root = tempfile::tempdir().unwrap();
    snapped(root.path());
    let partition = root.path().join("topics/t/0");
    alter(&partition.join("manifest"), |bytes| {
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        // In a sector of its own: what an append that was interrupted would leave.
        bytes[(last + 1).next_multiple_of(512) + 512] = 1;
    });
    let read = block_on(crate::manifest::read(&StdDir::new(&partition)));
    assert!(read.is_err(), "whoever takes it out refuses it");
    let checked = verify(root.path());
    assert_eq!(kinds(&checked), [What::Manifest]);
    let found = faults(&checked)[0];
    assert_eq!(found.file, partition.join("manifest"));
    assert!(found.position.is_some());
}

/// A mark was missed, and the exit was 3.
#[test]
fn a_topic_a_partition_and_a_store_of_a_snapshot_are_sound_by_themselves_too() {
    let root = tempfile::tempdir().unwrap();
    snapped(root.path());
    let topic = root.path().join("topics/t");
    let partition = topic.join("0");
    let stores = files(&partition, "log");
    assert!(1 < stores.len());
    for path in [&topic, &partition, &partition.join("../0"), &stores[0]] {
        let checked = verify(path);
        assert_eq!(kinds(&checked), [], "{}", path.display());
        assert!(0 < checked.batches);
    }
    std::fs::remove_file(root.path().join(snapshot::NAME)).unwrap();
    let found = kinds(&verify(&partition));
    assert_eq!(found, [What::Mark], "without its summary it is no snapshot");
}

/// It was told as a difference.
#[test]
fn a_snapshot_need_not_have_indexes() {
    let root = tempfile::tempdir().unwrap();
    snapped(root.path());
    let indexes = files(&root.path().join("topics/t/0"), "index");
    assert!(!indexes.is_empty());
    for index in indexes {
        std::fs::remove_file(index).unwrap();
    }
    assert_eq!(kinds(&verify(root.path())), []);
}

/// It was told as a node that had lost its files, which a repair would mend.
#[test]
fn what_an_interrupted_export_left_is_told_as_that_and_a_node_without_its_file_is_not() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path();
    snapped(root);
    std::fs::remove_file(root.join("snapshot")).unwrap();
    std::fs::remove_file(root.join("topics/t/topic")).unwrap();
    let checked = verify(root);
    assert_eq!(kinds(&checked), [What::Snapshot]);
    assert!(
        checked.findings[0]
            .found
            .contains("did not come to its end")
    );
    std::fs::create_dir(root.join("snapshots")).unwrap();
    let kinds = kinds(&verify(root));
    assert!(kinds.contains(&What::Node) && kinds.contains(&What::Topic));
}
