//! Where a request goes, and the questions that are the same wherever it does.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::fetch;
use corelog_record::{CoreId, PartitionId, TopicId, TopicName};
use corelog_storage::snapshot::Name;

use super::fetch::FetchFrom;
use super::lane::ConnAcks;
use super::message::{Ask, Produce, What};
use super::told::told;
use crate::catalog::{Change, Topic};
use crate::core::{Core, PartitionKey, Taken, may_heal};
use crate::failure::Failure;
use crate::follow::{Hearing, READER_WAIT_MAX_MS};
use crate::frame_id::FrameId;
use crate::metrics::add;
use crate::partition::Seek;
use crate::rt;

/// The core that serves the partition that a request names.
///
/// # Errors
/// What [`Routes::owner`](crate::catalog::Routes::owner) refuses.
pub(crate) fn route(
    core: &Core,
    name: &TopicName,
    topic: TopicId,
    partition: PartitionId,
) -> Result<(CoreId, PartitionKey), Failure> {
    let owner = core.routes.borrow().owner(name, topic, partition)?;
    Ok((owner, PartitionKey { topic, partition }))
}

/// Sends a Produce to the core that owns its partition; gives the number its answer comes under.
///
/// # Errors
/// `Busy` if the lane is full.
pub(crate) fn produce_away(
    core: &Core,
    to: CoreId,
    produce: Produce,
    acks: ConnAcks,
) -> Result<u64, Failure> {
    let sent = core.lanes.to(to).produce(produce, acks);
    count_hop(core, &sent);
    sent
}

/// Has a core take its part of a snapshot.
///
/// # Errors
/// Why it could not, `Busy` if its lane is full.
pub(crate) async fn take_at(
    core: &Rc<Core>,
    at: CoreId,
    name: Name,
    topics: Vec<Arc<Topic>>,
) -> Result<Vec<Taken>, Failure> {
    told(core, at, Ask::TakeSnapshot { name, topics }, None).await
}

/// Hears a follower, on the core that has its partition.
///
/// # Errors
/// `Diverged`; `Busy` where its log has to be held against this one, while who asks has as many searches under way as it may;
/// and what any request may be refused with.
pub(crate) async fn hear(
    core: &Rc<Core>,
    request: &FetchFrom<'_>,
    follower: fetch::Follower,
) -> Result<Hearing, Failure> {
    let (at, key) = request.route(core)?;
    told(core, at, Ask::Hear { key, follower }, Some(request.frame)).await
}

/// Has another core take a change of the catalog, however long that takes.
pub(crate) async fn apply_at(core: &Rc<Core>, at: CoreId, change: Change) {
    loop {
        let ask = Ask::Apply(change.clone());
        match core.lanes.to(at).call(What::Ask(Box::new(ask)), None) {
            Ok(call) => {
                call.answered().await;
                return;
            }
            Err(error) if error.is(ErrorCode::Busy) => rt::sleep(APPLY_PAUSE).await,
            // The other core has ended: the node stops.
            Err(_) => return,
        }
    }
}

/// After a Fetch over a lane that failed: [`Core::healed_for_reader`], on the core that has the partition.
///
/// # Errors
/// What the client is told.
pub(super) async fn healed_at(
    core: &Rc<Core>,
    (owner, key): (CoreId, PartitionKey),
    error: Failure,
    frame: FrameId,
) -> Result<(), Failure> {
    if !may_heal(&error) {
        return Err(error);
    }
    let mut met = error.clone();
    let ask = Ask::Heal { key, error };
    match told(core, owner, ask, Some(frame)).await {
        // There is no place to wait: what was met, then, and when to look again.
        Err(refused) if refused.is(ErrorCode::Busy) => {
            met.detail.retry_ms = Some(READER_WAIT_MAX_MS);
            Err(met)
        }
        told => told,
    }
}

/// Counts a request that goes to another core, or is refused since there is no room on the way.
pub(super) fn count_hop<T>(core: &Core, sent: &Result<T, Failure>) {
    match sent {
        Ok(_) => add(&core.counters.hops_total, 1),
        Err(error) => count_refusal(core, error),
    }
}

/// Counts a request that is refused since there is no room on the way to another core, if that is why.
pub(super) fn count_refusal(core: &Core, error: &Failure) {
    if error.is(ErrorCode::Busy) {
        add(&core.counters.lane_busy_total, 1);
    }
}

/// Which offset a time or a place stands for.
pub(crate) fn seek_of(at: corelog_protocol::message::list_offsets::At) -> Seek {
    use corelog_protocol::message::list_offsets::At;
    match at {
        At::Earliest => Seek::Earliest,
        At::Latest => Seek::Latest,
        At::Time(time) => Seek::Time(time),
    }
}

/// Between two attempts to tell another core of a change while its lane is full.
const APPLY_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use futures_lite::future::poll_once;

    use super::*;
    use crate::core::tests::{copied, with_core};
    use crate::failure::failure;
    use crate::frame_id::tests::frame;

    /// It was told `Busy`, and came back fifty times a second to read what cannot be read.
    #[test]
    fn who_finds_no_place_to_wait_for_a_repair_is_told_what_it_met_and_when_to_look_again() {
        with_core(|core| async move {
            let key = copied(&core, "127.0.0.1:1").await;
            // It goes on once others have the core.
            core.heal(key, None);
            let mut waiting = 0;
            let told = loop {
                let met = failure(ErrorCode::Damaged, "damaged");
                let healed = healed_at(&core, (core.id, key), met, frame());
                match poll_once(Box::pin(healed)).await {
                    None => waiting += 1,
                    Some(told) => break told.unwrap_err(),
                }
                assert!(waiting < 1_000, "nothing bounds them");
            };
            assert!(told.is(ErrorCode::Damaged), "{told}");
            assert_eq!(told.detail.retry_ms, Some(READER_WAIT_MAX_MS));
        });
    }
}
