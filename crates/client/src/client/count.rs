//! How many partitions a topic has: keys go by that, and a server with a copy may have fewer.
//!
//! The law: where a server has not said what it has of a topic, it is asked on. Who has to place a key waits for it a while,
//! unless another one owns all that is known, and goes by what is known then: a server may be gone for good.

use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::message::replica_status::{self, Role};
use corelog_record::TopicName;
use tokio::time::{sleep, timeout};

use super::Inner;
use crate::Error;
use crate::metadata::Topic;
use crate::retry::Deadline;

impl Inner {
    /// What is known about a topic, of which each of the servers was asked at least once.
    pub(crate) async fn topic_to_count(
        self: &Arc<Self>,
        name: &TopicName,
    ) -> Result<Arc<Topic>, Error> {
        let deadline = self.deadline();
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

    /// If each of the servers has said what it has of a topic, or is asked on by somebody else.
    fn is_asked(&self, name: &TopicName) -> bool {
        self.is_counted(name) || self.metadata.is_counted_on(name)
    }

    fn is_counted(&self, name: &TopicName) -> bool {
        self.metadata.uncounted(name, self.servers.len()).is_empty()
    }

    async fn topic_counted(
        self: &Arc<Self>,
        deadline: Deadline,
        name: &TopicName,
    ) -> Result<Arc<Topic>, Error> {
        let mut topic = self.topic_of_all(deadline, name).await?;
        let waited = deadline.left().min(self.config.connect_timeout);
        let waited = Deadline::within(waited);
        while !self.is_counted(name) && !waited.is_over() && !self.is_owned(&topic, waited).await {
            sleep(ASK_PAUSE.min(waited.left())).await;
            topic = self.ask_uncounted(waited, topic).await?;
        }
        if !self.is_counted(name) {
            self.count_on(name);
        }
        Ok(topic)
    }

    async fn ask_uncounted(
        &self,
        deadline: Deadline,
        topic: Arc<Topic>,
    ) -> Result<Arc<Topic>, Error> {
        let uncounted = self.metadata.uncounted(&topic.name, self.servers.len());
        self.ask_others(deadline, topic, uncounted).await
    }

    /// If the server that described a topic owns all that is known of it: partitions are added there alone.
    async fn is_owned(&self, topic: &Topic, deadline: Deadline) -> bool {
        let request = replica_status::Request {
            topic: TopicName::clone(&topic.name),
            id: Some(topic.id),
            partition: None,
        };
        let asked = async {
            let connection = self.connect(topic.teller.server).await?;
            connection.call(&request, deadline.left()).await
        };
        let asked: Result<_, Error> = asked.await;
        asked.is_ok_and(|told| {
            let owned = |one: &&replica_status::Partition| one.role == Role::Owner;
            let owned = told.head.partitions.iter().filter(owned).count();
            topic.partitions.len() <= owned
        })
    }

    /// Goes on asking those that have not said what they have of a topic, as long as there is a client: the first word of
    /// one of them may change where keys go, which is to be soon.
    fn count_on(self: &Arc<Self>, name: &TopicName) {
        if !self.metadata.count_on(name, true) {
            return;
        }
        let (client, name) = (Arc::downgrade(self), name.clone());
        let mut pause = ASK_PAUSE;
        tokio::spawn(async move {
            loop {
                sleep(pause).await;
                let Some(client) = client.upgrade() else {
                    return;
                };
                pause = (2 * pause).min(client.config.detour.max(ASK_PAUSE));
                let Some(topic) = client.metadata.known(&name) else {
                    client.metadata.count_on(&name, false);
                    return;
                };
                // Nobody waits for what comes of it.
                drop(client.ask_uncounted(client.deadline(), topic).await);
                if client.is_counted(&name) {
                    client.metadata.count_on(&name, false);
                    return;
                }
            }
        });
    }
}

/// Before those are asked again that said nothing.
const ASK_PAUSE: Duration = Duration::from_millis(100);
