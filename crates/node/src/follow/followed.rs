//! The source that is followed just now, and what it is to the partition: its owner, or a copy itself.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::replica_status::{Partition, Role, State};
use corelog_record::LeaderEpoch;
use futures_lite::FutureExt;

use super::ASK_TIMEOUT;
use super::line::Line;
use super::questions::{status_of, told_of};
use super::task::{Following, Trouble};
use crate::core::Core;
use crate::failure::{Failure, failure};
use crate::rt;

/// How often an owner is asked what it is: it may have been replaced since, which is rare, and costs each partition.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often a copy is, by way of which the owner is heard.
const LOOK_AT_COPY_EVERY: Duration = Duration::from_secs(10);
/// How long a copy that is not the first source is followed before those named before it are tried again.
const STAND_IN_MAX: Duration = Duration::from_secs(30);
/// After so long in which none of those could be followed, what such a source lets go of counts, if it hears the owner, or
/// says that it is it: who lives that long without its copies has what they let go of.
const STAND_IN_LEADS_AFTER: Duration = Duration::from_secs(600);
/// A copy that heard of the owner so long ago does not know any more what that has: the looks of a chain of copies add up.
const HEARD_MAX: Duration = Duration::from_secs(60);

/// A source, for as long as it is followed.
pub(super) struct Followed {
    /// As it was named.
    pub(super) address: String,
    pub(super) line: Rc<Line>,
    /// Since when none that was named before it could be followed; none of the first.
    stands_in_since: Option<Instant>,
    /// If it told of a later epoch than this copy had.
    is_later: Cell<bool>,
    begun: Instant,
    looked: Cell<Option<Instant>>,
    standing: Cell<Standing>,
}

/// What a source is to the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// What it says of the partition is so.
    Owner,
    /// It heard of the owner so long ago, and goes on following it.
    Follower(Duration),
    /// It lends what it has, and knows nothing of what the owner has.
    Lender(Option<Duration>),
    /// Another node took its place.
    Replaced,
}

impl Followed {
    pub(super) fn new(address: &str, line: Rc<Line>, stands_in_since: Option<Instant>) -> Self {
        Self {
            address: address.to_owned(),
            line,
            stands_in_since,
            is_later: Cell::new(false),
            begun: rt::now(),
            looked: Cell::new(None),
            standing: Cell::new(Standing::Lender(None)),
        }
    }

    /// If it is time to try the sources before it again: it is none of them, nor believed to be the owner.
    pub(super) fn is_over(&self) -> bool {
        let is_owner = self.standing.get() == Standing::Owner && self.leads();
        let is_stand_in = self.stands_in_since.is_some() && !is_owner;
        is_stand_in && self.begun + STAND_IN_MAX <= rt::now()
    }

    /// Hears of its newest epoch, where `mine` is this copy's. A source that took over begins a later one.
    pub(super) fn hear(&self, newest: Option<LeaderEpoch>, mine: Option<LeaderEpoch>) {
        self.is_later.set(self.is_later.get() || mine < newest);
    }

    /// If what it has let go of is gone: of one that stands in for another source that need not be so. It may call itself
    /// the owner: what is here goes by its word, and the one before it, which owns the partition, may just be away.
    pub(super) fn leads(&self) -> bool {
        let since = self.stands_in_since;
        let stood_long = since.is_none_or(|since| since + STAND_IN_LEADS_AFTER <= rt::now());
        match self.standing.get() {
            Standing::Owner => stood_long || self.is_later.get(),
            Standing::Follower(_) => stood_long,
            Standing::Lender(_) | Standing::Replaced => false,
        }
    }

    /// If it says that it owns the partition.
    pub(super) fn is_owner(&self) -> bool {
        self.standing.get() == Standing::Owner
    }

    fn is_due(&self) -> bool {
        let every = match self.standing.get() {
            Standing::Owner => LOOK_EVERY,
            _ => LOOK_AT_COPY_EVERY,
        };
        let looked = self.looked.get();
        looked.is_none_or(|at| at + every <= rt::now())
    }
}

impl Following {
    /// Asks a source what it is to the partition, if it is time to.
    ///
    /// # Errors
    /// If it owned the partition, and another node does now: what it has more nobody else will have.
    pub(super) async fn look(&self, core: &Core, source: &Followed) -> Result<(), Trouble> {
        if !source.is_due() {
            return Ok(());
        }
        let asked = rt::now();
        let ask = status_of(&self.topic, self.key);
        let told = source.line.call_as_it_comes(&ask, ASK_TIMEOUT);
        let told = self.noting(core, source, told).await;
        let there = told.and_then(|told| told_of(self.key, told.head));
        let there = there.map_err(Trouble::of)?;
        let standing = standing_of(&there);
        source.looked.set(Some(asked));
        source.standing.set(standing);
        match standing {
            Standing::Owner | Standing::Follower(_) => self.note(core, source),
            Standing::Lender(_) | Standing::Replaced => {
                core.shared.followed.forget(&self.key, &source.address);
            }
        }
        if standing == Standing::Replaced && self.replica.until.is_none() {
            return Err(Trouble::Again(replaced(&there)));
        }
        let heard = match standing {
            Standing::Owner => Some(asked),
            Standing::Follower(ago) | Standing::Lender(Some(ago)) => asked.checked_sub(ago),
            Standing::Lender(None) | Standing::Replaced => None,
        };
        self.progress.hear_owner(heard, standing == Standing::Owner);
        Ok(())
    }

    /// Notes now and then that a source is followed, while what it was asked for comes.
    pub(super) async fn noting<T>(
        &self,
        core: &Core,
        source: &Followed,
        answer: impl Future<Output = T>,
    ) -> T {
        let noting = async {
            loop {
                rt::sleep(LOOK_EVERY).await;
                self.note(core, source);
            }
        };
        answer.or(noting).await
    }

    /// Notes that a source is followed, if it is to be by what it last said of the partition.
    fn note(&self, core: &Core, source: &Followed) {
        if let Standing::Owner | Standing::Follower(_) = source.standing.get() {
            let address = source.address.clone();
            core.shared.followed.note(self.key, address, rt::now());
        }
    }
}

fn standing_of(there: &Partition) -> Standing {
    // A node of an earlier version does not tell of the owner.
    let heard = there.owner_heard_ms.or(there.source_heard_ms);
    let heard = heard.map(Duration::from_millis);
    match (there.role, there.state) {
        (Role::Owner | Role::HandingOver, _) => Standing::Owner,
        (Role::Fenced, _) => Standing::Replaced,
        // What comes as files says nothing meanwhile.
        (Role::Follower, State::Copying) => Standing::Follower(Duration::ZERO),
        (Role::Follower, State::Following | State::Waiting) => match heard {
            Some(ago) if ago <= HEARD_MAX => Standing::Follower(ago),
            _ => Standing::Lender(heard),
        },
        _ => Standing::Lender(heard),
    }
}

fn replaced(there: &Partition) -> Failure {
    let owner = there.source.as_deref().unwrap_or("another node");
    let message = format!("the source owns nothing any more: {owner} does");
    failure(ErrorCode::SourceUnavailable, message)
}

#[cfg(test)]
mod tests {
    use corelog_record::{Offset, PartitionId};

    use super::*;
    use crate::follow::line::tests::{connected, node};
    use crate::rt::tests::on_core;

    #[test]
    fn a_copy_that_stands_in_is_left_again_and_an_owner_is_not() {
        on_core(|| async {
            let line = Rc::new(connected(&node(|_, _| ())).await);
            let since = Some(rt::now() - STAND_IN_LEADS_AFTER);
            let followed = |standing, stands_in_since: Option<Instant>| Followed {
                begun: rt::now() - STAND_IN_MAX,
                standing: Cell::new(standing),
                ..Followed::new("a:1", Rc::clone(&line), stands_in_since)
            };
            let copy = Standing::Follower(Duration::ZERO);
            let told = |followed: Followed| (followed.is_over(), followed.leads());
            assert_eq!(told(followed(Standing::Owner, None)), (false, true));
            assert_eq!(told(followed(Standing::Owner, since)), (false, true));
            assert_eq!(told(followed(copy, None)), (false, true));
            assert_eq!(told(followed(copy, Some(rt::now()))), (true, false));
            assert_eq!(told(followed(copy, since)), (true, true), "the owner lives");
            let lender = Standing::Lender(None);
            assert_eq!(told(followed(lender, since)), (true, false));
        });
    }

    /// The owner was away, and the next source called itself that: the copy gave up all it had, as it was told that
    /// nothing below an offset above its end was left.
    #[test]
    fn a_stand_in_that_says_it_is_the_owner_is_believed_after_a_while_or_by_a_later_epoch() {
        on_core(|| async {
            let line = Rc::new(connected(&node(|_, _| ())).await);
            let followed = Followed {
                begun: rt::now() - STAND_IN_MAX,
                standing: Cell::new(Standing::Owner),
                ..Followed::new("a:1", line, Some(rt::now()))
            };
            let told = || (followed.is_over(), followed.leads());
            let epoch = LeaderEpoch::new;
            followed.hear(epoch(7), epoch(7));
            assert_eq!(told(), (true, false));
            followed.hear(epoch(8), epoch(7));
            assert_eq!(told(), (false, true));
            followed.hear(epoch(8), epoch(8));
            assert_eq!(told(), (false, true), "it has come here since");
        });
    }

    #[test]
    fn a_copy_knows_its_owner_as_long_as_it_hears_it() {
        let standing = |role, state, owner_heard_ms| {
            standing_of(&Partition {
                role,
                state,
                source_heard_ms: Some(0),
                owner_heard_ms,
                ..Partition::owned(PartitionId::new(0), Offset::ZERO)
            })
        };
        let ago = Duration::from_millis;
        let of_copy = |state, heard| standing(Role::Follower, state, heard);
        assert_eq!(standing(Role::Owner, State::Idle, None), Standing::Owner);
        let handing_over = standing(Role::HandingOver, State::Idle, None);
        assert_eq!(handing_over, Standing::Owner);
        let fenced = standing(Role::Fenced, State::Idle, None);
        assert_eq!(fenced, Standing::Replaced);
        let follows = Standing::Follower(ago(2_000));
        assert_eq!(of_copy(State::Following, Some(2_000)), follows);
        assert_eq!(of_copy(State::Waiting, Some(2_000)), follows);
        let receives = Standing::Follower(Duration::ZERO);
        assert_eq!(of_copy(State::Copying, Some(90_000)), receives);
        let lost = Standing::Lender(Some(ago(90_000)));
        assert_eq!(of_copy(State::Following, Some(90_000)), lost);
        // It follows the owner itself.
        let follows = Standing::Follower(Duration::ZERO);
        assert_eq!(of_copy(State::Following, None), follows);
        let copied = Standing::Lender(Some(ago(2_000)));
        assert_eq!(of_copy(State::Done, Some(2_000)), copied);
    }
}
