//! Copies of topics on several nodes: comparing, cloning, and who owns them.

use corelog_protocol::message::{
    chain_at, clone_topic, forget_follower, handover, promote, rejoin, repair_topic,
    replica_status, segments,
};
use corelog_record::{Offset, PartitionId, TopicId, TopicName};

use super::Admin;
use crate::Error;
use crate::retry::Repeat;

/// What several nodes hold of one topic. These requests concern the node that is asked, whoever owns
/// the partitions: [`Admin::of`] gives one for one node. What changes who owns a partition, or
/// its files, is asked for one partition at a time: an error is about that one, and about nothing that was done before.
impl Admin {
    /// A partition's sealed segments that hold offsets at or above `from`, and its active one.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownTopic`, `TopicChanged`, `UnknownPartition`, …), or why no server
    /// answered.
    pub async fn segments(
        &self,
        topic: &TopicName,
        id: TopicId,
        partition: PartitionId,
        from: Offset,
    ) -> Result<segments::Answer, Error> {
        let request = segments::Request {
            topic: topic.clone(),
            id,
            partition,
            from,
        };
        self.call(&request, Repeat::Always).await
    }

    /// The batch boundary at or below `offset`, which lies between the log start and the high
    /// watermark, and the chain there.
    ///
    /// # Errors
    /// [`Error::Refused`] (`OutOfRange`, `Damaged`, `UnknownTopic`, …), or why no server answered.
    pub async fn chain_at(
        &self,
        topic: &TopicName,
        id: TopicId,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<chain_at::Answer, Error> {
        let request = chain_at::Request {
            topic: topic.clone(),
            id,
            partition,
            offset,
        };
        self.call(&request, Repeat::Always).await
    }

    /// Makes partitions of another node's topic replicas on the node asked; that goes on after this
    /// returns, as [`Admin::replica_status`] tells.
    ///
    /// # Errors
    /// [`Error::Refused`] (`TopicChanged`, `InvalidPartitions`, `Diverged`, `SourceUnavailable`, …),
    /// or why no server answered.
    pub async fn clone_topic(
        &self,
        request: &clone_topic::Request,
    ) -> Result<clone_topic::Answer, Error> {
        // A clone that goes on is not begun again: twice is once.
        let repeat = Repeat::Idempotent;
        self.change(&request.topic, request, repeat).await
    }

    /// What the node asked is to each partition of a topic, and how far its replicas are. `id` names
    /// the topic that is meant; `None` takes whichever there is.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownTopic`, `TopicChanged`), or why no server answered.
    pub async fn replica_status(
        &self,
        topic: &TopicName,
        id: Option<TopicId>,
    ) -> Result<replica_status::Answer, Error> {
        let request = replica_status::Request {
            topic: topic.clone(),
            id,
            partition: None,
        };
        self.call(&request, Repeat::Always).await
    }

    /// Makes the node asked the owner of a partition that it follows. Records of the source that it
    /// does not hold may be missing then, which `accept_loss` puts up with.
    ///
    /// # Errors
    /// [`Error::Refused`] (`LossPossible`, `NotFollower`, …), or why no server answered.
    pub async fn promote(
        &self,
        topic: &TopicName,
        id: TopicId,
        partition: PartitionId,
        accept_loss: bool,
    ) -> Result<promote::Answer, Error> {
        let request = promote::Request {
            topic: topic.clone(),
            id,
            partition: Some(partition),
            accept_loss,
        };
        self.change(topic, &request, Repeat::IfNotApplied).await
    }

    /// Has the follower at the address `to`, or the only one, own what the node asked owns; no
    /// record is lost.
    ///
    /// # Errors
    /// [`Error::Refused`] (`NotOwner`, `NotFollower`, `NotEqual` where the follower is not level in
    /// time, `SourceUnavailable`, …), or why no server answered.
    pub async fn handover(
        &self,
        topic: &TopicName,
        id: TopicId,
        partition: PartitionId,
        to: Option<String>,
    ) -> Result<handover::Answer, Error> {
        let request = handover::Request {
            to,
            ..handing(topic, id, partition)
        };
        self.change(topic, &request, Repeat::IfNotApplied).await
    }

    /// Calls off a handover that has not ended: the node asked takes writes again. Where the other one
    /// does not say that it does not own the partition it may, which `accept_loss` puts up with.
    ///
    /// # Errors
    /// [`Error::Refused`] (`NotOwner` where the other one owns it already, `SourceUnavailable`, …), or
    /// why no server answered.
    pub async fn abort_handover(
        &self,
        topic: &TopicName,
        id: TopicId,
        partition: PartitionId,
        accept_loss: bool,
    ) -> Result<handover::Answer, Error> {
        let request = handover::Request {
            abort: true,
            accept_loss,
            ..handing(topic, id, partition)
        };
        self.change(topic, &request, Repeat::IfNotApplied).await
    }

    /// Makes a partition that the node asked owned, or owns, follow the node at the address `to`;
    /// records that only the node asked holds go to its quarantine.
    ///
    /// # Errors
    /// [`Error::Refused`] (`SourceUnavailable`, `Diverged` where it is another log, …), or why no
    /// server answered.
    pub async fn rejoin(
        &self,
        topic: &TopicName,
        id: TopicId,
        partition: PartitionId,
        to: &str,
    ) -> Result<rejoin::Answer, Error> {
        let request = rejoin::Request {
            topic: topic.clone(),
            id,
            partition: Some(partition),
            to: to.to_owned(),
        };
        self.change(topic, &request, Repeat::IfNotApplied).await
    }

    /// Has the node asked forget a follower that is gone for good, which it remembers at `address`:
    /// retention waits for it no longer. One that still lives is remembered again. One that the node followed before it was
    /// promoted is told of that no more. With `id` only if the topic is still that one.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownFollower`, `UnknownPartition`, …), or why no server answered.
    pub async fn forget_follower(
        &self,
        topic: &TopicName,
        id: Option<TopicId>,
        partition: Option<PartitionId>,
        address: &str,
    ) -> Result<forget_follower::Answer, Error> {
        let request = |id| forget_follower::Request {
            topic: topic.clone(),
            id,
            partition,
            address: address.to_owned(),
        };
        self.call_of(topic, id, Repeat::IfNotApplied, request).await
    }

    /// Has the damaged segments that the node asked has of a partition replaced by those of the nodes `from`, or of the
    /// peers that it knows if none is named.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownTopic`, `UnknownPartition`, …), or why no server answered.
    pub async fn repair_topic(
        &self,
        topic: &TopicName,
        id: TopicId,
        partition: PartitionId,
        from: Vec<String>,
    ) -> Result<repair_topic::Answer, Error> {
        let request = repair_topic::Request {
            topic: topic.clone(),
            id,
            partition: Some(partition),
            from,
        };
        // What is whole is not replaced: twice is once.
        self.call(&request, Repeat::Idempotent).await
    }
}

fn handing(topic: &TopicName, id: TopicId, partition: PartitionId) -> handover::Request {
    handover::Request {
        topic: topic.clone(),
        id,
        partition: Some(partition),
        to: None,
        abort: false,
        accept_loss: false,
    }
}
