//! Topics, their settings and their offsets. Copies of them on several nodes are in [`replicas`], what is kept of them in
//! [`snapshots`].

mod replicas;
mod snapshots;

use std::sync::Arc;

use corelog_protocol::message::list_offsets::At;
use corelog_protocol::message::settings::{SettingsChange, TopicSettings};
use corelog_protocol::message::{
    Call, alter_topic, create_topic, delete_topic, describe_topic, hello, list_offsets, metadata,
    reopen_partition, scrub_topic, truncate,
};
use corelog_record::{Offset, PartitionId, TopicId, TopicName};

use crate::Error;
use crate::client::Inner;
use crate::connection::Connection;
use crate::metadata::Topic;
use crate::retry::{Deadline, Repeat};

/// Administration. Requests that change something are sent again only if they were certainly not
/// applied, or twice is once, as where a topic is created if there is none, altered, cloned or repaired, or a log truncated; an
/// error whose [`outcome`](Error::outcome) is unknown asks the caller to look. What concerns one
/// partition's log (`list_offsets`, `reopen_partition`) is asked of its owner; all else, `truncate` too, of the first server
/// that answers, or of the first that has the topic, whose `NotOwner` is not followed. Where that is to be one server from
/// the look to the change, [`Admin::of`], [`Admin::of_teller`] and [`Admin::of_one`] give one for it.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Arc<Inner>,
    /// The only one of the servers that is asked.
    server: Option<usize>,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// How many partitions, 1 to 4,096.
    pub partitions: u32,
    /// Its settings.
    pub settings: TopicSettings,
    /// A topic of this name is no error and stays as it is.
    pub if_not_exists: bool,
}

impl NewTopic {
    /// A topic with this many partitions and the default settings.
    #[must_use]
    pub fn new(name: TopicName, partitions: u32) -> Self {
        Self {
            name,
            partitions,
            settings: TopicSettings::default(),
            if_not_exists: false,
        }
    }
}

impl Admin {
    pub(crate) const fn new(client: Arc<Inner>) -> Self {
        Self {
            client,
            server: None,
        }
    }

    /// For the one server that tells of a topic, which others may have copies of, and what it tells. What concerns the log of
    /// one partition is asked of that one's owner all the same.
    ///
    /// # Errors
    /// As for [`Admin::describe_topic`].
    pub async fn of(&self, topic: &TopicName) -> Result<(Self, describe_topic::Answer), Error> {
        self.of_by(self.client.deadline(), topic).await
    }

    /// The same for whoever has so much time.
    async fn of_by(
        &self,
        deadline: Deadline,
        topic: &TopicName,
    ) -> Result<(Self, describe_topic::Answer), Error> {
        let (server, told) = self.describe(deadline, topic).await?;
        Ok((self.at(server), told))
    }

    /// For the server that told of a topic, as [`Client::topic`](crate::Client::topic) gives it: which none of its cores is
    /// asked for.
    #[must_use]
    pub fn of_teller(&self, topic: &Topic) -> Self {
        self.at(topic.teller.server)
    }

    /// For one server, the first that answers, and what it says of itself: for what a node does by itself, and is asked
    /// about again.
    ///
    /// # Errors
    /// Why no server could be reached.
    pub async fn of_one(&self) -> Result<(Self, hello::Answer), Error> {
        let (server, connection) = self.one(self.client.deadline()).await?;
        Ok((self.at(server), connection.hello().clone()))
    }

    /// A connection to the one server, or to the first that answers, and which that is.
    async fn one(&self, deadline: Deadline) -> Result<(usize, Connection), Error> {
        match self.server {
            Some(server) => Ok((server, self.client.connect(server).await?)),
            None => self.client.next_server(deadline).await,
        }
    }

    /// The address of the one server that is asked, as it was configured; none where it is any of them.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.server.map(|server| self.client.address(server))
    }

    fn at(&self, server: usize) -> Self {
        Self {
            client: Arc::clone(&self.client),
            server: Some(server),
        }
    }

    /// Creates a topic; it is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Refused`] (`TopicExists`, `InvalidPartitions`, `InvalidSettings`,
    /// `TooManyPartitions`, …), or why no server answered.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<create_topic::Answer, Error> {
        // The same creation twice is the same once, if an existing topic is no error.
        let repeat = if topic.if_not_exists {
            Repeat::Idempotent
        } else {
            Repeat::IfNotApplied
        };
        let request = create_topic::Request {
            name: topic.name,
            partitions: topic.partitions,
            settings: topic.settings,
            if_not_exists: topic.if_not_exists,
        };
        self.change(&request.name, &request, repeat).await
    }

    /// Changes a topic's settings, or gives it more partitions. `id` names the topic that is
    /// meant; `None` looks it up.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownTopic`, `TopicChanged`, `InvalidPartitions`, `InvalidSettings`, `NotOwner` with the
    /// address of the node that alters it, if one does, …), or why no server answered.
    pub async fn alter_topic(
        &self,
        name: &TopicName,
        id: Option<TopicId>,
        partitions: Option<u32>,
        settings: SettingsChange,
    ) -> Result<alter_topic::Answer, Error> {
        let request = |id| alter_topic::Request {
            name: name.clone(),
            id,
            partitions,
            settings,
        };
        // It sets values, it adds none: twice is once.
        let answer = self.call_of(name, id, Repeat::Idempotent, request).await;
        self.client.metadata.doubt(name);
        answer
    }

    /// Deletes a topic and all its records. `id` names the topic that is meant; `None` looks it
    /// up.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownTopic`, `TopicChanged`), or why no server answered.
    pub async fn delete_topic(&self, name: &TopicName, id: Option<TopicId>) -> Result<(), Error> {
        let request = |id| delete_topic::Request {
            name: name.clone(),
            id,
        };
        let answer = self.call_of(name, id, Repeat::IfNotApplied, request).await;
        self.client.metadata.doubt(name);
        answer.map(|delete_topic::Answer {}| ())
    }

    /// A topic's settings and the state of its partitions, as a server tells them that has it.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownTopic`), or why no server answered.
    pub async fn describe_topic(&self, name: &TopicName) -> Result<describe_topic::Answer, Error> {
        Ok(self.describe(self.client.deadline(), name).await?.1)
    }

    /// The same, and which of the servers told it.
    async fn describe(
        &self,
        deadline: Deadline,
        name: &TopicName,
    ) -> Result<(usize, describe_topic::Answer), Error> {
        let request = describe_topic::Request { name: name.clone() };
        let server = match self.server {
            Some(server) => server,
            None => match self.client.call_in_turn(deadline, &request).await {
                Err(error) if error.is_unknown_topic() => {
                    self.client.metadata.doubt(name);
                    self.client.topic_by(deadline, name).await?.teller.server
                }
                told => return told,
            },
        };
        let told = self
            .client
            .call_at(deadline, server, &request, Repeat::Always);
        Ok((server, told.await?))
    }

    /// What the one server that is asked, or else any, tells of itself and of all topics that it has, by name; those that it
    /// cannot read too.
    ///
    /// # Errors
    /// Why no server answered.
    pub async fn metadata(&self) -> Result<metadata::Answer, Error> {
        let request = metadata::Request { topics: None };
        if self.server.is_some() {
            return self.call(&request, Repeat::Always).await;
        }
        let deadline = self.client.deadline();
        Ok(self.client.call_in_turn(deadline, &request).await?.1)
    }

    /// The earliest or latest offset of a partition, or the first at a time.
    ///
    /// By time the answer is the *batch* that holds the record; a
    /// [`Consumer`](crate::Consumer) started at a time finds the record in it.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownTopic`), [`Error::NoSuchPartition`], or why no server answered.
    pub async fn list_offsets(
        &self,
        topic: &TopicName,
        partition: PartitionId,
        at: At,
    ) -> Result<list_offsets::Answer, Error> {
        let request = |id| list_offsets::Request {
            topic: topic.clone(),
            id,
            partition,
            at,
        };
        self.client
            .call_partition(topic, partition, Repeat::Always, request)
            .await
    }

    /// Moves a partition's log start up to `lowest`; returns where it is now. `id` names the topic
    /// that is meant; `None` looks it up. What goes is gone for good: a server that does not own the partition refuses it,
    /// and its owner is not asked instead, whose log the caller may not have meant.
    ///
    /// # Errors
    /// [`Error::Refused`] (`OutOfRange` beyond the high watermark, `UnknownTopic`, `UnknownPartition`, `NotOwner` with the
    /// address of the owner as far as it is known, …), or why no server answered.
    pub async fn truncate(
        &self,
        topic: &TopicName,
        partition: PartitionId,
        lowest: Offset,
        id: Option<TopicId>,
    ) -> Result<Offset, Error> {
        let request = |id| truncate::Request {
            topic: topic.clone(),
            id,
            partition,
            lowest,
        };
        // A log start never moves back: twice is once.
        let answer = self.call_of(topic, id, Repeat::Idempotent, request).await?;
        Ok(answer.log_start)
    }

    /// Lifts a partition's fence by recovering it from its disk.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::NoSuchPartition`], or why no server answered.
    pub async fn reopen_partition(
        &self,
        topic: &TopicName,
        partition: PartitionId,
    ) -> Result<reopen_partition::Answer, Error> {
        let request = |id| reopen_partition::Request {
            topic: topic.clone(),
            id,
            partition,
        };
        self.client
            .call_partition(topic, partition, Repeat::IfNotApplied, request)
            .await
    }

    /// Has the sealed segments of a topic read and checked, or only those of one partition, and
    /// tells how far that is. `id` names the topic that is meant; `None` looks it up.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownTopic`, `TopicChanged`, `UnknownPartition`), or why no server
    /// answered.
    pub async fn scrub_topic(
        &self,
        topic: &TopicName,
        id: Option<TopicId>,
        partition: Option<PartitionId>,
    ) -> Result<scrub_topic::Answer, Error> {
        self.scrub(topic, id, partition, true).await
    }

    /// How far the scrub of a topic is, or of one partition; begins none.
    ///
    /// # Errors
    /// As for [`Admin::scrub_topic`].
    pub async fn scrub_status(
        &self,
        topic: &TopicName,
        id: Option<TopicId>,
        partition: Option<PartitionId>,
    ) -> Result<scrub_topic::Answer, Error> {
        self.scrub(topic, id, partition, false).await
    }

    async fn scrub(
        &self,
        topic: &TopicName,
        id: Option<TopicId>,
        partition: Option<PartitionId>,
        start: bool,
    ) -> Result<scrub_topic::Answer, Error> {
        let request = |id| scrub_topic::Request {
            topic: topic.clone(),
            id,
            partition,
            start,
        };
        // A pass that goes on is not begun again: twice is once.
        let repeat = match start {
            true => Repeat::Idempotent,
            false => Repeat::Always,
        };
        self.call_of(topic, id, repeat, request).await
    }

    /// Asks the one server, or any.
    async fn call<R: Call>(&self, request: &R, repeat: Repeat) -> Result<R::Answer, Error> {
        self.call_by(self.client.deadline(), request, repeat).await
    }

    /// The same for whoever has so much time.
    async fn call_by<R: Call>(
        &self,
        deadline: Deadline,
        request: &R,
        repeat: Repeat,
    ) -> Result<R::Answer, Error> {
        match self.server {
            Some(server) => self.client.call_at(deadline, server, request, repeat).await,
            None => self.client.call(deadline, request, repeat).await,
        }
    }

    /// Asks for what changes a topic: what is known of it may not be so any more.
    async fn change<R: Call>(
        &self,
        topic: &TopicName,
        request: &R,
        repeat: Repeat,
    ) -> Result<R::Answer, Error> {
        let answer = self.call(request, repeat).await;
        self.client.metadata.doubt(topic);
        answer
    }

    /// Asks about a topic: any server, or where `id` is to be looked up, within the same time, the one that told it. Another
    /// one may have a copy.
    async fn call_of<R: Call>(
        &self,
        name: &TopicName,
        id: Option<TopicId>,
        repeat: Repeat,
        request: impl FnOnce(TopicId) -> R,
    ) -> Result<R::Answer, Error> {
        match id {
            Some(id) => self.call(&request(id), repeat).await,
            // Asked for anew: what changes or goes shall be the topic as it is now.
            None => {
                let deadline = self.client.deadline();
                let told = self.of_by(deadline, name).await;
                let (admin, topic) = told.map_err(Error::of_look_up)?;
                admin.call_by(deadline, &request(topic.id), repeat).await
            }
        }
    }
}
