//! Making a follower the owner.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::limits;
use corelog_protocol::message::{promote, replica_status};
use corelog_record::{LeaderEpoch, Lineage, Offset, TopicName};
use corelog_storage::format::edit::{Epoch, Point};
use corelog_storage::format::replica::{Replica, Role};
use corelog_storage::log::Begin;

use super::GONE_TIMEOUT;
use super::hands::Hand;
use super::lineage;
use super::ownership::{check_same, not_follower, not_owner};
use super::questions::{chain_of, partition_at, segments_of};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure, failure_with};
use crate::partition::Change;
use crate::{router, rt};

/// What a source says that may be gone.
enum Source {
    /// It gave the partition to this node, at this epoch or a later one, has nothing that is not here, and let go of nothing
    /// that is.
    Level(LeaderEpoch),
    /// It gave it to another node, whose address this is.
    Elsewhere(String),
    /// It takes appends, has more, or begins later, or does not answer.
    Unsure,
}

impl Core {
    /// Makes this node the owner of a partition that follows; of one that another node took from it only if that one is
    /// named and loss is accepted: its new owner may be there.
    ///
    /// # Errors
    /// `NotFollower`, `Busy` while its owner is changed otherwise; `NotOwner` if its source gave it to
    /// another node, and `LossPossible` unless nothing can be missing, unless that is accepted.
    pub(crate) async fn promote(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        accept_loss: bool,
        is_named: bool,
    ) -> Result<promote::Partition, Failure> {
        let hand = self.take_hand(key)?;
        let replica = self.replica(key)?;
        let takes_back = replica.role == Role::Fenced && is_named && accept_loss;
        if replica.role != Role::Follower && !takes_back {
            return Err(not_follower());
        }
        let place = self.place(key)?;
        let heard = self.followings.of(key).and_then(|f| f.progress.heard());
        let source = self
            .ask_source(&topic, key, &replica, (place.durable, accept_loss))
            .await;
        let given_at = match source {
            Source::Level(epoch) => Some(epoch),
            Source::Elsewhere(_) | Source::Unsure => None,
        };
        let is_lossless = given_at.is_some();
        if let (Source::Elsewhere(owner), false) = (source, accept_loss) {
            let sources = vec![owner];
            return Err(not_owner(&Replica { sources, ..replica }));
        }
        let (source_end, source_heard_ms) = heard.unzip();
        if !is_lossless && !accept_loss {
            let end = place.durable.offset;
            return Err(loss_possible(end, source_end, source_heard_ms));
        }
        let given_at = given_at.filter(|_| !accept_loss);
        let owning = self.own(&hand, topic.clone(), key, replica, place.log_end, given_at);
        let (epoch, _, end) = owning.await?;
        self.tell_outranked(&topic, key);
        tracing::warn!(
            topic = %self.told_name(key), partition = key.partition.get(), end = end.get(),
            epoch = epoch.get(), ?source_end, is_lossless, "promoted: this node owns the partition"
        );
        Ok(promote::Partition {
            id: key.partition,
            end,
            source_end,
            source_heard_ms,
            epoch,
            is_lossless,
        })
    }

    /// Begins an epoch of its own and takes appends from then on; `_hand` is on the partition. If its
    /// owner gives it, that is at the epoch `given_at`. That was judged by what this node was to it `before`, and a log that
    /// ends at `judged_end`.
    ///
    /// # Errors
    /// `Busy` also if it ends below by now, or follows another node.
    pub(super) async fn own(
        self: &Rc<Self>,
        _hand: &Hand,
        topic: TopicName,
        key: PartitionKey,
        before: Replica,
        judged_end: Offset,
        given_at: Option<LeaderEpoch>,
    ) -> Result<(LeaderEpoch, Lineage, Offset), Failure> {
        self.halt(key).await;
        // What its following asked of the log may not have been done yet: the end could be another one then.
        self.unchanging(key).await?;
        // A log that goes on to follow takes no epoch of this node's with it.
        check_same(&before, &self.replica(key)?)?;
        let end = self.place(key)?.log_end;
        if end < judged_end {
            let message = "what it follows by has changed the end of the log: ask again";
            return Err(failure(ErrorCode::Busy, message));
        }
        self.durable(key, end).await?;
        // Whom this node let it go to owns it by that one, and is outranked.
        if let Some(let_go) = before.let_go {
            self.hear_epoch(key, let_go);
        }
        let is_given = given_at.is_some();
        let begin = given_at.map_or(Begin::Promoted, Begin::TakenOver);
        let Epoch { epoch, lineage, .. } = self.begin_above(key, begin).await?;
        let mine = self.shared.addresses.get();
        let mine = mine.map(|mine| mine.advertised.clone());
        router::take_over_replica(self, topic, key, given_at, move |mut replica| {
            check_same(&before, &replica)?;
            replica.role = Role::Owner;
            let mut followed = mem::take(&mut replica.sources);
            followed.retain(|one| mine.as_ref() != Some(one));
            // Who gave it takes no appends.
            if !is_given {
                replica.outranked = outranked(followed, mem::take(&mut replica.outranked));
            }
            (replica.target, replica.let_go) = (None, None);
            (replica.until, replica.rate) = (None, None);
            replica.segments.clear();
            Ok(replica)
        })
        .await?;
        Ok((epoch, lineage, end))
    }

    /// Begins an epoch of its own far above the last one, at the end of a log that is durable.
    pub(super) async fn begin_above(
        self: &Rc<Self>,
        key: PartitionKey,
        begin: Begin,
    ) -> Result<Epoch, Failure> {
        self.change(key, Change::Epoch(begin)).await?;
        let lost = || failure(ErrorCode::Internal, "the epoch that was begun is not there");
        self.epochs(key)?.last().copied().ok_or_else(lost)
    }

    /// What the source says of a partition that this node holds up to `durable`. If it is promoted whatever that is,
    /// nobody is waited for who was in vain a moment ago: an owner that hangs would be, for every partition of its.
    async fn ask_source(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        replica: &Replica,
        (durable, accept_loss): (Point, bool),
    ) -> Source {
        let silent = &self.shared.silent;
        let asking = RefCell::new(None);
        let may_ask = |address: &str| {
            asking.replace(Some(address.to_owned()));
            !accept_loss || silent.found(&address.to_owned(), rt::now()).is_none()
        };
        let here = || self.place(key).ok();
        let asked = async {
            let source = replica.sources.first().filter(|source| may_ask(source))?;
            let line = self.line_to(source).await.ok()?;
            // Looked at before it says to whom it gives it: an epoch that it begins by taking that back is
            // none that it gave.
            let newest = self.epoch(key).ok()?;
            let at = chain_of(&line, topic, key, durable.offset).await;
            let there = partition_at(&line, topic, key).await.ok()?;
            let is_given = matches!(
                there.role,
                replica_status::Role::HandingOver | replica_status::Role::Fenced
            );
            let next = there.source.filter(|_| is_given)?;
            let is_here = match there.target {
                Some(node) => node == self.shared.node,
                // A version that did not write it down gave it.
                None if may_ask(&next) => self.is_me(&next).await,
                None => return None,
            };
            if !is_here {
                return Some(Source::Elsewhere(next));
            }
            // What this node took since it owned the partition, which fenced that one, it has given on, or left behind.
            if there.role == replica_status::Role::Fenced {
                return None;
            }
            let told = segments_of(&line, topic, key, Offset::MAX).await.ok()?;
            let theirs = lineage::newest(&told.epochs);
            if let Some(newest) =
                theirs.filter(|_| here().is_some_and(|it| it.can_be_of(told.history)))
            {
                self.hear_epoch(key, newest);
            }
            // The source owned the partition before this node did, which let it go since to one that the source knows nothing of.
            let is_before = theirs < replica.let_go;
            // What was truncated there is still here, and would be served again.
            if is_before || here()?.log_start < told.log_start {
                return None;
            }
            // The source may be about to own it again: this node promised to refuse at the epochs of the
            // source, above which this copy may have one of its own that it began and never owned.
            let at = at.ok()?;
            let given_at = newest.min(at.epoch).unwrap_or_default();
            router::check_promise(self, key, given_at).await.ok()?;
            let is_equal = (at.offset, at.chain) == (durable.offset, durable.chain);
            let is_all = there.end == durable.offset && there.error.is_none();
            (is_equal && is_all).then_some(Source::Level(given_at))
        };
        let told = rt::timeout(GONE_TIMEOUT, asked).await;
        if let (None, Some(address)) = (&told, asking.take()) {
            silent.note(address, (), rt::now());
        }
        told.flatten().unwrap_or(Source::Unsure)
    }

    /// If this node is reached at an address.
    async fn is_me(&self, address: &str) -> bool {
        let mine = self.shared.addresses.get();
        if mine.is_some_and(|mine| mine.advertised == address) {
            return true;
        }
        let line = self.line_to(address).await;
        line.is_ok_and(|line| line.node() == self.shared.node)
    }
}

/// Whom one that is promoted has yet to tell: those that it followed, any of which may own the partition, then as many as may be of
/// those that it did not come to tell of what it was promoted to before.
fn outranked(followed: Vec<String>, mut untold: Vec<String>) -> Vec<String> {
    untold.retain(|one| !followed.contains(one));
    let mut all = followed;
    all.append(&mut untold);
    all.truncate(limits::SOURCE_COUNT_MAX as usize);
    all
}

fn loss_possible(end: Offset, source_end: Option<Offset>, heard_ms: Option<u64>) -> Failure {
    let known = match (source_end, heard_ms) {
        (Some(source), Some(ms)) => {
            format!("the source's end was {source} when it was last heard, {ms} ms ago")
        }
        _ => "the source was not heard since this node was started".to_owned(),
    };
    let message = format!("this copy ends at {end}; {known}: what is missing here will be lost");
    let detail = Detail {
        end: Some(end),
        source_end,
        source_heard_ms: heard_ms,
        ..Detail::default()
    };
    failure_with(ErrorCode::LossPossible, message, detail)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;

    use corelog_protocol::message::segments;
    use corelog_record::{NodeId, PartitionId, TopicId};
    use futures_lite::future::poll_once;

    use super::super::line::tests::{log, node, tell, tell_chain};
    use super::super::ownership::follower_of;
    use super::*;
    use crate::catalog::{self, Admin};
    use crate::core::tests::{created, topic, with_core};

    /// Whom it followed by then was told in the place of the one that it had been judged by.
    #[test]
    fn a_copy_that_is_to_follow_another_one_while_its_source_is_asked_is_not_promoted() {
        with_core(|core| async move {
            let (name, key) = created(&core).await;
            let (topic, partition) = (key.topic, key.partition);
            let admin = core.admin().unwrap();
            let follow = async |source: &str| {
                let source = source.to_owned();
                let change = |replica| Ok(follower_of(replica, source, None));
                let changed = admin.change_replica((&name, topic, partition), None, change);
                changed.await.unwrap();
            };
            follow("127.0.0.1:1").await;
            let mut promoting = pin!(core.promote(name.clone(), key, true, false));
            assert!(poll_once(&mut promoting).await.is_none(), "it asks");
            follow("127.0.0.1:2").await;
            let epochs = core.epochs(key).unwrap();
            let refused = promoting.await.unwrap_err();
            assert!(refused.is(ErrorCode::Busy), "{refused:?}");
            assert_eq!(core.epochs(key).unwrap(), epochs);
            let replica = core.replica(key).unwrap();
            assert_eq!(replica.role, Role::Follower);
            assert_eq!(replica.sources, ["127.0.0.1:2"]);
        });
    }

    /// Its source was held against an end that was there: what has gone since may have been acknowledged.
    #[test]
    fn a_copy_of_which_the_end_is_gone_since_it_was_judged_is_not_promoted() {
        with_core(|core| async move {
            let (name, key) = created(&core).await;
            let (hand, before) = (core.take_hand(key).unwrap(), core.replica(key).unwrap());
            let (epochs, end) = (core.epochs(key).unwrap(), core.place(key).unwrap().log_end);
            let owning = core.own(&hand, name, key, before, end.plus(1), None);
            let refused = owning.await.unwrap_err();
            assert!(refused.is(ErrorCode::Busy), "{refused:?}");
            assert_eq!(core.epochs(key).unwrap(), epochs);
        });
    }

    /// Whom it let the partition go to may own it by that epoch, which its log never had: of two of one number none is outranked.
    #[test]
    fn a_copy_that_had_let_a_partition_go_owns_it_by_an_epoch_above_that_of_whom_it_let_have_it() {
        with_core(|core| async move {
            let (name, key) = created(&core).await;
            let let_go = LeaderEpoch::new(1_000_000).unwrap();
            let hand = core.take_hand(key).unwrap();
            let before = Replica {
                let_go: Some(let_go),
                ..core.replica(key).unwrap()
            };
            let end = core.place(key).unwrap().log_end;
            let owning = core.own(&hand, name, key, before, end, None);
            let (epoch, ..) = owning.await.unwrap();
            assert!(let_go < epoch, "{epoch:?}");
        });
    }

    /// What was gone there, and told so, was served again by who knew nothing of that.
    #[test]
    fn a_copy_that_begins_before_its_source_does_not_own_what_that_gives_it_without_a_word_of_loss()
    {
        with_core(|core| async move {
            let admin = Admin::new(Rc::clone(&core));
            assert!(core.admin.set(admin).is_ok());
            let (opened, key) = topic(1);
            assert!(core.open_partition(&opened, key).await);
            core.apply(catalog::Change::Publish(Arc::clone(&opened)))
                .await;
            let durable = core.place(key).unwrap().durable;
            for is_alike in [true, false] {
                let log_start = durable.offset.plus(u64::from(!is_alike));
                let source = giving(core.shared.node, durable, log_start);
                let replica = follower_of(Replica::owner(key.partition), source, None);
                let asking = core.ask_source(&opened.name, key, &replica, (durable, false));
                let is_level = matches!(asking.await, Source::Level(_));
                assert_eq!(is_level, is_alike);
            }
        });
    }

    /// A node that gives a partition which ends at `end`, and begins at `log_start`, to another one.
    fn giving(target: NodeId, end: Point, log_start: Offset) -> String {
        node(move |mut stream, mut received| {
            tell_chain(&mut stream, &mut received, end);
            let partition = replica_status::Partition {
                role: replica_status::Role::HandingOver,
                source: Some("127.0.0.1:1".to_owned()),
                target: Some(target),
                ..replica_status::Partition::owned(PartitionId::new(0), end.offset)
            };
            let status = replica_status::Answer {
                id: TopicId::from_bytes([1; 16]),
                partitions: vec![partition],
            };
            tell::<replica_status::Request>(&mut stream, &mut received, &status);
            let log = log(log_start, end.offset);
            tell::<segments::Request>(&mut stream, &mut received, &log);
        })
    }

    /// One that it had followed before its last promotion, too, came behind those that it had not followed since, of which
    /// the last ones are told nothing where there is no room.
    #[test]
    fn whom_a_copy_followed_comes_before_those_that_it_followed_once() {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let all: Vec<String> = outranked(named(&["a:1", "b:1"]), named(&["gone:1", "b:1"]));
        assert_eq!(all, ["a:1", "b:1", "gone:1"]);
        let many = vec!["gone:1"; limits::SOURCE_COUNT_MAX as usize];
        let all = outranked(named(&["a:1"]), named(&many));
        assert_eq!(all.len(), many.len());
        assert_eq!(all[0], "a:1");
    }
}
