//! The topics' files, kept as the cores know the topics.
//!
//! A write that fails leaves the old file, or the new one already: its rename may be done when a sync fails. The cores
//! go on with what they know, and a restart believes the file. So the file is put back; as long as that fails, too, it is
//! in doubt, and nothing is promised of its topic.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_record::{TopicId, TopicName};
use corelog_storage::disk::Dir;

use super::admin::{Admin, failed};
use super::files::{self, CatalogError};
use super::grave::sync_gone;
use super::topic::Topic;
use crate::core::{Core, Disk};
use crate::failure::{Failure, failure};
use crate::metrics::add;
use crate::rt::{self, Notify};

/// How often a file that is in doubt is written again.
const SETTLE_EVERY: Duration = Duration::from_secs(5);

/// Writes the files of topics, and knows which of them may say something else than the cores know.
pub(super) struct Ledger<D> {
    root: D,
    /// Notified when the spare file was used up.
    spare_used: Notify,
    doubted: RefCell<BTreeMap<TopicId, Topic>>,
    /// Notified when a file comes to be in doubt.
    doubt_came: Notify,
    /// Notified when something went where deleted topics go.
    pub(super) buried: Notify,
}

impl<D: Dir> Ledger<D> {
    /// For the topics below `root`, none of which is in doubt.
    pub(super) fn new(root: D, spare_used: Notify) -> Self {
        Self {
            root,
            spare_used,
            doubted: RefCell::default(),
            doubt_came: Notify::new(),
            buried: Notify::new(),
        }
    }

    /// Writes a topic's file, durably, in the place of that of `before`, if the cores know the topic.
    ///
    /// # Errors
    /// Why it is not written. The file is as it was, or in doubt.
    pub(super) async fn write(
        &self,
        before: Option<&Topic>,
        topic: &Topic,
    ) -> Result<(), CatalogError> {
        // The directory of a topic that is known holds its records: where it is gone, none takes its place.
        if before.is_none() {
            // What fails here is certain, whatever it left: a directory without a file is no topic.
            files::create(&self.root, topic).await?;
        }
        let written = files::write(&self.root, topic).await;
        self.end(written, before, topic).await
    }

    /// The same on a full disk, too, for a topic that the cores know.
    ///
    /// # Errors
    /// As [`Ledger::write`].
    pub(super) async fn rewrite(&self, before: &Topic, topic: &Topic) -> Result<(), CatalogError> {
        let written = files::rewrite(&self.root, topic, &self.spare_used).await;
        self.end(written, Some(before), topic).await
    }

    /// Takes a topic in that is whole below `from`, durably.
    ///
    /// # Errors
    /// Why it is not taken in. It is not there, or in doubt: it must not come by itself with a restart.
    pub(super) async fn install(&self, from: &D, topic: &Topic) -> Result<(), CatalogError> {
        let installed = files::install(&self.root, from, topic).await;
        self.buried.notify();
        self.end(installed, None, topic).await
    }

    /// If a topic's file may say something else than the cores know.
    pub(super) fn is_doubted(&self, id: TopicId) -> bool {
        self.doubted.borrow().contains_key(&id)
    }

    /// # Errors
    /// `Busy` if files in the place of a topic of this name are in doubt: it may not come to be.
    pub(super) fn check_certain(&self, name: &TopicName) -> Result<(), Failure> {
        let doubted = self.doubted.borrow();
        if doubted.values().all(|topic| topic.name != *name) {
            return Ok(());
        }
        let message = format!(
            "a topic {name} that could not be written down is being removed, every few seconds until the disk lets it"
        );
        Err(failure(ErrorCode::Busy, message))
    }

    /// Writes the file of a topic that is in doubt as the cores know it, or moves away what it left if they do not.
    ///
    /// # Errors
    /// Why it is in doubt still.
    pub(super) async fn settle(
        &self,
        known: Option<&Topic>,
        topic: &Topic,
    ) -> Result<(), CatalogError> {
        if self.is_doubted(topic.id) {
            self.undo(known, topic).await?;
            self.forget(topic.id);
        }
        Ok(())
    }

    /// The topic's file may say something else than the cores know.
    pub(super) fn doubt(&self, topic: &Topic) {
        self.doubted.borrow_mut().insert(topic.id, topic.clone());
        self.doubt_came.notify();
    }

    /// The topic has no file any more, or a certain one.
    fn forget(&self, id: TopicId) {
        self.doubted.borrow_mut().remove(&id);
    }

    /// The topics whose files are in doubt, as they were to be written, once there are any.
    async fn doubted(&self) -> BTreeMap<TopicId, Topic> {
        let is_any = || !self.doubted.borrow().is_empty();
        self.doubt_came.until(is_any).await;
        self.doubted.borrow().clone()
    }

    /// Puts back what a write that failed may have replaced.
    async fn end(
        &self,
        written: Result<(), CatalogError>,
        before: Option<&Topic>,
        topic: &Topic,
    ) -> Result<(), CatalogError> {
        let is_certain = written.is_ok() || self.undo(before, topic).await.is_ok();
        match is_certain {
            true => self.forget(topic.id),
            false => self.doubt(topic),
        }
        written
    }

    async fn undo(&self, before: Option<&Topic>, topic: &Topic) -> Result<(), CatalogError> {
        let Some(before) = before else {
            return match files::is_free(&self.root, &topic.name).await? {
                false => {
                    let moved = files::delete(&self.root, topic).await;
                    self.buried.notify();
                    moved
                }
                // It may have gone by a rename that is not durable.
                true if self.is_doubted(topic.id) => sync_gone(&self.root).await,
                true => Ok(()),
            };
        };
        // What was durable and is there was never replaced. One in doubt may be another after a power cut.
        if !self.is_doubted(topic.id) && files::is_as(&self.root, before).await {
            return Ok(());
        }
        files::rewrite(&self.root, before, &self.spare_used).await
    }
}

impl Admin {
    /// Writes a topic's file, durably, in the place of that of `before`, if the cores know the topic.
    ///
    /// # Errors
    /// What the client is told; of unknown outcome if the file is in doubt then.
    pub(super) async fn write(&self, before: Option<&Topic>, topic: &Topic) -> Result<(), Failure> {
        add(&self.core.counters.topic_writes_total, 1);
        let written = self.ledger.write(before, topic).await;
        written.map_err(|error| self.unwritten(topic, &error))
    }

    /// Writes the file of a topic that an operator changed, durably: on a full disk, too, for this may be
    /// what makes room.
    ///
    /// # Errors
    /// As [`Admin::write`].
    pub(super) async fn rewrite(&self, before: &Topic, topic: &Topic) -> Result<(), Failure> {
        add(&self.core.counters.topic_writes_total, 1);
        let written = self.ledger.rewrite(before, topic).await;
        written.map_err(|error| self.unwritten(topic, &error))
    }

    /// Takes a topic in that is whole below `from`, durably.
    ///
    /// # Errors
    /// As [`Admin::write`].
    pub(super) async fn take_in(&self, from: &Disk, topic: &Topic) -> Result<(), Failure> {
        let installed = self.ledger.install(from, topic).await;
        installed.map_err(|error| self.unwritten(topic, &error))
    }

    /// Has a restart find of a topic what the cores know; called in turn with changes of the catalog.
    ///
    /// # Errors
    /// Why that is in doubt.
    pub(super) async fn settle(&self, topic: &Topic) -> Result<(), Failure> {
        let settled = self.ledger.settle(Some(topic), topic).await;
        settled.map_err(|error| self.unwritten(topic, &error))
    }

    fn unwritten(&self, topic: &Topic, error: &CatalogError) -> Failure {
        let why = failed(error);
        if !self.ledger.is_doubted(topic.id) {
            return why;
        }
        let message = format!(
            "{}; what a restart would find of topic {} is in doubt until its file can be written",
            why.message, topic.name
        );
        failure(ErrorCode::Internal, message)
    }
}

impl Core {
    /// Writes files that are in doubt again, until they are not: a node may follow for weeks before the
    /// restart that would make it an owner.
    pub(crate) async fn keep_settled(self: Rc<Self>) {
        let Ok(admin) = self.admin() else { return };
        loop {
            let doubted = admin.ledger.doubted().await;
            rt::sleep(SETTLE_EVERY).await;
            for (id, unwritten) in doubted {
                // Not of a topic that is being deleted.
                let _turn = admin.turn_of_shape().await;
                let known = self.routes.borrow().topic_by_id(id).cloned();
                let is_named = self.routes.borrow().named(&unwritten.name).is_some();
                if known.is_none() && is_named {
                    // It was deleted, and another one has its name.
                    admin.ledger.forget(id);
                    continue;
                }
                let settled = admin.ledger.settle(known.as_deref(), &unwritten);
                // Why not was told when it came to be in doubt.
                if settled.await.is_ok() {
                    tracing::info!(topic = %unwritten.name, "its file is in doubt no more");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::pin::pin;

    use corelog_record::PartitionId;
    use corelog_storage::disk::faulty::{Fault, FaultyDir, Operation};
    use corelog_storage::disk::memory::MemoryDir;
    use corelog_storage::disk::{self, block_on};
    use corelog_storage::format::node::{DELETED, TOPICS};
    use corelog_storage::format::replica::{Replica, Role};
    use futures_lite::future::poll_once;

    use super::*;
    use crate::core::tests::topic_of;

    fn topic(role: Role) -> Topic {
        let mut topic = topic_of("t", 7, 1);
        topic.change_replica(PartitionId::new(0), |replica| Replica { role, ..replica });
        topic
    }

    /// Topics on a disk that may fail, one of which follows.
    fn ledger() -> (FaultyDir<MemoryDir>, Ledger<FaultyDir<MemoryDir>>) {
        let root = disk();
        let ledger = Ledger::new(root.clone(), Notify::new());
        block_on(ledger.write(None, &topic(Role::Follower))).unwrap();
        (root, ledger)
    }

    fn take_over<D: Dir>(ledger: &Ledger<D>) -> Result<(), CatalogError> {
        block_on(ledger.write(Some(&topic(Role::Follower)), &topic(Role::Owner)))
    }

    fn settle<D: Dir>(ledger: &Ledger<D>) -> Result<(), CatalogError> {
        block_on(ledger.settle(Some(&topic(Role::Follower)), &topic(Role::Owner)))
    }

    /// One that a start has seen.
    fn disk() -> FaultyDir<MemoryDir> {
        let root = FaultyDir::new(MemoryDir::new());
        block_on(root.child(TOPICS).create()).unwrap();
        root
    }

    /// Checks what a restart finds, also after a power cut.
    fn assert_found(root: &FaultyDir<MemoryDir>, expected: &[Topic]) {
        root.faults().clear();
        for seed in 0..20 {
            let (found, unreadable) =
                block_on(files::load(&root.inner().power_cut(seed), 1)).unwrap();
            assert_eq!((&found[..], unreadable.len()), (expected, 0));
        }
        assert_eq!(block_on(files::load(root, 1)).unwrap().0, expected);
    }

    /// The rename was done, the sync failed: the node went on as a follower, told that it is none that owns, and was
    /// an owner after its next start, beside another one.
    #[test]
    fn after_a_write_that_fails_a_restart_finds_what_the_cores_know() {
        use Operation::{Allocate, Open, Rename, Sync, SyncDir, Write};
        for operation in [Allocate, Open, Rename, Sync, SyncDir, Write] {
            let (root, ledger) = ledger();
            let fault = Fault::Fail(ErrorKind::Other);
            root.faults().fail(operation, 1, fault);
            let written = take_over(&ledger);
            if root.faults().happened().is_empty() {
                continue;
            }
            written.unwrap_err();
            assert!(!ledger.is_doubted(topic(Role::Owner).id), "{operation:?}");
            assert_found(&root, &[topic(Role::Follower)]);
        }
    }

    #[test]
    fn a_file_that_cannot_be_put_back_is_in_doubt_until_it_can() {
        let (root, ledger) = ledger();
        let id = topic(Role::Owner).id;
        let fault = Fault::Fail(ErrorKind::Other);
        for nth in 1..=4 {
            root.faults().fail(Operation::SyncDir, nth, fault);
        }
        take_over(&ledger).unwrap_err();
        assert!(ledger.is_doubted(id));
        settle(&ledger).unwrap_err();
        // The file reads as it should, and is not durable so.
        take_over(&ledger).unwrap_err();
        assert!(!root.faults().is_pending());
        assert!(
            !ledger.is_doubted(id),
            "the fourth sync was the last to fail"
        );
        settle(&ledger).unwrap();
        assert_found(&root, &[topic(Role::Follower)]);
    }

    #[test]
    fn a_full_disk_on_which_nothing_was_replaced_leaves_nothing_in_doubt() {
        let (root, ledger) = ledger();
        root.faults().set_full(true);
        let error = take_over(&ledger).unwrap_err();
        assert!(matches!(&error, CatalogError::Io { source, .. } if disk::is_full(source)));
        assert!(!ledger.is_doubted(topic(Role::Owner).id));
        root.faults().set_full(false);
        assert_found(&root, &[topic(Role::Follower)]);
    }

    #[test]
    fn a_topic_that_could_not_be_created_does_not_come_with_a_restart() {
        let root = disk();
        let ledger = Ledger::new(root.clone(), Notify::new());
        let fault = Fault::Fail(ErrorKind::StorageFull);
        root.faults().fail(Operation::SyncDir, 1, fault);
        block_on(ledger.write(None, &topic(Role::Owner))).unwrap_err();
        assert!(!ledger.is_doubted(topic(Role::Owner).id));
        assert_found(&root, &[]);
    }

    /// Nobody synced it again: a power cut weeks later brought it back.
    #[test]
    fn a_deletion_that_was_not_durable_is_made_so() {
        let (root, ledger) = ledger();
        let deleted = topic(Role::Follower);
        let grave = block_on(files::dig(&root, &deleted)).unwrap();
        let fault = Fault::Fail(ErrorKind::Other);
        root.faults().fail(Operation::SyncDir, 1, fault);
        block_on(grave.bury(&root, &deleted.name)).unwrap_err();
        assert!(block_on(files::is_gone(&root, &deleted)));
        ledger.doubt(&deleted);
        block_on(ledger.settle(None, &deleted)).unwrap();
        assert!(!ledger.is_doubted(deleted.id));
        assert_found(&root, &[]);
    }

    /// It had moved, it could not be moved away, and whoever was told that it had failed had it after the next start.
    #[test]
    fn a_restore_that_failed_does_not_come_with_a_restart() {
        let root = disk();
        let ledger = Ledger::new(root.clone(), Notify::new());
        let (topic, from) = (topic(Role::Owner), root.child("restoring"));
        let made = block_on(files::load(&root, 1)).unwrap();
        assert_eq!(made, Default::default());
        block_on(from.child("t").child("0").create_all()).unwrap();
        let fault = Fault::Fail(ErrorKind::Other);
        // The topic's file comes first, in the place where the topic is made.
        root.faults().fail(Operation::SyncDir, 2, fault);
        root.faults().fail(Operation::Rename, 3, fault);
        block_on(ledger.install(&from, &topic)).unwrap_err();
        assert!(ledger.is_doubted(topic.id) && !root.faults().is_pending());
        assert!(!block_on(files::is_gone(&root, &topic)));
        block_on(ledger.settle(None, &topic)).unwrap();
        assert!(!ledger.is_doubted(topic.id));
        assert_found(&root, &[]);
    }

    /// What had been restored, hundreds of gigabytes of it, stayed on the disk until something else was deleted.
    #[test]
    fn what_did_not_come_to_be_is_removed() {
        let root = disk();
        let ledger = Ledger::new(root.clone(), Notify::new());
        let (topic, from) = (topic(Role::Owner), root.child("restoring"));
        let mut removing = pin!(files::keep_removing(root.clone(), ledger.buried.clone()));
        let mut is_left = || {
            let never = block_on(poll_once(removing.as_mut()));
            assert!(never.is_none());
            let left = block_on(root.child(DELETED).list()).unwrap();
            !left.is_empty() || !block_on(files::is_gone(&root, &topic))
        };
        for is_stuck in [false, true] {
            block_on(from.child("t").child("0").create_all()).unwrap();
            let fault = Fault::Fail(ErrorKind::Other);
            root.faults().fail(Operation::SyncDir, 2, fault);
            if is_stuck {
                root.faults().fail(Operation::Rename, 3, fault);
            }
            block_on(ledger.install(&from, &topic)).unwrap_err();
            assert_eq!(
                (is_left(), ledger.is_doubted(topic.id)),
                (is_stuck, is_stuck)
            );
            block_on(ledger.settle(None, &topic)).unwrap();
            assert!(!is_left(), "{is_stuck}");
        }
    }

    /// It was gone, and came back with a power cut.
    #[test]
    fn what_was_moved_away_and_not_durably_so_is_in_doubt_until_it_is() {
        let root = disk();
        let ledger = Ledger::new(root.clone(), Notify::new());
        let topic = topic(Role::Owner);
        let fault = Fault::Fail(ErrorKind::Other);
        // That of the topics, that of the deleted ones, and that again.
        for nth in 1..=3 {
            root.faults().fail(Operation::SyncDir, nth, fault);
        }
        block_on(ledger.write(None, &topic)).unwrap_err();
        assert!(block_on(files::is_gone(&root, &topic)));
        assert!(ledger.is_doubted(topic.id));
        block_on(ledger.settle(None, &topic)).unwrap_err();
        assert!(ledger.is_doubted(topic.id) && !root.faults().is_pending());
        block_on(ledger.settle(None, &topic)).unwrap();
        assert_found(&root, &[]);
    }

    /// Without a descriptor the directory was made and neither synced nor looked at: whoever created the topic was told that
    /// the outcome is unknown.
    #[test]
    fn a_directory_that_was_made_for_a_topic_leaves_nothing_in_doubt() {
        let root = disk();
        let ledger = Ledger::new(root.clone(), Notify::new());
        let faults = root.faults();
        faults.fail(Operation::CreateDir, 1, Fault::FailAfter(ErrorKind::Other));
        faults.fail(Operation::List, 1, Fault::OutOfFiles);
        block_on(ledger.write(None, &topic(Role::Owner))).unwrap_err();
        assert!(!ledger.is_doubted(topic(Role::Owner).id));
        assert_found(&root, &[]);
    }

    /// Whoever asked meanwhile was told of damage that had been there since the start.
    #[test]
    fn what_is_left_of_a_topic_that_could_not_be_created_goes_when_it_can() {
        let root = disk();
        let ledger = Ledger::new(root.clone(), Notify::new());
        let topic = topic(Role::Owner);
        root.faults()
            .fail(Operation::SyncDir, 1, Fault::Fail(ErrorKind::Other));
        root.faults()
            .fail(Operation::Rename, 2, Fault::Fail(ErrorKind::Other));
        block_on(ledger.write(None, &topic)).unwrap_err();
        assert!(ledger.is_doubted(topic.id) && !root.faults().is_pending());
        let refused = ledger.check_certain(&topic.name).unwrap_err();
        assert!(refused.is(ErrorCode::Busy), "{refused:?}");
        let other = TopicName::new("other").unwrap();
        ledger.check_certain(&other).unwrap();
        block_on(ledger.settle(None, &topic)).unwrap();
        assert!(!ledger.is_doubted(topic.id));
        ledger.check_certain(&topic.name).unwrap();
        assert_found(&root, &[]);
    }

    /// A topic that is known holds records, and one that is not belongs beside the others: nothing is made in their place.
    #[test]
    fn nothing_is_made_where_the_directories_of_topics_are_gone() {
        let topic = topic(Role::Owner);
        for is_known in [false, true] {
            let root = disk();
            let ledger = Ledger::new(root.clone(), Notify::new());
            let before = is_known.then_some(&topic);
            if !is_known {
                block_on(root.child(TOPICS).remove_tree()).unwrap();
            }
            let refused = block_on(ledger.write(before, &topic));
            let is_missing = |error: &CatalogError| matches!(error, CatalogError::Io { source, .. } if source.kind() == ErrorKind::NotFound);
            assert!(is_missing(&refused.unwrap_err()));
            assert!(block_on(files::is_gone(&root, &topic)));
            assert_eq!(block_on(root.child(TOPICS).exists()).unwrap(), is_known);
        }
    }
}
