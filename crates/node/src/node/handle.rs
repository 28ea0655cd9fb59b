//! What a node tells of itself to any thread: counters at once, everything else by message.

use std::path::Path;
use std::time::Duration;

use corelog_record::{CoreId, NodeId};
use corelog_storage::disk::block_on;
use corelog_storage::disk::std::StdDir;
use corelog_storage::quarantine;
use flume::{Sender, TrySendError};

use super::control::Control;
use super::{Addresses, Handle, StartReport};
use crate::catalog;
use crate::error::AskError;
use crate::metrics::{
    ConnectionSnapshot, CoreSnapshot, PartitionSnapshot, PulseSnapshot, QuarantineShare,
    ReplicaSnapshot, SlowAcks, TopicSnapshot, WatchSnapshot, shares,
};
use crate::sys::probe::{self, Space};
use crate::{rt, sys};

/// What is asked of cores works under any runtime; the caller bounds the wait.
impl Handle {
    /// The node's identity.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.inner.id
    }

    /// Where the node listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.inner.addresses
    }

    /// The directory that holds everything the node keeps.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.inner.data_dir
    }

    /// What the start found.
    #[must_use]
    pub fn report(&self) -> StartReport {
        self.inner.report
    }

    /// Changes how many bytes the scrub reads in a second, over all cores; 0: none but what is
    /// asked for. Holds from the next second on.
    pub fn set_scrub_rate(&self, bytes: u64) {
        self.inner.rates.scrub.set(bytes);
    }

    /// Changes how many bytes of segments are sent in a second, over all peers; 0: as many as they
    /// take. Holds from the next second on.
    pub fn set_transfer_rate(&self, bytes: u64) {
        self.inner.rates.transfer.set(bytes);
    }

    /// Each core's counters, core 0 first. Never waits.
    #[must_use]
    pub fn counters(&self) -> Vec<CoreSnapshot> {
        self.inner
            .counters
            .iter()
            .map(|counters| counters.snapshot())
            .collect()
    }

    /// What the watchdog knows of each core, core 0 first. Never waits.
    #[must_use]
    pub fn watched(&self) -> Vec<WatchSnapshot> {
        let now = rt::now();
        let watched = self.inner.vitals.iter().map(|vitals| WatchSnapshot {
            stuck: vitals.stalled_total(),
            slow_work: vitals.slow_total(),
            oldest_work: vitals.oldest(now).map_or(Duration::ZERO, |(_, age)| age),
        });
        watched.collect()
    }

    /// What the quarantine holds, by reason. Lists a directory, so it blocks for a moment.
    ///
    /// # Errors
    /// As the disk says.
    pub fn quarantine(&self) -> Result<Vec<QuarantineShare>, corelog_storage::Error> {
        let dir = catalog::quarantine_dir(&StdDir::new(self.inner.data_dir.clone()));
        // Without a bound nothing is removed.
        let (usage, _) = block_on(quarantine::trim(&dir, u64::MAX))?;
        Ok(shares(&usage))
    }

    /// The room on the disk under the data directory. Asks the kernel, which may wait for a disk.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn space(&self) -> Result<Space, sys::Error> {
        probe::space(&self.inner.data_dir)
    }

    /// How each core's loop goes, core 0 first.
    ///
    /// # Errors
    /// `AskError::Busy` if a core's mailbox is full, `AskError::Stopping` if the node stops.
    pub async fn pulses(&self) -> Result<Vec<PulseSnapshot>, AskError> {
        self.ask_all(|reply| Control::Pulse { reply }).await
    }

    /// How each core's loop goes, core 0 first, as each of them answers: one that does not keeps none of the others back.
    pub fn each_pulse(&self) -> Vec<impl Future<Output = Result<PulseSnapshot, AskError>>> {
        self.ask_each(|reply| Control::Pulse { reply })
    }

    /// Each core's partitions, core 0 first, as each of them answers.
    pub fn each_partitions(
        &self,
    ) -> Vec<impl Future<Output = Result<Vec<PartitionSnapshot>, AskError>>> {
        self.ask_each(|reply| Control::Partitions { reply })
    }

    /// Every partition's state, by topic and number.
    ///
    /// # Errors
    /// `AskError::Busy` if a core's mailbox is full, `AskError::Stopping` if the node stops.
    pub async fn partitions(&self) -> Result<Vec<PartitionSnapshot>, AskError> {
        let told = self.ask_all(|reply| Control::Partitions { reply }).await?;
        let mut partitions = told.concat();
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(partitions)
    }

    /// The slowest durable acknowledgements of the last hour.
    ///
    /// # Errors
    /// `AskError::Busy` if a core's mailbox is full, `AskError::Stopping` if the node stops.
    pub async fn slowest(&self) -> Result<SlowAcks, AskError> {
        let told = self.ask_all(|reply| Control::Slowest { reply }).await?;
        let mut slowest = SlowAcks::default();
        for core in told {
            slowest.kept.extend(core.kept);
            slowest.others_max = slowest.others_max.max(core.others_max);
        }
        slowest
            .kept
            .sort_by_key(|slow| std::cmp::Reverse(slow.total()));
        Ok(slowest)
    }

    /// The partitions that are copies, are copied, or changed hands, by topic and number.
    ///
    /// # Errors
    /// `AskError::Busy` if a core's mailbox is full, `AskError::Stopping` if the node stops.
    pub async fn replicas(&self) -> Result<Vec<ReplicaSnapshot>, AskError> {
        let told = self.ask_all(|reply| Control::Replicas { reply }).await?;
        let mut replicas = told.concat();
        replicas.sort_by(|a, b| (&a.topic, a.status.id).cmp(&(&b.topic, b.status.id)));
        Ok(replicas)
    }

    /// Every open client connection, by core and age.
    ///
    /// # Errors
    /// `AskError::Busy` if a core's mailbox is full, `AskError::Stopping` if the node stops.
    pub async fn connections(&self) -> Result<Vec<ConnectionSnapshot>, AskError> {
        let told = self.ask_all(|reply| Control::Connections { reply }).await?;
        Ok(told.concat())
    }

    /// Every topic, by name, as core 0 knows them.
    ///
    /// # Errors
    /// `AskError::Busy` if its mailbox is full, `AskError::Stopping` if the node stops.
    pub async fn topics(&self) -> Result<Vec<TopicSnapshot>, AskError> {
        let (reply, answer) = flume::bounded(1);
        let told = Control::Topics { reply };
        let first = self.inner.controls.first().ok_or(AskError::Stopping)?;
        tell(CoreId::new(0), first, told)?;
        answer
            .recv_async()
            .await
            .map_err(|_gone| AskError::Stopping)
    }

    /// Asks every core the same; their answers, core 0 first.
    async fn ask_all<T>(
        &self,
        question: impl Fn(Sender<T>) -> Control,
    ) -> Result<Vec<T>, AskError> {
        let mut told = Vec::with_capacity(self.inner.controls.len());
        for answer in self.ask_each(question) {
            told.push(answer.await?);
        }
        Ok(told)
    }

    /// Asks every core the same, at once; the answers to come, core 0 first.
    fn ask_each<T>(
        &self,
        question: impl Fn(Sender<T>) -> Control,
    ) -> Vec<impl Future<Output = Result<T, AskError>>> {
        let mut answers = Vec::with_capacity(self.inner.controls.len());
        for (core, control) in (0..).map(CoreId::new).zip(&self.inner.controls) {
            let (reply, answer) = flume::bounded(1);
            let told = tell(core, control, question(reply));
            answers.push(async move {
                told?;
                let answer = answer.recv_async().await;
                answer.map_err(|_gone| AskError::Stopping)
            });
        }
        answers
    }
}

fn tell(core: CoreId, control: &Sender<Control>, told: Control) -> Result<(), AskError> {
    control.try_send(told).map_err(|error| match error {
        TrySendError::Full(_) => AskError::Busy { core },
        TrySendError::Disconnected(_) => AskError::Stopping,
    })
}
