//! Which restores go on, and what came of those that ended.

use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::restore_status;
use corelog_record::{Timestamp, TopicId, TopicName};
use corelog_storage::snapshot::Name;

use crate::failure::{Failure, failure};
use crate::rt::{self, Permit, Semaphore};

/// Restores that have ended and are still told of.
const ENDED_MAX: usize = 64;

/// The restores since the node was started.
pub(in crate::catalog) struct Restores {
    last: Cell<u64>,
    jobs: RefCell<BTreeMap<u64, Job>>,
    /// One look at a directory that is not the node's own.
    looks: Semaphore,
    /// Which that is, or was last.
    looked_at: RefCell<String>,
}

impl Restores {
    /// Those of a start whose clock said `now`: no number is one of an earlier start's, whose asker may ask for it yet.
    pub(in crate::catalog) fn since(now: Timestamp) -> Self {
        Self {
            last: Cell::new(now.millis().unsigned_abs()),
            jobs: RefCell::default(),
            looks: Semaphore::new(1),
            looked_at: RefCell::default(),
        }
    }
}

/// One restore.
pub(super) struct Job {
    pub(super) topic: TopicName,
    /// The node's own snapshot that it reads.
    pub(super) source: Option<Name>,
    pub(super) bytes_total: u64,
    /// Written by the thread that copies.
    pub(super) bytes_done: Arc<AtomicU64>,
    pub(super) begun: Instant,
    pub(super) end: Option<Result<Done, Failure>>,
}

/// What came of it.
#[derive(Clone)]
pub(super) struct Done {
    pub(super) id: TopicId,
    pub(super) partitions: Vec<restore_status::Partition>,
}

impl Restores {
    /// True while a topic is being restored from this snapshot.
    pub(in crate::catalog) fn is_using(&self, name: &Name) -> bool {
        let jobs = self.jobs.borrow();
        let mut running = jobs.values().filter(|job| job.end.is_none());
        running.any(|job| job.source.as_ref() == Some(name))
    }

    /// The right to look at a directory that is not the node's own.
    ///
    /// # Errors
    /// `Busy` while somebody looks at one, which is named: it may never answer.
    pub(super) fn look(&self, dir: &str) -> Result<Permit, Failure> {
        let Some(look) = self.looks.try_acquire(1) else {
            let message = format!(
                "another restore looks at {}, which has not answered yet; if it is gone for good, restart the server",
                self.looked_at.borrow()
            );
            return Err(failure(ErrorCode::Busy, message));
        };
        dir.clone_into(&mut self.looked_at.borrow_mut());
        Ok(look)
    }

    /// # Errors
    /// `Busy` while a topic is being restored, which is named: its source may never answer.
    pub(super) fn check_none_running(&self) -> Result<(), Failure> {
        let jobs = self.jobs.borrow();
        let Some((number, job)) = jobs.iter().find(|(_, job)| job.end.is_none()) else {
            return Ok(());
        };
        let (topic, total) = (&job.topic, job.bytes_total);
        let done = job.bytes_done.load(Ordering::Relaxed);
        let seconds = rt::now().saturating_duration_since(job.begun).as_secs();
        let message = format!(
            "topic {topic} is being restored (restore {number}, {done} of {total} bytes in {seconds} s); if what it is \
             restored from is gone for good, restart the server"
        );
        Err(failure(ErrorCode::Busy, message))
    }

    /// All of them that are told of, by their numbers.
    pub(super) fn jobs(&self) -> Ref<'_, BTreeMap<u64, Job>> {
        self.jobs.borrow()
    }

    pub(super) fn begin(&self, job: Job) -> u64 {
        let number = self.last.get() + 1;
        self.last.set(number);
        let mut jobs = self.jobs.borrow_mut();
        while jobs.len() >= ENDED_MAX
            && let Some(oldest) = jobs.iter().find(|(_, job)| job.end.is_some())
        {
            let oldest = *oldest.0;
            jobs.remove(&oldest);
        }
        jobs.insert(number, job);
        number
    }

    pub(super) fn end(&self, number: u64, end: Result<Done, Failure>) {
        if let Some(job) = self.jobs.borrow_mut().get_mut(&number) {
            job.end = Some(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that did not answer any more was in the way of all later restores, and nobody was told of which, or what
    /// to do.
    #[test]
    fn who_has_to_wait_is_told_for_which_restore() {
        let restores = Restores::since(Timestamp::from_millis(7));
        let number = restores.begin(Job {
            topic: TopicName::new("slow").unwrap(),
            source: None,
            bytes_total: 1_000,
            bytes_done: Arc::new(AtomicU64::new(400)),
            begun: rt::now(),
            end: None,
        });
        let refused = restores.check_none_running().unwrap_err();
        assert!(refused.is(ErrorCode::Busy));
        let told = "topic slow is being restored (restore 8, 400 of 1000 bytes in ";
        assert!(refused.message.starts_with(told), "{refused:?}");
        restores.end(number, Err(failure(ErrorCode::Damaged, "gone")));
        restores.check_none_running().unwrap();
        let look = restores.look("/mnt/a").unwrap();
        let refused = restores.look("/mnt/b").unwrap_err();
        assert!(refused.message.contains("/mnt/a"), "{refused:?}");
        drop(look);
        restores.look("/mnt/b").unwrap();
    }
}
