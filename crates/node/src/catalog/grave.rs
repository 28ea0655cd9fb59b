//! Where topics go that are deleted, until their files are removed.

use corelog_record::TopicName;
use corelog_storage::disk::Dir;
use corelog_storage::format::node::{DELETED, TOPICS};

use super::files::{CatalogError, io_error};

/// Makes durable that topics have moved away.
pub(super) async fn sync_gone<D: Dir>(root: &D) -> Result<(), CatalogError> {
    let (topics, deleted) = (root.child(TOPICS), root.child(DELETED));
    // The new place first: after a power cut a topic is in one of the two, or in both.
    deleted.sync().await.map_err(io_error("sync", &deleted))?;
    topics.sync().await.map_err(io_error("sync", &topics))
}

/// A free place for a topic that is to be removed.
pub(super) struct Grave<D> {
    deleted: D,
    name: String,
}

impl<D: Dir> Grave<D> {
    /// For a topic, under a name that `suffix` sets apart from other topics of its name.
    pub(super) async fn dig(
        root: &D,
        topic: &TopicName,
        suffix: &str,
    ) -> Result<Self, CatalogError> {
        let deleted = root.child(DELETED);
        deleted
            .create()
            .await
            .map_err(io_error("create", &deleted))?;
        let mut taken = 0;
        loop {
            let suffix = match taken {
                0 => suffix.to_owned(),
                taken => format!("{suffix}.{taken}"),
            };
            // The longest topic name leaves no room for a suffix in a directory's name.
            let kept = topic.as_str().len().min(NAME_BYTES_MAX - 1 - suffix.len());
            let name = format!("{}-{suffix}", &topic.as_str()[..kept]);
            let place = deleted.child(&name);
            // What was there before is being removed, which may take long: a topic has the id of its source each time that it
            // is cloned.
            if !place.exists().await.map_err(io_error("look at", &place))? {
                return Ok(Self { deleted, name });
            }
            taken += 1;
        }
    }

    /// Moves a topic there.
    pub(super) async fn bury(self, root: &D, topic: &TopicName) -> Result<(), CatalogError> {
        let (Self { deleted, name }, topics) = (self, root.child(TOPICS));
        let renamed = topics.rename(topic.as_str(), &deleted, &name).await;
        renamed.map_err(io_error("rename a topic", &topics))?;
        sync_gone(root).await
    }
}

/// Bytes of a directory's name.
pub(super) const NAME_BYTES_MAX: usize = 255;
