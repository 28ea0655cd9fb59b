//! Where topics go that are deleted, and what interrupted restores left, until their files are removed.

use corelog_record::TopicName;
use corelog_storage::disk::Dir;
use corelog_storage::format::node::{DELETED, RESTORING, TOPICS};

use super::files::{CatalogError, io_error};

/// Makes durable that topics have moved away.
pub(super) async fn sync_gone<D: Dir>(root: &D) -> Result<(), CatalogError> {
    sync_moved(&root.child(TOPICS), &root.child(DELETED)).await
}

/// Moves what interrupted restores left out of the way, if they left anything.
pub(super) async fn bury_restores<D: Dir>(root: &D) -> Result<(), CatalogError> {
    let left = root.child(RESTORING);
    if !left.exists().await.map_err(io_error("look at", &left))? {
        return Ok(());
    }
    let grave = Grave::dig(root, RESTORING, UNFINISHED).await?;
    grave.take(root, RESTORING).await
}

async fn sync_moved<D: Dir>(from: &D, deleted: &D) -> Result<(), CatalogError> {
    // The new place first: after a power cut what moved is in one of the two, or in both.
    deleted.sync().await.map_err(io_error("sync", deleted))?;
    from.sync().await.map_err(io_error("sync", from))
}

/// A free place for what is to be removed.
pub(super) struct Grave<D> {
    deleted: D,
    name: String,
}

impl<D: Dir> Grave<D> {
    /// For what is named so, under a name that `suffix` sets apart from others of its name.
    pub(super) async fn dig(root: &D, name: &str, suffix: &str) -> Result<Self, CatalogError> {
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
            let kept = name.len().min(NAME_BYTES_MAX - 1 - suffix.len());
            let name = format!("{}-{suffix}", &name[..kept]);
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
        self.take(&root.child(TOPICS), topic.as_str()).await
    }

    /// Moves what is named so in `from` there.
    async fn take(self, from: &D, name: &str) -> Result<(), CatalogError> {
        let Self { deleted, name: to } = self;
        let renamed = from.rename(name, &deleted, &to).await;
        renamed.map_err(io_error("rename a directory in", from))?;
        sync_moved(from, &deleted).await
    }
}

/// What sets apart what never came to be whole.
pub(super) const UNFINISHED: &str = "unfinished";

/// Bytes of a directory's name.
pub(super) const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use corelog_storage::disk::block_on;
    use corelog_storage::disk::memory::MemoryDir;

    use super::*;

    fn buried(root: &MemoryDir) -> Vec<String> {
        let listed = block_on(root.child(DELETED).list()).unwrap_or_default();
        let mut names: Vec<_> = listed.into_iter().map(|entry| entry.name).collect();
        names.sort();
        names
    }

    /// A start removed all of it before it served, which took minutes for what had nearly been whole.
    #[test]
    fn what_interrupted_restores_left_is_out_of_the_way_before_it_is_removed() {
        let root = MemoryDir::new();
        block_on(bury_restores(&root)).unwrap();
        assert!(buried(&root).is_empty());
        for expected in [
            &["restoring-unfinished"][..],
            &["restoring-unfinished", "restoring-unfinished.1"],
        ] {
            let left = root.child(RESTORING).child("t").child("0.restoring");
            block_on(left.create_all()).unwrap();
            block_on(bury_restores(&root)).unwrap();
            assert_eq!(buried(&root), expected);
            assert!(!block_on(root.child(RESTORING).exists()).unwrap());
            for seed in 0..20 {
                let root = root.power_cut(seed);
                assert_eq!(buried(&root), expected);
            }
        }
        let moved = root.child(DELETED).child("restoring-unfinished");
        assert!(block_on(moved.child("t").child("0.restoring").exists()).unwrap());
    }
}
