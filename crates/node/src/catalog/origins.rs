//! Topics that follow another node's as a whole have its partitions and its settings: on core 0, where
//! their sources are asked now and then.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::limits;
use corelog_protocol::message::metadata;
use corelog_record::TopicId;
use corelog_storage::format::replica::{Replica, Role};

use super::admin::Admin;
use super::topic::{Topic, check_settings, partition_count};
use crate::core::Core;
use crate::failure::Failure;
use crate::follow::ASK_TIMEOUT;
use crate::rt;

/// How often a source is asked: as often as a follower that has nothing to fetch.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Topics that one question names: their names fit in a request's head twice.
const NAMES_MAX: usize = 500;

const _: () = assert!(2 * NAMES_MAX * 256 <= limits::REQUEST_HEAD_BYTES_MAX as usize);

/// What could not be taken over of a topic's source, as it was last told to the operator.
type Refused = HashMap<TopicId, String>;

impl Core {
    /// Asks the sources of topics that follow as a whole, again and again, until the node stops.
    pub(crate) async fn keep_as_sources(self: Rc<Self>) {
        let mut refused = Refused::new();
        while !self.is_stopping.get() {
            self.ask_sources(&mut refused).await;
            rt::sleep(ASK_EVERY).await;
        }
    }

    /// Asks each topic's sources in their order until one of them tells of it; one question goes to all
    /// those whose turn it is at the same time, however many topics they are asked for.
    async fn ask_sources(self: &Rc<Self>, refused: &mut Refused) {
        let mut due: Vec<_> = self.routes.borrow().topics().cloned().collect();
        due.retain(|topic| topic.is_copy());
        refused.retain(|id, _| due.iter().any(|topic| topic.id == *id));
        for turn in 0..limits::SOURCE_COUNT_MAX as usize {
            let mut by_source: BTreeMap<String, Vec<Arc<Topic>>> = BTreeMap::new();
            for topic in due.drain(..) {
                if let Some(source) = topic.sources().get(turn) {
                    by_source.entry(source.clone()).or_default().push(topic);
                }
            }
            let asked = by_source.into_iter().map(|(source, topics)| {
                let core = Rc::clone(self);
                rt::spawn_background(async move { core.ask_for(&source, topics).await })
            });
            for asked in asked.collect::<Vec<_>>() {
                let (told, untold) = asked.await;
                due.extend(untold);
                for origin in told {
                    self.take_over_from(&origin, refused).await;
                }
            }
        }
    }

    /// What a source tells of topics, and those of which it tells nothing.
    async fn ask_for(
        self: &Rc<Self>,
        source: &str,
        topics: Vec<Arc<Topic>>,
    ) -> (Vec<metadata::Topic>, Vec<Arc<Topic>>) {
        let (mut told, mut untold) = (Vec::new(), Vec::new());
        for topics in topics.chunks(NAMES_MAX) {
            let names = topics.iter().map(|topic| topic.name.clone());
            let ask = metadata::Request {
                topics: Some(names.collect()),
            };
            let answer = match self.line_to(source).await {
                Ok(line) => line.call(&ask, ASK_TIMEOUT).await.ok(),
                Err(_) => None,
            };
            let mut origins = answer.map_or(Vec::new(), |answer| answer.head.topics);
            for topic in topics {
                let is_same = |origin: &metadata::Topic| origin.id == topic.id;
                match origins.iter().position(is_same) {
                    Some(at) => told.push(origins.swap_remove(at)),
                    None => untold.push(Arc::clone(topic)),
                }
            }
        }
        (told, untold)
    }

    /// Takes over what a source told, and tells the operator once why that cannot be.
    async fn take_over_from(&self, origin: &metadata::Topic, refused: &mut Refused) {
        let Ok(admin) = self.admin() else { return };
        match admin.become_as(origin).await {
            Ok(()) => drop(refused.remove(&origin.id)),
            Err(why) => {
                if refused.get(&origin.id) != Some(&why.message) {
                    let (topic, error) = (&origin.name, &why.message);
                    tracing::warn!(%topic, error, "what its source has changed is not changed here");
                    refused.insert(origin.id, why.message);
                }
            }
        }
    }
}

impl Admin {
    /// Gives a topic that follows as a whole the settings of its source, and the partitions that came
    /// there, which follow as the others do.
    ///
    /// # Errors
    /// Why not all of it can be had here; the rest is.
    async fn become_as(&self, origin: &metadata::Topic) -> Result<(), Failure> {
        if self.unlike(origin).is_none() {
            return Ok(());
        }
        let _turn = self.turn.acquire(1).await;
        let Some(before) = self.unlike(origin).filter(|_| !self.core.is_stopping.get()) else {
            return Ok(());
        };
        let (here, there) = (before.partition_count(), partition_count(origin));
        let settings = check_settings(&origin.settings);
        let room = self.check_count(here, there);
        let added = match room {
            Ok(()) => self.load.borrow_mut().place(there - here),
            Err(_) => Vec::new(),
        };
        let mut topic = before.grown(&added, |partition| Replica {
            role: Role::Follower,
            sources: before.sources().to_vec(),
            rate: before.replicas.values().find_map(|replica| replica.rate),
            ..Replica::owner(partition)
        });
        if settings.is_ok() {
            topic.settings = origin.settings.clone();
        }
        if topic != *before {
            let partitions = topic.partition_count();
            if let Err(why) = self.write_and_put(topic).await {
                self.load.borrow_mut().remove(&added);
                return Err(why);
            }
            tracing::info!(topic = %before.name, partitions, "became as its source has become");
        }
        settings.and(room)
    }

    /// The topic here, if it follows as a whole and is not as its source. One that has more partitions
    /// than that is ahead of a copy.
    fn unlike(&self, origin: &metadata::Topic) -> Option<Arc<Topic>> {
        let routes = self.core.routes.borrow();
        let topic = routes.topic_of(&origin.name, origin.id).ok()?;
        let (here, there) = (topic.partition_count(), partition_count(origin));
        (topic.is_copy() && here <= there && !topic.is_as(origin)).then(|| Arc::clone(topic))
    }
}
