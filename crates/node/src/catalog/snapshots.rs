//! The node's snapshots: taking, listing and deleting them, on core 0, in turn with all other
//! changes of the catalog.
//!
//! ```text
//! <data>/snapshots/<name>/    see `corelog_storage::snapshot`; its summary gets its name last
//! ```

mod listing;

use std::ops::ControlFlow;
use std::sync::Arc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::limits;
use corelog_protocol::message::{create_snapshot, delete_snapshot, list_snapshots};
use corelog_record::{CoreId, TopicName};
use corelog_storage::Error;
use corelog_storage::disk::Dir;
use corelog_storage::format::node::SNAPSHOTS;
use corelog_storage::format::topic as file;
use corelog_storage::snapshot::{self as stored, Entry, Name, Summary};

use self::listing::{list, told};
use super::admin::{Admin, Change, failed};
use super::files;
use super::last::LastSnapshots;
use super::topic::Topic;
use crate::core::{Taken, with_causes};
use crate::failure::{Amount, Failure, disk_failure, failure, failure_with, invalid};
use crate::metrics::add;
use crate::{router, rt};

/// Where snapshots live.
pub(crate) fn snapshots_dir<D: Dir>(root: &D) -> D {
    root.child(SNAPSHOTS)
}

/// Where one snapshot lives.
pub(crate) fn snapshot_dir<D: Dir>(root: &D, name: &Name) -> D {
    snapshots_dir(root).child(name.as_str())
}

/// Reads what the snapshots hold, at a start; unfinished ones go. What cannot be read holds
/// nothing back, so that retention waits for the next snapshot.
pub(crate) async fn load_snapshots<D: Dir>(root: &D) -> LastSnapshots {
    let dir = snapshots_dir(root);
    match stored::sweep_unfinished(&dir).await {
        Ok(swept) => {
            for name in swept {
                tracing::warn!(snapshot = %name, "an unfinished snapshot was removed");
            }
        }
        Err(error) => {
            let error = with_causes(&error);
            tracing::warn!(%error, "unfinished snapshots are removed at the next start");
        }
    }
    last_snapshots(&dir).await
}

async fn last_snapshots<D: Dir>(dir: &D) -> LastSnapshots {
    let mut last = LastSnapshots::default();
    let see = |entry: Entry| {
        match entry.summary {
            Ok(summary) => last.add(&summary, rt::wall_clock()),
            Err(error) => {
                let (name, error) = (entry.name, with_causes(&error));
                tracing::error!(snapshot = %name, %error, "a snapshot cannot be read");
            }
        }
        ControlFlow::Continue(())
    };
    if let Err(error) = stored::list(dir, None, see).await {
        let error = with_causes(&error);
        tracing::error!(%error, "snapshots cannot be listed: retention holds back all it may");
    }
    last
}

impl Admin {
    /// Takes a snapshot.
    ///
    /// # Errors
    /// What the client is told; there is no such snapshot then, unless the outcome is unknown.
    pub(crate) async fn create_snapshot(
        &self,
        request: create_snapshot::Request,
    ) -> Result<create_snapshot::Answer, Failure> {
        let name = name_of("snapshot", &request.snapshot)?;
        self.check_named(&request.topics)?;
        let _shape = self.shape.acquire(1).await;
        let topics = self.topics_of(&request)?;
        if request.topics.is_empty()
            && let Err(error) = self.check_all_known().await
        {
            self.tell_failed(&name, &error);
            return Err(error);
        }
        let looked = match stored::find(&snapshots_dir(&self.core.root), &name).await {
            Err(Error::NoSnapshot { .. }) => self.check_room().await,
            Ok(_) | Err(Error::Format { .. }) => {
                let message = format!("there is a snapshot {name} already");
                return Err(failure(ErrorCode::SnapshotExists, message));
            }
            Err(error) => Err(refused(name.as_str(), &error)),
        };
        if let Err(error) = looked {
            // Nothing was made, and what is there is nobody's to clear away.
            self.tell_failed(&name, &error);
            return Err(error);
        }
        let made = self.make(&name, &topics).await;
        match &made {
            Ok(summary) => {
                add(&self.core.counters.snapshots_total, 1);
                let bytes: u64 = partitions_of(summary).map(|part| part.bytes).sum();
                let topics = summary.topics.len();
                tracing::info!(snapshot = %name, topics, bytes, "took a snapshot");
            }
            Err(error) => {
                self.tell_failed(&name, error);
                if let Err(error) = clear(&snapshots_dir(&self.core.root), &name).await {
                    let error = with_causes(&error);
                    tracing::warn!(snapshot = %name, %error, "what is left of it was not removed");
                }
            }
        }
        let made = made?;
        let last = self.core.last_snapshots().with(&made);
        self.keep_snapshots(last).await;
        let taken = told(&made, true);
        Ok(create_snapshot::Answer { taken })
    }

    /// Which snapshots there are.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) async fn list_snapshots(
        &self,
        request: list_snapshots::Request,
    ) -> Result<list_snapshots::Answer, Failure> {
        let after = request.after.as_deref();
        let after = after.map(|after| name_of("after", after)).transpose()?;
        // One at a time: what each reads and tells is large.
        let _turn = self.listing.acquire(1).await;
        let Some(name) = &request.snapshot else {
            let listed = list(&snapshots_dir(&self.core.root), after.as_ref()).await;
            return listed.map_err(|error| refused("all", &error));
        };
        let summary =
            stored::find(&snapshots_dir(&self.core.root), &name_of("snapshot", name)?).await;
        let summary = summary.map_err(|error| refused(name, &error))?;
        Ok(list_snapshots::Answer {
            snapshots: vec![told(&summary, true)],
            ..list_snapshots::Answer::default()
        })
    }

    /// Deletes a snapshot.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) async fn delete_snapshot(
        &self,
        request: delete_snapshot::Request,
    ) -> Result<delete_snapshot::Answer, Failure> {
        let name = name_of("snapshot", &request.snapshot)?;
        let _shape = self.shape.acquire(1).await;
        if self.restores.is_using(&name) {
            let message = format!("a topic is being restored from snapshot {name}");
            return Err(failure(ErrorCode::Busy, message));
        }
        let root = snapshots_dir(&self.core.root);
        // One that cannot be read may go, but not in another's place. Of none there may be files left.
        if let Some(created) = request.created {
            match stored::find(&root, &name).await {
                Ok(found) if found.created != created => {
                    let message = format!("snapshot {name} was taken at another time");
                    return Err(failure(ErrorCode::UnknownSnapshot, message));
                }
                Ok(_) | Err(Error::NoSnapshot { .. }) => {}
                Err(error) => return Err(refused(name.as_str(), &error)),
            }
        }
        let removed = stored::remove(&root, &name).await;
        // Whatever came of it: what is still there holds back what it holds.
        if self.core.last_snapshots().depends_on(name.as_str()) {
            self.keep_snapshots(last_snapshots(&root).await).await;
        }
        removed.map_err(|error| refused(name.as_str(), &error))?;
        tracing::info!(snapshot = %name, "deleted a snapshot");
        Ok(delete_snapshot::Answer {})
    }

    /// Checks that no more topics are named than there can be: all of them wait for their turn.
    fn check_named(&self, topics: &[TopicName]) -> Result<(), Failure> {
        let named = Amount {
            found: topics.len() as u64,
            limit: self.core.shared.limits.partitions_max as u64,
        };
        named.check("topics", "topics")
    }

    /// Checks that a snapshot of all topics would hold all of them.
    async fn check_all_known(&self) -> Result<(), Failure> {
        let is_known = |name: &TopicName| self.core.routes.borrow().named(name).is_some();
        let unknown = files::unknown(&self.core.root, is_known).await;
        match unknown.map_err(|error| failed(&error))? {
            None => Ok(()),
            Some(name) => {
                self.ledger.check_certain(&name)?;
                let message = format!(
                    "topic {name} could not be read when the server was started: put its files right, or take a \
                     snapshot of the others by their names, with `corelog snapshot create --topic`"
                );
                Err(failure(ErrorCode::Damaged, message))
            }
        }
    }

    /// The topics that a snapshot is to hold, by name.
    fn topics_of(&self, request: &create_snapshot::Request) -> Result<Vec<Arc<Topic>>, Failure> {
        let routes = self.core.routes.borrow();
        if request.topics.is_empty() {
            return Ok(routes.topics().cloned().collect());
        }
        let mut names: Vec<_> = request.topics.iter().collect();
        names.sort();
        names.dedup();
        let topics = names.into_iter().map(|name| routes.topic(name).cloned());
        topics.collect()
    }

    /// Has every core take its part, then makes the whole a snapshot.
    async fn make(&self, name: &Name, topics: &[Arc<Topic>]) -> Result<Summary, Failure> {
        let core = &self.core;
        let dir = snapshot_dir(&core.root, name);
        let created = rt::wall_clock();
        let created_all = snapshots_dir(&core.root).create().await;
        created_all.map_err(|error| disk_failure(&error, with_causes(&error)))?;
        let begun = stored::begin(&dir).await;
        begun.map_err(|error| refused(name.as_str(), &error))?;
        let others = (0..core.shared.core_count).map(CoreId::new);
        let tasks: Vec<_> = others
            .map(|at| {
                let (core, name, topics) = (core.clone(), name.clone(), topics.to_vec());
                rt::spawn(async move { router::take_at(&core, at, name, topics).await })
            })
            .collect();
        let mut taken = Vec::new();
        let mut first_error = None;
        for task in tasks {
            match task.await {
                Ok(parts) => taken.extend(parts),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        if let Some(error) = first_error {
            return Err(error);
        }
        let summary = Summary {
            name: name.clone(),
            created,
            topics: stored_topics(topics, taken).await?,
        };
        let committed = stored::commit(&dir, &summary).await;
        committed.map_err(|error| refused(name.as_str(), &error))?;
        Ok(summary)
    }

    fn tell_failed(&self, name: &Name, error: &Failure) {
        add(&self.core.counters.snapshots_failed_total, 1);
        tracing::error!(snapshot = %name, error = %error.message, "took no snapshot");
    }

    /// One more snapshot must not be too many.
    async fn check_room(&self) -> Result<(), Failure> {
        let count = stored::count(&snapshots_dir(&self.core.root)).await;
        let count = count.map_err(|error| refused("all", &error))?;
        if count < limits::SNAPSHOT_COUNT_MAX as usize {
            return Ok(());
        }
        let message = format!("the node keeps {count} snapshots: delete one before taking another");
        let detail = Detail {
            limit: Some(limits::SNAPSHOT_COUNT_MAX.into()),
            ..Detail::default()
        };
        Err(failure_with(ErrorCode::TooManySnapshots, message, detail))
    }

    /// Tells every core where the last snapshots of its partitions end.
    async fn keep_snapshots(&self, last: LastSnapshots) {
        self.broadcast(Change::Snapshots(Arc::new(last))).await;
    }
}

/// Removes what a snapshot that failed left. Its summary may be there, if only its sync failed: it
/// goes first, so that nothing is ever listed that lacks files.
async fn clear<D: Dir>(root: &D, name: &Name) -> Result<(), Error> {
    match stored::remove(root, name).await {
        Err(Error::NoSnapshot { .. }) => Ok(()),
        other => other,
    }
}

/// What a snapshot holds of topics, of whose partitions these were `taken`. A node may have thousands of both: each topic looks at
/// its own alone, and others have the core between any two.
async fn stored_topics(
    topics: &[Arc<Topic>],
    mut taken: Vec<Taken>,
) -> Result<Vec<stored::Topic>, Failure> {
    taken.sort_unstable_by_key(|(key, _)| *key);
    let mut stored = Vec::with_capacity(topics.len());
    for topic in topics {
        let first = taken.partition_point(|(key, _)| key.topic < topic.id);
        let behind = taken.partition_point(|(key, _)| key.topic <= topic.id);
        stored.push(stored_topic(topic, &taken[first..behind])?);
        rt::yield_if_needed().await;
    }
    Ok(stored)
}

/// What it holds of one, of which these partitions were `taken`, by number.
fn stored_topic(topic: &Topic, taken: &[Taken]) -> Result<stored::Topic, Failure> {
    let alone = file::Topic {
        // Who follows it, or whom it follows, says nothing of what is in the snapshot.
        replicas: Vec::new(),
        ..topic.to_file()
    };
    let settings = alone.encode();
    Ok(stored::Topic {
        name: topic.name.clone(),
        id: topic.id,
        settings: settings.map_err(|e| failure(ErrorCode::Internal, e.to_string()))?,
        partitions: taken.iter().map(|(_, partition)| *partition).collect(),
    })
}

fn partitions_of(summary: &Summary) -> impl Iterator<Item = &stored::Partition> {
    summary.topics.iter().flat_map(|topic| &topic.partitions)
}

/// A name that a client gave in `field`.
fn name_of(field: &str, name: &str) -> Result<Name, Failure> {
    Name::new(name).map_err(|error| invalid(field, with_causes(&error)))
}

/// What a client is told of an error of the storage about a snapshot.
pub(super) fn refused(name: &str, error: &Error) -> Failure {
    let code = match error {
        Error::NoSnapshot { .. } => {
            let message = format!("there is no snapshot {name}");
            return failure(ErrorCode::UnknownSnapshot, message);
        }
        Error::StorageFull { .. } => ErrorCode::StorageFull,
        Error::OutOfFiles { .. } => ErrorCode::Busy,
        Error::Io { .. } => ErrorCode::Internal,
        // All else says that bytes are not what they were.
        _ => ErrorCode::Damaged,
    };
    failure(code, with_causes(error))
}

#[cfg(test)]
mod tests;
