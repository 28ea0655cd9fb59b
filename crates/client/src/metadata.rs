//! What is known about topics: ids, partitions, and where their owners listen.
//!
//! A hint that is believed until an answer says otherwise: not the owner, another topic id, an
//! unknown partition, a lost connection, or old age each make the next look-up ask the server.

mod topic;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corelog_protocol::error::ErrorBody;
use corelog_protocol::message::metadata;
use corelog_record::{PartitionId, TopicId, TopicName};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use self::topic::Teller;
pub use self::topic::{Partition, Topic};

/// The topics that were asked for, as last heard.
#[derive(Debug)]
pub(crate) struct Cache {
    age_max: Duration,
    server_count: usize,
    topics: Mutex<BTreeMap<TopicName, News>>,
    /// Counts changes, so that users of a topic notice them without looking it up.
    generation: AtomicU64,
    /// Told when a topic is settled, or forgotten.
    settled: Notify,
    /// Held while asking the server, by a task of its own: many who miss the same topic ask once.
    pub(crate) asking: tokio::sync::Mutex<()>,
    /// Likewise, while each of the servers is asked, which takes a while where one does not answer: by topic.
    counting: Mutex<BTreeMap<TopicName, Turn>>,
}

/// Who has it asks, and those behind it find what was told.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// What was heard of a topic, and whether it is still believed.
#[derive(Debug)]
struct News {
    topic: Arc<Topic>,
    heard: Instant,
    /// When it was asked for last.
    used: Instant,
    /// Since when who told it says nothing, and nobody else answers for the topic.
    silent: Option<Instant>,
    is_doubted: bool,
    /// There is none, or it is another now. Who described it is remembered.
    is_forgotten: bool,
    /// What the servers said of it: how many partitions they have of it, or that they cannot read it.
    told: BTreeMap<usize, Result<(), ErrorBody>>,
    /// The task that asks those on that did not say how many: one at most, which ends with these news.
    counting: JoinSet<()>,
    /// Told by who waits for that.
    wanted: Arc<Notify>,
}

impl News {
    /// If nobody holds the topic, nor has asked for it in a long time.
    fn is_left(&self, now: Instant) -> bool {
        Arc::strong_count(&self.topic) == 1 && self.used + LEFT_AFTER <= now
    }

    fn forget(&mut self) {
        self.is_forgotten = true;
        self.counting = JoinSet::new();
    }

    /// If all that there is may be known by what this server said.
    fn is_counted(&self, server: usize) -> bool {
        matches!(self.told.get(&server), Some(Ok(())))
    }

    /// If somebody goes on asking.
    fn is_counted_on(&mut self) -> bool {
        // One may have ended with its runtime.
        while self.counting.try_join_next().is_some() {}
        !self.counting.is_empty()
    }
}

impl Cache {
    /// Nothing yet, of what so many servers tell.
    pub(crate) fn new(age_max: Duration, server_count: usize) -> Self {
        Self {
            age_max,
            server_count,
            topics: Mutex::default(),
            generation: AtomicU64::new(0),
            settled: Notify::new(),
            asking: tokio::sync::Mutex::default(),
            counting: Mutex::default(),
        }
    }

    /// To be held while each of the servers is asked about a topic.
    pub(crate) fn counting(&self, name: &TopicName) -> Turn {
        let mut turns = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| 1 < Arc::strong_count(turn));
        Arc::clone(turns.entry(name.clone()).or_default())
    }

    /// The topic, unless it is not known, doubted, or was heard of too long ago.
    pub(crate) fn fresh(&self, name: &TopicName) -> Option<Arc<Topic>> {
        let mut topics = self.lock();
        let news = topics.get_mut(name)?;
        news.used = Instant::now();
        let is_believed = !news.is_doubted && !news.is_forgotten;
        let is_fresh = is_believed && news.heard.elapsed() < self.age_max;
        is_fresh.then(|| Arc::clone(&news.topic))
    }

    /// The topic, however old the news.
    pub(crate) fn known(&self, name: &TopicName) -> Option<Arc<Topic>> {
        let topics = self.lock();
        let news = topics.get(name).filter(|news| !news.is_forgotten)?;
        Some(Arc::clone(&news.topic))
    }

    /// A number that changes whenever any topic does.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes in what a server said.
    pub(crate) fn learn(&self, topic: metadata::Topic, teller: Teller) -> Arc<Topic> {
        let mut topic = Topic::from_wire(topic, teller);
        topic.is_settled = self.server_count == 1;
        let now = Instant::now();
        let mut topics = self.lock();
        let name = TopicName::clone(&topic.name);
        let former = topics.remove(&name);
        if former.is_none() {
            topics.retain(|_, news| !news.is_left(now));
        }
        let same = former.filter(|news| news.topic.id == topic.id);
        if let Some(news) = &same {
            topic.keep_partitions(&news.topic);
            topic.is_settled |= news.topic.is_settled;
        }
        let topic = Arc::new(topic);
        let (told, counting, wanted) = same
            .map(|news| (news.told, news.counting, news.wanted))
            .unwrap_or_default();
        let news = News {
            topic: Arc::clone(&topic),
            heard: now,
            used: now,
            silent: None,
            is_doubted: false,
            is_forgotten: false,
            told,
            counting,
            wanted,
        };
        topics.insert(name, news);
        // While they are held: who finds these does not take them for what was known before.
        self.generation.fetch_add(1, Ordering::Release);
        topic
    }

    /// Who told of the topic says nothing: for how long by now.
    pub(crate) fn silent_for(&self, name: &TopicName) -> Duration {
        let mut topics = self.lock();
        let news = topics.get_mut(name);
        let since = news.map(|news| *news.silent.get_or_insert_with(Instant::now));
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Notes that somebody has just answered for the topic `id`, if that is the one that is known: it is there, whatever who told
    /// of it says.
    pub(crate) fn heard(&self, name: &TopicName, id: Option<TopicId>) {
        let mut topics = self.lock();
        let news = topics.get_mut(name);
        if let Some(news) = news.filter(|news| id == Some(news.topic.id)) {
            news.silent = None;
        }
    }

    /// Makes the next look-up ask the server; the old news stay for when none answers.
    pub(crate) fn doubt(&self, name: &TopicName) {
        if let Some(news) = self.lock().get_mut(name) {
            news.is_doubted = true;
        }
    }

    /// Notes what a server said of a topic: all that it has of it, which it has said then, or that it cannot read it. When all
    /// have said what they have, that is settled.
    pub(crate) fn note(&self, topic: &Topic, server: usize, told: Result<(), ErrorBody>) {
        let mut topics = self.lock();
        if let Some(news) = same(&mut topics, topic) {
            if told.is_ok() || !news.is_counted(server) {
                news.told.insert(server, told);
            }
            if (0..self.server_count).all(|server| news.is_counted(server)) {
                self.note_settled(news);
            }
        }
    }

    /// The servers that have said what they have of the topic, and those that have not.
    pub(crate) fn counted(&self, name: &TopicName) -> (Vec<usize>, Vec<usize>) {
        let topics = self.lock();
        let news = topics.get(name).filter(|news| !news.is_forgotten);
        let is_counted = |server: &usize| news.is_some_and(|news| news.is_counted(*server));
        (0..self.server_count).partition(is_counted)
    }

    /// What a server said that it cannot read the topic.
    pub(crate) fn damage(&self, name: &TopicName, server: usize) -> Option<ErrorBody> {
        let topics = self.lock();
        topics.get(name)?.told.get(&server)?.clone().err()
    }

    /// Notes that keys go by these partitions, unless more of them were told of since.
    pub(crate) fn settle(&self, topic: &Topic) {
        let mut topics = self.lock();
        let news = same(&mut topics, topic);
        let count = topic.partitions.len();
        if let Some(news) = news.filter(|news| news.topic.partitions.len() == count) {
            self.note_settled(news);
        }
    }

    fn note_settled(&self, news: &mut News) {
        if !news.topic.is_settled {
            Arc::make_mut(&mut news.topic).is_settled = true;
            self.generation.fetch_add(1, Ordering::Release);
            self.settled.notify_waiters();
        }
    }

    /// Resolves once a topic is settled or forgotten behind this call.
    pub(crate) fn settled(&self) -> Notified<'_> {
        self.settled.notified()
    }

    /// If somebody goes on asking them.
    pub(crate) fn is_counted_on(&self, name: &TopicName) -> bool {
        let mut topics = self.lock();
        topics.get_mut(name).is_some_and(News::is_counted_on)
    }

    /// Notes that somebody waits for that.
    pub(crate) fn want(&self, name: &TopicName) {
        self.wanted(name).notify_one();
    }

    /// Told of each who waits for that.
    pub(crate) fn wanted(&self, name: &TopicName) -> Arc<Notify> {
        let topics = self.lock();
        let news = topics.get(name);
        news.map_or_else(Arc::default, |news| Arc::clone(&news.wanted))
    }

    /// Has `task` go on asking them, unless one does, until the topic is forgotten, or another one.
    pub(crate) fn count_on(&self, topic: &Topic, task: impl Future<Output = ()> + Send + 'static) {
        let mut topics = self.lock();
        if let Some(news) = same(&mut topics, topic)
            && !news.is_counted_on()
        {
            news.counting.spawn(task);
        }
    }

    /// Notes that there is no such topic. Who told of it is remembered for as long as it is asked for.
    pub(crate) fn forget(&self, name: &TopicName) {
        if let Some(news) = self.lock().get_mut(name) {
            news.forget();
        }
        self.tell_forgotten();
    }

    /// The same, if what is known is the topic `id`, which is another now; returns who told of it.
    pub(crate) fn forget_former(&self, name: &TopicName, id: Option<TopicId>) -> Option<usize> {
        let mut topics = self.lock();
        let news = topics.get_mut(name);
        let news = news.filter(|news| id == Some(news.topic.id))?;
        news.forget();
        let teller = news.topic.teller.server;
        drop(topics);
        self.tell_forgotten();
        Some(teller)
    }

    fn tell_forgotten(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.settled.notify_waiters();
    }

    /// The server that described a topic last, also if that is forgotten.
    pub(crate) fn teller(&self, name: &TopicName) -> Option<usize> {
        let topics = self.lock();
        topics.get(name).map(|news| news.topic.teller.server)
    }

    /// Notes that a partition of the topic `id`, if that is the one that is known, is served elsewhere, as its former server said.
    pub(crate) fn moved(
        &self,
        name: &TopicName,
        id: Option<TopicId>,
        partition: PartitionId,
        address: &str,
    ) {
        let mut topics = self.lock();
        if let Some(news) = topics
            .get_mut(name)
            .filter(|news| id == Some(news.topic.id))
        {
            let topic = Arc::make_mut(&mut news.topic);
            for known in topic
                .partitions
                .iter_mut()
                .filter(|known| known.id == partition)
            {
                known.address = address.into();
                known.is_elsewhere = true;
            }
        }
        drop(topics);
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicName, News>> {
        // Nothing panics while the map is held.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was heard of this very topic.
fn same<'a>(topics: &'a mut BTreeMap<TopicName, News>, topic: &Topic) -> Option<&'a mut News> {
    let news = topics.get_mut(&*topic.name);
    news.filter(|news| news.topic.id == topic.id)
}

/// What was not asked for in this time has to be asked for anew: a client may meet any number of topics.
const LEFT_AFTER: Duration = Duration::from_secs(300);

#[cfg(test)]
pub(crate) mod tests {
    use corelog_protocol::message::settings::TopicSettings;

    use super::*;

    fn learn(cache: &Cache, name: &TopicName) -> Arc<Topic> {
        let (topic, teller) = told(name, 1, 0);
        cache.learn(topic, teller)
    }

    /// The topic with this id, as one of the servers tells of it.
    pub(crate) fn told(name: &TopicName, id: u8, server: usize) -> (metadata::Topic, Teller) {
        let topic = metadata::Topic {
            name: name.clone(),
            id: TopicId::from_bytes([id; 16]),
            settings: TopicSettings::default(),
            partitions: Vec::new(),
        };
        let shared = "".into();
        (topic, Teller { server, shared })
    }

    /// Has who told of the topic have said nothing for so long.
    pub(crate) fn silence(cache: &Cache, name: &TopicName, time: Duration) {
        let since = Instant::now().checked_sub(time);
        cache.lock().get_mut(name).unwrap().silent = since;
    }

    /// Each topic that a client had ever met was remembered, also where it was deleted long ago.
    #[test]
    fn a_topic_that_nobody_holds_nor_asks_for_is_left_once_another_one_is_met() {
        let cache = Cache::new(Duration::MAX, 1);
        let [held, gone, asked, new] =
            ["held", "gone", "asked", "new"].map(|name| name.parse().unwrap());
        let topic = learn(&cache, &held);
        drop([learn(&cache, &gone), learn(&cache, &asked)]);
        cache.forget(&gone);
        for news in cache.lock().values_mut() {
            news.used -= LEFT_AFTER;
        }
        cache.fresh(&asked).unwrap();
        learn(&cache, &new);
        assert_eq!(cache.teller(&gone), None);
        for known in [&held, &asked, &new] {
            assert!(cache.known(known).is_some(), "{known}");
        }
        drop(topic);
        learn(&cache, &gone);
        assert!(cache.known(&held).is_none());
    }

    /// Whoever told of a topic and was gone for good was believed for ever.
    #[test]
    fn how_long_a_server_says_nothing_counts_from_the_first_time_and_ends_with_its_word() {
        let cache = Cache::new(Duration::MAX, 1);
        let name: TopicName = "t".parse().unwrap();
        learn(&cache, &name);
        cache.silent_for(&name);
        let since = |cache: &Cache| cache.lock().get(&name).unwrap().silent;
        let first = since(&cache).unwrap();
        cache.silent_for(&name);
        assert_eq!(since(&cache), Some(first));
        learn(&cache, &name);
        assert_eq!(since(&cache), None);
    }

    #[test]
    fn how_long_a_server_says_nothing_ends_with_the_word_of_whoever_has_the_same_topic() {
        let (cache, hour) = (Cache::new(Duration::MAX, 1), Duration::from_secs(3600));
        let name: TopicName = "t".parse().unwrap();
        let id = learn(&cache, &name).id;
        silence(&cache, &name, hour);
        for other in [None, Some(TopicId::from_bytes([2; 16]))] {
            cache.heard(&name, other);
            assert!(hour <= cache.silent_for(&name), "{other:?}");
        }
        cache.heard(&name, Some(id));
        assert!(cache.silent_for(&name) < hour);
    }
}
