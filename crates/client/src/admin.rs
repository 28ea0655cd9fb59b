//! Topics, their settings and their offsets; snapshots of them. Copies of them on several nodes are
//! in [`replicas`].

mod replicas;

use std::sync::Arc;

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::list_offsets::At;
use corelog_protocol::message::settings::{SettingsChange, TopicSettings};
use corelog_protocol::message::snapshot::Snapshot;
use corelog_protocol::message::{
    alter_topic, create_snapshot, create_topic, delete_snapshot, delete_topic, describe_topic,
    list_offsets, list_snapshots, metadata, reopen_partition, restore_status, restore_topic,
    scrub_topic, truncate,
};
use corelog_record::{Offset, PartitionId, Timestamp, TopicId, TopicName};

use crate::Error;
use crate::client::Inner;
use crate::retry::{Deadline, Repeat, Retry};

/// Administration. Requests that change something are sent again only if they were certainly not
/// applied; an error whose [`outcome`](Error::outcome) is unknown asks the caller to look. What concerns one
/// partition's log (`list_offsets`, `truncate`, `reopen_partition`) is asked of its owner; all else of the first server
/// that answers, or of the first that has the topic, whose `NotOwner` is not followed.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Arc<Inner>,
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
        Self { client }
    }

    /// Creates a topic; it is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Refused`] (`TopicExists`, `InvalidPartitions`, `InvalidSettings`,
    /// `TooManyPartitions`, …), or why no server answered.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<create_topic::Answer, Error> {
        // The same creation twice is the same once, if an existing topic is no error.
        let repeat = if topic.if_not_exists {
            Repeat::Always
        } else {
            Repeat::IfNotApplied
        };
        let request = create_topic::Request {
            name: topic.name,
            partitions: topic.partitions,
            settings: topic.settings,
            if_not_exists: topic.if_not_exists,
        };
        let answer = self.client.call(&request, repeat).await;
        self.client.metadata.doubt(&request.name);
        answer
    }

    /// Changes a topic's settings, or gives it more partitions. `id` names the topic that is
    /// meant; `None` looks it up.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownTopic`, `TopicChanged`, `InvalidPartitions`, `InvalidSettings`, `NotOwner` with the
    /// address of the node that alters it, …), or why no server answered.
    pub async fn alter_topic(
        &self,
        name: &TopicName,
        id: Option<TopicId>,
        partitions: Option<u32>,
        settings: SettingsChange,
    ) -> Result<alter_topic::Answer, Error> {
        let id = self.id(name, id).await?;
        let request = alter_topic::Request {
            name: name.clone(),
            id,
            partitions,
            settings,
        };
        // It sets values, it adds none: twice is once.
        let answer = self.client.call(&request, Repeat::Always).await;
        self.client.metadata.doubt(name);
        answer
    }

    /// Deletes a topic and all its records. `id` names the topic that is meant; `None` looks it
    /// up.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownTopic`, `TopicChanged`), or why no server answered.
    pub async fn delete_topic(&self, name: &TopicName, id: Option<TopicId>) -> Result<(), Error> {
        let id = self.id(name, id).await?;
        let request = delete_topic::Request {
            name: name.clone(),
            id,
        };
        let answer = self.client.call(&request, Repeat::IfNotApplied).await;
        self.client.metadata.doubt(name);
        answer.map(|delete_topic::Answer {}| ())
    }

    /// A topic's settings and the state of its partitions, as a server tells them that has it.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownTopic`), or why no server answered.
    pub async fn describe_topic(&self, name: &TopicName) -> Result<describe_topic::Answer, Error> {
        let request = describe_topic::Request { name: name.clone() };
        match self.client.call(&request, Repeat::Always).await {
            Err(error) if error.is_unknown_topic() => {
                self.client.metadata.doubt(name);
                let server = self.client.topic(name).await?.teller.server;
                self.client.call_at(server, &request, Repeat::Always).await
            }
            told => told,
        }
    }

    /// All topics by name, with their partitions and where these live.
    ///
    /// # Errors
    /// Why no server answered.
    pub async fn list_topics(&self) -> Result<Vec<metadata::Topic>, Error> {
        let request = metadata::Request { topics: None };
        Ok(self.client.call(&request, Repeat::Always).await?.topics)
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
    /// that is meant; `None` looks it up.
    ///
    /// # Errors
    /// [`Error::Refused`] (`OutOfRange` beyond the high watermark, `UnknownTopic`, …),
    /// [`Error::NoSuchPartition`], or why no server answered.
    pub async fn truncate(
        &self,
        topic: &TopicName,
        partition: PartitionId,
        lowest: Offset,
        id: Option<TopicId>,
    ) -> Result<Offset, Error> {
        // The id is looked up once: if the topic is recreated meanwhile, the new one stays whole.
        let meant = self.id(topic, id).await?;
        let request = |_| truncate::Request {
            topic: topic.clone(),
            id: meant,
            partition,
            lowest,
        };
        let answer = self
            .client
            .call_partition(topic, partition, Repeat::Always, request)
            .await?;
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

    /// Takes a snapshot of topics, of all if none is named; it is durable when this returns. With
    /// thousands of partitions it may take longer than [`ClientConfig::timeout`](
    /// crate::ClientConfig::timeout) allows.
    ///
    /// # Errors
    /// [`Error::Refused`] (`SnapshotExists`, `UnknownTopic`, `Fenced`, `StorageFull`, …), or why no
    /// server answered.
    pub async fn create_snapshot(
        &self,
        snapshot: &str,
        topics: Vec<TopicName>,
    ) -> Result<Snapshot, Error> {
        let request = create_snapshot::Request {
            snapshot: snapshot.to_owned(),
            topics,
        };
        let answer = self.client.call(&request, Repeat::IfNotApplied).await?;
        Ok(answer.taken)
    }

    /// Which snapshots there are; partitions are left out.
    ///
    /// # Errors
    /// Why no server answered.
    pub async fn list_snapshots(&self) -> Result<list_snapshots::Answer, Error> {
        Retry::new(Repeat::Always, &self.client.config)
            .run(|deadline| self.list_snapshots_by(deadline))
            .await
    }

    /// All of them from one server: another one has others.
    async fn list_snapshots_by(&self, deadline: Deadline) -> Result<list_snapshots::Answer, Error> {
        let server = self.client.any_server().await?;
        let (mut all, mut after) = (list_snapshots::Answer::default(), None);
        loop {
            let request = list_snapshots::Request {
                snapshot: None,
                after,
            };
            let answer = server.call(&request, deadline.left()).await?.head;
            all.snapshots.extend(answer.snapshots);
            all.unreadable.extend(answer.unreadable);
            // A server that leads nowhere is at its end: each name is behind the one before.
            match answer
                .next
                .filter(|next| request.after.as_ref() < Some(next))
            {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// What a snapshot holds of each partition.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownSnapshot`), or why no server answered.
    pub async fn snapshot(&self, snapshot: &str) -> Result<Snapshot, Error> {
        let request = list_snapshots::Request {
            snapshot: Some(snapshot.to_owned()),
            after: None,
        };
        let answer = self.client.call(&request, Repeat::Always).await?;
        let found = answer.snapshots.into_iter().next();
        found.ok_or_else(|| Error::Refused {
            body: Box::new(ErrorBody::new(
                ErrorCode::UnknownSnapshot,
                format!("there is no snapshot {snapshot}"),
            )),
        })
    }

    /// Deletes a snapshot. `created` names the one that is meant; `None` takes whichever there is.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownSnapshot`, `Busy` while it is restored), or why no server
    /// answered.
    pub async fn delete_snapshot(
        &self,
        snapshot: &str,
        created: Option<Timestamp>,
    ) -> Result<(), Error> {
        let request = delete_snapshot::Request {
            snapshot: snapshot.to_owned(),
            created,
        };
        let answer = self.client.call(&request, Repeat::IfNotApplied).await;
        answer.map(|delete_snapshot::Answer {}| ())
    }

    /// Begins to make a new topic of one in a snapshot, which is named, or lies at an absolute path
    /// on the node's machine; gives the number for [`Admin::restore_status`].
    ///
    /// # Errors
    /// [`Error::Refused`] (`TopicExists`, `UnknownSnapshot`, `UnknownTopic`, `Busy` while another
    /// restore goes on, …), or why no server answered.
    pub async fn restore_topic(&self, request: &restore_topic::Request) -> Result<u64, Error> {
        let answer = self.client.call(request, Repeat::IfNotApplied).await;
        self.client.metadata.doubt(&request.topic);
        Ok(answer?.restore)
    }

    /// How far a restore is, and how it ended.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownRestore`), or why no server answered.
    pub async fn restore_status(&self, restore: u64) -> Result<restore_status::Answer, Error> {
        let request = restore_status::Request { restore };
        self.client.call(&request, Repeat::Always).await
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
        let request = scrub_topic::Request {
            topic: topic.clone(),
            id: self.id(topic, id).await?,
            partition,
            start,
        };
        // A pass that goes on is not begun again: twice is once.
        self.client.call(&request, Repeat::Always).await
    }

    async fn id(&self, name: &TopicName, id: Option<TopicId>) -> Result<TopicId, Error> {
        match id {
            Some(id) => Ok(id),
            // Asked for anew: what changes or goes shall be the topic as it is now.
            None => match self.describe_topic(name).await {
                Ok(topic) => Ok(topic.id),
                Err(error) => Err(error.of_look_up()),
            },
        }
    }
}
