//! Making a former owner a follower of the one that took its place.

use std::ops::Range;
use std::rc::Rc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::rejoin;
use corelog_record::{LeaderEpoch, Offset, TopicName};
use corelog_storage::format::node::QUARANTINE;
use corelog_storage::format::replica::Role;
use corelog_storage::log::Chore;
use corelog_storage::log::lineage::Common;

use super::line::Line;
use super::lineage::{diverged, is_taken_over, newest, shared};
use super::ownership::{check_same, follower_of};
use super::questions::{check_owner_at, is_same_at, segments_of};
use super::target::Target;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure_with, invalid, said_by};
use crate::partition::Change;
use crate::router;

impl Core {
    /// Makes a partition that was owned here a follower of its owner; what that does not have goes to
    /// quarantine.
    ///
    /// # Errors
    /// `Diverged` if the two are not of one history, or what they share is no longer here; `ReadOnly` if damage keeps
    /// this log from being cut; `Busy` while its owner is changed otherwise.
    pub(crate) async fn rejoin(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        to: String,
    ) -> Result<rejoin::Partition, Failure> {
        let line = self.line_to_named(&to).await?;
        if line.node() == self.shared.node {
            let message = format!("{to} is this node");
            return Err(invalid("to", message));
        }
        // Looked at before anything is changed: whoever names the wrong node loses nothing by it.
        check_owner_at(&line, &topic, key, &to).await?;
        let _hand = self.take_hand(key)?;
        let before = self.replica(key)?;
        self.check_not_read_only(key)?;
        let (shared, began, newest) = self.shared_with(&line, &topic, key).await?;
        self.confirmed(&line, &topic, key, (shared, began)).await?;
        let owner = (Some(Target::at(&line)), newest);
        let fencing = self.write_role(topic.clone(), key, before, Role::Fenced, owner);
        let fenced = fencing.await?;
        self.halt(key).await;
        // What a following asked of the log may not have been done yet.
        self.unchanging(key).await?;
        // It may have been asked to rejoin this node in the same moment: it takes no appends then either, and both have all
        // that they had.
        check_owner_at(&line, &topic, key, &to).await?;
        let place = self.place(key)?;
        self.durable(key, place.log_end).await?;
        let (shared, began, newest) = self.shared_with(&line, &topic, key).await?;
        let mut common = self.confirmed(&line, &topic, key, (shared, began)).await?;
        let held = self.bytes_behind(key, Offset::ZERO);
        let mut cut = self.change(key, Change::Rejoin(common)).await;
        if let Err(error) = cut {
            common.offset = base_below(common.offset, error)?;
            common = self.confirmed(&line, &topic, key, (common, began)).await?;
            cut = self.change(key, Change::Rejoin(common)).await;
        }
        let cut = cut?;
        let at = common.offset;
        // What was damaged below where they part goes as well, and the owner has it.
        let records = place.log_end.since(shared.offset);
        let bytes = held.saturating_sub(self.bytes_behind(key, Offset::ZERO));
        if records > 0 {
            tracing::warn!(
                topic = %topic, partition = key.partition.get(), common = at.get(), records,
                owner = to, "rejoins: what the owner does not have went to quarantine"
            );
        }
        router::change_replica(self, topic, key, move |replica| {
            check_same(&fenced, &replica)?;
            Ok(follower_of(replica, to, newest))
        })
        .await?;
        Ok(rejoin::Partition {
            id: key.partition,
            common: at,
            records,
            bytes,
            file: match cut {
                Chore::SuffixCut { quarantined, .. } => {
                    let file = quarantined.into_iter().next();
                    file.map(|name| format!("{QUARANTINE}/{name}"))
                }
                _ => None,
            },
        })
    }

    /// Up to where this log and another node's are the same, by their epochs, where the other one begins, and the newest epoch
    /// there.
    async fn shared_with(
        self: &Rc<Self>,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
    ) -> Result<(Common, Offset, Option<LeaderEpoch>), Failure> {
        let there = segments_of(line, topic, key, Offset::MAX).await;
        let there = there.map_err(|why| said_by(line.address(), why))?;
        // Looked at behind that: a following may have changed it meanwhile.
        let place = self.place(key)?;
        if !place.can_be_of(there.history) {
            return Err(diverged(Offset::ZERO));
        }
        // Should this node ever own it again, its epoch is above that one.
        let newest = newest(&there.epochs);
        if let Some(newest) = newest {
            self.hear_epoch(key, newest);
        }
        if !place.has_files {
            let nothing = Common {
                offset: place.log_end,
                epoch: None,
            };
            return Ok((nothing, there.log_start, newest));
        }
        let mine = self.epochs(key)?;
        let theirs = (there.epochs.as_slice(), there.high_watermark);
        // Whoever follows goes on, and what is not durable yet has no chain that can be asked for.
        let mut common = shared((&mine, place.durable.offset), theirs);
        let began = mine.iter().find(|own| Some(own.epoch) == common.epoch);
        // What the other one took over was acknowledged; of one that did not, who knows which of the two has that.
        let is_over = is_taken_over(self.epoch(key)?, newest);
        if let Some(began) = began.filter(|_| is_over) {
            let low = place.log_start.max(there.log_start).max(began.offset);
            common.offset = self.parting(line, topic, key, low..common.offset).await?;
        }
        Ok((common, there.log_start, newest))
    }

    /// Where the two logs part within an epoch that both have, if that is not where it ends in one of them: an owner whose files
    /// were put back from an older copy went on in it. It is looked for by their chains where these tell that they are the same at its start.
    async fn parting(
        self: &Rc<Self>,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
        within: Range<Offset>,
    ) -> Result<Offset, Failure> {
        let is_same = async |at| {
            let compared = Box::pin(self.is_same_at(line, topic, key, at)).await;
            compared.map_err(|why| said_by(line.address(), why))
        };
        let (mut same, mut other) = (within.start, within.end);
        // What keeps them from being compared is told by whoever does so behind this.
        if other <= same
            || !matches!(is_same(other).await, Ok(false))
            || !matches!(is_same(same).await, Ok(true))
        {
            return Ok(other);
        }
        while same.plus(1) < other {
            let middle = same.plus(other.since(same) / 2);
            match is_same(middle).await? {
                true => same = middle,
                false => other = middle,
            }
        }
        // Of a batch that both have, the end.
        Ok(self.chain_at(key, same).await?.offset)
    }

    /// Holds the chains of both logs against each other at the end of what they share; the other one begins at
    /// `began`. Lower, if what this log has there of a segment is damaged. All of that goes then, and comes anew.
    async fn confirmed(
        self: &Rc<Self>,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
        (mut common, began): (Common, Offset),
    ) -> Result<Common, Failure> {
        let place = self.place(key)?;
        if !place.has_files {
            return Ok(common);
        }
        let oldest = place.log_start.max(began);
        let here = loop {
            if common.offset < oldest {
                return Err(forgotten(common.offset, oldest));
            }
            match self.chain_at(key, common.offset).await {
                Ok(here) => break here,
                Err(error) => common.offset = base_below(common.offset, error)?,
            }
        };
        let here = (common.offset, (here.offset, here.chain));
        let is_same = is_same_at(line, topic, key, here).await;
        match is_same.map_err(|why| said_by(line.address(), why))? {
            true => Ok(common),
            false if self.is_copy(key) => Err(copy_parts(place.log_start)),
            false => Err(diverged(place.log_start)),
        }
    }

    fn is_copy(&self, key: PartitionKey) -> bool {
        let replica = self.replica(key);
        replica.is_ok_and(|replica| replica.role == Role::Follower)
    }
}

/// Where the segment begins that is damaged below an offset; else the error.
fn base_below(offset: Offset, error: Failure) -> Result<Offset, Failure> {
    let base = error.detail.segment.filter(|base| *base < offset);
    base.filter(|_| error.is(ErrorCode::Damaged)).ok_or(error)
}

/// A copy parts from its source within an epoch that both have: what it has was acknowledged there, and is there no more.
fn copy_parts(log_start: Offset) -> Failure {
    let message = "this copy and its source part within an epoch that both have, as where an owner's files were put back from an older \
                   copy: what was acknowledged may be here alone; promote this one and rejoin the other, or keep its files, delete the \
                   topic here, and clone it";
    let detail = Detail {
        offset: Some(log_start),
        log_start: Some(log_start),
        ..Detail::default()
    };
    failure_with(ErrorCode::Diverged, message, detail)
}

/// One of the two has let go of where they part: nothing shows any more what they share.
fn forgotten(at: Offset, oldest: Offset) -> Failure {
    let message = format!(
        "the two logs part at offset {at}, and one of them begins at {oldest} by now: this one cannot become a \
         copy; keep its files, delete the topic here, and clone it"
    );
    let detail = Detail {
        offset: Some(at),
        log_start: Some(oldest),
        ..Detail::default()
    };
    failure_with(ErrorCode::Diverged, message, detail)
}
