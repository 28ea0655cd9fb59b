//! Those who follow a load, on a thread of their own, as they would be a program of their own. One thread that produces
//! and follows wants most of a processor, and a node's core on the same one the rest of it: each stall went on for as
//! long as that took to catch up.

use std::time::{Duration, Instant};

use corelog_client::Consumer;
use corelog_record::PartitionId;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::follow::follow;
use super::latencies::Latencies;
use super::open_loop::{Load, Schedule};
use super::payload::{Check, Looked, Place};
use crate::exit::{Exit, stop};
use crate::{cli, session};

/// What reached them, and whether that was all.
pub(super) struct Followed {
    pub(super) deliveries: Deliveries,
    pub(super) outcome: anyhow::Result<()>,
}

/// What reached them.
pub(super) struct Deliveries {
    /// From when a batch was due.
    pub(super) latencies: Latencies,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// When the last one was there.
    pub(super) ended: Instant,
}

/// Nothing more is sent.
pub(super) enum Over {
    /// All was acknowledged: what is left has to come soon.
    Acked,
    /// Not all was: what was not delivered by now is not waited for.
    Failed,
}

/// A consumer of all partitions of a load, until all of it was delivered.
pub(super) struct Followers {
    schedule: Option<oneshot::Sender<Schedule>>,
    over: Option<oneshot::Sender<Over>>,
    thread: JoinHandle<anyhow::Result<Followed>>,
}

impl Followers {
    /// Waits at the end of each partition. What is due for so long is not counted.
    ///
    /// # Errors
    /// As the client says.
    pub(super) async fn begin(
        load: &Load,
        options: &cli::Client,
        warm_up: Duration,
    ) -> anyhow::Result<Self> {
        let (schedule, when) = oneshot::channel();
        let (over, is_over) = oneshot::channel();
        let (ready, begun) = oneshot::channel();
        let (load, options) = (load.clone(), options.clone());
        let run = async move || {
            let client = session::connect(&options, options.server.clone()).await?;
            let (topic, patience) = (&load.topic, options.timeout());
            let consumer = follow(&client, topic, load.partitions, patience).await?;
            // Nobody waits for them any more if this fails, or that is told.
            let _ = ready.send(());
            let schedule = when.await?;
            let following = Following {
                load,
                consumer,
                schedule,
                warm: schedule.due(0) + warm_up,
                patience,
            };
            following.run(is_over).await
        };
        let thread = spawn_blocking(move || session::on_this_thread(run));
        if begun.await.is_err() {
            let ended = || stop(Exit::Failed, "the followers ended");
            return Err(thread.await?.err().unwrap_or_else(ended));
        }
        Ok(Self {
            schedule: Some(schedule),
            over: Some(over),
            thread,
        })
    }

    /// Tells them when each batch is due.
    pub(super) fn tell_schedule(&mut self, schedule: Schedule) {
        if let Some(sender) = self.schedule.take() {
            // Why nobody listens is told at the end.
            let _ = sender.send(schedule);
        }
    }

    /// Tells them that nothing more is sent.
    pub(super) fn over(&mut self, how: Over) {
        if let Some(sender) = self.over.take() {
            // Whoever has all of it already has ended.
            let _ = sender.send(how);
        }
    }

    /// What reached them, once that is all, or no more will. Its outcome is what the client says, or exit code 3 where
    /// records are missing or not what was sent. Cancel-safe.
    ///
    /// # Errors
    /// If nothing can be told of them.
    pub(super) async fn ended(&mut self) -> anyhow::Result<Followed> {
        (&mut self.thread).await?
    }
}

/// The same on its thread.
struct Following {
    load: Load,
    consumer: Consumer,
    schedule: Schedule,
    warm: Instant,
    /// How long to wait for the next record once all were acknowledged.
    patience: Duration,
}

impl Following {
    async fn run(mut self, over: oneshot::Receiver<Over>) -> anyhow::Result<Followed> {
        let mut deliveries = Deliveries {
            latencies: Latencies::new()?,
            records: 0,
            bytes: 0,
            ended: Instant::now(),
        };
        let outcome = self.take_all(over, &mut deliveries).await;
        Ok(Followed {
            deliveries,
            outcome,
        })
    }

    async fn take_all(
        &mut self,
        mut over: oneshot::Receiver<Over>,
        deliveries: &mut Deliveries,
    ) -> anyhow::Result<()> {
        let mut checks: Vec<_> = Place::all(&self.load.topic, self.load.partitions)
            .map(Check::whole)
            .collect();
        let mut left = self.load.batch_count() * u64::from(self.load.batch_records);
        let mut is_acked = false;
        while left > 0 {
            tokio::select! {
                batch = self.consumer.next_batch() => {
                    let Some(batch) = batch else {
                        let message = format!("reading ended {left} records before the end");
                        return Err(stop(Exit::Damage, message));
                    };
                    let batch = batch?;
                    let check = &mut checks[batch.partition.get() as usize];
                    let looked = check.look_at(&batch)?;
                    left = left.saturating_sub(looked.records);
                    self.note(batch.partition, &looked, deliveries);
                }
                how = &mut over, if !is_acked => match how {
                    Ok(Over::Acked) => is_acked = true,
                    // Why is told by who failed.
                    Ok(Over::Failed) | Err(_) => return Ok(()),
                },
                () = tokio::time::sleep(self.patience), if is_acked => {
                    let message = format!(
                        "{left} records that were acknowledged have not been delivered for {:?}",
                        self.patience
                    );
                    return Err(stop(Exit::Damage, message));
                }
            }
        }
        Ok(())
    }

    fn note(&self, partition: PartitionId, looked: &Looked, deliveries: &mut Deliveries) {
        let due = self.due_of(partition, looked.last);
        if due < self.warm {
            return;
        }
        deliveries.ended = Instant::now();
        deliveries.latencies.add(deliveries.ended - due);
        deliveries.records += looked.records;
        deliveries.bytes += looked.bytes;
    }

    /// When the batch was due whose last value is the one of that number in its partition.
    fn due_of(&self, partition: PartitionId, last: u64) -> Instant {
        let turns = last / u64::from(self.load.batch_records);
        let batch = turns * u64::from(self.load.partitions) + u64::from(partition.get());
        self.schedule.due(batch)
    }
}
