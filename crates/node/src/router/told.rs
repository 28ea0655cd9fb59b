//! Asking a core, and taking the one answer that it can give.

use std::rc::Rc;

use corelog_protocol::message::{
    alter_topic, chain_at, clone_topic, create_snapshot, create_topic, delete_snapshot,
    delete_topic, describe_topic, forget_follower, handover, list_offsets, list_snapshots, promote,
    rejoin, reopen_partition, repair_topic, replica_status, restore_status, restore_topic,
    scrub_topic, segments, take_over, truncate,
};
use corelog_record::CoreId;

use super::here::answer_here;
use super::message::{Answered, Ask, Told, What};
use super::route::count_hop;
use super::searches::SearchHere;
use crate::core::{Core, Lent, Taken};
use crate::failure::Failure;
use crate::follow::Hearing;
use crate::frame_id::FrameId;
use crate::rt;

/// What one kind of `Told` carries.
pub(crate) trait Picked: Sized {
    /// It, if it was told.
    fn pick(told: Told) -> Option<Self>;
}

/// Has a core do something, for a `frame` unless the node wants it, and tell what came of it.
///
/// # Errors
/// What the client is told.
///
/// # Panics
/// If the core tells what `ask` is not answered with.
pub(crate) async fn told<T: Picked>(
    core: &Rc<Core>,
    at: CoreId,
    ask: Ask,
    frame: Option<FrameId>,
) -> Result<T, Failure> {
    match T::pick(answer(core, at, ask, frame).await?) {
        Some(picked) => Ok(picked),
        None => unreachable!("a question was answered as another one"),
    }
}

async fn answer(
    core: &Rc<Core>,
    at: CoreId,
    ask: Ask,
    frame: Option<FrameId>,
) -> Result<Told, Failure> {
    if at == core.id {
        return match place_here(core, &ask, frame)? {
            Some(search) => rt::run_on(searched(Rc::clone(core), ask, search)).await,
            // Large by what few ask, and awaited for whatever is asked.
            None => Box::pin(answer_here(core, ask)).await,
        };
    }
    let call = core.lanes.to(at).call(What::Ask(Box::new(ask)), frame);
    count_hop(core, &call);
    match call?.answered().await {
        Answered::Told(told) => told,
        _ => unreachable!("a question was answered as something else"),
    }
}

/// Does what another core asks for a `frame`. A search took its place on the lane, but for that of a follower: only here is
/// known whether it is one.
pub(super) async fn answer_asked(
    core: &Rc<Core>,
    ask: Ask,
    frame: Option<FrameId>,
) -> Result<Told, Failure> {
    let _search = match ask {
        Ask::Hear { .. } => place_here(core, &ask, frame)?,
        _ => None,
    };
    answer_here(core, ask).await
}

/// A place for a question among the searches in the logs of this core, if it is one.
fn place_here(
    core: &Core,
    ask: &Ask,
    frame: Option<FrameId>,
) -> Result<Option<SearchHere>, Failure> {
    match ask {
        Ask::Hear { key, follower } if core.is_told_at_once(*key, follower) => Ok(None),
        _ => core.lanes.searches_here.begin(ask, frame),
    }
}

/// Searches to the end, as for another core: the disk is at it, whether anybody waits or not.
async fn searched(core: Rc<Core>, ask: Ask, _search: SearchHere) -> Result<Told, Failure> {
    // Boxed: the compiler follows what is nested so deep, and no deeper.
    Box::pin(answer_here(&core, ask)).await
}

macro_rules! picked {
    ($($of:ty: $told:pat => $picked:expr;)+) => {$(
        impl Picked for $of {
            fn pick(told: Told) -> Option<Self> {
                match told {
                    $told => Some($picked),
                    _ => None,
                }
            }
        }
    )+};
}

picked! {
    (): Told::Noted => ();
    list_offsets::Answer: Told::Found(it) => it;
    truncate::Answer: Told::Truncated(it) => it;
    reopen_partition::Answer: Told::Reopened(it) => it;
    segments::Answer: Told::Segments(it) => *it;
    chain_at::Answer: Told::ChainAt(it) => it;
    Lent: Told::Lent(it) => it;
    Vec<describe_topic::Partition>: Told::Described(it) => it;
    create_topic::Answer: Told::Created(it) => it;
    alter_topic::Answer: Told::Altered(it) => it;
    delete_topic::Answer: Told::Deleted(it) => it;
    create_snapshot::Answer: Told::SnapshotCreated(it) => it;
    list_snapshots::Answer: Told::SnapshotsListed(it) => it;
    delete_snapshot::Answer: Told::SnapshotDeleted(it) => it;
    restore_topic::Answer: Told::Restoring(it) => it;
    restore_status::Answer: Told::Restored(it) => *it;
    Vec<scrub_topic::Partition>: Told::Scrubs(it) => it;
    Vec<Taken>: Told::Taken(it) => it;
    Hearing: Told::Heard(it) => it;
    Vec<replica_status::Partition>: Told::Replicas(it) => it;
    clone_topic::Answer: Told::Cloning(it) => it;
    forget_follower::Answer: Told::FollowerForgotten(it) => it;
    promote::Partition: Told::Promoted(it) => it;
    take_over::Answer: Told::TakenOver(it) => it;
    handover::Partition: Told::HandedOver(it) => it;
    rejoin::Partition: Told::Rejoined(it) => it;
    repair_topic::Partition: Told::Repaired(it) => *it;
}

#[cfg(test)]
mod tests {
    use corelog_protocol::error::ErrorCode;
    use corelog_record::{Chain, Offset};
    use corelog_storage::format::edit::Point;
    use futures_lite::future::poll_once;

    use super::*;
    use crate::core::tests::{cold_batches, follower, hold_reads, with_core};
    use crate::frame_id::tests::frame;

    /// Those that searched took the places on the lane, and one that was known was refused behind them.
    #[test]
    fn copies_of_other_cores_that_are_new_search_and_one_that_is_known_does_not_wait_behind_them() {
        with_core(|core| async move {
            let (topic, key) = cold_batches(&core, 2).await;
            core.routes.borrow_mut().put(topic);
            let end = core.place(key).unwrap().durable;
            let between = Point {
                offset: Offset::ZERO.plus(1),
                chain: Chain::from_raw(1),
                ..end
            };
            let asked = |copy, end| {
                let follower = follower(copy, end);
                let (core, ask) = (Rc::clone(&core), Ask::Hear { key, follower });
                Box::pin(async move { answer_asked(&core, ask, Some(frame())).await })
            };
            asked(0, end).await.ok().unwrap();
            let turns = hold_reads(&core).await;
            let mut searches = Vec::new();
            let refused = loop {
                let mut one = asked(1 + searches.len() as u128, between);
                match poll_once(&mut one).await {
                    None => searches.push(one),
                    Some(told) => break told.err().unwrap(),
                }
                assert!(searches.len() < 1_000, "nothing bounds them");
            };
            assert!(refused.is(ErrorCode::Busy), "{refused}");
            for place in [between, end] {
                let known = poll_once(asked(0, place)).await;
                known.expect("it waits").ok().unwrap();
            }
            drop((searches, turns));
            let told = asked(1_000, between).await.err().unwrap();
            assert!(told.is(ErrorCode::Diverged), "{told}");
        });
    }
}
