//! What is known about a topic, and which server is asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::{Call, metadata};
use corelog_record::TopicName;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Inner, Turn};
use crate::Error;
use crate::connection::{Connection, in_time};
use crate::metadata::{Teller, Topic};
use crate::retry::{Deadline, Repeat, Retry};

impl Inner {
    /// What is known about a topic; asks if nothing is. Old news are used while no server answers, and where none of
    /// those that answer has it, but one that is away may; where nothing is known, that is the error ([`Error::Untold`]).
    pub(crate) async fn topic_by(
        self: &Arc<Self>,
        deadline: Deadline,
        name: &TopicName,
    ) -> Result<Arc<Topic>, Error> {
        if let Some(topic) = self.metadata.fresh(name) {
            return Ok(topic);
        }
        // Old news are used behind that, which is to be in time for whomever they lead to.
        let deadline = match self.metadata.known(name) {
            Some(_) => deadline.half(),
            None => deadline,
        };
        // All who wait here while no server answers have waited long enough when the first of them has.
        let retry = Retry::until(deadline, Repeat::Always, &self.config);
        let (client, name) = (Arc::clone(self), name.clone());
        // Others wait for the answer, too, and whoever asks may be polled no more.
        let asking = tokio::spawn(async move { client.ask_for(&name, (deadline, retry)).await });
        // It is cancelled with the runtime alone.
        asking.await.unwrap_or(Err(Error::Closed))
    }

    async fn ask_for(
        self: &Arc<Self>,
        name: &TopicName,
        (deadline, retry): (Deadline, Retry),
    ) -> Result<Arc<Topic>, Error> {
        let asking = timeout(deadline.left(), self.metadata.asking.lock()).await;
        if let Some(topic) = self.metadata.fresh(name) {
            return Ok(topic);
        }
        let request = &about(name);
        let turn = &self.turn();
        let asked = retry.run(|deadline| self.look_up((turn, request), deadline));
        let (server, answer) = match asked.await {
            Ok(answered) => answered,
            Err(error) => return self.metadata.known(name).ok_or(error),
        };
        let (aside, silent) = match self.take_in(name, server, answer) {
            Ok(Told::Topic(topic)) => return Ok(topic),
            Ok(Told::Another(topic, teller)) => {
                self.pass_over(server);
                (Some((topic, teller)), None)
            }
            Err(error) if error.is_unknown_topic() => (None, None),
            // It has one that it cannot read: another may have a copy.
            Err(error) if is_damage(&error) => (None, Some(error)),
            Err(error) => return self.metadata.known(name).ok_or(error),
        };
        // Those who look for what this server has do not wait for the others.
        drop(asking);
        self.topic_of_others(name, request, (server, aside, silent), deadline)
            .await
    }

    /// What any server tells of a topic now, and the partitions that others have beyond that.
    pub(crate) async fn topic_of_all(
        self: &Arc<Self>,
        deadline: Deadline,
        name: &TopicName,
    ) -> Result<Arc<Topic>, Error> {
        self.metadata.doubt(name);
        let topic = self.topic_by(deadline, name).await?;
        let first = topic.teller.server;
        self.metadata.note(&topic, first, Ok(()));
        let others = (0..self.servers.len()).filter(|server| *server != first);
        Ok(self.ask_others(deadline, topic, others).await)
    }

    /// The same, where `topic` is known, of these servers. What each of them says is noted.
    pub(super) async fn ask_others(
        self: &Arc<Self>,
        deadline: Deadline,
        mut topic: Arc<Topic>,
        servers: impl IntoIterator<Item = usize>,
    ) -> Arc<Topic> {
        if deadline.is_over() {
            return topic;
        }
        let name = Arc::clone(&topic.name);
        let mut asked = self.ask_each(servers, &about(&name), deadline);
        while let Some(told) = asked.join_next().await {
            let Ok((server, Ok(answer))) = told else {
                continue;
            };
            let mut errors = answer.errors.iter();
            if let Some(untold) = errors.find(|untold| untold.name == *name)
                && !untold.error.is(ErrorCode::UnknownTopic)
            {
                if untold.error.is(ErrorCode::Damaged) {
                    let damage = Err(untold.error.clone());
                    self.metadata.note(&topic, server, damage);
                }
                continue;
            }
            let has_more = |told: &metadata::Topic| {
                let lacks =
                    |partition: &metadata::Partition| topic.partition(partition.id).is_err();
                told.id == topic.id && told.partitions.iter().any(lacks)
            };
            // Who has no more is not to take the place of the one that is asked.
            if answer.topics.iter().any(has_more)
                && let Ok(Told::Topic(more)) = self.take_in(&name, server, answer)
            {
                topic = more;
            }
            self.metadata.note(&topic, server, Ok(()));
        }
        topic
    }

    /// Asks any server. One that hangs leaves time for the others, where there are any, and is passed over.
    async fn look_up(
        &self,
        (turn, request): (&Turn, &metadata::Request),
        deadline: Deadline,
    ) -> Result<(usize, metadata::Answer), Error> {
        let (server, connection) = self.next_server(deadline).await?;
        let share = turn.share(deadline);
        let time = match self.servers.len() {
            1 => share,
            _ => share.min(self.config.connect_timeout),
        };
        let answer = self.ask_or_pass_over((turn, server), &connection, request, time);
        Ok((server, answer.await?))
    }

    /// Asks one of the servers for what changes nothing, and any may answer: one that does not in time is passed over, unless
    /// nothing was sent, as where no time was left.
    pub(super) async fn ask_or_pass_over<R: Call>(
        &self,
        (turn, server): (&Turn, usize),
        connection: &Connection,
        request: &R,
        time: Duration,
    ) -> Result<R::Answer, Error> {
        let answered = connection.call(request, time).await;
        let answered = answered.inspect_err(|error| {
            if matches!(error, Error::TimedOut { is_sent: true, .. }) {
                turn.was_silent(server);
                self.pass_over(server);
            }
        });
        Ok(answered?.head)
    }

    /// A topic that `server` does not have, cannot read (`silent`), or of which it has another of that name. Each server knows
    /// its own: that there is none, only all of them can tell, or the one that described it; it alone can tell that it is
    /// another now.
    async fn topic_of_others(
        self: &Arc<Self>,
        name: &TopicName,
        request: &metadata::Request,
        (server, mut aside, mut silent): (usize, Option<Aside>, Option<Error>),
        deadline: Deadline,
    ) -> Result<Arc<Topic>, Error> {
        let known = || self.metadata.known(name);
        let (teller, before) = (self.metadata.teller(name), known().map(|topic| topic.id));
        let is_teller = teller == Some(server);
        let (mut is_gone, mut is_damaged) =
            (is_teller && silent.is_none(), is_teller && silent.is_some());
        let answers = self.ask_in_order(name, request, server, deadline).await;
        // Learned from a later question: what was asked before is not to take its place.
        if let Some(topic) = known().filter(|topic| before != Some(topic.id)) {
            return Ok(topic);
        }
        for (other, answer) in answers {
            match answer.and_then(|answer| self.take_in(name, other, answer)) {
                Ok(Told::Topic(topic)) => {
                    self.server.store(other, Ordering::Relaxed);
                    return Ok(topic);
                }
                Ok(Told::Another(topic, teller)) => {
                    aside.get_or_insert((topic, teller));
                }
                Err(error) if error.is_unknown_topic() => is_gone |= teller == Some(other),
                Err(error) => {
                    is_damaged |= teller == Some(other) && is_damage(&error);
                    // One that may yet tell counts more than one that never will.
                    silent = silent.filter(Error::may_pass).or(Some(error));
                }
            }
        }
        // It is there: the one that told of it says so.
        if is_damaged {
            self.metadata.heard(name, before);
        }
        // One that says nothing for so long may be gone for good, and the other one in its place.
        let is_given_up = aside.is_some() && GIVEN_UP_AFTER <= self.metadata.silent_for(name);
        match (silent, aside) {
            (Some(error), _) if !is_gone && !is_given_up => {
                let untold = match error.is_unreachable() {
                    true => Error::Untold {
                        topic: name.clone(),
                        source: Box::new(error),
                    },
                    false => error.of_look_up(),
                };
                known().ok_or(untold)
            }
            (_, Some((topic, teller))) => {
                self.server.store(teller.server, Ordering::Relaxed);
                Ok(self.metadata.learn(topic, teller))
            }
            (_, None) => {
                self.metadata.forget(name);
                Err(unknown_topic(name))
            }
        }
    }

    /// Asks all but `server`: what they say, in the order in which they are configured, until each has said something, or one
    /// has the topic. Those before that one have a moment more, so that it is not chance whose topic it is.
    async fn ask_in_order(
        self: &Arc<Self>,
        name: &TopicName,
        request: &metadata::Request,
        server: usize,
        deadline: Deadline,
    ) -> Vec<(usize, Result<metadata::Answer, Error>)> {
        let others = (0..self.servers.len()).filter(|other| *other != server);
        let mut asked = self.ask_each(others.clone(), request, deadline);
        let (mut answers, mut until) = (BTreeMap::new(), None);
        loop {
            let next = match until {
                Some(until) => in_time(until, asked.join_next()).await.flatten(),
                None => asked.join_next().await,
            };
            let Some(told) = next else {
                break;
            };
            // It is cancelled with the runtime alone.
            let Ok((other, answer)) = told else {
                continue;
            };
            answers.insert(other, answer);
            let tells = |(other, answer): (&usize, &Result<_, _>)| {
                let answer = answer.as_ref().ok()?;
                self.tells(name, *other, answer).then_some(*other)
            };
            let Some(first) = answers.iter().find_map(tells) else {
                continue;
            };
            if others
                .clone()
                .take_while(|other| *other < first)
                .all(|other| answers.contains_key(&other))
            {
                break;
            }
            until.get_or_insert_with(|| Instant::now() + ORDER_PATIENCE);
        }
        let said = |other| (other, answers.remove(&other).unwrap_or(Err(Error::Closed)));
        others.map(said).collect()
    }

    /// Asks servers, each for no longer than a connection to it may take: another one has answered. All at once: one that
    /// says nothing takes no time from the others.
    pub(super) fn ask_each<R>(
        self: &Arc<Self>,
        servers: impl IntoIterator<Item = usize>,
        request: &R,
        deadline: Deadline,
    ) -> JoinSet<(usize, Result<R::Answer, Error>)>
    where
        R: Call + Clone + Send + Sync + 'static,
        R::Answer: Send + 'static,
    {
        let mut asking = JoinSet::new();
        for server in servers {
            let (client, request) = (Arc::clone(self), request.clone());
            asking.spawn(async move {
                let asked = async {
                    let connection = client.connect(server).await?;
                    let timeout = deadline.left().min(client.config.connect_timeout);
                    Ok(connection.call(&request, timeout).await?.head)
                };
                (server, asked.await)
            });
        }
        asking
    }

    /// Learns what a server said of a topic, or gives its error. Of another topic than the one that is known from another
    /// server it learns nothing: as long as that one does not say so itself, this may be a copy of one that is gone.
    fn take_in(
        &self,
        name: &TopicName,
        server: usize,
        answer: metadata::Answer,
    ) -> Result<Told, Error> {
        let teller = Teller {
            server,
            shared: answer.shared.into(),
        };
        if let Some(topic) = answer.topics.into_iter().find(|topic| topic.name == *name) {
            return Ok(match self.is_another(&topic, server) {
                true => Told::Another(topic, teller),
                false => Told::Topic(self.metadata.learn(topic, teller)),
            });
        }
        let told = answer.errors.into_iter().find(|told| told.name == *name);
        Err(told.map_or_else(|| unknown_topic(name), |told| Error::refused(told.error)))
    }

    /// If what a server said tells of the topic, which is learned then.
    fn tells(&self, name: &TopicName, server: usize, answer: &metadata::Answer) -> bool {
        let mut topics = answer.topics.iter();
        topics.any(|topic| topic.name == *name && !self.is_another(topic, server))
    }

    /// If it is another topic than the one that is known from another server.
    fn is_another(&self, topic: &metadata::Topic, server: usize) -> bool {
        let known = self.metadata.known(&topic.name);
        known.is_some_and(|known| known.id != topic.id && known.teller.server != server)
    }
}

/// What a server told of a topic.
enum Told {
    Topic(Arc<Topic>),
    /// One with another id than is known.
    Another(metadata::Topic, Teller),
}

/// How long servers are waited for where one that is configured behind them has the topic: far more than a healthy one takes.
const ORDER_PATIENCE: Duration = Duration::from_millis(250);

/// How long the server that told of a topic is waited for while another one has another topic of that name.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(120);

/// A topic that is not believed yet.
type Aside = (metadata::Topic, Teller);

/// If a server has such a topic, and could not read it.
fn is_damage(error: &Error) -> bool {
    error
        .refusal()
        .is_some_and(|body| body.is(ErrorCode::Damaged))
}

fn about(name: &TopicName) -> metadata::Request {
    metadata::Request {
        topics: Some(vec![name.clone()]),
    }
}

fn unknown_topic(name: &TopicName) -> Error {
    let message = format!("there is no topic {name}");
    Error::refused(ErrorBody::new(ErrorCode::UnknownTopic, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClientConfig;
    use crate::metadata::tests::{silence, told};

    /// It counted as one that says nothing, and after two minutes another server's topic was taken for it.
    #[tokio::test]
    async fn a_topic_that_its_server_cannot_read_is_there_however_long_that_lasts() {
        let nobody = ["127.0.0.1:1", "127.0.0.1:1"];
        let client = Arc::new(Inner::new(ClientConfig::new(nobody)).unwrap());
        let name = "t".parse().unwrap();
        let (topic, teller) = told(&name, 1, 0);
        let known = client.metadata.learn(topic, teller).id;
        let damage = ErrorBody::new(ErrorCode::Damaged, "as its server says");
        for (first, error, is_known) in [(0, Some(Error::refused(damage)), true), (1, None, false)]
        {
            silence(&client.metadata, &name, GIVEN_UP_AFTER);
            let answered = (first, Some(told(&name, 2, 1)), error);
            let (request, deadline) = (about(&name), client.deadline());
            let found = client.topic_of_others(&name, &request, answered, deadline);
            assert_eq!(found.await.unwrap().id == known, is_known, "server {first}");
        }
    }
}
