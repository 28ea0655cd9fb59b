//! Making a former owner a follower of the one that took its place.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::rejoin;
use corelog_record::{Chain, LeaderEpoch, Offset, TopicName};
use corelog_storage::format::node::QUARANTINE;
use corelog_storage::format::replica::Role;
use corelog_storage::log::Chore;
use corelog_storage::log::lineage::Common;

use super::line::Line;
use super::lineage::{diverged, is_taken_over, lost_behind, newest, shared};
use super::ownership::{check_same, follower_of};
use super::questions::{check_owner_at, is_same_at, segments_of};
use super::target::Target;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure, failure_with, invalid, said_by};
use crate::partition::Change;
use crate::{router, rt};

/// How long it is looked for where two logs part: each question of that may take as long as any.
const PARTING_MAX: Duration = Duration::from_secs(60);

impl Core {
    /// Makes a partition that was owned here a follower of its owner; what that does not have goes to
    /// quarantine.
    ///
    /// # Errors
    /// `Diverged` if the two are not of one history, or what they share is no longer here; `ReadOnly` if damage keeps
    /// this log from being cut; `Busy` while its owner is changed otherwise; `SourceUnavailable` if that does not answer, or too late
    /// to find where the two part.
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
        let was = (before.role, self.place(key)?.durable.offset);
        let (shared, began, newest) = self.shared_with(&line, &topic, key).await?;
        self.check_not_lost(key, was, (shared, newest))?;
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
        self.check_not_lost(key, was, (shared, newest))?;
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
        let newest = newest(&there.epochs);
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
        // What the other one took over was acknowledged; of one that did not, who knows which of the two has that. This one may have
        // begun others since, as at each start behind a kill.
        let is_over = is_taken_over(common.epoch, newest) && self.epoch(key)? < newest;
        if let Some(began) = began.filter(|_| is_over) {
            let low = place.log_start.max(there.log_start).max(began.offset);
            let looking = Box::pin(self.parting(line, topic, key, low..common.offset));
            common.offset = self.found(line, looking, PARTING_MAX).await?;
        }
        Ok((common, there.log_start, newest))
    }

    /// What comes of looking for where two logs part, if that comes in time: nobody else changes the partition's owner meanwhile.
    async fn found(
        &self,
        line: &Line,
        looking: impl Future<Output = Result<Offset, Failure>>,
        patience: Duration,
    ) -> Result<Offset, Failure> {
        let found = self.unless_stopping(rt::timeout(patience, looking)).await?;
        found.unwrap_or_else(|| Err(unparted(line.address())))
    }

    /// Where the two logs part within an epoch that both have, if that is not where it ends in one of them: an owner whose files
    /// were put back from an older copy went on in it. It is looked for by their chains where these tell that they are the same at its start.
    async fn parting(
        &self,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
        within: Range<Offset>,
    ) -> Result<Offset, Failure> {
        let is_same = async |known| {
            let compared = is_same_at(line, topic, key, known).await;
            compared.map_err(|why| said_by(line.address(), why))
        };
        let compared = async |at| {
            let known = self.chain_below(key, at).await?;
            Ok::<_, Failure>((known.0, is_same(known).await?))
        };
        let Range { start, end } = within;
        // What keeps them from being compared is told by whoever does so behind this.
        if end <= start {
            return Ok(end);
        }
        let Ok((mut other, false)) = compared(end).await else {
            return Ok(end);
        };
        let Ok((mut same, true)) = compared(start).await else {
            return Ok(end);
        };
        tracing::info!(
            %topic, partition = key.partition.get(), from = same.get(), to = other.get(), owner = line.address(),
            "rejoins: looks for where the two logs part"
        );
        while same.plus(1) < other {
            let middle = same.plus(other.since(same) / 2);
            let known = self.chain_below(key, middle).await?;
            let at = known.0;
            match at <= same || is_same(known).await? {
                true if at == middle => same = middle,
                // What damage hides behind that goes as well, and comes anew.
                true => (same, other) = (same.max(at), middle),
                false => other = at,
            }
        }
        // Of a batch that both have, the end.
        Ok(self.chain_at(key, same).await?.offset)
    }

    /// The chain at an offset of this log, or, with that, below it where the segment begins of which damage hides it.
    async fn chain_below(
        &self,
        key: PartitionKey,
        mut at: Offset,
    ) -> Result<(Offset, (Offset, Chain)), Failure> {
        loop {
            match self.chain_at(key, at).await {
                Ok(here) => return Ok((at, (here.offset, here.chain))),
                Err(error) => at = base_below(at, error)?,
            }
        }
    }

    /// Holds the chains of both logs against each other at the end of what they share; the other one begins at
    /// `began`. Lower, if what this log has there of a segment is damaged. All of that goes then, and comes anew.
    async fn confirmed(
        &self,
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
        let reached = |at| match at < oldest {
            true => Err(forgotten(at, oldest)),
            false => Ok(at),
        };
        let known = self.chain_below(key, reached(common.offset)?).await?;
        common.offset = reached(known.0)?;
        let is_same = is_same_at(line, topic, key, known).await;
        match is_same.map_err(|why| said_by(line.address(), why))? {
            true => Ok(common),
            false if self.is_copy(key) => Err(copy_parts(common.offset)),
            false => Err(diverged(place.log_start)),
        }
    }

    /// Checks that a copy, which had so much before it asked, has nothing that its source had, and has no more. One that was made to
    /// rejoin already, and was cut off, is fenced by that.
    fn check_not_lost(
        &self,
        key: PartitionKey,
        (role, had): (Role, Offset),
        (common, newest): (Common, Option<LeaderEpoch>),
    ) -> Result<(), Failure> {
        let end = had.min(self.place(key)?.durable.offset);
        let newest = [self.epoch(key)?, newest];
        let may_be_copy = matches!(role, Role::Follower | Role::Fenced);
        match lost_behind(common, end, newest).filter(|_| may_be_copy) {
            Some(at) => Err(copy_parts(at)),
            None => Ok(()),
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

/// A copy parts from its source where neither took the partition over: what it has was acknowledged there, and is there no more.
fn copy_parts(at: Offset) -> Failure {
    let message = "this copy has what its source does not have any more, as where an owner's files were put back from an older copy: \
                   what was acknowledged may be here alone; `corelog promote` this one (with --partition and --accept-loss if it is \
                   fenced) and rejoin the other, or keep its files, delete the topic here, and clone it";
    let detail = Detail {
        offset: Some(at),
        ..Detail::default()
    };
    failure_with(ErrorCode::Diverged, message, detail)
}

/// Each answer came too late.
fn unparted(address: &str) -> Failure {
    let message = format!("{address} answers too late to find where the two logs part: ask again");
    failure(ErrorCode::SourceUnavailable, message)
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

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Read as _;
    use std::os::unix::fs::FileExt as _;

    use corelog_protocol::message::{replica_status, segments};
    use corelog_storage::format::edit::Point;
    use corelog_storage::format::replica::Replica;

    use super::*;
    use crate::core::tests::{
        batches, cold_batches, copied, created, first_store, flush, produce, seal, with_core,
    };
    use crate::follow::line::tests::{connected, node, node_named, tell, tell_chain};

    /// One that was cut off while it rejoined is fenced: asked again, behind an owner that was put back from an older copy, it put
    /// aside what it alone had.
    #[test]
    fn a_copy_that_was_cut_off_keeps_what_its_source_has_lost_as_one_that_follows_does() {
        with_core(|core| async move {
            let key = copied(&core, "127.0.0.1:1").await;
            seal(&core, key).await;
            flush(&core, key).await;
            let (epoch, had) = (core.epoch(key).unwrap(), core.place(key).unwrap().durable);
            let offset = Offset::ZERO;
            let checked = |role| {
                let common = Common { offset, epoch };
                core.check_not_lost(key, (role, had.offset), (common, epoch))
            };
            for role in [Role::Follower, Role::Fenced] {
                let refused = checked(role).unwrap_err();
                assert!(refused.is(ErrorCode::Diverged), "{refused:?}");
                assert_eq!(refused.detail.offset, Some(offset));
            }
            assert_eq!(checked(Role::Owner), Ok(()));
        });
    }

    /// What it is fenced behind was judged by what the other one had before: the rest went to quarantine.
    #[test]
    fn a_copy_keeps_what_its_source_has_lost_while_it_was_fenced() {
        with_core(|core| async move {
            let (name, key) = created(&core).await;
            for _ in 0..2 {
                produce(&core, key, &batches(100)).await;
            }
            flush(&core, key).await;
            let (admin, place) = (core.admin().unwrap(), (&name, key.topic, key.partition));
            let role = Role::Fenced;
            let fence = |replica| Ok(Replica { role, ..replica });
            admin.change_replica(place, None, fence).await.unwrap();
            let (had, lost_at) = (core.place(key).unwrap().durable, Offset::ZERO.plus(1));
            let owned = replica_status::Partition::owned(key.partition, lost_at);
            let status = replica_status::Answer {
                id: key.topic,
                partitions: vec![owned],
            };
            let before = core.segments(key, Offset::MAX).unwrap();
            let behind = segments::Answer {
                high_watermark: lost_at,
                ..before.clone()
            };
            let to = node_named(2, move |mut stream, mut received| {
                tell::<replica_status::Request>(&mut stream, &mut received, &status);
                tell::<segments::Request>(&mut stream, &mut received, &before);
                tell_chain(&mut stream, &mut received, had);
                tell::<replica_status::Request>(&mut stream, &mut received, &status);
                tell::<segments::Request>(&mut stream, &mut received, &behind);
                drop(stream.read_to_end(&mut Vec::new()));
            });
            let refused = Box::pin(core.rejoin(name, key, to)).await.unwrap_err();
            assert!(refused.is(ErrorCode::Diverged), "{refused:?}");
            assert_eq!(refused.detail.offset, Some(lost_at));
        });
    }

    /// It was told as damage of the other one, and nothing was found.
    #[test]
    fn where_two_logs_part_is_where_damage_of_this_one_hides_it() {
        with_core(|core| async move {
            let key = copied(&core, "127.0.0.1:1").await;
            for _ in 0..3 {
                seal(&core, key).await;
            }
            flush(&core, key).await;
            let offset = |at| Offset::new(at).unwrap();
            let at = async |at| core.chain_at(key, offset(at)).await.unwrap();
            let points = vec![other(at(6).await), at(0).await, at(2).await];
            let store = first_store(&core, 1).with_file_name("00000000000000000002.log");
            let store = OpenOptions::new().write(true).open(store).unwrap();
            store.write_all_at(b"rot", 5_000).unwrap();
            core.scrub_pass(core.slot_of(key).unwrap()).await;
            assert_eq!(core.damage_count(key).unwrap(), 1);
            let (line, topic) = (telling(points).await, core.topic_name(key).unwrap());
            let found = Box::pin(core.parting(&line, &topic, key, offset(0)..offset(6)));
            assert_eq!(found.await, Ok(offset(2)));
        });
    }

    /// Each answer may take ten seconds, and as many again where the other one is busy: nobody was told of anything for minutes, and
    /// nothing ended it.
    #[test]
    fn where_two_logs_part_is_looked_for_no_longer_than_for_a_while_or_until_the_node_stops() {
        with_core(|core| async move {
            let (topic, key) = cold_batches(&core, 4).await;
            let (start, end) = (Offset::ZERO, core.place(key).unwrap().durable);
            let points = vec![other(end), core.chain_at(key, start).await.unwrap()];
            let looked = async |patience| {
                let line = telling(points.clone()).await;
                let looking = Box::pin(core.parting(&line, &topic.name, key, start..end.offset));
                core.found(&line, looking, patience).await.unwrap_err()
            };
            let late = looked(Duration::from_millis(100)).await;
            assert!(late.message.contains("too late"), "{late:?}");
            core.begin_stop();
            let stopped = looked(PARTING_MAX).await;
            assert!(stopped.is(ErrorCode::Stopping), "{stopped:?}");
        });
    }

    /// The same place in a log that is another one there.
    fn other(point: Point) -> Point {
        Point {
            chain: Chain::from_raw(point.chain.get() ^ 1),
            ..point
        }
    }

    /// A connection to a node that has these chains where it is asked for them, and says nothing behind that.
    async fn telling(points: Vec<Point>) -> Line {
        let address = node(move |mut stream, mut received| {
            for point in points {
                tell_chain(&mut stream, &mut received, point);
            }
            drop(stream.read_to_end(&mut Vec::new()));
        });
        connected(&address).await
    }
}
