//! Topics that follow another node's as a whole have its partitions and its settings: on core 0, where
//! their sources are asked now and then.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::limits;
use corelog_protocol::message::metadata;
use corelog_protocol::message::settings::TopicSettings;
use corelog_record::{CoreId, TopicId, TopicName};
use corelog_storage::format::replica::{Replica, Role};

use super::admin::Admin;
use super::room::check_room;
use super::topic::{Topic, partition_count};
use crate::core::{Core, PartitionKey};
use crate::failure::Failure;
use crate::follow::{ASK_TIMEOUT, Line};
use crate::rt::{self, Semaphore};

/// How often a source is asked: as often as a follower that has nothing to fetch.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Topics that one question names: their names fit in a request's head twice.
const NAMES_MAX: usize = 500;

const _: () = assert!(2 * NAMES_MAX * 256 <= limits::REQUEST_HEAD_BYTES_MAX as usize);

/// Topics' sources that are asked at once: one that does not answer holds up those of no other topic,
/// unless so many do not.
const ASKED_MAX: u64 = 16;

/// The looks at the sources of topics that follow as a whole.
struct Looks {
    /// The sources that are being asked, as topics name them: once at a time.
    under_way: RefCell<BTreeSet<Vec<String>>>,
    turns: Semaphore,
    /// Connections to sources, kept from one look to the next.
    lines: RefCell<HashMap<String, Rc<Line>>>,
    /// Why sources did not answer, as it was last told to the operator.
    silent: RefCell<HashMap<String, u16>>,
    /// What could not be had of topics' sources, likewise.
    refused: RefCell<HashMap<TopicId, String>>,
}

type BySources = BTreeMap<Vec<String>, Vec<Arc<Topic>>>;

/// What a source tells of the topics that it was asked for.
#[derive(Default)]
struct Told {
    origins: Vec<metadata::Topic>,
    /// Those of which it tells nothing, and why, if it said.
    untold: Vec<(Arc<Topic>, Option<String>)>,
}

impl Looks {
    fn new() -> Self {
        Self {
            under_way: RefCell::default(),
            turns: Semaphore::new(ASKED_MAX),
            lines: RefCell::default(),
            silent: RefCell::default(),
            refused: RefCell::default(),
        }
    }

    /// Keeps nothing of topics and sources that there are no more.
    fn keep_only(&self, due: &BySources) {
        let sources: HashSet<_> = due.keys().flatten().collect();
        let topics: HashSet<_> = due.values().flatten().map(|topic| topic.id).collect();
        let is_source = |address: &String| sources.contains(address);
        self.lines.borrow_mut().retain(|at, _| is_source(at));
        self.silent.borrow_mut().retain(|at, _| is_source(at));
        let mut refused = self.refused.borrow_mut();
        refused.retain(|id, _| topics.contains(id));
    }

    /// Takes note of whether a source answers, and tells the operator once why it does not.
    fn heard(&self, source: &str, why: Option<&Failure>) {
        let mut silent = self.silent.borrow_mut();
        let Some(why) = why else {
            silent.remove(source);
            return;
        };
        if silent.insert(source.to_owned(), why.code) != Some(why.code) {
            let error = &why.message;
            tracing::warn!(
                source,
                error,
                "a source does not tell what has changed there"
            );
        }
    }

    /// Tells the operator once what cannot be had of a topic's source.
    fn refuse(&self, topic: (&TopicName, TopicId), why: String) {
        let mut refused = self.refused.borrow_mut();
        if refused.get(&topic.1) != Some(&why) {
            let (topic, error) = (topic.0, &why);
            tracing::warn!(%topic, error, "what its source has changed is not changed here");
        }
        refused.insert(topic.1, why);
    }
}

impl Core {
    /// Asks the sources of topics that follow as a whole, again and again, until the node stops: those
    /// of each topic in their order, until one of them tells of it.
    pub(crate) async fn keep_as_sources(self: Rc<Self>) {
        let looks = Rc::new(Looks::new());
        while !self.is_stopping.get() {
            let due = self.copies();
            looks.keep_only(&due);
            for (sources, topics) in due {
                if !looks.under_way.borrow_mut().insert(sources.clone()) {
                    continue;
                }
                let (core, looks) = (Rc::clone(&self), Rc::clone(&looks));
                rt::spawn_background(async move {
                    let turn = looks.turns.acquire(1).await;
                    core.look_at(&looks, &sources, topics).await;
                    drop(turn);
                    looks.under_way.borrow_mut().remove(&sources);
                })
                .detach();
            }
            rt::sleep(ASK_EVERY).await;
        }
    }

    /// The topics that follow as a whole, by their sources.
    fn copies(&self) -> BySources {
        let mut copies = BySources::new();
        let routes = self.routes.borrow();
        for topic in routes.topics().filter(|topic| topic.is_copy()) {
            let same = copies.entry(topic.sources().to_vec()).or_default();
            same.push(Arc::clone(topic));
        }
        copies
    }

    /// Asks sources for topics, and takes over what they tell.
    async fn look_at(self: &Rc<Self>, looks: &Looks, sources: &[String], topics: Vec<Arc<Topic>>) {
        let mut due: Vec<_> = topics.into_iter().map(|topic| (topic, None)).collect();
        for source in sources {
            if due.is_empty() || self.is_stopping.get() {
                return;
            }
            let (passed_over, asked): (Vec<_>, Vec<_>) = due
                .into_iter()
                .partition(|(topic, _)| self.is_passed_over(topic, source));
            let topics = asked.into_iter().map(|(topic, _)| topic).collect();
            let told = self.ask_for(looks, source, topics).await;
            for origin in told.origins {
                self.take_over_from(&origin, looks).await;
            }
            due = told.untold.into_iter().chain(passed_over).collect();
        }
        for (topic, why) in due {
            let id = (&topic.name, topic.id);
            why.into_iter().for_each(|why| looks.refuse(id, why));
        }
    }

    /// If none of a topic's partitions follows a source, and some follow another one: what is in force at the former may be
    /// nobody's, as at one whose place another node took.
    fn is_passed_over(&self, topic: &Topic, source: &str) -> bool {
        let is_followed = |source: &str| {
            let mut partitions = topic.partitions();
            partitions.any(|(partition, _)| {
                let topic = topic.id;
                let key = PartitionKey { topic, partition };
                let followed = self.shared.followed.found(&key, rt::now());
                followed.as_deref() == Some(source)
            })
        };
        !is_followed(source) && topic.sources().iter().any(|other| is_followed(other))
    }

    /// What a source tells of topics.
    async fn ask_for(
        self: &Rc<Self>,
        looks: &Looks,
        source: &str,
        topics: Vec<Arc<Topic>>,
    ) -> Told {
        let mut told = Told::default();
        for topics in topics.chunks(NAMES_MAX) {
            let names = topics.iter().map(|topic| topic.name.clone());
            let ask = metadata::Request {
                topics: Some(names.collect()),
            };
            let answer = self.ask_again(looks, source, &ask).await;
            looks.heard(source, answer.as_ref().err());
            let answer = answer.ok();
            let is_heard = answer.is_some();
            let (mut origins, errors) =
                answer.map_or_else(Default::default, |answer| (answer.topics, answer.errors));
            for topic in topics {
                let is_same = |origin: &metadata::Topic| origin.id == topic.id;
                if let Some(at) = origins.iter().position(is_same) {
                    told.origins.push(origins.swap_remove(at));
                    continue;
                }
                let said = errors.iter().find(|error| error.name == topic.name);
                let other = || format!("the topic of this name is another one at {source}");
                let why = said.map(|said| format!("{source}: {}", said.error.message));
                let why = is_heard.then(|| why.unwrap_or_else(other));
                told.untold.push((Arc::clone(topic), why));
            }
        }
        told
    }

    async fn ask_again(
        &self,
        looks: &Looks,
        source: &str,
        ask: &metadata::Request,
    ) -> Result<metadata::Answer, Failure> {
        let kept = looks.lines.borrow().get(source).cloned();
        let line = match kept.filter(|line| !line.is_closed()) {
            Some(line) => line,
            None => {
                looks.lines.borrow_mut().remove(source);
                let line = self.line_to(source).await?;
                let kept = Rc::clone(&line);
                looks.lines.borrow_mut().insert(source.to_owned(), kept);
                line
            }
        };
        Ok(line.call(ask, ASK_TIMEOUT).await?.head)
    }

    /// Takes over what a source told, and tells the operator once why that cannot be.
    async fn take_over_from(&self, origin: &metadata::Topic, looks: &Looks) {
        let Ok(admin) = self.admin() else { return };
        match admin.become_as(origin).await {
            Ok(()) => drop(looks.refused.borrow_mut().remove(&origin.id)),
            Err(why) => looks.refuse((&origin.name, origin.id), why.message),
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
        let _turn = self.turn_of_shape().await;
        let Some(before) = self.unlike(origin).filter(|_| !self.core.is_stopping.get()) else {
            return Ok(());
        };
        let (here, there) = (before.partition_count(), partition_count(origin));
        let settings = origin.settings.check();
        let room = self.check_count(here, there);
        let mut added = match room {
            Ok(()) => self.load.borrow_mut().place(there - here),
            Err(_) => Vec::new(),
        };
        let wanted = settings
            .as_ref()
            .map_or(&before.settings, |()| &origin.settings);
        let (topic, fits) = grown_as(&before, wanted, &added);
        if fits.is_err() {
            self.load.borrow_mut().remove(&mem::take(&mut added));
        }
        if topic != *before {
            let partitions = topic.partition_count();
            if let Err(why) = self.write_and_put(Some(&before), topic).await {
                self.load.borrow_mut().remove(&added);
                return Err(why);
            }
            tracing::info!(topic = %before.name, partitions, "became as its source has become");
        }
        settings.and(room).and(fits)
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

/// A topic that follows as a whole, with the settings of its source, and with the partitions that came there on the cores that are
/// `added`; without those, and why, if there is no room for them in its file.
pub(super) fn grown_as(
    before: &Topic,
    settings: &TopicSettings,
    added: &[CoreId],
) -> (Topic, Result<(), Failure>) {
    let same = Topic {
        settings: settings.clone(),
        ..before.clone()
    };
    let grown = same.grown(added, |partition| Replica {
        role: Role::Follower,
        sources: before.sources().to_vec(),
        rate: before.replicas.values().find_map(|replica| replica.rate),
        ..Replica::owner(partition)
    });
    match check_room(Some(before), &grown) {
        Ok(()) => (grown, Ok(())),
        Err(why) => (same, Err(why)),
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::error::ErrorCode;

    use super::*;
    use crate::core::tests::topic_of;
    use crate::failure::failure;

    fn id(number: u32) -> TopicId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_le_bytes());
        TopicId::from_bytes(id)
    }

    /// Each topic that was refused was looked for among all others, every two seconds: thousands of them kept the core from all
    /// else for as long. This took minutes.
    #[test]
    fn what_was_refused_is_kept_as_long_as_its_topic_however_many_there_are() {
        let looks = Looks::new();
        let count = 40_000;
        let topic = |number| Topic {
            id: id(number),
            ..topic_of("t", 0, 0)
        };
        let topics = (0..count).map(|number| Arc::new(topic(number)));
        let due = BySources::from([(vec!["a:1".to_owned()], topics.collect())]);
        let refused = (0..2 * count).map(|number| (id(number), String::new()));
        looks.refused.borrow_mut().extend(refused);
        looks.heard("a:1", Some(&failure(ErrorCode::Busy, "")));
        looks.heard("b:1", Some(&failure(ErrorCode::Busy, "")));
        let begun = rt::now();
        looks.keep_only(&due);
        assert!(begun.elapsed() < Duration::from_secs(10));
        let refused = looks.refused.borrow();
        assert_eq!(refused.len(), count as usize);
        assert!((0..count).all(|number| refused.contains_key(&id(number))));
        let silent = looks.silent.borrow();
        assert_eq!(Vec::from_iter(silent.keys()), ["a:1"]);
    }
}
