//! What this core does for whoever asks, wherever the asker is.

use std::rc::Rc;

use super::message::{Ask, Told};
use crate::core::Core;
use crate::failure::Failure;

/// Does something on this core.
pub(super) async fn answer_here(core: &Rc<Core>, ask: Ask) -> Result<Told, Failure> {
    match ask {
        Ask::Find { key, seek } => core.find(key, seek).await.map(Told::Found),
        Ask::Truncate { key, lowest } => {
            core.check_owner(key)?;
            core.check_asked(key)?;
            core.truncate(key, lowest).await.map(Told::Truncated)
        }
        Ask::Reopen { key } => core.reopen_partition(key).await.map(Told::Reopened),
        Ask::Segments { key, from } => {
            let told = core.segments(key, from)?;
            Ok(Told::Segments(Box::new(told)))
        }
        Ask::ChainAt { key, offset } => core.tell_chain(key, offset).await.map(Told::ChainAt),
        Ask::Lend { key, history, part } => core.lend(key, history, &part).await.map(Told::Lent),
        Ask::MetDamage { key, offsets } => {
            core.met_damage_lent(key, &offsets);
            Ok(Told::Noted)
        }
        Ask::Heal { key, error } => {
            let healed = core.healed_for_reader(key, error).await;
            healed.map(|()| Told::Noted)
        }
        Ask::Describe { topic } => Ok(Told::Described(core.describe(&topic).await)),
        Ask::Create(request) => core.admin()?.create(request).await.map(Told::Created),
        Ask::Alter(request) => core.admin()?.alter(request).await.map(Told::Altered),
        Ask::Delete(request) => core.admin()?.delete(request).await.map(Told::Deleted),
        Ask::CreateSnapshot(request) => {
            let created = core.admin()?.create_snapshot(request).await;
            created.map(Told::SnapshotCreated)
        }
        Ask::ListSnapshots(request) => {
            let listed = core.admin()?.list_snapshots(request).await;
            listed.map(Told::SnapshotsListed)
        }
        Ask::DeleteSnapshot(request) => {
            let deleted = core.admin()?.delete_snapshot(request).await;
            deleted.map(Told::SnapshotDeleted)
        }
        Ask::Restore(request) => core.admin()?.restore(request).await.map(Told::Restoring),
        Ask::RestoreStatus(request) => {
            let status = core.admin()?.restore_status(request)?;
            Ok(Told::Restored(Box::new(status)))
        }
        Ask::Scrub {
            topic,
            partition,
            is_start,
        } => Ok(Told::Scrubs(core.scrub(&topic, partition, is_start).await)),
        Ask::Hear { key, follower } => core.hear(key, follower).await.map(Told::Heard),
        Ask::Replicas { topic, partition } => {
            let told = core.replicas(&topic, partition).await;
            Ok(Told::Replicas(told))
        }
        Ask::Clone(request) => core.admin()?.clone_topic(request).await.map(Told::Cloning),
        Ask::ForgetFollower(request) => {
            let forgotten = core.admin()?.forget_follower(request).await;
            forgotten.map(Told::FollowerForgotten)
        }
        Ask::Remember {
            topic,
            key,
            newcomer,
        } => {
            let place = (topic, key.topic, key.partition);
            core.admin()?.remember(place, newcomer);
            Ok(Told::Noted)
        }
        Ask::Promote {
            topic,
            key,
            accept_loss,
            is_named,
        } => {
            let promoted = core.promote(topic, key, accept_loss, is_named).await;
            promoted.map(Told::Promoted)
        }
        Ask::TakeOver { key, request } => {
            let taken = core.take_over(key, request).await;
            taken.map(Told::TakenOver)
        }
        Ask::HandOver {
            topic,
            key,
            to,
            is_abort,
            accept_loss,
        } => {
            let handed = match is_abort {
                true => core.abort_handover(topic, key, accept_loss).await,
                false => {
                    // One that has begun asks them itself.
                    if core.check_owner(key).is_ok() {
                        core.check_asked(key)?;
                    }
                    core.hand_over(topic, key, to).await
                }
            };
            handed.map(Told::HandedOver)
        }
        Ask::Repair {
            key,
            from,
            is_named,
        } => {
            let repaired = core.repair(key, from, is_named).await;
            repaired.map(|part| Told::Repaired(Box::new(part)))
        }
        Ask::Rejoin { topic, key, to } => core.rejoin(topic, key, to).await.map(Told::Rejoined),
        Ask::Promise { key, epoch } => {
            core.admin()?.promise(key, epoch).await?;
            Ok(Told::Noted)
        }
        Ask::CheckPromise { key, epoch } => {
            core.admin()?.check_promise(key, epoch)?;
            Ok(Told::Noted)
        }
        Ask::ChangeReplica {
            topic,
            key,
            given_at,
            change,
        } => {
            let (admin, place) = (core.admin()?, (&topic, key.topic, key.partition));
            admin.change_replica(place, given_at, change).await?;
            Ok(Told::Noted)
        }
        Ask::TakeSnapshot { name, topics } => {
            core.take_snapshot(&name, &topics).await.map(Told::Taken)
        }
        Ask::Apply(change) => {
            core.apply(change).await;
            Ok(Told::Noted)
        }
    }
}
