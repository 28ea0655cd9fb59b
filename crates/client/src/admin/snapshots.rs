//! Snapshots of topics, and topics made of them.

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::snapshot::Snapshot;
use corelog_protocol::message::{
    create_snapshot, delete_snapshot, list_snapshots, restore_status, restore_topic,
};
use corelog_record::{Timestamp, TopicName};

use super::Admin;
use crate::Error;
use crate::client::Turn;
use crate::retry::{Deadline, Repeat, Retry};

impl Admin {
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
        let answer = self.call(&request, Repeat::IfNotApplied).await?;
        Ok(answer.taken)
    }

    /// Which snapshots there are; partitions are left out.
    ///
    /// # Errors
    /// Why no server answered.
    pub async fn list_snapshots(&self) -> Result<list_snapshots::Answer, Error> {
        let turn = &self.client.turn();
        Retry::until(self.client.deadline(), Repeat::Always, &self.client.config)
            .run(|deadline| self.list_snapshots_by(turn, deadline))
            .await
    }

    /// All of them from one server: another one has others.
    async fn list_snapshots_by(
        &self,
        turn: &Turn,
        deadline: Deadline,
    ) -> Result<list_snapshots::Answer, Error> {
        let (server, connection) = self.one(deadline).await?;
        let (mut all, mut after) = (list_snapshots::Answer::default(), None);
        loop {
            let request = list_snapshots::Request {
                snapshot: None,
                after,
            };
            let answer = match self.server {
                Some(_) => connection.call(&request, deadline.left()).await?.head,
                None => {
                    let asked =
                        self.client
                            .ask_in_turn((turn, server), &connection, &request, deadline);
                    asked.await?
                }
            };
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
        let answer = self.call(&request, Repeat::Always).await?;
        let found = answer.snapshots.into_iter().next();
        found.ok_or_else(|| {
            let message = format!("there is no snapshot {snapshot}");
            Error::refused(ErrorBody::new(ErrorCode::UnknownSnapshot, message))
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
        let answer = self.call(&request, Repeat::IfNotApplied).await;
        answer.map(|delete_snapshot::Answer {}| ())
    }

    /// Begins to make a new topic of one in a snapshot, which is named, or lies at an absolute path
    /// on the node's machine; gives the number for [`Admin::restore_status`].
    ///
    /// # Errors
    /// [`Error::Refused`] (`TopicExists`, `UnknownSnapshot`, `UnknownTopic`, `Busy` while another
    /// restore goes on, …), or why no server answered.
    pub async fn restore_topic(&self, request: &restore_topic::Request) -> Result<u64, Error> {
        let repeat = Repeat::IfNotApplied;
        let answer = self.change(&request.topic, request, repeat).await?;
        Ok(answer.restore)
    }

    /// How far a restore is, and how it ended.
    ///
    /// # Errors
    /// [`Error::Refused`] (`UnknownRestore`), or why no server answered.
    pub async fn restore_status(&self, restore: u64) -> Result<restore_status::Answer, Error> {
        let request = restore_status::Request { restore };
        self.call(&request, Repeat::Always).await
    }
}
