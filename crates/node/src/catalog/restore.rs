//! Making a new topic of one in a snapshot. It may take minutes, so it is a job: it is begun, told of
//! under its number, and goes on without whoever asked for it.
//!
//! ```text
//! <data>/restoring/<topic>/    what is verified and copied; renamed to topics/<topic> when whole
//! ```
//!
//! Reading, verifying and writing take place on the thread for long work; the new topic comes in
//! turn with all other changes of the catalog, whole or not at all. What a restart interrupts is
//! removed at the next start.

mod jobs;
mod source;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{restore_status, restore_topic};
use corelog_record::{CopyId, Lineage, TopicId};
use corelog_storage::Error;
use corelog_storage::disk::std::{StdDir, beside};
use corelog_storage::disk::{Dir, block_on};
use corelog_storage::format::node::RESTORING;
use corelog_storage::format::topic as file;
use corelog_storage::snapshot::{self as stored, Name, Restore, Restored, Stores};

pub(super) use self::jobs::Restores;
use self::jobs::{Done, Job};
use self::source::{invalid_source, kept_of, pick, uncopied, unopened};
use super::admin::Admin;
use super::grave::bury_restores;
use super::snapshots::{refused, snapshot_dir, snapshots_dir};
use super::space::check_fits;
use super::topic::Topic;
use crate::core::{Core, with_causes};
use crate::failure::{Failure, failure};
use crate::metrics::add;
use crate::random::{random, random_bytes};
use crate::rt;

/// What the thread is to do.
struct Copying {
    source: PathBuf,
    origin: stored::Topic,
    /// Where the topic's partitions appear.
    target: PathBuf,
    id: TopicId,
    /// A snapshot of the node's own shares its stores; others may change theirs.
    stores: Stores,
    /// Damage is taken over as damage.
    is_damage_kept: bool,
    bytes_done: Arc<AtomicU64>,
}

impl Admin {
    /// Begins a restore.
    ///
    /// # Errors
    /// What the client is told; nothing was begun.
    pub(crate) async fn restore(
        &self,
        request: restore_topic::Request,
    ) -> Result<restore_topic::Answer, Failure> {
        let (source, name) = self.source_of(&request.source)?;
        // A snapshot of the node's own is not deleted between being looked at and being in use.
        let _shape = match &name {
            Some(_) => Some(self.shape.acquire(1).await),
            None => None,
        };
        // What is not the node's own may never answer: no more than one thread waits for it.
        let look = match &name {
            Some(_) => None,
            None => Some(self.restores.look(&request.source)?),
        };
        let opened = {
            let source = StdDir::new(&source);
            let shelf = snapshots_dir(&StdDir::new(&self.core.shared.data_dir));
            match name.clone() {
                Some(name) => rt::blocking(move || block_on(stored::find(&shelf, &name))).await,
                None => rt::unwatched(move || block_on(stored::open(&source))).await,
            }
        };
        drop(look);
        let summary = opened.map_err(|error| match &name {
            Some(name) => refused(name.as_str(), &error),
            None => unopened(&request.source, &error),
        })?;
        let origin = pick(summary, request.source_topic.as_ref())?;
        let kept = kept_of(&origin)?;
        self.check_free(&request.topic).await?;
        self.check_count(0, kept.partitions)?;
        let bytes_total: u64 = origin.partitions.iter().map(|part| part.bytes).sum();
        let (stores, free) = match &name {
            Some(_) => (Stores::Linked, None),
            None => (Stores::Copied, self.free_bytes().await),
        };
        // One that runs takes of what is free: whether this one fits, its end tells.
        self.restores.check_none_running()?;
        check_fits(bytes_total, free)?;
        let id = TopicId::from_bytes(random_bytes()?);
        let bytes_done = Arc::<AtomicU64>::default();
        let restoring = self.core.shared.data_dir.join(RESTORING);
        let number = self.restores.begin(Job {
            topic: request.topic.clone(),
            source: name,
            bytes_total,
            bytes_done: Arc::clone(&bytes_done),
            begun: rt::now(),
            end: None,
        });
        let copying = Copying {
            source,
            origin,
            target: restoring.join(request.topic.as_str()),
            id,
            stores,
            is_damage_kept: request.with_damage,
            bytes_done,
        };
        let kept = file::Topic {
            id,
            name: request.topic,
            created: rt::wall_clock(),
            // What was just saved must not expire before anybody has looked at it.
            settings: file::Settings {
                retention_age_ms: None,
                retention_bytes: None,
                ..kept.settings
            },
            // Who followed the origin follows nothing of this.
            replicas: Vec::new(),
            ..kept
        };
        let core = Rc::clone(&self.core);
        rt::spawn_background(async move { run(core, number, copying, kept).await }).detach();
        Ok(restore_topic::Answer { restore: number })
    }

    /// How far a restore is.
    ///
    /// # Errors
    /// `UnknownRestore`.
    pub(crate) fn restore_status(
        &self,
        request: restore_status::Request,
    ) -> Result<restore_status::Answer, Failure> {
        use restore_status::State;
        let jobs = self.restores.jobs();
        let Some(job) = jobs.get(&request.restore) else {
            let message = format!("there is no restore {}", request.restore);
            return Err(failure(ErrorCode::UnknownRestore, message));
        };
        let answer = restore_status::Answer {
            state: State::Running,
            topic: job.topic.clone(),
            bytes_done: job.bytes_done.load(Ordering::Relaxed),
            bytes_total: job.bytes_total,
            id: None,
            partitions: Vec::new(),
            failure: None,
        };
        Ok(match &job.end {
            None => answer,
            Some(Ok(done)) => restore_status::Answer {
                state: State::Done,
                id: Some(done.id),
                partitions: done.partitions.clone(),
                ..answer
            },
            Some(Err(error)) => restore_status::Answer {
                state: State::Failed,
                failure: Some((**error).clone()),
                ..answer
            },
        })
    }

    /// Where a source lies, and its name if it is one of the node's own.
    fn source_of(&self, source: &str) -> Result<(PathBuf, Option<Name>), Failure> {
        if Path::new(source).is_absolute() {
            return Ok((PathBuf::from(source), None));
        }
        if source.contains('/') {
            let message =
                "a source is a snapshot's name, or an absolute path on the node's machine";
            return Err(invalid_source(message));
        }
        let name = Name::new(source).map_err(|error| invalid_source(with_causes(&error)))?;
        let home = snapshot_dir(&StdDir::new(self.core.shared.data_dir.clone()), &name);
        Ok((PathBuf::from(home.describe()), Some(name)))
    }

    /// Takes a topic that is whole in, in turn with other changes.
    async fn install(&self, kept: file::Topic) -> Result<(), Failure> {
        let _turn = self.turn_of_shape().await;
        self.check_free(&kept.name).await?;
        self.check_count(0, kept.partitions)?;
        let owners = self.load.borrow_mut().place(kept.partitions);
        let topic = Arc::new(Topic::from_file(kept, owners));
        let from = self.core.root.child(RESTORING);
        if let Err(error) = self.take_in(&from, &topic).await {
            self.load.borrow_mut().remove(&topic.owners);
            return Err(error);
        }
        self.put(topic).await;
        Ok(())
    }
}

/// The life of a restore.
async fn run(core: Rc<Core>, number: u64, copying: Copying, kept: file::Topic) {
    let (name, source) = (kept.name.clone(), copying.source.clone());
    let (id, target) = (copying.id, copying.target.clone());
    tracing::info!(topic = %name, source = ?source, "restoring a topic");
    let copied = long(&core, move || copy(&copying)).await;
    let Ok(admin) = core.admin() else { return };
    let done = match copied {
        Ok(partitions) => admin.install(kept).await.map(|()| Done { id, partitions }),
        Err(error) => Err(uncopied(&source, &error)),
    };
    match &done {
        Ok(_) => {
            add(&core.counters.restores_total, 1);
            tracing::info!(topic = %name, id = %id, "restored a topic");
        }
        Err(error) => {
            add(&core.counters.restores_failed_total, 1);
            tracing::error!(topic = %name, error = %error.message, "restored nothing");
            long(&core, move || block_on(StdDir::new(target).remove_tree()))
                .await
                .unwrap_or_else(|error| {
                    let error = with_causes(&error);
                    tracing::warn!(%error, "what is left of it is removed at the next start");
                });
        }
    }
    admin.restores.end(number, done);
}

/// Does `work` on the thread for long work, which has the data directory until that is done, whoever waits for it by then: who
/// starts on the directory removes what it writes, and may restore into the same place.
async fn long<T: Send + 'static>(core: &Core, work: impl FnOnce() -> T + Send + 'static) -> T {
    let lock = core.shared.lock.upgrade();
    let locked = move || {
        let done = work();
        drop(lock);
        done
    };
    rt::long(locked).await
}

/// Verifies and copies every partition.
fn copy(copying: &Copying) -> Result<Vec<restore_status::Partition>, Error> {
    let Copying {
        source,
        origin,
        target,
        id,
        stores,
        is_damage_kept,
        bytes_done,
    } = copying;
    let (source, target) = (StdDir::new(source.clone()), StdDir::new(target.clone()));
    let at = |source: io::Error| Error::Io {
        action: "prepare",
        dir: target.describe(),
        file: String::new(),
        source,
    };
    block_on(target.remove_tree()).map_err(at)?;
    // Not what is above: where the data directory is gone, what was copied would be nobody's.
    if let Some(restoring) = target.path().parent() {
        block_on(StdDir::new(restoring).create()).map_err(at)?;
    }
    block_on(target.create()).map_err(at)?;
    let mut restored = Vec::new();
    for partition in &origin.partitions {
        let from = stored::partition_dir(&source, &origin.name, partition.partition);
        let restore = Restore {
            origin: origin.id,
            partition: *partition,
            topic: *id,
            copy: CopyId::from_bytes(random().map_err(at)?),
            lineage: Lineage::from_bytes(random().map_err(at)?),
            now: rt::clocks().stamp,
            stores: *stores,
            is_damage_kept: *is_damage_kept,
        };
        let before = bytes_done.load(Ordering::Relaxed);
        let mut progress = |bytes: u64| {
            bytes_done.fetch_add(bytes, Ordering::Relaxed);
        };
        let done = beside::block_on(stored::restore(&from, &target, restore, &mut progress))?;
        // What is taken over as it is comes without a word.
        let bytes = done.as_ref().map_or(0, |done| done.bytes);
        bytes_done.store(before.wrapping_add(bytes), Ordering::Relaxed);
        let bounds = |done: Restored| (done.log_start, done.end);
        let (log_start, log_end) = done.map_or((partition.log_start, partition.end), bounds);
        restored.push(restore_status::Partition {
            id: partition.partition,
            log_start,
            log_end,
        });
    }
    Ok(restored)
}

/// Moves what interrupted restores left out of the way, at a start: to remove it may take minutes.
pub(crate) async fn sweep_restores<D: Dir>(root: &D) {
    if let Err(error) = bury_restores(root).await {
        let error = with_causes(&error);
        tracing::warn!(%error, "interrupted restores are removed at the next start");
    }
}
