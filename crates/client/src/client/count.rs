//! How many partitions a topic has: keys go by that, and a server with a copy may have fewer.
//!
//! The law: where a server has not said what it has of a topic, it is asked on. Who has to place a key waits for it, and fails
//! when the time is over, since a key that goes by fewer partitions goes to another one than before. One that may be gone for
//! good is not waited for where the others own all that is known: it cannot have added to that then.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use corelog_protocol::error::ErrorBody;
use corelog_protocol::message::replica_status::{self, Role};
use corelog_record::TopicName;
use tokio::time::{Instant, sleep, timeout};

use super::Inner;
use crate::Error;
use crate::metadata::Topic;
use crate::retry::Deadline;

impl Inner {
    /// What is known about a topic, of which each of the servers was asked at least once, if there was time.
    pub(crate) async fn topic_to_count(
        self: &Arc<Self>,
        name: &TopicName,
        deadline: Deadline,
    ) -> Result<Arc<Topic>, Error> {
        if self.servers.len() == 1 || self.is_asked(name) {
            return self.topic_by(deadline, name).await;
        }
        let (client, name) = (Arc::clone(self), name.clone());
        // Others wait for it, and whoever asks may be polled no more.
        let counting = tokio::spawn(async move {
            let turn = client.metadata.counting(&name);
            let _turn = timeout(deadline.left(), turn.lock()).await;
            match client.is_asked(&name) {
                true => client.topic_by(deadline, &name).await,
                false => client.topic_counted(deadline, &name).await,
            }
        });
        counting.await.unwrap_or(Err(Error::Closed))
    }

    /// The same for whoever goes by it to say where keys go, and waits so long until no server can have more partitions that
    /// has not said so.
    ///
    /// # Errors
    /// [`Error::Uncounted`] if one that may says nothing.
    pub(crate) async fn topic_for_keys(
        self: &Arc<Self>,
        name: &TopicName,
        time: Duration,
    ) -> Result<Arc<Topic>, Error> {
        let deadline = Deadline::within(time);
        loop {
            // Before the look: what changes behind it is told.
            let settled = self.metadata.settled();
            let asking = deadline.no_later_than(Instant::now() + self.config.timeout);
            let topic = self.topic_to_count(name, asking).await?;
            if topic.is_settled {
                return Ok(topic);
            }
            if !self.is_asked(name) && !deadline.is_over() {
                // It is another one than a moment ago, of which nobody was asked yet.
                continue;
            }
            self.metadata.want(name);
            let told = timeout(deadline.left().min(ASK_PAUSE_MAX), settled).await;
            if told.is_err() && deadline.is_over() {
                return Err(self.uncounted(name, time));
            }
        }
    }

    /// Why it is not known where keys go: what the first of the servers says that may have more of the topic, or that it says
    /// nothing.
    fn uncounted(&self, name: &TopicName, after: Duration) -> Error {
        let untold = self.uncounted_servers(name).into_iter().next();
        let (server, damage) = match untold {
            Some(untold) => (untold.server.into(), untold.damage),
            None => (Arc::clone(&self.servers[0]), None),
        };
        let topic = name.clone();
        match damage.map(Box::new) {
            Some(body) => Error::Unreadable {
                topic,
                server,
                body,
            },
            None => Error::Uncounted {
                topic,
                server,
                after,
            },
        }
    }

    /// The servers that may have more of a topic than is known: they have not said what they have of it, and those that have
    /// do not own all of it between them. Those that cannot read it are the first: the others may be there in a moment.
    pub(crate) async fn untold(self: &Arc<Self>, name: &TopicName) -> Vec<Untold> {
        if let Some(topic) = self.metadata.known(name) {
            self.settle_if_owned(&topic).await;
        }
        let known = self.metadata.known(name);
        if known.is_some_and(|topic| topic.is_settled) {
            return Vec::new();
        }
        self.uncounted_servers(name)
    }

    fn uncounted_servers(&self, name: &TopicName) -> Vec<Untold> {
        let uncounted = self.metadata.counted(name).1.into_iter();
        let untold = |server| Untold {
            server: self.address(server).to_owned(),
            damage: self.metadata.damage(name, server),
        };
        let mut untold: Vec<_> = uncounted.map(untold).collect();
        untold.sort_by_key(|one| one.damage.is_none());
        untold
    }

    /// If each of the servers has said what it has of a topic, or is asked on by somebody else.
    fn is_asked(&self, name: &TopicName) -> bool {
        self.is_counted(name) || self.metadata.is_counted_on(name)
    }

    fn is_counted(&self, name: &TopicName) -> bool {
        self.metadata.counted(name).1.is_empty()
    }

    async fn topic_counted(
        self: &Arc<Self>,
        deadline: Deadline,
        name: &TopicName,
    ) -> Result<Arc<Topic>, Error> {
        let topic = self.topic_of_all(deadline, name).await?;
        if !self.is_counted(name) {
            let asking = ask_on(Arc::downgrade(self), name.clone());
            self.metadata.count_on(&topic, asking);
        }
        Ok(topic)
    }

    /// If those that said what they have of a topic own all of it between them: partitions are added where all of them are
    /// owned, and so at none of the others.
    async fn is_owned(self: &Arc<Self>, topic: &Arc<Topic>) -> bool {
        let request = replica_status::Request {
            topic: TopicName::clone(&topic.name),
            id: Some(topic.id),
            partition: None,
        };
        let known: BTreeSet<_> = topic.partitions.iter().map(|one| one.id).collect();
        let mut owned = BTreeSet::new();
        let counted = self.metadata.counted(&topic.name).0;
        let mut asked = self.ask_each(counted, &request, self.deadline());
        while let Some(told) = asked.join_next().await {
            let Ok((server, Ok(told))) = told else {
                continue;
            };
            if told.partitions.iter().any(|one| !known.contains(&one.id)) {
                // It has more by now than when it said what it has.
                self.ask_others(self.deadline(), Arc::clone(topic), [server])
                    .await;
                return false;
            }
            let owns = |one: &replica_status::Partition| one.role == Role::Owner;
            let partitions = told.partitions.into_iter().filter(owns);
            owned.extend(partitions.map(|one| one.id));
        }
        !known.is_empty() && known.is_subset(&owned)
    }

    async fn settle_if_owned(self: &Arc<Self>, topic: &Arc<Topic>) {
        if !topic.is_settled && self.is_owned(topic).await {
            self.metadata.settle(topic);
        }
    }

    /// False if the topic is forgotten, or each of the servers has said what it has of it. Who owns it is asked only if
    /// somebody waits for that.
    async fn count_once_more(self: &Arc<Self>, name: &TopicName, is_wanted: bool) -> bool {
        let Some(topic) = self.metadata.known(name) else {
            return false;
        };
        if is_wanted {
            self.settle_if_owned(&topic).await;
        }
        let uncounted = self.metadata.counted(name).1;
        self.ask_others(self.deadline(), topic, uncounted).await;
        !self.is_counted(name)
    }
}

/// Goes on asking those that have not said what they have of a topic, as long as there is a client: the first word of
/// one of them may change where keys go, which is to be soon.
async fn ask_on(client: Weak<Inner>, name: TopicName) {
    let mut pause = ASK_PAUSE;
    // At first somebody does, most likely: whoever asked for the topic.
    let mut is_wanted = true;
    while let Some(client) = client.upgrade() {
        if !client.count_once_more(&name, is_wanted).await {
            return;
        }
        let wanted = client.metadata.wanted(&name);
        let pause_max = client.config.detour.max(ASK_PAUSE_MAX);
        drop(client);
        sleep(pause.min(ASK_PAUSE_MAX)).await;
        let left = pause.saturating_sub(ASK_PAUSE_MAX);
        is_wanted = timeout(left, wanted.notified()).await.is_ok();
        pause = (2 * pause).min(pause_max);
    }
}

/// A server that may have more of a topic than is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Untold {
    /// Its address, as it was configured.
    pub server: String,
    /// Why it does not say what it has, if it said that it cannot read the topic; else it says nothing.
    pub damage: Option<ErrorBody>,
}

/// Before those are asked again that said nothing, at first.
const ASK_PAUSE: Duration = Duration::from_millis(100);
/// The longest one while keys wait for their word.
const ASK_PAUSE_MAX: Duration = Duration::from_secs(1);
