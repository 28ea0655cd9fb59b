//! The task that reads one partition ahead of the caller. Where it begins is found out in [`begin`], where it goes is in [`way`],
//! what ends it in [`failure`].

mod begin;
mod failure;
mod way;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use corelog_protocol::error::ErrorCode;
use corelog_protocol::limits;
use corelog_protocol::message::{Call, fetch};
use corelog_record::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use self::failure::is_behind;
use self::way::Way;
use super::news::{Around, Event, News};
use super::order::{self, Asked};
use super::trouble::Trouble;
use super::{ConsumerConfig, End, Start};
use crate::Error;
use crate::client::{Inner, Route, Tenant, topic_changed};
use crate::connection::{Claim, Key, Reply, User};
use crate::retry::Deadline;

pub(super) struct Fetcher {
    pub(super) client: Arc<Inner>,
    pub(super) config: ConsumerConfig,
    pub(super) user: User,
    pub(super) claim: Claim,
    pub(super) assignment: u64,
    pub(super) topic: Arc<TopicName>,
    pub(super) partition: PartitionId,
    pub(super) start: Start,
    pub(super) end: End,
    /// How many partitions share the consumer's memory.
    pub(super) share_count: Arc<AtomicUsize>,
    pub(super) events: mpsc::UnboundedSender<Event>,
    /// Its last news are told.
    pub(super) is_done: bool,
}

impl Fetcher {
    /// Reads until the end, a failure, or the consumer's end.
    pub(super) async fn run(mut self) {
        let news = match self.read().await {
            Ok(()) => News::Ended,
            Err(error) => News::Failed(error),
        };
        self.tell(news);
        self.is_done = true;
    }

    async fn read(&self) -> Result<(), Error> {
        let mut way = Way {
            topic_id: self.start.topic(),
            ..Way::default()
        };
        let mut begin = self.begin(&mut way).await?;
        let rooms = Arc::new(Semaphore::new(match self.config.prefetch_bytes_max {
            0 => 1,
            _ => FETCHES_AHEAD,
        }));
        // Where the answer before ended, and the epoch of what lies before that.
        let (mut answered, mut last_epoch): (Option<Offset>, _) = (None, begin.epoch);
        let mut floor = Offset::ZERO;
        let (mut outrun, mut has_read) = (Trouble::default(), false);
        loop {
            let offset = answered.unwrap_or(begin.offset);
            // A log that may not be the one that was read is asked also where nothing is left to be read.
            let is_to_be_asked = answered.is_none() && self.goes_on();
            if begin.end.is_some_and(|end| end <= offset) && !is_to_be_asked {
                return Ok(());
            }
            let Ok(room) = Arc::clone(&rooms).acquire_owned().await else {
                return Ok(());
            };
            let asked_at = Instant::now();
            let Reply { head, body } = match self.fetch(&mut way, offset, last_epoch).await {
                Ok(reply) => reply,
                Err(error) => {
                    // Another server may have had nothing yet of what this one began later with.
                    let is_begun = has_read || (answered.is_some() && !way.is_known_elsewhere());
                    if !is_begun
                        && let Some(around) = self.left_by_retention(&error)
                        && self.pause(&mut outrun, Duration::ZERO).await
                    {
                        (answered, begin.offset) = (None, around.log_start);
                        self.tell(News::Begun { begin, around });
                        continue;
                    }
                    // That it is no other log, the epoch told: it has not all yet that another server gave. Without one no
                    // record is at stake, and who knew of the place is asked again.
                    if (last_epoch.is_some() || way.is_known_elsewhere())
                        && is_behind(&error)
                        && self.pause(&mut way.missing, Duration::ZERO).await
                    {
                        self.turn_away(&mut way);
                        if answered.is_none() && self.goes_on() {
                            // Nor does it know where there is nothing more to be read.
                            begin = self.begin(&mut way).await?;
                        }
                        continue;
                    }
                    return Err(error);
                }
            };
            let asked = Asked {
                offset,
                floor,
                epoch: last_epoch,
            };
            let checked = order::check(&body, asked, head.next).map_err(|source| {
                Error::damaged(&self.topic, self.partition, (offset, None), source)
            })?;
            if checked.is_parted {
                return Err(self.diverged(offset, head.log_start));
            }
            self.tell_begun(&mut way);
            (answered, last_epoch) = (Some(head.next), checked.epoch);
            let (log_start, high_watermark) = (head.log_start, head.high_watermark);
            // Nothing is read where too little is there to be worth an answer: the offset may lie within a batch. The high
            // watermark does not.
            if !body.is_empty() || high_watermark <= head.next {
                floor = head.next;
            }
            if body.is_empty()
                && let Some(end) = begin.end.filter(|end| offset < *end)
            {
                // What was readable is not: it may come back, unless another log took the place of this one.
                if !self.pause(&mut way.missing, Duration::ZERO).await {
                    return Err(self.out_of_range(end, log_start, high_watermark));
                }
                self.turn_away(&mut way);
                continue;
            }
            (outrun, way.missing) = (Trouble::default(), Trouble::default());
            has_read |= !body.is_empty();
            let around = Around {
                log_start,
                high_watermark,
            };
            let is_empty = body.is_empty();
            self.tell(News::Fetched {
                batches: body,
                around,
                room,
            });
            if is_empty && self.end == End::Follow {
                self.look_around(&mut way);
                // A server that does not wait is not to be asked all the time.
                sleep_until(asked_at + self.config.wait.min(EMPTY_EVERY)).await;
            }
        }
    }

    async fn fetch(
        &self,
        way: &mut Way,
        offset: Offset,
        last_epoch: Option<LeaderEpoch>,
    ) -> Result<Reply<fetch::Answer>, Error> {
        let wait = match self.end {
            End::Follow if way.begun.is_none() => self.config.wait,
            // Whether it is the log that was read is told at once.
            End::Follow | End::HighWatermark | End::Offset(_) => Duration::ZERO,
        };
        let wait = wait.min(Duration::from_millis(limits::FETCH_WAIT_MS_MAX.into()));
        let request = |id, wait: Duration| fetch::Request {
            topic: (*self.topic).clone(),
            id,
            partition: self.partition,
            offset,
            max_bytes: self.share(),
            min_bytes: self.config.wait_bytes_min,
            max_wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            last_epoch,
            follower: None,
        };
        let answered = self.ask(way, wait, request).await;
        answered.map_err(|error| self.explain(offset, error))
    }

    /// Asks the partition's server for what it may wait with so long, again as long as that may help.
    async fn ask<R: Call>(
        &self,
        way: &mut Way,
        wait: Duration,
        request: impl Fn(TopicId, Duration) -> R,
    ) -> Result<Reply<R::Answer>, Error> {
        loop {
            // In trouble it is to be told soon that there is none any more.
            let wait = match way.failing.is_met() {
                true => wait.min(EMPTY_EVERY),
                false => wait,
            };
            way.failing.may_begin(wait);
            let deadline = self.deadline(&way.failing);
            let attempt = async {
                let route = self.route(way, deadline).await?;
                let request = request(route.topic.id, wait);
                let (connection, time) = (&route.connection, deadline.left() + wait);
                let room = connection.room::<R>(0, time).await?.held_by(&self.claim);
                let ticket = connection.enter(&request, &Bytes::new(), room, time)?;
                ticket.answer_as_it_comes::<R>().await
            };
            let error = match attempt.await {
                Ok(reply) => {
                    way.answered(&self.client, &self.topic);
                    return Ok(reply);
                }
                Err(error) => error,
            };
            let (asked, partition) = (way.topic_id, self.partition);
            let is_wrong = self.client.heed(&self.topic, asked, partition, &error);
            if let Error::TimedOut { is_sent, .. } = error
                && way.is_open()
            {
                way.part(Tenant::new(&self.client), is_sent);
            }
            // Who does not answer may do so for long, and another one instead.
            if is_wrong || matches!(error, Error::TimedOut { .. }) {
                way.route = None;
            }
            // What was known of the topic may be older than this reader.
            if error.is_topic_changed() && !way.is_sure {
                (way.is_sure, way.topic_id) = (true, self.start.topic());
                continue;
            }
            // Not readable yet is no failure for someone who follows.
            let is_early = error
                .refusal()
                .is_some_and(|body| body.is(ErrorCode::PastHighWatermark));
            if is_early && self.end == End::Follow {
                let backoff = self.client.config.backoff;
                way.failing.wait(backoff, error.retry_after()).await;
                // It knows the place: nothing is missing that was there.
                (way.known_at, way.missing) = (Some(way.server), Trouble::default());
                self.tell_begun(way);
                self.look_around(way);
                continue;
            }
            if is_early || !error.may_pass() {
                // That is an answer, too.
                way.failing = Trouble::default();
                return Err(error);
            }
            let (topic, partition, lasted) = (&self.topic, self.partition, way.failing.lasted());
            debug!(%topic, %partition, %error, ?lasted, "cannot be read now");
            if !self.pause(&mut way.failing, error.retry_after()).await {
                return Err(error);
            }
        }
    }

    /// When one attempt has to be over: it leaves half of the time for others, at another server or on another connection, and
    /// has a tenth of all of it at least. With none the first one is the last, and has that of any request.
    fn deadline(&self, failing: &Trouble) -> Deadline {
        let (timeout, least) = (
            self.client.config.timeout,
            self.client.config.connect_timeout,
        );
        let limit = self.config.unreachable_timeout;
        let limit = limit.filter(|limit| !limit.is_zero());
        let time = limit.map_or(timeout, |limit| {
            let left = limit.saturating_sub(failing.lasted());
            (left / 2).max(least).min(left.max(limit / 10)).min(timeout)
        });
        Deadline::within(time)
    }

    async fn route(&self, way: &mut Way, deadline: Deadline) -> Result<Route, Error> {
        way.return_if_answered(&self.claim);
        if let Some(route) = way.route.as_ref().filter(|route| !route.is_stale()) {
            return Ok(route.clone());
        }
        let route = self
            .client
            .route_by(deadline, way.user(self), &self.topic, self.partition)
            .await?;
        if *way.topic_id.get_or_insert(route.topic.id) != route.topic.id {
            if !way.is_sure && self.start.topic().is_some() {
                // The topic that is meant may be a later one. Who begins means the one that is there.
                self.client.forget(&self.topic, Some(route.topic.id));
            }
            return Err(topic_changed(&route));
        }
        (way.route, way.server) = (Some(route.clone()), route.topic.teller.server);
        let address = Arc::clone(route.connection.address());
        if let Some(left) = way
            .address
            .replace(address)
            .filter(|left| left != route.connection.address())
        {
            let user = way.user(self);
            self.client.pool.leave(&Key {
                address: left,
                user,
            });
        }
        way.look_at = (way.server != 0).then(|| Instant::now() + self.client.config.detour);
        Ok(route)
    }

    /// Looks at the others, when it is time to: one that stands in for another may never have what that one has by now.
    fn look_around(&self, way: &mut Way) {
        if way.look_at.is_some_and(|at| at <= Instant::now()) {
            self.turn_away(way);
        }
    }

    /// Goes to the next server: the log of this one ends below what another gave, or said that it has.
    fn turn_away(&self, way: &mut Way) {
        self.client.turn_from(way.server, &self.topic);
        way.route = None;
    }

    /// What one fetch may bring: so much that all partitions, each with its fetches ahead and one
    /// on its way, stay within the consumer's memory, if that leaves enough for a fetch.
    fn share(&self) -> u32 {
        let partitions = self.share_count.load(Ordering::Relaxed).max(1);
        let share = self.config.prefetch_bytes_max / (partitions * (FETCHES_AHEAD + 1));
        let bytes_max = self.config.fetch_bytes_max;
        u32::try_from(share)
            .unwrap_or(u32::MAX)
            .clamp(FETCH_BYTES_MIN.min(bytes_max), bytes_max)
    }

    /// Waits before the next attempt; false, at once, if the trouble has lasted for as long as it may.
    async fn pause(&self, trouble: &mut Trouble, at_least: Duration) -> bool {
        let (limit, backoff) = (self.config.unreachable_timeout, self.client.config.backoff);
        trouble.pause(limit, backoff, at_least).await
    }

    fn tell(&self, news: News) {
        // A consumer that is gone needs no news.
        drop(self.events.send(Event {
            assignment: self.assignment,
            news,
        }));
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        // Its task may end in the middle, with its runtime or in a panic: nobody is to wait for what it would have read.
        if !self.is_done {
            self.tell(News::Failed(Error::Closed));
        }
    }
}

/// An answer without records that comes sooner is followed by a pause: so rarely that it costs little.
const EMPTY_EVERY: Duration = Duration::from_millis(50);

/// Fetches that wait for the caller, per partition: one being handed out, one behind it.
const FETCHES_AHEAD: usize = 2;

/// Asking for less costs more in requests than it saves in memory.
const FETCH_BYTES_MIN: u32 = 64 << 10;
