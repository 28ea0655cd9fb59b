//! Creating, altering and deleting topics: on core 0, one at a time, durable before it is told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::limits::TOPIC_PARTITION_COUNT_MAX;
use corelog_protocol::message::{alter_topic, create_topic, delete_topic};
use corelog_record::{CoreId, TopicId, TopicName};
use corelog_storage::format::replica::Replica;

use super::files::{self, CatalogError};
use super::last::LastSnapshots;
use super::ledger::Ledger;
use super::peers::{Forgotten, Newcomers};
use super::placement::Load;
use super::promises::Promises;
use super::restore::Restores;
use super::routes::unreadable;
use super::spare;
use super::topic::Topic;
use crate::core::{Core, Disk, Lost, with_causes};
use crate::failure::{Failure, disk_failure, failure, failure_with};
use crate::random::random_bytes;
use crate::router;
use crate::rt::{self, Notify, Permit, Semaphore};

/// What a core is told of the catalog.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// The topic is new or changed: open what is yours, take its settings.
    Open(Arc<Topic>),
    /// Every core has opened what is its: tell clients.
    Publish(Arc<Topic>),
    /// The topic is being deleted: clients hear no more of it.
    Withdraw(Arc<Topic>),
    /// No client is told of the topic any more: let go of it, and tell what is lost of it if it stays.
    Close(Arc<Topic>, Sender<Lost>),
    /// The topic stays: count and tell what is lost of what is yours.
    Lost(Arc<Topic>, Arc<[Lost]>),
    /// A follower was forgotten: nothing waits for it any more.
    Forgotten(Arc<Forgotten>),
    /// Snapshots came or went: they hold the partitions up to here.
    Snapshots(Arc<LastSnapshots>),
}

/// The catalog's writer.
pub(crate) struct Admin {
    pub(super) core: Rc<Core>,
    pub(super) load: RefCell<Load>,
    /// One change of what is written down of topics at a time.
    pub(super) turn: Semaphore,
    /// One at a time that needs, or changes, which topics and snapshots there are: it comes before the turn. Who owns a partition
    /// changes meanwhile: that does not wait for a snapshot of thousands.
    pub(super) shape: Semaphore,
    /// The topic that is being deleted and may yet stay: no core knows of it meanwhile.
    pub(super) withdrawn: Cell<Option<TopicId>>,
    /// One look at all snapshots at a time.
    pub(super) listing: Semaphore,
    pub(super) restores: Restores,
    /// Followers that are to be written down.
    pub(super) newcomers: Newcomers,
    /// Partitions that are not taken over.
    pub(super) promises: Promises,
    pub(super) ledger: Ledger<Disk>,
}

impl Admin {
    /// Takes over the topics that core 0 knows.
    pub(crate) fn new(core: Rc<Core>) -> Self {
        let mut load = Load::of_cores(core.shared.core_count);
        core.routes
            .borrow()
            .topics()
            .for_each(|topic| load.add(&topic.owners));
        let spare_used = Notify::new();
        rt::spawn_background(spare::keep(core.root.clone(), spare_used.clone())).detach();
        let ledger = Ledger::new(core.root.clone(), spare_used);
        let removing = files::keep_removing(core.root.clone(), ledger.buried.clone());
        rt::spawn_background(removing).detach();
        Self {
            core,
            load: RefCell::new(load),
            turn: Semaphore::new(1),
            shape: Semaphore::new(1),
            withdrawn: Cell::new(None),
            listing: Semaphore::new(1),
            restores: Restores::since(rt::wall_clock()),
            newcomers: Newcomers::default(),
            promises: Promises::default(),
            ledger,
        }
    }

    /// The turn to change which topics there are, or of how many partitions.
    pub(super) async fn turn_of_shape(&self) -> (Permit, Permit) {
        let shape = self.shape.acquire(1).await;
        (shape, self.turn.acquire(1).await)
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// What the client is told; nothing was created, unless the outcome is unknown.
    pub(crate) async fn create(
        &self,
        request: create_topic::Request,
    ) -> Result<create_topic::Answer, Failure> {
        request.settings.check()?;
        // Who only makes sure of it does not wait behind a snapshot.
        if let Some(there) = self.there_already(&request) {
            return Ok(there);
        }
        let _turn = self.turn_of_shape().await;
        if let Some(there) = self.there_already(&request) {
            return Ok(there);
        }
        self.check_free(&request.name).await?;
        self.check_count(0, request.partitions)?;
        let id = TopicId::from_bytes(random_bytes()?);
        let owners = self.load.borrow_mut().place(request.partitions);
        let topic = Arc::new(Topic {
            name: request.name,
            id,
            created: rt::wall_clock(),
            settings: request.settings,
            owners,
            replicas: BTreeMap::new(),
        });
        if let Err(error) = self.write(None, &topic).await {
            self.load.borrow_mut().remove(&topic.owners);
            return Err(error);
        }
        self.put(Arc::clone(&topic)).await;
        let partitions = topic.partition_count();
        tracing::info!(topic = %topic.name, id = %topic.id, partitions, "created a topic");
        Ok(created(&topic, true))
    }

    /// The topic to create, if it is there and that will do.
    fn there_already(&self, request: &create_topic::Request) -> Option<create_topic::Answer> {
        let routes = self.core.routes.borrow();
        let there = routes.named(&request.name);
        let there = there.filter(|_| request.if_not_exists);
        there.map(|topic| created(topic, false))
    }

    /// Changes a topic's settings, adds partitions.
    ///
    /// # Errors
    /// What the client is told, `NotOwner` of a topic that another node's is the source of, or whose
    /// owner is being changed; nothing was changed, unless the outcome is unknown.
    pub(crate) async fn alter(
        &self,
        request: alter_topic::Request,
    ) -> Result<alter_topic::Answer, Failure> {
        let _turn = self.turn_of_shape().await;
        let before = Arc::clone(
            self.core
                .routes
                .borrow()
                .topic_of(&request.name, request.id)?,
        );
        before.check_may_alter(&request)?;
        let settings = request.settings.apply(&before.settings);
        settings.check()?;
        let count = before.partition_count();
        let wanted = request.partitions.unwrap_or(count);
        self.check_count(count, wanted)?;
        let added = self.load.borrow_mut().place(wanted - count);
        let topic = Arc::new(Topic {
            settings,
            ..before.grown(&added, Replica::owner)
        });
        if topic != before || self.ledger.is_doubted(topic.id) {
            // More partitions make no room: they leave the spare file to what does.
            let written = match count < wanted {
                true => self.write(Some(&before), &topic).await,
                false => self.rewrite(&before, &topic).await,
            };
            if let Err(error) = written {
                self.load.borrow_mut().remove(&added);
                return Err(error);
            }
            self.put(Arc::clone(&topic)).await;
            tracing::info!(topic = %topic.name, partitions = wanted, "altered a topic");
        }
        Ok(alter_topic::Answer {
            partitions: wanted,
            settings: topic.settings.clone(),
        })
    }

    /// Deletes a topic with its records.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) async fn delete(
        &self,
        request: delete_topic::Request,
    ) -> Result<delete_topic::Answer, Failure> {
        let (_shape, turn) = self.turn_of_shape().await;
        let topic = Arc::clone(
            self.core
                .routes
                .borrow()
                .topic_of(&request.name, request.id)?,
        );
        let (root, name) = (&self.core.root, &topic.name);
        let grave = files::dig(root, &topic).await.map_err(|e| failed(&e))?;
        // Nobody writes any more when the files move away.
        self.broadcast(Change::Withdraw(Arc::clone(&topic))).await;
        self.withdrawn.set(Some(topic.id));
        // Who owns what other topics have does not wait for the disk of this one, which may hang.
        drop(turn);
        let (lost, losses) = mpsc::channel();
        self.broadcast(Change::Close(Arc::clone(&topic), lost))
            .await;
        let _turn = self.turn.acquire(1).await;
        self.withdrawn.set(None);
        self.newcomers.forget_full(topic.id);
        if let Err(error) = grave.bury(root, name).await {
            // Files that have moved are not served again, whatever a sync said.
            if files::is_gone(root, &topic).await {
                self.load.borrow_mut().remove(&topic.owners);
                self.ledger.buried.notify();
                self.ledger.doubt(&topic);
                return Err(not_durable(&error));
            }
            // Of one that goes nothing is lost that was to stay.
            let lost = losses.try_iter().collect();
            self.broadcast(Change::Lost(Arc::clone(&topic), lost)).await;
            self.put(topic).await;
            return Err(failed(&error));
        }
        self.load.borrow_mut().remove(&topic.owners);
        self.ledger.buried.notify();
        tracing::info!(topic = %topic.name, id = %topic.id, "deleted a topic");
        Ok(delete_topic::Answer {})
    }

    /// Checks that a topic of this name can come.
    pub(super) async fn check_free(&self, name: &TopicName) -> Result<(), Failure> {
        if let Some(topic) = self.core.routes.borrow().named(name) {
            let message = format!("topic {name} exists already");
            let detail = Detail {
                topic_id: Some(topic.id),
                ..Detail::default()
            };
            return Err(failure_with(ErrorCode::TopicExists, message, detail));
        }
        match files::is_free(&self.core.root, name).await {
            Ok(true) => Ok(()),
            Ok(false) if self.core.routes.borrow().unreadable().contains(name) => {
                Err(unreadable(name))
            }
            Ok(false) => {
                self.ledger.check_certain(name)?;
                let message = format!(
                    "files are in the place of topic {name} that are no topic's which is served; the server's log says \
                     what they are"
                );
                Err(failure(ErrorCode::TopicExists, message))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Whether a topic may have so many partitions that had `before`. Those that are there are served, however many they are.
    pub(super) fn check_count(&self, before: u32, wanted: u32) -> Result<(), Failure> {
        if before > 0 && wanted == before {
            return Ok(());
        }
        if wanted == 0 || wanted < before || wanted > TOPIC_PARTITION_COUNT_MAX {
            let message = format!(
                "a topic has between {} and {TOPIC_PARTITION_COUNT_MAX} partitions, not {wanted}",
                before.max(1)
            );
            let detail = Detail {
                found: Some(u64::from(wanted)),
                limit: Some(TOPIC_PARTITION_COUNT_MAX.into()),
                partitions: (before > 0).then_some(before),
                ..Detail::default()
            };
            return Err(failure_with(ErrorCode::InvalidPartitions, message, detail));
        }
        let node_max = self.core.shared.limits.partitions_max;
        let total = self.load.borrow().total() + (wanted - before) as usize;
        if total > node_max {
            let message = format!("the node would hold {total} partitions, at most {node_max}");
            let detail = Detail {
                limit: Some(node_max as u64),
                ..Detail::default()
            };
            return Err(failure_with(ErrorCode::TooManyPartitions, message, detail));
        }
        Ok(())
    }

    /// Has every core open what is its of a topic, and then tell clients of it: nobody is sent to
    /// a partition that is not there yet.
    pub(super) async fn put(&self, topic: Arc<Topic>) {
        self.broadcast(Change::Open(Arc::clone(&topic))).await;
        self.broadcast(Change::Publish(topic)).await;
    }

    /// Tells every core, this one last, and waits until each has done it.
    pub(super) async fn broadcast(&self, change: Change) {
        let others = (0..self.core.shared.core_count).map(CoreId::new);
        for core in others.filter(|core| *core != self.core.id) {
            router::apply_at(&self.core, core, change.clone()).await;
        }
        self.core.apply(change).await;
    }
}

impl Core {
    /// Takes a change of the catalog: opens, changes or closes what is this core's.
    pub(crate) async fn apply(self: &Rc<Self>, change: Change) {
        match change {
            Change::Open(topic) => {
                self.apply_settings(&topic).await;
                self.open_topic(&topic).await;
            }
            Change::Publish(topic) => {
                let before = self.routes.borrow().topic_by_id(topic.id).cloned();
                self.routes.borrow_mut().put(Arc::clone(&topic));
                self.meet_newcomers(before.as_deref(), &topic);
                self.follow(topic.id).await;
            }
            Change::Withdraw(topic) => self.routes.borrow_mut().remove(&topic),
            Change::Close(topic, losses) => {
                for lost in self.drop_topic(&topic).await {
                    // Whoever deletes it takes them all.
                    losses.send(lost).ok();
                }
            }
            Change::Lost(topic, losses) => self.tell_losses(&topic, &losses),
            Change::Forgotten(who) => self.forget_follower(&who),
            Change::Snapshots(last) => self.keep_snapshots(last).await,
        }
    }
}

fn created(topic: &Topic, created: bool) -> create_topic::Answer {
    let settings = topic.settings.clone();
    create_topic::Answer {
        id: topic.id,
        created,
        partitions: topic.partition_count(),
        settings,
    }
}

pub(super) fn failed(error: &CatalogError) -> Failure {
    let message = with_causes(error);
    tracing::error!(error = %message, "the catalog could not be written");
    match error {
        CatalogError::Io { source, .. } => disk_failure(source, message),
        _ => failure(ErrorCode::Internal, message),
    }
}

/// What is told of a deletion that a restart may undo.
fn not_durable(error: &CatalogError) -> Failure {
    let message = failed(error).message;
    let message = format!(
        "the topic is served no more, but a restart may bring it back until that is durable, which is tried every few seconds: {message}"
    );
    failure(ErrorCode::OutcomeUnknown, message)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::pin;

    use corelog_record::LeaderEpoch;
    use corelog_storage::format::replica::Role;
    use futures_lite::future::poll_once;
    use nix::errno::Errno;

    use super::*;
    use crate::core::tests::{
        PATIENCE, batches, created, creating, flush, hold_flushes, produce, with_core,
    };

    fn code_of(source: impl Into<io::Error>) -> u16 {
        let error = CatalogError::Io {
            action: "write",
            dir: "topics".to_owned(),
            source: source.into(),
        };
        failed(&error).code
    }

    #[test]
    fn a_full_quota_is_a_full_disk_and_a_directory_that_is_gone_is_damage() {
        use io::ErrorKind::{NotFound, Other, QuotaExceeded, StorageFull};
        assert_eq!(code_of(StorageFull), ErrorCode::StorageFull.number());
        assert_eq!(code_of(QuotaExceeded), ErrorCode::StorageFull.number());
        assert_eq!(code_of(NotFound), ErrorCode::Damaged.number());
        assert_eq!(code_of(Other), ErrorCode::Internal.number());
    }

    /// Each waited for as long as a snapshot took, and together they had all room there is for requests that change something.
    #[test]
    fn who_makes_sure_of_a_topic_that_is_there_does_not_wait_behind_a_snapshot() {
        with_core(|core| async move {
            let admin = Admin::new(core);
            let create = |name| {
                let request = create_topic::Request {
                    if_not_exists: true,
                    ..creating(name)
                };
                Box::pin(admin.create(request))
            };
            assert!(create("there").await.unwrap().created);
            let snapshot = admin.shape.acquire(1).await;
            let told = poll_once(create("there")).await;
            assert!(!told.expect("it waits").unwrap().created);
            let (mut first, mut second) = (create("new"), create("new"));
            assert!(poll_once(&mut first).await.is_none());
            assert!(poll_once(&mut second).await.is_none());
            drop(snapshot);
            assert!(first.await.unwrap().created);
            assert!(!second.await.unwrap().created);
        });
    }

    /// Whoever created a topic was told that the outcome is unknown, though nothing had been created.
    #[test]
    fn without_a_descriptor_a_topic_can_be_asked_for_again() {
        assert_eq!(code_of(Errno::EMFILE), ErrorCode::Busy.number());
    }

    /// While the disk of its partitions hung, no partition of any other topic was promoted, handed over or fenced.
    #[test]
    fn who_owns_other_partitions_changes_while_a_deletion_waits_for_its_disk() {
        with_core(|core| async move {
            let (name, key) = created(&core).await;
            let admin = core.admin().unwrap();
            let other = creating("other").name;
            let id = admin.create(creating("other")).await.unwrap().id;
            produce(&core, key, &batches(10_000)).await;
            let turns = hold_flushes(&core).await;
            assert!(poll_once(pin!(flush(&core, key))).await.is_none());
            let request = delete_topic::Request {
                name,
                id: key.topic,
            };
            let mut deleting = pin!(admin.delete(request));
            while core.routes.borrow().topic_by_id(key.topic).is_some() {
                assert!(poll_once(&mut deleting).await.is_none());
                rt::next_turn().await;
            }
            assert!(poll_once(&mut deleting).await.is_none());
            // If that fails it is served again, perhaps by its owner.
            let refused = admin.promise(key, LeaderEpoch::ZERO);
            let refused = rt::timeout(PATIENCE, refused).await;
            let refused = refused.expect("it does not wait").unwrap_err();
            assert!(refused.is(ErrorCode::Busy), "{refused}");
            let place = (&other, id, key.partition);
            let fenced = admin.change_replica(place, None, |replica| {
                let role = Role::Fenced;
                Ok(Replica { role, ..replica })
            });
            let fenced = rt::timeout(PATIENCE, fenced).await;
            fenced.expect("it does not wait").unwrap();
            drop(turns);
            deleting.await.unwrap();
            admin.promise(key, LeaderEpoch::ZERO).await.unwrap();
        });
    }
}
