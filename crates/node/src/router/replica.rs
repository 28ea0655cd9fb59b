//! What core 0 is asked of partitions as replicas: what the node is to them, what it promised.

use std::rc::Rc;

use corelog_record::{CoreId, LeaderEpoch, TopicName};
use corelog_storage::format::replica::Replica;
use futures_lite::FutureExt;
use futures_lite::future::BoxedLocal;

use super::message::Ask;
use super::told::told;
use crate::core::{Core, PartitionKey};
use crate::failure::Failure;

/// Has core 0 change what the node is to a partition.
///
/// # Errors
/// What `change` refuses, and what the disk does; `Busy` if the lane is full.
pub(crate) fn change_replica(
    core: &Rc<Core>,
    topic: TopicName,
    key: PartitionKey,
    change: impl FnOnce(Replica) -> Result<Replica, Failure> + Send + 'static,
) -> BoxedLocal<Result<(), Failure>> {
    take_over_replica(core, topic, key, None, change)
}

/// The same for a partition that its owner gives, at its epoch `given_at` if that is known.
///
/// # Errors
/// `InvalidRequest` if this node promised not to take it over; else as [`change_replica`].
pub(crate) fn take_over_replica(
    core: &Rc<Core>,
    topic: TopicName,
    key: PartitionKey,
    given_at: Option<LeaderEpoch>,
    change: impl FnOnce(Replica) -> Result<Replica, Failure> + Send + 'static,
) -> BoxedLocal<Result<(), Failure>> {
    let change = Box::new(change);
    let ask = Ask::ChangeReplica {
        topic,
        key,
        given_at,
        change,
    };
    noted(core, ask)
}

/// Has core 0 promise that a partition is taken over no more at epochs of its owner up to `epoch`.
///
/// # Errors
/// `NotFollower` if this node owns it; `Busy` if too much was promised, or the lane is full.
pub(crate) fn promise(
    core: &Rc<Core>,
    key: PartitionKey,
    epoch: LeaderEpoch,
) -> BoxedLocal<Result<(), Failure>> {
    noted(core, Ask::Promise { key, epoch })
}

/// Asks core 0 if a partition may be taken over that its owner gives at `epoch`.
///
/// # Errors
/// `InvalidRequest` if that was promised against; `Busy` if the lane is full.
pub(crate) fn check_promise(
    core: &Rc<Core>,
    key: PartitionKey,
    epoch: LeaderEpoch,
) -> BoxedLocal<Result<(), Failure>> {
    noted(core, Ask::CheckPromise { key, epoch })
}

/// Boxed: what is asked here is asked in the course of other answers.
fn noted(core: &Rc<Core>, ask: Ask) -> BoxedLocal<Result<(), Failure>> {
    let core = Rc::clone(core);
    async move { told(&core, CoreId::new(0), ask, None).await }.boxed_local()
}
