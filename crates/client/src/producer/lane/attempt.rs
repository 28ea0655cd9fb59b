//! An attempt to send the next batch: its bytes, its way to the server, room on it, and how long it may wait for these.
//!
//! The law: **whatever it waits for, a batch is given up once its time is over**, in its turn. One that has less than a second has
//! that second, for a first attempt.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corelog_protocol::kind::Kind;
use corelog_protocol::message::produce;
use corelog_record::TopicId;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::super::batch::Origin;
use super::{Lane, SILENCE_MAX, Trouble};
use crate::Error;
use crate::client::topic_changed;
use crate::connection::{Alarm, Connection, Permits};

/// How an attempt to send ended.
pub(super) enum Sent {
    /// It is in flight, or settled.
    Done,
    /// It has to wait for the batches in front of it, and stays the next, or is behind these; or it goes another way.
    NotNow,
}

impl Lane {
    /// Sends the next batch, waiting for a way to the partition as long as the batch has time.
    pub(super) async fn send(&mut self) -> Sent {
        let Some(batch) = self.window.next_mut() else {
            return Sent::Done;
        };
        let (topic, since) = (batch.topic_id(), batch.since());
        let body = match self.build(since).await {
            Some(Ok(body)) => body,
            Some(Err(error)) => return self.give_up(error),
            None => return Sent::NotNow,
        };
        loop {
            if let Some(trouble) = self.trouble.as_ref().filter(|_| self.window.is_idle()) {
                // It waited behind what failed: another attempt for each of its like would make all behind it later.
                if since < trouble.last_at && trouble.is_final(topic) {
                    let error = Arc::clone(&trouble.last);
                    return self.give_up(error);
                }
                if since < trouble.last_at && self.is_late(since) {
                    let error = Self::given_up(since, Arc::clone(&trouble.last));
                    return self.give_up(error);
                }
                self.pause(since, trouble).await;
            }
            // What is in front of it may have taken all of its time.
            if self.end(since) <= Instant::now() {
                let error = Self::given_up(since, self.why_late());
                return self.give_up(error);
            }
            match self.find_route(topic, since).await {
                Ok(true) => {}
                Ok(false) => return Sent::NotNow,
                Err(error) => match self.not_sent(topic, since, error) {
                    Some(error) => return self.give_up(error),
                    None => continue,
                },
            }
            if let Some(route) = self.route.as_ref().filter(|route| route.topic.id != topic) {
                let changed = topic_changed(route);
                return self.give_up(Arc::new(changed));
            }
            let Some(room) = self.room(body.len(), since).await else {
                return Sent::NotNow;
            };
            match room.and_then(|room| self.enter(room, &body)) {
                Ok(()) => return Sent::Done,
                Err(_) if !self.window.is_idle() => return Sent::NotNow,
                // That is the batch's own fault, and says nothing of those behind it.
                Err(error @ Error::Request { .. }) => return self.give_up(Arc::new(error)),
                Err(error) => {
                    if let Some(error) = self.not_sent(topic, since, error) {
                        return self.give_up(error);
                    }
                }
            }
        }
    }

    /// Whether a batch that had time `since` then is tried no more.
    pub(super) fn is_late(&self, since: Instant) -> bool {
        since.elapsed() >= self.options.delivery_timeout
    }

    /// The error of a batch that had time `since` then, and is tried no more because of `source`.
    pub(super) fn given_up(since: Instant, source: Arc<Error>) -> Arc<Error> {
        let after = since.elapsed();
        Arc::new(Error::GivenUp { after, source })
    }

    /// Until when a batch waits to be sent.
    fn end(&self, since: Instant) -> Instant {
        since + self.options.delivery_timeout.max(ATTEMPT_MIN)
    }

    /// What kept a batch from being sent in time.
    fn why_late(&self) -> Arc<Error> {
        match &self.trouble {
            Some(trouble) => Arc::clone(&trouble.last),
            None => Arc::new(self.unanswered()),
        }
    }

    /// The error of a batch for which there was no way to the server, or no room on it, as long as it had time.
    fn unanswered(&self) -> Error {
        let origin = &self.queue.origin;
        Error::TimedOut {
            address: self.client.owner(&origin.topic, origin.partition),
            kind: Kind::Produce,
            after: self.options.delivery_timeout.max(ATTEMPT_MIN),
            is_sent: false,
            refused: None,
        }
    }

    /// The bytes of the next batch. Takes in the answers that come while they are built elsewhere; `None` once one of them has the
    /// batch wait for those in front of it.
    async fn build(&mut self, since: Instant) -> Option<Result<Bytes, Arc<Error>>> {
        let batch = self.window.next_mut()?;
        if !batch.is_built_elsewhere() {
            return Some(batch.build().await);
        }
        let (run, end, now) = (self.window.run(), self.end(since), Instant::now());
        // An alarm that is set so late would wait once more, for each that is.
        if end <= now {
            return Some(Err(Self::given_up(since, self.why_late())));
        }
        let mut look_at = end.min(now + SILENCE_MAX);
        let mut alarm = Alarm::at(look_at);
        loop {
            let batch = self.window.next_mut()?;
            tokio::select! {
                biased;
                built = batch.build() => return Some(built),
                answer = self.answers.next() => {
                    self.settle(answer);
                    if self.window.is_halted() || self.window.run() != run {
                        return None;
                    }
                }
                () = alarm.run_out(look_at) => {
                    if look_at == end {
                        let (topic, late) = (batch.topic_id(), Arc::new(Error::Uncompressed));
                        let error = Self::given_up(since, Arc::clone(&late));
                        // Behind others it is told later, and this is still why; as of what is late behind it.
                        batch.refuse(Arc::clone(&error));
                        self.note(topic, &late);
                        return Some(Err(error));
                    }
                    self.queue.origin.held.begin_trouble();
                    look_at = end.min(Instant::now() + SILENCE_MAX);
                }
            }
        }
    }

    /// Finds the way to the partition, if it is not known; it changes only while nothing is in flight, so that a run never
    /// spans two connections. False if it has to change and cannot yet: nothing more is sent until it can.
    async fn find_route(&mut self, topic: TopicId, since: Instant) -> Result<bool, Error> {
        // The way to another topic of that name is none: the one or the other is gone, and the servers know which.
        let known = self.route.as_ref().filter(|route| route.topic.id == topic);
        let is_good = known.is_some_and(|route| !route.is_stale());
        if is_good || !self.window.is_idle() {
            return Ok(is_good);
        }
        self.route = None;
        let end = self.end(since);
        let (client, origin) = (&self.client, &self.queue.origin);
        let user = self.queue.member.user();
        let deadline = client.deadline().no_later_than(end);
        let found = client.route_by(deadline, user, &origin.topic, origin.partition);
        // What is begun here goes on by itself, for others.
        let mut found = pin!(found);
        let silent = Instant::now() + SILENCE_MAX;
        let mut alarm = Alarm::at(silent.min(end));
        let mut look_at = silent.min(end);
        let route = loop {
            tokio::select! {
                biased;
                route = &mut found => break route?,
                () = alarm.run_out(look_at) => {
                    if look_at == end {
                        return Err(self.unanswered());
                    }
                    origin.held.begin_trouble();
                    look_at = end;
                }
            }
        };
        self.route = Some(route);
        Ok(true)
    }

    /// Waits for room on the connection, and takes in the answers that come meanwhile; `None` once one of them has the batch
    /// wait for those in front of it, or its time is over and there are such, or once it is to go by another connection.
    async fn room(&mut self, bytes: usize, since: Instant) -> Option<Result<Permits, Error>> {
        let connection = &self.route.as_ref()?.connection;
        if let Some(room) = connection.room_now(bytes) {
            return Some(Ok(room));
        }
        let connection = &connection.clone();
        let (run, timeout) = (self.window.run(), self.client.config.timeout);
        let mut room = pin!(connection.room::<produce::Request>(bytes, timeout));
        let (asked, end) = (Instant::now(), self.end(since));
        // Others may be answered all the while: then it is only busy, and their number makes it last.
        let silent = |connection: &Connection| connection.last_heard().max(asked) + SILENCE_MAX;
        let mut look_at = silent(connection).min(end);
        let mut alarm = Alarm::at(look_at);
        loop {
            // Others give up what they have there, and its own is answered, while it waits.
            if self.window.is_idle() && connection.is_clogged() && self.queue.member.leave() {
                self.route = None;
                return None;
            }
            tokio::select! {
                biased;
                room = &mut room => return Some(room),
                answer = self.answers.next() => {
                    self.settle(answer);
                    if self.window.is_halted() || self.window.run() != run {
                        return None;
                    }
                }
                () = alarm.run_out(look_at) => {
                    if look_at == end {
                        let is_next = self.window.is_idle();
                        return is_next.then(|| Err(self.unanswered()));
                    }
                    let (mut silent, now) = (silent(connection), Instant::now());
                    if silent <= now {
                        self.queue.origin.held.begin_trouble();
                        silent = now + SILENCE_MAX;
                    }
                    look_at = silent.min(end);
                }
            }
        }
    }

    /// Enters the next batch, which is in flight from then on.
    fn enter(&mut self, room: Permits, body: &Bytes) -> Result<(), Error> {
        let (Some(batch), Some(route)) = (self.window.next_mut(), &self.route) else {
            return Ok(());
        };
        let since = batch.since();
        self.request.id = batch.topic_id();
        self.request.run = self.window.run();
        let timeout = self.client.config.timeout;
        let room = room.held_by(&self.queue.member.claim);
        let ticket = route.connection.enter(&self.request, body, room, timeout)?;
        let end = (since + self.options.delivery_timeout).max(ticket.entered() + ATTEMPT_MIN);
        if let Some(mut batch) = self.window.pop_resend() {
            batch.set_in_flight(true);
            self.window.push(batch);
        }
        self.answers.expect(ticket, end);
        self.is_used = true;
        Ok(())
    }

    /// Notes a failure before anything was sent; the error back if there is no use in another try.
    fn not_sent(&mut self, topic: TopicId, since: Instant, error: Error) -> Option<Arc<Error>> {
        self.heed(topic, &error);
        let error = Arc::new(error);
        self.note(topic, &error);
        if !error.may_pass() {
            return Some(error);
        }
        self.is_late(since).then(|| Self::given_up(since, error))
    }

    /// Fails the next batch, in its turn.
    fn give_up(&mut self, error: Arc<Error>) -> Sent {
        if !self.window.is_idle() {
            return Sent::NotNow;
        }
        if let Some(batch) = self.window.pop_resend() {
            batch.fail(error);
        }
        Sent::Done
    }

    /// Waits before the next attempt: no longer than the batch has time, nor longer behind the last failure than any has. What was
    /// begun since then is tried.
    async fn pause(&self, since: Instant, trouble: &Trouble) {
        let (backoff, time) = (self.client.config.backoff, self.options.delivery_timeout);
        let wait = backoff.wait(trouble.count);
        let wait = wait.max(trouble.last.retry_after()).min(time);
        let Origin {
            topic, partition, ..
        } = &self.queue.origin;
        let (error, attempt) = (&trouble.last, trouble.count);
        debug!(%topic, %partition, %error, attempt, ?wait, "sends again");
        sleep_until((trouble.last_at + wait).min(since + time)).await;
    }
}

/// However little time a batch has, or has left: a server that is well takes as long, now and then.
pub(in crate::producer) const ATTEMPT_MIN: Duration = SILENCE_MAX;
