//! The consumer: from a place in the log to a stream of records.
//!
//! ```text
//! connection ── fetcher (a task per partition, reads ahead) ── reading ── next()
//!                 │ bounded: fetches ahead × bytes               │
//!                 └ starts, long polls, retries, detours         └ verifies, decodes, slices
//! ```
//!
//! Lives here: finding the start, reading ahead, verifying, decoding. Never here: groups, commits
//! of offsets (a caller keeps what [`Progress::resume`] says where it likes), guesses about damaged bytes.
//!
//! The laws: within a partition records come in the order of the log, none left out, none twice;
//! no byte of a batch is looked at before its checksum held; an error ends its partition and says
//! where; offsets may jump, and control batches are stepped over. A log that has lost what was read of it is an error.

mod config;
mod fetcher;
mod group;
mod inbox;
mod news;
mod order;
mod reading;
mod received;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corelog_record::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

pub use config::{ConsumerConfig, End, Start};
pub use received::{Headers, Received, ReceivedBatch};

use self::fetcher::Fetcher;
use self::group::Group;
use self::inbox::Inbox;
use self::news::{Around, Event, News};
use self::reading::{Cursor, Reading};
use crate::Error;
use crate::client::{Inner, Tenant};

/// Reads partitions, ahead of its caller and within bounded memory.
///
/// Records of different partitions come in no particular order. Dropped, it stops reading.
#[derive(Debug)]
pub struct Consumer {
    client: Arc<Inner>,
    config: ConsumerConfig,
    /// By number; a replaced assignment's late news find nobody. They are dropped before the groups: their readers ask for no more
    /// connections then.
    assignments: BTreeMap<u64, Assignment>,
    next_assignment: u64,
    /// Partitions take turns in groups on connections of their own.
    groups: Vec<Group>,
    /// Assignments that have not ended.
    reading_count: Arc<AtomicUsize>,
    inbox: Inbox,
    /// What is being handed out, and of which assignment.
    current: Option<(u64, Reading)>,
}

/// How something is taken off a fetch.
type Next<T> = fn(&mut Reading, &mut Cursor) -> Result<Option<T>, Error>;

/// How far reading a partition has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The topic that is read: one that has its name later is another.
    pub topic: TopicId,
    /// The offset to go on from: behind the last record handed out, or behind what was skipped.
    pub next: Offset,
    /// The leader epoch of the batch that lies before `next`, where that is known.
    pub epoch: Option<LeaderEpoch>,
    /// The oldest readable offset, as last heard.
    pub log_start: Offset,
    /// The end of what is readable, as last heard.
    pub high_watermark: Offset,
    /// Nothing more will come: the end was reached, or an error was reported.
    pub is_ended: bool,
}

impl Progress {
    /// Where to go on the next time. Who keeps the offset alone is not told if another topic, or another log, took the place
    /// of the one that was read: the topic's id and the epoch are held against it.
    #[must_use]
    pub const fn resume(&self) -> Start {
        Start::Resumed {
            topic: self.topic,
            offset: self.next,
            epoch: self.epoch,
        }
    }
}

#[derive(Debug)]
struct Assignment {
    topic: Arc<TopicName>,
    partition: PartitionId,
    place: Option<(Cursor, Around)>,
    /// The topic that is read, once there is a place.
    topic_id: Option<TopicId>,
    is_ended: bool,
    /// Its group, among the consumer's.
    group: usize,
    task: AbortHandle,
}

impl Drop for Assignment {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Consumer {
    pub(crate) fn new(client: Arc<Inner>, config: ConsumerConfig) -> Self {
        Self {
            client,
            config,
            assignments: BTreeMap::new(),
            next_assignment: 0,
            groups: Vec::new(),
            reading_count: Arc::new(AtomicUsize::new(0)),
            inbox: Inbox::new(),
            current: None,
        }
    }

    /// Begins to read a partition, replacing what was assigned of it before. Errors, an unknown
    /// topic among them, come out of [`Consumer::next`].
    ///
    /// Where [`Start::Latest`] is, the server is asked after this has returned, as it is about all other places: what is
    /// written meanwhile may lie before it. [`Consumer::progress`] says once it is found. Who is to miss nothing from some
    /// moment on asks for it with [`Admin::list_offsets`](crate::Admin::list_offsets), waits for the answer, and begins
    /// with its offset, behind its epoch if it tells one.
    ///
    /// Partitions that the topic gets later are not read by themselves:
    /// [`Client::topic_anew`](crate::Client::topic_anew) tells of them, and each is to be assigned, from
    /// [`Start::Earliest`] to miss nothing; one that was there before may be told late, as long as
    /// [`Client::untold`](crate::Client::untold) names a server.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn assign(&mut self, topic: &TopicName, partition: PartitionId, start: Start, end: End) {
        // First: without one this panics, and nothing is to have changed then.
        let runtime = Handle::current();
        self.unassign(topic, partition);
        let assignment = self.next_assignment;
        self.next_assignment += 1;
        self.reading_count.fetch_add(1, Ordering::Relaxed);
        let topic = Arc::new(topic.clone());
        let group = self.group();
        let fetcher = Fetcher {
            client: Arc::clone(&self.client),
            config: self.config,
            user: self.groups[group].tenant.user,
            claim: self.groups[group].claim(),
            assignment,
            topic: Arc::clone(&topic),
            partition,
            start,
            end,
            share_count: Arc::clone(&self.reading_count),
            events: self.inbox.sender(),
            is_done: false,
        };
        let task = runtime.spawn(fetcher.run()).abort_handle();
        let (place, topic_id, is_ended) = (None, None, false);
        let begun = Assignment {
            topic,
            partition,
            place,
            topic_id,
            is_ended,
            group,
            task,
        };
        self.assignments.insert(assignment, begun);
    }

    /// Stops reading a partition; what was fetched of it and not handed out is dropped.
    pub fn unassign(&mut self, topic: &TopicName, partition: PartitionId) {
        let Some(assignment) = self.find(topic, partition) else {
            return;
        };
        self.end(assignment);
        self.assignments.remove(&assignment);
        let left = &self.assignments;
        self.inbox
            .retain(|assignment| left.contains_key(&assignment));
    }

    /// How far reading a partition has come; `None` before its start was found, which of a log that was read before takes a
    /// fetch that the server can answer, or says it is behind, or if it is not assigned.
    #[must_use]
    pub fn progress(&self, topic: &TopicName, partition: PartitionId) -> Option<Progress> {
        let assignment = &self.assignments[&self.find(topic, partition)?];
        let (cursor, around) = assignment.place?;
        Some(Progress {
            topic: assignment.topic_id?,
            next: cursor.next,
            epoch: cursor.epoch,
            log_start: around.log_start,
            high_watermark: around.high_watermark,
            is_ended: assignment.is_ended,
        })
    }

    /// The next record of any assigned partition; `None` once all have reached their ends (or
    /// none is assigned). An error ends its partition, not the others.
    ///
    /// Cancel-safe: dropped before it returns, it took nothing.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Damaged`], [`Error::Unread`], [`Error::Diverged`], [`Error::NoSuchPartition`],
    /// [`Error::Refused`], why a server could not be reached for longer than configured, or [`Error::Closed`] where the task
    /// that reads the partition has ended, with the runtime in which it was assigned or in a panic.
    pub async fn next(&mut self) -> Option<Result<Received, Error>> {
        self.take(Reading::next).await
    }

    /// The same by whole batches, which costs far less for each record: what is left of the batch
    /// that is being handed out, or the next one.
    ///
    /// Cancel-safe: dropped before it returns, it took nothing.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub async fn next_batch(&mut self) -> Option<Result<ReceivedBatch, Error>> {
        self.take(Reading::next_batch).await
    }

    /// Takes something off what was fetched, waiting for a fetch where nothing is left.
    async fn take<T>(&mut self, next: Next<T>) -> Option<Result<T, Error>> {
        loop {
            match self.take_ready(next) {
                Ok(Some(taken)) => return Some(Ok(taken)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
            if self.reading_count.load(Ordering::Relaxed) == 0 {
                return None;
            }
            let event = self.inbox.next().await?;
            if let Err(error) = self.take_in(event) {
                return Some(Err(error));
            }
        }
    }

    /// Takes something off the fetch that is being handed out.
    fn take_ready<T>(&mut self, next: Next<T>) -> Result<Option<T>, Error> {
        let Some((assignment, reading)) = &mut self.current else {
            return Ok(None);
        };
        let assignment = *assignment;
        let place = self
            .assignments
            .get_mut(&assignment)
            .and_then(|found| found.place.as_mut());
        let Some((cursor, _)) = place else {
            self.current = None;
            return Ok(None);
        };
        match next(reading, cursor) {
            Ok(Some(taken)) => Ok(Some(taken)),
            Ok(None) => {
                self.current = None;
                Ok(None)
            }
            Err(error) => {
                self.current = None;
                self.end(assignment);
                Err(error)
            }
        }
    }

    fn take_in(&mut self, event: Event) -> Result<(), Error> {
        let Event { assignment, news } = event;
        let Some(found) = self.assignments.get_mut(&assignment) else {
            return Ok(());
        };
        if found.is_ended {
            return Ok(());
        }
        match news {
            News::Begun { begin, around } => {
                let cursor = Cursor {
                    next: begin.offset,
                    end: begin.end,
                    since: begin.since,
                    epoch: begin.epoch,
                };
                (found.place, found.topic_id) = (Some((cursor, around)), begin.topic);
            }
            News::Fetched {
                batches,
                around,
                room,
            } => {
                if let Some((_, known)) = &mut found.place {
                    *known = around;
                }
                let origin = (Arc::clone(&found.topic), found.partition);
                let bytes_max = self.config.decompressed_bytes_max;
                self.current = Some((assignment, Reading::new(origin, batches, bytes_max, room)));
            }
            News::Ended => self.end(assignment),
            News::Failed(error) => {
                self.end(assignment);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends an assignment once.
    fn end(&mut self, assignment: u64) {
        let Some(found) = self.assignments.get_mut(&assignment) else {
            return;
        };
        if !found.is_ended {
            found.is_ended = true;
            found.task.abort();
            self.reading_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn find(&self, topic: &TopicName, partition: PartitionId) -> Option<u64> {
        let mut all = self.assignments.iter();
        let is_it = |one: &Assignment| *one.topic == *topic && one.partition == partition;
        all.find(|(_, one)| is_it(one)).map(|(number, _)| *number)
    }

    /// The group of the next assignment: the first that has room, or a new one.
    fn group(&mut self) -> usize {
        let mut counts = vec![0; self.groups.len()];
        for one in self.assignments.values().filter(|one| !one.is_ended) {
            counts[one.group] += 1;
        }
        let mut groups = self.groups.iter_mut().zip(&counts);
        if let Some(free) = groups.position(|(group, count)| group.has_room(*count)) {
            return free;
        }
        let new = Group::new(Tenant::new(&self.client));
        match counts.iter().position(|count| *count == 0) {
            // The server learns by the end of its connections that nobody waits for these polls.
            Some(left) => {
                self.groups[left] = new;
                left
            }
            None => {
                self.groups.push(new);
                counts.len()
            }
        }
    }
}
