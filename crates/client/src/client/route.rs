//! The way to a partition: to the core that owns it, or around.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use corelog_protocol::error::{Detail, ErrorBody, ErrorCode};
use corelog_record::{PartitionId, TopicId, TopicName};
use tokio::time::Instant;
use tracing::debug;

use super::Inner;
use crate::Error;
use crate::connection::{Connection, Key, User};
use crate::metadata::{Partition, Teller, Topic};
use crate::retry::Deadline;

/// A connection that serves a partition.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) connection: Connection,
    pub(crate) topic: Arc<Topic>,
    /// Set on a detour: when to try the owner's own address again.
    retry_at: Option<Instant>,
}

impl Route {
    /// True if a better one may be had; to be changed only while nothing is in flight on it.
    pub(crate) fn is_stale(&self) -> bool {
        self.connection.is_closed() || self.retry_at.is_some_and(|at| at <= Instant::now())
    }
}

impl Inner {
    /// A connection to the core that owns a partition or, if that does not answer, to a port from
    /// which the node finds its way. When the time is over no other address is tried.
    pub(crate) async fn route_by(
        self: &Arc<Self>,
        deadline: Deadline,
        user: User,
        name: &TopicName,
        partition: PartitionId,
    ) -> Result<Route, Error> {
        let told = self.topic_by(deadline, name).await;
        let mut topic = told.map_err(Error::of_look_up)?;
        if topic.partition(partition).is_err() {
            // It may have been added since, or another server has more of them.
            let told = self.topic_of_all(deadline, name).await;
            topic = told.map_err(Error::of_look_up)?;
        }
        let owner = topic.partition(partition)?;
        let (is_elsewhere, is_kept) = (owner.is_elsewhere, owner.teller.is_some());
        let addresses = self.addresses(&topic, owner);
        let mut last = Error::NoServer;
        let key = |address: &Arc<str>| Key {
            address: Arc::clone(address),
            user,
        };
        for (index, address) in addresses.iter().enumerate() {
            match self.pool.connect(&key(address)).await {
                Ok(connection) if index == 0 => {
                    return Ok(Route {
                        connection,
                        topic,
                        retry_at: None,
                    });
                }
                Ok(connection) => {
                    // Another node is no way around: it can only say who owns the partition by then. Where it does not
                    // know, another of the servers may.
                    match is_elsewhere {
                        true => self.turn_from(topic.teller.server, name),
                        false => self.rest(addresses[..index].iter().map(key)),
                    }
                    let (from, to) = (&addresses[0], connection.address());
                    debug!(topic = %name, %partition, %from, %to, "goes around an address");
                    let retry_at = Some(Instant::now() + self.config.detour);
                    return Ok(Route {
                        connection,
                        topic,
                        retry_at,
                    });
                }
                Err(error) => last = error,
            }
            if deadline.is_over() && index + 1 < addresses.len() {
                // The next attempt begins with those that are left.
                if !is_elsewhere {
                    self.rest(addresses[..=index].iter().map(key));
                }
                return Err(last);
            }
        }
        // None answers: the node is down, or has moved. Begin anew with all of it.
        addresses
            .iter()
            .for_each(|address| self.pool.wake(&key(address)));
        match is_kept {
            // The one that described the topic last has nothing to tell of this partition.
            true => self.turn_from(topic.teller.server, name),
            false => self.metadata.doubt(name),
        }
        Err(last)
    }

    /// Where a partition's owner listens, as far as is known, or else one of the configured servers.
    pub(crate) fn owner(&self, name: &TopicName, partition: PartitionId) -> Arc<str> {
        let topic = self.metadata.known(name);
        let known =
            topic.and_then(|topic| Some(Arc::clone(&topic.partition(partition).ok()?.address)));
        let known = known.filter(|address| !address.is_empty());
        known.unwrap_or_else(|| Arc::clone(&self.servers[self.server.load(Ordering::Relaxed)]))
    }

    /// Leaves alone for a while what did not answer, each of which whoever goes around it would wait for anew.
    fn rest(&self, keys: impl Iterator<Item = Key>) {
        keys.for_each(|key| self.pool.rest(&key, self.config.detour));
    }

    /// Where a partition's owner listens, and the ports of the node that described it. Whether other servers
    /// have it at all, only they can tell.
    fn addresses(&self, topic: &Topic, owner: &Partition) -> Vec<Arc<str>> {
        let Teller { server, shared } = topic.teller_of(owner);
        let mut addresses = vec![Arc::clone(&owner.address)];
        if !owner.is_elsewhere {
            addresses.push(Arc::clone(shared));
        }
        addresses.push(Arc::clone(&self.servers[*server]));
        addresses.retain(|address| !address.is_empty());
        addresses.dedup();
        addresses
    }

    /// Learns from a failed request, of the topic `asked`, where its partition is, or that nothing is known any more; true if the
    /// route that the request took is no longer the right one. What is known by now of another topic of its name stays.
    pub(crate) fn heed(
        &self,
        name: &TopicName,
        asked: Option<TopicId>,
        partition: PartitionId,
        error: &Error,
    ) -> bool {
        match error {
            Error::Lost { .. } | Error::TimedOut { .. } => {
                self.metadata.doubt(name);
                false
            }
            Error::Refused { body } => match body.known_code() {
                Some(ErrorCode::NotOwner) => {
                    match &body.detail.address {
                        Some(address) => {
                            let from = self.owner(name, partition);
                            debug!(topic = %name, %partition, %from, to = %address, "led elsewhere");
                            self.metadata.moved(name, asked, partition, address);
                            self.pool.end_detours(address);
                        }
                        None => self.metadata.doubt(name),
                    }
                    true
                }
                Some(ErrorCode::TopicChanged) => {
                    self.forget(name, asked);
                    true
                }
                Some(ErrorCode::UnknownTopic | ErrorCode::UnknownPartition) => {
                    self.metadata.doubt(name);
                    true
                }
                // No part of it can be read there: another may have a copy, which owns it by now.
                Some(ErrorCode::Damaged) if body.detail.next.is_none() => {
                    self.metadata.doubt(name);
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }
}

/// The error of whoever means the topic as it was before `route` found another one.
pub(crate) fn topic_changed(route: &Route) -> Error {
    let message = format!("topic {} was deleted and created again", route.topic.name);
    let detail = Detail {
        topic_id: Some(route.topic.id),
        ..Detail::default()
    };
    Error::refused(ErrorBody::new(ErrorCode::TopicChanged, message).with_detail(detail))
}
