//! One partition's way to the server: a task that sends its batches in order and settles each.

mod answers;
mod verdict;

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::produce;
use corelog_record::TopicId;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use self::answers::Answers;
use super::batch::Batch;
use super::queue::{Next, Queue};
use super::window::{Settled, Verdict, Window};
use crate::Error;
use crate::client::{Inner, Route, topic_changed};
use crate::connection::{Connection, Permits, Reply, Ticket, User};

/// What a lane is told once.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) user: User,
    pub(super) level: Option<Level>,
    pub(super) in_flight_max: usize,
    pub(super) delivery_timeout: Duration,
}

pub(super) struct Lane {
    client: Arc<Inner>,
    queue: Arc<Queue>,
    options: Options,
    /// What is asked with each batch; the topic's id and the run are the batch's.
    request: produce::Request,
    window: Window<Batch, Arc<Error>>,
    /// Awaited, one per batch in the window, in the same order.
    answers: Answers,
    /// What waited in the queue when an outcome became unknown. It fails once everything in front
    /// of it is settled, so that outcomes are told in order.
    behind: VecDeque<Batch>,
    route: Option<Route>,
    trouble: Option<Trouble>,
    /// Goes off when nothing was sent for long, or before.
    idle: Pin<Box<Sleep>>,
    /// Whether anything was sent since that was set.
    is_used: bool,
    has_ended: bool,
}

/// Failures since the last acknowledgement.
struct Trouble {
    count: u32,
    last: Arc<Error>,
    last_at: Instant,
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.has_ended {
            // Another one may have begun.
            return;
        }
        // The task may end in the middle, with its runtime or in a panic: who sends goes on with another one, and nobody is
        // to wait for what this one would have sent. Outcomes are told in order.
        drop(self.window.drain());
        self.behind.clear();
        self.queue.close(self.window.run().wrapping_add(1));
    }
}

/// How an attempt to send ended.
enum Sent {
    /// It is in flight, or settled.
    Done,
    /// It has to wait for the batches in front of it, and is the next to be sent again, or behind these.
    NotNow,
}

type Answer = Result<Reply<produce::Answer>, Error>;

impl Lane {
    pub(super) fn new(client: Arc<Inner>, queue: Arc<Queue>, options: Options) -> Self {
        // Timers first: without a runtime they panic, and the queue is to have no lane then.
        let answers = Answers::new(&queue.origin.held);
        let idle = Box::pin(sleep(IDLE_MAX));
        let window = Window::new(queue.open(), options.in_flight_max);
        let request = produce::Request {
            topic: (*queue.origin.topic).clone(),
            id: TopicId::from_bytes([0; 16]),
            partition: queue.origin.partition,
            level: options.level,
            run: window.run(),
        };
        Self {
            client,
            queue,
            options,
            request,
            window,
            answers,
            behind: VecDeque::new(),
            route: None,
            trouble: None,
            idle,
            is_used: false,
            has_ended: false,
        }
    }

    /// Sends and settles for as long as the producer lives, or until there was nothing to send for long.
    pub(super) async fn run(mut self) {
        while !self.has_ended {
            let linger = self.fill().await;
            self.wait(linger).await;
        }
    }

    /// Sends what may be sent; returns when the next batch will be due, if one waits.
    async fn fill(&mut self) -> Option<Instant> {
        while self.window.has_room() {
            let batch = match self.window.pop_resend() {
                Some(batch) => batch,
                None => match self.queue.next() {
                    Next::Batch(batch) => batch,
                    Next::At(due) => return Some(due),
                    Next::Nothing => return None,
                },
            };
            if let Sent::NotNow = self.send(batch).await {
                return None;
            }
        }
        None
    }

    /// Waits for an answer, for news in the queue, or for the open batch to be due.
    async fn wait(&mut self, linger: Option<Instant>) {
        let has_room = self.window.has_room() && !self.window.has_resend();
        let due = async {
            match linger {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        if self.answers.is_empty() && self.window.has_resend() {
            return;
        }
        tokio::select! {
            biased;
            answer = self.answers.next() => self.settle(answer),
            () = self.queue.news.notified(), if has_room => {}
            () = due => {}
            () = self.idle.as_mut(), if self.answers.is_empty() => self.rest(),
        }
    }

    /// Ends if nothing was sent since the last time: whoever sends next begins another lane.
    fn rest(&mut self) {
        assert!(self.window.is_idle(), "nothing is awaited");
        assert!(!self.window.has_resend(), "nothing is to be sent again");
        self.has_ended = !self.is_used && self.queue.end(self.window.run());
        self.is_used = false;
        self.idle.as_mut().reset(Instant::now() + IDLE_MAX);
    }

    /// Sends one batch, waiting for a route to the partition as long as the batch has time.
    async fn send(&mut self, mut batch: Batch) -> Sent {
        let body = match batch.build().await {
            Ok(body) => body,
            // In its turn: outcomes are told in order.
            Err(_) if !self.window.is_idle() => return self.put_back(batch),
            Err(error) => return self.give_up(batch, error),
        };
        loop {
            if let Some(trouble) = self.trouble.as_ref().filter(|_| self.window.is_idle()) {
                // It waited behind what failed: another attempt for each of its like would make all behind it later.
                if batch.created() < trouble.last_at && self.is_late(&batch) {
                    let error = self.given_up(Arc::clone(&trouble.last));
                    return self.give_up(batch, error);
                }
                self.pause(&batch, trouble).await;
            }
            let route = match self.route(batch.topic_id()).await {
                Ok(Some(route)) => route,
                Ok(None) => return self.put_back(batch),
                Err(error) => match self.not_sent(&batch, error) {
                    Some(error) => return self.give_up(batch, error),
                    None => continue,
                },
            };
            if route.topic.id != batch.topic_id() {
                return self.give_up(batch, Arc::new(topic_changed(&route)));
            }
            let connection = &route.connection;
            let Some((next, room)) = self.room(batch, connection, body.len()).await else {
                return Sent::NotNow;
            };
            batch = next;
            match room.and_then(|room| self.enter(connection, room, &batch, body.clone())) {
                Ok(ticket) => {
                    batch.set_in_flight(true);
                    self.window.push(batch);
                    self.answers.expect(ticket);
                    self.is_used = true;
                    return Sent::Done;
                }
                Err(_) if !self.window.is_idle() => return self.put_back(batch),
                Err(error) => {
                    if let Some(error) = self.not_sent(&batch, error) {
                        return self.give_up(batch, error);
                    }
                }
            }
        }
    }

    /// Waits for room on the connection, and takes in the answers that come meanwhile; `None` once one of them has the batch
    /// wait for those in front of it.
    async fn room(
        &mut self,
        mut batch: Batch,
        connection: &Connection,
        bytes: usize,
    ) -> Option<(Batch, Result<Permits, Error>)> {
        let (run, timeout) = (self.window.run(), self.client.config.timeout);
        let mut room = pin!(connection.room::<produce::Request>(bytes, timeout));
        loop {
            tokio::select! {
                biased;
                room = &mut room => return Some((batch, room)),
                answer = self.answers.next() => {
                    // In its place before others come in front of it.
                    self.window.push_resend(batch);
                    self.settle(answer);
                    if self.window.is_halted() || self.window.run() != run {
                        return None;
                    }
                    batch = self.window.pop_resend()?;
                }
            }
        }
    }

    fn enter(
        &mut self,
        connection: &Connection,
        room: Permits,
        batch: &Batch,
        body: Bytes,
    ) -> Result<Ticket, Error> {
        self.request.id = batch.topic_id();
        self.request.run = self.window.run();
        connection.enter(&self.request, body, room, self.client.config.timeout)
    }

    /// Whatever is to be sent again comes before the queue: in front is its place.
    fn put_back(&mut self, batch: Batch) -> Sent {
        self.window.push_resend(batch);
        Sent::NotNow
    }

    /// The way to the partition; it changes only while nothing is in flight, so that a run never
    /// spans two connections. `None` if it has to change and cannot yet: nothing more is sent until it can.
    async fn route(&mut self, topic: TopicId) -> Result<Option<Route>, Error> {
        // The way to another topic of that name is none: the one or the other is gone, and the servers know which.
        let known = self.route.as_ref().filter(|route| route.topic.id == topic);
        let good = known.filter(|route| !route.is_stale());
        if good.is_some() || !self.window.is_idle() {
            return Ok(good.cloned());
        }
        let origin = &self.queue.origin;
        self.route = None;
        let route = self
            .client
            .route(self.options.user, &origin.topic, origin.partition)
            .await?;
        self.route = Some(route.clone());
        Ok(Some(route))
    }

    /// Notes a failure before anything was sent; the error back if there is no use in another try.
    fn not_sent(&mut self, batch: &Batch, error: Error) -> Option<Arc<Error>> {
        self.heed(&error);
        let error = Arc::new(error);
        self.note(&error);
        if !error.may_pass() {
            return Some(error);
        }
        self.is_late(batch).then(|| self.given_up(error))
    }

    fn note(&mut self, failure: &Arc<Error>) {
        self.queue.origin.held.begin_trouble();
        let before = self.trouble.as_ref().map_or(0, |trouble| trouble.count);
        self.trouble = Some(Trouble {
            count: before.saturating_add(1),
            last: Arc::clone(failure),
            last_at: Instant::now(),
        });
    }

    fn give_up(&self, batch: Batch, error: Arc<Error>) -> Sent {
        batch.fail(error);
        Sent::Done
    }

    /// Takes in the answer of the oldest batch in flight.
    fn settle(&mut self, answer: Answer) {
        let verdict = self.judge(answer);
        if let Verdict::Applied(_) = verdict {
            self.trouble = None;
            self.queue.origin.held.end_trouble();
        }
        let mut settled = Vec::new();
        self.window.settle(verdict, &mut settled);
        for batch in self.window.withdrawn() {
            batch.set_in_flight(false);
        }
        let behind_unknown = Arc::new(Error::BehindUnknown);
        for one in settled {
            match one {
                Settled::Applied(batch, ack) => batch.acknowledge(ack),
                Settled::Failed(batch, error) => batch.fail(error),
                Settled::Unknown(batch, error) => {
                    let behind = batch.fail_unknown(error, |outcome, result| {
                        self.queue.drain_and_settle(outcome, result)
                    });
                    self.behind.extend(behind);
                }
                Settled::Behind(batch) => batch.fail(Arc::clone(&behind_unknown)),
            }
        }
        if self.window.is_idle() {
            for batch in self.behind.drain(..) {
                batch.fail(Arc::clone(&behind_unknown));
            }
        }
    }

    fn heed(&mut self, error: &Error) {
        let origin = &self.queue.origin;
        if self.client.heed(&origin.topic, origin.partition, error) {
            // Nothing more is sent this way; what is in flight on it will be answered.
            self.route = None;
        }
    }

    fn is_late(&self, batch: &Batch) -> bool {
        batch.created().elapsed() >= self.options.delivery_timeout
    }

    fn given_up(&self, source: Arc<Error>) -> Arc<Error> {
        Arc::new(Error::GivenUp {
            after: self.options.delivery_timeout,
            source,
        })
    }

    /// Waits before the next attempt, no longer than the batch has time.
    async fn pause(&self, batch: &Batch, trouble: &Trouble) {
        let backoff = self.client.config.backoff;
        let wait = backoff.wait(trouble.count, &mut fastrand::Rng::new());
        let elapsed = batch.created().elapsed();
        let left = self.options.delivery_timeout.saturating_sub(elapsed);
        sleep(wait.max(trouble.last.retry_after()).min(left)).await;
    }
}

/// What a lane takes is some kilobytes, and a producer may have sent to thousands of partitions once; to begin one is cheap.
const IDLE_MAX: Duration = Duration::from_secs(60);
