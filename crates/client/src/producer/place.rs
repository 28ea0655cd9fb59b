//! Where a record or a batch goes: its partition, and the queue of that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corelog_record::batch::Rules;
use corelog_record::{PartitionId, TopicId, TopicName};
use tokio::time::Instant;

use super::lane::ATTEMPT_MIN;
use super::partitioner::Partitioner;
use super::queue::Queue;
use super::{Inner, State, Target};
use crate::Error;
use crate::metadata::Topic;
use crate::retry::Deadline;

/// What a place is looked for: a record's, or a batch's.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) topic: &'a TopicName,
    pub(super) partition: Option<PartitionId>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) bytes: usize,
    /// What it takes of the producer's memory.
    pub(super) memory_bytes: u32,
    /// Since when: what was asked for since is not old.
    pub(super) begun: Instant,
}

impl Wanted<'_> {
    /// If its key says where it goes.
    pub(super) const fn goes_by_key(&self) -> bool {
        self.partition.is_none() && self.key.is_some()
    }

    /// If any partition will do.
    pub(super) const fn goes_anywhere(&self) -> bool {
        self.partition.is_none() && self.key.is_none()
    }
}

/// Where it goes.
pub(super) struct Place {
    pub(super) queue: Arc<Queue>,
    pub(super) topic_id: TopicId,
    pub(super) rules: Rules,
}

impl Inner {
    /// Where those wait whose records have no key.
    pub(super) fn keyless_line(&self, topic: &TopicName) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let state = self.lock();
        let target = state.topics.get(topic);
        target.map(|target| Arc::clone(&target.keyless))
    }

    /// Where something goes, by what is known; `None` if that has to be asked for first.
    pub(super) fn place(&self, wanted: Wanted<'_>) -> Option<Place> {
        let name = wanted.topic;
        let mut state = self.lock();
        let target = state.topics.get_mut(name)?;
        let generation = self.client.metadata.generation();
        if target.generation != generation {
            // Forgotten: whoever sends now was told, or may be, that the old topic is gone. Doubted news still do: the lanes ask,
            // and nobody has to wait here meanwhile. They are no older than these, which somebody may have held for long.
            target.topic = self.client.metadata.known(name)?;
            target.generation = generation;
        }
        let age = wanted.begun.saturating_duration_since(target.asked);
        let is_old = self.client.config.metadata_age_max < age;
        if is_old || (wanted.goes_by_key() && !target.topic.is_settled) {
            return None;
        }
        self.choose(&mut state, wanted).ok()
    }

    /// Chooses among a known topic's partitions, and begins the way there.
    ///
    /// # Errors
    /// [`Error::NoSuchPartition`], also where the topic has none.
    fn choose(&self, state: &mut State, wanted: Wanted<'_>) -> Result<Place, Error> {
        let State { topics, lanes, .. } = state;
        let target = topics.get_mut(wanted.topic).ok_or(Error::NoServer)?;
        let mut queue = self.queue(target, wanted)?;
        if wanted.goes_anywhere() {
            // Past those that would have it wait, unless all would.
            for _ in 1..target.topic.partition_count() {
                if queue.origin.held.is_open(wanted.memory_bytes as usize) {
                    break;
                }
                target.partitioner.move_on();
                queue = self.queue(target, wanted)?;
            }
        }
        if !queue.has_lane() {
            self.begin_lane(&queue, lanes);
        }
        Ok(Place {
            queue,
            topic_id: target.topic.id,
            rules: target.rules,
        })
    }

    /// The queue of the partition that is wanted, or of the one that is next.
    ///
    /// # Errors
    /// [`Error::NoSuchPartition`], also where the topic has none.
    fn queue(&self, target: &mut Target, wanted: Wanted<'_>) -> Result<Arc<Queue>, Error> {
        let count = target.topic.partition_count();
        let partition = match wanted.partition {
            None if count > 0 => {
                let chosen = target.partitioner.choose(wanted.key, wanted.bytes, count);
                match wanted.key {
                    Some(_) => PartitionId::new(chosen),
                    // Any that there is, where some are told of by nobody.
                    None => target.topic.partitions[chosen as usize].id,
                }
            }
            partition => partition.unwrap_or_default(),
        };
        target.topic.partition(partition)?;
        if let Some(queue) = target.queues.get(&partition) {
            return Ok(Arc::clone(queue));
        }
        let queue = Arc::new(self.new_queue(&target.topic, partition, target.run));
        target.queues.insert(partition, Arc::clone(&queue));
        Ok(queue)
    }

    /// How long a key waits until it is known where it goes.
    pub(super) fn patience(&self) -> Duration {
        self.config.delivery_timeout.max(ATTEMPT_MIN)
    }

    /// Asks for the topic, in which there is a place then. What goes by its key has so much time for that.
    pub(super) async fn ask(&self, wanted: Wanted<'_>, mut time: Duration) -> Result<(), Error> {
        let name = wanted.topic;
        let deadline = Deadline::within(time);
        let mut missing = Error::NoServer;
        for _ in 0..ASK_COUNT_MAX {
            // Before the topic: what changes from here on is news.
            let generation = self.client.metadata.generation();
            let topic = match wanted.goes_by_key() {
                true => self.client.topic_for_keys(name, time).await?,
                false => {
                    let deadline = self.client.deadline();
                    self.client.topic_to_count(name, deadline).await?
                }
            };
            let rules = self.rules(name).await?;
            let mut state = self.lock();
            // Lanes end when nothing is sent, and leave something behind.
            while state.lanes.try_join_next().is_some() {}
            self.learn(&mut state, topic, rules, generation);
            match self.choose(&mut state, wanted) {
                Ok(_) => return Ok(()),
                // It may have been added since; a topic without partitions is none yet.
                Err(error) => missing = error,
            }
            drop(state);
            self.client.metadata.doubt(name);
            time = deadline.left();
        }
        Err(missing)
    }

    fn learn(&self, state: &mut State, topic: Arc<Topic>, rules: Rules, generation: u64) {
        let asked = Instant::now();
        match state.topics.get_mut(&*topic.name) {
            Some(target) => {
                target.topic = topic;
                target.rules = rules;
                target.generation = generation;
                target.asked = asked;
            }
            None => {
                state.let_go(self.client.config.metadata_age_max);
                let seed = fastrand::u32(..);
                let partitioner = Partitioner::new(seed, self.config.batch_bytes_max);
                let name = TopicName::clone(&topic.name);
                let queues = BTreeMap::new();
                let target = Target {
                    topic,
                    rules,
                    generation,
                    asked,
                    partitioner,
                    queues,
                    run: state.run,
                    keyless: Arc::default(),
                };
                state.topics.insert(name, target);
            }
        }
    }

    /// What the server's limits say of records and batches, or said of the topic's while no server answers.
    async fn rules(&self, name: &TopicName) -> Result<Rules, Error> {
        let server = match self.client.any_server().await {
            Ok(server) => server,
            Err(error) => {
                let state = self.lock();
                let known = state.topics.get(name).map(|target| target.rules);
                return known.ok_or(error);
            }
        };
        let limits = &server.hello().limits;
        Ok(Rules {
            record_bytes_max: limits.record_bytes_max as usize,
            batch_bytes_max: limits.batch_bytes_max as usize,
            ..Rules::default()
        })
    }
}

impl State {
    /// Lets go of the topics that would have to be asked for anew, and of which nothing is under way.
    fn let_go(&mut self, age_max: Duration) {
        let run = &mut self.run;
        self.topics.retain(|_, target| {
            let is_old = age_max < target.asked.elapsed();
            let is_left = is_old
                && Arc::strong_count(&target.keyless) == 1
                && target.queues.values().all(Queue::is_left);
            if is_left {
                let runs = target.queues.values().map(|queue| queue.run());
                *run = runs.fold(*run, u32::max);
            }
            !is_left
        });
    }
}

/// What is known may be old; what was asked for a moment ago is not.
const ASK_COUNT_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use corelog_protocol::message::settings::TopicSettings;

    use super::super::queue::tests::queue;
    use super::*;
    use crate::metadata::Teller;

    fn target(queue: &Arc<Queue>) -> Target {
        let topic = Topic {
            name: Arc::clone(&queue.origin.topic),
            id: TopicId::from_bytes([0; 16]),
            settings: TopicSettings::default(),
            partitions: Vec::new(),
            teller: Teller {
                server: 0,
                shared: "".into(),
            },
            is_settled: true,
        };
        Target {
            topic: Arc::new(topic),
            rules: Rules::default(),
            generation: 0,
            asked: Instant::now(),
            partitioner: Partitioner::new(0, 0),
            queues: BTreeMap::from([(queue.origin.partition, Arc::clone(queue))]),
            run: 0,
            keyless: Arc::default(),
        }
    }

    /// Each topic that a producer had ever sent to was remembered, and flushed, also where it was deleted long ago.
    #[test]
    fn a_topic_of_which_nothing_is_under_way_is_let_go_of_once_it_has_to_be_asked_for_anew() {
        let (mut state, queue) = (State::default(), queue());
        let name = TopicName::clone(&queue.origin.topic);
        state.topics.insert(name, target(&queue));
        let run = queue.open();
        let mut is_kept = |age_max| {
            state.let_go(age_max);
            (state.topics.len() == 1, state.run)
        };
        assert_eq!(is_kept(Duration::ZERO), (true, 0), "it has a lane");
        assert!(queue.end(run + 3));
        assert_eq!(is_kept(Duration::ZERO), (true, 0), "somebody sends");
        drop(queue);
        assert_eq!(is_kept(Duration::MAX), (true, 0), "it is known");
        assert_eq!(is_kept(Duration::ZERO), (false, run + 3));
    }
}
