//! Giving a partition to a follower: three durable steps, each of which may be done again.
//!
//! ```text
//! owner   takes no more appends ─▶ TakeOver ─┐              ┌─▶ follows
//! target                                     └─▶ an epoch of its own, takes appends
//! ```

use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{handover, take_over};
use corelog_record::{LeaderEpoch, Offset, TopicName};
use corelog_storage::format::replica::{Replica, Role};

use super::ASK_TIMEOUT;
use super::hands::Hand;
use super::ownership::{check_same, follower_of, owned_at};
use super::target::Target;
use crate::catalog::Topic;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, said_by};
use crate::{router, rt};

/// How long a handover waits for the target to have all that the owner has.
const LEVEL_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two questions whether it has, or does.
pub(super) const LEVEL_PAUSE: Duration = Duration::from_millis(20);

impl Core {
    /// Gives a partition to a follower, which loses nothing. What was cut off is finished by asking again.
    ///
    /// # Errors
    /// - `NotOwner`, `NotFollower` or `Diverged` if the target is none to give it to; `NotOwner` also if it owns the partition
    ///   without all that is here: this node is fenced then.
    /// - `InvalidRequest` if the target let it go to a later owner.
    /// - `ReadOnly` if damage ends the log, here or there.
    /// - `Busy` while its owner is changed otherwise, or a truncation or expiry is on its way to the disk for too long, or where this node
    ///   stood still meanwhile.
    /// - `NotEqual` if the follower does not come near, or level, in time, has more, has not the topic's settings and partitions, or still
    ///   has what is gone here.
    /// - `SourceUnavailable` if it does not answer: the partition may take no appends then until this is asked again, or
    ///   aborted.
    pub(crate) async fn hand_over(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        to: Option<String>,
    ) -> Result<handover::Partition, Failure> {
        let hand = self.take_hand(key)?;
        let before = self.replica(key)?;
        let address = self.target_of(key, &before, to).await?;
        let to = match before.role {
            Role::Owner => self.target_named(address).await?,
            _ => {
                let to = self.target_at(address, &before).await?;
                if let Some(done) = self.done_before(&topic, key, &before, &to).await? {
                    return Ok(done);
                }
                to
            }
        };
        // Behind its end may stand what the target does not have.
        self.check_not_read_only(key)?;
        if before.role == Role::Owner {
            // Before anything is written down: whoever names the wrong node loses nothing by it.
            self.until_near(&hand, &topic, key, &to).await?;
            self.until_alike(&hand, &topic, key, &to).await?;
            let giving = Replica {
                sources: vec![to.address.clone()],
                target: Some(to.node),
                ..before.clone()
            };
            self.check_unclaimed(&topic, key, &giving).await?;
        }
        let given = (Some(to.clone()), None);
        let handing = self.write_role(topic.clone(), key, before, Role::HandingOver, given);
        let handing = handing.await?;
        // Until this was written down the topic could be altered.
        self.until_alike(&hand, &topic, key, &to).await?;
        let asked = rt::now();
        self.check_unclaimed(&topic, key, &handing).await?;
        // It may have been opened anew since.
        self.check_not_read_only(key)?;
        let end = self.place(key)?.log_end;
        self.durable(key, end).await?;
        let request = self.taking_over(&topic, key, end)?;
        let taking = self.ask_to_take_over(&hand, &to, &request, asked);
        let taken = taking.await?;
        self.follow_new_owner(topic, key, handing, (to.address, taken.epoch, end))
            .await
    }

    /// Follows whom it has given the partition to.
    async fn follow_new_owner(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        before: Replica,
        (owner, epoch, end): (String, LeaderEpoch, Offset),
    ) -> Result<handover::Partition, Failure> {
        let source = owner.clone();
        router::change_replica(self, topic, key, move |replica| {
            check_same(&before, &replica)?;
            Ok(follower_of(replica, source, Some(epoch)))
        })
        .await?;
        tracing::info!(
            topic = %self.told_name(key), partition = key.partition.get(), end = end.get(),
            owner, epoch = epoch.get(), "handed over"
        );
        Ok(handover::Partition {
            id: key.partition,
            end,
            epoch,
            owner,
        })
    }

    /// What came of a handover that was cut off, if its target owns the partition by now, or has given it on: it may have let
    /// go since of all that shows it as a TakeOver does.
    ///
    /// # Errors
    /// `NotOwner`, and this node is fenced, if the new owner may not have all that is here, as one that was promoted; `Diverged`
    /// if nothing shows that it took the partition over from here.
    async fn done_before(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        before: &Replica,
        to: &Target,
    ) -> Result<Option<handover::Partition>, Failure> {
        self.line_to_target(to).await?;
        let Some(rival) = self.owner_by(topic, key, to.address.clone()).await? else {
            return Ok(None);
        };
        let known = before.followers.iter().find(|peer| peer.node == to.node);
        let claimant = known.cloned().unwrap_or_else(|| to.as_peer());
        let claim = self.claim_of(topic, key, &rival, &claimant).await?;
        let end = self.place(key)?.log_end;
        let owner = rival.address().to_owned();
        // A log that damage made read-only may have acknowledged more than it ends with.
        if claim.began.start == end && self.check_not_read_only(key).is_ok() {
            // Should this node ever own it again, its epoch is above all of that one's.
            let taken = (owner, claim.newest, end);
            let followed = self.follow_new_owner(topic.clone(), key, before.clone(), taken);
            return followed.await.map(Some);
        }
        let by = (Target::at(&rival), claim);
        self.fence(topic.clone(), key, before.clone(), by).await?;
        Err(owned_at(Some(owner)))
    }

    /// What a follower is asked that is to own all below `end`.
    pub(super) fn taking_over(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        end: Offset,
    ) -> Result<take_over::Request, Failure> {
        let place = self.place(key)?;
        let epoch = self.epoch(key)?;
        Ok(take_over::Request {
            topic: topic.clone(),
            id: key.topic,
            partition: key.partition,
            history: place.history,
            end,
            chain: place.durable.chain,
            epoch: epoch.unwrap_or_default(),
        })
    }

    /// Asks the target to take over, as long as what the others said when they were `asked` holds.
    async fn ask_to_take_over(
        self: &Rc<Self>,
        hand: &Hand,
        to: &Target,
        request: &take_over::Request,
        asked: Instant,
    ) -> Result<take_over::Answer, Failure> {
        let deadline = rt::now() + LEVEL_TIMEOUT;
        loop {
            let line = self.line_to_target(to).await?;
            hand.check()?;
            self.check_awake_since(asked)?;
            match line.call(request, ASK_TIMEOUT).await {
                Ok(reply) => return Ok(reply.head),
                Err(error) if is_early(&error) && rt::now() < deadline => {
                    rt::sleep(LEVEL_PAUSE).await;
                }
                Err(error) => return Err(said_by(&to.address, error)),
            }
        }
    }
}

/// Tells of partitions whose handover was cut off: nothing goes on with it, and nobody may append meanwhile.
pub(crate) fn tell_unfinished(topics: &[Topic]) {
    for topic in topics {
        let handing = |partition| {
            let replica = topic.replica(partition)?;
            (replica.role == Role::HandingOver).then_some(replica)
        };
        for replica in topic.partitions().filter_map(|(one, _)| handing(one)) {
            let (topic, partition) = (&topic.name, replica.partition.get());
            let to = replica.sources.first();
            tracing::warn!(
                %topic, partition, to,
                "takes no writes: a handover has not ended; the same `corelog handover` goes on with it, --abort calls it off"
            );
        }
    }
}

/// If the target may do as it is asked when it is asked again.
pub(super) fn is_early(error: &Failure) -> bool {
    error.is(ErrorCode::NotEqual) || error.is(ErrorCode::Busy)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::FileExt as _;
    use std::sync::mpsc;

    use corelog_protocol::answer;
    use corelog_protocol::message::{metadata, segments};
    use futures_lite::future::zip;

    use super::*;
    use crate::core::tests::{batches, created, fence, flush, produce, until, with_core};
    use crate::follow::line::Line;
    use crate::follow::line::tests::{log, next, no_topics, node, tell};

    /// What had been acknowledged last, and stood behind the damage, was in no log any more.
    #[test]
    fn a_partition_that_damage_ends_while_its_target_is_waited_for_is_given_to_nobody() {
        let (asked, is_asked) = mpsc::channel();
        let (go_on, told) = mpsc::channel();
        // It answers until it is alike, and takes nothing over.
        let address = node(move |mut stream, mut received| {
            let (mut out, asking) = (Vec::new(), next(&mut stream, &mut received));
            asked.send(()).unwrap();
            told.recv().unwrap();
            answer::encode_ok::<metadata::Request>(asking, &no_topics(), 0, &mut out).unwrap();
            stream.write_all(&out).unwrap();
            let empty = log(Offset::ZERO, Offset::ZERO);
            tell::<segments::Request>(&mut stream, &mut received, &empty);
        });
        with_core(|core| async move {
            let (name, key) = created(&core).await;
            let mut ends = Vec::new();
            for _ in 0..2 {
                produce(&core, key, &batches(1_000)).await;
                flush(&core, key).await;
                let active = core.segments(key, Offset::MAX).unwrap().active.unwrap();
                ends.push(active.durable_position.get());
            }
            let line = begin(&core, (&name, key), address).await;
            let damaging = async {
                until("the target is asked", || is_asked.try_recv().is_ok()).await;
                core.drop_partition(key).await;
                let dir = core.shared.data_dir.join("topics/t/0");
                let store = OpenOptions::new()
                    .write(true)
                    .open(dir.join("00000000000000000000.log"))
                    .unwrap();
                // How long the last batch is cannot be told, and more lies behind it than is ever torn.
                store.write_all_at(&[0xff], ends[0] + 8).unwrap();
                store.write_all_at(&[1], ends[1] + (17 << 20)).unwrap();
                std::fs::remove_file(dir.join("mark")).unwrap();
                let topic = core.routes.borrow().topic_by_id(key.topic).cloned();
                assert!(core.open_partition(&topic.unwrap(), key).await);
                core.check_not_read_only(key).unwrap_err();
                go_on.send(()).unwrap();
            };
            let handing = core.hand_over(name.clone(), key, None);
            let (handed, ()) = zip(handing, damaging).await;
            let refused = handed.unwrap_err();
            assert!(refused.is(ErrorCode::ReadOnly), "{refused:?}");
            assert_eq!(core.replica(key).unwrap().role, Role::HandingOver);
            drop(line);
        });
    }

    /// The target took over what was durable, and what came to the disk behind that was acknowledged, and in no log of an owner.
    #[test]
    fn a_partition_of_which_not_all_is_durable_is_given_to_nobody() {
        let address = node(|mut stream, mut received| {
            tell::<metadata::Request>(&mut stream, &mut received, &no_topics());
            let empty = log(Offset::ZERO, Offset::ZERO);
            tell::<segments::Request>(&mut stream, &mut received, &empty);
            let asked = stream.read_to_end(&mut received);
            assert_eq!(asked.unwrap(), 0, "it is asked to take over");
        });
        with_core(|core| async move {
            let (name, key) = created(&core).await;
            fence(&core, key).await;
            let _line = begin(&core, (&name, key), address).await;
            let handed = core.hand_over(name, key, None).await;
            assert!(handed.unwrap_err().is(ErrorCode::OutcomeUnknown));
        });
    }

    /// Has the partition be given to the node at an address; gives the connection to that.
    async fn begin(
        core: &Rc<Core>,
        (name, key): (&TopicName, PartitionKey),
        address: String,
    ) -> Rc<Line> {
        let line = core.line_to(&address).await.unwrap();
        let handing = Replica {
            role: Role::HandingOver,
            sources: vec![address],
            target: Some(line.node()),
            ..Replica::owner(key.partition)
        };
        let place = (name, key.topic, key.partition);
        let admin = core.admin().unwrap();
        let begun = admin.change_replica(place, None, |_| Ok(handing));
        begun.await.unwrap();
        line
    }
}
