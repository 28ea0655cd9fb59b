//! A node that a partition may be handed to: it follows that, is near, and has the topic as it is here.

use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::replica_status::State;
use corelog_protocol::message::{metadata, replica_status};
use corelog_record::{LeaderEpoch, Offset, TopicName};

use super::ASK_TIMEOUT;
use super::asking::SILENT_AFTER;
use super::hands::Hand;
use super::line::Line;
use super::lineage::diverged;
use super::questions::{has_none, partition_at, segments_of};
use super::target::Target;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure, failure_with, invalid, said_by};
use crate::rt;

/// A target that misses more is far behind: it need not have that before the handover gives up waiting for it,
/// while nothing is appended.
const NEAR_BYTES: u64 = 256 << 20;
/// How long a target is waited for to come near, and then to be alike, while nothing has changed: both together take
/// less than who asks waits for an answer as a rule.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two questions whether it is near, or has the topic's settings and partitions, which it looks for
/// itself.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

impl Core {
    /// Waits until the node at `to` has nearly all of the partition's log: what is missing then comes while
    /// nothing is appended.
    ///
    /// # Errors
    /// `NotFollower`, `Diverged` and `InvalidRequest` if it is no node to give the partition to, as one that let it go to a
    /// later owner; `ReadOnly` if damage ends its log; `NotEqual` if it is too far behind for too long, or behind and out of
    /// reach of whom it follows, or has more.
    pub(super) async fn until_near(
        self: &Rc<Self>,
        hand: &Hand,
        topic: &TopicName,
        key: PartitionKey,
        to: &Target,
    ) -> Result<(), Failure> {
        let address = &to.address;
        self.until(hand, to, async |line| {
            let there = self.check_target(line, topic, key, address).await?;
            // It would never come to be alike, while nothing is appended.
            let end = self.place(key)?.log_end;
            if end < there.end {
                return Err(beyond(address, there.end, end));
            }
            let missing = self.bytes_behind(key, there.end);
            if NEAR_BYTES < missing {
                return Ok(Some(far(address, there.end, missing)));
            }
            Ok((0 < missing && is_cut_off(&there)).then(|| self.cut_off(topic, &there, address)))
        })
        .await
    }

    /// Checks that the node that `line` leads to is another one, follows the partition's log, and would take it over at the epoch in
    /// force here; gives what it says of it.
    async fn check_target(
        &self,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
        to: &str,
    ) -> Result<replica_status::Partition, Failure> {
        if line.node() == self.shared.node {
            return Err(invalid("to", format!("{to} is this node")));
        }
        let follower = match partition_at(line, topic, key).await {
            Ok(there) if follows(&there) => there,
            Err(error) if !has_none(&error) => return Err(said_by(to, error)),
            _ => {
                return Err(self.no_follower(topic, to));
            }
        };
        // By what it had it may be level; it begins no epoch, and takes nothing that it lacks.
        let error = follower.error.as_ref();
        if let Some(why) = error.filter(|why| why.is(ErrorCode::ReadOnly)) {
            return Err(said_by(to, Box::new(why.clone())));
        }
        let there = segments_of(line, topic, key, Offset::MAX).await;
        let there = there.map_err(|why| said_by(to, why))?;
        if !there.can_be_of(self.place(key)?.history) {
            return Err(diverged(Offset::ZERO));
        }
        let newest = self.epoch(key)?;
        match follower.let_go.filter(|let_go| newest < Some(*let_go)) {
            Some(let_go) => Err(given_on(to, let_go)),
            None => Ok(follower),
        }
    }

    /// Asked again it would still be none.
    fn no_follower(&self, topic: &TopicName, to: &str) -> Failure {
        let clone = self.clone_of(topic, to);
        let message =
            format!("{to} does not follow it, or no more: make it a copy first, with {clone}");
        failure(ErrorCode::NotFollower, message)
    }

    /// What comes from here on does not come there: it would never have all while nothing is appended.
    fn cut_off(&self, topic: &TopicName, there: &replica_status::Partition, to: &str) -> Failure {
        let (end, clone) = (there.end, self.clone_of(topic, to));
        let source = there.source.as_deref().unwrap_or("whom it follows");
        let message = format!(
            "{to} ends at {end}, and has not heard of the owner from {source} for long: nothing was changed; have it follow this node, with {clone}"
        );
        failure_with(ErrorCode::NotEqual, message, ending_at(end))
    }

    /// The command with which the node at `to` follows this one.
    fn clone_of(&self, topic: &TopicName, to: &str) -> String {
        let mine = self.shared.addresses.get();
        let mine = mine.map_or("HOST:PORT", |mine| &mine.advertised);
        format!("`corelog clone {topic} --server {to} --from {mine} --follow`")
    }

    /// Waits until the topic at `to` has the settings and the partitions that it has here, and the partition's log
    /// begins there where it does here. What was altered or let go of here comes there by a look now and then, and
    /// is not to be undone by what is in force there afterwards; what a copy never had goes here once it is the owner. Where it
    /// begins here is told once no truncation, nor what retention lets go of, is on its way to the disk.
    pub(super) async fn until_alike(
        self: &Rc<Self>,
        hand: &Hand,
        topic: &TopicName,
        key: PartitionKey,
        to: &Target,
    ) -> Result<(), Failure> {
        let address = &to.address;
        self.until(hand, to, async |line| {
            let is_alike = self.is_alike(line, topic, key).await;
            if !is_alike.map_err(|why| said_by(address, why))? {
                return Ok(Some(unlike(topic, address)));
            }
            let there = segments_of(line, topic, key, Offset::MAX).await;
            let there = there.map_err(|why| said_by(address, why))?.log_start;
            let here = self.place(key)?.log_start;
            if self.is_start_moving(key)? {
                return Ok(Some(failure(
                    ErrorCode::Busy,
                    "its start is being moved yet",
                )));
            }
            Ok((there != here).then(|| unequal(address, there, here)))
        })
        .await
    }

    /// Looks at the node at `to` again and again until nothing is in the way any more, and gives what is if that
    /// takes too long.
    async fn until(
        self: &Rc<Self>,
        hand: &Hand,
        to: &Target,
        in_the_way: impl AsyncFn(&Line) -> Result<Option<Failure>, Failure>,
    ) -> Result<(), Failure> {
        let deadline = rt::now() + READY_TIMEOUT;
        loop {
            let line = self.line_to_target(to).await?;
            let in_the_way = in_the_way(&line).await?;
            hand.check()?;
            let Some(failure) = in_the_way else {
                return Ok(());
            };
            if deadline <= rt::now() {
                return Err(failure);
            }
            rt::sleep(LOOK_PAUSE).await;
        }
    }

    /// If a follower's topic is as it is here, or need not be: it has none, or owns some of it and so
    /// has settings of its own.
    async fn is_alike(
        &self,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
    ) -> Result<bool, Failure> {
        let ask = metadata::Request {
            topics: Some(vec![topic.clone()]),
        };
        let told = line.call(&ask, ASK_TIMEOUT).await?.head.topics;
        let Some(there) = told.into_iter().find(|there| there.id == key.topic) else {
            return Ok(true);
        };
        let here = self.routes.borrow().topic_by_id(key.topic).cloned();
        if here.is_none_or(|here| here.is_as(&there)) {
            return Ok(true);
        }
        let ask = replica_status::Request {
            topic: topic.clone(),
            id: Some(key.topic),
            partition: None,
        };
        let told = line.call(&ask, ASK_TIMEOUT).await?.head.partitions;
        let owned = told
            .iter()
            .any(|one| one.role == replica_status::Role::Owner);
        if owned {
            tracing::warn!(%topic, "its next owner owns some of it and has other settings, which stay");
        }
        Ok(owned)
    }
}

/// If a node goes on taking what this one has. One that has all that it was asked for does not, nor does one that
/// stopped.
fn follows(there: &replica_status::Partition) -> bool {
    let is_over = matches!(there.state, State::Done | State::Stopped);
    there.role == replica_status::Role::Follower && !is_over
}

/// If a follower has not heard of the owner, by whom it follows, for long.
fn is_cut_off(there: &replica_status::Partition) -> bool {
    let is_silent = |ms| SILENT_AFTER < Duration::from_millis(ms);
    let heard = there.owner_heard_ms.or(there.source_heard_ms);
    // What comes as files says nothing meanwhile.
    there.state != State::Copying && heard.is_none_or(is_silent)
}

/// It would refuse what it is asked once nobody takes appends any more.
fn given_on(to: &str, let_go: LeaderEpoch) -> Failure {
    let message = format!(
        "{to} has owned it, and let it go to the owner of epoch {let_go}, which is later than the one here: \
         unless that one is to own it, have {to} rejoin this node first"
    );
    failure(ErrorCode::InvalidRequest, message)
}

fn unlike(topic: &TopicName, to: &str) -> Failure {
    let message = format!(
        "{topic} has other settings or partitions at {to}: a copy of the whole becomes as \
         this one within seconds, another one is cloned again or altered there"
    );
    failure(ErrorCode::NotEqual, message)
}

fn unequal(to: &str, there: Offset, here: Offset) -> Failure {
    let message = match there < here {
        true => format!("{to} still begins at {there}, and here all below {here} is gone"),
        false => format!(
            "{to} begins at {there} only, and what is here from {here} on would be gone: clone all of it there"
        ),
    };
    failure(ErrorCode::NotEqual, message)
}

fn far(to: &str, end: Offset, missing: u64) -> Failure {
    let message = format!("{to} ends at {end}, about {missing} bytes behind: nothing was changed");
    failure_with(ErrorCode::NotEqual, message, ending_at(end))
}

/// It has what was acknowledged here, and is no more: of an owner that damage ended nothing is given away at all.
fn beyond(to: &str, there: Offset, here: Offset) -> Failure {
    let message = format!(
        "{to} ends at {there}, and what is here at {here}, as where files were put back from an older copy: nothing was changed; promote it, and have this node rejoin it"
    );
    failure_with(ErrorCode::NotEqual, message, ending_at(there))
}

fn ending_at(end: Offset) -> Detail {
    Detail {
        end: Some(end),
        ..Detail::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use corelog_protocol::message::segments;
    use futures_lite::future::zip;

    use super::*;
    use crate::core::tests::{cold_batches, hold_chores, until, with_core};
    use crate::follow::line::tests::{log, no_topics, node, tell};

    /// A truncation whose edit stood behind others landed once the target owned the partition, which had all of it to this day.
    #[test]
    fn a_log_is_alike_once_no_truncation_of_it_is_on_its_way() {
        let (asked, looks) = mpsc::channel();
        let address = node(move |mut stream, mut received| {
            for look in 0.. {
                tell::<metadata::Request>(&mut stream, &mut received, &no_topics());
                let begins_at = Offset::ZERO.plus(u64::from(1 < look));
                let there = log(begins_at, Offset::ZERO.plus(2));
                tell::<segments::Request>(&mut stream, &mut received, &there);
                if asked.send(look).is_err() {
                    return;
                }
            }
        });
        with_core(|core| async move {
            let (topic, key) = cold_batches(&core, 2).await;
            let turns = hold_chores(&core).await;
            let truncating = core.truncate(key, Offset::ZERO.plus(1));
            let handing = async {
                let hand = core.take_hand(key).unwrap();
                let line = core.line_to(&address).await.unwrap();
                let to = Target::at(&line);
                let name = &topic.name;
                core.until_alike(&hand, name, key, &to).await.unwrap();
                core.place(key).unwrap().log_start
            };
            let landing = async {
                until("it was asked", || looks.try_recv().is_ok()).await;
                assert!(core.is_start_moving(key).unwrap());
                drop(turns);
            };
            let (truncated, (start, ())) = zip(truncating, zip(handing, landing)).await;
            assert_eq!(truncated.unwrap().log_start, start);
        });
    }
}
