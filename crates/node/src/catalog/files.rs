//! Topics in the data directory.
//!
//! ```text
//! <data>/topics/<topic>/topic          id, partitions, settings: replaced as a whole
//! <data>/topics/<topic>/<partition>/   the partition's log, and beside it what tells that it began
//! <data>/deleted/<topic>-<id>/         renamed away, removed in the background; `.1`, … behind it while that is there
//! <data>/spare                         blocks for the day when the disk is full
//! <data>/quarantine/                   bytes that cannot be trusted
//! ```

use std::collections::BTreeSet;
use std::io;

use corelog_record::{PartitionId, TopicName};
use corelog_storage::disk::{self, ASIDE_SUFFIX, Dir};
use corelog_storage::format::node::{DELETED, QUARANTINE, TOPIC, TOPICS};
use corelog_storage::format::{self, topic as file};

use super::grave::{Grave, UNFINISHED};
use super::placement::Load;
use super::spare;
use super::topic::Topic;
use crate::core::with_causes;
use crate::rt::Notify;

/// Why topics could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The disk refused.
    #[error("cannot {action} in {dir}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The directory.
        dir: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A topic's file is not one, or would be too long.
    #[error("the topic file in {dir} is not one")]
    Format {
        /// The topic's directory.
        dir: String,
        /// What is wrong with it.
        #[source]
        source: format::Error,
    },
    /// A topic's file names another topic than its directory.
    #[error("the topic file in {dir} names topic {found}")]
    Misplaced {
        /// The topic's directory.
        dir: String,
        /// The name in the file.
        found: TopicName,
    },
}

impl CatalogError {
    /// Whether no descriptor was left.
    fn is_out_of_files(&self) -> bool {
        matches!(self, Self::Io { source, .. } if disk::is_out_of_files(source))
    }
}

/// Where a topic's file lies, and its partitions.
pub(crate) fn topic_dir<D: Dir>(root: &D, topic: &TopicName) -> D {
    root.child(TOPICS).child(topic.as_str())
}

/// Where a partition's log lives.
pub(crate) fn partition_dir<D: Dir>(root: &D, topic: &TopicName, partition: PartitionId) -> D {
    topic_dir(root, topic).child(&partition.get().to_string())
}

/// Where bytes go that cannot be trusted.
pub(crate) fn quarantine_dir<D: Dir>(root: &D) -> D {
    root.child(QUARANTINE)
}

/// Reads all topics and places their partitions; tells which cannot be read, and stay as they
/// are. An empty directory is a creation that was interrupted before it was answered: it goes.
pub(crate) async fn load<D: Dir>(
    root: &D,
    core_count: u16,
) -> Result<(Vec<Topic>, BTreeSet<TopicName>), CatalogError> {
    let topics_dir = root.child(TOPICS);
    topics_dir
        .create()
        .await
        .map_err(io_error("create", &topics_dir))?;
    // On a full disk, where a topic that is deleted gives room, there is none for another directory.
    let deleted = root.child(DELETED);
    match deleted.create().await {
        Err(error) if !disk::is_full(&error) => {
            return Err(io_error("create", &deleted)(error));
        }
        _ => {}
    }
    let mut load = Load::of_cores(core_count);
    let (mut topics, mut unreadable) = (Vec::new(), BTreeSet::new());
    for entry in topics_dir
        .list()
        .await
        .map_err(io_error("list", &topics_dir))?
    {
        let Ok(name) = TopicName::new(&entry.name) else {
            tracing::warn!(name = entry.name, "ignored what is no topic's directory");
            continue;
        };
        if !entry.is_dir {
            // A link is followed by nothing here: a snapshot or a deletion would go to another file system.
            tracing::warn!(topic = %name, "ignored what has a topic's name and is no directory");
            continue;
        }
        match find(root, &name).await {
            Ok(Found::Topic(file)) => {
                let owners = load.place(file.partitions);
                topics.push(Topic::from_file(*file, owners));
            }
            Ok(Found::Unfinished) => {
                // On a full disk it stays: it is in nobody's way, its name counts as free.
                if let Err(error) = bury(root, &name, UNFINISHED).await {
                    let error = with_causes(&error);
                    tracing::warn!(topic = %name, %error, "an interrupted creation stays where it is");
                }
            }
            Ok(Found::Orphan) => {
                let dir = topic_dir(root, &name).describe();
                tracing::error!(
                    dir,
                    "what is left of a topic has no topic file: put it back from a backup"
                );
                unreadable.insert(name);
            }
            // It is not the topic that is amiss: a start that fails is tried again.
            Err(error) if error.is_out_of_files() => return Err(error),
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(topic = %name, %error, "the topic cannot be read and is not served");
                unreadable.insert(name);
            }
        }
    }
    Ok((topics, unreadable))
}

/// What is in a topic's directory.
enum Found {
    Topic(Box<file::Topic>),
    /// An interrupted creation.
    Unfinished,
    /// Records, and nothing that says whose.
    Orphan,
}

async fn find<D: Dir>(root: &D, name: &TopicName) -> Result<Found, CatalogError> {
    Ok(match read(root, name).await? {
        Some(file) => Found::Topic(Box::new(file)),
        None if is_unfinished(root, name).await? => Found::Unfinished,
        None => Found::Orphan,
    })
}

/// If a topic may be created under this name: its directory is free.
pub(super) async fn is_free<D: Dir>(root: &D, name: &TopicName) -> Result<bool, CatalogError> {
    let dir = topic_dir(root, name);
    let exists = dir.exists().await.map_err(io_error("look at", &dir))?;
    Ok(!exists || is_unfinished(root, name).await?)
}

/// A topic whose files are there and that is not `known`: it could not be read.
pub(super) async fn unknown<D: Dir>(
    root: &D,
    known: impl Fn(&TopicName) -> bool,
) -> Result<Option<TopicName>, CatalogError> {
    let dir = root.child(TOPICS);
    for entry in dir.list().await.map_err(io_error("list", &dir))? {
        let Ok(name) = TopicName::new(&entry.name) else {
            continue;
        };
        if entry.is_dir && !known(&name) && !is_unfinished(root, &name).await? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// If a topic's directory holds nothing but what an interrupted creation leaves.
async fn is_unfinished<D: Dir>(root: &D, name: &TopicName) -> Result<bool, CatalogError> {
    let dir = topic_dir(root, name);
    let entries = dir.list().await.map_err(io_error("list", &dir))?;
    let aside = format!("{TOPIC}{ASIDE_SUFFIX}");
    Ok(entries.iter().all(|entry| entry.name == aside))
}

/// Writes the file of a topic that is there, durably, in the blocks of the spare file if the disk is full;
/// `is_spare_used` is notified then.
pub(super) async fn rewrite<D: Dir>(
    root: &D,
    topic: &Topic,
    is_spare_used: &Notify,
) -> Result<(), CatalogError> {
    let dir = topic_dir(root, &topic.name);
    let bytes = encoded(topic, &dir)?;
    let written = match dir.write_aside(TOPIC, &bytes).await {
        Err(full) if disk::is_full(&full) => {
            use io::ErrorKind::{FileTooLarge, NotFound};
            match spare::write(root, &dir, TOPIC, &bytes, is_spare_used).await {
                // There is none, or too small a one.
                Err(error) if matches!(error.kind(), NotFound | FileTooLarge) => Err(full),
                other => other,
            }
        }
        other => other,
    };
    written.map_err(io_error("write the topic file", &dir))
}

/// Makes the directory of a topic, durably, if it is not there; that of all topics is made by a start.
pub(super) async fn create<D: Dir>(root: &D, topic: &Topic) -> Result<(), CatalogError> {
    let dir = topic_dir(root, &topic.name);
    dir.create().await.map_err(io_error("create", &dir))
}

/// Writes a topic's file into its directory, durably.
pub(super) async fn write<D: Dir>(root: &D, topic: &Topic) -> Result<(), CatalogError> {
    let dir = topic_dir(root, &topic.name);
    let bytes = encoded(topic, &dir)?;
    dir.write_aside(TOPIC, &bytes)
        .await
        .map_err(io_error("write the topic file", &dir))
}

/// Takes a topic in whose partitions are whole in the directory of its name below `from`: writes
/// its file there, then moves it. After an error it may have moved, unless it `is_gone`.
pub(super) async fn install<D: Dir>(root: &D, from: &D, topic: &Topic) -> Result<(), CatalogError> {
    let (home, topics) = (from.child(topic.name.as_str()), root.child(TOPICS));
    home.write_aside(TOPIC, &encoded(topic, &home)?)
        .await
        .map_err(io_error("write the topic file", &home))?;
    let place = topic_dir(root, &topic.name);
    if place.exists().await.map_err(io_error("look at", &place))? {
        // Nothing but an interrupted creation is in the place of a name that is free.
        bury(root, &topic.name, UNFINISHED).await?;
    }
    let renamed = from.rename(topic.name.as_str(), &topics, topic.name.as_str());
    renamed.await.map_err(io_error("rename a topic", from))?;
    topics.sync().await.map_err(io_error("sync", &topics))?;
    from.sync().await.map_err(io_error("sync", from))
}

/// Makes a place for a topic that is to be deleted, while it is served still. What fails here has changed nothing.
pub(super) async fn dig<D: Dir>(root: &D, topic: &Topic) -> Result<Grave<D>, CatalogError> {
    Grave::dig(root, topic.name.as_str(), &topic.id.to_string()).await
}

/// Moves a topic out of the way; `keep_removing` removes it. After an error it may have moved, if
/// its directory `is_gone`.
pub(super) async fn delete<D: Dir>(root: &D, topic: &Topic) -> Result<(), CatalogError> {
    bury(root, &topic.name, &topic.id.to_string()).await
}

/// If a topic's directory is no longer there, as far as can be told.
pub(super) async fn is_gone<D: Dir>(root: &D, topic: &Topic) -> bool {
    !topic_dir(root, &topic.name).exists().await.unwrap_or(false)
}

/// If the file of a topic is there, whatever else it says, as far as can be told.
pub(crate) async fn is_there<D: Dir>(root: &D, topic: &Topic) -> bool {
    let kept = read(root, &topic.name).await;
    kept.is_ok_and(|kept| kept.is_some_and(|kept| kept.id == topic.id))
}

/// If a topic's file says what is known of it, as far as can be told.
pub(super) async fn is_as<D: Dir>(root: &D, topic: &Topic) -> bool {
    let kept = read(root, &topic.name).await;
    kept.is_ok_and(|kept| kept == Some(topic.to_file()))
}

/// Removes what was deleted, now and after each time that something `is_buried`: one at a time, for each takes one of the
/// threads for directories until it is done.
pub(super) async fn keep_removing<D: Dir>(root: D, is_buried: Notify) {
    loop {
        let again = is_buried.notified();
        if let Err(error) = remove_deleted(&root).await {
            let error = with_causes(&error);
            tracing::warn!(%error, "what was deleted is removed with what is deleted next, or at the next start");
        }
        again.await;
    }
}

/// Removes what was deleted; may take long. What cannot be removed keeps nothing else: the first error is told at
/// the end.
async fn remove_deleted<D: Dir>(root: &D) -> Result<(), CatalogError> {
    let deleted = root.child(DELETED);
    if !deleted
        .exists()
        .await
        .map_err(io_error("look at", &deleted))?
    {
        return Ok(());
    }
    let mut all = Ok(());
    for entry in deleted.list().await.map_err(io_error("list", &deleted))? {
        let dir = deleted.child(&entry.name);
        let removed = dir.remove_tree().await;
        all = all.and(removed.map_err(io_error("remove", &dir)));
    }
    all
}

async fn read<D: Dir>(root: &D, name: &TopicName) -> Result<Option<file::Topic>, CatalogError> {
    let dir = topic_dir(root, name);
    let bytes = match dir.read(TOPIC, file::FILE_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read the topic file", &dir)(error)),
    };
    let topic = file::Topic::decode(&bytes).map_err(|source| CatalogError::Format {
        dir: dir.describe(),
        source,
    })?;
    if topic.name != *name {
        return Err(CatalogError::Misplaced {
            dir: dir.describe(),
            found: topic.name,
        });
    }
    Ok(Some(topic))
}

async fn bury<D: Dir>(root: &D, name: &TopicName, suffix: &str) -> Result<(), CatalogError> {
    let grave = Grave::dig(root, name.as_str(), suffix).await?;
    grave.bury(root, name).await
}

fn encoded<D: Dir>(topic: &Topic, dir: &D) -> Result<Vec<u8>, CatalogError> {
    let encoded = topic.to_file().encode();
    encoded.map_err(|source| CatalogError::Format {
        dir: dir.describe(),
        source,
    })
}

pub(super) fn io_error<D: Dir>(
    action: &'static str,
    dir: &D,
) -> impl FnOnce(io::Error) -> CatalogError {
    let dir = dir.describe();
    move |source| CatalogError::Io {
        action,
        dir,
        source,
    }
}

#[cfg(test)]
mod tests {
    use corelog_storage::disk::block_on;
    use corelog_storage::disk::faulty::{Fault, FaultyDir, Match, Operation, When};
    use corelog_storage::disk::memory::MemoryDir;
    use corelog_storage::format::replica::Replica;
    use corelog_storage::testing::run_up_to;

    use super::super::grave::NAME_BYTES_MAX;
    use super::*;
    use crate::core::tests::topic_of;

    fn topic(name: &str) -> Topic {
        topic_of(name, 7, 3)
    }

    /// Writes a topic that is new.
    async fn write<D: Dir>(root: &D, topic: &Topic) -> Result<(), CatalogError> {
        let dir = topic_dir(root, &topic.name);
        dir.create_all().await.map_err(io_error("create", &dir))?;
        super::write(root, topic).await
    }

    fn loaded<D: Dir>(root: &D) -> (Vec<String>, usize) {
        let (topics, unreadable) = block_on(load(root, 2)).expect("loaded");
        let names = topics.iter().map(|topic| topic.name.to_string());
        (names.collect(), unreadable.len())
    }

    #[test]
    fn a_topic_comes_back_as_it_was_written_and_survives_a_power_cut() {
        let root = MemoryDir::new();
        let mut written = topic("kept");
        written.settings.retention_age_ms = Some(5);
        block_on(write(&root, &written)).expect("written");
        for seed in 0..50 {
            let (topics, _) = block_on(load(&root.power_cut(seed), 1)).expect("loaded");
            assert_eq!(topics, vec![written.clone()]);
        }
    }

    /// Where deleted topics go tells that there were topics: a node that finds that alone does not start.
    #[test]
    fn whenever_the_power_goes_at_a_first_start_the_topics_are_there_where_the_deleted_ones_are() {
        let is_done = |operations: usize| {
            let root = FaultyDir::new(MemoryDir::new());
            root.faults().hold(Match::ANY, When::Before);
            let loaded = run_up_to(&root, load(&root, 1), operations);
            let is_done = loaded.is_some();
            drop(loaded.transpose().expect("loaded"));
            for seed in 0..20 {
                let left = root.inner().power_cut(seed);
                let is_there = |name| block_on(left.child(name).exists()).expect("told");
                assert!(!is_there(DELETED) || is_there(TOPICS), "{operations}");
                assert!(!is_done || is_there(DELETED), "{operations}");
            }
            is_done
        };
        let operations = (0..).find(|operations| is_done(*operations));
        assert!(operations.is_some_and(|operations| 2 < operations));
    }

    /// A deletion waited, and every change of an owner with it, until what a former clone of the topic had left was removed.
    #[test]
    fn a_topic_goes_beside_what_was_left_of_it_before() {
        let root = MemoryDir::new();
        block_on(load(&root, 1)).expect("loaded");
        for name in ["cloned", &"l".repeat(NAME_BYTES_MAX - 6)] {
            for _ in 0..3 {
                block_on(write(&root, &topic(name))).expect("written");
                block_on(delete(&root, &topic(name))).expect("deleted");
            }
        }
        let left = block_on(root.child(DELETED).list()).expect("listed");
        assert_eq!(left.len(), 6);
    }

    /// A disk that is full at the start has no block for another directory.
    #[test]
    fn an_unfinished_creation_that_cannot_go_keeps_nobody_from_starting() {
        let root = FaultyDir::new(MemoryDir::new());
        let dir = root.child(TOPICS).child("half");
        block_on(dir.create_all()).expect("made");
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let full = Fault::Fail(full);
            root.faults().fail(Operation::CreateDir, 2, full);
            root.faults().fail(Operation::CreateDir, 3, full);
            assert_eq!(loaded(&root), (vec![], 0));
            root.faults().clear();
        }
        assert!(block_on(is_free(&root, &topic("half").name)).expect("told"));
    }

    #[test]
    fn a_full_disk_or_quota_is_told_as_such_unless_the_spare_file_has_room_for_the_topic() {
        let root = FaultyDir::new(MemoryDir::new());
        let mut topic = topic("full");
        block_on(write(&root, &topic)).expect("written");
        topic.settings.retention_age_ms = Some(5);
        let is_full = |written: Result<(), CatalogError>| {
            let error = written.expect_err("the disk is full");
            matches!(&error, CatalogError::Io { source, .. } if disk::is_full(source))
        };
        let full = Fault::Fail(io::ErrorKind::QuotaExceeded);
        let rewrite_full = |topic: &Topic| {
            root.faults().fail(Operation::Allocate, 1, full);
            let written = block_on(rewrite(&root, topic, &Notify::new()));
            root.faults().clear();
            written
        };
        assert!(is_full(rewrite_full(&topic)), "there is no spare file");
        block_on(root.write_aside("spare", &[1; 64 << 10])).expect("made");
        let replica = Replica {
            sources: vec!["x".repeat(100); 1_000],
            ..Replica::owner(PartitionId::new(0))
        };
        let large = Topic {
            replicas: [(PartitionId::new(0), replica)].into(),
            ..topic.clone()
        };
        assert!(is_full(rewrite_full(&large)), "it is too small");
        rewrite_full(&topic).expect("written in the spare file");
        let (topics, _) = block_on(load(&root, 1)).expect("loaded");
        assert_eq!(topics, [topic]);
    }

    #[test]
    fn an_unfinished_creation_goes_and_its_name_is_free() {
        let root = MemoryDir::new();
        let dir = root.child(TOPICS).child("half");
        block_on(dir.create_all()).expect("made");
        assert_eq!(loaded(&root), (vec![], 0));
        assert!(block_on(is_free(&root, &topic("half").name)).expect("told"));
        assert!(!block_on(dir.exists()).expect("told"));
    }

    /// Records beside a missing topic file are damage, never an unfinished creation.
    #[test]
    fn records_without_a_topic_file_stay_where_they_are_and_keep_nobody_from_starting() {
        let root = MemoryDir::new();
        block_on(write(&root, &topic("good"))).expect("written");
        let orphan = partition_dir(&root, &topic("orphan").name, PartitionId::new(0));
        block_on(orphan.create_all()).expect("made");
        let rotten = root.child(TOPICS).child("rotten");
        block_on(rotten.create()).expect("made");
        block_on(rotten.write_aside(TOPIC, b"not a topic")).expect("written");
        assert_eq!(loaded(&root), (vec!["good".to_owned()], 2));
        assert!(block_on(orphan.exists()).expect("told"));
        for name in ["orphan", "rotten"] {
            assert!(!block_on(is_free(&root, &topic(name).name)).expect("told"));
        }
    }

    /// One directory that could not be listed kept all the others from being served.
    #[test]
    fn a_directory_without_a_topic_file_that_cannot_be_listed_keeps_nobody_from_starting() {
        let root = FaultyDir::new(MemoryDir::new());
        block_on(write(&root, &topic("good"))).expect("written");
        let bad = root.child(TOPICS).child("bad");
        block_on(bad.create()).expect("made");
        // The first one is of all topics.
        let fault = Fault::Fail(io::ErrorKind::Other);
        root.faults().fail(Operation::List, 2, fault);
        assert_eq!(loaded(&root), (vec!["good".to_owned()], 1));
        assert!(!root.faults().is_pending());
        assert_eq!(loaded(&root), (vec!["good".to_owned()], 0));
        assert!(!block_on(bad.exists()).expect("told"), "it was empty");
    }

    /// All that was deleted after it stayed on the disk, whatever was deleted, and after each start.
    #[test]
    fn a_deleted_topic_that_cannot_be_removed_keeps_no_other_one() {
        let root = FaultyDir::new(MemoryDir::new());
        for name in ["first", "second", "third"] {
            block_on(write(&root, &topic(name))).expect("written");
            block_on(delete(&root, &topic(name))).expect("moved");
        }
        let fault = Fault::Fail(io::ErrorKind::Other);
        root.faults().fail(Operation::RemoveTree, 1, fault);
        block_on(remove_deleted(&root)).expect_err("the first one stays");
        let left = || block_on(root.child(DELETED).list()).expect("listed").len();
        assert_eq!(left(), 1);
        block_on(remove_deleted(&root)).expect("removed");
        assert_eq!(left(), 0);
    }

    #[test]
    fn a_deletion_whose_sync_fails_is_known_to_have_moved_the_files() {
        let root = FaultyDir::new(MemoryDir::new());
        let (moved, stuck) = (topic("moved"), topic("stuck"));
        block_on(write(&root, &moved)).expect("written");
        block_on(write(&root, &stuck)).expect("written");
        let fault = Fault::Fail(io::ErrorKind::Other);
        block_on(root.child(DELETED).create()).expect("made");
        root.faults().fail(Operation::SyncDir, 1, fault);
        block_on(delete(&root, &moved)).expect_err("the sync fails");
        assert!(block_on(is_gone(&root, &moved)));
        root.faults().clear();
        root.faults().fail(Operation::Rename, 1, fault);
        block_on(delete(&root, &stuck)).expect_err("the rename fails");
        assert!(!block_on(is_gone(&root, &stuck)));
    }
}
