//! One partition's way to the server: a task that sends its batches in order and settles each.

mod answers;
mod attempt;
mod verdict;

use std::cell::LazyCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::message::ack::Level;
use corelog_protocol::message::produce;
use corelog_record::TopicId;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tracing::debug;

use self::answers::Answers;
pub(super) use self::attempt::ATTEMPT_MIN;
use self::attempt::Sent;
use super::batch::{Batch, Origin};
use super::delivery::BatchAck;
use super::queue::{Next, Queue};
use super::window::{Settled, Verdict, Window};
use crate::Error;
use crate::client::{Inner, Route};
use crate::connection::Reply;

/// What a lane is told once.
#[derive(Clone)]
pub(super) struct Options {
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
    /// Empty between two answers, and of some capacity.
    settled: Vec<Settled<Batch, BatchAck, Arc<Error>>>,
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
    /// The topic of the batch that met the last one.
    topic: TopicId,
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

impl Trouble {
    /// If there is no such partition, as of a topic that was deleted, so that no other attempt is of use to what of that
    /// topic waited by then.
    fn is_final(&self, topic: TopicId) -> bool {
        let is_no_partition = matches!(*self.last, Error::NoSuchPartition { .. });
        let is_gone = self.last.is_unknown_topic() || self.last.is_topic_changed();
        self.topic == topic && (is_gone || is_no_partition)
    }
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
            settled: Vec::new(),
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
            if !self.window.has_resend() {
                match self.queue.next() {
                    // In its place from now on, whatever becomes of this task: outcomes are told in order.
                    Next::Batch(batch) => self.window.push_resend(batch),
                    Next::At(due) => return Some(due),
                    Next::Nothing => return None,
                }
            }
            if let Sent::NotNow = self.send().await {
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

    fn note(&mut self, topic: TopicId, failure: &Arc<Error>) {
        self.queue.origin.held.begin_trouble();
        let before = self.trouble.as_ref().map_or(0, |trouble| trouble.count);
        self.trouble = Some(Trouble {
            count: before.saturating_add(1),
            topic,
            last: Arc::clone(failure),
            last_at: Instant::now(),
        });
    }

    /// Takes in the answer of the oldest batch in flight.
    fn settle(&mut self, answer: Answer) {
        let verdict = self.judge(answer);
        if let Verdict::Applied(_) = verdict {
            let (origin, asked) = (&self.queue.origin, Some(self.request.id));
            if self.trouble.take().is_some() {
                self.client.metadata.heard(&origin.topic, asked);
            }
            origin.held.end_trouble();
        }
        let mut settled = std::mem::take(&mut self.settled);
        self.window.settle(verdict, &mut settled);
        for batch in self.window.withdrawn() {
            batch.set_in_flight(false);
        }
        let behind_unknown = LazyCell::new(|| Arc::new(Error::BehindUnknown));
        for one in settled.drain(..) {
            match one {
                Settled::Applied(batch, ack) => batch.acknowledge(ack),
                Settled::Failed(batch, error) => batch.fail(error),
                Settled::Unknown(batch, error) => {
                    let Origin {
                        topic, partition, ..
                    } = &self.queue.origin;
                    debug!(%topic, %partition, %error, "a batch's outcome is unknown");
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
        self.settled = settled;
    }

    fn heed(&mut self, asked: TopicId, error: &Error) {
        let (origin, asked) = (&self.queue.origin, Some(asked));
        if self
            .client
            .heed(&origin.topic, asked, origin.partition, error)
        {
            // Nothing more is sent this way; what is in flight on it will be answered.
            self.route = None;
        }
    }
}

/// What a lane takes is some kilobytes, and a producer may have sent to thousands of partitions once; to begin one is cheap.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A server that is well may take as long for its disk, now and then: so much has little effect.
const SILENCE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use corelog_record::Record;
    use corelog_record::batch::Rules;
    use corelog_record::{LeaderEpoch, Offset};
    use tokio::sync::Semaphore;

    use super::super::queue::tests::queue;
    use super::*;
    use crate::ClientConfig;
    use crate::metadata::tests::{silence, told};

    /// As with a reader: what was sent next went to another topic of that name.
    #[tokio::test]
    async fn what_is_acknowledged_behind_a_failure_ends_the_silence_of_its_topic() {
        let client = Arc::new(Inner::new(ClientConfig::new(["127.0.0.1:1"])).unwrap());
        let (queue, hour) = (queue(), Duration::from_secs(3600));
        let name = &*Arc::clone(&queue.origin.topic);
        let (topic, teller) = told(name, 0, 0);
        let id = client.metadata.learn(topic, teller).id;
        silence(&client.metadata, name, hour);
        let options = Options {
            level: None,
            in_flight_max: 1,
            delivery_timeout: hour,
        };
        let mut lane = Lane::new(Arc::clone(&client), Arc::clone(&queue), options);
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let delivery = queue.append(id, Rules::default(), &Record::default(), room);
        let Next::Batch(batch) = queue.next() else {
            panic!("it lingers");
        };
        lane.window.push(batch);
        lane.note(id, &Arc::new(Error::Closed));
        let head = produce::Answer {
            base: Offset::ZERO,
            end: Offset::ZERO.plus(1),
            epoch: LeaderEpoch::ZERO,
            level: Level::default(),
        };
        let body = Bytes::new();
        lane.settle(Ok(Reply { head, body }));
        delivery.unwrap().await.unwrap();
        assert!(client.metadata.silent_for(name) < hour);
    }
}
