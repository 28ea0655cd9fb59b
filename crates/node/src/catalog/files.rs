//! Topics in the data directory.
//!
//! ```text
//! <data>/topics/<topic>/topic          id, partitions, settings: replaced as a whole
//! <data>/topics/<topic>/<partition>/   the partition's log
//! <data>/deleted/<topic>-<id>/         renamed away, removed in the background
//! <data>/quarantine/                   bytes that cannot be trusted
//! ```

use std::io;

use corelog_record::{PartitionId, TopicName};
use corelog_storage::disk::Dir;
use corelog_storage::format::{self, topic as file};

use super::placement::Load;
use super::topic::Topic;

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
    /// A topic's file is not one.
    #[error("the topic file in {dir} cannot be read")]
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

/// Where a partition's log lives.
pub(crate) fn partition_dir<D: Dir>(root: &D, topic: &TopicName, partition: PartitionId) -> D {
    topic_dir(root, topic).child(&partition.get().to_string())
}

/// Where bytes go that cannot be trusted.
pub(crate) fn quarantine_dir<D: Dir>(root: &D) -> D {
    root.child("quarantine")
}

/// Reads all topics and places their partitions. A directory without a topic file is a creation
/// that was interrupted before it was answered: it goes to `deleted/`.
pub(crate) async fn load<D: Dir>(root: &D, core_count: u16) -> Result<Vec<Topic>, CatalogError> {
    let topics_dir = root.child(TOPICS);
    topics_dir
        .create()
        .await
        .map_err(io_error("create", &topics_dir))?;
    let mut load = Load::of_cores(core_count);
    let mut topics = Vec::new();
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
            continue;
        }
        match read(root, &name).await? {
            Some(file) => {
                let owners = load.place(file.partitions);
                topics.push(Topic::from_file(file, owners));
            }
            None => bury(root, &name, "unfinished").await?,
        }
    }
    Ok(topics)
}

/// Writes a topic's file, durably, creating its directory if need be.
pub(super) async fn write<D: Dir>(root: &D, topic: &Topic) -> Result<(), CatalogError> {
    let dir = topic_dir(root, &topic.name);
    dir.create().await.map_err(io_error("create", &dir))?;
    let bytes = topic.to_file().encode();
    dir.write_aside(TOPIC_FILE, &bytes)
        .await
        .map_err(io_error("write the topic file", &dir))
}

/// Moves a topic out of the way, durably; `remove_deleted` removes it.
pub(super) async fn delete<D: Dir>(root: &D, topic: &Topic) -> Result<(), CatalogError> {
    bury(root, &topic.name, &topic.id.to_string()).await
}

/// Removes what was deleted; may take long.
pub(crate) async fn remove_deleted<D: Dir>(root: &D) -> Result<(), CatalogError> {
    let deleted = root.child(DELETED);
    if !deleted
        .exists()
        .await
        .map_err(io_error("look at", &deleted))?
    {
        return Ok(());
    }
    for entry in deleted.list().await.map_err(io_error("list", &deleted))? {
        let dir = deleted.child(&entry.name);
        dir.remove_tree().await.map_err(io_error("remove", &dir))?;
    }
    Ok(())
}

async fn read<D: Dir>(root: &D, name: &TopicName) -> Result<Option<file::Topic>, CatalogError> {
    let dir = topic_dir(root, name);
    let bytes = match dir.read(TOPIC_FILE, file::FILE_BYTES_MAX).await {
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
    let (topics, deleted) = (root.child(TOPICS), root.child(DELETED));
    deleted
        .create()
        .await
        .map_err(io_error("create", &deleted))?;
    // The longest topic name leaves no room for a suffix in a directory's name.
    let kept = name.as_str().len().min(NAME_BYTES_MAX - 1 - suffix.len());
    let grave = format!("{}-{suffix}", &name.as_str()[..kept]);
    let leftover = deleted.child(&grave);
    leftover
        .remove_tree()
        .await
        .map_err(io_error("remove", &leftover))?;
    let renamed = topics.rename(name.as_str(), &deleted, &grave).await;
    renamed.map_err(io_error("rename a topic", &topics))?;
    // The new place first: after a power cut the topic is in one of the two, or in both.
    deleted.sync().await.map_err(io_error("sync", &deleted))?;
    topics.sync().await.map_err(io_error("sync", &topics))
}

fn topic_dir<D: Dir>(root: &D, topic: &TopicName) -> D {
    root.child(TOPICS).child(topic.as_str())
}

fn io_error<D: Dir>(action: &'static str, dir: &D) -> impl FnOnce(io::Error) -> CatalogError {
    let dir = dir.describe();
    move |source| CatalogError::Io {
        action,
        dir,
        source,
    }
}

/// Bytes of a directory's name.
const NAME_BYTES_MAX: usize = 255;
const TOPICS: &str = "topics";
const DELETED: &str = "deleted";
const TOPIC_FILE: &str = "topic";
